"""Normalization: of activations over neighboring channels, and of gradients to a given length."""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def local_response_norm(x: Array, radius: int, bias: float, alpha: float, beta: float) -> Array:
    """`x / (bias + alpha * s) ** beta`, with `s` the sum of squares over `2 * radius + 1` channels.

    The sum runs over each channel and its neighbors; beyond both ends there are zeros. The gradient is written in
    terms of one more such sum, because XLA would compute the powers again for each neighbor.

    Args:
      x: Activations `[N, H, W, C]`.
      radius: Number of neighbors on either side.
      bias: Added to the weighted sum; greater than 0.
      alpha: Weight of one square (PyTorch's `alpha` divided by its `size`).
      beta: 0.5 or 0.75, the exponents of the published networks. Both need only square roots.

    Returns:
      The normalized activations `[N, H, W, C]`.

    Raises:
      ValueError: If `beta` is another number.

    References:
      Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    """
    return _norm_forward(x, radius, bias, alpha, beta)[0]


def _norm_forward(x: Array, radius: int, bias: float, alpha: float, beta: float):
    if beta not in (0.5, 0.75):
        raise ValueError(f"beta must be 0.5 or 0.75, got {beta!r}")
    root = lax.rsqrt(bias + alpha * _sum_over_neighbors(x * x, radius))
    factor = root if beta == 0.5 else root * jnp.sqrt(root)
    return x * factor, (x, root, factor)


def _norm_backward(radius: int, bias: float, alpha: float, beta: float, residuals, cotangent: Array):
    x, root, factor = residuals
    shared = _sum_over_neighbors(cotangent * x * factor * root * root, radius)
    return (cotangent * factor - 2 * alpha * beta * x * shared,)


local_response_norm.defvjp(_norm_forward, _norm_backward)


def _sum_over_neighbors(x: Array, radius: int) -> Array:
    """Sum over the channels up to `radius` away."""
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(radius, radius)])
    return sum((padded[..., i : i + x.shape[-1]] for i in range(1, 2 * radius + 1)), padded[..., : x.shape[-1]])


@jax.custom_vjp
def gradient_of_length(images: Array, lengths: Array) -> Array:
    """Normalize gradients: return the images unchanged, and scale the gradient of each to a given Euclidean length.

    A gradient of 0 stays 0.

    Args:
      images: `[N, H, W, C]`.
      lengths: Length of each gradient, `[N]`.

    Returns:
      The images, `[N, H, W, C]`.
    """
    return images


def _length_backward(lengths: Array, g: Array) -> tuple[Array, None]:
    length = jnp.sqrt(jnp.sum(g**2, axis=(1, 2, 3), keepdims=True))
    return jnp.where(length > 0, lengths[:, None, None, None] / jnp.where(length > 0, length, 1), 0) * g, None


gradient_of_length.defvjp(lambda images, lengths: (images, lengths), _length_backward)
