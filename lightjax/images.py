"""Image parameterisations: what is optimised, and how it becomes a picture.

A parameterisation is a pair of pure functions, `init(key) -> params` and `decode(params) -> images`, on a frozen
dataclass, so that two with the same settings are equal and share one compilation. Pictures are `[N, H, W, 3]` float32
in [0, 1]; the N pictures of one parameterisation are optimised together, by one objective.
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Size = int | tuple[int, int]

# Square root of the covariance of colours in natural images (ImageNet), from Lucid's `param/color.py`, scaled so that
# its largest column has norm 1.
_COLOUR = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOUR_CORRELATION = _COLOUR / np.linalg.norm(_COLOUR, axis=0).max()
"""Turns decorrelated colours into red, green and blue: `rgb = COLOUR_CORRELATION @ decorrelated`, `[3, 3]`."""


class Image(Protocol):
    """What every image parameterisation offers; it must be hashable."""

    def init(self, key: Array) -> Any:
        """Draw the parameters of N pictures from a key."""
        ...

    def decode(self, params: Any) -> Array:
        """The pictures `[N, H, W, 3]` in [0, 1] that the parameters stand for."""
        ...


def height_and_width(size: Size) -> tuple[int, int]:
    """Check a size in pixels, one number for a square or (height, width).

    Raises:
      ValueError: If it is not one or two whole numbers from 1 on.
    """
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in pair):
        raise ValueError(f"size is a positive number of pixels or a pair (height, width) of them, not {size!r}")
    return int(pair[0]), int(pair[1])


def fourier_image(
    size: Size = 224, *, batch: int = 1, sd: float = 0.01, decay: float = 1.0, decorrelate: bool = True
) -> "FourierImage":
    """Pictures as sums of waves, in which all scales and colours move at the speed of natural images.

    The parameters are the coefficients of a two-dimensional Fourier transform, divided by their frequency, in a colour
    space without correlations; a sigmoid keeps the picture in range. Any size will do, odd ones too.

    Args:
      size: Pixels, one number for a square or (height, width).
      batch: Number of pictures optimised together.
      sd: Standard deviation of the first coefficients, in real and imaginary part each.
      decay: Power of the frequency by which coefficients are divided.
      decorrelate: Whether colours are decorrelated; if not, the channels are red, green and blue.

    Raises:
      ValueError: If a setting is out of range.

    References:
      Olah et al., "Feature Visualization", Distill, 2017. Constants as in Lucid, `param/spatial.py`.
    """
    return FourierImage(*height_and_width(size), _count(batch), _positive(sd, "sd"), _finite(decay), decorrelate)


def pixel_image(size: Size = 224, *, batch: int = 1, sd: float = 0.01, decorrelate: bool = True) -> "PixelImage":
    """Pictures as plain pixels, in a colour space without correlations, kept in range by a sigmoid.

    Args:
      size: Pixels, one number for a square or (height, width).
      batch: Number of pictures optimised together.
      sd: Standard deviation of the first values.
      decorrelate: Whether colours are decorrelated; if not, the channels are red, green and blue.

    Raises:
      ValueError: If a setting is out of range.
    """
    return PixelImage(*height_and_width(size), _count(batch), _positive(sd, "sd"), decorrelate)


@dataclasses.dataclass(frozen=True)
class FourierImage:
    """See `fourier_image`. Parameters are real and imaginary parts, `[2, N, 3, H, W // 2 + 1]`."""

    height: int
    width: int
    batch: int
    sd: float
    decay: float
    decorrelate: bool

    def init(self, key: Array) -> Array:
        """Draw coefficients; picture i has the same ones whatever the batch."""
        shape = (3, self.height, self.width // 2 + 1, 2)
        return jnp.moveaxis(self.sd * _normal(key, self.batch, shape), -1, 0)

    def decode(self, params: Array) -> Array:
        """The pictures `[N, H, W, 3]` in (0, 1)."""
        # An orthonormal transform of coefficients over frequency; the 4 is Lucid's, and only lowers the first contrast.
        spectrum = jax.lax.complex(params[0], params[1]) * self._scale()
        waves = jnp.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho") / 4
        return _to_rgb(jnp.moveaxis(waves, 1, -1), self.decorrelate)

    def _scale(self) -> np.ndarray:
        frequency = np.hypot(np.fft.fftfreq(self.height)[:, None], np.fft.rfftfreq(self.width)[None, :])
        lowest = 1 / max(self.height, self.width)
        return (1 / np.maximum(frequency, lowest) ** self.decay).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class PixelImage:
    """See `pixel_image`. Parameters are `[N, H, W, 3]`."""

    height: int
    width: int
    batch: int
    sd: float
    decorrelate: bool

    def init(self, key: Array) -> Array:
        """Draw pixels; picture i has the same ones whatever the batch."""
        return self.sd * _normal(key, self.batch, (self.height, self.width, 3))

    def decode(self, params: Array) -> Array:
        """The pictures `[N, H, W, 3]` in (0, 1)."""
        return _to_rgb(params, self.decorrelate)


def _to_rgb(t: Array, decorrelate: bool) -> Array:
    """Unbounded colours `[..., 3]` to red, green and blue in (0, 1)."""
    if decorrelate:
        t = t @ jnp.asarray(COLOUR_CORRELATION.T, t.dtype)
    return jax.nn.sigmoid(t)


def _normal(key: Array, batch: int, shape: tuple[int, ...]) -> Array:
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(batch))
    return jax.vmap(lambda k: jax.random.normal(k, shape, jnp.float32))(keys)


def _count(batch: int) -> int:
    if not isinstance(batch, int | np.integer) or isinstance(batch, bool) or batch < 1:
        raise ValueError(f"batch is a whole number from 1 on, not {batch!r}")
    return int(batch)


def _positive(value: float, name: str) -> float:
    if not isinstance(value, int | float | np.number) or not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} is a positive number, not {value!r}")
    return float(value)


def _finite(decay: float) -> float:
    if not isinstance(decay, int | float | np.number) or not np.isfinite(decay):
        raise ValueError(f"decay is a finite number, not {decay!r}")
    return float(decay)
