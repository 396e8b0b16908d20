"""Objectives as pytrees: operators, pictures by index, how they print, and their check against shapes."""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from lightjax import _checks
from lightjax.objectives import names, select, text
from lightjax.objectives.select import Activations


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, eq=False)
class Objective:
    """A scalar function of named activations, to be maximized.

    Build one with `channel`, `neuron`, `direction` and so on, with `parse`, or with `objective` from any function of
    the activations. `+ - * / **` and unary `-` combine objectives with each other and with numbers. An index chooses
    pictures of a batch: `channel("mixed4b", 154)[0]` looks at picture 0 alone, `[[0, 2]]` at two pictures. Without an
    index an objective is the mean over all pictures. Objectives are pytrees, and can be pickled and copied.

    Attributes:
      fn: The formula, `fn(activations, *layers, *leaves, *options) -> scalar`.
      layers: Names of the activations it reads: static.
      leaves: Arrays, numbers and objectives it depends on: traced.
      options: Names and functions that choose between formulas, such as reductions: static.
    """

    fn: Callable[..., Array] = field(metadata={"static": True})
    layers: tuple[str, ...] = field(default=(), metadata={"static": True})
    leaves: tuple[Any, ...] = ()
    options: tuple[Any, ...] = field(default=(), metadata={"static": True})

    __array_ufunc__ = None  # NumPy leaves `array * objective` to us
    __iter__ = None  # without a length, Python would call `__getitem__` for ever

    def __call__(self, activations: Activations) -> Array:
        """The value for some activations, a scalar."""
        return self.fn(activations, *self.layers, *self.leaves, *self.options)

    def functions(self) -> Iterator[Any]:
        """The functions of others that it holds: a formula, options that are functions, and those of its terms."""
        if self.fn not in PRIMITIVES:
            yield self.fn
        yield from filter(callable, self.options)
        for leaf in self.leaves:
            if isinstance(leaf, Objective):
                yield from leaf.functions()

    def __getitem__(self, pictures: Any) -> "Objective":
        """The same objective of some of the pictures.

        Args:
          pictures: Number of a picture, at least 0, or a list of numbers. They count the pictures that this objective
            looks at: `x[[0, 2]][1]` looks at picture 2.

        Raises:
          TypeError: If `pictures` is something else, such as a slice.
        """
        if isinstance(pictures, tuple):
            raise TypeError(f"picture must be a whole number or a list of them, got {_checks.shown(pictures)}")
        return Objective(_of_pictures, (), (_checks.wholes(pictures, "picture"), self))

    def __add__(self, other):
        return _sum(self, other, "+")

    def __radd__(self, other):
        return self if type(other) is int and other == 0 else _sum(other, self, "+")

    def __sub__(self, other):
        return _sum(self, other, "-")

    def __rsub__(self, other):
        return _sum(other, self, "-")

    def __mul__(self, other):
        return _combine(_mul, self, other)

    def __rmul__(self, other):
        return _combine(_mul, other, self)

    def __truediv__(self, other):
        return _combine(_div, self, other)

    def __rtruediv__(self, other):
        return _combine(_div, other, self)

    def __pow__(self, other):
        return _combine(_pow, self, other)

    def __rpow__(self, other):
        return _combine(_pow, other, self)

    def __neg__(self):
        return Objective(_neg, (), (self,))

    def __repr__(self) -> str:
        try:
            return ast.unparse(_expression(self))
        except RecursionError:
            return ast.unparse(text.omitted("objective nested too deeply to be written out"))


