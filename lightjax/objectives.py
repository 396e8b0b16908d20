"""Objectives: what a picture is to excite, as pytrees that are pure functions of the activations.

An objective maps a mapping of named activations, `[N, H, W, C]` or `[N, C]` each, to a scalar, which is *maximised*.
Its layers and its kind are structure; channels, positions, weights and batch selectors are leaves. So all channels of a
layer share one compilation, and `jax.vmap` over the leaves is a batch of objectives. Operators only build trees:

    channel("mixed4a", 97) + 0.5 * channel("mixed4b", 3) - neuron("mixed5a", 12)
"""

import ast
import dataclasses
import difflib
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

Activations = Mapping[str, Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Objective:
    """A scalar function of named activations, to be maximised; `+ - * / **` and unary `-` combine it with others.

    Build one with `channel`, `neuron`, `layer`, `parse`, or, from any function of the activations, with `objective`.

    Attributes:
      fn: The formula, `fn(activations, *layers, *leaves) -> scalar`.
      layers: Names of the activations it reads: structure.
      leaves: Everything else it depends on: arrays, numbers, other objectives.
    """

    fn: Callable[..., Array] = dataclasses.field(metadata={"static": True})
    layers: tuple[str, ...] = dataclasses.field(default=(), metadata={"static": True})
    leaves: tuple[Any, ...] = ()

    __array_ufunc__ = None  # so that NumPy leaves `array * objective` to us

    def __call__(self, activations: Activations) -> Array:
        """The value for some activations, a scalar."""
        return self.fn(activations, *self.layers, *self.leaves)

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
        return _format(self)[0]


def channel(layer: str, index: ArrayLike, *, batch: ArrayLike | None = None) -> Objective:
    """Mean activation of one channel, or of several.

    Args:
      layer: Name of an activation, such as "mixed4a".
      index: Channel, from 0 on; a list or array of them takes their mean.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective: the mean over pictures, positions and chosen channels.

    References:
      Olah et al., "Feature Visualization", Distill, 2017.
    """
    return Objective(_channel, (_name(layer),), (_indices(index, "channel"), _optional(batch, "batch")))


def neuron(
    layer: str, channel: ArrayLike, position: int | tuple[int, int] | None = None, *, batch: ArrayLike | None = None
) -> Objective:
    """Activation of one channel at one position.

    Args:
      layer: Name of an activation with positions, such as "mixed4a".
      channel: Channel, from 0 on; a list or array of them takes their mean.
      position: (row, column), or one number that counts along the rows; None for the centre, the lower right of the
        four central positions where the size is even.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective: the mean over pictures and chosen channels at that position.

    References:
      Olah et al., "Feature Visualization", Distill, 2017.
    """
    if isinstance(position, tuple | list):
        if len(position) != 2:
            raise ValueError(f"a position is (row, column), or one number that counts along the rows, not {position!r}")
        place = (_indices(position[0], "row"), _indices(position[1], "column"))
    else:
        place = _optional(position, "position")
    leaves = (_indices(channel, "channel"), place, _optional(batch, "batch"))
    return Objective(_neuron, (_name(layer),), leaves)


def layer(layer: str, *, batch: ArrayLike | None = None) -> Objective:
    """Mean activation of a whole layer.

    Args:
      layer: Name of an activation.
      batch: Picture to look at, or several; None for all.
    """
    return Objective(_layer, (_name(layer),), (_optional(batch, "batch"),))


def objective(fn: Callable[..., Array], *leaves: Any) -> Objective:
    """Any function of the activations as an objective.

    Args:
      fn: `fn(activations, *leaves) -> scalar`. Define it once: a function made anew is compiled anew.
      *leaves: Arrays or numbers it depends on, passed on to it; changing them does not compile again.

    Example:
      >>> contrast = objective(lambda activations: activations["mixed4a"].std())

    Raises:
      TypeError: If `fn` is not a function.
    """
    if not callable(fn):
        raise TypeError(f"an objective is made of a function of the activations, not of {fn!r}")
    return Objective(fn, (), leaves)


def parse(text: str) -> Objective:
    """An objective from its string form.

    The form is TorchLight's `layer`, `layer:channel` or `layer:channel:position`, where the channel may be a list
    ("97,143") or a range ("90-99", both ends included) and the position counts along the rows. Names of layers may
    have dots and slashes. Terms combine by arithmetic, with spaces around `-` and `/`, and the functions of this module
    may be called: `str(objective)` reads back.

    Example:
      >>> parse("mixed4a:97 - 0.5 * mixed4b:3")
      channel('mixed4a', 97) - 0.5 * channel('mixed4b', 3)

    Raises:
      ValueError: If the text has another form.
    """
    if not isinstance(text, str):
        raise TypeError(f"an objective in words is a string such as 'mixed4a:97', not {text!r}")
    if re.fullmatch(_LAYER, text.strip()):
        return layer(text.strip())
    try:
        tree = ast.parse(_TERM.sub(_spell_out, text.strip()), mode="eval")
        result = _evaluate(tree.body)
    except (SyntaxError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"cannot read the objective {text!r} ({reason}); {_FORM}") from error
    if not isinstance(result, Objective):
        raise ValueError(f"cannot read the objective {text!r} (it names no layer); {_FORM}")
    return result


def as_objective(value: "str | Objective | Callable[[Activations], Array]") -> Objective:
    """An objective from an objective, its string form, or a function of the activations."""
    if isinstance(value, Objective):
        return value
    return parse(value) if isinstance(value, str) else objective(value)


def check(objective: Objective, activations: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """Check an objective against the shapes of the activations it will see, before anything is compiled.

    Raises:
      ValueError: If it names a layer that is not there, or does not give a scalar.
      IndexError: If a channel, position or picture is out of range.
    """
    value = jax.eval_shape(lambda a: objective(_Named(a)), dict(activations))
    jax.eval_shape(lambda o, a: o(_Named(a)), objective, dict(activations))  # as it will be compiled: all leaves traced
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"an objective gives one real number, but {objective!r} gives {value!r}")


class _Named(dict):
    """Activations that say which names there are."""

    def __missing__(self, name: str):
        likeness = {known: difflib.SequenceMatcher(None, name, known).ratio() for known in self}
        closest = max(likeness, key=lambda known: likeness[known], default="")
        near = likeness.get(closest, 0) > 0.6
        hint = f"did you mean {closest!r}?" if near else f"the layers are {', '.join(self)}"
        raise ValueError(f"unknown layer {name!r}; {hint}")


def _channel(activations: Activations, layer: str, index: ArrayLike, batch: ArrayLike | None) -> Array:
    x = _pictures(activations, layer, batch)
    return _select(x.mean(axis=tuple(range(x.ndim - 1))), index, -1, f"channel of {layer}").mean()


def _neuron(activations: Activations, layer: str, channel: ArrayLike, position, batch: ArrayLike | None) -> Array:
    x = _pictures(activations, layer, batch)
    if activations[layer].ndim != 4:
        raise ValueError(f"{layer} has no positions: choose one of its units with channel({layer!r}, index)")
    height, width = x.shape[-3:-1]
    if position is None:
        position = (height // 2, width // 2)
    if isinstance(position, tuple):
        x = _select(x, position[0], -3, f"row of {layer}")
        x = _select(x, position[1], -2, f"column of {layer}")
    else:
        x = x.reshape(*x.shape[:-3], height * width, x.shape[-1])
        x = _select(x, position, -2, f"position of {layer}")
    return _select(x, channel, -1, f"channel of {layer}").mean()


def _layer(activations: Activations, layer: str, batch: ArrayLike | None) -> Array:
    return _pictures(activations, layer, batch).mean()


def _pictures(activations: Activations, layer: str, batch: ArrayLike | None) -> Array:
    x = activations[layer]
    return x if batch is None else _select(x, batch, 0, "picture of the batch")


def _select(x: Array, index: ArrayLike, axis: int, what: str) -> Array:
    """Entries of an axis. An index known now must be in range; one that is traced gives NaN if it is not."""
    size = x.shape[axis]
    if not isinstance(index, Tracer):
        wrong = [i for i in np.atleast_1d(np.asarray(index)).ravel() if not 0 <= i < size]
        if wrong:
            raise IndexError(f"there is no {what} with index {wrong[0]}: they go from 0 to {size - 1}")
    index = jnp.asarray(index)
    beyond = jnp.where(index < 0, size, index)  # JAX would count negative ones from the end
    return jnp.take(x, beyond, axis=axis, mode="fill", fill_value=jnp.nan)


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


def _name(layer: str) -> str:
    if not isinstance(layer, str) or not layer:
        raise TypeError(f"a layer is named by a string such as 'mixed4a', not by {layer!r}")
    return layer


def _indices(value, what: str):
    """An index, or a list of them as an array."""
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.integer) or array.size == 0:
        raise TypeError(f"a {what} is a whole number or a list of them, not {value!r}")
    return int(value) if isinstance(array, np.ndarray) and array.ndim == 0 else array


def _optional(value, what: str):
    return None if value is None else _indices(value, what)


# The string form. Terms are spelled out as calls, then read as a Python expression of which only arithmetic, numbers,
# lists, and calls of these functions are allowed.
_FORM = (
    "write a layer ('mixed4a'), a channel ('mixed4a:97'), or arithmetic of such terms with spaces around its operators "
    "('mixed4a:97 - mixed4b:3')"
)
_LAYER = r"[A-Za-z_][\w./]*"
_TERM = re.compile(rf"""'[^']*'|"[^"]*"|(?<![\w:.])({_LAYER}):([^\s:+*/()'"]+)(?::([^\s:+*/()'"]+))?""")
_PRECEDENCE = {_add: ("+", 1), _sub: ("-", 1), _mul: ("*", 2), _div: ("/", 2), _pow: ("**", 4)}
_READABLE: dict[str, Callable[..., Objective]] = {"channel": channel, "neuron": neuron, "layer": layer}
_PRIMITIVES: dict[Callable[..., Array], tuple[str, tuple[str, ...]]] = {
    _channel: ("channel", ("", "batch")),
    _neuron: ("neuron", ("", "", "batch")),
    _layer: ("layer", ("batch",)),
}
_BINARY: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def _spell_out(match: re.Match) -> str:
    name, channels, position = match.groups()
    if name is None:  # a quoted string
        return match[0]
    if bounds := re.fullmatch(r"(\d+)-(\d+)", channels):
        first, last = int(bounds[1]), int(bounds[2])
        if last < first:
            raise ValueError(f"the range {channels!r} runs backwards; write {last}-{first}, or ' - ' to subtract")
        if last - first >= 100_000:
            raise ValueError(f"the range {channels!r} is longer than any layer")
        index: int | list[int] = list(range(first, last + 1))
    elif re.fullmatch(r"\d+(,\d+)*", channels):
        index = [int(c) for c in channels.split(",")] if "," in channels else int(channels)
    else:
        raise ValueError(
            f"{channels!r} is no channel of {name!r}; write a number, a list '97,143' or a range '90-99', and spaces "
            "around the operators of arithmetic"
        )
    if position is None:
        return f"channel({name!r}, {index!r})"
    if not position.isdecimal():
        raise ValueError(f"{position!r} is no position in {name!r}; write one number, counted along the rows")
    return f"neuron({name!r}, {index!r}, {int(position)})"


def _evaluate(node: ast.expr):
    match node:
        case ast.Constant(value=int() | float() | str() | None as value):
            return value
        case ast.Name(id=name):
            return layer(name)
        case ast.List(elts=items):
            return [_evaluate(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_evaluate(item) for item in items)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            operands = _evaluate(left), _evaluate(right)
            if type(op) is not ast.Pow or any(isinstance(operand, Objective) for operand in operands):
                return _BINARY[type(op)](*operands)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in _READABLE:
            named = {keyword.arg: _evaluate(keyword.value) for keyword in keywords}
            if None not in named:
                return _READABLE[name](*(_evaluate(arg) for arg in args), **named)  # type: ignore[arg-type]
    raise TypeError(f"{ast.unparse(node)!r} is not understood")


def _format(term) -> tuple[str, int]:
    """The string form of an objective or a leaf, and how tightly its outermost operator binds."""
    if not isinstance(term, Objective):
        value = tuple(np.asarray(t).tolist() for t in term) if isinstance(term, tuple) else np.asarray(term).tolist()
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        return repr(value), 5 if not isinstance(value, int | float) or value >= 0 else 3
    if term.fn in _PRECEDENCE:
        symbol, tightness = _PRECEDENCE[term.fn]
        (left, binds_left), (right, binds_right) = (_format(leaf) for leaf in term.leaves)
        left = f"({left})" if binds_left < tightness or (symbol == "**" and binds_left == tightness) else left
        right = f"({right})" if binds_right <= tightness else right
        return f"{left} {symbol} {right}", tightness
    if term.fn is _neg:
        inner, binds = _format(term.leaves[0])
        return f"-({inner})" if binds < 3 else f"-{inner}", 3
    if term.fn in _PRIMITIVES:
        name, keywords = _PRIMITIVES[term.fn]
        leaves = [
            f"{keyword}={_format(leaf)[0]}" if keyword else _format(leaf)[0]
            for keyword, leaf in zip(keywords, term.leaves, strict=True)
            if leaf is not None
        ]
        return f"{name}({', '.join([repr(n) for n in term.layers] + leaves)})", 5
    return f"objective({getattr(term.fn, '__name__', term.fn)})", 5
