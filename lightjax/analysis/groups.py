"""Groups of neurons: directions that make up a layer's activations for a picture or a folder of photographs."""

import os
import warnings
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis.factors import factored, factorization
from lightjax.analysis.group_results import Groups, shown
from lightjax.analysis.reading import made_with
from lightjax.analysis.rest import SIZE, Picture, Rest, goal_of, images_of, opened, rest, shapes_of, values_of
from lightjax.analysis.sobol import total_indices
from lightjax.contracts import Shapes, own_channels, own_size
from lightjax.objectives import Objective
from lightjax.pictures import find_pictures, load_picture
from lightjax.progress import bar

BATCH = 16
"""Pictures that go through the network at a time."""


def groups(
    picture: Picture | Sequence[str | os.PathLike],
    layer: str,
    number: int = 6,
    *,
    model: Model | str | os.PathLike | None = None,
    objective: str | Objective | Callable | None = None,
    of: str = "activations",
    signed: bool = False,
    designs: int = 32,
    progress: bool = True,
) -> Groups:
    """Groups of neurons of a layer that are active together, at the positions of a picture or of many photographs.

    The activations (or attributions) of all positions are factored as by `factor`. What the groups leave is a part of
    its own, the residual, so that the parts sum to the whole. All pictures and their activations are held in memory, at
    mixed4d of GoogLeNet about 3 MB for each.

    With an objective, the result says what each group does for it, in two ways. The attribution is the sum of
    (part * gradient), with the gradient of the network itself. The importance is CRAFT's: the total Sobol index of the
    group when the weights of all groups are multiplied by random numbers between 0 and 1, and the network goes on from
    the sum of the groups, without the residual.

    Examples:
      >>> groups = lj.groups("dog_cat.jpg", "mixed4d", objective="class_logit('golden retriever')")
      >>> groups.render().save("groups.png")

    Args:
      picture: A file, a folder, several files, `[H, W, C]`, or `[N, H, W, C]`, with values in [0, 1]. Files are scaled
        and cropped to the size that the network takes, or to 224 pixels.
      layer: Name of an activation, `[N, h, w, c]`, `[N, T, c]` for tokens, or `[N, c]`, which has one row for each
        picture and so needs several pictures.
      number: Number of groups, at most the number of positions and of channels.
      model: A network, or the name or path of one; by default the one that comes with lightjax.
      objective: As for `visualize`, computed from the layer: a logit or a difference of logits, for example.
      of: What is factored: "activations", or "attribution", the activations times the gradient of the objective, which
        have both signs.
      signed: Whether activations may be negative (see `factor`).
      designs: Number of random masks for the importance, which takes (number + 1) * designs runs of the rest of the
        network for each picture; 0 leaves it out. At least 2 otherwise.
      progress: Whether to show a progress bar, for several pictures.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If the layer or the objective is unknown or they do not fit together, activations are negative without
        `signed`, `number` or `designs` is out of range, or no picture can be read.
      ArithmeticError: If an activation or a gradient is infinite or not a number.
      ImportError: If scikit-learn is not installed.
      OSError: If there is no such file or folder.
      WeightsError: If the network cannot be found or loaded.

    References:
      Olah et al., "The Building Blocks of Interpretability", Distill, 2018. Fel et al., "CRAFT: Concept Recursive
      Activation FacTorization for Explainability", 2023.
    """
    number, designs = _checks.count(number, "number"), _checks.count(designs, "designs", least=0)
    of = _checks.one_of(of, ("activations", "attribution"), "of")
    signed, progress = _checks.flag(signed, "signed"), _checks.flag(progress, "progress")
    layer = _checks.text(layer, "layer")
    if designs == 1:
        raise ValueError("designs must be 0 or at least 2, got 1")
    if of == "attribution" and objective is None:
        raise ValueError("objective must be given for of='attribution'")
    factorization()  # an error at once if it is not installed
    model = opened(model)
    names, images = _pictures(picture, model)
    shapes = {name: one for name, one in shapes_of(model, (1, *images.shape[1:])).items() if name != "input"}
    shape = shapes[_checks.one_of(layer, shapes, "layer")].shape
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"layer must have activations [N, h, w, c], [N, T, c] or [N, c], got {list(shape)}")
    cut = goal = gradients = None
    if objective is not None:
        cut = rest(model, layer, size=(images.shape[1], images.shape[2]))
        goal = goal_of(objective, model, _after(cut, shapes[layer], images), layer)

    values = _in_batches(lambda some: _values(model, layer, some), (images,), names, progress)
    whole, what = values, f"activations of {layer}"
    if cut is not None and goal is not None:
        gradients = _in_batches(lambda *some: _gradients(cut, goal, *some), (values, images), names, progress)
    if of == "attribution" and gradients is not None:
        whole, what, signed = values * gradients, "attributions", True
    weights, directions = factored(whole, number, signed, what)
    order = np.argsort(-(weights * (whole @ directions.T)).reshape(-1, number).sum(0), kind="stable")
    weights, directions = np.ascontiguousarray(weights[..., order]), directions[order]
    residual = whole - weights @ directions

    attributions, importances = np.zeros((0, number + 1), np.float32), np.zeros((0, number), np.float32)
    if gradients is not None:
        slopes = np.ones_like(gradients) if of == "attribution" else gradients
        attributions = _attributions(weights, directions, residual, slopes)
    if cut is not None and goal is not None and designs and of == "activations":
        importances = _importances(cut, goal, weights, directions, images, designs, progress)
    settings = made_with(
        model,
        images,
        layer=layer,
        number=number,
        of=of,
        signed=signed,
        objective=str(objective) if isinstance(objective, str | Objective) else goal and str(goal),
        designs=designs,
    )
    kept = shown(weights)
    found = Groups(
        settings, weights, directions, residual, names, images[kept], kept, attributions, importances, np.zeros(0)
    )
    return found.of_network(model)


