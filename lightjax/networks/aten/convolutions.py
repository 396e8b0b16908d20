"""Convolutions and pools, computed with the channels last."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from lightjax import ops
from lightjax.networks.aten.registry import operation
from lightjax.networks.aten.shapes import squeeze, unsqueeze
from lightjax.networks.aten.tensor import CHANNELS_LAST, Tensor

Pair = int | Sequence[int]

KERNEL = (2, 3, 1, 0)
"""Order of the axes of a kernel `[out, in, h, w]` in an array `[h, w, in, out]`."""


def pair(value: Pair) -> tuple[int, int]:
    """A number for height and width, or one for each."""
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def images_of(input: Tensor) -> Array:
    """The array `[N, H, W, C]` of `[N, C, H, W]`."""
    if input.ndim != 4:
        raise ValueError(f"only pictures [N, C, H, W] can be convolved and pooled, got {input.ndim} axes")
    return input.arranged(CHANNELS_LAST)


def pictures(array: Array) -> Tensor:
    """The tensor `[N, C, H, W]` of an array `[N, H, W, C]`."""
    return Tensor(array, CHANNELS_LAST, 1)


def padded(padding: str | Pair, size: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]) -> list:
    """PyTorch's padding as `(before, after)` along height and width; "same" puts the odd pixel after."""
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(0, 0), (0, 0)] if padding == "valid" else [(p, p) for p in pair(padding)]  # type: ignore[arg-type]


@operation("conv2d")
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: str | Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve `[N, C, H, W]` with `[out, in / groups, h, w]`."""
    x, kernel = images_of(input), weight.arranged(KERNEL)
    around = padded(padding, x.shape[1:3], kernel.shape[:2], pair(dilation))
    y = ops.conv(x, kernel, pair(stride), tuple(around), dilation=pair(dilation), groups=groups)
    return pictures(y if bias is None else y + bias.array)


@operation("conv1d")
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: str | Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve `[N, C, L]` with `[out, in / groups, k]`: pictures of one row."""
    row, kernel = unsqueeze(input, 2), unsqueeze(weight, 2)
    around = padding if isinstance(padding, str) else (0, pair(padding)[0])
    y = conv2d(row, kernel, bias, (1, pair(stride)[0]), around, (1, pair(dilation)[0]), groups)
    return squeeze(y, 2)