def check(objective: Objective, activations: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """Check an objective against the shapes of the activations it will see, before anything is compiled.

    Raises:
      TypeError: If something else is given.
      ValueError: If it names an unknown layer, does not return one real number, or is nested too deeply.
      IndexError: If a channel, position or picture is out of range.
    """
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be an Objective, got {_checks.shown(objective)}")
    if _depth(objective) > text.DEEPEST:
        raise ValueError(f"an objective must be nested at most {text.DEEPEST} deep: simplify it; long sums are no nest")
    if not isinstance(activations, Mapping) or not all(map(_is_shape, activations.values())):
        raise TypeError(f"activations must map names to shapes of arrays, got {_checks.shown(activations)}")
    last: list[str] = []
    named = lambda a: _Named(a, last)
    try:
        value = jax.eval_shape(lambda a: objective(named(a)), dict(activations))
        jax.eval_shape(lambda o, a: o(named(a)), objective, dict(activations))  # as it is compiled: all leaves traced
    except IndexError as error:
        if not last or str(error).startswith("picture"):
            raise
        shape = list(activations[last[-1]].shape)
        raise IndexError(f"{error}; the activations of {last[-1]} are {shape}") from None
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            f"an objective must return one real number, but {_checks.shown(objective)} returns {_checks.shown(value)}"
        )


def _is_shape(value: Any) -> bool:
    return isinstance(value, jax.ShapeDtypeStruct | jax.Array | np.ndarray)


def layers_of(objective: Objective) -> set[str]:
    """Names of all layers that the terms of an objective read; what functions read is not known."""
    found, pending = set(), [objective]
    while pending:
        one = pending.pop()
        found |= set(one.layers)
        pending += [part for part in one.leaves if isinstance(part, Objective)]
    return found


def terms_of(objective: Objective) -> list[Objective]:
    """The terms that arithmetic combines into an objective: itself, if it is no sum, product and so on."""
    found, pending = [], [objective]
    while pending:
        one = pending.pop()
        if one.fn in _OPERATORS or one.fn in (_added, _neg):
            pending += [part for part in one.leaves if isinstance(part, Objective)]
        else:
            found.append(one)
    return found


def _depth(objective: Objective) -> int:
    """How deeply objectives are nested in this one, without recursion."""
    depth, level = 0, [objective]
    while level and depth <= text.DEEPEST:
        depth, level = depth + 1, [part for one in level for part in one.leaves if isinstance(part, Objective)]
    return depth


class _Named(dict):
    """A dictionary whose error for an unknown layer names the nearest layer. It also serves functions that index it.

    It notes each layer that is read in `last`, so that errors can show its shape.
    """

    def __init__(self, activations: Mapping[str, Any], last: list[str]):
        super().__init__(activations)
        self._last = last

    def __getitem__(self, name: str):
        self._last.append(name)
        return super().__getitem__(name)

    def __missing__(self, name: str):
        self._last.pop()
        names.known(name, self)


# Pictures by index.


def _of_pictures(activations: Activations, pictures, objective: Objective) -> Array:
    return objective(_Pictures(activations, pictures))


class _Pictures(Mapping):
    """Activations of some of the pictures, in every layer."""

    def __init__(self, activations: Activations, pictures: Any):
        if isinstance(activations, _Pictures):  # in x[[0, 2]][1] the index 1 counts among the pictures [0, 2]
            pictures = _among(pictures, activations.pictures)
            activations = activations.activations
        self.activations, self.pictures = activations, pictures

    def __getitem__(self, layer: str) -> Array:
        x = self.activations[layer]
        if x.ndim == 0:
            raise ValueError(f"{layer} has no axis of pictures: it is one number")
        return select.take(x, self.pictures, 0, "picture", select.IMAGE)

    def __iter__(self) -> Iterator[str]:
        return iter(self.activations)

    def __len__(self) -> int:
        return len(self.activations)

    def __contains__(self, layer: object) -> bool:
        return layer in self.activations

    def get(self, layer: str, default: Any = None) -> Any:
        return self[layer] if layer in self else default  # noqa: SIM401


