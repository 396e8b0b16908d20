"""Max pooling, with PyTorch's gradient."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from lightjax import _checks
from lightjax.ops.conv import Padding


def max_pool(
    x: Array,
    stride: int | tuple[int, int],
    padding: Padding,
    *,
    window: tuple[int, int] = (3, 3),
    dilation: tuple[int, int] = (1, 1),
) -> Array:
    """Maximum over the windows of `[N, H, W, C]`, padded with minus infinity.

    The gradient of a window goes to its largest entry; among equal entries, to the first in reading order, as in
    PyTorch. The forward pass records which entry was the largest. The backward pass gathers, for each pixel, from the
    few windows that contain it; on CPU this costs a fraction of XLA's pooling gradient.

    Args:
      x: Activations `[N, H, W, C]`.
      stride: Step of the window along both axes, or along height and width; at least 1.
      padding: Rows or columns `(before, after)` to add along height and width.
      window: Height and width of the window, in entries.
      dilation: Distance of the entries of a window. Other values than 1 have XLA's gradient.

    Returns:
      The pooled activations `[N, h, w, C]`.

    Raises:
      TypeError: If the stride is not a whole number.
      ValueError: If the padded activations are smaller than a window, or the stride is below 1.
    """
    strides = (stride, stride) if not isinstance(stride, tuple) else stride
    for step in strides:
        _checks.whole(step, "stride", least=1)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    if any(size + sum(pad) < k for size, pad, k in zip(x.shape[1:3], padding, reach, strict=True)):
        raise ValueError(f"activations of {x.shape[1]}x{x.shape[2]} are too small to pool; use a larger image")
    if dilation != (1, 1):
        around = ((0, 0), *padding, (0, 0))
        steps, spread = (1, *strides, 1), (1, *dilation, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), steps, around, window_dilation=spread)
    return _max_pool(jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf), strides, window)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_pool(x: Array, strides: tuple[int, int], window: tuple[int, int]) -> Array:
    return _max_pool_forward(x, strides, window)[0]


def _max_pool_forward(x: Array, strides: tuple[int, int], window: tuple[int, int]):
    """The largest entry of each window (NaN if the window has one), and its place in reading order."""
    ends = [(size - k) // step * step + 1 for size, k, step in zip(x.shape[1:3], window, strides, strict=True)]
    place = jnp.int8 if math.prod(window) < 128 else jnp.int32
    largest, which = x[:, : ends[0] : strides[0], : ends[1] : strides[1]], place(0)
    for tap in range(1, math.prod(window)):
        row, column = divmod(tap, window[1])
        entry = x[:, row : row + ends[0] : strides[0], column : column + ends[1] : strides[1]]
        larger = (entry > largest) | jnp.isnan(entry)
        largest, which = jnp.where(larger, entry, largest), jnp.where(larger, place(tap), which)
    return largest, (which, x)


def _max_pool_backward(strides: tuple[int, int], window: tuple[int, int], residuals, cotangent: Array):
    which, x = residuals
    number, height, width, channels = x.shape
    reach = [-(-k // step) - 1 for k, step in zip(window, strides, strict=True)]  # windows before that hold a pixel
    rows, columns = (-(-size // step) for size, step in zip((height, width), strides, strict=True))
    missing = [max(n - m, 0) for n, m in zip((rows, columns), cotangent.shape[1:3], strict=True)]
    edges = ((0, 0), (reach[0], missing[0]), (reach[1], missing[1]), (0, 0))
    which = jnp.broadcast_to(which, cotangent.shape)
    cotangent, which = jnp.pad(cotangent, edges), jnp.pad(which, edges, constant_values=-1)

    def pixels(row: int, column: int) -> Array:
        """Gradient of the pixels `(row, column)`, `(row + step, column)`, `(row, column + step)`, ..."""
        total = jnp.zeros((number, rows, columns, channels), cotangent.dtype)
        for i in range(row, window[0], strides[0]):
            for j in range(column, window[1], strides[1]):
                top, left = reach[0] - i // strides[0], reach[1] - j // strides[1]
                view = (slice(None), slice(top, top + rows), slice(left, left + columns))
                total += jnp.where(which[view] == window[1] * i + j, cotangent[view], 0)
        return total

    lines = [jnp.stack([pixels(row, column) for column in range(strides[1])], 3) for row in range(strides[0])]
    full = jnp.stack(lines, 2).reshape(number, rows * strides[0], columns * strides[1], channels)
    return (full[:, :height, :width],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
