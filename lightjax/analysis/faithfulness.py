"""Whether expanded weights stand for a network: their correlation with its true Jacobian on photographs."""

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks
from lightjax._activations import call, named
from lightjax._structure import Model, by_structure
from lightjax.analysis import drawing
from lightjax.analysis.kernels import lengths
from lightjax.analysis.linearized import Numbers
from lightjax.analysis.reading import Reading
from lightjax.analysis.rest import SIZE, Rest, images_of, reads_images, rest
from lightjax.contracts import own_channels, own_size
from lightjax.pictures import find_pictures, load_picture
from lightjax.progress import bar

NUMBERS = 2**23
"""Most entries of the largest array of one call."""

UNITS = 16
"""Units of one call."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Faithfulness(Reading):
    """How well expanded weights agree with the Jacobian of the network itself, averaged over places in photographs.

    A place counts for a unit if the unit has a gradient there: if its own rectifier is open. Weights are expected
    gradients up to a factor for each unit, so `overall` and `strengths` give the Jacobian of each unit the length of
    its weights, and leave out units that no place counts for.

    Attributes:
      overall: Correlation of all weights with the entries of the mean Jacobian.
      strengths: Correlation of the lengths of the kernels, one for each pair of channels.
      by_unit: Correlation of the weights of each unit, `[units]`; NaN for a unit that no photograph excites.
      active: Share of the places that count for each unit, `[units]`.
      jacobian: The mean Jacobian, `[units, channels, h, w]`; 0 for a unit that no place counts for.
    """

    overall: float
    strengths: float
    by_unit: np.ndarray
    active: np.ndarray
    jacobian: np.ndarray

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the units has a correlation below the first number, a quarter above the second."""
        found = self.by_unit[np.isfinite(self.by_unit)]
        low, high = np.quantile(found, (0.25, 0.75)) if len(found) else (np.nan, np.nan)
        return float(low), float(high)

    def picture(self) -> np.ndarray:
        """The correlations as bars."""
        names = ["all weights", "lengths of kernels", "lower quartile of units", "upper quartile of units"]
        return drawing.bars(names, [self.overall, self.strengths, *self.quartiles])


@dataclasses.dataclass(frozen=True)
class Place:
    """Where expanded weights lie: of which units on which map, and how the map was cropped.

    Attributes:
      source: The layer that is read.
      target: The layer that reads.
      units: Channels of the target.
      size: Height and width of the pictures that the map belongs to.
      corner: Row and column of the map where the weights begin.
      sides: Height and width of the weights.
    """

    source: str
    target: str
    units: tuple[int, ...]
    size: tuple[int, int]
    corner: tuple[int, int]
    sides: tuple[int, int]


def compared(weights: np.ndarray, jacobian: np.ndarray, active: np.ndarray, settings: dict[str, Any]) -> Faithfulness:
    """The correlations of weights with a mean Jacobian, both `[units, channels, h, w]`."""
    by_unit = np.array([_correlation(*pair) for pair in zip(weights, jacobian, strict=True)])
    some = active > 0
    size = lambda x: np.sqrt(np.square(x, dtype=np.float64).sum((1, 2, 3), keepdims=True))
    chosen, scaled = weights[some], jacobian[some] * (size(weights[some]) / size(jacobian[some]))
    strengths = _correlation(lengths(chosen), lengths(scaled))
    return Faithfulness(settings, _correlation(chosen, scaled), strengths, by_unit, active, jacobian)


