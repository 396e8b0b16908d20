"""Arrays are data and everything else is structure: how models, images and transforms go through `jax.jit`."""

import dataclasses
import functools
import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import numpy as np

Model = Callable[..., Mapping[str, Any] | Sequence[Any]]
"""Images `[N, H, W, 3]` in [0, 1] to named activations `[N, h, w, C]`, `[N, T, C]` (tokens) or `[N, C]`.

Other numbers of channels are those of the image. Activations may be nested (see `_activations.named`).

The arrays of a pytree (an nnx or Equinox module) are data. A function is compiled once, as by `jax.jit`: the values
that it closes over are frozen at its first use.
"""

PROGRAMS = 16
"""Number of structures whose programs `by_structure` keeps, for each of its functions."""

P = ParamSpec("P")
T = TypeVar("T")


class by_structure(Generic[P, T]):
    """Compile a function with `jax.jit`: arrays in its arguments are traced, everything else must be hashable.

    Calls whose arguments differ only in the values of arrays share one compilation. The programs of the last `PROGRAMS`
    structures are kept. With `jax.jit` alone, every function that is made anew would keep its program for ever.
    """

    def __init__(self, function: Callable[P, T]):
        """Wrap a function."""

        @functools.lru_cache(PROGRAMS)
        def compiled(structure: tuple) -> jax.stages.Wrapped:
            def call(arrays: list) -> T:
                args, kwargs = restore(arrays, structure)  # of the types that were partitioned
                return function(*args, **kwargs)  # type: ignore[call-issue]

            call.__name__ = function.__name__  # the name of the compiled program
            return jax.jit(call)

        functools.update_wrapper(self, function)
        self._compiled = compiled

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the compiled function."""
        arrays, structure = partition((args, kwargs))
        return self._compiled(structure)(arrays)

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Lowered:
        """The program for these arguments, as `jax.jit(function).lower` gives it."""
        arrays, structure = partition((args, kwargs))
        return self._compiled(structure).lower(arrays)


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


_COPIES: dict[tuple[types.CodeType, str], weakref.WeakSet] = {}
"""The functions that programs were made for, by their code and their name."""


def made_again(functions: Iterable[Any]) -> str | None:
    """The text of a warning about the first function that is the third with its code; None if there is none.

    Every new function is compiled anew, also if it only looks the same, as a lambda in a loop does.
    """
    for function in functions:
        code = getattr(function, "__code__", None)
        if code is None:
            continue
        copies = _COPIES.setdefault((code, function.__qualname__), weakref.WeakSet())
        if function in copies:
            continue
        copies.add(function)
        if len(copies) == 3:
            return (
                f"{function.__qualname__} (line {code.co_firstlineno} of {code.co_filename}) is compiled for the third "
                "time, because it is made anew each time: define it once, and pass the numbers and arrays that change "
                "as leaves, lj.objective(function, number), or as arrays of a model that is a module"
            )
    return None


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
