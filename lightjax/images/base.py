"""What an image parameterization and a basis are, and how random parameters are drawn."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from lightjax import _checks

Size = int | tuple[int, int]
"""Pixels: one number for a square, or (height, width)."""

Shape = tuple[int, int, int, int]

LARGEST_SD = 1e6
"""Largest standard deviation of parameters: float32 has room for it."""
LARGEST_DECAY = 8.0
"""Largest power of the frequency: float32 has room for it."""


class Image(Protocol):
    """The two functions of an image parameterization.

    An image must be hashable, or a pytree whose arrays are data and whose other leaves are hashable. To start from
    given pictures it also needs `encode(pictures) -> params`, the inverse of `decode`.
    """

    def init(self, key: Array) -> Any:
        """Draw the parameters of N pictures from a key."""
        ...

    def decode(self, params: Any) -> Array:
        """The pictures `[N, H, W, C]` in [0, 1] that the parameters stand for."""
        ...


class Basis(Protocol):
    """Parameters of planes `[N, H, W, C]` of any real values.

    A basis that has an inverse also offers `encode(planes)`. A basis may have an attribute `color`: the
    default of `image(color=)` for this basis. Without the attribute the default is "lucid".
    """

    def init(self, key: Array, shape: Shape) -> Any:
        """Draw the parameters of planes of a shape. Those of picture i must not depend on N."""
        ...

    def decode(self, params: Any, shape: Shape) -> Array:
        """The planes, `[N, H, W, C]`."""
        ...


def check_basis(basis: Any) -> None:
    """Check that a basis is one. Placeholders of JAX, which it puts in the place of a basis for a moment, are let by.

    Raises:
      TypeError: If it lacks the functions of a basis.
    """
    known = callable(getattr(basis, "init", None)) and callable(getattr(basis, "decode", None))
    plain = basis is None or isinstance(basis, str | bytes | bool | int | float | tuple | list | dict | type)
    if (plain or dataclasses.is_dataclass(basis)) and (not known or isinstance(basis, type)):
        raise TypeError(f"basis must have functions init and decode, such as Fourier() has, got {_checks.shown(basis)}")


def check_sd(value: Any, what: str, **limits: float) -> float:
    """A standard deviation, which float32 has room for.

    Raises:
      TypeError, ValueError: As `_checks.number` does.
    """
    return _checks.number(_checks.number(value, what, **limits), what, most=LARGEST_SD)


def inverse(thing: Image | Basis) -> Callable[[Array], Any]:
    """The `encode` of an image or a basis.

    Raises:
      ValueError: If it has none.
    """
    encode = getattr(thing, "encode", None)
    if encode is None:
        raise ValueError(
            f"{type(thing).__name__} cannot start from a picture: it has no `encode`, the inverse of decode"
        )
    return encode


def normal(key: Array, shape: tuple[int, ...]) -> Array:
    """Random numbers `[N, ...]` from the standard normal distribution, drawn as by `draw`."""
    return draw(jax.random.normal, key, shape)


def draw(distribution: Callable, key: Array, shape: tuple[int, ...]) -> Array:
    """Random numbers `[N, ...]`. Row i is drawn from a key of its own number, so that it is the same for every N."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(shape[0]))
    return jax.vmap(lambda k: distribution(k, shape[1:], jnp.float32))(keys)
