"""What a model returns, as activations by name: nested mappings, tuples and lists become one flat mapping."""

from collections.abc import Callable, Mapping
from typing import Any

from jax import Array

from lightjax._structure import Model


def call(model: Model, images: Array, relu: Callable | None = None) -> dict[str, Array]:
    """The activations of a model for images, by name.

    Args:
      model: A function of images, which may return what `named` understands.
      images: `[N, H, W, C]`.
      relu: Rectifier for the model's keyword `relu`; None leaves the keyword out.

    Raises:
      TypeError, ValueError: As `named` does.
    """
    return named(model(images) if relu is None else model(images, relu=relu))


def named(output: Any) -> dict[str, Array]:
    """What a model returned as a flat mapping from names to arrays.

    `{"b": {"a": x}}` becomes `b/a`, and `{"a": (x, y)}` becomes `a/0` and `a/1`. A tuple or list of one entry is that
    entry; None is left out. Of what Flax's linen captures, `{"intermediates": {"Dense_0": {"__call__": (x,)}}}`, the
    name `Dense_0` remains.

    Raises:
      TypeError: If it is neither a mapping nor a tuple or list, or if an entry is not an array.
      ValueError: If two entries get the same name.
    """
    if not isinstance(output, Mapping | tuple | list):
        raise TypeError(
            f"model must return a mapping from names to activations, but this one returns {_described(output)}: "
            'write return {"output": x}, or let lj.capture(model) name them'
        )
    found: dict[str, Array] = {}
    _collect(output, (), found)
    return found


def _collect(part: Any, path: tuple[str, ...], found: dict[str, Array]) -> None:
    if hasattr(part, "_asdict"):  # a named tuple
        part = part._asdict()
    if isinstance(part, Mapping):
        for key, value in part.items():
            captured = key == "intermediates" and isinstance(value, Mapping)
            own = () if key == "__call__" and path else (str(key),)
            _collect(value, () if captured else (*path, *own), found)
    elif isinstance(part, tuple | list):
        for i, value in enumerate(part):
            _collect(value, path if len(part) == 1 and path else (*path, str(i)), found)
    elif part is not None:
        name = "/".join(path)
        if not (hasattr(part, "shape") and hasattr(part, "dtype")):
            raise TypeError(f"activations must be arrays, but the model returns {name!r} as {_described(part)}")
        if name in found:
            raise ValueError(f"model must name each activation differently, but two are called {name!r}: rename one")
        found[name] = part


def _described(value: Any) -> str:
    """A value in a few words, for errors."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"one array {list(value.shape)}"
    return f"{value!r:.60}" if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"