def _among(pictures: Any, index: Any) -> Any:
    """Some entries of a list of pictures. It stays concrete if both are, so that its range can be checked."""
    if isinstance(index, Tracer) or isinstance(pictures, Tracer):
        pictures, index = jnp.ravel(pictures), jnp.ravel(index)
        inside = (index >= 0) & (index < len(pictures))
        return jnp.where(inside, pictures[jnp.where(inside, index, 0)], -1)
    select.check_range(index, np.size(pictures), "picture", "this selection")
    return np.ravel(pictures)[np.ravel(index)]


# Operators.


def _added(activations: Activations, *terms_and_signs) -> Array:
    """A sum or difference from left to right; the signs of the terms after the first come last, such as "+-"."""
    *terms, signs = terms_and_signs
    total = _value(terms[0], activations)
    for term, sign in zip(terms[1:], signs, strict=True):
        value = _value(term, activations)
        total = total + value if sign == "+" else total - value
    return total


def _mul(activations: Activations, a, b) -> Array:
    return _value(a, activations) * _value(b, activations)


def _div(activations: Activations, a, b) -> Array:
    return _value(a, activations) / _value(b, activations)


def _pow(activations: Activations, a, b) -> Array:
    return _value(a, activations) ** _value(b, activations)


def _neg(activations: Activations, a) -> Array:
    return -_value(a, activations)


def _value(term, activations: Activations):
    return term(activations) if isinstance(term, Objective) else term


def _sum(a, b, sign: str):
    """`a + b` or `a - b`. A sum of many terms is one objective, not a nest of them that Python could not unfold."""
    pair = _combine(_added, a, b)
    if pair is NotImplemented:
        return pair
    first, second = pair.leaves
    if isinstance(first, Objective) and first.fn is _added:
        return Objective(_added, (), (*first.leaves, second), (first.options[0] + sign,))
    return Objective(_added, (), (first, second), (sign,))


def _combine(fn: Callable[..., Array], a, b):
    terms = []
    for term in (a, b):
        if isinstance(term, int | float | np.number) and not isinstance(term, bool):
            term = _checks.number(term, "a number combined with an objective")  # a float: 2 and 2.5 share a compilation
        elif not isinstance(term, Objective) and not (hasattr(term, "shape") and hasattr(term, "dtype")):
            return NotImplemented
        terms.append(term)
    return Objective(fn, (), tuple(terms))


# How objectives print.


class Primitive(NamedTuple):
    """A kind of objective: its constructor, and the names of its layers, leaves and options in this order."""

    constructor: Callable[..., Objective]
    names: tuple[str, ...]


PRIMITIVES: dict[Callable[..., Array], Primitive] = {}
"""The kinds of objectives, by the function `Objective.fn` that computes their values."""

_OPERATORS: dict[Callable[..., Array], ast.operator] = {
    _mul: ast.Mult(),
    _div: ast.Div(),
    _pow: ast.Pow(),
}


def _expression(term) -> ast.expr:
    """The Python expression that makes an objective or a number."""
    if not isinstance(term, Objective):
        return text.constant(term)
    if term.fn in _OPERATORS:
        left, right = map(_expression, term.leaves)
        return ast.BinOp(left, _OPERATORS[term.fn], right)
    if term.fn is _added:
        total, *terms = map(_expression, term.leaves)
        for one, sign in zip(terms, term.options[0], strict=True):
            total = ast.BinOp(total, ast.Add() if sign == "+" else ast.Sub(), one)
        return total
    if term.fn is _neg:
        return ast.UnaryOp(ast.USub(), _expression(term.leaves[0]))
    if term.fn is _of_pictures:
        pictures, objective = term.leaves
        return ast.Subscript(_expression(objective), text.constant(pictures))
    if term.fn in PRIMITIVES:
        constructor, names = PRIMITIVES[term.fn]
        return text.call(constructor, dict(zip(names, (*term.layers, *term.leaves, *term.options), strict=True)))
    return ast.Call(ast.Name("objective"), [text.constant(term.fn)], [])
