"""Places in photographs, drawn at random, and what a network has there: the activations of layers, and evidence."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis.folder import Batch, Photographs
from lightjax.analysis.rest import Rest, pushed_forward, rest
from lightjax.contracts import Shapes
from lightjax.networks.cuts import DeadEnd
from lightjax.objectives.names import known
from lightjax.objectives.units import LOGITS


class Part(NamedTuple):
    """Some rows of a sample, and the number of files that were looked at so far."""

    sources: list[str]
    places: np.ndarray
    vectors: np.ndarray
    evidence: np.ndarray
    seen: int


def grids_of(names: Sequence[str], shapes: Shapes, per_picture: int) -> list[list[int]]:
    """Rows, columns and channels of the layers."""
    if not names:
        raise ValueError("layers must be at least one, got none")
    if len({*names}) < len(names):
        raise ValueError(f"layers must be different, got {_checks.shown(list(names))}")
    for name in names:
        shape = shapes[known(name, shapes)].shape
        if len(shape) != 4 or min(shape[1:3]) < 3:
            raise ValueError(
                f"layers must have positions, [N, h, w, c], and at least 3 rows and columns, because the borders are "
                f"left out; {name!r} has {list(shape)}"
            )
    grids = [list(shapes[name].shape[1:]) for name in names]
    inside = (min(rows for rows, *_ in grids) - 2) * (min(columns for _, columns, _ in grids) - 2)
    if per_picture > inside:
        raise ValueError(
            f"per_picture must be at most {inside}, the positions inside of the borders, got {per_picture}"
        )
    return grids


def rests_of(model: Model, names: Sequence[str], shapes: Shapes, size: int, bands: int, pool: str) -> tuple[Rest, ...]:
    """The rest of the network from each layer on, which must compute the logits."""
    logits = getattr(model, "logits", LOGITS)
    if logits not in shapes or len(shapes[logits].shape) != 2:
        raise ValueError(f"classes must be False for a network without logits: it has no layer {logits!r} [N, classes]")
    images = jax.ShapeDtypeStruct((1, size, size, bands), jnp.float32)
    rests = []
    for name in names:
        try:
            rests.append(rest(model, name, size=size, pool=pool))
            computed = name != logits and logits in jax.eval_shape(rests[-1], shapes[name], images)
        except DeadEnd:
            computed = False
        if not computed:
            raise ValueError(f"classes must be False for {name!r}: the logits, {logits!r}, are not computed from it")
    return tuple(rests)


def draw(seed: int, number: int, count: int, grids: Sequence[Sequence[int]]) -> np.ndarray:
    """Places in a photograph, `[count, 2]`: inside different positions of the smallest grid, without its borders."""
    random = np.random.default_rng([seed, number])
    rows, columns = (min(grid[axis] for grid in grids) for axis in (0, 1))
    positions = random.permutation((rows - 2) * (columns - 2))[:count]
    within = (random.integers(2**32, size=(count, 2)) + 0.5) / 2**32  # never 0 or 1, so that no rounding moves it out
    return (np.stack(np.divmod(positions, columns - 2), -1) + 1 + within) / (rows, columns)


def positions_at(places: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """The positions that hold places, (row, column)."""
    return np.floor(places * grid[:2]).astype(np.int32)


def part_of(
    model: Model,
    rests: tuple[Rest, ...],
    names: Sequence[str],
    logits: str,
    photographs: Photographs,
    batch: Batch,
    places: np.ndarray,
    grids: Sequence[Sequence[int]],
) -> Part:
    """The rows of a batch of photographs, whose places are `[n, count, 2]`."""
    read, count = places.shape[:2]
    positions = np.stack([positions_at(places, grid) for grid in grids])  # [layers, n, count, 2]
    filled = np.zeros((len(grids), len(batch.images), count, 2), np.int32)
    filled[:, :read] = positions
    vectors, evidence = jax.device_get(
        _taken(model, rests, jnp.asarray(batch.images), jnp.asarray(filled), tuple(names), logits)
    )
    wrong = [i for i in range(read) if not (np.isfinite(vectors[i]).all() and np.isfinite(evidence[i]).all())]
    if wrong:
        path = photographs.paths[batch.numbers[wrong[0]]]
        raise ArithmeticError(f"{path} gives activations or gradients that are infinite or not numbers")
    sources = [photographs.paths[i].relative_to(photographs.folder).as_posix() for i in batch.numbers]
    return Part(
        [source for source in sources for _ in range(count)],
        places.reshape(-1, 2),
        vectors[:read].reshape(read * count, -1),
        evidence[:read].reshape(read * count, *evidence.shape[2:]),
        batch.seen,
    )


@by_structure
def _taken(
    model: Model, rests: tuple[Rest, ...], images: Array, positions: Array, names: tuple[str, ...], logits: str
) -> tuple[Array, Array]:
    """Vectors `[N, count, channels]` and evidence `[N, count, layers, classes]`; positions `[layers, N, count, 2]`."""
    activations = call(model, images)
    pictures = jnp.arange(len(images))[:, None]
    vectors = [activations[name][pictures, p[..., 0], p[..., 1]] for name, p in zip(names, positions, strict=True)]
    evidence = jnp.zeros((*positions.shape[1:3], len(names), 0), jnp.float32)
    if rests:
        found = []
        for later, name, place in zip(rests, names, positions, strict=True):
            values = activations[name]

            def push(at: Array, values: Array = values, later: Rest = later) -> Array:
                one = jnp.zeros_like(values).at[jnp.arange(len(images)), at[:, 0], at[:, 1]].set(1)
                return pushed_forward(lambda x: later(x, images)[logits], values, values * one)[1]

            found.append(jnp.stack([push(place[:, i]) for i in range(place.shape[1])], 1))
        evidence = jnp.stack(found, 2).astype(jnp.float32)
    return jnp.concatenate(vectors, -1).astype(jnp.float32), evidence
