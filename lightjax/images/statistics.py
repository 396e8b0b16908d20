"""Statistics of natural pictures: how their colors vary together, and how strong each wave is in them.

`measure` or `lightjax statistics FOLDER` measures both from a folder of pictures. The statistics of Caltech-101 come
with lightjax under the name "caltech101".
"""

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
import safetensors
import safetensors.numpy
from jax import Array
from safetensors import SafetensorError

from lightjax import _checks, _files
from lightjax.pictures import load_picture

SHIPPED = ("caltech101",)
"""Names of the statistics that come with lightjax."""

Matrix = tuple[tuple[float, ...], ...]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["spectrum"], meta_fields=["color"])
@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """Colors and spectrum of a collection of pictures.

    Attributes:
      color: Turns decorrelated colors into red, green and blue, `[3, 3]`: a square root of the covariance of colors,
        whose largest column has norm 1. The first column, by far the largest, is brightness.
      spectrum: Mean magnitude of each wave in these decorrelated colors, times its frequency, `[3, R, C]`. Rows are
        vertical frequencies from -1/2 to 1/2 cycles per pixel, columns horizontal ones from 0 to 1/2.
    """

    color: Matrix
    spectrum: Array | np.ndarray

    def __post_init__(self):
        """Check the settings. The spectrum may be a placeholder of JAX here."""
        if self.spectrum is None or isinstance(self.spectrum, str | bool | int | float | tuple | list | dict):
            raise TypeError(f"spectrum must be an array [3, R, C], got {_checks.shown(self.spectrum)}")
        if np.shape(_checks.numbers(self.color, "color")) != (3, 3):
            raise ValueError(f"color must be a matrix [3, 3], got {_checks.shown(self.color)}")

    def amplitude(self, height: int, width: int) -> Array | np.ndarray:
        """Mean magnitude of each wave of a picture of any size, up to a factor: `[3, H, W // 2 + 1]`, 0 for the mean.

        The product of magnitude and frequency changes little from wave to wave, so this product is interpolated, at the
        frequencies of this size. (Resizing the magnitudes themselves like a picture, as other libraries do, shifts
        every wave by a part of a row.)
        """
        vertical, horizontal = np.fft.fftfreq(height), np.fft.rfftfreq(width)
        rows = _between((vertical + 0.5) * (self.spectrum.shape[1] - 1), self.spectrum.shape[1])
        columns = _between(horizontal * 2 * (self.spectrum.shape[2] - 1), self.spectrum.shape[2])
        frequency = np.hypot(vertical[:, None], horizontal)[None]
        inverse = np.divide(1, frequency, out=np.zeros_like(frequency), where=frequency > 0)
        with jax.default_matmul_precision("highest"):
            return rows @ self.spectrum @ columns.T * inverse.astype(np.float32)

    def __repr__(self) -> str:
        return f"Statistics(spectrum=<{'x'.join(map(str, self.spectrum.shape))}>)"


def measure(pictures: Sequence[str | os.PathLike], size: int = 128) -> Statistics:
    """Measure the colors and the spectrum of pictures.

    Every picture is scaled and cropped to a square. Before its Fourier transform its mean is subtracted and it fades to
    the edges (Hann window); otherwise the step from one edge to the opposite one would show as a cross in the spectrum.

    Args:
      pictures: Files of pictures; each is read twice.
      size: Side of the square in pixels, an even number of at least 8.

    Raises:
      ValueError: If there are no pictures, the size is wrong, a file is not a picture, or their colors do not vary.
    """
    if _checks.whole(size, "size", least=8) % 2:
        raise ValueError(f"size must be an even number, got {size}")
    if not pictures:
        raise ValueError("statistics need at least one picture")
    color = _color(_squares(pictures, size, "colors"))
    to_planes = np.linalg.inv(color).T
    window = np.hanning(size + 1)[:-1]
    window = window[:, None] * window
    total = np.zeros((size, size // 2 + 1, 3))
    for picture in _squares(pictures, size, "spectrum"):
        planes = picture @ to_planes
        planes -= np.average(planes, axis=(0, 1), weights=np.broadcast_to(window[..., None], planes.shape))
        total += np.abs(np.fft.rfft2(planes * window[..., None], axes=(0, 1)))
    flat = total * np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))[..., None]
    flat[0, 0] = (flat[1, 0] + flat[0, 1]) / 2
    flat = np.moveaxis(np.fft.fftshift(flat, axes=0), -1, 0)
    flat = np.concatenate([flat, flat[:, :1]], axis=1)  # -1/2 and 1/2 are the same wave
    return Statistics(_nested(color), (flat / flat.mean()).astype(np.float16))


