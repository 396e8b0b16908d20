"""The table of PyTorch's operations that lightjax can compute."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

OPERATIONS: dict[str, Callable[..., Any]] = {}
"""Functions by the name of PyTorch's operation, such as "conv2d". They take the arguments of PyTorch's by its names."""

CHOICES: dict[str, tuple[str, ...]] = {}
"""Keywords of an operation that the caller of a network chooses: `relu`, the rectifier, and `pool`, the max pool."""


def operation(*names: str) -> Callable[[F], F]:
    """Enter a function into the table."""

    def enter(function: F) -> F:
        for name in names:
            OPERATIONS[name] = function
            CHOICES[name] = tuple({"relu", "pool"}.intersection(inspect.signature(function).parameters))
        return function

    return enter
