"""Accentuation: a photograph that excites an objective more, while a layer still sees nearly the same in it."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks, images, objectives, transforms
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.images import Size
from lightjax.objectives import Activations, Objective, select
from lightjax.pictures import encode, load_picture, sheet
from lightjax.recipe import Recipe
from lightjax.render import render
from lightjax.result import Result
from lightjax.transforms import Transform

_WEIGHT = 2.0
"""The penalty of the layer beyond the wanted distance, relative to what the objective has gained for it so far. At
the wanted distance, 1 would be enough if the objective gains less and less as the distance grows."""

_ROUNDS = 4
"""Parts of the steps. After each the limit is set anew."""

_DRAWS = 4
"""Draws of the transform for which the distance is measured."""


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Accentuation(Result):
    """The picture that `accentuate` made. A notebook shows it beside the photograph; `save` writes the picture alone.

    Attributes:
      photograph: The photograph, `[H, W, C]`.
      distance: Distance of the finished picture from the photograph, `|F - F_photograph| / |F_photograph|`, with `F`
        the activations of the layer `hold`, without a transform.
      before: The objective of the photograph.
      after: The objective of the finished picture.
    """

    photograph: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((1, 1, 3), np.float32))
    distance: float = 0.0
    before: float = 0.0
    after: float = 0.0

    def _repr_png_(self) -> bytes | None:
        if self.images.shape[-1] not in (1, 3):
            return None
        return encode(sheet(np.stack([self.photograph, self.image]), columns=2))

    def __repr__(self) -> str:
        gained = f"objective {self.before:.4g} before, {self.after:.4g} after, distance {self.distance:.3g}"
        return f"{super().__repr__()[:-1]}; {gained}>"


def accentuate(
    picture: ArrayLike | str | os.PathLike,
    objective: str | Objective | Callable,
    *,
    hold: str,
    distance: float | None = 0.5,
    steps: int = 64,
    optimizer: optax.GradientTransformation | float = 0.02,
    transform: Transform | None = transforms.DEFAULT,
    size: Size | None = None,
    model: Model | str | os.PathLike | None = None,
    relu: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Accentuation:
    """Change a photograph so that it excites an objective more, while the activations of a layer change little.

    In each step the same draw of the transform moves the photograph and the picture made from it, so that their
    activations can be compared position by position. Beyond a limit of the distance a penalty grows, with a larger
    gradient than the objective. Transforms blur a little, which makes distances smaller: from time to time the
    distance is measured with and without the transform, and the limit is set accordingly.

    Examples:
      >>> lj.accentuate("dog_cat.jpg", "mixed4d:220", hold="mixed3a", distance=0.5).save("accentuated.png")

    Args:
      picture: A file, or `[H, W, C]` in [0, 1].
      objective: What to maximize, as for `visualize`.
      hold: Name of the layer in which the picture stays close to the photograph; "input" for the pixels themselves.
      distance: How far it goes, `|F - F_photograph| / |F_photograph|`: 0.1 hardly shows, at 1 the change is as large as
        the photograph. None for no limit: then the picture is that of `visualize` with `start=picture`.
      steps: Number of updates. With too few the distance is not reached.
      optimizer: As for `visualize`.
      transform: As for `visualize`.
      size: Pixels of the result; a file is scaled and cropped to it. By default the only size that the network takes,
        or 224 for a file and its own size for an array.
      model: As for `visualize`.
      relu: As for `visualize`.
      seed: Seed of all randomness.
      progress: Whether to show a progress bar.

    Returns:
      The picture with the distance that was reached, and the objective before and after, all without a transform.
      `values` are those of the objective minus the penalty. Ctrl-C returns the picture made so far.

    Raises:
      ValueError, TypeError, IndexError: If an argument is wrong.
      OSError: If the file cannot be read.
      WeightsError: If the network cannot be found or loaded.
      NonFiniteError: If the objective or its gradient stops being finite.

    References:
      Hamblin et al., "Feature Accentuation: Revealing 'What' Features Respond to in Natural Images", 2024. There the
      distance has a weight; here it is given.
    """
    hold = _checks.text(hold, "hold")
    if distance is not None:
        distance = _checks.number(distance, "distance", above=0)
    if not isinstance(objective, str):
        objective = objectives.as_objective(objective)
    if not isinstance(picture, str | os.PathLike):
        picture = np.asarray(_checks.numbers(picture, "picture", least=0, most=1), np.float32)
        if picture.ndim != 3:
            raise ValueError(f"picture must be a file or [H, W, C], got {list(picture.shape)}")
        if size is None:
            size = picture.shape[0], picture.shape[1]
        elif picture.shape[:2] != _checks.height_and_width(size):
            raise ValueError(f"size must be None or that of the picture, got {_checks.shown(size)}")
    plain = Recipe.of(
        objective,
        size=size,
        model=model,
        transform=transform,
        optimizer=optimizer,
        relu=relu,
        steps=steps,
        seed=seed,
    )
    _checks.one_of(hold, plain.shapes, "layer in hold")
    shape = plain.shapes["input"].shape[1:]
    if isinstance(picture, str | os.PathLike):
        picture = load_picture(_checks.path(picture, "picture"), shape[:2], gray=shape[2] == 1)
    assert plain.objective is not None  # it was given
    goal = plain.resolve(plain.objective)
    recipe = Recipe.of(
        None,
        model=plain.model,
        image=images.beside(plain.image, picture),
        transform=None if plain.transform is None else transforms.SameForAll(plain.transform),
        optimizer=plain.optimizer,
        relu=plain.relu,
        steps=plain.steps,
        seed=plain.seed,
        start=picture,
    )
    made = _in_rounds(recipe, goal, hold, distance, progress)
    away, before, after = map(float, _measured(recipe.model, goal, jnp.asarray(made.images), hold))
    told = {"python": f"accentuate(hold={hold!r}, distance={distance})"}
    fields: dict[str, Any] = {field.name: getattr(made, field.name) for field in dataclasses.fields(Result)}
    fields["settings"] = recipe.describe() | {"objective": str(plain.objective), "image": told}
    fields["images"] = made.images[:1]
    return Accentuation(**fields, photograph=made.images[1], distance=away, before=before, after=after)


def _in_rounds(recipe: Recipe, goal: Objective, hold: str, distance: float | None, progress: bool) -> Result:
    """The result of a recipe without an objective, whose first picture is held at a distance from the second."""
    if distance is None:
        return render(dataclasses.replace(recipe, objective=goal[0]), progress=progress)
    limit, results = distance, []
    for steps in (len(part) for part in np.array_split(range(recipe.steps), _ROUNDS)):
        held = Objective(_held, (hold,), (goal[0], goal[1], np.float32(limit)))
        results.append(render(dataclasses.replace(recipe, objective=held, steps=steps), progress=progress))
        if results[-1].interrupted or results[-1].unresponsive:
            break
        recipe = dataclasses.replace(recipe, start=results[-1].images)
        seen, away = map(float, _distances(recipe.model, recipe.transform, results[-1].images, hold))
        limit = distance * min(seen, limit) / away if min(seen, away) > 0 else distance
    return dataclasses.replace(results[-1], values=np.concatenate([result.values for result in results]))


def _held(activations: Activations, layer: str, goal: Objective, goal_before: Objective, wanted: Array) -> Array:
    """The objective, minus a pull back from beyond the wanted distance of the first picture from the second.

    A pull that grows in proportion beyond the limit holds exactly there if it is stronger than the objective's pull
    away. The objective's gain over the photograph, under the same draw, divided by the distance, says how strong that
    is, in the objective's own unit.
    """
    value = goal(activations)
    away = _distance(activations, layer)
    gain = jax.lax.stop_gradient(jnp.abs(value - goal_before(activations)))
    return value - _WEIGHT * gain * jnp.maximum(away / wanted - 1, 0)


def _distance(activations: Activations, layer: str) -> Array:
    """Distance of the first picture from the second in a layer, divided by the length of the second."""
    first, second = (x.ravel() for x in select.read(activations, layer))
    length = select.norm(second)
    return select.norm(first - second) / jnp.where(length > 0, length, 1)


@by_structure
def _measured(model: Model, goal: Objective, pictures: Array, layer: str) -> tuple[Array, Array, Array]:
    """The distance of two pictures in a layer, the objective of the second, and that of the first."""
    activations = {**call(model, pictures), "input": pictures}
    return _distance(activations, layer), goal[1](activations), goal[0](activations)


@by_structure
def _distances(model: Model, transform: Transform | None, pictures: Array, layer: str) -> tuple[Array, Array]:
    """The distance of two pictures in a layer as the mean over draws of a transform, and without it."""

    def distance(view: Array) -> Array:
        return _distance({**call(model, view), "input": pictures}, layer)

    alone = distance(pictures)
    if transform is None:
        return alone, alone
    views = (transform(key, pictures) for key in jax.random.split(jax.random.key(0), _DRAWS))
    return jnp.stack([distance(view) for view in views]).mean(), alone
