"""The network's operations, each with the derivative that feature visualization needs.

Images and activations are `[N, H, W, C]`, kernels `[height, width, in, out]`. Everything here is
elementwise or local, works under `jit`, `vmap` and `grad`, and has reverse-mode derivatives only.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Padding = Sequence[tuple[int, int]]
Relu = Callable[[Array], Array]

LEAK = 0.1
"""Share of the gradient that TorchLight's rectifier lets through where its input is negative."""

LUCID_STEPS = 16
"""Number of first steps in which the rectifier of Lucid's rule redirects; Lucid itself does so in one more, 0 to 16."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis: `ceil(size / stride)` outputs, the odd pixel last."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """Convolve `[N, H, W, in]` with `[kh, kw, in, out]`, with a gradient that is fast inside loops.

    A 1x1 convolution is a matrix product, and computed as one. For the others, XLA rewrites the convolutions of a
    gradient into their fast form only outside of `scan`, `while` and `fori_loop` on CPU. This gradient is written in
    that form from the start; its values are those of automatic differentiation.

    Args:
      x: Activations `[N, H, W, in]`.
      kernel: Weights `[kh, kw, in, out]`.
      stride: Step of the window along both axes.
      padding: Zeros `(before, after)` along height and width.
    """
    if kernel.shape[:2] == (1, 1) and stride == 1 and not any(map(any, padding)):
        return x @ kernel[0, 0]
    return _conv(x, kernel, stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    return _convolve(x, kernel, stride, padding)


def _convolve(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int = 1) -> Array:
    # On CPU, XLA gives each thread output channels by blocks of 64. Where there are few, rows of the kernel make more.
    few = kernel.shape[3] < 256 and x.shape[1] * x.shape[2] >= 400
    if stride == dilation == 1 and few:
        by_rows, whole = (functools.partial(f, stride=1, padding=padding) for f in (_by_rows, _whole))
        return lax.platform_dependent(x, kernel, cpu=by_rows, default=whole)
    return _whole(x, kernel, stride, padding, dilation)


def _whole(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int = 1) -> Array:
    """XLA's own convolution, of a picture with `dilation - 1` zeros between its pixels."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        lhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _by_rows(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """The same at stride 1 as one convolution with all rows of the kernel side by side, whose results are added."""
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
    """The transposed convolution, as one of the cotangent with `stride - 1` zeros between its entries."""
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
    """The same without the zeros: one convolution at stride 1 whose channels are the pixels of a `stride`-wide square.

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
        rows = np.where(rows < 0, k, rows)  # beyond the kernel, and not counted from its end
        weights = jnp.take(weights, rows, axis=2 * axis, mode="fill", fill_value=0)  # the axis of taps, then of phases
    weights = weights.transpose(0, 2, 5, 1, 3, 4)
    squares = _convolve(cotangent, weights.reshape(*weights.shape[:3], -1), 1, around)
    squares = squares.reshape(*squares.shape[:3], stride, stride, channels).swapaxes(2, 3)
    return squares.reshape(number, stride * squares.shape[1], -1, channels)[:, :height, :width]


_conv.defvjp(_conv_forward, _conv_backward)


def max_pool(x: Array, stride: int, padding: Padding) -> Array:
    """Maximum over 3x3 windows of `[N, H, W, C]`, padded with minus infinity.

    A window's gradient goes to its largest entry, the first in reading order where several are equal, as in
    PyTorch. The forward pass remembers which one that was; the gradient gathers from the few windows that a pixel lies
    in, at a fraction of the cost of XLA's own pooling gradient on CPU.

    Args:
      x: Activations `[N, H, W, C]`.
      stride: Step of the window along both axes, 1 or 2.
      padding: Rows or columns `(before, after)` to add along height and width.

    Raises:
      ValueError: If the padded activations are smaller than a window, or the stride is neither 1 nor 2.
    """
    if stride not in (1, 2):
        raise ValueError(f"the stride of a pool is 1 or 2, not {stride!r}")
    if any(size + sum(pad) < 3 for size, pad in zip(x.shape[1:3], padding, strict=True)):
        raise ValueError(f"activations of {x.shape[1]}x{x.shape[2]} are too small to pool; use a larger image")
    return _max_pool(jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf), stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: Array, stride: int) -> Array:
    return _max_pool_forward(x, stride)[0]


def _max_pool_forward(x: Array, stride: int):
    """The largest entry of each window, NaN if there is one, and which of the nine it was."""
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
        """Gradient of every pixel that lies `row` rows and `column` columns beyond a multiple of the stride."""
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def local_response_norm(x: Array, radius: int, bias: float, alpha: float, beta: float) -> Array:
    """`x / (bias + alpha * s) ** beta`, with `s` the sum of squares over `2 * radius + 1` channels.

    The sum runs over the neighbours of each channel, itself in the middle; there are zeros beyond both ends. The
    gradient is written out, in terms of one more such sum: left to itself, XLA computes the powers anew for each
    neighbour.

    Args:
      x: Activations `[N, H, W, C]`.
      radius: Neighbours on either side.
      bias: Added to the sum; positive.
      alpha: Weight of one square (PyTorch's `alpha` divided by its `size`).
      beta: 0.5 or 0.75, the two exponents in use; both are computed by square roots alone.

    Raises:
      ValueError: If `beta` is another number.

    References:
      Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    """
    return _norm_forward(x, radius, bias, alpha, beta)[0]


def _norm_forward(x: Array, radius: int, bias: float, alpha: float, beta: float):
    if beta not in (0.5, 0.75):
        raise ValueError(f"beta is 0.5 or 0.75, not {beta!r}")
    root = lax.rsqrt(bias + alpha * _sum_over_neighbours(x * x, radius))
    factor = root if beta == 0.5 else root * jnp.sqrt(root)
    return x * factor, (x, root, factor)


def _norm_backward(radius: int, bias: float, alpha: float, beta: float, residuals, cotangent: Array):
    x, root, factor = residuals
    shared = _sum_over_neighbours(cotangent * x * factor * root * root, radius)
    return (cotangent * factor - 2 * alpha * beta * x * shared,)


local_response_norm.defvjp(_norm_forward, _norm_backward)


def _sum_over_neighbours(x: Array, radius: int) -> Array:
    """Sum over the channels up to `radius` away, as shifted slices."""
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(radius, radius)])
    return sum((padded[..., i : i + x.shape[-1]] for i in range(1, 2 * radius + 1)), padded[..., : x.shape[-1]])


@jax.custom_vjp
def relu(x: Array) -> Array:
    """`max(x, 0)`; the gradient passes where `x > 0`."""
    return jnp.maximum(x, 0)


relu.defvjp(lambda x: (relu(x), x > 0), lambda passes, g: (jnp.where(passes, g, 0),))


@jax.custom_vjp
def leaky_gradient_relu(x: Array) -> Array:
    """TorchLight's redirected ReLU: `max(x, 0)`, whose gradient passes by a tenth where `x < 0`.

    A unit that is off everywhere still tells the image which way to go. The rule has no memory: it does not
    depend on the step, on the sign of the gradient, or on what the rest of the layer does.

    References:
      TorchLight and Lucent, `RedirectedReLU`.
    """
    return jnp.maximum(x, 0)


leaky_gradient_relu.defvjp(
    lambda x: (leaky_gradient_relu(x), x < 0),
    lambda off, g: (jnp.where(off, LEAK * g, g),),
)


@jax.custom_vjp
def lucid_relu(x: Array, active: Array | bool = True) -> Array:
    """Lucid's redirected ReLU: `max(x, 0)`, whose gradient is redirected where it would vanish.

    Differentiate the objective itself, to be maximised. The gradient passes where `x >= 0`. For an example
    (an index of the first axis) on which that leaves nothing at all, it passes everywhere but where `x < 0`
    and it would push `x` further down.

    Args:
      x: Pre-activations `[N, ...]`.
      active: Whether to redirect at all, a scalar that may be traced. Lucid does so for the first steps of a
        render, here `LUCID_STEPS`.

    References:
      Lucid, `misc/redirected_relu_grad.py`.
    """
    del active
    return jnp.maximum(x, 0)


def _lucid_backward(residuals, g: Array):
    x, active = residuals
    plain = jnp.where(x < 0, 0, g)
    redirected = jnp.where((x < 0) & (g < 0), 0, g)
    vanished = jnp.all(plain == 0, axis=tuple(range(1, x.ndim)), keepdims=True)
    return jnp.where(active & vanished, redirected, plain), None


lucid_relu.defvjp(lambda x, active=True: (lucid_relu(x, active), (x, active)), _lucid_backward)


@jax.custom_vjp
def clamp(x: Array) -> Array:
    """`min(max(x, 0), 1)`, whose gradient stops only what would push `x` further out.

    Differentiate the objective itself, to be maximised. The gradient of plain clamping is zero outside of [0, 1], so a
    value that leaves the range never comes back. Lucid's rule for the same purpose (`constrain_L_inf`) has its sign
    reversed: it stops what would bring the value back.
    """
    return jnp.clip(x, 0, 1)


clamp.defvjp(
    lambda x: (clamp(x), x),
    lambda x, g: (jnp.where(((x < 0) & (g < 0)) | ((x > 1) & (g > 0)), 0, g),),
)


def rectifier(rule: str, step: Array | int = 0) -> Relu:
    """The rectifier of a named gradient rule at one step of a render.

    Renders use TorchLight's rule unless told otherwise. Plain gradients leave a unit that is off everywhere off for
    good. Lucid's rule wakes it, but only if `LUCID_STEPS` steps are enough; TorchLight's works at every step, and its
    objectives rise at least as high.

    Args:
      rule: "torchlight" (`leaky_gradient_relu`), "lucid" (`lucid_relu`) or "plain" (`relu`).
      step: Updates made so far; Lucid's rule redirects during the first `LUCID_STEPS`.

    Raises:
      ValueError: If there is no such rule.
    """
    if rule == "torchlight":
        return leaky_gradient_relu
    if rule == "lucid":
        return lambda x: lucid_relu(x, step < LUCID_STEPS)
    if rule == "plain":
        return relu
    raise ValueError(f"unknown ReLU rule {rule!r}; choose 'torchlight', 'lucid' or 'plain'")


@jax.custom_vjp
def gradient_of_length(images: Array, lengths: Array) -> Array:
    """The images themselves, `[N, H, W, C]`; the gradient of each is scaled to its Euclidean length, `[N]`.

    A gradient of 0 stays 0.
    """
    return images


def _length_backward(lengths: Array, g: Array) -> tuple[Array, None]:
    length = jnp.sqrt(jnp.sum(g**2, axis=(1, 2, 3), keepdims=True))
    return jnp.where(length > 0, lengths[:, None, None, None] / jnp.where(length > 0, length, 1), 0) * g, None


gradient_of_length.defvjp(lambda images, lengths: (images, lengths), _length_backward)


_MOST_TAPS = 5
"""Most pixels of a resampled image, along each axis, that are asked for their share in the gradient of one pixel."""


def resample(image: Array, beyond: Array, matrix: Array, size: tuple[int, int], stretch: float = math.inf) -> Array:
    """Sample an image bilinearly at the affine image of a grid of another size.

    The gradient goes to the image alone. Where it is known how far the map can stretch, every pixel gathers it from the
    few samples that it may have a share in: faster on CPU, and always added up in the same order. Otherwise samples
    scatter it, as by automatic differentiation.

    Args:
      image: `[H, W, C]`.
      beyond: What lies beyond its edge, `[C]`.
      matrix: From (row, column, 1) of a sample to that of the place where it is taken, `[3, 3]`.
      size: Height and width of the grid.
      stretch: Most by which the inverse of the map lengthens a distance, as the larger of its rows and columns; an
        enlargement by 2 is a stretch of 2.

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
    # A frame of one pixel carries what lies beyond; all that lies farther out is clipped onto it.
    y, x = jnp.clip(y, -1, height) + 1, jnp.clip(x, -1, width) + 1
    top = jnp.minimum(jnp.floor(y).astype(jnp.int32), height)
    left = jnp.minimum(jnp.floor(x).astype(jnp.int32), width)
    dy, dx = (y - top)[..., None], (x - left)[..., None]
    framed = jnp.broadcast_to(beyond, (height + 2, width + 2, channels)).at[1:-1, 1:-1].set(image)
    pixels = framed.reshape(-1, channels)
    corner = top * (width + 2) + left

    def at(offset: int) -> Array:
        return pixels.at[corner + offset].get(mode="promise_in_bounds")

    above = at(0) * (1 - dx) + at(1) * dx
    below = at(width + 2) * (1 - dx) + at(width + 3) * dx
    return above * (1 - dy) + below * dy


def _places(matrix: Array, size: tuple[int, int], dtype) -> list[Array]:
    """The affine image of a grid, its rows and its columns, `size` each."""
    rows, columns = jnp.arange(size[0], dtype=dtype)[:, None], jnp.arange(size[1], dtype=dtype)
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
    # A pixel has a share in the samples taken less than a pixel from it: those within `reach` of its own image.
    reach = jnp.abs(inverse).sum(axis=1)
    own = _places(jnp.concatenate([inverse, -shift[:, None]], axis=1), (height, width), image.dtype)
    first = [jnp.floor(place - by) + 1 for place, by in zip(own, reach, strict=True)]
    samples = cotangent.reshape(-1, channels)
    rows, columns = jnp.arange(height, dtype=image.dtype)[:, None], jnp.arange(width, dtype=image.dtype)

    def add(tap: Array, total: Array) -> Array:
        y, x = first[0] + tap // taps, first[1] + tap % taps
        down, right = a * y + b * x + up - rows, c * y + d * x + along - columns
        share = jnp.maximum(1 - jnp.abs(down), 0) * jnp.maximum(1 - jnp.abs(right), 0)
        there = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
        row, column = jnp.clip(y, 0, size[0] - 1), jnp.clip(x, 0, size[1] - 1)
        place = row.astype(jnp.int32) * size[1] + column.astype(jnp.int32)
        sample = samples.at[place].get(mode="promise_in_bounds")
        return total + jnp.where(there, share, 0)[..., None] * sample

    # As a loop, or XLA would compute the samples anew for each tap, and each tap anew for each colour.
    return lax.fori_loop(0, taps**2, add, jnp.zeros_like(image)), None, None


_resample_gathering.defvjp(_gathering_forward, _gathering_backward)