@operation("conv_transpose2d")
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """The transposed convolution of `[N, C, H, W]` with `[in, out / groups, h, w]`."""
    x, kernel = images_of(input), jnp.flip(weight.arranged((2, 3, 0, 1)), (0, 1))  # [h, w, in, out / groups]
    height, width, inputs, outputs = kernel.shape
    kernel = kernel.reshape(height, width, groups, inputs // groups, outputs)
    kernel = kernel.swapaxes(2, 3).reshape(height, width, inputs // groups, groups * outputs)
    around = []
    for k, d, p, extra in zip((height, width), pair(dilation), pair(padding), pair(output_padding), strict=True):
        around.append((d * (k - 1) - p, d * (k - 1) - p + extra))
    y = lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        around,
        lhs_dilation=pair(stride),
        rhs_dilation=pair(dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return pictures(y if bias is None else y + bias.array)


def _windows(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> tuple[int, int]:
    """The number of windows along an axis, and the padding after it."""
    if ceil_mode:
        number = -(-(size + 2 * padding - kernel) // stride) + 1
        number -= (number - 1) * stride >= size + padding  # the last window must begin inside
    else:
        number = (size + 2 * padding - kernel) // stride + 1
    if number < 1:
        raise ValueError(f"a picture of {size} positions is too small to pool; use a larger image")
    _limited(kernel)
    return number, (number - 1) * stride + kernel - size - padding


@operation("max_pool2d")
def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    pool: ops.Pool,
) -> Tensor:
    """The largest number of each window."""
    x, kernel, dilation = images_of(input), pair(kernel_size), pair(dilation)
    strides = pair(stride) if stride != () and stride != [] else kernel
    around = []
    for n, k, s, p, d in zip(x.shape[1:3], kernel, strides, pair(padding), dilation, strict=True):
        around.append((p, max(_windows(n, d * (k - 1) + 1, s, p, ceil_mode)[1], 0)))
    return pictures(pool(x, strides, tuple(around), window=kernel, dilation=dilation))


@operation("avg_pool2d", "avg_pool3d")
def avg_pool(
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last two or three axes."""
    x, divisor = input.array, np.ones((1,) * input.ndim)
    first = input.ndim - max(len(kernel_size), 2)
    for i in range(input.ndim - first):
        k, s, p = (values[i if len(values) > 1 else 0] for values in (kernel_size, stride or kernel_size, padding))
        axis = input.axis(first + i)
        size = x.shape[axis]
        number, after = _windows(size, k, s, p, ceil_mode)
        starts = np.arange(number) * s - p
        ends = np.minimum(starts + k, size + p if count_include_pad else size)
        lengths = ends - (starts if count_include_pad else np.maximum(starts, 0))
        divisor = divisor * lengths.reshape([-1 if a == axis else 1 for a in range(input.ndim)])
        x = _sum_of_windows(x, axis, k, s, (p, after), number)
    scale = 1 / divisor if divisor_override is None else 1 / divisor_override
    return input.holding(x * np.asarray(scale, x.dtype))


@operation("local_response_norm")
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide by a power of the mean square over an odd number of neighboring channels."""
    return pictures(ops.local_response_norm(images_of(input), _limited(size) // 2, k, alpha / size, beta))


def _sum_of_windows(x: Array, axis: int, kernel: int, stride: int, padding: tuple[int, int], number: int) -> Array:
    """Sums over windows along one axis."""
    if kernel == stride == 1:
        return x
    x = lax.pad(x, jnp.zeros((), x.dtype), [(*padding, 0) if a == axis else (0, 0, 0) for a in range(x.ndim)])
    last = (number - 1) * stride + 1
    return sum(lax.slice_in_dim(x, tap, tap + last, stride, axis) for tap in range(kernel))  # type: ignore[return-value]


@operation("adaptive_avg_pool2d", "adaptive_avg_pool1d")
def adaptive_avg_pool(input: Tensor, output_size: Sequence[int | None]) -> Tensor:
    """Means over as many windows as wanted along the last axes."""
    x = input.array
    for dim, wanted in zip(range(-len(output_size), 0), output_size, strict=True):
        axis = input.axis(dim)
        n = x.shape[axis]
        if wanted == 1:
            x = x.mean(axis, keepdims=True)
        elif wanted not in (None, n):
            average = np.stack([_within(n, a, b) / (b - a) for a, b in _adaptive(n, wanted)])
            x = jnp.moveaxis(jnp.tensordot(x, jnp.asarray(average, x.dtype), ([axis], [1])), -1, axis)
    return input.holding(x)


@operation("adaptive_max_pool2d")
def adaptive_max_pool2d(input: Tensor, output_size: Sequence[int]) -> tuple[Tensor, None]:
    """Maxima over as many windows as wanted along height and width."""
    x = images_of(input)
    for axis, wanted in zip((1, 2), pair(output_size), strict=True):
        parts = [lax.slice_in_dim(x, a, b, axis=axis) for a, b in _adaptive(x.shape[axis], wanted)]
        x = jnp.concatenate([part.max(axis, keepdims=True) for part in parts], axis)
    return pictures(x), None


def _adaptive(size: int, wanted: int) -> list[tuple[int, int]]:
    """Start and end of the windows of an adaptive pool."""
    _limited(wanted)
    return [(i * size // wanted, -(-(i + 1) * size // wanted)) for i in range(wanted)]


def _limited(number: int) -> int:
    """A number of positions, refused if it is absurd: what is made of it would fill the memory."""
    if number > 4096:
        raise ValueError(f"a window or an enlarged side must have at most 4096 positions, got {number}")
    return number


def _within(size: int, start: int, end: int) -> np.ndarray:
    places = np.arange(size)
    return ((places >= start) & (places < end)).astype(float)


@operation("upsample_nearest2d")
def upsample_nearest2d(input: Tensor, output_size: Any = None, scale_factors: Any = None, **scales: Any) -> Tensor:
    """Enlarge by the nearest pixel."""
    x = images_of(input)
    for axis, wanted in zip((1, 2), _wanted(x.shape[1:3], output_size, scale_factors), strict=True):
        ratio = _ratio(x.shape[axis], wanted, axis, scale_factors, scales)
        places = np.minimum(np.floor(np.arange(wanted) * ratio).astype(int), x.shape[axis] - 1)
        x = jnp.take(x, places, axis)
    return pictures(x)


@operation("upsample_bilinear2d")
def upsample_bilinear2d(
    input: Tensor, output_size: Any = None, align_corners: bool = False, scale_factors: Any = None, **scales: Any
) -> Tensor:
    """Enlarge by linear interpolation."""
    return _interpolated(input, output_size, align_corners, scale_factors, scales, _linear, 1)


@operation("upsample_bicubic2d")
def upsample_bicubic2d(
    input: Tensor, output_size: Any = None, align_corners: bool = False, scale_factors: Any = None, **scales: Any
) -> Tensor:
    """Enlarge by Keys's cubic interpolation with a = -0.75."""
    return _interpolated(input, output_size, align_corners, scale_factors, scales, _cubic, 2)


def _linear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(distance), 0)


def _cubic(distance: np.ndarray) -> np.ndarray:
    a, t = -0.75, np.abs(distance)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def _interpolated(input: Tensor, output_size, align_corners, scale_factors, scales, kernel, reach: int) -> Tensor:
    x = images_of(input)
    for axis, wanted in zip((1, 2), _wanted(x.shape[1:3], output_size, scale_factors), strict=True):
        n, places = x.shape[axis], np.arange(wanted)
        if align_corners:
            at = places * ((n - 1) / (wanted - 1) if wanted > 1 else 0.0)
        else:
            at = (places + 0.5) * _ratio(n, wanted, axis, scale_factors, scales) - 0.5
            at = np.maximum(at, 0) if reach == 1 else at
        weights = np.zeros((wanted, n))
        for tap in range(1 - reach, reach + 1):
            neighbor = np.floor(at).astype(int) + tap
            np.add.at(weights, (places, np.clip(neighbor, 0, n - 1)), kernel(at - neighbor))
        x = jnp.moveaxis(jnp.tensordot(x, jnp.asarray(weights, x.dtype), ([axis], [1])), -1, axis)
    return pictures(x)


def _wanted(size: Sequence[int], output_size: Any, scale_factors: Any) -> tuple[int, int]:
    if output_size is not None:
        return pair([_limited(n) for n in output_size])
    height, width = (_limited(math.floor(n * f)) for n, f in zip(size, scale_factors, strict=True))
    return height, width


def _ratio(size: int, wanted: int, axis: int, scale_factors: Any, scales: Any) -> float:
    """Distance between two new pixels, in old ones. A given factor counts, not the sizes, as in PyTorch."""
    given = scales.get("scales_h" if axis == 1 else "scales_w") if scale_factors is None else scale_factors[axis - 1]
    return size / wanted if given is None else 1 / given
