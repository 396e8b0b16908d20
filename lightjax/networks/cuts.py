"""Cuts: what a network computes from given activations, and what it needs for that."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks

T = TypeVar("T", bound=Hashable)

Given = Mapping[str, ArrayLike]
"""Activations to run on from, by name."""


class DeadEnd(ValueError):
    """Nothing is computed from a given activation."""


def check_given(given: Given, shapes: Mapping[str, Any]) -> dict[str, Array]:
    """Given activations as arrays of the types that the network computes with.

    Args:
      given: Activations by name.
      shapes: The shape and type of every activation of the network.

    Raises:
      TypeError: If it is no mapping.
      ValueError: If the network has no such activation, or one of another shape.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"given must map names of layers to activations, got {_checks.shown(given)}")
    arrays = {}
    for name, value in given.items():
        shape = shapes[_checks.one_of(name, shapes, "layer")]
        if jnp.shape(value) != shape.shape:
            raise ValueError(f"given {name!r} must have shape {list(shape.shape)}, got {list(jnp.shape(value))}")
        arrays[name] = jnp.asarray(value, shape.dtype)
    return arrays


def after(steps: Sequence[tuple[Iterable[T], Iterable[T]]], given: Collection[T]) -> set[T]:
    """The values that are computed from given ones, and the given ones themselves.

    Args:
      steps: Inputs and outputs of each operation, in the order of computation.
      given: Some of these values.
    """
    found = set(given)
    for inputs, outputs in steps:
        if not found.isdisjoint(inputs):
            found.update(outputs)
    return found


def needed(steps: Sequence[tuple[Iterable[T], Iterable[T]]], given: Collection[T], wanted: Iterable[T]) -> set[T]:
    """The values that must be computed for the wanted ones, if others are given.

    Args:
      steps: Inputs and outputs of each operation, in the order of computation.
      given: Values that are not computed.
      wanted: Values to compute.
    """
    found = set(wanted).difference(given)
    for inputs, outputs in reversed(steps):
        if not found.isdisjoint(outputs):
            found.update(set(inputs).difference(given))
    return found


def check_leads_on(names: Mapping[str, T], steps: Sequence[tuple[Iterable[T], Iterable[T]]], given: Given) -> None:
    """Check that the network computes something from each given activation.

    Args:
      names: The value of each activation.
      steps: Inputs and outputs of each operation, in the order of computation.
      given: Activations by name.

    Raises:
      DeadEnd: If no other activation follows from one of them.
    """
    values = set(names.values())
    for name in given:
        if not (after(steps, {names[name]}) & values) - {names[name]}:
            raise DeadEnd(
                f"given {name!r} leads nowhere: it is the end of the network, or a copy beside what the network "
                "computes with; give a layer that others are computed from"
            )