def mean_jacobian(
    model: Model, place: Place, photographs: Any, number: int, positions: int, seed: int, progress: bool
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """The Jacobian of units at places in photographs, averaged over the places where a unit has one.

    Returns:
      The mean, `[units, channels, h, w]`, the share of these places, `[units]`, the number of photographs, and the
      number of places in each.
    """
    cut = rest(model, place.source, size=place.size)
    random = np.random.default_rng(seed)
    seen = _loaded(photographs, cut.model, place, number, random)
    images = jax.ShapeDtypeStruct((1, *cut.picture), jnp.float32)
    patch = jax.eval_shape(lambda x: call(cut.model, x)[place.source], images)
    alone = lambda values, x: {place.target: cut(values, x)[place.target]}
    if reads_images(alone, patch, images):
        raise ValueError(
            f"{place.target!r} is not computed from {place.source!r} alone, so its Jacobian depends on other branches: "
            "choose an earlier source"
        )
    found = [_patches(cut.model, place, image, patch.shape[1:3], positions, random) for image in seen]
    patches = np.concatenate(found)
    jacobian = np.zeros((len(place.units), *patches.shape[1:]), np.float64)
    active = np.zeros(len(place.units))
    largest = max(patches[0].size, 1)
    batch = int(np.clip(NUMBERS // largest, 1, len(patches)))
    batch = -(-len(patches) // -(-len(patches) // batch))  # as large as possible, and all of about the same size
    units = np.resize(np.array(place.units, np.int32), (-(-len(place.units) // UNITS), UNITS))
    pictures = np.zeros((batch, *cut.picture), np.float32)
    with bar(len(place.units), "unit", progress) as shown:
        for i, chunk in enumerate(units):
            some = min(UNITS, len(place.units) - i * UNITS)
            for start in range(0, len(patches), batch):
                part = np.zeros((batch, *patches.shape[1:]), patches.dtype)
                counts = np.zeros(batch, np.float32)
                part[: len(patches) - start] = patches[start : start + batch]
                counts[: len(patches) - start] = 1
                summed, opened = _summed(cut, place.target, part, counts, pictures, chunk)
                jacobian[i * UNITS : i * UNITS + some] += np.asarray(summed, np.float64)[:some]
                active[i * UNITS : i * UNITS + some] += np.asarray(opened)[:some]
            shown.update(some)
    (top, left), (height, width) = place.corner, place.sides
    inside = jacobian[:, top : top + height, left : left + width]
    inside /= np.maximum(active, 1)[:, None, None, None]
    if not np.isfinite(inside).all():
        raise ArithmeticError(f"the Jacobian of {place.target!r} has entries that are infinite or not numbers")
    if not inside.any():
        raise ValueError(f"photographs must excite a unit of {place.target!r}, but these excite none: give others")
    return inside.transpose(0, 3, 1, 2).astype(np.float32), active / len(patches), len(seen), len(found[0])


@by_structure
def _summed(
    cut: Rest, target: str, patches: Numbers, counts: Numbers, images: Numbers, units: Numbers
) -> tuple[Array, Array]:
    """The Jacobian of units at the center with respect to patches `[B, h, w, c]`, and whether there is one, summed.

    Returns:
      `[units, h, w, c]` and `[units]`.
    """

    def centers(patches: Numbers) -> Array:
        found = cut(patches, images)[target]
        return found[:, (found.shape[1] - 1) // 2, (found.shape[2] - 1) // 2]

    outputs, back = jax.vjp(centers, patches)
    choose = lambda unit: counts[:, None] * (jnp.arange(outputs.shape[1]) == unit)

    def total(unit: Array) -> tuple[Array, Array]:
        (found,) = back(choose(unit).astype(outputs.dtype))
        return found.sum(0), (found != 0).any((1, 2, 3)).sum()

    return jax.lax.map(total, jnp.asarray(units))


@by_structure
def _two_layers(model: Model, images: Numbers, names: tuple[str, str]) -> tuple[Array, Array]:
    found = named(model(images))
    return found[names[0]], found[names[1]]


def _loaded(photographs: Any, model: Model, place: Place, number: int, random: np.random.Generator) -> list[np.ndarray]:
    """Some of the photographs, `[1, H, W, C]` each, at the size of the network, or as large as the map at least."""
    if isinstance(photographs, str | os.PathLike):
        paths = find_pictures(photographs)
    else:
        paths = _checks.several(photographs, "photographs", "files or pictures")
    if not paths:
        raise ValueError("photographs must be at least one, got none")
    chosen = np.sort(random.choice(len(paths), min(number, len(paths)), replace=False))
    size = own_size(model) or (max(SIZE, place.size[0]), max(SIZE, place.size[1]))
    gray = own_channels(model) == 1
    load = lambda file: load_picture(file, size, gray=gray)[None]
    files = [paths[i] for i in chosen]
    return [load(one) if isinstance(one, str | os.PathLike) else images_of(one, model)[:1] for one in files]


def _patches(
    model: Model, place: Place, image: np.ndarray, sides: tuple[int, ...], positions: int, random: np.random.Generator
) -> np.ndarray:
    """Parts of a photograph's activations, `[positions, h, w, c]`, at places of the target that see all of their part.

    Raises:
      ValueError: If the photograph is too small.
    """
    source, target = (np.asarray(a)[0] for a in _two_layers(model, image, (place.source, place.target)))
    steps = [max(round(a / b), 1) for a, b in zip(source.shape[:2], target.shape[:2], strict=True)]
    counts = [(a - b) // step + 1 for a, b, step in zip(source.shape[:2], sides, steps, strict=True)]
    if min(counts) < 1:
        raise ValueError(
            f"photographs must be at least {place.size[0]}x{place.size[1]} pixels for these weights, got "
            f"{image.shape[1]}x{image.shape[2]}"
        )
    every = counts[0] * counts[1]
    chosen = random.choice(every, min(positions, every), replace=False)
    starts = [(int(i) // counts[1] * steps[0], int(i) % counts[1] * steps[1]) for i in chosen]
    return np.stack([source[y : y + sides[0], x : x + sides[1]] for y, x in starts])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; NaN if there is none because all entries of one are equal."""
    x, y = (np.ravel(one).astype(np.float64) for one in (a, b))
    x, y = x - x.mean(), y - y.mean()
    length = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / length) if length > 0 else float("nan")
