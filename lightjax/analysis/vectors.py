"""Vectors of channels: checked, with as many axes as needed, and normalized each by itself."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks

NORMALIZATIONS = ("none", "layer_norm", "length")
"""What happens to each vector before a dictionary encodes it, and is undone after it is decoded."""

EPSILON = 1e-5
"""What "layer_norm" adds to the standard deviation where it divides, not where it multiplies (SAELens, Prisma)."""


def scale_of(x: Array, normalize: str) -> tuple[Array, Array]:
    """What is subtracted from each vector, and what divides it after that, `[..., 1]` each."""
    nothing = jnp.zeros((*x.shape[:-1], 1), x.dtype)
    if normalize == "none":
        return nothing, nothing + 1
    layer_norm = normalize == "layer_norm"
    shift = x.mean(-1, keepdims=True) if layer_norm else nothing
    square = jnp.square(x - shift).sum(-1, keepdims=True) / max(x.shape[-1] - layer_norm, 1)
    return shift, jnp.sqrt(jnp.where(square > 0, square, jnp.ones_like(square)))  # a vector of 0 stays one


def checked(value: ArrayLike, what: str, shape: tuple[int | None, ...]) -> Array:
    """A float32 array of a shape; None stands for any length."""
    array = jnp.asarray(_checks.numbers(value, what), jnp.float32)
    if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{what} must have shape [{wanted}], got {list(array.shape)}")
    return array


def of(value: ArrayLike, what: str, channels: int) -> Array:
    """Vectors `[..., channels]` in float32."""
    x = value if isinstance(value, Array) else jnp.asarray(_checks.numbers(value, what))
    if x.ndim == 0 or x.shape[-1] != channels or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{what} must be numbers [..., {channels}], got {x.dtype} {list(x.shape)}")
    return x.astype(jnp.float32)


def table(activations: ArrayLike, channels: int) -> np.ndarray:
    """Finite vectors as `[n, channels]`."""
    x = np.asarray(_checks.numbers(activations, "activations"), np.float32)
    if x.ndim < 2 or x.shape[-1] != channels:
        raise ValueError(f"activations must be numbers [..., {channels}], got {list(x.shape)}")
    return x.reshape(-1, channels)


def kind_of(value: Any) -> Any:
    """The type of floats that a result has: that of an array of JAX or of halves, otherwise float32."""
    return value.dtype if isinstance(value, Array) else jnp.float32


def wide(vector: Array, x: Array) -> Array:
    """A vector with as many axes as x, for those who forbid JAX to add them."""
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))
