"""Random transforms that a picture must survive: pure functions `(key, images) -> images` of static shape.

Images are `[N, H, W, C]`. Every image of a batch gets a draw of its own, from a key of its own. Transforms are frozen
dataclasses, so that two with the same settings are equal and share one compilation.

Pad, jitter, scale and rotation move coordinates, not pixels: a run of them in `compose` becomes one affine map, and the
image is resampled once, bilinearly. Lucid resamples after each, and lets the size of the image follow the scale; here
scaling zooms within the frame, whose size stays the same.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Transform(Protocol):
    """Anything that turns images into images of a fixed other size, given a key; it must be hashable."""

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        ...


def pad(pixels: int, value: float = 0.5) -> "Pad":
    """Add a border of one grey on all sides.

    Args:
      pixels: Width of the border.
      value: The grey, in [0, 1].

    Raises:
      ValueError: If the width is negative or the grey out of range.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"the value of a border is in [0, 1], not {value!r}")
    return Pad(_pixels(pixels), float(value))


def jitter(pixels: int) -> "Jitter":
    """Crop `pixels` rows and columns away, at a random place.

    Args:
      pixels: Rows and columns to lose; the shift is one of `pixels + 1` along each axis.

    Raises:
      ValueError: If it is negative.
    """
    return Jitter(_pixels(pixels))


def random_scale(scales: Sequence[float]) -> "RandomScale":
    """Zoom about the centre by one of several factors, all equally likely; the size stays, and grey fills gaps.

    Args:
      scales: Factors; above 1 enlarges.

    Raises:
      ValueError: If there is none, or one that is not positive.
    """
    scales = tuple(float(s) for s in scales)
    if not scales or not all(np.isfinite(s) and s > 0 for s in scales):
        raise ValueError(f"scales are positive factors, at least one, not {scales!r}")
    return RandomScale(scales)


def random_rotate(degrees: Sequence[float]) -> "RandomRotate":
    """Turn about the centre by one of several angles, all equally likely; the size stays, and grey fills gaps.

    Args:
      degrees: Angles in degrees, anticlockwise; a repeated one is more likely.

    Raises:
      ValueError: If there is none, or one that is not finite.
    """
    degrees = tuple(float(d) for d in degrees)
    if not degrees or not all(np.isfinite(d) for d in degrees):
        raise ValueError(f"degrees are finite angles, at least one, not {degrees!r}")
    return RandomRotate(degrees)


def compose(*transforms: Transform) -> "Compose":
    """Apply transforms one after the other, the first first; neighbouring moves are resampled once.

    Raises:
      TypeError: If one of them is not a function.
    """
    for transform in transforms:
        if not callable(transform):
            raise TypeError(f"a transform is a function of a key and images, not {transform!r}")
    flat = (t.transforms if isinstance(t, Compose) else (t,) for t in transforms)
    return Compose(tuple(itertools.chain.from_iterable(flat)))


class _Move:
    """A transform that only moves coordinates. Subclasses say how far for one draw; what shows beyond is `value`."""

    value: float = 0.5

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width after the move, from those before."""
        return size

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """Where each pixel comes from: (row, column, 1) after the move to that before, `[3, 3]`."""
        raise NotImplementedError

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        return Compose((self,))(key, images)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Pad(_Move):
    """See `pad`."""

    pixels: int
    value: float

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Larger by the border on either side."""
        return size[0] + 2 * self.pixels, size[1] + 2 * self.pixels

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A shift by the border."""
        return _shift(jnp.full(2, -self.pixels))


@dataclasses.dataclass(frozen=True)
class Jitter(_Move):
    """See `jitter`."""

    pixels: int

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Smaller by the jitter."""
        if min(size) <= self.pixels:
            raise ValueError(f"an image of {size[0]}x{size[1]} pixels is too small to jitter by {self.pixels}")
        return size[0] - self.pixels, size[1] - self.pixels

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A shift by whole pixels."""
        return _shift(jax.random.randint(key, (2,), 0, self.pixels + 1))


@dataclasses.dataclass(frozen=True)
class RandomScale(_Move):
    """See `random_scale`."""

    scales: tuple[float, ...]

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A zoom about the centre."""
        scale = jax.random.choice(key, jnp.array(self.scales))
        return _about_centre(jnp.eye(2) / scale, size)


