"""How a formula reads a layer: its channels, positions, windows and colors, and the small math that formulas share.

Activations are `[N, H, W, C]`, `[N, T, C]` for tokens, or `[N, C]`. A concrete index that is out of range is an
IndexError; a traced one gives NaN.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from lightjax import _checks
from lightjax.objectives import names

Activations = Mapping[str, Array]

TOKENS = {"class": ".cls", "registers": ".registers"}
"""What the layers of a transformer's class token and registers are called, behind the name of its grid of tokens."""

IMAGE = "this image"
"""The name of the batch in errors about a picture index."""


def read(activations: Activations, layer: str) -> Array:
    """The activations of a layer, `[N, ..., C]`, in float32 at least: sums of float16 and bfloat16 would overflow.

    Raises:
      ValueError: If the layer is not there, or its activations have another form or no entries.
    """
    x = activations[names.known(layer, activations)]
    if x.ndim < 2:
        raise ValueError(f"activations must be [N, H, W, C] or [N, C], got {list(x.shape)} for {layer}")
    if 0 in x.shape:
        raise ValueError(f"{layer} is empty, {list(x.shape)}, at this size of image: use a larger image")
    return at_least_float32(x)


def of_tokens(activations: Activations, layer: str, tokens: str | None) -> str:
    """The layer itself, or that of its class token or registers.

    Raises:
      ValueError: If the layer has none.
    """
    if tokens is None or layer + TOKENS[tokens] in activations:
        return layer + TOKENS.get(tokens or "", "")
    x = activations[names.known(layer, activations)]
    other = f": choose one of its tokens with neuron({layer!r}, channel, token)" * (x.ndim == 3)
    raise ValueError(f"{layer} has no layer {layer + TOKENS[tokens]} of its {tokens} tokens beside it{other}")


def at_least_float32(x: Any) -> Array:
    """An array of floats; those of less than 32 bits become float32."""
    x = jnp.asarray(x)
    return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4 else x


def with_positions(x: Array, layer: str) -> Array:
    """The same activations, which must be `[N, H, W, C]`."""
    if x.ndim == 3:
        raise ValueError(
            f"{layer} has tokens and no rows and columns, its activations are {list(x.shape)}: choose one with "
            f"neuron({layer!r}, channel, token)"
        )
    if x.ndim != 4:
        raise ValueError(
            f"{layer} has no positions, its activations are {list(x.shape)}: choose one of its units with "
            f"channel({layer!r}, channel)"
        )
    return x


def several(x: Array, what: str) -> Array:
    """The same activations, which must be those of two pictures or more."""
    if len(x) < 2:
        raise ValueError(f"{what} compares several pictures, got 1: use an image with batch=2 or more")
    return x


def colors(activations: Activations, layer: str = "input") -> Array:
    """The activations of a layer; the channels of the pictures without their opacity for "input"."""
    x = read(activations, layer)
    return with_positions(x, layer)[..., :3] if layer == "input" and x.shape[-1] == 4 else x


def opacity(activations: Activations) -> Array:
    """The alpha channel of the pictures, `[N, H, W, 1]`."""
    x = with_positions(read(activations, "input"), "input")
    if x.shape[-1] != 4:
        raise ValueError(f"the picture has {x.shape[-1]} channels and no alpha channel: use an image with alpha=True")
    return x[..., 3:]


# Parts of a layer.


def check_range(index: Any, size: int, what: str, where: str) -> None:
    """Check concrete indices of an axis.

    Raises:
      IndexError: If one is out of range.
    """
    flat = np.ravel(index)
    wrong = flat[(flat < 0) | (flat >= size)]
    if wrong.size:
        known = "(index 0)" if size == 1 else f"(0 to {size - 1})"
        names = what if size == 1 else f"{what}{'es' if what.endswith('s') else 's'}"
        more = f"; use batch={wrong[0] + 1} or more" if where == IMAGE and wrong[0] > 0 else ""
        raise IndexError(f"{what} {wrong[0]} is out of range: {where} has {size} {names} {known}{more}")


def take(x: Array, index: Any, axis: int, what: str, where: str) -> Array:
    """Entries along an axis; the axis is kept. A traced index out of range gives NaN.

    Raises:
      IndexError: If a concrete index is out of range.
    """
    size = x.shape[axis]
    if not isinstance(index, Tracer):
        check_range(index, size, what, where)
    index = jnp.ravel(index)
    beyond = jnp.where(index < 0, size, index)  # JAX would count negative ones from the end
    return jnp.take(x, beyond, axis=axis, mode="fill", fill_value=jnp.nan)


def channels(x: Array, layer: str, channel: Any) -> Array:
    """Some of the channels, `[N, ..., chosen]`."""
    return take(x, channel, -1, "channel", layer)


def window(x: Array, layer: str, rows: Any, columns: Any) -> Array:
    """Activations at some rows and columns, `[N, rows, columns, C]`; None takes all of them."""
    for axis, chosen, what in ((1, rows, "row"), (2, columns, "column")):
        if chosen is not None:
            x = take(with_positions(x, layer), chosen, axis, what, layer)
    return x


