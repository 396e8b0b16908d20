"""Operations that move numbers: reshape, select, join, pad."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lightjax.networks.aten.registry import operation
from lightjax.networks.aten.tensor import Tensor, plain


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[range, range]]:
    """Smallest runs of axes of two shapes that hold the same number of elements."""
    i = j = 0
    while i < len(old) and j < len(new):
        first_old, first_new, a, b = i, j, old[i], new[j]
        i, j = i + 1, j + 1
        while a != b:
            if a < b:
                a, i = a * old[i], i + 1
            else:
                b, j = b * new[j], j + 1
        yield range(first_old, i), range(first_new, j)
    if i < len(old) or j < len(new):
        yield range(i, len(old)), range(j, len(new))


@operation("view", "_unsafe_view")
def reshape(input: Tensor, size: Sequence[int]) -> Tensor:
    """The same numbers in another shape. Axes that can stay where they lie do."""
    old, new = input.shape, list(size)
    if -1 in new:
        new[new.index(-1)] = math.prod(old) // math.prod(n for n in new if n != -1)
    if math.prod(old) != math.prod(new):
        raise ValueError(f"{list(old)} cannot be reshaped to {new}")
    channel, places = None, []
    for olds, news in _groups(old, new):
        if input.channel is not None and input.channel in olds:
            channel = next((axis for axis in news if new[axis] == old[input.channel]), None)
        lie = [input.order.index(axis) for axis in olds]
        places.append((lie, news))
    if not all(lie == list(range(lie[0], lie[0] + len(lie))) for lie, _ in places if lie):
        return plain(input.home.reshape(new), channel)
    places.sort(key=lambda place: place[0] or [input.ndim])
    order = tuple(axis for _, news in places for axis in news)
    return Tensor(input.array.reshape([new[axis] for axis in order]), order, channel)


@operation("squeeze")
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without axes of length 1."""
    dims = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {d % input.ndim for d in dims if input.shape[d] == 1}
    return input.without(tuple(gone), input.array.squeeze(tuple(input.axis(d) for d in gone)))


@operation("unsqueeze")
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new axis of length 1."""
    dim %= input.ndim + 1
    order = (dim, *(axis + (axis >= dim) for axis in input.order))
    channel = None if input.channel is None else input.channel + (input.channel >= dim)
    return Tensor(input.array[None], order, channel)


@operation("permute")
def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Another order of the axes. No number moves."""
    new = {old % input.ndim: axis for axis, old in enumerate(dims)}
    order = tuple(new[axis] for axis in input.order)
    return Tensor(input.array, order, None if input.channel is None else new[input.channel])


@operation("transpose")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    dims = list(range(input.ndim))
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return permute(input, dims)


@operation("expand")
def expand(input: Tensor, size: Sequence[int], **_: Any) -> Tensor:
    """Repeat axes of length 1, and add axes in front."""
    wide = input.widened(len(size))
    wanted = [n if s == -1 else s for n, s in zip(wide.shape, size, strict=True)]
    return wide.holding(jnp.broadcast_to(wide.array, [wanted[axis] for axis in wide.order]))


@operation("repeat")
def repeat(input: Tensor, repeats: Sequence[int]) -> Tensor:
    """The tensor side by side with itself."""
    wide = input.widened(len(repeats))
    return wide.holding(jnp.tile(wide.array, [repeats[axis] for axis in wide.order]))


@operation("select")
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One entry of an axis."""
    return input.without([dim], jax.lax.index_in_dim(input.array, index, input.axis(dim), keepdims=False))


@operation("slice")
def slice_of(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """Some entries of an axis."""
    axis = input.axis(dim)
    cut = [slice(None)] * input.ndim
    cut[axis] = slice(start, end, step)
    return input.holding(input.array[tuple(cut)])


@operation("slice_scatter")
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Some entries of an axis replaced."""
    cut = [slice(None)] * input.ndim
    cut[input.axis(dim)] = slice(start, end, step)
    return input.holding(input.array.at[tuple(cut)].set(src.arranged(input.order)))


