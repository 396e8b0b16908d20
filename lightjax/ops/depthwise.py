"""Depthwise convolution as a sum of shifted pictures, forward and backward."""

import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

Padding = Sequence[tuple[int, int]]
Pair = tuple[int, int]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def depthwise_conv(x: Array, kernel: Array, strides: Pair, padding: Padding, dilation: Pair) -> Array:
    """Convolve each channel of `[N, H, W, C]` with its own kernels, `[kh, kw, 1, m * C]`.

    On CPU, XLA's own takes 8 to 31 times as long inside loops.

    Args:
      x: Activations `[N, H, W, C]`.
      kernel: Weights `[kh, kw, 1, m * C]`: `m` for the first channel, `m` for the second, and so on.
      strides: Step of the window along height and width.
      padding: Zeros `(before, after)` to add along height and width.
      dilation: Distance of the rows and of the columns of the kernel, in pixels.

    Returns:
      The convolved activations `[N, h, w, m * C]`.
    """
    whole = functools.partial(grouped_conv, strides=strides, padding=padding, dilation=dilation)
    by_taps = functools.partial(_by_taps, strides=strides, padding=padding, dilation=dilation)
    by_taps = functools.partial(_computed_once, by_taps)
    return lax.platform_dependent(x, kernel, cpu=by_taps, default=whole)


def grouped_conv(
    x: Array, kernel: Array, strides: Pair, padding: Padding, dilation: Pair, groups: int | None = None
) -> Array:
    """XLA's own convolution in groups of channels; without their number, each channel is one."""
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3] if groups is None else groups,
    )


def _by_taps(x: Array, kernel: Array, strides: Pair, padding: Padding, dilation: Pair) -> Array:
    """The sum over the pixels of the kernel: each one times the picture, shifted."""
    each = kernel.shape[3] // x.shape[3]
    x = jnp.pad(jnp.repeat(x, each, 3) if each > 1 else x, ((0, 0), *padding, (0, 0)))
    lengths = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(x.shape[1:3], kernel.shape[:2], strides, dilation, strict=True)
    ]
    terms = []
    for row, column in itertools.product(*map(range, kernel.shape[:2])):
        rows, columns = (
            slice(tap * d, tap * d + (m - 1) * s + 1, s)
            for tap, m, s, d in zip((row, column), lengths, strides, dilation, strict=True)
        )
        terms.append(x[:, rows, columns] * kernel[row, column, 0])
    return functools.reduce(jnp.add, terms)


def _computed_once(function: Callable[[Array, Array], Array], x: Array, kernel: Array) -> Array:
    """`function(x, kernel)`, inside of a condition that always holds unless the kernel has NaN.

    XLA on CPU would repeat the sums in each operation that reads them: with a normalization behind the kernel, three
    times. An `optimization_barrier` does not keep it from that.
    """
    shape = jax.eval_shape(function, x, kernel)
    missing = lambda x, kernel: jnp.full(shape.shape, jnp.nan, shape.dtype)
    return lax.cond(kernel[0, 0, 0, 0] == kernel[0, 0, 0, 0], function, missing, x, kernel)


def _forward(x: Array, kernel: Array, strides: Pair, padding: Padding, dilation: Pair):
    return depthwise_conv(x, kernel, strides, padding, dilation), (x, kernel)


def _backward(strides: Pair, padding: Padding, dilation: Pair, residuals, cotangent: Array):
    x, kernel = residuals
    settings = {"strides": strides, "padding": padding, "dilation": dilation}

    def whole(cotangent: Array, kernel: Array) -> Array:
        (dx,) = jax.linear_transpose(lambda x: grouped_conv(x, kernel, **settings), x)(cotangent)
        return dx

    by_taps = functools.partial(_computed_once, functools.partial(_input_gradient, shape=x.shape, **settings))
    dx = lax.platform_dependent(cotangent, kernel, cpu=by_taps, default=whole)
    (dkernel,) = jax.linear_transpose(lambda kernel: grouped_conv(x, kernel, **settings), kernel)(cotangent)
    return dx, dkernel


def _input_gradient(
    cotangent: Array, kernel: Array, shape: Sequence[int], strides: Pair, padding: Padding, dilation: Pair
) -> Array:
    """Each pixel gathers, by the pixels of the kernel, from the windows that hold it."""
    number, height, width, channels = shape
    low = [before for before, _ in padding]
    reach = [(k - 1) * d // s + 1 for k, s, d in zip(kernel.shape[:2], strides, dilation, strict=True)]
    counts = [-(-(n + before) // s) for n, before, s in zip((height, width), low, strides, strict=True)]
    after = [max(n - m, 0) for n, m in zip(counts, cotangent.shape[1:3], strict=True)]
    cotangent = jnp.pad(cotangent, ((0, 0), *zip(reach, after, strict=True), (0, 0)))

    def pixels(row: int, column: int) -> Array:
        """Gradient of the padded pixels `(row, column)`, `(row + stride, column)`, `(row, column + stride)`, ..."""
        total = jnp.zeros((number, *counts, cotangent.shape[3]), cotangent.dtype)
        for taps in itertools.product(*map(range, kernel.shape[:2])):
            (up, off_row), (back, off_column) = (
                divmod(tap * d - pixel, s)
                for tap, pixel, s, d in zip(taps, (row, column), strides, dilation, strict=True)
            )
            if not off_row and not off_column:
                top, left = reach[0] - up, reach[1] - back
                total += cotangent[:, top : top + counts[0], left : left + counts[1]] * kernel[*taps, 0]
        return total

    lines = [jnp.stack([pixels(row, column) for column in range(strides[1])], 3) for row in range(strides[0])]
    full = jnp.stack(lines, 2).reshape(number, counts[0] * strides[0], counts[1] * strides[1], channels, -1).sum(-1)
    return full[:, low[0] : low[0] + height, low[1] : low[1] + width]


depthwise_conv.defvjp(_forward, _backward)
