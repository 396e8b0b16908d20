"""The values of objectives for photographs, one by one or all over a folder, and where in them the values are."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import batching, contracts, objectives
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis.folder import Photographs
from lightjax.analysis.rest import values_of
from lightjax.networks.architectures import Layer
from lightjax.objectives import Objective
from lightjax.objectives.base import PRIMITIVES, terms_of

WAYS = ("maximum", "mean")
"""What the value of a photograph is: the largest at any position, or the objective as it is, a mean over positions."""

_UNITS = (objectives.channel, objectives.layer, objectives.direction, objectives.deepdream)
"""Objectives that have a value at each position of a layer, if they look at no window of it."""


class Measured(NamedTuple):
    """The values of J objectives for n photographs.

    Attributes:
      numbers: The numbers of the photographs, `[n]`.
      values: `[n, J, most]`, the largest first; minus infinity where a photograph has no more peaks.
      positions: Their positions, `[n, J, most]`, counted along the rows; 0 for objectives without positions.
      seen: The number of files that were looked at so far.
    """

    numbers: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    seen: int


class Grid(NamedTuple):
    """The positions of an objective in a photograph, and the side in pixels of the patch that one of them sees."""

    rows: int
    columns: int
    side: int

    def window(self, position: int, size: int) -> tuple[slice, slice]:
        """The pixels of the patch around a position, moved so that they lie inside of a square of `size` pixels."""
        place = np.unravel_index(position if self.rows * self.columns > 1 else 0, (self.rows, self.columns))
        row, column = (span(int(p), n, self.side, size) for p, n in zip(place, (self.rows, self.columns), strict=True))
        return row, column


def span(position: int, positions: int, side: int, size: int) -> slice:
    """The pixels of a patch along one side, around one of `positions` equal parts, moved so that they lie inside."""
    center = (position + 0.5) * size / positions
    start = min(max(round(center - side / 2), 0), size - side)
    return slice(start, start + side)


def layer_of(goal: Objective) -> str | None:
    """The layer at whose positions an objective has values; None if it looks at a photograph as a whole.

    The objective is a channel, a direction, a whole layer, or arithmetic with several of one layer. Its value at a
    position is what it is for this position alone.
    """
    layers = set()
    for term in terms_of(goal):
        if term.fn not in PRIMITIVES or PRIMITIVES[term.fn].constructor not in _UNITS:
            return None
        given = dict(zip(PRIMITIVES[term.fn].names, (*term.layers, *term.leaves, *term.options), strict=True))
        if given["rows"] is not None or given["columns"] is not None or given.get("reduce", "mean") != "mean":
            return None
        layers.add(given["layer"])
    return layers.pop() if len(layers) == 1 else None


def grid_of(
    goal: Objective, model: Model, shapes: Mapping[str, Any], size: int, at: str = "maximum", expand: float = 1.0
) -> Grid:
    """The positions of an objective in photographs of `size` pixels, whose patches are `expand` receptive fields wide.

    There is one, which sees all of it, if the objective has no values at positions, if the layer has no rows and
    columns (`[N, C]`, or tokens `[N, T, C]`), or if `at` is "mean".
    """
    layer = layer_of(goal) if at == "maximum" else None
    if layer is None or len(shapes[layer].shape) != 4:
        return Grid(1, 1, size)
    table = getattr(model, "layers", ())
    rows = table if isinstance(table, tuple | list) else ()
    fields = {row.name: row.receptive_field for row in rows if isinstance(row, Layer)} | {"input": 1}
    field = fields.get(layer)
    side = size if field is None else max(round(min(field * expand, size)), 1)
    return Grid(*shapes[layer].shape[1:3], side=side)


def measured(
    model: Model,
    goals: Sequence[Objective],
    names: Sequence[str],
    photographs: Photographs,
    *,
    at: str = "maximum",
    most: int = 1,
    start: int = 0,
    progress: bool = False,
) -> Iterator[Measured]:
    """Measure objectives for all photographs of a folder in one pass, batch by batch.

    Args:
      model: A network.
      goals: Objectives, checked and without names of classes.
      names: What errors call each of them.
      photographs: The photographs.
      at: One of `WAYS`.
      most: How many positions of a photograph are kept: positions whose value none of the eight around exceeds.
      start: Number of the first file.
      progress: Whether to show a progress bar.

    Raises:
      TypeError: If the model is not hashable.
      ArithmeticError: If a value is infinite or not a number.
      ValueError: If none of the photographs can be read.
    """
    contracts.check_hashable(model, "model", type(model))
    programs = batching.by_program(goals)
    groups = [batching.stack([goals[job] for job in jobs]) for jobs in programs]
    sizes = tuple(map(len, programs))
    order = np.argsort(np.concatenate([np.array(jobs) for jobs in programs]))
    for batch in photographs.batches(start, progress):
        found = jax.device_get(_peaks(model, groups, jnp.asarray(batch.images), sizes, at, most))
        values, positions = (x[: len(batch.numbers), order] for x in found)
        wrong = np.argwhere(~np.isfinite(values[..., 0]))
        if len(wrong):
            path, name = photographs.paths[batch.numbers[wrong[0, 0]]], names[wrong[0, 1]]
            raise ArithmeticError(f"{path} gives {name} values that are infinite or not numbers")
        yield Measured(batch.numbers, values, positions, batch.seen)


@by_structure
def _peaks(
    model: Model, groups: list[Objective], images: Array, sizes: tuple[int, ...], at: str, most: int
) -> tuple[Array, Array]:
    """The values of all objectives and their positions, `[N, J, most]` each."""
    activations = {"input": images} | call(model, images)
    of = lambda goal, _: _of_one(goal, activations, at, most)
    found = [jax.vmap(of)(group, jnp.arange(n)) for group, n in zip(groups, sizes, strict=True)]
    values, positions = (jnp.moveaxis(jnp.concatenate(parts), 0, 1) for parts in zip(*found, strict=True))
    return values, positions


def _of_one(goal: Objective, activations: Mapping[str, Array], at: str, most: int) -> tuple[Array, Array]:
    """The values of one objective and their positions, `[N, most]` each."""
    layer = layer_of(goal) if at == "maximum" else None
    if layer is None or activations[layer].ndim < 3:
        values = values_of(goal, activations)[:, None].astype(jnp.float32)
        values = jnp.pad(values, ((0, 0), (0, most - 1)), constant_values=-jnp.inf)
        return values, jnp.zeros(values.shape, int)
    x = activations[layer]
    alone = x.reshape(-1, *[1] * (x.ndim - 2), x.shape[-1])  # each position as a picture of one position
    maps = values_of(goal, {layer: alone}).reshape(x.shape[:-1]).astype(jnp.float32)
    flat = maps.reshape(len(x), -1)
    if most == 1:
        return flat.max(1, keepdims=True), flat.argmax(1, keepdims=True)
    window = (1, *[3] * (maps.ndim - 1))
    around = jax.lax.reduce_window(maps, -jnp.inf, jax.lax.max, window, [1] * maps.ndim, "SAME")
    peaks = jnp.where(maps < around, -jnp.inf, maps).reshape(flat.shape)
    peaks = jnp.pad(peaks, ((0, 0), (0, max(most - flat.shape[1], 0))), constant_values=-jnp.inf)
    return jax.lax.top_k(peaks, most)