def at(x: Array, layer: str, position: Any) -> Array:
    """Activations at one position, `[N, 1, C]`; None takes the center. Of tokens, a number takes one."""
    if x.ndim == 3:
        if position is None or isinstance(position, tuple) or np.ndim(position):
            given = "none" if position is None else repr(position)
            raise ValueError(
                f"position in {layer} must be the number of a token, 0 to {x.shape[1] - 1}, got {given:.200}"
            )
        return take(x, position, 1, "token", layer)
    pictures, height, width, depth = with_positions(x, layer).shape
    if position is None:
        position = (height // 2, width // 2)
    if any(np.ndim(part) for part in jax.tree.leaves(position)):
        raise ValueError(
            f"position in {layer} must be (row, column) or one number that counts along the rows, "
            f"got {_checks.shown(position)}; for a window use channel(layer, channel, rows=range(3, 5), "
            "columns=range(4, 9))"
        )
    if isinstance(position, tuple):
        return window(x, layer, *position).reshape(pictures, -1, depth)
    return take(x.reshape(pictures, -1, depth), position, 1, "position", layer)


def maps(x: Array, layer: str, channel: Any, pattern: Any) -> tuple[Array, Array]:
    """Maps of some channels, `[N, chosen, positions]`, and a pattern of the same size, `[positions]`."""
    x = channels(with_positions(x, layer), layer, channel)
    if np.ndim(pattern) != 2:
        raise ValueError(f"pattern for {layer} must have one number for each position, [h, w], got {shape_of(pattern)}")
    pattern = jnp.broadcast_to(jnp.asarray(pattern)[..., None], (*np.shape(pattern), x.shape[-1]))
    x, pattern = matched(x, pattern, layer)
    return jnp.moveaxis(x, -1, 1).reshape(len(x), x.shape[-1], -1), pattern[0, ..., 0].ravel()


# What goes with a layer.


def vector_for(x: Array, layer: str, vector: Any) -> Array:
    """A vector with one number for each channel."""
    if np.shape(vector) != x.shape[-1:]:
        raise ValueError(
            f"vector for {layer} must have {x.shape[-1]} numbers, one for each channel, got {shape_of(vector)}"
        )
    return at_least_float32(vector)


def matched(x: Array, target: Any, layer: str) -> tuple[Array, Array]:
    """Activations and a target of the same size: along each axis the larger one is cropped to its middle."""
    target = at_least_float32(target)
    target = target[None] if target.ndim == x.ndim - 1 else target
    if target.ndim != x.ndim or target.shape[-1] != x.shape[-1] or target.shape[0] not in (1, len(x)):
        raise ValueError(f"target for {layer} must match its activations, {shape_of(x)}, got {shape_of(target)}")
    for axis in range(1, x.ndim - 1):
        size = min(x.shape[axis], target.shape[axis])
        x, target = (
            jax.lax.slice_in_dim(a, s := (a.shape[axis] - size) // 2, s + size, axis=axis) for a in (x, target)
        )
    return x, target


def shape_of(value: Any) -> str:
    """The shape of an array, for errors."""
    return f"{list(np.shape(value))}" if np.ndim(value) else "one number"


# Small math.


def agreement(
    x: Array, vector: Array, power: Any, similarity: Literal["dot", "cosine"], epsilon: float = 1e-4
) -> Array:
    """The mean of `s max(0.1, cos)^power` along the last axis, where s is the dot product or the cosine."""
    vector = jax.lax.expand_dims(vector, range(x.ndim - vector.ndim))
    dot = (x * vector).sum(-1)
    cosine = dot / ((epsilon + norm(x)) * (epsilon + norm(vector)))
    return ((dot if similarity == "dot" else cosine) * jnp.maximum(0.1, cosine) ** power).mean()


def norm(x: Array) -> Array:
    """Euclidean norm along the last axis, with gradient 0 at 0."""
    return root(jnp.square(x).sum(-1))


def root(x: Array) -> Array:
    """Square root with gradient 0 at 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "mean": jnp.mean,
    "sum": jnp.sum,
    "max": jnp.max,
    "min": jnp.min,
    "norm": lambda x: norm(x.ravel()),
    "std": lambda x: root(jnp.var(x)),
    "mean_abs": lambda x: jnp.abs(x).mean(),
    "mean_square": lambda x: jnp.square(x).mean(),
}
"""Functions from the values of one picture to a number, by name.

"norm" is the root of the sum of squares, "std" the standard deviation; both have gradient 0 at 0.
"""


def reduced(x: Array, reduce: str | Callable[[Array], Array]) -> Array:
    """The mean over pictures of a reduction of each."""
    values = jax.vmap(REDUCTIONS[reduce] if isinstance(reduce, str) else reduce)(x)
    if np.shape(values) != x.shape[:1]:
        raise ValueError(f"reduce must return one number for each picture, got {shape_of(values[0])}")
    return values.mean()
