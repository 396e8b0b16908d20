"""Checks of arguments, with their error messages. Use these checks where one fits.

Checks raise a TypeError for a wrong type, and a ValueError for a wrong value or an unknown name. An index that is out
of range is an IndexError, which `objectives/select.py` raises.
"""

import difflib
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_LISTED = 16
"""Most names that an error lists."""


LARGEST = 2**31 - 1
"""The largest count: of pixels, pictures, steps. JAX counts with 32 bits."""


def whole(value: Any, what: str, *, least: int | None = None, most: int | None = None) -> int:
    """A whole number between two ends, both included.

    Raises:
      TypeError: If it is not a whole number.
      ValueError: If it is out of range.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{what} must be a whole number, got {value!r:.200}")
    if (least is not None and value < least) or (most is not None and value > most):
        raise ValueError(f"{what} must be {_range(least, None, most)}, got {value}")
    return int(value)


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
    if isinstance(value, bool | str | bytes) or np.shape(value) != ():
        raise TypeError(f"{what} must be a number, got {value!r:.200}")
    try:
        real = float(value)
    except OverflowError:
        raise ValueError(f"{what} must be finite, got a whole number of {value.bit_length()} bits") from None
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a number, got {value!r:.200}") from None
    if not math.isfinite(real):
        raise ValueError(f"{what} must be finite, got {real}")
    wrong = (least is not None and real < least, above is not None and real <= above, most is not None and real > most)
    if any(wrong):
        raise ValueError(f"{what} must be {_range(least, above, most)}, got {value}")
    return real


def wholes(value: Any, what: str, *, least: int | None = None) -> Any:
    """A whole number as an int, or several as an array. The values of a traced array are not checked.

    Raises:
      TypeError: If `value` is neither a whole number nor a list or array of whole numbers.
      ValueError: If it is empty, or a number is less than `least`.
    """
    array = _filled_array(value, what)
    if array is None or not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{what} must be a whole number or a list of them, got {value!r:.200}")
    if least is not None and not isinstance(array, Tracer) and np.min(array) < least:
        raise ValueError(f"{what} must be {_range(least, None, None)}, got {np.min(array)}")
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
        raise TypeError(f"{what} must be a number or an array of numbers, got {value!r:.200}")
    if not isinstance(array, Tracer):
        real = np.ravel(array)
        if not np.isfinite(real).all():
            raise ValueError(f"{what} must be finite, got {real[~np.isfinite(real)][0]}")
        for end in (np.min(real), np.max(real)):
            number(end, what, least=least, above=above, most=most)
    return array if floating else array.astype(float)


def height_and_width(value: Any, what: str = "size", *, least: int = 1) -> tuple[int, int]:
    """A size in pixels, one number for a square or (height, width), as a pair.

    Raises:
      TypeError: If a number is not whole.
      ValueError: If a number is less than `least` or more than `LARGEST`, or the pair does not have two numbers.
    """
    value = value.tolist() if isinstance(value, np.ndarray | jax.Array) else value
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        volumes = "; volumes are not supported" * (len(pair) == 3)
        raise ValueError(f"{what} must be one number of pixels or a pair (height, width), got {value!r:.200}{volumes}")
    return count(pair[0], what, least=least), count(pair[1], what, least=least)


def flag(value: Any, what: str) -> bool:
    """True or False.

    Raises:
      TypeError: If it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{what} must be True or False, got {value!r:.200}")
    return bool(value)


def one_of(value: Any, known: Iterable[str], what: str) -> str:
    """A known name.

    Raises:
      TypeError: If it is not a string.
      ValueError: If it is not known. The message has the nearest known name, or some known names if none is similar.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, got {value!r:.200}")
    known = list(known)
    if value not in known:
        raise ValueError(f"unknown {what} {value!r:.200}; {hint(value, known)}")
    return value


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
    except ValueError:
        return None
    if array.size == 0:
        raise ValueError(f"{what} must contain at least one number, got {value!r:.200}")
    return array


def _range(least: float | None, above: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"between {least} and {most}"
    ends = {"at least": least, "greater than": above, "at most": most}
    return " and ".join(f"{words} {end}" for words, end in ends.items() if end is not None)
