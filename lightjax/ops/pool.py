"""Max pooling, with PyTorch's gradient."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from lightjax import _checks
from lightjax.ops.conv import Padding


def max_pool(x: Array, stride: int, padding: Padding) -> Array:
    """Maximum over 3x3 windows of `[N, H, W, C]`, padded with minus infinity.

    The gradient of a window goes to its largest entry; among equal entries, to the first in reading order, as in
    PyTorch. The forward pass records which entry was the largest. The backward pass gathers, for each pixel, from the
    few windows that contain it; on CPU this costs a fraction of XLA's pooling gradient.

    Args:
      x: Activations `[N, H, W, C]`.
      stride: Step of the window along both axes, 1 or 2.
      padding: Rows or columns `(before, after)` to add along height and width.

    Returns:
      The pooled activations `[N, h, w, C]`.

    Raises:
      TypeError: If the stride is not a whole number.
      ValueError: If the padded activations are smaller than a window, or the stride is neither 1 nor 2.
    """
    _checks.whole(stride, "stride", least=1, most=2)
    if any(size + sum(pad) < 3 for size, pad in zip(x.shape[1:3], padding, strict=True)):
        raise ValueError(f"activations of {x.shape[1]}x{x.shape[2]} are too small to pool; use a larger image")
    return _max_pool(jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf), stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: Array, stride: int) -> Array:
    return _max_pool_forward(x, stride)[0]


def _max_pool_forward(x: Array, stride: int):
    """The largest entry of each window (NaN if the window has one), and its place among the nine, 0 to 8."""
    height, width = ((size - 3) // stride * stride + 1 for size in x.shape[1:3])
    largest, which = x[:, :height:stride, :width:stride], jnp.int8(0)
    for tap in range(1, 9):
        row, column = divmod(tap, 3)
        entry = x[:, row : row + height : stride, column : column + width : stride]
        larger = (entry > largest) | jnp.isnan(entry)
        largest, which = jnp.where(larger, entry, largest), jnp.where(larger, jnp.int8(tap), which)
    return largest, (which, x)


def _max_pool_backward(stride: int, residuals, cotangent: Array):
    which, x = residuals
    number, height, width, channels = x.shape
    edges = ((0, 0), (2, 2), (2, 2), (0, 0))
    cotangent, which = jnp.pad(cotangent, edges), jnp.pad(which, edges, constant_values=-1)
    rows, columns = -(-height // stride), -(-width // stride)

    def pixels(row: int, column: int) -> Array:
        """Gradient of the pixels `(row, column)`, `(row + stride, column)`, `(row, column + stride)`, ..."""
        total = jnp.zeros((), cotangent.dtype)
        for i in range(row, 3, stride):
            for j in range(column, 3, stride):
                top, left = 2 - i // stride, 2 - j // stride
                window = (slice(None), slice(top, top + rows), slice(left, left + columns))
                total += jnp.where(which[window] == 3 * i + j, cotangent[window], 0)
        return total

    lines = [jnp.stack([pixels(row, column) for column in range(stride)], 3) for row in range(stride)]
    full = jnp.stack(lines, 2).reshape(number, rows * stride, columns * stride, channels)
    return (full[:, :height, :width],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
