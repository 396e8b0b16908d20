"""Weights between channels as pictures: the strongest kernels of a unit, and what the kernels of several share."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightjax import _checks
from lightjax.analysis import drawing
from lightjax.analysis.reading import Reading
from lightjax.pictures import to_bytes

CELL = 64
"""Height in pixels of a drawn kernel."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Kernels(Reading):
    """The strongest of a unit's weights, as `ExpandedWeights.reads` and `feeds` give them, the strongest first.

    Attributes:
      title: What these weights are, in words.
      layer: The layer of the channels.
      channels: The channels at the other end.
      kernels: Their weights, `[number, h, w]`; positive ones excite.
      share: Their part of the squares of all weights of the unit, in [0, 1].
    """

    title: str
    layer: str
    channels: list[int]
    kernels: np.ndarray
    share: float

    @property
    def strengths(self) -> np.ndarray:
        """The Euclidean length of each kernel, `[number]`."""
        return lengths(self.kernels)

    @property
    def names(self) -> list[str]:
        """The channels as `visualize` knows them, such as "mixed3a:5"."""
        return [f"{self.layer}:{channel}" for channel in self.channels]

    def picture(self, pictures: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """The kernels on one scale: red excites, blue inhibits, nearly white is 0.

        Args:
          pictures: A picture `[H, W, 1 or 3]` in [0, 1] of each channel, to show above its kernel.

        Raises:
          TypeError: If `pictures` is no list of arrays.
          ValueError: If it has another length, or holds something else.
        """
        shown = None if pictures is None else _icons(pictures, len(self.channels))
        columns = []
        for i, (name, strength) in enumerate(zip(self.names, self.strengths, strict=True)):
            cell = drawn(self.kernels[i], float(np.abs(self.kernels).max(initial=0)))
            above = [] if shown is None else [drawing.resized(drawing.in_color(shown[i]), cell.shape[:2])]
            columns.append(drawing.captioned(drawing.stacked([*above, cell], 4), f"{name}\n{strength:.3g}", 11))
        row = drawing.beside(columns)
        heading = drawing.captioned(np.ones((1, 1, 3), np.float32), f"{self.title} ({self.share:.0%} of its weight)")
        return drawing.stacked([heading, row], 0)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Families(Reading):
    """What the kernels of several units share, as `ExpandedWeights.families` gives it.

    `weights[unit, channel] = sum over i of maps[unit, i] * directions[i, channel]`, up to the error.

    Attributes:
      layer: The layer of the directions.
      units: The units, each with the name of its layer.
      maps: Where each unit is excited (positive) and inhibited by each direction, `[units, number, h, w]`.
      directions: Directions in the layer that is read, `[number, channels]`, of length 1 and without negative
        entries, the one with the largest maps first. `lj.direction` takes them.
      error: Length of what is left out, divided by the length of the weights.
    """

    layer: str
    units: list[str]
    maps: np.ndarray
    directions: np.ndarray
    error: float

    def picture(self) -> np.ndarray:
        """A row for each unit, a column for each direction, on one scale."""
        largest = float(np.abs(self.maps).max(initial=0))
        rows = [
            drawing.captioned(drawing.beside([drawn(one, largest) for one in maps]), name, 11)
            for name, maps in zip(self.units, self.maps, strict=True)
        ]
        heading = f"{len(self.directions)} directions in {self.layer} (error {self.error:.2f})"
        return drawing.stacked([drawing.captioned(np.ones((1, 1, 3), np.float32), heading), *rows])


def families(weights: np.ndarray, number: int, units: Sequence[str], layer: str, settings: dict[str, Any]) -> Families:
    """Factor weights `[units, channels, h, w]` along the channels, with positive and negative weights apart."""
    outputs, channels, height, width = weights.shape
    signed = weights.transpose(0, 2, 3, 1).reshape(-1, channels)
    rows = np.concatenate([np.maximum(signed, 0), np.maximum(-signed, 0)])
    if number > min(rows.shape):
        raise ValueError(f"number must be at most {min(rows.shape)} for these weights, got {number}")
    parts, directions = _factors(rows, number)
    error = float(np.linalg.norm(rows - parts @ directions) / max(np.linalg.norm(rows), np.finfo(np.float32).tiny))
    sizes = np.linalg.norm(directions, axis=1)
    directions = directions / np.where(sizes > 0, sizes, 1)[:, None]
    maps = (parts[: len(signed)] - parts[len(signed) :]) * sizes
    order = np.argsort(-np.linalg.norm(maps, axis=0), kind="stable")
    maps = maps[:, order].reshape(outputs, height, width, number).transpose(0, 3, 1, 2)
    maps, directions = maps.astype(np.float32), directions[order].astype(np.float32)
    return Families(settings, layer, list(units), maps, directions, error)


def _factors(rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices without negative entries whose product is nearest to a third one.

    Raises:
      ImportError: If scikit-learn is not installed.
    """
    try:
        from sklearn.decomposition import NMF
    except ImportError:
        raise ImportError('families needs scikit-learn: pip install "lightjax[analysis]"') from None
    factorization = NMF(number, init="nndsvda", max_iter=2000)  # type: ignore[arg-type]
    parts = factorization.fit_transform(rows)
    return parts, np.asarray(factorization.components_)


def strongest(kernels: np.ndarray, number: int) -> tuple[list[int], float]:
    """The indices of the longest of kernels `[N, h, w]`, and their part of the squares of all."""
    squares = lengths(kernels) ** 2
    order = np.argsort(-squares, kind="stable")[:number]
    return [int(i) for i in order], float(squares[order].sum() / (squares.sum() or 1))


def lengths(kernels: np.ndarray) -> np.ndarray:
    """The Euclidean length of each of kernels `[..., h, w]`."""
    return np.sqrt(np.square(kernels, dtype=np.float64).sum((-2, -1)))


def drawn(kernel: np.ndarray, largest: float) -> np.ndarray:
    """A kernel `[h, w]` in colors, so large that one can see its entries."""
    height, width = kernel.shape
    scale = max(CELL // height, 1)
    return drawing.resized(drawing.colored(kernel, largest), (scale * height, scale * width), smooth=False)


def _icons(pictures: Any, number: int) -> list[np.ndarray]:
    """Pictures `[H, W, 1 or 3]`, as many as there are channels."""
    found = [_checks.array(picture, "pictures") for picture in _checks.several(pictures, "pictures", "arrays")]
    if len(found) != number:
        raise ValueError(f"pictures must be {number}, one for each channel, got {len(found)}")
    for picture in found:
        if picture.ndim != 3 or picture.shape[-1] not in (1, 3) or not picture.size:
            raise ValueError(f"pictures must be [H, W, 1 or 3] each, got {list(picture.shape)}")
        to_bytes(picture)
    return found
