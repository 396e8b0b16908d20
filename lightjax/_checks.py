"""Checks of arguments, with their error messages. Use these checks where one fits.

Checks raise a TypeError for a wrong type, and a ValueError for a wrong value or an unknown name. An index that is out
of range is an IndexError, which `objectives/select.py` raises.
"""

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_LISTED = 16
"""Most names that an error lists."""


LARGEST = 2**31 - 1
"""The largest count: of pixels, pictures, steps. JAX counts with 32 bits."""
_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LONGEST_NAME = 255
"""Most bytes of the name of a file."""


def whole(value: Any, what: str, *, least: int | None = None, most: int | None = None) -> int:
    """A whole number between two ends, both included. It may be an array without axes.

    Raises:
      TypeError: If it is not a whole number.
      ValueError: If it is out of range.
    """
    given = plain(value)
    if not isinstance(given, int | np.integer) or isinstance(given, bool):
        raise TypeError(f"{what} must be a whole number, got {shown(value)}")
    if (least is not None and given < least) or (most is not None and given > most):
        raise ValueError(f"{what} must be {_range(least, None, most)}, got {shown(given)}")
    return int(given)


def count(value: Any, what: str, *, least: int = 1) -> int:
    """A whole number from `least` to `LARGEST`.

    Raises:
      TypeError: If it is not a whole number.
      ValueError: If it is out of range.
    """
    return whole(whole(value, what, least=least), what, most=LARGEST)


def number(
    value: Any, what: str, *, least: float | None = None, above: float | None = None, most: float | None = None
) -> float:
    """A finite real number: at least `least`, greater than `above`, at most `most`.

    Raises:
      TypeError: If it is not a real number.
      ValueError: If it is not finite or out of range.
    """
    given = plain(value)
    try:
        if isinstance(given, bool | np.bool_ | str | bytes | list | complex | np.complexfloating):
            raise TypeError
        real = float(given)
    except OverflowError:
        raise ValueError(f"{what} must be finite, got a number above 1e308") from None
    except Exception:  # of objects with a __float__ of their own
        raise TypeError(f"{what} must be a number, got {shown(value)}") from None
    if not math.isfinite(real):
        raise ValueError(f"{what} must be finite, got {real}")
    wrong = (least is not None and real < least, above is not None and real <= above, most is not None and real > most)
    if any(wrong):
        raise ValueError(f"{what} must be {_range(least, above, most)}, got {shown(given)}")
    return real


def wholes(value: Any, what: str, *, least: int | None = None) -> Any:
    """A whole number as an int, or several as an array. The values of a traced array are not checked.

    Raises:
      TypeError: If `value` is neither a whole number nor a list or array of whole numbers.
      ValueError: If it is empty, or a number is less than `least`.
    """
    array = _filled_array(value, what)
    if array is None or not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{what} must be a whole number or a list of them, got {shown(value)}")
    if not isinstance(array, Tracer):
        whole(np.min(array), what, least=-LARGEST if least is None else least)
        whole(np.max(array), what, most=LARGEST)
    return int(array) if isinstance(array, np.ndarray) and array.ndim == 0 else array


def numbers(
    value: Any, what: str, *, least: float | None = None, above: float | None = None, most: float | None = None
) -> Any:
    """Finite real numbers as an array of floats. The values of a traced array are not checked.

    Raises:
      TypeError: If it is not a number or an array of numbers.
      ValueError: If it is empty, or a number is not finite or out of range.
    """
    array = _filled_array(value, what)
    floating = array is not None and jnp.issubdtype(array.dtype, jnp.floating)
    if array is None or not (floating or jnp.issubdtype(array.dtype, jnp.integer)):
        raise TypeError(f"{what} must be a number or an array of numbers, got {shown(value)}")
    if not isinstance(array, Tracer):
        real = np.ravel(array)
        if not np.isfinite(real).all():
            raise ValueError(f"{what} must be finite, got {real[~np.isfinite(real)][0]}")
        for end in (np.min(real), np.max(real)):
            if abs(float(end)) > _LARGEST_FLOAT:
                raise ValueError(f"{what} must fit into float32, got {end}")
            number(end, what, least=least, above=above, most=most)
    return array if floating else array.astype(float)


def height_and_width(value: Any, what: str = "size", *, least: int = 1) -> tuple[int, int]:
    """A size in pixels, one number for a square or (height, width), as a pair.

    Raises:
      TypeError: If a number is not whole.
      ValueError: If a number is less than `least` or more than `LARGEST`, or the pair does not have two numbers.
    """
    given = plain(value)
    pair = tuple(given) if isinstance(given, tuple | list) else (value, value)
    if len(pair) != 2:
        volumes = "; volumes are not supported" * (len(pair) == 3)
        raise ValueError(f"{what} must be one number of pixels or a pair (height, width), got {shown(value)}{volumes}")
    return count(pair[0], what, least=least), count(pair[1], what, least=least)


def flag(value: Any, what: str) -> bool:
    """True or False.

    Raises:
      TypeError: If it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{what} must be True or False, got {shown(value)}")
    return bool(value)


def one_of(value: Any, known: Iterable[str], what: str) -> str:
    """A known name.

    Raises:
      TypeError: If it is not a string.
      ValueError: If it is not known. The message has the nearest known name, or some known names if none is similar.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, got {shown(value)}")
    known = list(known)
    if value not in known:
        raise ValueError(f"unknown {what} {shown(value)}; {hint(value, known)}")
    return value


