"""Convolution with a fast gradient, and TensorFlow's padding."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from lightjax.ops.depthwise import depthwise_conv, grouped_conv
from lightjax.ops.winograd import winograd_conv

Padding = Sequence[tuple[int, int]]
"""Rows or columns `(before, after)` to add along height and width."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis, as `(before, after)`.

    It gives `ceil(size / stride)` outputs. If the padding is odd, the extra pixel comes after.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def conv(
    x: Array,
    kernel: Array,
    stride: int | tuple[int, int],
    padding: Padding,
    *,
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Array:
    """Convolve `[N, H, W, in]` with `[kh, kw, in / groups, out]`, with a gradient that is fast inside loops.

    A 1x1 convolution without padding is computed as a matrix product. For larger kernels on CPU, XLA rewrites the
    convolutions of a gradient into their fast form only outside of `scan`, `while` and `fori_loop`. This gradient is
    written in the fast form; its values are those of automatic differentiation.

    Args:
      x: Activations `[N, H, W, in]`.
      kernel: Weights `[kh, kw, in / groups, out]`.
      stride: Step of the window along both axes, or along height and width.
      padding: Zeros `(before, after)` to add along height and width.
      dilation: Distance of the rows and of the columns of the kernel, in pixels.
      groups: Number of groups of channels; each output sees the channels of its own group.

    Returns:
      The convolved activations `[N, h, w, out]`.
    """
    strides = (stride, stride) if isinstance(stride, int) else stride
    if groups == 1 and kernel.shape[:2] == (1, 1) and not any(map(any, padding)):
        return x[:, :: strides[0], :: strides[1]] @ kernel[0, 0]
    if groups == 1 and kernel.shape[:2] == strides and dilation == (1, 1) and not any(map(any, padding)):
        return _of_patches(x, kernel)
    if groups == 1 and dilation == (1, 1) and strides[0] == strides[1]:
        return _conv(x, kernel, strides[0], tuple(padding))
    if groups == x.shape[3] and 0 not in x.shape:
        return depthwise_conv(x, kernel, strides, tuple(padding), dilation)
    return grouped_conv(x, kernel, strides, padding, dilation, groups)


def _of_patches(x: Array, kernel: Array) -> Array:
    """The convolution whose windows lie side by side: a matrix product of the windows."""
    rows, columns, inputs, outputs = kernel.shape
    number, height, width = x.shape[0], x.shape[1] // rows, x.shape[2] // columns
    patches = x[:, : height * rows, : width * columns].reshape(number, height, rows, width, columns, inputs)
    patches = patches.swapaxes(2, 3).reshape(number, height, width, rows * columns * inputs)
    return patches @ kernel.reshape(-1, outputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    return _convolve(x, kernel, stride, padding)


def _convolve(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int = 1) -> Array:
    # On CPU, XLA hands out the output channels to its threads in blocks of 64. With few output channels most threads
    # would idle, so `_by_rows` makes an output channel of each row of the kernel.
    few = kernel.shape[3] < 256 and x.shape[1] * x.shape[2] >= 400
    whole = functools.partial(_whole, stride=1, padding=padding)
    if stride == dilation == 1 and _filtering_pays(x, kernel):
        return lax.platform_dependent(x, kernel, cpu=functools.partial(winograd_conv, padding=padding), default=whole)
    if stride == dilation == 1 and few:
        by_rows = functools.partial(_by_rows, stride=1, padding=padding)
        return lax.platform_dependent(x, kernel, cpu=by_rows, default=whole)
    return _whole(x, kernel, stride, padding, dilation)


def _filtering_pays(x: Array, kernel: Array) -> bool:
    """Whether `winograd_conv` is faster than XLA's convolution on CPU and as precise, and does not take much memory."""
    positions, channels = x.shape[1] * x.shape[2], kernel.shape[2:]
    large = min(channels) >= 64 and positions >= 36 and positions * math.prod(channels) >= 2**21
    small = positions * sum(channels) <= 2**22  # 64 MB
    return kernel.shape[:2] == (3, 3) and large and small and x.dtype == kernel.dtype == jnp.float32


def _whole(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int = 1) -> Array:
    """XLA's convolution of `x` with `dilation - 1` zeros between its pixels."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        lhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _by_rows(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """`_whole` at stride 1: convolve with all rows of the kernel side by side, then add the results, shifted."""
    rows, columns, inputs, channels = kernel.shape
    x = jnp.pad(x, ((0, 0), padding[0], (0, 0), (0, 0)))
    side_by_side = kernel.transpose(1, 2, 0, 3).reshape(1, columns, inputs, rows * channels)
    parts = jnp.split(_whole(x, side_by_side, stride, ((0, 0), padding[1])), rows, axis=-1)
    height = x.shape[1] - rows + 1
    return functools.reduce(jnp.add, [part[:, i : i + height] for i, part in enumerate(parts)])


def _conv_forward(x: Array, kernel: Array, stride: int, padding: Padding):
    return _conv(x, kernel, stride, padding), (x, kernel)


def _conv_backward(stride: int, padding: Padding, residuals, cotangent: Array):
    x, kernel = residuals
    (dkernel,) = jax.linear_transpose(lambda k: _whole(x, k, stride, padding), kernel)(cotangent)
    if stride == 1:
        return _input_gradient(cotangent, kernel, x.shape, padding), dkernel
    by_phases, whole = (
        functools.partial(f, shape=x.shape, padding=padding, stride=stride)
        for f in (_input_gradient_by_phases, _input_gradient)
    )
    return lax.platform_dependent(cotangent, kernel, cpu=by_phases, default=whole), dkernel


def _input_gradient(cotangent: Array, kernel: Array, shape: Sequence[int], padding: Padding, stride: int = 1) -> Array:
    """The transposed convolution: a convolution of the cotangent with `stride - 1` zeros between its entries."""
    around = []
    for n, m, k, (low, _) in zip(shape[1:3], cotangent.shape[1:3], kernel.shape[:2], padding, strict=True):
        before = k - 1 - low
        around.append((before, n + k - 1 - ((m - 1) * stride + 1) - before))
    transposed = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    if stride == 1:
        return _convolve(cotangent, transposed, 1, around)
    return _whole(cotangent, transposed, 1, around, stride)


def _input_gradient_by_phases(
    cotangent: Array, kernel: Array, shape: Sequence[int], padding: Padding, stride: int
) -> Array:
    """`_input_gradient` without the zeros: a convolution at stride 1 that gives squares of `stride` x `stride` pixels.

    Pixel `stride * a + phase` gathers entry `a - tap` of the cotangent, by row `stride * tap + phase + low` of the
    kernel, and likewise along the columns.
    """
    number, height, width, channels = shape
    around, weights = [], kernel
    for axis, n in enumerate((height, width)):
        m, k, (low, _) = cotangent.shape[1 + axis], kernel.shape[axis], padding[axis]
        first, last = -((low + stride - 1) // stride), (k - 1 - low) // stride  # taps
        around.append((last, -(-n // stride) - first - m))
        rows = stride * np.arange(last, first - 1, -1)[:, None] + np.arange(stride) + low
        rows = np.where(
            rows < 0, k, rows
        )  # `k` is out of bounds and reads 0; a negative index would count from the end
        weights = jnp.take(weights, rows, axis=2 * axis, mode="fill", fill_value=0)  # the axis of taps, then of phases
    weights = weights.transpose(0, 2, 5, 1, 3, 4)
    squares = _convolve(cotangent, weights.reshape(*weights.shape[:3], -1), 1, around)
    squares = squares.reshape(*squares.shape[:3], stride, stride, channels).swapaxes(2, 3)
    return squares.reshape(number, stride * squares.shape[1], -1, channels)[:, :height, :width]


_conv.defvjp(_conv_forward, _conv_backward)
