"""Convolution of 3x3 kernels by Winograd's filtering: 16 products for 4 results instead of 36."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Padding = Sequence[tuple[int, int]]

_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def winograd_conv(x: Array, kernel: Array, padding: Padding) -> Array:
    """Convolve `[N, H, W, in]` with `[3, 3, in, out]` at stride 1, in tiles of 2 x 2 results.

    A tile needs 4 x 4 entries of `x`. Sums of these are multiplied with sums of the kernel, as 16 matrix products over
    all tiles, and sums of the products are the results. They differ from those of `lax.conv` by rounding, by about as
    much as these do from the exact ones.

    Args:
      x: Activations `[N, H, W, in]`.
      kernel: Weights `[3, 3, in, out]`.
      padding: Zeros `(before, after)` to add along height and width.

    Returns:
      The convolved activations `[N, h, w, out]`.

    References:
      Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", 2015: F(2 x 2, 3 x 3).
    """
    number, inputs, outputs = x.shape[0], *kernel.shape[2:]
    height, width = (n + sum(pad) - 2 for n, pad in zip(x.shape[1:3], padding, strict=True))
    rows, columns = -(-height // 2), -(-width // 2)
    around = [
        (before, 2 * tiles + 2 - n - before)
        for n, (before, _), tiles in zip(x.shape[1:3], padding, (rows, columns), strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *around, (0, 0)))
    tiles = _sums(_sums(x, 1, rows), 3, columns)  # [4 of columns, 4 of rows, N, rows, columns, in]
    weights = jnp.asarray(np.kron(_KERNEL, _KERNEL), kernel.dtype) @ kernel.swapaxes(0, 1).reshape(9, -1)
    products = tiles.reshape(16, -1, inputs) @ weights.reshape(16, inputs, outputs)
    products = products.reshape(4, 4, number, rows, columns, outputs)
    pairs = [_pair(products[:, row]) for row in range(4)]
    across = [jnp.stack(_pair([pair[column] for pair in pairs]), 2) for column in range(2)]
    return jnp.stack(across, 4).reshape(number, 2 * rows, 2 * columns, outputs)[:, :height, :width]


def _sums(x: Array, axis: int, tiles: int) -> Array:
    """Sums of the four entries of each tile along an axis, four of them, in front."""
    a, b, c, d = (lax.slice_in_dim(x, i, i + 2 * tiles - 1, 2, axis) for i in range(4))
    return jnp.stack([a - c, b + c, c - b, b - d])


def _pair(products: Array | Sequence[Array]) -> tuple[Array, Array]:
    """The two results of a tile along an axis."""
    a, b, c, d = products
    return a + b + c, b - c - d
