"""The string form of objectives: short terms such as "mixed4a:97", arithmetic, calls and indices, in and out.

Strings are read and written as Python expressions. Reading one performs arithmetic and calls the functions that the
caller names; nothing else is executed. This module does not know what an objective is.
"""

import ast
import inspect
import operator
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from lightjax import _checks

LAYER = r"[A-Za-z_][\w./]*+"
"""Pattern of the name of a layer."""

_FORM = (
    "write a layer ('mixed4a'), a channel ('mixed4a:97'), or arithmetic of such terms with spaces around its operators "
    "('mixed4a:97 - mixed4b:3')"
)
_QUOTED = r"""'[^']*'|"[^"]*\""""
_NUMBER = r"""[^\s:+*/()\[\]'"]+"""
_AFTER = rf":({_NUMBER})(?::({_NUMBER}))?"
_TERM = re.compile(rf"""{_QUOTED}|(?<![\w:.])({LAYER})(?:{_AFTER}|(?=\[))""")
_DIGITS = "[0-9]{1,20}"
_RANGE = re.compile(rf":({_DIGITS})-({_DIGITS})")
_OMITTED = re.compile(rf"{_QUOTED}|(<[^<>]*>)")
_OPERATIONS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_LONGEST = 16
"""Largest array of floats that is written out."""
DEEPEST = 50
"""How deeply a string may be nested. A sum of many terms is no nest."""
_MOST_CHARACTERS = 100_000
_MOST_CHANNELS = 100_000
"""Most channels that all ranges of a string may have together."""
_MOST_TERMS = 1000
"""Most layers and calls that a string may have."""