def text(value: Any, what: str) -> str:
    """A string.

    Raises:
      TypeError: If it is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, got {shown(value)}")
    return value


def path(value: Any, what: str) -> Path:
    """The path of a file or a folder, which need not exist.

    Raises:
      TypeError: If it is neither a string nor a path.
      ValueError: If no file can have it.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(given := os.fspath(value), bytes):
        raise TypeError(f"{what} must be the path of a file or a folder, got {shown(value)}")
    try:
        encoded = os.fsencode(given)
    except UnicodeError:
        encoded = b"\0"
    if b"\0" in encoded or max(map(len, encoded.split(b"/"))) > _LONGEST_NAME:
        raise ValueError(f"{what} must be a path that a file can have, got {shown(given)}")
    return Path(given)


def function(value: Any, what: str) -> Any:
    """Something that can be called, and no class.

    Raises:
      TypeError: If it is something else.
    """
    if isinstance(value, type):
        raise TypeError(f"{what} must be a function, got the class {value.__name__}: call it first")
    if not callable(value):
        raise TypeError(f"{what} must be a function, got {shown(value)}")
    return value


def several(value: Any, what: str, things: str) -> list:
    """The entries of a list, an array, a range or something else that has some; no text and no mapping.

    Args:
      value: What was given.
      what: Its name, for errors.
      things: What it should hold, for errors.

    Raises:
      TypeError: If it has no entries.
    """
    given = plain(value)
    if not is_several(given):
        raise TypeError(f"{what} must be several {things}, got {shown(value)}")
    return list(given)


def is_several(value: Any) -> bool:
    """Whether something has entries as a list has: no text and no mapping."""
    value = plain(value)
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | jax.Array)


def array(value: Any, what: str) -> np.ndarray:
    """An array of numbers.

    Raises:
      TypeError: If it is none.
    """
    try:
        found = np.asarray(value)
    except Exception:  # objects that only look like arrays raise anything
        found = np.zeros(0, object)
    if not (jnp.issubdtype(found.dtype, jnp.floating) or jnp.issubdtype(found.dtype, jnp.integer)):
        raise TypeError(f"{what} must be an array of numbers, got {shown(value)}")
    return found


def plain(value: Any) -> Any:
    """An array or a number of NumPy as lists and numbers of Python; everything else as it is."""
    if isinstance(value, np.generic):
        return value.item()
    known = isinstance(value, np.ndarray | jax.Array) and not isinstance(value, Tracer)
    return np.asarray(value).tolist() if known and not jnp.issubdtype(value.dtype, jax.dtypes.extended) else value


def shown(value: Any, most: int = 200) -> str:
    """A value for an error: one line of at most so many characters, whatever its own text is; a large array's shape."""
    if isinstance(value, np.ndarray | jax.Array) and value.size > _LISTED:
        return f"an array {list(value.shape)} of {value.dtype}"
    try:
        text = repr(value)
    except Exception:  # objects may fail to describe themselves, and very deep lists do
        return f"something of type {type(value).__name__}"
    return in_a_line(text, most)


def in_a_line(value: Any, most: int = 200) -> str:
    """A text or a path in one line of at most so many characters."""
    return "".join(
        letter if letter.isprintable() else " " for letter in " ".join(str(value)[: 10 * most].split())[:most]
    )


def devices() -> None:
    """Check that JAX finds the devices that it is told to compute on; it starts them.

    Raises:
      ValueError: If it finds none, as with JAX_PLATFORMS=gpu on a machine without one.
    """
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts where only its CUDA plugin is missing
        wanted = jax.config.values["jax_platforms"]
        reason = str(error).partition(" (set JAX_PLATFORMS")[0] or "no such device was found"
        raise ValueError(
            f"JAX_PLATFORMS is {wanted!r}, but JAX cannot use that here: {reason:.300}; unset JAX_PLATFORMS, or set it "
            "to cpu"
        ) from None


def keep(instance: Any, **fields: Any) -> None:
    """Set fields of a frozen dataclass to their checked values, in its `__post_init__`."""
    for name, value in fields.items():
        object.__setattr__(instance, name, value)


def hint(name: str, known: Iterable[str]) -> str:
    """The hint of an error about an unknown name: the nearest known name, or some known names if none is similar."""
    known = list(known)
    name = name[:200]
    likeness = {one: difflib.SequenceMatcher(None, name, one).ratio() for one in known}
    closest = max(likeness, key=lambda one: likeness[one], default="")  # of equals, the first
    if likeness.get(closest, 0) > 0.6:
        return f"did you mean {closest!r}?"
    if not known:
        return "none is known"
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"known are {', '.join(f'{one!r:.60}' for one in known[:_LISTED])}{more}"


def _filled_array(value: Any, what: str) -> jax.Array | np.ndarray | None:
    """An array with at least one entry; None for lists of different lengths.

    Raises:
      ValueError: If there are no entries.
    """
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
    except Exception:  # objects that only look like arrays raise anything
        return None
    if array.size == 0:
        raise ValueError(f"{what} must contain at least one number, got {shown(value)}")
    return array


def _range(least: float | None, above: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"between {least} and {most}"
    ends = {"at least": least, "greater than": above, "at most": most}
    return " and ".join(f"{words} {end}" for words, end in ends.items() if end is not None)
