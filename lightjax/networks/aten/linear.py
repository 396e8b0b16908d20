"""Matrix products, attention, and normalization."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from lightjax import ops
from lightjax.networks.aten.registry import operation
from lightjax.networks.aten.tensor import Tensor, plain, pointwise


@operation("linear")
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply the last axis with `[out, in]`."""
    last = input.ndim - 1
    y = lax.dot_general(input.array, weight.array, (((input.axis(last),), (weight.axis(1),)), ((), ())))
    order = (*(axis for axis in input.order if axis != last), last)
    return Tensor(y if bias is None else y + bias.array, order, last)


@operation("matmul", "mm", "bmm")
def matmul(input: Tensor, other: Tensor | None = None, mat2: Tensor | None = None) -> Tensor:
    """The matrix product over the last two axes."""
    right = other if mat2 is None else mat2
    assert right is not None
    product = plain(input.home @ right.home)
    return Tensor(product.array, product.order, product.ndim - 1 if product.ndim else None)


@operation("addmm", "baddbmm")
def addmm(
    input: Tensor,
    mat1: Tensor | None = None,
    mat2: Tensor | None = None,
    batch1: Tensor | None = None,
    batch2: Tensor | None = None,
    beta: float = 1,
    alpha: float = 1,
) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`."""
    product = matmul(*((mat1, mat2) if batch1 is None else (batch1, batch2)))  # type: ignore[arg-type]
    return pointwise(lambda p, i: alpha * p + beta * i, product, input)


@operation("einsum")
def einsum(equation: str, tensors: Sequence[Tensor], **_) -> Tensor:
    """Einstein's sum."""
    return plain(jnp.einsum(equation, *(tensor.home for tensor in tensors)))


@operation("scaled_dot_product_attention")
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`softmax(query @ key.T * scale + mask) @ value` over the last two axes."""
    q, k, v = query.home, key.home, value.home
    if enable_gqa:
        k, v = (jnp.repeat(x, q.shape[-3] // x.shape[-3], axis=-3) for x in (k, v))
    scores = (q * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)) @ k.swapaxes(-1, -2)
    if is_causal:
        scores = jnp.where(jnp.tri(*scores.shape[-2:], dtype=bool), scores, -jnp.inf)
    if attn_mask is not None:
        mask = attn_mask.home
        scores = jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask
    batch = jnp.broadcast_shapes(scores.shape[:-2], v.shape[:-2])
    scores, v = (jnp.broadcast_to(x, batch + x.shape[-2:]) for x in (scores, v))
    return plain(ops.softmax_product(scores, v), len(batch) + 1)


@operation("softmax")
def softmax(input: Tensor, dim: int, **_) -> Tensor:
    """Softmax along an axis."""
    return input.holding(jax.nn.softmax(input.array, axis=input.axis(dim)))


@operation("log_softmax")
def log_softmax(input: Tensor, dim: int, **_) -> Tensor:
    """Logarithm of the softmax along an axis."""
    return input.holding(jax.nn.log_softmax(input.array, axis=input.axis(dim)))


def _per_channel(parameter: Tensor, input: Tensor, channel: int) -> Array:
    """A vector of one number per channel, shaped so that it meets the channels of a tensor."""
    return parameter.array.reshape([-1 if axis == channel else 1 for axis in input.order])


def _normalized(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """Mean 0 and variance 1 over some axes."""
    x = x - x.mean(axes, keepdims=True)
    return x * lax.rsqrt(jnp.square(x).mean(axes, keepdims=True) + eps)


@operation("_native_batch_norm_legit_no_training")
def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float = 0,
    eps: float = 1e-5,
) -> tuple[Tensor, None, None]:
    """Scale and shift each channel by the statistics of the training."""
    scale = lax.rsqrt(running_var.array + eps) * (1 if weight is None else weight.array)
    shift = (0 if bias is None else bias.array) - running_mean.array * scale
    shape = [-1 if axis == 1 else 1 for axis in input.order]
    return Tensor(input.array * scale.reshape(shape) + shift.reshape(shape), input.order, 1), None, None


@operation("layer_norm")
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    **_,
) -> Tensor:
    """Normalize over the last axes."""
    number = len(normalized_shape)
    y = input.holding(_normalized(input.array, input.axes(range(-number, 0)), eps))
    if weight is not None:
        y = pointwise(jnp.multiply, y, weight)
    if bias is not None:
        y = pointwise(jnp.add, y, bias)
    return Tensor(y.array, y.order, y.ndim - 1 if number == 1 else y.channel)


@operation("rms_norm")
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide by the root of the mean square over the last axes."""
    axes = input.axes(range(-len(normalized_shape), 0))
    eps = float(jnp.finfo(input.array.dtype).eps) if eps is None else eps
    y = input.holding(input.array * lax.rsqrt(jnp.square(input.array).mean(axes, keepdims=True) + eps))
    return y if weight is None else pointwise(jnp.multiply, y, weight)


@operation("group_norm")
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    **_,
) -> Tensor:
    """Normalize over groups of channels and all positions."""
    channel = input.axis(1)
    shape = input.array.shape
    split = (*shape[:channel], num_groups, shape[channel] // num_groups, *shape[channel + 1 :])
    kept = {channel, input.axis(0) + (input.axis(0) > channel)}
    axes = tuple(axis for axis in range(len(split)) if axis not in kept)
    y = _normalized(input.array.reshape(split), axes, eps).reshape(shape)
    if weight is not None:
        y = y * _per_channel(weight, input, 1)
    return Tensor(y if bias is None else y + _per_channel(bias, input, 1), input.order, 1)


@operation("instance_norm")
def instance_norm(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0,
    eps: float = 1e-5,
    **_,
) -> Tensor:
    """Normalize each channel of each picture over its positions."""
    if not use_input_stats:
        assert running_mean is not None
        assert running_var is not None
        return batch_norm(input, weight, bias, running_mean, running_var, eps=eps)[0]
    return group_norm(input, input.shape[1], weight, bias, eps)
