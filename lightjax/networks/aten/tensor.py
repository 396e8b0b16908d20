"""A tensor of PyTorch's in JAX, whose axes may lie in another order than PyTorch's.

Convolutions of JAX run fastest with the channels last, and PyTorch's have them second. So each tensor says where its
axes lie. A permutation then costs nothing: it changes what the tensor says, and moves no number.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array

CHANNELS_LAST = (0, 2, 3, 1)
"""Order of the axes of `[N, C, H, W]` in an array `[N, H, W, C]`."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of PyTorch's.

    Attributes:
      array: Its numbers.
      order: The axis of PyTorch's that each axis of the array holds. With (0, 2, 3, 1), `[N, C, H, W]` lies as
        `[N, H, W, C]`.
      channel: The axis of PyTorch's that holds the channels; None if unknown.
    """

    array: Array
    order: tuple[int, ...]
    channel: int | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.order)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in PyTorch's order."""
        return tuple(self.array.shape[self.order.index(axis)] for axis in range(self.ndim))

    def axis(self, dim: int) -> int:
        """The axis of the array that holds an axis of PyTorch's, which may count from the end."""
        return self.order.index(dim % self.ndim)

    def axes(self, dims: int | Sequence[int] | None) -> tuple[int, ...]:
        """Axes of the array for axes of PyTorch's; all axes for None or an empty list."""
        if dims is None or (not isinstance(dims, int) and len(dims) == 0):
            return tuple(range(self.ndim))
        return tuple(self.axis(dim) for dim in ([dims] if isinstance(dims, int) else dims))

    def arranged(self, order: Sequence[int]) -> Array:
        """The array with its axes in another order."""
        order = tuple(order)
        return self.array if order == self.order else self.array.transpose([self.order.index(axis) for axis in order])

    @property
    def home(self) -> Array:
        """The array with its axes in PyTorch's order."""
        return self.arranged(range(self.ndim))

    def holding(self, array: Array) -> "Tensor":
        """Another array of the same axes."""
        return Tensor(array, self.order, self.channel)

    def without(self, dims: Sequence[int], array: Array) -> "Tensor":
        """An array that lacks some axes of PyTorch's."""
        gone = {dim % self.ndim for dim in dims}
        renumbered = {axis: new for new, axis in enumerate(a for a in range(self.ndim) if a not in gone)}
        order = tuple(renumbered[axis] for axis in self.order if axis not in gone)
        return Tensor(array, order, None if self.channel is None else renumbered.get(self.channel))

    def widened(self, ndim: int) -> "Tensor":
        """The same with axes of length 1 in front, as PyTorch broadcasts."""
        new = ndim - self.ndim
        if not new:
            return self
        array = self.array.reshape((1,) * new + self.array.shape)
        order = (*range(new), *(axis + new for axis in self.order))
        return Tensor(array, order, None if self.channel is None else self.channel + new)


def plain(array: Any, channel: int | None = None) -> Tensor:
    """A tensor that lies as PyTorch has it."""
    array = jnp.asarray(array)
    return Tensor(array, tuple(range(array.ndim)), channel)


def pointwise(function: Callable[..., Array], *operands: Any) -> Any:
    """Apply a function of arrays to tensors and numbers, element by element, as PyTorch broadcasts."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    if not tensors:
        return function(*operands)
    ndim = max(tensor.ndim for tensor in tensors)
    tensors = [tensor.widened(ndim) for tensor in tensors]
    first = max(tensors, key=lambda tensor: tensor.array.size)
    wide = (
        operand.widened(ndim).arranged(first.order) if isinstance(operand, Tensor) else operand for operand in operands
    )
    channels = (tensor.channel for tensor in [first, *tensors] if tensor.channel is not None)
    return Tensor(function(*wide), first.order, next(channels, None))
