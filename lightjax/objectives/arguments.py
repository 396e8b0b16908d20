"""What an argument of an objective may be, and `primitive`, which makes a constructor from a formula.

The annotation of an argument decides its check and its part in the pytree: layers and options are static, all other
arguments are traced leaves.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Concatenate, Literal, NamedTuple, ParamSpec

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks
from lightjax.objectives.base import PRIMITIVES, Objective, Primitive
from lightjax.objectives.select import REDUCTIONS, TOKENS, Activations

P = ParamSpec("P")


class Argument(NamedTuple):
    """The metadata of an annotation: `Annotated[type, Argument(...)]`.

    Attributes:
      kind: The part of the `Objective` that holds the argument.
      check: `check(value, what)` returns the value in the form that is stored, or raises an error about `what`.
      what: The name of the argument in errors; None for its own name.
    """

    kind: Literal["layers", "leaves", "options"]
    check: Callable[[Any, str], Any]
    what: str | None = None


def primitive(formula: Callable[Concatenate[Activations, P], Array]) -> Callable[P, Objective]:
    """Make the constructor of objectives that compute a formula.

    Define the formula at the top level of a module: then its objectives can be pickled.

    Args:
      formula: A function of the activations and of arguments annotated with `Layer`, `Channel`, `Numbers` or another
        type of this module, or with an `Annotated` type that holds an `Argument`. Its docstring becomes the
        constructor's.

    Returns:
      A function of the same arguments except `activations`, which checks them and returns an `Objective`. `parse`
      finds it by its name.

    Example:
      >>> @primitive
      ... def spread(activations, layer: Layer, channel: Channel) -> Array:
      ...     return select.channels(select.read(activations, layer), layer, channel).std()
      >>> spread("mixed4a", 97) - 0.5 * spread("mixed4b", 3)

    Raises:
      TypeError: If an argument has no such annotation.
    """
    if not inspect.isfunction(formula):
        raise TypeError(f"formula must be a function of the activations, got {_checks.shown(formula)}")
    signature = inspect.signature(formula)
    parameters = list(signature.parameters.values())[1:]
    hints = typing.get_type_hints(formula, include_extras=True)  # annotations may be strings
    arguments = {p.name: _argument(formula.__qualname__, p.name, hints.get(p.name)) for p in parameters}
    groups = {kind: [n for n, a in arguments.items() if a.kind == kind] for kind in ("layers", "leaves", "options")}
    names = [name for group in groups.values() for name in group]
    bare = [p.replace(annotation=p.empty) for p in parameters]  # the annotations are long, and say nothing to users
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
    # Pickle finds a function by module and qualified name: evaluate is an attribute of its constructor.
    evaluate.__module__, evaluate.__qualname__ = formula.__module__, f"{formula.__qualname__}.evaluate"
    constructor.evaluate = evaluate  # type: ignore[attr-defined]
    PRIMITIVES[evaluate] = Primitive(constructor, tuple(names))
    return constructor


def _argument(formula: str, name: str, hint: Any) -> Argument:
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, Argument):
            return part
    raise TypeError(
        f"argument {name!r} of the formula {formula} must be annotated with a type such as Layer or Numbers"
    )


# Checks.


def _layer(layer, what: str) -> str:
    if not isinstance(layer, str):
        raise TypeError(f"{what} must be a string such as 'mixed4a', got {_checks.shown(layer)}")
    if not layer:
        raise ValueError(f"{what} must be the name of an activation, got ''")
    return layer


def _label(label, what: str):
    if not isinstance(label, str):
        return _checks.wholes(label, what)
    if not label.strip():
        raise ValueError(f"{what} must be the name of a class, or its index, got {label!r}")
    return label


def _position(position, what: str):
    if not isinstance(position, tuple | list):
        return _checks.wholes(position, what)
    if len(position) != 2:
        raise ValueError(
            f"{what} must be (row, column) or one number that counts along the rows, got {_checks.shown(position)}"
        )
    return _checks.wholes(position[0], "row"), _checks.wholes(position[1], "column")


def _width(width, what: str):
    return _checks.wholes(width, what, least=1)


def _picture(value, what: str):
    try:
        return _checks.numbers(value, what, least=0, most=1)
    except ValueError as error:
        raise ValueError(f"{error}; divide the values of a file by 255") from None


def _number(value, what: str, **limits: float):
    number = _checks.numbers(value, what, **limits)
    return float(number) if isinstance(number, np.ndarray) and number.ndim == 0 else number


def _reduction(reduce, what: str):
    return reduce if callable(reduce) else _checks.one_of(reduce, REDUCTIONS, what)


def _similarity(similarity, what: str) -> str:
    return _checks.one_of(similarity, ("dot", "cosine"), what)


def _tokens(tokens, what: str) -> str:
    return _checks.one_of(tokens, TOKENS, what)


# Types of arguments.

Some = ArrayLike | Sequence[Any]
"""A number, an array, or a list of numbers."""

Layer = Annotated[str, Argument("layers", _layer)]
"""The name of an activation."""
Channel = Annotated[Some, Argument("leaves", _checks.wholes)]
"""A whole number or several."""
Rows = Annotated[Some | None, Argument("leaves", _checks.wholes)]
Columns = Annotated[Some | None, Argument("leaves", _checks.wholes)]
Position = Annotated[Some | None, Argument("leaves", _position)]
"""(row, column), or one number that counts along the rows; None for the center."""
Label = Annotated[str | Some, Argument("leaves", _label)]
"""The name of a class, or its index, or several indices."""
Numbers = Annotated[Some, Argument("leaves", _checks.numbers)]
"""An array of finite numbers."""
Target = Annotated[Some | None, Argument("leaves", _checks.numbers)]
"""An array of finite numbers; None for what belongs to the last picture of the batch."""
Picture = Annotated[Some, Argument("leaves", _picture)]
"""An array of numbers in [0, 1]."""
Number = Annotated[ArrayLike, Argument("leaves", _number)]
"""A finite number."""
Power = Annotated[ArrayLike, Argument("leaves", functools.partial(_number, least=0))]
"""A number that is at least 0."""
Positive = Annotated[ArrayLike, Argument("leaves", functools.partial(_number, above=0))]
"""A number that is greater than 0."""
Width = Annotated[ArrayLike, Argument("leaves", _width)]
"""A whole number that is at least 1."""
Reduction = Annotated[str | Callable[[Array], Array], Argument("options", _reduction)]
"""One of `REDUCTIONS`, or a function from the values of one picture to a scalar."""
Similarity = Annotated[Literal["dot", "cosine"], Argument("options", _similarity)]
Tokens = Annotated[Literal["class", "registers"] | None, Argument("options", _tokens)]
"""Tokens beside the grid of a transformer's layer; None for the grid."""
Flag = Annotated[bool, Argument("options", _checks.flag)]
