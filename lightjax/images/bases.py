"""Bases: pixels, waves, pyramids, and components that pictures share."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks
from lightjax.images.base import LARGEST_DECAY, Basis, Shape, check_basis, check_sd, inverse, normal


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Plain pixels. The parameters are the planes.

    Args:
      sd: Standard deviation of the initial values.

    Raises:
      TypeError, ValueError: If `sd` is not a number above 0.
    """

    sd: float = 0.01

    def __post_init__(self):
        """Check the settings."""
        _checks.keep(self, sd=check_sd(self.sd, "sd", above=0))

    def init(self, key: Array, shape: Shape) -> Array:
        """Draw pixels."""
        return self.sd * normal(key, shape)

    def decode(self, params: Array, shape: Shape) -> Array:
        """The pixels themselves."""
        return params

    def encode(self, planes: Array) -> Array:
        """The planes themselves."""
        return planes


@dataclasses.dataclass(frozen=True)
class Fourier:
    """Sums of waves. An update changes each wave in proportion to its strength in natural images, about 1 / frequency.

    The parameters are real and imaginary parts, `[2, N, C, H, W // 2 + 1]`. Divided by frequency^decay, they are the
    coefficients of a two-dimensional real Fourier transform. Any size will do, also an odd one.

    Args:
      sd: Standard deviation of the initial parameters, in the real and the imaginary part each.
      decay: Power of the frequency by which parameters are divided.

    Raises:
      TypeError, ValueError: If `sd` is not a number above 0, or `decay` is not finite.

    References:
      Olah et al., "Feature Visualization", Distill, 2017. Constants as in Lucid, `param/spatial.py`, which makes odd
      widths from a picture one pixel wider and crops it.
    """

    sd: float = 0.01
    decay: float = 1.0

    def __post_init__(self):
        """Check the settings."""
        sd = check_sd(self.sd, "sd", above=0)
        decay = _checks.number(self.decay, "decay", least=-LARGEST_DECAY, most=LARGEST_DECAY)
        _checks.keep(self, sd=sd, decay=decay)

    def init(self, key: Array, shape: Shape) -> Array:
        """Draw parameters."""
        number, height, width, channels = shape
        return jnp.moveaxis(self.sd * normal(key, (number, channels, height, width // 2 + 1, 2)), -1, 0)

    def decode(self, params: Array, shape: Shape) -> Array:
        """The sums of all waves."""
        # Orthonormal inverse transform. The division by 4 follows Lucid and lowers only the initial contrast.
        size = shape[1:3]
        real, imaginary = params * self._scale(size)
        waves = jnp.fft.irfft2(jax.lax.complex(real, imaginary), s=size, norm="ortho") / 4
        return jnp.moveaxis(waves, 1, -1)

    def encode(self, planes: Array) -> Array:
        """The parameters of planes."""
        spectrum = jnp.fft.rfft2(4 * jnp.moveaxis(planes, -1, 1), norm="ortho")
        return jnp.stack([spectrum.real, spectrum.imag]) / self._scale(planes.shape[1:3])

    def _scale(self, size: tuple[int, ...]) -> np.ndarray:
        """The divisor of each wave, inverted, `[1, 1, 1, H, W // 2 + 1]`."""
        frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None, :])
        return (1 / np.maximum(frequency, 1 / max(size)) ** self.decay).astype(np.float32)[None, None, None]


@dataclasses.dataclass(frozen=True)
class Laplacian:
    """The sum of planes of one, a half, a quarter ... of the size, enlarged bilinearly.

    Coarse levels move large areas at once, so coarse structure is found as fast as fine structure. The parameters are
    the planes of all levels, the finest first, as a list.

    Args:
      sd: Standard deviation of the initial values of every level.
      levels: Number of sizes. A side is halved and rounded down each time, to no less than 1.

    Raises:
      TypeError, ValueError: If `sd` is not a number above 0, or `levels` is not a whole number of at least 1.

    References:
      Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983. Lucid, `laplacian_pyramid_image`, which
      aligns pixels by their corners; here they are aligned by their centers.
    """

    sd: float = 0.01
    levels: int = 4

    def __post_init__(self):
        """Check the settings."""
        levels = _checks.whole(_checks.whole(self.levels, "levels", least=1), "levels", most=_MOST_LEVELS)
        _checks.keep(self, sd=check_sd(self.sd, "sd", above=0), levels=levels)

    def init(self, key: Array, shape: Shape) -> list[Array]:
        """Draw the pixels of every level."""
        sizes = (_divided(shape, shape[0], 2**level) for level in range(self.levels))
        return [self.sd * normal(jax.random.fold_in(key, level), size) for level, size in enumerate(sizes)]

    def decode(self, params: list[Array], shape: Shape) -> Array:
        """The sum of all levels."""
        return sum((_enlarge(level, shape) for level in params[1:]), params[0])

    def encode(self, planes: Array) -> list[Array]:
        """The planes as the finest level, and zeros in the others."""
        coarse = (_divided(planes.shape, planes.shape[0], 2**level) for level in range(1, self.levels))
        return [planes, *map(jnp.zeros, coarse)]


_MOST_LEVELS = 32
"""Largest number of levels: that many halvings leave one pixel of any picture."""
_MOST_PARTS = 64
LUCID_PARTS = ((1, 2), (1, 4), (1, 8), (2, 8), (1, 16), (2, 16))
"""The shared components of Lucid's notebook on aligned interpolation."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=["basis"], meta_fields=["parts", "sd"])
@dataclasses.dataclass(frozen=True)
class Shared:
    """Planes of another basis plus coarse components that pictures share, so that what they show stays aligned.

        lj.image(basis=Shared(), batch=6)

    The parameters are those of the other basis, and a list of the planes of the parts.

    Args:
      basis: The basis of each picture by itself.
      parts: (pictures, divisor) of each shared component. It has that many pictures, no more than the batch, at the
        size divided by the divisor, and is enlarged linearly to the batch and the size: a component of 1 picture is
        common to all, one of 2 pictures changes gradually from the first picture to the last.
      sd: Standard deviation of the initial values of the parts.

    Raises:
      TypeError, ValueError: If a part is not a pair of whole numbers of at least 1, or `sd` is not a number above 0.

    References:
      Mordvintsev et al., "Differentiable Image Parameterizations", Distill, 2018. Lucid, `lowres_tensor`.
    """

    basis: Basis = Fourier()
    parts: tuple[tuple[int, int], ...] = LUCID_PARTS
    sd: float = 0.01

    def __post_init__(self):
        """Check the settings. The basis may be a placeholder of JAX here."""
        check_basis(self.basis)
        if not isinstance(self.parts, tuple | list) or len(self.parts) > _MOST_PARTS:
            raise ValueError(
                f"parts must be a list of pairs (pictures, divisor), at most {_MOST_PARTS}, got "
                f"{_checks.shown(self.parts)}"
            )
        pairs = [tuple(part) if isinstance(part, tuple | list) else (part,) for part in self.parts]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"parts must be at least one pair (pictures, divisor), got {_checks.shown(self.parts)}")
        what = ("the number of pictures of a part", "the divisor of a part")
        parts = tuple(tuple(_checks.whole(n, name, least=1) for n, name in zip(p, what, strict=True)) for p in pairs)
        _checks.keep(self, parts=parts, sd=check_sd(self.sd, "sd", above=0))

    @property
    def color(self) -> Any:
        """The colors of the other basis."""
        return getattr(self.basis, "color", "lucid")

    def init(self, key: Array, shape: Shape) -> tuple[Any, list[Array]]:
        """Draw each picture's own parameters and the shared planes."""
        own, *keys = jax.random.split(key, 1 + len(self.parts))
        sizes = self._sizes(shape)
        return self.basis.init(own, shape), [self.sd * normal(k, size) for k, size in zip(keys, sizes, strict=True)]

    def decode(self, params: tuple[Any, list[Array]], shape: Shape) -> Array:
        """The sum of each picture's own planes and of all parts."""
        own, parts = params
        return sum((_enlarge(part, shape) for part in parts), self.basis.decode(own, shape))

    def encode(self, planes: Array) -> tuple[Any, list[Array]]:
        """Everything as each picture's own planes; the shared planes are zero."""
        return inverse(self.basis)(planes), [jnp.zeros(size) for size in self._sizes(planes.shape)]

    def _sizes(self, shape: tuple[int, ...]) -> list[Shape]:
        return [_divided(shape, min(pictures, shape[0]), by) for pictures, by in self.parts]


def _divided(shape: tuple[int, ...], number: int, by: int) -> Shape:
    """The shape of that many planes at the size divided by a number, rounded down, at least one pixel."""
    return number, max(1, shape[1] // by), max(1, shape[2] // by), shape[3]


def _enlarge(planes: Array, shape: Shape) -> Array:
    return jax.image.resize(planes, shape, "linear", antialias=False)
