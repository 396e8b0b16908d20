"""The part of attention after its scores, with a gradient that makes few passes over them."""

import jax
import jax.numpy as jnp
from jax import Array


@jax.custom_vjp
def softmax_product(scores: Array, values: Array) -> Array:
    """`softmax(scores) @ values`, over the last axis of the scores.

    The division by the sum of the exponentials is made after the product, which is smaller than the scores. The
    gradient by the scores needs the mean of its own product with the softmax; that is the product of the result with
    its cotangent (Dao et al., "FlashAttention", 2022).

    Args:
      scores: `[..., L, S]`.
      values: `[..., S, C]`.

    Returns:
      Means of the values, `[..., L, C]`.
    """
    return _forward(scores, values)[0]


def _forward(scores: Array, values: Array):
    powers = jnp.exp(scores - scores.max(-1, keepdims=True))
    total = powers.sum(-1, keepdims=True)
    result = (powers @ values) / total
    return result, (powers, total, values, result)


def _backward(residuals, cotangent: Array):
    powers, total, values, result = residuals
    cotangent = cotangent / total
    mean = (cotangent * result).sum(-1, keepdims=True)
    dscores = powers * (cotangent @ values.swapaxes(-1, -2) - mean)
    return dscores, powers.swapaxes(-1, -2) @ cotangent


softmax_product.defvjp(_forward, _backward)