@operation("select_scatter")
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """One entry of an axis replaced."""
    index %= input.shape[dim]
    return slice_scatter(input, unsqueeze(src, dim % input.ndim), dim, index, index + 1)


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A run of entries of an axis."""
    return slice_of(input, dim, start, start + length)


@operation("split", "split_with_sizes")
def split(
    input: Tensor, split_size: int | Sequence[int] = 0, split_sizes: Sequence[int] = (), dim: int = 0
) -> list[Tensor]:
    """Runs of entries of an axis, of one length or of given lengths."""
    n, wanted = input.shape[dim], split_sizes or split_size
    lengths = [min(wanted, n - at) for at in range(0, n, wanted)] if isinstance(wanted, int) else wanted
    ends = np.cumsum(lengths).tolist()
    return [narrow(input, dim, end - length, length) for end, length in zip(ends, lengths, strict=True)]


@operation("unbind")
def unbind(input: Tensor, dim: int = 0) -> list[Tensor]:
    """All entries of an axis."""
    return [select(input, dim, index) for index in range(input.shape[dim])]


@operation("cat")
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other."""
    tensors = [tensor for tensor in tensors if tensor.shape != (0,)]
    first = max(tensors, key=lambda tensor: tensor.array.size)
    arrays = [tensor.arranged(first.order) for tensor in tensors]
    return first.holding(jnp.concatenate(arrays, first.axis(dim)))


@operation("glu")
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of an axis times the sigmoid of the second."""
    first, second = split(input, input.shape[dim] // 2, dim=dim)
    return first.holding(first.array * jax.nn.sigmoid(second.array))


@operation("copy")
def copy(input: Tensor, src: Tensor, **_: Any) -> Tensor:
    """Another tensor in the shape and type of this one."""
    return expand(src.holding(src.array.astype(input.array.dtype)), input.shape)


@operation("stack")
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors along a new axis."""
    return cat([unsqueeze(tensor, dim % (tensor.ndim + 1)) for tensor in tensors], dim)


@operation("roll")
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Tensor:
    """Entries moved along axes, around the end."""
    shifts = [shifts] if isinstance(shifts, int) else shifts
    return input.holding(jnp.roll(input.array, tuple(shifts), input.axes(dims)))


@operation("flip")
def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Axes in reverse."""
    return input.holding(jnp.flip(input.array, input.axes(dims)))


@operation("index")
def index(input: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """Entries by arrays of indices."""
    found = input.home[tuple(slice(None) if i is None else i.home for i in indices)]
    return plain(found)


@operation("index_select")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Entries of an axis by their indices."""
    return input.holding(jnp.take(input.array, index.home, input.axis(dim)))


@operation("gather")
def gather(input: Tensor, dim: int, index: Tensor, **_: Any) -> Tensor:
    """An entry of an axis for each place."""
    return plain(jnp.take_along_axis(input.home, index.home, dim))


def constant_pad(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """A margin of one value; the last axis comes first in `pad`. A negative margin cuts."""
    margins = [(0, 0, 0)] * input.ndim
    for i in range(len(pad) // 2):
        margins[input.axis(-1 - i)] = (pad[2 * i], pad[2 * i + 1], 0)
    return input.holding(jax.lax.pad(input.array, jnp.asarray(value, input.array.dtype), margins))


@operation("pad")
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """A margin of a value, of the mirror image ("reflect"), of the border ("replicate"), or of the other side."""
    if mode == "constant":
        return constant_pad(input, pad, value or 0)
    margins = [(0, 0)] * input.ndim
    for i in range(len(pad) // 2):
        margins[input.axis(-1 - i)] = (pad[2 * i], pad[2 * i + 1])
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return input.holding(jnp.pad(input.array, margins, mode=names[mode]))


@operation("pixel_shuffle")
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """`[N, C r r, H, W]` to `[N, C, H r, W r]`."""
    n, c, h, w = input.shape
    r = upscale_factor
    parts = reshape(input, (n, c // r**2, r, r, h, w))
    return reshape(permute(parts, (0, 1, 4, 2, 5, 3)), (n, c // r**2, h * r, w * r))


@operation("pixel_unshuffle")
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """`[N, C, H r, W r]` to `[N, C r r, H, W]`."""
    n, c, h, w = input.shape
    r = downscale_factor
    parts = reshape(input, (n, c, h // r, r, w // r, r))
    return reshape(permute(parts, (0, 1, 3, 5, 2, 4)), (n, c * r**2, h // r, w // r))
