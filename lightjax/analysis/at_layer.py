"""One layer of a network for one picture: mean gradients of an objective, and effects of taking parts out."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks, objectives
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis.rest import Picture, Rest, goal_of, images_of, opened, rest
from lightjax.contracts import Shapes
from lightjax.objectives import Objective
from lightjax.progress import bar

Numbers = Array | np.ndarray

SIDES = ("channels", "positions")

BATCH = 32
"""Most runs of the rest of the network at a time."""

_NOTHING, _EVERYTHING = -1, -2
"""What is replaced in two runs of each ablation, beside the channels or positions by their number."""


class Cut(NamedTuple):
    """The rest of a network from a layer on, and this layer for one picture.

    Attributes:
      rest: The rest.
      images: The picture, `[1, H, W, C]`.
      value: The activations of the layer, `[h, w, c]`, `[T, c]` or `[c]`.
      shapes: Shapes of what is computed from the layer, and of itself.
    """

    rest: Rest
    images: np.ndarray
    value: Array
    shapes: Shapes

    def goal(self, objective: str | Objective | Callable) -> Objective:
        """An objective as data: other numbers in it share the compiled programs."""
        return as_data(goal_of(objective, self.rest.model, self.shapes, self.rest.layer))

    def written(self, objective: str | Objective | Callable) -> str:
        """An objective as a text, with the names of classes as they were given."""
        return str(objectives.as_objective(objective, self.shapes))

    def sides(self) -> tuple[str, ...]:
        """What the layer has: channels, and positions if it does."""
        return SIDES if self.value.ndim > 1 else SIDES[:1]


def as_data(goal: Objective) -> Objective:
    """An objective whose numbers are arrays, so that others share the compiled programs."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, jnp.result_type(leaf)), goal)


def at_layer(
    picture: Picture, layer: str, model: Model | str | os.PathLike | None, pool: str, what: str = "layer"
) -> Cut:
    """Cut a network at a layer and compute the layer for one picture.

    Raises:
      TypeError, ValueError: As `rest` and `images_of` do, and if there are several pictures.
      ArithmeticError: If an activation is infinite or not a number.
    """
    model = opened(model)
    images = one_picture(picture, model)
    layer = _checks.text(layer, what)
    cut = rest(model, layer, size=images.shape[1:3], pool=pool)
    value = _activation(cut.model, layer, images)
    finite(value, f"layer {layer!r}")
    return Cut(cut, images, value, jax.eval_shape(cut, value[None], images))


def one_picture(picture: Picture, model: Model) -> np.ndarray:
    """One picture as a network takes it, `[1, H, W, C]`.

    Raises:
      TypeError, ValueError: As `images_of` does, and if there are several.
    """
    images = images_of(picture, model)
    if len(images) != 1:
        raise ValueError(f"picture must be one picture, got {len(images)}: call this for each")
    return images


def finite(values: Numbers, what: str) -> None:
    """Check that all numbers are finite.

    Raises:
      ArithmeticError: If one is infinite or not a number.
    """
    if not np.isfinite(values).all():
        raise ArithmeticError(f"{what} has values that are infinite or not numbers for this picture")


