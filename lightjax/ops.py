"""The network's operations, each with the derivative that feature visualization needs.

Images and activations are `[N, H, W, C]`, kernels `[height, width, in, out]`. Everything here is
elementwise or local, works under `jit`, `vmap` and `grad`, and has reverse-mode derivatives only.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

Padding = Sequence[tuple[int, int]]
Relu = Callable[[Array], Array]

LEAK = 0.1
"""Share of the gradient that TorchLight's rectifier lets through where its input is negative."""

LUCID_STEPS = 16
"""Number of first steps in which Lucid's rectifier redirects."""


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
    """XLA's own convolution, of a picture with `dilation - 1` zeros between its pixels."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        lhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _conv_forward(x: Array, kernel: Array, stride: int, padding: Padding):
    return _conv(x, kernel, stride, padding), (x, kernel)


def _conv_backward(stride: int, padding: Padding, residuals, cotangent: Array):
    x, kernel = residuals
    around = []
    for axis in (0, 1):
        n, m, k = x.shape[1 + axis], cotangent.shape[1 + axis], kernel.shape[axis]
        before = k - 1 - padding[axis][0]
        around.append((before, n + k - 1 - ((m - 1) * stride + 1) - before))
    dx = _convolve(cotangent, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), 1, around, dilation=stride)
    (dkernel,) = jax.linear_transpose(lambda k: _convolve(x, k, stride, padding), kernel)(cotangent)
    return dx, dkernel


_conv.defvjp(_conv_forward, _conv_backward)


def _first_max(a: Array, b: Array) -> Array:
    """The larger of two arrays; `a` on ties, and NaN if either is."""
    return jnp.where((b > a) | jnp.isnan(b), b, a)


def max_pool(x: Array, stride: int, padding: Padding) -> Array:
    """Maximum over 3x3 windows of `[N, H, W, C]`, padded with minus infinity.

    A window's gradient goes to its largest entry, the first in reading order where several are equal, as in
    PyTorch. Taken over three shifted slices along each axis in turn, it costs a fraction of XLA's own pooling
    gradient on CPU.

    Args:
      x: Activations `[N, H, W, C]`.
      stride: Step of the window along both axes.
      padding: Rows or columns `(before, after)` to add along height and width.

    Raises:
      ValueError: If the padded activations are smaller than a window.
    """
    if any(size + sum(pad) < 3 for size, pad in zip(x.shape[1:3], padding, strict=True)):
        raise ValueError(f"activations of {x.shape[1]}x{x.shape[2]} are too small to pool; use a larger image")
    for axis in (2, 1):
        edges = [(0, 0, 0)] * 4
        edges[axis] = (*padding[axis - 1], 0)
        x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), edges)
        span = (x.shape[axis] - 3) // stride * stride + 1
        x = functools.reduce(_first_max, [lax.slice_in_dim(x, i, i + span, stride, axis) for i in range(3)])
    return x


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