@dataclasses.dataclass(frozen=True)
class RandomRotate(_Move):
    """See `random_rotate`."""

    degrees: tuple[float, ...]

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A turn about the centre."""
        angle = jnp.deg2rad(jax.random.choice(key, jnp.array(self.degrees)))
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return _about_centre(jnp.array([[cos, sin], [-sin, cos]]), size)


@dataclasses.dataclass(frozen=True)
class Compose:
    """See `compose`."""

    transforms: tuple[Transform, ...]

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        place = 0
        for move, run in itertools.groupby(self.transforms, _border):
            run = tuple(run)
            keys = [jax.random.fold_in(key, place + i) for i in range(len(run))]
            place += len(run)
            if move is None:
                for transform, own in zip(run, keys, strict=True):
                    images = transform(own, images)
            else:
                images = _resample_run(run, keys, images, move)  # type: ignore[arg-type]
        return images


def _border(transform: Transform) -> float | None:
    """The grey beyond the edge if a transform only moves coordinates; None if it does anything else."""
    return transform.value if isinstance(transform, _Move) else None


def _resample_run(moves: tuple[_Move, ...], keys: list[Array], images: Array, value: float) -> Array:
    _, height, width, _ = images.shape
    sizes = list(itertools.accumulate(moves, lambda size, move: move.size(size), initial=(height, width)))

    def resample(index: Array, image: Array) -> Array:
        matrices = [
            move.matrix(jax.random.fold_in(key, index), size)
            for move, key, size in zip(moves, keys, sizes, strict=False)
        ]
        return _bilinear(image, functools.reduce(_product, matrices), sizes[-1], value)

    return jax.vmap(resample)(jnp.arange(len(images)), images)


def _bilinear(image: Array, matrix: Array, size: tuple[int, int], value: float) -> Array:
    """Sample `[H, W, C]` at the affine image of a grid of another size; beyond the edge lies one grey."""
    height, width, channels = image.shape
    rows, columns = jnp.arange(size[0], dtype=image.dtype)[:, None], jnp.arange(size[1], dtype=image.dtype)
    y, x = (m[0] * rows + m[1] * columns + m[2] for m in matrix[:2].astype(image.dtype))
    # A border of one pixel carries the grey; all that lies farther out is clipped onto it.
    y, x = jnp.clip(y, -1, height) + 1, jnp.clip(x, -1, width) + 1
    top = jnp.minimum(jnp.floor(y).astype(jnp.int32), height)
    left = jnp.minimum(jnp.floor(x).astype(jnp.int32), width)
    dy, dx = (y - top)[..., None], (x - left)[..., None]
    pixels = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=value).reshape(-1, channels)
    corner = top * (width + 2) + left

    def at(offset: int) -> Array:
        return pixels.at[corner + offset].get(mode="promise_in_bounds")

    above = at(0) * (1 - dx) + at(1) * dx
    below = at(width + 2) * (1 - dx) + at(width + 3) * dx
    return above * (1 - dy) + below * dy


def _shift(by: Array) -> Array:
    return jnp.eye(3).at[:2, 2].set(by)


def _about_centre(linear: Array, size: tuple[int, int]) -> Array:
    centre = (jnp.array(size) - 1) / 2
    return jnp.eye(3).at[:2, :2].set(linear).at[:2, 2].set(centre - _product(linear, centre))


def _product(a: Array, b: Array) -> Array:
    """A matrix product in full precision, on accelerators too: coordinates must not be rounded to bfloat16."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _pixels(pixels: int) -> int:
    if not isinstance(pixels, int | np.integer) or isinstance(pixels, bool) or pixels < 0:
        raise ValueError(f"a width in pixels is a whole number from 0 on, not {pixels!r}")
    return int(pixels)


DEFAULT = compose(
    pad(12),
    jitter(8),
    random_scale([1 + (i - 5) / 50 for i in range(11)]),
    random_rotate([*range(-10, 11), 0, 0, 0, 0, 0]),
    jitter(4),
)
"""The robust set of Lucid and Lucent, as one resampling: 224 pixels become 236."""
