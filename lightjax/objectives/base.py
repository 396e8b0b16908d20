"""The algebra of objectives: the pytree, its operators, and what makes a constructor of a formula.

An objective is lifted from a pure function of the activations. A primitive declares by its annotations what its
arguments are: layers and options are structure, all else is leaves. From that follow the checks of its constructor, the
pytree, and the string form that reads back.
"""

import ast
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Concatenate, Literal, NamedTuple, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

from lightjax.objectives import text as grammar

Activations = Mapping[str, Array]
P = ParamSpec("P")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, eq=False)
class Objective:
    """A scalar function of named activations, to be maximised; `+ - * / **` and unary `-` combine it with others.

    Build one with `channel`, `neuron`, `direction` and so on, with `parse`, or, from any function of the activations,
    with `objective`.

    Attributes:
      fn: The formula, `fn(activations, *layers, *leaves, *options) -> scalar`.
      layers: Names of the activations it reads: structure.
      leaves: What else it depends on: arrays, numbers, other objectives.
      options: Names and functions that choose between formulas, such as reductions: structure.
    """

    fn: Callable[..., Array] = field(metadata={"static": True})
    layers: tuple[str, ...] = field(default=(), metadata={"static": True})
    leaves: tuple[Any, ...] = ()
    options: tuple[Any, ...] = field(default=(), metadata={"static": True})

    __array_ufunc__ = None  # so that NumPy leaves `array * objective` to us

    def __call__(self, activations: Activations) -> Array:
        """The value for some activations, a scalar."""
        return self.fn(activations, *self.layers, *self.leaves, *self.options)

    def __add__(self, other):
        return _combine(_add, self, other)

    def __radd__(self, other):
        return self if type(other) is int and other == 0 else _combine(_add, other, self)

    def __sub__(self, other):
        return _combine(_sub, self, other)

    def __rsub__(self, other):
        return _combine(_sub, other, self)

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
        return ast.unparse(_expression(self))


class Primitive(NamedTuple):
    """A kind of objective: what makes one, and the names of its layers, leaves and options in this order."""

    constructor: Callable[..., Objective]
    names: tuple[str, ...]


PRIMITIVES: dict[Callable[..., Array], Primitive] = {}
"""The kinds of objectives, by the function `Objective.fn` that computes their values."""


def primitive(formula: Callable[Concatenate[Activations, P], Array]) -> Callable[P, Objective]:
    """Make the constructor of objectives that compute a formula.

    Args:
      formula: A function of the activations and of arguments annotated as `Layer`, `Channel`, `Batch`, `Numbers` ... or
        another `Annotated` type that holds an `Argument`. Its docstring becomes that of the constructor.

    Returns:
      A function of these arguments that checks them and returns an `Objective`. `parse` knows it by its name.
    """
    signature = inspect.signature(formula)
    parameters = list(signature.parameters.values())[1:]
    arguments: dict[str, Argument] = {p.name: p.annotation.__metadata__[0] for p in parameters}
    groups = {kind: [n for n, a in arguments.items() if a.kind == kind] for kind in ("layers", "leaves", "options")}
    names = [name for group in groups.values() for name in group]
    bare = [p.replace(annotation=p.empty) for p in parameters]  # the annotations are for us, and long
    signature = signature.replace(parameters=bare, return_annotation=Objective)

    def evaluate(activations: Activations, *values: Any) -> Array:
        return formula(activations, **dict(zip(names, values, strict=True)))  # type: ignore[call-arg]

    @functools.wraps(formula)
    def constructor(*args: P.args, **kwargs: P.kwargs) -> Objective:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{formula.__name__}(): {error}") from None
        given.apply_defaults()
        for name, value in given.arguments.items():
            if value is not None or signature.parameters[name].default is not None:
                given.arguments[name] = arguments[name].check(value, arguments[name].what or name)
        return Objective(evaluate, *(tuple(given.arguments[name] for name in group) for group in groups.values()))

    constructor.__signature__ = signature  # type: ignore[attr-defined]
    PRIMITIVES[evaluate] = Primitive(constructor, tuple(names))
    return constructor


# Operators.


def _add(activations: Activations, a, b) -> Array:
    return _value(a, activations) + _value(b, activations)


def _sub(activations: Activations, a, b) -> Array:
    return _value(a, activations) - _value(b, activations)


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


def _combine(fn: Callable[..., Array], a, b):
    terms = []
    for term in (a, b):
        if isinstance(term, int | float | np.number) and not isinstance(term, bool):
            if not np.isfinite(term):
                raise ValueError(f"objectives are combined with finite numbers, not with {term!r}")
            term = float(term)  # so that 2 and 2.5 share a compilation
        elif not isinstance(term, Objective) and not (hasattr(term, "shape") and hasattr(term, "dtype")):
            return NotImplemented
        terms.append(term)
    return Objective(fn, (), tuple(terms))


_OPERATORS: dict[Callable[..., Array], ast.operator] = {
    _add: ast.Add(),
    _sub: ast.Sub(),
    _mul: ast.Mult(),
    _div: ast.Div(),
    _pow: ast.Pow(),
}


