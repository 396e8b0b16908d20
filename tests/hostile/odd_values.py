"""Values that nobody should give as an argument, but people do: by mistake, or to see what happens."""

import datetime
import decimal
import fractions
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Mute:
    """An object that cannot say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class NoArray:
    """An object that pretends to be an array and is none."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no array")


class Endless:
    """An object that has every attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class Plain:
    """A class whose instances take nothing."""


def deep(levels: int) -> list:
    """A list in a list in a list, and so on."""
    nested: list = []
    for _ in range(levels):
        nested = [nested]
    return nested


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "-1": lambda: -1,
    "0": lambda: 0,
    "3": lambda: 3,
    "2**70": lambda: 2**70,
    "-(2**70)": lambda: -(2**70),
    "10**5000": lambda: 10**5000,
    "1.5": lambda: 1.5,
    "1e300": lambda: 1e300,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: float("-inf"),
    "complex": lambda: 1 + 2j,
    "decimal": lambda: decimal.Decimal("NaN"),
    "fraction": lambda: fractions.Fraction(1, 3),
    "empty text": lambda: "",
    "text": lambda: "abc",
    "number in a text": lambda: "3",
    "zero byte": lambda: "a\0b",
    "long text": lambda: "x" * 5000,
    "lines": lambda: "one\ntwo",
    "surrogate": lambda: "\ud800",
    "bytes": lambda: b"x",
    "[]": lambda: [],
    "[1]": lambda: [1],
    "[1, 2]": lambda: [1, 2],
    "[None]": lambda: [None],
    "[text]": lambda: ["abc", "def"],
    "()": lambda: (),
    "(1, 2)": lambda: (1, 2),
    "(1.5, nan)": lambda: (1.5, float("nan")),
    "ragged": lambda: [[1], [1, 2]],
    "deep": lambda: deep(100),
    "very deep": lambda: deep(5000),
    "[mute]": lambda: [Mute()],
    "{}": lambda: {},
    "{a: 1}": lambda: {"a": 1},
    "{1: mute}": lambda: {1: Mute()},
    "set": lambda: set(),
    "object": lambda: object(),
    "mute": lambda: Mute(),
    "no array": lambda: NoArray(),
    "every attribute": lambda: Endless(),
    "lambda": lambda: lambda *args, **kwargs: None,
    "class": lambda: Plain,
    "module": lambda: io,
    "NumPy's 3": lambda: np.array(3),
    "JAX's 3": lambda: jnp.array(3),
    "JAX's 1.5": lambda: jnp.array(1.5),
    "NumPy's nan": lambda: np.float32("nan"),
    "half": lambda: np.float16(1),
    "eight bits": lambda: np.int8(3),
    "NumPy's True": lambda: np.True_,
    "zeros(0)": lambda: np.zeros((0,)),
    "zeros(2, 2)": lambda: np.zeros((2, 2)),
    "large array": lambda: np.arange(5000.0),
    "large JAX array": lambda: jnp.zeros((40, 40, 3)) + 0.123456,
    "complex array": lambda: np.array([1j, 2]),
    "array of texts": lambda: np.array(["abc", "def"]),
    "array of objects": lambda: np.array([Mute(), None], dtype=object),
    "dates": lambda: np.array(["2020-01-01"], "datetime64[D]"),
    "date": lambda: datetime.datetime(2020, 1, 1),
    "shape": lambda: jax.ShapeDtypeStruct((2, 2), jnp.float32),
    "key": lambda: jax.random.key(0),
    "dtype": lambda: np.dtype("int32"),
    "generator": lambda: (i for i in (1, "x")),
    "range(3)": lambda: range(3),
    "no such file": lambda: Path("/no/such/file"),
    "folder": lambda: Path("."),
    "open file": lambda: io.BytesIO(b"x"),
    "...": lambda: ...,
    "slice": lambda: slice(1, 2),
}
"""A function that makes each value, by a word for it."""