def write(path: str | os.PathLike, statistics: Statistics, notes: dict[str, str] | None = None) -> None:
    """Write statistics into a safetensors file, whole or not at all.

    Args:
      path: The file.
      statistics: What to write; the spectrum in half precision.
      notes: More to keep in the file, such as the source of the pictures.
    """
    tensors = {
        "color": np.array(statistics.color, np.float32),
        "spectrum": np.array(statistics.spectrum, np.float16, order="C"),  # safetensors writes the memory as it lies
    }
    _files.write_atomically(path, safetensors.numpy.save(tensors, {"format": "lightjax statistics", **(notes or {})}))


def load_statistics(source: str | os.PathLike) -> Statistics:
    """Load statistics by name ("caltech101") or from a file that `lightjax statistics` wrote.

    Raises:
      TypeError: If it is neither a name nor a path.
      ValueError: If the name is unknown, or the file holds something else.
      FileNotFoundError: If there is no such file.
    """
    if isinstance(source, str) and source in SHIPPED:
        return _shipped(source)
    _checks.path(source, "statistics")
    if _files.is_name(source) and not Path(source).is_file():
        _checks.one_of(source, SHIPPED, "statistics")
    if not Path(source).is_file():
        raise FileNotFoundError(
            f"there are no statistics {str(source)!r}: give a file, or {', '.join(map(repr, SHIPPED))}"
        )
    return _read(Path(source))


@functools.cache
def _shipped(name: str) -> Statistics:
    return _read(Path(__file__).parents[1] / "data" / f"{name}.safetensors")


def _read(path: Path) -> Statistics:
    try:
        tensors = safetensors.numpy.load_file(path)
        color = tensors["color" if "color" in tensors else "colour"]  # "colour" in files of earlier versions
        spectrum = tensors["spectrum"]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is not a file of statistics that `lightjax statistics` wrote") from error
    if color.shape != (3, 3) or spectrum.ndim != 3 or len(spectrum) != 3 or not np.isfinite(spectrum).all():
        raise ValueError(f"{path} is not a file of statistics: its arrays have the wrong shape or values")
    return Statistics(_nested(color), spectrum)


def _between(at: np.ndarray, count: int) -> np.ndarray:
    """Weights of linear interpolation at positions from 0 to count - 1, `[positions, count]`."""
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count))).astype(np.float32)


def _color(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """A square root of the covariance of the colors of all pixels, its largest column scaled to norm 1."""
    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for picture in pictures:
        pixels = picture.reshape(-1, 3)
        count, total, products = count + len(pixels), total + pixels.sum(0), products + pixels.T @ pixels
    mean = total / count
    variances, axes = np.linalg.eigh(products / count - np.outer(mean, mean))
    if variances[0] <= 1e-8 * max(variances[-1], 1e-8):
        raise ValueError("these pictures have too few colors to decorrelate them: are they all gray?")
    root = (axes * np.sqrt(variances))[:, ::-1]
    return root * np.where(root[0] < 0, -1, 1) / np.sqrt(variances[-1])


def _squares(pictures: Sequence[str | os.PathLike], size: int, purpose: str) -> Iterator[np.ndarray]:
    from tqdm import tqdm  # that of tqdm.auto warns in a notebook without ipywidgets

    for path in tqdm(pictures, desc=purpose, unit="picture", disable=None, dynamic_ncols=True):
        yield load_picture(path, size).astype(np.float64)


def _nested(matrix: np.ndarray) -> Matrix:
    return tuple(tuple(round(float(value), 7) for value in row) for row in matrix)