def mean_gradient(
    cut: Cut, goal: Objective, start: np.ndarray, nodes: np.ndarray, weights: np.ndarray, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The weighted mean of the gradients at points between a baseline (0) and the activations (1).

    Returns:
      The gradient, and the objective at the activations and at the baseline, `[2]`.

    Raises:
      ValueError: If the gradient is 0 everywhere.
      ArithmeticError: If the objective or its gradient is infinite or not a number.
    """
    points, shares = in_batches([*nodes, 1, 0]), in_batches([*weights, 0, 0])
    total, scores = np.zeros(cut.value.shape, np.float32), []
    with bar(points.size, "point", progress and len(points) > 1) as shown:
        for some, own in zip(points, shares, strict=True):
            found, gradient = _along(cut.rest, goal, cut.value, start, cut.images, some, own)
            total, scores = total + np.asarray(gradient), [*scores, *np.asarray(found)]
            shown.update(len(some))
    ends = np.array(scores[len(nodes) : len(nodes) + 2], np.float64)
    finite(np.append(total.ravel(), ends), "the objective or its gradient")
    if not total.any():
        raise vanished(goal, cut.rest.layer)
    return total, ends


def vanished(goal: Objective, layer: str) -> ValueError:
    """The error about a gradient that is 0 everywhere."""
    return ValueError(
        f"the gradient of objective {_checks.in_a_line(goal)} is 0 at every entry of layer {layer!r}: the objective "
        "does not depend on the layer, or its unit is off for this picture; what it was before its rectifier may have "
        "a gradient"
    )


def baseline_of(baseline: ArrayLike, cut: Cut) -> np.ndarray:
    """What stands for the layer where it is absent, in its shape."""
    numbers = np.asarray(_checks.numbers(baseline, "baseline"), np.float32)
    try:
        return np.broadcast_to(numbers, cut.value.shape)
    except ValueError:
        raise ValueError(
            f"baseline must be a number, or an array that fits layer {cut.rest.layer!r}, {list(cut.value.shape)}, got "
            f"{list(numbers.shape)}"
        ) from None


def ablated(cut: Cut, goal: Objective, start: np.ndarray, side: str, progress: bool) -> tuple[np.ndarray, np.ndarray]:
    """The effect of setting each channel, or each position, to the baseline; and the objective with all, and none."""
    shape = cut.value.shape[-1:] if side == "channels" else cut.value.shape[:-1]
    number = int(np.prod(shape))
    owner = np.arange(number, dtype=np.int32).reshape(shape if side == "channels" else (*shape, 1))
    owner, scores = np.broadcast_to(owner, cut.value.shape), []
    which = in_batches([*range(number), _NOTHING, _EVERYTHING], np.int32)
    with bar(number, side.removesuffix("s"), progress and len(which) > 1) as shown:
        for some in which:
            scores += [*np.asarray(_without(cut.rest, goal, cut.value, start, cut.images, owner, some), np.float64)]
            shown.update(min(len(some), number - shown.n))
    *scores, whole, none = scores[: number + 2]
    finite(np.array([*scores, whole, none]), "the objective")
    return np.asarray(whole - np.array(scores), np.float32).reshape(shape), np.array([whole, none])


def in_batches(items: Sequence[float], kind: type = np.float32) -> np.ndarray:
    """Items in batches of one size, `[batches, size]`; the last item fills the last batch."""
    count = -(-len(items) // BATCH)
    size = -(-len(items) // count)
    return np.pad(np.asarray(items, kind), (0, count * size - len(items)), "edge").reshape(count, size)


@by_structure
def _activation(model: Model, layer: str, images: Numbers) -> Array:
    return call(model, jnp.asarray(images))[layer][0]


@by_structure
def _along(
    rest: Rest,
    goal: Objective,
    value: Array,
    start: Numbers,
    images: Numbers,
    points: Numbers,
    weights: Numbers,
) -> tuple[Array, Array]:
    """The objective at points between the baseline and the activations, and the weighted sum of its gradients."""
    score = jax.value_and_grad(lambda value: goal(rest(value[None], images)))
    scores, gradients = jax.vmap(lambda t: score(t * value + (1 - t) * start))(points)
    return scores, jnp.tensordot(weights, gradients, 1)


@by_structure
def _without(
    rest: Rest, goal: Objective, value: Array, start: Numbers, images: Numbers, owner: Numbers, which: Numbers
) -> Array:
    """The objective with one part of the layer at the baseline, for several parts, `[parts]`."""
    absent = lambda one: jnp.where((owner == one) | (one == _EVERYTHING), start, value)
    return jax.vmap(lambda one: goal(rest(absent(one)[None], images)))(which)