def _expression(term) -> ast.expr:
    """An objective or a number as the Python expression that makes it."""
    if not isinstance(term, Objective):
        return grammar.constant(term)
    if term.fn in _OPERATORS:
        left, right = map(_expression, term.leaves)
        return ast.BinOp(left, _OPERATORS[term.fn], right)
    if term.fn is _neg:
        return ast.UnaryOp(ast.USub(), _expression(term.leaves[0]))
    if term.fn in PRIMITIVES:
        constructor, names = PRIMITIVES[term.fn]
        return grammar.call(constructor, dict(zip(names, (*term.layers, *term.leaves, *term.options), strict=True)))
    return ast.Call(ast.Name("objective"), [grammar.constant(term.fn)], [])


# What arguments there are, and how they are checked.


class Argument(NamedTuple):
    """What an argument is to an objective.

    Attributes:
      kind: Which part of the `Objective` it goes to.
      check: `check(value, what)` returns the value as it is kept, or raises an error that says what it should be.
      what: What to call it in errors; None for its own name.
    """

    kind: Literal["layers", "leaves", "options"]
    check: Callable[[Any, str], Any]
    what: str | None = None


def one_of(name, known: Iterable[str], what: str) -> str:
    """A name that must be known.

    Raises:
      ValueError: If it is not; the message has the nearest one, or all of them.
    """
    if not isinstance(name, str) or name not in known:
        close = difflib.get_close_matches(str(name), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, known))}"
        raise ValueError(f"unknown {what} {name!r}; {hint}")
    return name


def indices(value, what: str):
    """A whole number, or several as an array.

    Raises:
      TypeError: If there is anything else.
    """
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.integer) or array.size == 0:
        raise TypeError(f"a {what} is a whole number or a list of them, not {value!r}")
    return int(value) if isinstance(array, np.ndarray) and array.ndim == 0 else array


def _name(layer, _: str) -> str:
    if not isinstance(layer, str) or not layer:
        raise TypeError(f"a layer is named by a string such as 'mixed4a', not by {layer!r}")
    return layer


def _label(label, what: str):
    return label if isinstance(label, str) and label.strip() else indices(label, what)


def _place(position, what: str):
    if not isinstance(position, tuple | list):
        return indices(position, what)
    if len(position) != 2:
        raise ValueError(f"a position is (row, column), or one number that counts along the rows, not {position!r}")
    return indices(position[0], "row"), indices(position[1], "column")


def _numbers(value, what: str):
    """Finite real numbers as an array of floats."""
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
        real = jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)
    except ValueError:  # lists of different lengths
        array, real = np.zeros(0), False
    if not real or array.size == 0:
        raise TypeError(f"{what} is a number or an array of them, not {value!r:.200}")
    if not isinstance(array, Tracer) and not np.isfinite(array).all():
        raise ValueError(f"{what} has entries that are not finite")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def _picture(value, what: str):
    """Numbers in [0, 1]."""
    array = _numbers(value, what)
    if not isinstance(array, Tracer) and not (np.min(array) >= 0 and np.max(array) <= 1):
        raise ValueError(f"{what} is a picture, with values in [0, 1]; divide those of files by 255")
    return array


def _number(value, what: str, allowed: Callable = np.isfinite, which: str = "that is finite"):
    """A real number, or an array of them for as many objectives."""
    number = _numbers(value, what)
    if not isinstance(number, Tracer) and not np.all(allowed(number)):
        raise ValueError(f"{what} is a number {which}, not {value!r}")
    return float(number) if isinstance(number, np.ndarray) and number.ndim == 0 else number


def _power(value, what: str):
    return _number(value, what, lambda number: number >= 0, "from 0 on")


def _positive(value, what: str):
    return _number(value, what, lambda number: number > 0, "above 0")


def _width(value, what: str):
    width = indices(value, what)
    if not isinstance(width, Tracer) and np.min(width) < 1:
        raise ValueError(f"{what} is a whole number from 1 on, not {value!r}")
    return width


def _flag(value, what: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what} is True or False, not {value!r}")
    return value


Some = ArrayLike | Sequence[Any]

Layer = Annotated[str, Argument("layers", _name)]
Channel = Annotated[Some, Argument("leaves", indices, "channel")]
Rows = Annotated[Some | None, Argument("leaves", indices, "row")]
Columns = Annotated[Some | None, Argument("leaves", indices, "column")]
Batch = Annotated[Some | None, Argument("leaves", indices, "batch")]
Position = Annotated[Some | None, Argument("leaves", _place)]
"""(row, column), or one number that counts along the rows; None for the centre."""
Label = Annotated[str | Some, Argument("leaves", _label, "class")]
Numbers = Annotated[Some, Argument("leaves", _numbers)]
Picture = Annotated[Some, Argument("leaves", _picture)]
Number = Annotated[ArrayLike, Argument("leaves", _number)]
Power = Annotated[ArrayLike, Argument("leaves", _power)]
Positive = Annotated[ArrayLike, Argument("leaves", _positive)]
Width = Annotated[ArrayLike, Argument("leaves", _width)]
Flag = Annotated[bool, Argument("options", _flag)]
