"""Operations that compute each element by itself."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from lightjax import ops
from lightjax.networks.aten.registry import OPERATIONS, operation
from lightjax.networks.aten.tensor import Tensor, pointwise

_UNARY = {
    "abs": jnp.abs,
    "bitwise_not": jnp.bitwise_not,
    "cos": jnp.cos,
    "erf": jax.scipy.special.erf,
    "exp": jnp.exp,
    "floor": jnp.floor,
    "hardsigmoid": lambda x: jnp.clip(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x: x * jnp.clip(x / 6 + 0.5, 0, 1),
    "log": jnp.log,
    "log_sigmoid": jax.nn.log_sigmoid,
    "logical_not": jnp.logical_not,
    "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
    "neg": jnp.negative,
    "reciprocal": jnp.reciprocal,
    "round": jnp.round,
    "rsqrt": jax.lax.rsqrt,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "sign": jnp.sign,
    "silu": jax.nn.silu,
    "sin": jnp.sin,
    "sqrt": jnp.sqrt,
    "tanh": jnp.tanh,
}
_BINARY = {
    "__and__": jnp.bitwise_and,
    "__or__": jnp.bitwise_or,
    "__xor__": jnp.bitwise_xor,
    "eq": jnp.equal,
    "floor_divide": jnp.floor_divide,
    "ge": jnp.greater_equal,
    "gt": jnp.greater,
    "le": jnp.less_equal,
    "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or,
    "lt": jnp.less,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "mul": jnp.multiply,
    "ne": jnp.not_equal,
    "remainder": jnp.remainder,
}


def _unary(function, input: Tensor) -> Tensor:
    return pointwise(function, input)


def _binary(function, input: Any, other: Any) -> Any:
    return pointwise(function, input, other)


for _name, _function in _UNARY.items():
    OPERATIONS[_name] = functools.partial(_unary, _function)
for _name, _function in _BINARY.items():
    OPERATIONS[_name] = functools.partial(_binary, _function)


@operation("relu")
def rectified(input: Tensor, *, relu: ops.Relu) -> Tensor:
    """`max(x, 0)`, with the gradient of the network's rectifier."""
    return pointwise(relu, input)


@operation("hardtanh")
def hardtanh(input: Tensor, min_val: float = -1, max_val: float = 1, *, relu: ops.Relu) -> Tensor:
    """`x` limited to an interval. From 0 on, as in ReLU6, it is a rectifier with an upper end."""
    if min_val == 0:
        return pointwise(lambda x: jnp.where(x < max_val, relu(x), max_val), input)
    return clamp(input, min_val, max_val)


@operation("relu6")
def relu6(input: Tensor, *, relu: ops.Relu) -> Tensor:
    """`min(max(x, 0), 6)`."""
    return hardtanh(input, 0, 6, relu=relu)


@operation("clamp")
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """`x` between two bounds, each of which may be None."""
    if min is not None:
        input = pointwise(jnp.maximum, input, min)
    return input if max is None else pointwise(jnp.minimum, input, max)


@operation("clamp_min")
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """`max(x, min)`."""
    return clamp(input, min)


@operation("clamp_max")
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """`min(x, max)`."""
    return clamp(input, None, max)


@operation("leaky_relu")
def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`x`, or `negative_slope * x` where `x < 0`."""
    return pointwise(lambda x: jnp.where(x > 0, x, negative_slope * x), input)


@operation("prelu")
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`x`, or `weight * x` where `x < 0`; one weight for each channel, the second axis."""
    slopes = weight.array.reshape([-1 if axis == 1 else 1 for axis in input.order])
    return input.holding(jnp.where(input.array > 0, input.array, slopes * input.array))


@operation("elu")
def elu(input: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    """`scale * x`, or `scale * alpha * (exp(input_scale * x) - 1)` where `x < 0`."""

    def function(x: Array) -> Array:
        below = alpha * jnp.expm1(input_scale * jnp.minimum(x, 0))
        return scale * jnp.where(x > 0, x, below)

    return pointwise(function, input)


@operation("celu")
def celu(input: Tensor, alpha: float = 1) -> Tensor:
    """`x`, or `alpha * (exp(x / alpha) - 1)` where `x < 0`."""
    return elu(input, alpha, 1, 1 / alpha)


@operation("gelu")
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """`x * Phi(x)`, exact or by tanh. JAX's exact one is by `erfc`, which takes XLA on CPU several times as long."""
    if approximate == "tanh":
        return pointwise(lambda x: jax.nn.gelu(x, approximate=True), input)
    return pointwise(lambda x: 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5))), input)


@operation("softplus")
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """`log(1 + exp(beta * x)) / beta`, or `x` where `beta * x > threshold`."""
    return pointwise(lambda x: jnp.where(beta * x > threshold, x, jax.nn.softplus(beta * x) / beta), input)


@operation("add")
def add(input: Any, other: Any, alpha: float = 1) -> Any:
    """`input + alpha * other`."""
    return pointwise(lambda a, b: a + (b if alpha == 1 else alpha * b), input, other)


@operation("sub")
def sub(input: Any, other: Any, alpha: float = 1) -> Any:
    """`input - alpha * other`."""
    return pointwise(lambda a, b: a - (b if alpha == 1 else alpha * b), input, other)


@operation("rsub")
def rsub(input: Any, other: Any, alpha: float = 1) -> Any:
    """`other - alpha * input`."""
    return sub(other, input, alpha)


@operation("div")
def div(input: Any, other: Any, rounding_mode: str | None = None) -> Any:
    """`input / other`, exact, rounded down ("floor") or towards 0 ("trunc")."""
    rounded = {None: lambda q: q, "floor": jnp.floor, "trunc": jnp.trunc}[rounding_mode]
    return pointwise(lambda a, b: rounded(a / b), input, other)


@operation("pow")
def power(input: Any, exponent: Any) -> Any:
    """`input ** exponent`; by square roots where that is exact and cheap."""
    if exponent == 0.5:
        return pointwise(jnp.sqrt, input)
    if exponent == 0.75:  # local response normalization
        return pointwise(lambda x: jnp.sqrt(x) * jnp.sqrt(jnp.sqrt(x)), input)
    return pointwise(lambda a, b: a**b, input, exponent)


@operation("where")
def where(condition: Tensor, input: Any, other: Any) -> Tensor:
    """`input` where the condition holds, else `other`."""
    return pointwise(jnp.where, condition, input, other)


@operation("masked_fill")
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` where the mask holds, else `input`."""
    return pointwise(lambda x, m, v: jnp.where(m, v, x), input, mask, value)


@operation("addcmul")
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: float = 1) -> Tensor:
    """`input + value * tensor1 * tensor2`."""
    return pointwise(lambda a, b, c: a + value * b * c, input, tensor1, tensor2)


@operation("lerp")
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """`input + weight * (end - input)`."""
    return pointwise(lambda a, b, w: a + w * (b - a), input, end, weight)


@operation("_to_copy")
def to(input: Tensor, dtype: Any = None, **_: Any) -> Tensor:
    """The same numbers in another type; a device or a memory format changes nothing."""
    return input if dtype is None else input.holding(input.array.astype(dtype))
