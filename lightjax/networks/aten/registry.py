"""The table of PyTorch's operations that lightjax can compute."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

OPERATIONS: dict[str, Callable[..., Any]] = {}
"""Functions by the name of PyTorch's operation, such as "conv2d". They take the arguments of PyTorch's by its names."""

RECTIFIERS: set[str] = set()
"""Operations that take the rectifier of the network as the keyword `relu`."""


def operation(*names: str) -> Callable[[F], F]:
    """Enter a function into the table."""

    def enter(function: F) -> F:
        for name in names:
            OPERATIONS[name] = function
            if "relu" in inspect.signature(function).parameters:
                RECTIFIERS.add(name)
        return function

    return enter
