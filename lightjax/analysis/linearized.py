"""Networks made linear: the gradient of a layer's channels at the center with respect to an earlier layer's map."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks, networks, ops
from lightjax._activations import named
from lightjax._structure import Model, by_structure
from lightjax.analysis.rest import SIZE, Rest, rest, shapes_of
from lightjax.contracts import own_channels
from lightjax.networks.architectures import Layer
from lightjax.progress import bar

NUMBERS = 2**22
"""Most entries of the largest array of one call."""

Numbers = Array | np.ndarray

LEVEL = 0.1
"""Size of the activations at which the gradient must be that at 0."""


class View(NamedTuple):
    """What a position of the target sees of the source map.

    Attributes:
      field: Side of the square that it sees, in positions of the source.
      ratio: Distance of neighboring positions of the target, in positions of the source.
      stride: Distance of neighboring positions of the source, in pixels.
    """

    field: int
    ratio: int
    stride: int


class Maps(NamedTuple):
    """The network from the source on, the target, and the shapes of both maps, (height, width, channels)."""

    cut: Rest
    target: str
    read: tuple[int, int, int]
    reading: tuple[int, int, int]


def view_of(model: Any, source: str, target: str) -> View | None:
    """What a position of the target sees, by the table of layers; None if there is none, or it does not say."""
    table = () if isinstance(model, networks.Captured) else getattr(model, "layers", ())
    lines = {line.name: line for line in table if isinstance(line, Layer)}
    a, b = lines.get(source), lines.get(target)
    if a is None or b is None or not (a.stride and a.receptive_field and b.stride and b.receptive_field):
        return None
    if b.stride < a.stride or b.receptive_field < a.receptive_field:
        return None
    return View(-(-(b.receptive_field - a.receptive_field) // a.stride) + 1, b.stride // a.stride, a.stride)


def looked(model: Model, source: str, target: str) -> View:
    """What a position of the target sees, found by looking at pictures of the usual size."""
    maps = maps_of(model, source, target, (SIZE, SIZE))
    row = gradients(maps, [], False)[-1]
    if not is_whole(row, None):
        raise ValueError(too_large(maps))
    rows, columns = box(row)
    ratio = max(round(maps.read[0] / maps.reading[0]), 1)
    return View(max(len(rows), len(columns)), ratio, max(round(SIZE / maps.read[0]), 1))


def sizes(model: Model, source: str, view: View) -> Iterator[tuple[int, int]]:
    """Sizes of pictures to try: as small as can be, and larger in case that the network's padding moves the center."""
    for more in (0, 2, 4):
        yield _picture(model, source, view, more)


def _picture(model: Model, source: str, view: View, more: int) -> tuple[int, int]:
    """Sides of pictures whose source map holds what a position of the target sees, and some rows more."""
    wanted = view.field + more * view.ratio
    side = wanted * view.stride
    while True:
        try:
            found = shapes_of(model, (1, side, side, own_channels(model)))
        except ValueError:  # the layers after the target may need larger pictures
            if side > 2 * SIZE:
                raise
            side *= 2
            continue
        missing = wanted - found[_checks.one_of(source, found, "source layer")].shape[1]
        if missing <= 0:
            return side, side
        side += missing * view.stride


def maps_of(model: Model, source: str, target: str, picture: tuple[int, int]) -> Maps:
    """The network from the source on, for pictures of a size.

    Raises:
      ValueError: If a layer is unknown or has no map, or the target does not come after the source.
    """
    shapes = shapes_of(model, (1, *picture, own_channels(model)))
    for name, what in ((source, "source"), (target, "target")):
        shape = shapes[_checks.one_of(name, shapes, f"{what} layer")].shape
        if len(shape) != 4:
            raise ValueError(f"{what} must be a layer of maps [N, h, w, c], but {name!r} is {list(shape)}")
    if source in ("input", target):
        raise ValueError(f"source must be a layer between the picture and the target {target!r}, got {source!r}")
    cut = rest(model, source, size=picture, pool="mean")
    (_, h, w, c), (_, *reading) = shapes[source].shape, shapes[target].shape
    return Maps(cut, target, (h, w, c), (reading[0], reading[1], reading[2]))


