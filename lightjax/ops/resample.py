"""Bilinear resampling under an affine map, with a gradient that gathers instead of scattering."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array, lax

_MOST_TAPS = 5
"""Largest number of samples, along each axis, that the gradient of one pixel is gathered from."""


def resample(image: Array, beyond: Array, matrix: Array, size: tuple[int, int], stretch: float = math.inf) -> Array:
    """Sample an image bilinearly at the points to which an affine map takes a grid.

    Only the image has a gradient. If the stretch of the map is bounded, each pixel gathers its gradient from the few
    samples near it, which is faster on CPU and always adds in the same order. Otherwise the samples scatter their
    gradients, as in automatic differentiation.

    Args:
      image: `[H, W, C]`.
      beyond: Color outside of the image, `[C]`.
      matrix: Maps (row, column, 1) in the grid to (row, column, 1) in the image, in pixels, `[3, 3]`.
      size: Height and width of the grid.
      stretch: Upper bound on how far apart neighboring pixels can end up in the result: the largest absolute row sum
        of the inverse map. Enlarging by 2 has stretch 2.

    Returns:
      The samples, `[*size, C]`.
    """
    matrix = matrix[:2].astype(image.dtype)
    taps = math.ceil(2 * stretch) if stretch < _MOST_TAPS else _MOST_TAPS + 1
    if taps > _MOST_TAPS:
        return _resample(image, beyond, matrix, size)
    return _resample_gathering(image, beyond, matrix, size, taps)


def _resample(image: Array, beyond: Array, matrix: Array, size: tuple[int, int]) -> Array:
    height, width, channels = image.shape
    y, x = _places(matrix, size, image.dtype)
    # A frame one pixel wide has the color outside of the image; samples farther out are clipped onto the frame.
    y, x = jnp.clip(y, -1, height) + 1, jnp.clip(x, -1, width) + 1
    top = jnp.minimum(jnp.floor(y).astype(jnp.int32), height)
    left = jnp.minimum(jnp.floor(x).astype(jnp.int32), width)
    dy, dx = (y - top.astype(y.dtype))[..., None], (x - left.astype(x.dtype))[..., None]
    framed = jnp.broadcast_to(beyond, (height + 2, width + 2, channels)).at[1:-1, 1:-1].set(image)
    pixels = framed.reshape(-1, channels)
    corner = top * (width + 2) + left

    def at(offset: int) -> Array:
        return pixels.at[corner + offset].get(mode="promise_in_bounds")

    above = at(0) * (1 - dx) + at(1) * dx
    below = at(width + 2) * (1 - dx) + at(width + 3) * dx
    return above * (1 - dy) + below * dy


def _places(matrix: Array, size: tuple[int, int], dtype) -> list[Array]:
    """Rows and columns, each `[*size]`, to which a map `[2, 3]` takes the points of a grid."""
    rows, columns = jnp.arange(size[0], dtype=dtype)[:, None], jnp.arange(size[1], dtype=dtype)[None]
    return [m[0] * rows + m[1] * columns + m[2] for m in matrix]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _resample_gathering(image: Array, beyond: Array, matrix: Array, size: tuple[int, int], taps: int) -> Array:
    return _resample(image, beyond, matrix, size)


def _gathering_forward(image: Array, beyond: Array, matrix: Array, size: tuple[int, int], taps: int):
    return _resample(image, beyond, matrix, size), (image, matrix)


def _gathering_backward(size: tuple[int, int], taps: int, residuals, cotangent: Array):
    image, matrix = residuals
    height, width, channels = image.shape
    (a, b, up), (c, d, along) = matrix
    inverse = jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)
    shift = jnp.array([inverse[0, 0] * up + inverse[0, 1] * along, inverse[1, 0] * up + inverse[1, 1] * along])
    # A pixel contributes to the samples taken less than one pixel away: in the grid, those within `reach` of `own`.
    reach = jnp.abs(inverse).sum(axis=1)
    own = _places(jnp.concatenate([inverse, -shift[:, None]], axis=1), (height, width), image.dtype)
    first = [jnp.floor(place - by) + 1 for place, by in zip(own, reach, strict=True)]
    samples = cotangent.reshape(-1, channels)
    rows, columns = jnp.arange(height, dtype=image.dtype)[:, None], jnp.arange(width, dtype=image.dtype)[None]

    def add(tap: Array, total: Array) -> Array:
        y, x = first[0] + tap // taps, first[1] + tap % taps
        down, right = a * y + b * x + up - rows, c * y + d * x + along - columns
        share = jnp.maximum(1 - jnp.abs(down), 0) * jnp.maximum(1 - jnp.abs(right), 0)
        there = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
        row, column = jnp.clip(y, 0, size[0] - 1), jnp.clip(x, 0, size[1] - 1)
        place = row.astype(jnp.int32) * size[1] + column.astype(jnp.int32)
        sample = samples.at[place].get(mode="promise_in_bounds")
        return total + jnp.where(there, share, 0)[..., None] * sample

    # A loop, because otherwise XLA computes the samples again for each tap, and each tap again for each color.
    return lax.fori_loop(0, taps**2, add, jnp.zeros_like(image)), None, None


_resample_gathering.defvjp(_gathering_forward, _gathering_backward)
