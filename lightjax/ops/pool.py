"""Max pooling, with PyTorch's gradient."""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

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
      dilation: Distance of neighboring entries of a window along height and width.

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
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf)
    return _max_pool(x, tuple(Side(*side) for side in zip(window, strides, dilation, strict=True)))


class Side(NamedTuple):
    """The windows along one axis: their length in entries, their step, and the distance of their entries."""

    length: int
    step: int
    distance: int


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: Array, sides: tuple[Side, Side]) -> Array:
    return _max_pool_forward(x, sides)[0]


def _max_pool_forward(x: Array, sides: tuple[Side, Side]):
    """The largest entry of each window (NaN if the window has one), and its place in reading order."""
    window, strides, dilation = zip(*sides, strict=True)
    ends = [(n - (k - 1) * d - 1) // s * s + 1 for n, (k, s, d) in zip(x.shape[1:3], sides, strict=True)]
    place = jnp.int8 if math.prod(window) < 128 else jnp.int32
    largest, which = x[:, : ends[0] : strides[0], : ends[1] : strides[1]], place(0)
    for tap in range(1, math.prod(window)):
        row, column = (i * d for i, d in zip(divmod(tap, window[1]), dilation, strict=True))
        entry = x[:, row : row + ends[0] : strides[0], column : column + ends[1] : strides[1]]
        larger = (entry > largest) | jnp.isnan(entry)
        largest, which = jnp.where(larger, entry, largest), jnp.where(larger, place(tap), which)
    return largest, (which, x)


def _max_pool_backward(sides: tuple[Side, Side], residuals, cotangent: Array):
    which, x = residuals
    window, strides, dilation = zip(*sides, strict=True)
    number, height, width, channels = x.shape
    reach = [(k - 1) * d // s for k, s, d in sides]  # farthest window before a pixel that holds it
    rows, columns = (-(-size // step) for size, step in zip((height, width), strides, strict=True))
    missing = [max(n - m, 0) for n, m in zip((rows, columns), cotangent.shape[1:3], strict=True)]
    edges = ((0, 0), (reach[0], missing[0]), (reach[1], missing[1]), (0, 0))
    which = jnp.broadcast_to(which, cotangent.shape)
    cotangent, which = jnp.pad(cotangent, edges), jnp.pad(which, edges, constant_values=-1)

    def pixels(row: int, column: int) -> Array:
        """Gradient of the pixels `(row, column)`, `(row + step, column)`, `(row, column + step)`, ..."""
        total = jnp.zeros((number, rows, columns, channels), cotangent.dtype)
        for i, j in itertools.product(*map(range, window)):
            (up, off_row), (back, off_column) = (
                divmod(tap * d - pixel, s)
                for tap, pixel, s, d in zip((i, j), (row, column), strides, dilation, strict=True)
            )
            if not off_row and not off_column:
                top, left = reach[0] - up, reach[1] - back
                view = (slice(None), slice(top, top + rows), slice(left, left + columns))
                total += jnp.where(which[view] == window[1] * i + j, cotangent[view], 0)
        return total

    lines = [jnp.stack([pixels(row, column) for column in range(strides[1])], 3) for row in range(strides[0])]
    full = jnp.stack(lines, 2).reshape(number, rows * strides[0], columns * strides[1], channels)
    return (full[:, :height, :width],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