def gradients(maps: Maps, units: list[int], progress: bool) -> np.ndarray:
    """The gradients of units at the center, `[units + 1, h, w, c]`; at the end that of a random sum of all channels.

    Raises:
      ValueError: If they depend on the activations, so that the way is not linear, or nothing leads to the target.
      ArithmeticError: If one is infinite or not a number.
    """
    channels = maps.reading[2]
    every = np.concatenate([np.eye(channels, dtype=np.float32)[units], _random(channels)])
    largest = maps.read[0] * maps.read[1] * max(maps.read[2], channels)
    calls = -(-len(every) // max(NUMBERS // largest, 1))
    chunk = -(-len(every) // calls)
    images = np.zeros((1, *maps.cut.picture), np.float32)
    found = np.empty((len(every), *maps.read), np.float32)
    # The last rows first: errors come early.
    starts = range(max(len(every) - chunk, 0), -chunk, -chunk)
    with bar(len(units), "unit", progress) as shown:
        for start in (max(start, 0) for start in starts):
            part = every[start : start + chunk]
            found[start : start + chunk] = _back(maps.cut, maps.target, maps.read, images, np.zeros(()), part)
            if start + chunk >= len(every):
                again = _back(maps.cut, maps.target, maps.read, images, np.full((), LEVEL), part)
                _check(found[-1], np.asarray(again[-1], np.float32), maps)
            shown.update(min(len(part), len(units) - shown.n))
    if not np.isfinite(found).all():
        raise ArithmeticError(f"some weights of {maps.target!r} are infinite or not numbers")
    return found


@by_structure
def _back(
    cut: Rest, target: str, read: tuple[int, int, int], images: Numbers, level: Numbers, cotangents: Numbers
) -> Array:
    """Gradients `[K, h, w, c]` of sums of the target's channels, `[K, channels]`, at the center of its map."""

    def center(values: Array) -> Array:
        passing = lambda x: _passing(x, level)
        found = named(cut.model(images, given={cut.layer: values}, relu=passing, pool=ops.mean_max_pool))
        if target not in found:
            raise ValueError(f"target {target!r} is not computed from source {cut.layer!r}: choose an earlier source")
        middle = [(side - 1) // 2 for side in found[target].shape[1:3]]
        return found[target][0, middle[0], middle[1]]

    outputs, back = jax.vjp(center, level * _pattern((1, *read)))
    return jax.vmap(lambda cotangent: back(cotangent.astype(outputs.dtype))[0][0])(cotangents)


@jax.custom_vjp
def _passing(x: Array, level: Array) -> Array:
    """Activations that do not depend on `x`, with the gradient of the identity.

    At 0 nothing that follows is saturated or divided by its own size, whatever the biases are.
    """
    return (level * _pattern(x.shape)).astype(x.dtype)


_passing.defvjp(lambda x, level: (_passing(x, level), level), lambda level, g: (g, jnp.zeros_like(level)))


def _pattern(shape: tuple[int, ...]) -> Array:
    """Numbers in [0, 1] without order."""
    return jnp.abs(jnp.sin(jnp.arange(int(np.prod(shape)), dtype=jnp.float32))).reshape(shape)


def _random(channels: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, channels)).astype(np.float32)


def _check(row: np.ndarray, again: np.ndarray, maps: Maps) -> None:
    largest = np.abs(row).max()
    if largest == 0:
        raise ValueError(f"no weight leads from source {maps.cut.layer!r} to target {maps.target!r}: all are 0")
    if np.abs(again - row).max() > 1e-3 * largest:
        raise ValueError(
            f"source and target must have nothing but linear operations, rectifiers and max pools between them, but "
            f"what leads from {maps.cut.layer!r} to {maps.target!r} has others: smooth rectifiers, attention, "
            "gates, or normalization over the picture"
        )


def box(row: np.ndarray) -> tuple[range, range]:
    """The rows and columns of a map `[h, w, c]` outside of which all is 0."""
    found = []
    for axes in ((1, 2), (0, 2)):
        places = np.flatnonzero((row != 0).any(axes))
        found.append(range(int(places[0]), int(places[-1]) + 1))
    return found[0], found[1]


def is_whole(row: np.ndarray, field: int | None) -> bool:
    """Whether a map holds all that is seen: it is 0 at the border, or what is seen is as large as can be."""
    return all(
        len(places) == field or (places.start > 0 and places.stop < side)
        for places, side in zip(box(row), row.shape, strict=False)
    )


def too_large(maps: Maps) -> str:
    """What to say if what the target sees does not fit into the source map."""
    height, width, _ = maps.cut.picture
    return (
        f"size must be larger, or source nearer to target: what {maps.target!r} sees of {maps.cut.layer!r} reaches "
        f"the border of its map of {maps.read[0]}x{maps.read[1]}, for pictures of {height}x{width} pixels"
    )
