"""Renders and units compared with the photographs of a folder: in the network itself, and as an eye sees them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks, labels
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis import measure, measures
from lightjax.analysis.evaluated import LIKENESS
from lightjax.analysis.folder import SIZE, Photographs, input_of, pictures_in
from lightjax.contracts import own_size
from lightjax.networks.architectures import Layer
from lightjax.objectives import Objective

_LEAST = 4 * (measures.REFERENCES + 1)
"""Fewest photographs of which some are compared with others."""


class Judge(NamedTuple):
    """Another network, the layer that says how alike photographs are, and the photographs as it takes them."""

    eye: Model
    layer: str
    photographs: Photographs


def photographs(folder: Path, model: Model, layers: Sequence[str] = ()) -> Photographs:
    """The photographs of a folder as a network takes them.

    Raises:
      ValueError: If there are fewer than 40, or a layer is unknown.
    """
    paths = pictures_in(folder)
    if len(paths) < _LEAST:
        raise ValueError(f"photographs must be at least {_LEAST}, got {len(paths)} in {folder}")
    side = max(own_size(model) or (SIZE,))
    size, bands, shapes = input_of(model, side, side)
    for name in layers:
        _checks.one_of(name, shapes, "layer in layers")
    return Photographs(folder, paths, size, bands)


def judge(eye: Model, folder: Path, features: str | None) -> Judge:
    """The eye with its layer of features, by default the last that has positions.

    Raises:
      ValueError: If the layer is unknown.
    """
    seen = photographs(folder, eye)
    names: list[str] = []

    def run(images: Array) -> dict[str, Array]:
        found = call(eye, images)
        names.extend(found)  # in the order of computation, which shapes have not
        return found

    shapes = jax.eval_shape(run, jax.ShapeDtypeStruct((1, seen.size, seen.size, seen.bands), jnp.float32))
    if features is not None:
        return Judge(eye, _checks.one_of(features, shapes, "layer in features"), seen)
    names = [row.name for row in getattr(eye, "layers", ()) if isinstance(row, Layer) and row.name in shapes] or names
    return Judge(eye, ([name for name in names if shapes[name].ndim == 4] or names)[-1], seen)


def likenesses(
    model: Model,
    pictures: Sequence[np.ndarray],
    classes: Sequence[int | None],
    whole: Photographs,
    layers: Sequence[str],
    progress: bool,
) -> dict[str, list[float]]:
    """The path likeness of pictures in layers, NaN where there are no photographs of the class of a picture.

    A class has the folder whose name is one of its names; the other classes are all other folders that are classes.
    """
    means, numbers = _channel_means(model, layers, whole, progress)
    names = getattr(model, "class_names", ())
    folders = [Path(whole.names[i]).parent.name for i in numbers]
    known = {folder: _class_of(folder, names) for folder in set(folders)}
    shown = np.array([-1 if known[folder] is None else known[folder] for folder in folders])
    found: dict[str, list[float]] = {LIKENESS + layer: [] for layer in layers}
    for picture, label in zip(pictures, classes, strict=True):
        same, other = shown == label, (shown != label) & (shown >= 0)
        enough = label is not None and same.sum() >= 2 and other.sum() >= 1
        own = jax.device_get(_means(model, jnp.asarray(picture)[None], tuple(layers))) if enough else []
        for i, layer in enumerate(layers):
            value = measures.path_likeness(own[i][0], means[i][same], means[i][other]) if enough else float("nan")
            found[LIKENESS + layer].append(value)
    return found


def judgments(
    model: Model,
    goals: Sequence[Objective],
    names: Sequence[str],
    whole: Photographs,
    judge: Judge,
    seed: int,
    progress: bool,
) -> dict[str, list[float]]:
    """How well the eye tells what the units respond to, and how alike that looks to it."""
    parts = list(measure.measured(model, goals, names, whole, at="mean", progress=progress))
    values = np.concatenate([part.values[..., 0] for part in parts])
    features = measures.judged(_channel_means(judge.eye, (judge.layer,), judge.photographs, progress)[0][0])
    if len(values) < _LEAST:
        raise ValueError(f"photographs must be at least {_LEAST} that can be read, got {len(values)}")
    found: dict[str, list[float]] = {"told": [], "sure": [], "alike": []}
    for unit in values.T:
        told, sure = measures.interpretability(unit, features, np.random.default_rng(seed))
        for name, value in zip(found, (told, sure, measures.monosemanticity(unit, features)), strict=True):
            found[name].append(value)
    return found


def _class_of(folder: str, names: Sequence[str]) -> int | None:
    try:
        return labels.class_index(folder, names)
    except ValueError:
        return None


def _channel_means(
    model: Model, layers: Sequence[str], whole: Photographs, progress: bool
) -> tuple[list[np.ndarray], np.ndarray]:
    """Channel means of layers for all photographs that can be read, `[n, C]` each, and the photographs' numbers."""
    parts, numbers = [], []
    for batch in whole.batches(progress=progress):
        means = jax.device_get(_means(model, jnp.asarray(batch.images), tuple(layers)))
        parts.append([x[: len(batch.numbers)] for x in means])
        numbers.append(batch.numbers)
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)], np.concatenate(numbers)


@by_structure
def _means(model: Model, images: Array, layers: tuple[str, ...]) -> list[Array]:
    """Means over positions of layers, `[N, C]` each."""
    activations = {"input": images} | call(model, images)
    return [activations[name].mean(tuple(range(1, activations[name].ndim - 1))) for name in layers]