def _pictures(picture: Picture | Sequence[str | os.PathLike], model: Model) -> tuple[list[str], np.ndarray]:
    """The names of pictures and the pictures `[N, H, W, C]`. Of several files, those that cannot be read are left out.

    Raises:
      As `groups` does.
    """
    if _checks.is_several(picture) and all(isinstance(one, str | os.PathLike) for one in picture):  # type: ignore
        paths = [_checks.path(one, "picture") for one in picture]  # type: ignore[union-attr]
        names = [path.name for path in paths]
    elif isinstance(picture, str | os.PathLike) and (folder := _checks.path(picture, "picture")).is_dir():
        paths = find_pictures(folder)
        names = [path.relative_to(folder).as_posix() for path in paths]
    else:
        images = images_of(picture, model)  # type: ignore[arg-type]
        if isinstance(picture, str | os.PathLike):
            return [os.path.basename(picture)], images
        return ["the picture"] if len(images) == 1 else [str(number) for number in range(len(images))], images
    size, gray = own_size(model) or SIZE, own_channels(model) == 1
    found: dict[str, np.ndarray] = {}
    unreadable: list[str] = []
    for name, path in zip(names, paths, strict=True):
        try:
            found[name] = load_picture(path, size, gray=gray)
        except (ValueError, OSError):
            unreadable.append(name)
    if not found:
        raise ValueError(f"picture must have at least one file that can be read, got {len(paths)} that cannot")
    if unreadable:
        more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
        warnings.warn(f"skipped what cannot be read as a picture: {', '.join(unreadable[:5])}{more}", stacklevel=3)
    return list(found), np.stack(list(found.values()))


def _after(cut: Rest, value: jax.ShapeDtypeStruct, images: np.ndarray) -> Shapes:
    """Shapes of what follows from a layer, for one picture."""
    return jax.eval_shape(cut, value, jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.float32))


@by_structure
def _values(model: Model, layer: str, images: Array) -> Array:
    return call(model, images)[layer].astype(jnp.float32)


@by_structure
def _gradients(cut: Rest, goal: Objective, values: Array, images: Array) -> Array:
    """The gradient of the objective of each picture by the activations of the layer."""
    return jax.grad(lambda v: values_of(goal, cut(v, images)).sum())(values)


@by_structure
def _masked(cut: Rest, goal: Objective, weights: Array, directions: Array, masks: Array, image: Array) -> Array:
    """The objective when the weights of one picture's groups are multiplied by masks `[n, k]`, without the residual."""
    masks = jax.lax.expand_dims(masks, range(1, weights.ndim))
    images = jnp.broadcast_to(image, (len(masks), *image.shape))
    return values_of(goal, cut((weights[None] * masks) @ directions, images))


def _in_batches(
    function: Callable[..., Array], arrays: tuple[np.ndarray, ...], names: list[str], progress: bool
) -> np.ndarray:
    """A function of several pictures, for all of them in batches of one size.

    Raises:
      ArithmeticError: If a value is not finite.
    """
    number, results = len(names), []
    size = min(number, BATCH)
    with bar(number, "picture", progress and number > 1) as done:
        for start in range(0, number, size):
            some = [a[start : start + size] for a in arrays]
            missing = size - len(some[0])  # the last batch as large as the others: one compilation
            filled = [np.concatenate([a, np.repeat(a[-1:], missing, 0)]) if missing else a for a in some]
            results.append(np.asarray(function(*filled))[: len(some[0])])
            done.update(len(some[0]))
    found = np.concatenate(results)
    for name, one in zip(names, found, strict=True):
        if not np.isfinite(one).all():
            raise ArithmeticError(f"picture {name} gives values or gradients that are infinite or not numbers")
    return found


def _attributions(
    weights: np.ndarray, directions: np.ndarray, residual: np.ndarray, gradients: np.ndarray
) -> np.ndarray:
    """The sum of (part * gradient) of each group and of the residual, for each picture, `[N, k + 1]`."""
    parts = (weights * (gradients @ directions.T)).reshape(len(weights), -1, len(directions)).sum(1)
    left = (residual * gradients).reshape(len(weights), -1).sum(1, keepdims=True)
    return np.concatenate([parts, left], 1).astype(np.float32)


def _importances(
    cut: Rest,
    goal: Objective,
    weights: np.ndarray,
    directions: np.ndarray,
    images: np.ndarray,
    designs: int,
    progress: bool,
) -> np.ndarray:
    """The total Sobol index of each group, for each picture, `[N, k]`."""
    found, rows = [], jnp.asarray(directions)
    with bar(len(images), "picture", progress and len(images) > 1) as done:
        for weight, image in zip(weights, images, strict=True):
            objective = lambda masks, w=weight, x=image: np.asarray(_masked(cut, goal, w, rows, masks, x))
            found.append(total_indices(objective, len(directions), designs))
            done.update(1)
    return np.array(found, np.float32)