def read(text: str, functions: Mapping[str, Callable], layers: Iterable[str] = ()) -> Any:
    """Evaluate a string.

    Args:
      text: A Python expression that may hold the short terms "layer", "layer:channel" and "layer:channel:position".
      functions: The functions that it may call, by name. Those called "layer", "channel" and "neuron" make the short
        terms. What functions return may be indexed.
      layers: Names of layers that are known, which may have any characters.

    Raises:
      ValueError: If the text has another form, or is too long or nested too deeply.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(
            f"cannot read the objective {_checks.shown(text)}: it has {len(text)} characters, and the most are "
            f"{_MOST_CHARACTERS}; build this objective in Python"
        )
    if left_out := omissions(text):
        raise ValueError(
            f"cannot read the objective {_checks.shown(text)}: {left_out[0]:.200} stands for an array or "
            "a function that is "
            "not written out; build this objective in Python"
        )
    channels = [int(last) - int(first) for first, last in _RANGE.findall(text)]
    if sum(map(abs, channels)) >= _MOST_CHANNELS:
        raise ValueError(f"cannot read the objective {_checks.shown(text)}: its ranges are longer than any layer")
    layers = list(layers)
    if re.fullmatch(LAYER, text.strip()) or text.strip() in layers:
        return functions["layer"](text.strip())
    try:
        return _evaluate(_parsed(_terms(layers).sub(_spell_out, text.strip())), functions)
    except (SyntaxError, TypeError, ArithmeticError, RecursionError, MemoryError, UnicodeError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        if isinstance(error, RecursionError | MemoryError):
            reason = "it is nested too deeply"
        raise ValueError(
            f"cannot read the objective {_checks.shown(text)} ({reason:.200}); {_FORM}{_advice(text, layers)}"
        ) from None


def _parsed(text: str) -> ast.expr:
    """A Python expression as a tree that is neither too large nor too deep to be evaluated.

    Raises:
      SyntaxError: If it is no expression, or has characters that Python would replace by others.
      TypeError: If it is too large or too deep.
    """
    bare = re.sub(_QUOTED, "", text)
    if replaced := [one for one in bare if not unicodedata.is_normalized("NFKC", one)]:
        raise SyntaxError(f"Python reads {replaced[0]!r} as {unicodedata.normalize('NFKC', replaced[0])!r}: write that")
    with warnings.catch_warnings():  # of strange escapes in quoted strings
        warnings.simplefilter("ignore")
        tree = ast.parse(text, mode="eval").body
    level, depth, terms = [tree], 0, 0
    while level:
        if depth == DEEPEST:
            raise TypeError(f"it is nested more than {DEEPEST} deep")
        level, depth = [child for node in level for part in _terms_of(node) for child in _parts(part)], depth + 1
        terms += sum(isinstance(node, ast.Name | ast.Call) for node in level)
    if terms > _MOST_TERMS:
        raise TypeError(f"it has {terms} terms, and the most are {_MOST_TERMS}")
    return tree


def _terms_of(node: ast.AST) -> list[ast.AST]:
    """The terms of a sum or difference, however many; any other expression by itself."""
    terms = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        terms.append(node.right)
        node = node.left
    return [node, *reversed(terms)]


def _parts(node: ast.AST) -> list[ast.AST]:
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr | ast.keyword)]


def omissions(text: str) -> list[str]:
    """The abbreviations in a string that stand for what is not written out, such as "<lambda>"."""
    return [match[1] for match in _OMITTED.finditer(text) if match[1]]


def _advice(text: str, layers: Sequence[str]) -> str:
    """What to do if a text looks like a channel of a layer whose name Python cannot read."""
    match = re.fullmatch(r"([^:]{1,99}):(\d{1,9})", text.strip())
    if match is None:
        return ""
    name, call = match[1], f"channel({match[1]!r}, {match[2]})"
    return f"; {_checks.hint(name, layers)}" if layers else f"; a layer {name!r} goes as {call}, in Python lj.{call}"


def no_layer(text: str) -> ValueError:
    """The error for an expression that is a number or a string and not an objective."""
    return ValueError(f"cannot read the objective {_checks.shown(text)} (it names no layer); {_FORM}")


def call(constructor: Callable, values: Mapping[str, Any]) -> ast.expr:
    """A call of a function with these values for its parameters; values equal to a default are left out."""
    positional: list[ast.expr] = []
    keywords: list[ast.keyword] = []
    some_left_out = False
    for parameter in inspect.signature(constructor).parameters.values():
        value = _plain(values[parameter.name])
        if value is parameter.default or (isinstance(value, str | int | float) and value == parameter.default):
            some_left_out = True
        elif some_left_out or parameter.kind is parameter.KEYWORD_ONLY:
            keywords.append(ast.keyword(parameter.name, constant(value)))
        else:
            positional.append(constant(value))
    return ast.Call(ast.Name(constructor.__name__), positional, keywords)


def constant(value: Any) -> ast.expr:
    """A number, string, list, array or function as an expression.

    Functions and long arrays of floats are abbreviated, such as "<[3, 7] array>"; `read` refuses these.
    """
    if isinstance(value, tuple):
        return ast.Tuple([constant(item) for item in value])
    if isinstance(value, list):
        return ast.List([constant(item) for item in value])
    value = _plain(value)
    if callable(value):
        return omitted(getattr(value, "__name__", type(value).__name__).strip("<>"))
    if isinstance(value, jax.Array | np.ndarray):
        short = not isinstance(value, Tracer) and (value.size <= _LONGEST or np.issubdtype(value.dtype, np.integer))
        return constant(value.tolist()) if short else omitted(f"{list(value.shape)} array")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, int | float) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def omitted(what: str) -> ast.expr:
    """The abbreviation of a value that is not written out."""
    return ast.Name(f"<{what}>")


def _plain(value: Any) -> Any:
    """A NumPy or JAX number as a Python number; anything else as it is."""
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.ndim(value) == 0 and not isinstance(value, Tracer):
        return np.asarray(value).item()
    return value


def _terms(layers: Sequence[str]) -> re.Pattern:
    """The pattern of quoted strings and short terms. Known names that Python cannot read come first, longest first."""
    odd = sorted((name for name in layers if name and not name.isidentifier()), key=len, reverse=True)
    if not odd:
        return _TERM
    # A name that Python reads as a number is a layer only if a channel follows.
    words = "|".join(re.escape(name) for name in odd if not _is_number(name)) or "(?!)"
    numbers = "|".join(re.escape(name) for name in odd if _is_number(name)) or "(?!)"
    known = rf"(?<![\w:.])(?:({words})(?:{_AFTER}|(?![\w./])(?!\s*[(=]))|({numbers}){_AFTER})"
    return re.compile(rf"{_QUOTED}|{known}|{_TERM.pattern.removeprefix(_QUOTED + '|')}")


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _spell_out(match: re.Match) -> str:
    """A short term as the call that it stands for."""
    groups = match.groups()
    parts = (groups[i : i + 3] for i in range(0, len(groups), 3))  # of the alternatives, one matches
    name, channels, position = next((part for part in parts if part[0] is not None), (None, None, None))
    if name is None:  # a quoted string
        return match[0]
    if channels is None:  # a layer by itself
        return f"layer({name!r})"
    if bounds := re.fullmatch(rf"({_DIGITS})-({_DIGITS})", channels):
        first, last = int(bounds[1]), int(bounds[2])
        if last < first:
            raise ValueError(
                f"the range {_checks.shown(channels)} runs backwards; write {last}-{first}, or ' - ' to subtract"
            )
        index: int | list[int] = list(range(first, last + 1))
    elif re.fullmatch(rf"{_DIGITS}(,{_DIGITS})*", channels):
        index = [int(c) for c in channels.split(",")] if "," in channels else int(channels)
    else:
        raise ValueError(
            f"channel of {_checks.shown(name)} must be a number, a list such as 97,143 or a range such as 90-99, "
            f"got {_checks.shown(channels)}; put spaces around the operators of arithmetic"
        )
    if position is None:
        return f"channel({name!r}, {index!r})"
    if not re.fullmatch(_DIGITS, position):
        raise ValueError(
            f"position in {_checks.shown(name)} must be one number, counted along the rows, got "
            f"{_checks.shown(position)}"
        )
    return f"neuron({name!r}, {index!r}, {int(position)})"


def _evaluate(node: ast.expr, functions: Mapping[str, Callable]) -> Any:
    match node:
        case ast.Constant(value=int() | float() | str() | None as value):
            return value
        case ast.Name(id=name):
            return functions["layer"](name)
        case ast.List(elts=items):
            return [_evaluate(item, functions) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_evaluate(item, functions) for item in items)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, functions)
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            return _sum(node, functions)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            operands = _evaluate(left, functions), _evaluate(right, functions)
            numbers = all(isinstance(operand, int | float) for operand in operands)
            if type(op) is not ast.Pow or not numbers:  # a power of numbers could be endless
                return _calculated(op, *operands)
        case ast.Subscript(value=indexed, slice=index):
            value = _evaluate(indexed, functions)
            if not isinstance(value, int | float | str | list | tuple | None):
                return value[_evaluate(index, functions)]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in functions:
            named = {keyword.arg: _evaluate(keyword.value, functions) for keyword in keywords}
            if None not in named:
                return functions[name](*(_evaluate(arg, functions) for arg in args), **named)  # type: ignore[arg-type]
    raise TypeError(f"{_checks.shown(ast.unparse(node))} is not understood")


def _sum(node: ast.BinOp, functions: Mapping[str, Callable]) -> Any:
    """A sum or difference of many terms, from left to right, without recursion."""
    pending = []
    first: ast.expr = node
    while isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add | ast.Sub):
        pending.append((first.op, first.right))
        first = first.left
    total = _evaluate(first, functions)
    for op, term in reversed(pending):
        total = _calculated(op, total, _evaluate(term, functions))
    return total


def _calculated(op: ast.operator, left: Any, right: Any) -> Any:
    """An operation on numbers and objectives. Texts and lists are refused: Python would repeat them."""
    for operand in (left, right):
        if isinstance(operand, str | list | tuple):
            raise TypeError(
                f"unsupported operand {_checks.shown(operand, 50)}: only numbers and objectives are calculated with"
            )
    return _OPERATIONS[type(op)](left, right)
