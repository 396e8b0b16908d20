"""Arrays are data and everything else is structure: how models, images and transforms go through `jax.jit`."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import numpy as np

Model = Callable[..., Mapping[str, Any] | Sequence[Any]]
"""Images `[N, H, W, 3]` in [0, 1] to named activations `[N, h, w, C]`, `[N, T, C]` (tokens) or `[N, C]`.

Other numbers of channels are those of the image. Activations may be nested (see `_activations.named`).

The arrays of a pytree (an nnx or Equinox module) are data. A function is compiled once, as by `jax.jit`: the values
that it closes over are frozen at its first use.
"""

P = ParamSpec("P")
T = TypeVar("T")


class by_structure(Generic[P, T]):
    """Compile a function with `jax.jit`: arrays in its arguments are traced, everything else must be hashable.

    Calls whose arguments differ only in the values of arrays share one compilation.
    """

    def __init__(self, function: Callable[P, T]):
        """Wrap a function."""

        def call(structure: tuple, arrays: list) -> T:
            args, kwargs = restore(arrays, structure)  # of the types that were partitioned
            return function(*args, **kwargs)  # type: ignore[call-issue]

        functools.update_wrapper(self, function)
        call.__name__ = function.__name__  # the name of the compiled program
        self._call = jax.jit(call, static_argnums=0)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the compiled function."""
        arrays, structure = partition((args, kwargs))
        return self._call(structure, arrays)

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Lowered:
        """The program for these arguments, as `jax.jit(function).lower` gives it."""
        arrays, structure = partition((args, kwargs))
        return self._call.lower(structure, arrays)


def partition(parts: Any) -> tuple[list, tuple]:
    """Split a pytree into its arrays and its structure, which is hashable if all other leaves are."""
    leaves, tree = jax.tree.flatten(parts)
    arrays = [leaf for leaf in leaves if _is_array(leaf)]
    others = tuple(None if _is_array(leaf) else (leaf,) for leaf in leaves)
    return arrays, (tree, others)


def restore(arrays: list, structure: tuple) -> Any:
    """The inverse of `partition`."""
    tree, others = structure
    remaining = iter(arrays)
    return jax.tree.unflatten(tree, [next(remaining) if other is None else other[0] for other in others])


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


@dataclasses.dataclass(frozen=True, eq=False)
class Note(Generic[T]):
    """Static information that is not part of the structure of a pytree.

    JAX compiles a function again for arguments of another structure, and the static attributes of a module are part of
    its structure. All notes are equal and have the same hash, so modules that differ only in the content of a note
    share their compiled programs. A compiled function must not read a note, because it would see the content of the
    module that it was compiled for. A module that the compiled function returns also holds the note of the module that
    it was compiled for.

    Attributes:
      content: Anything that no computation depends on, such as where weights come from.
    """

    content: T

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Note)

    def __hash__(self) -> int:
        return hash(Note)
