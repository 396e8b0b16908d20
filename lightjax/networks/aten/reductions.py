"""Reductions over axes, and tensors made of nothing but numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from lightjax.networks.aten.registry import OPERATIONS, operation
from lightjax.networks.aten.tensor import Tensor, plain

Dims = int | Sequence[int] | None


def _reduced(function: Callable[..., Array], input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    dims = range(input.ndim) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    array = function(input.array, axis=input.axes(dim), keepdims=keepdim)
    return input.holding(array) if keepdim else input.without(tuple(dims), array)


@operation("mean")
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The mean over axes."""
    return _reduced(jnp.mean, input, dim, keepdim)


@operation("sum")
def total(input: Tensor, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The sum over axes."""
    return _reduced(jnp.sum, input, dim, keepdim)


@operation("amax")
def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest number over axes."""
    return _reduced(jnp.max, input, dim, keepdim)


@operation("amin")
def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest number over axes."""
    return _reduced(jnp.min, input, dim, keepdim)


@operation("prod")
def prod(input: Tensor, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The product over axes."""
    return _reduced(jnp.prod, input, dim, keepdim)


@operation("any")
def some(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any entry is true."""
    return _reduced(jnp.any, input, dim, keepdim)


@operation("all")
def every(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all entries are true."""
    return _reduced(jnp.all, input, dim, keepdim)


@operation("var")
def var(
    input: Tensor, dim: Dims = None, unbiased: bool = True, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    """The variance over axes."""
    ddof = int(unbiased if correction is None else correction)
    return _reduced(lambda x, axis, keepdims: jnp.var(x, axis, ddof=ddof, keepdims=keepdims), input, dim, keepdim)


@operation("std")
def std(
    input: Tensor, dim: Dims = None, unbiased: bool = True, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    """The standard deviation over axes."""
    variance = var(input, dim, unbiased, correction, keepdim)
    return variance.holding(jnp.sqrt(variance.array))


@operation("var_mean")
def var_mean(
    input: Tensor, dim: Dims = None, unbiased: bool = True, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The variance and the mean over axes."""
    return var(input, dim, unbiased, correction, keepdim), mean(input, dim, keepdim)


@operation("linalg_vector_norm")
def norm(input: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The Euclidean length over axes."""
    if ord != 2:
        raise ValueError(f"only norms of order 2 are known, got {ord}")
    squares = total(input.holding(jnp.square(input.array)), dim, keepdim)
    # The gradient of a square root is infinite at 0; PyTorch takes 0 there.
    length = jnp.sqrt(jnp.where(squares.array > 0, squares.array, 1))
    return squares.holding(jnp.where(squares.array > 0, length, 0))


@operation("max")
def largest(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number; along an axis also where it is."""
    if dim is None:
        return amax(input)
    return amax(input, dim, keepdim), argmax(input, dim, keepdim)


@operation("argmax")
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest number is."""
    if dim is None:
        return plain(jnp.argmax(input.home))
    return _reduced(lambda x, axis, keepdims: jnp.argmax(x, axis[0], keepdims=keepdims), input, dim, keepdim)


@operation("cumsum")
def cumsum(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Sums of all entries so far."""
    return input.holding(jnp.cumsum(input.array, input.axis(dim)))


@operation("topk")
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The largest entries along an axis, and where they are."""
    if not largest:
        raise ValueError("only the largest entries can be taken")
    values, places = jax.lax.top_k(jnp.moveaxis(input.home, dim, -1), k)
    return plain(jnp.moveaxis(values, -1, dim)), plain(jnp.moveaxis(places, -1, dim))


@operation("full", "new_full")
def full(size: Sequence[int], fill_value: float, dtype: Any = None, input: Tensor | None = None) -> Tensor:
    """One number everywhere."""
    kind = dtype if dtype is not None else None if input is None else input.array.dtype
    if kind is None and isinstance(fill_value, float):
        kind = jnp.float32
    return plain(jnp.full(tuple(size), fill_value, kind))


@operation("zeros", "new_zeros")
def zeros(size: Sequence[int], dtype: Any = None, input: Tensor | None = None) -> Tensor:
    """Zeros."""
    return full(size, 0.0, dtype, input)


@operation("ones", "new_ones")
def ones(size: Sequence[int], dtype: Any = None, input: Tensor | None = None) -> Tensor:
    """Ones."""
    return full(size, 1.0, dtype, input)


@operation("full_like", "fill")
def full_like(input: Tensor, fill_value: Any = 0, value: Any = None, dtype: Any = None) -> Tensor:
    """One number everywhere, in the shape of another tensor."""
    number = fill_value if value is None else value
    return input.holding(jnp.full_like(input.array, number.array if isinstance(number, Tensor) else number, dtype))


@operation("zeros_like")
def zeros_like(input: Tensor, dtype: Any = None) -> Tensor:
    """Zeros in the shape of another tensor."""
    return full_like(input, 0, dtype=dtype)


@operation("ones_like")
def ones_like(input: Tensor, dtype: Any = None) -> Tensor:
    """Ones in the shape of another tensor."""
    return full_like(input, 1, dtype=dtype)


@operation("arange")
def arange(end: float, start: float = 0, step: float = 1, dtype: Any = None) -> Tensor:
    """Numbers at equal distances."""
    return plain(jnp.arange(start, end, step, dtype))


@operation("getitem")
def getitem(input: Sequence[Any], index: int) -> Any:
    """One of several results."""
    return input[index]


@operation("sym_size")
def sym_size(input: Tensor, dim: int) -> int:
    """The length of an axis."""
    return input.shape[dim]


_ARITHMETIC = {
    "int_add": lambda input, other: input + other,
    "int_floordiv": lambda input, other: input // other,
    "int_mod": lambda input, other: input % other,
    "int_mul": lambda input, other: input * other,
    "int_sub": lambda input, other: input - other,
}
OPERATIONS.update(_ARITHMETIC)
