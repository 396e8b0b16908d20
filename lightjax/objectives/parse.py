"""Strings and functions become objectives, and names of classes become indices."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.core import Tracer

from lightjax import _checks, labels
from lightjax.objectives import text as expressions
from lightjax.objectives.base import PRIMITIVES, Objective
from lightjax.objectives.select import Activations
from lightjax.objectives.units import LOGITS, class_logit


def objective(fn: Callable[..., Array], *leaves: Any) -> Objective:
    """Make an objective from any function of the activations.

    Args:
      fn: `fn(activations, *leaves) -> scalar`. Define it once: a function that is made anew is compiled anew.
      *leaves: Arrays, numbers or objectives that are passed to it; other values do not compile again.

    Examples:
      >>> def contrast(activations, channel):
      ...     return activations["mixed4a"][..., channel].std()
      >>> contrasts = [objective(contrast, channel) for channel in range(20)]  # one compilation

    Raises:
      TypeError: If `fn` is not a function.
    """
    if not callable(fn) or isinstance(fn, type):
        raise TypeError(f"fn must be a function of the activations, got {_checks.shown(fn)}")
    return Objective(fn, (), leaves)


def parse(text: str, layers: Iterable[str] = ()) -> Objective:
    """Read an objective from its string form.

    The short terms are TorchLight's: `layer`, `layer:channel` and `layer:channel:position`. The channel may be a list
    ("97,143") or a range ("90-99", both ends included). The position counts along the rows, or is the number of a
    token. Names of layers may have dots and slashes, and known ones any characters. Terms may be indexed and combined
    by arithmetic, with spaces around `-` and `/`, and the functions of this package may be called.
    `parse(str(objective))` returns the same objective, unless it holds a function or more than 16 floats in one array.
    Strings may come from files of others, so they have bounds: at most 1,000 terms, 100,000 characters and 50 levels of
    brackets.

    Examples:
      >>> parse("mixed4a:97 - 0.5 * mixed4b:3")
      channel('mixed4a', 97) - 0.5 * channel('mixed4b', 3)
      >>> parse("mixed4b:154[0] - mixed4b:154[1]")
      channel('mixed4b', 154)[0] - channel('mixed4b', 154)[1]
      >>> parse("class_logit('golden retriever') - 0.25 * total_variation()")
      class_logit('golden retriever') - 0.25 * total_variation()

    Args:
      text: The string form.
      layers: Names of the layers of a model; `visualize` knows those of its model.

    Raises:
      TypeError: If it is not a string.
      ValueError: If the text has another form.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string such as 'mixed4a:97', got {_checks.shown(text)}")
    layers = _names(layers)
    result = expressions.read(text, {one.constructor.__name__: one.constructor for one in PRIMITIVES.values()}, layers)
    if not isinstance(result, Objective):
        raise expressions.no_layer(text)
    return result


def as_objective(value: "str | Objective | Callable[[Activations], Array]", layers: Iterable[str] = ()) -> Objective:
    """Make an objective from its string form or a function of the activations; an objective stays the same.

    Args:
      value: The objective in one of these forms.
      layers: Names of the layers of a model, which strings may hold whatever their characters.

    Raises:
      TypeError: If it is something else.
    """
    layers = _names(layers)
    if isinstance(value, Objective):
        return value
    if isinstance(value, str):
        return parse(value, layers)
    if callable(value) and not isinstance(value, type):
        return objective(value)
    several = "; for several objectives, each with its own picture, call visualize_many" * isinstance(
        value, list | tuple
    )
    raise TypeError(
        "objective must be a string such as 'mixed4a:97', an Objective or a function of the activations, "
        f"got {_checks.shown(value)}{several}"
    )


def _names(layers: Any) -> list[str]:
    """Names of layers, checked; a mapping by name will do."""
    several = list(layers) if isinstance(layers, Mapping) else _checks.several(layers, "layers", "names of layers")
    return [_checks.text(layer, "the name of a layer in layers") for layer in several]


def resolve(objective: Objective, model: Any) -> Objective:
    """Replace the names of classes by their indices among the logits of a model.

    Args:
      objective: May hold `class_logit` terms anywhere.
      model: A network. If classes are given by name, it needs an attribute `class_names`: the names of the classes in
        the order of the logits, as networks of `load_model` have. An attribute `logits` names the layer of the logits,
        where `class_logit` names none.

    Returns:
      The objective with indices.

    Raises:
      ValueError: If the model has no names, if no class or several classes have the name, or if an index belongs to a
        logit that stands for no class.
    """
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be an Objective, got {_checks.shown(objective)}")
    names = getattr(model, "class_names", ())

    def is_class(term) -> bool:
        return isinstance(term, Objective) and term.fn in PRIMITIVES and PRIMITIVES[term.fn].constructor is class_logit

    def with_index(term):
        if not is_class(term):
            return term
        if term.layers == (LOGITS,):
            term = replace(term, layers=(getattr(model, "logits", LOGITS),))
        label, *others = term.leaves
        if isinstance(label, str):
            label = labels.class_index(label, names)
        elif not isinstance(label, Tracer):
            for index in np.ravel(label):
                labels.check(int(index), names)
        return replace(term, leaves=(label, *others))

    return jax.tree.map(with_index, objective, is_leaf=is_class)
