"""Max pooling, with PyTorch's gradient or with one that is spread over the window."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from lightjax import _checks
from lightjax.ops.conv import Padding


class Pool(Protocol):
    """A max pool: `max_pool`, or another function that differs from it only in its gradient."""

    def __call__(
        self,
        x: Array,
        stride: int | tuple[int, int],
        padding: Padding,
        *,
        window: tuple[int, int] = (3, 3),
        dilation: tuple[int, int] = (1, 1),
    ) -> Array:
        """Maximum over the windows of `[N, H, W, C]`."""
        ...


def max_pool(
    x: Array,
    stride: int | tuple[int, int],
    padding: Padding,
    *,
    window: tuple[int, int] = (3, 3),
    dilation: tuple[int, int] = (1, 1),
) -> Array:
    """Maximum over the windows of `[N, H, W, C]`, padded with minus infinity.

    The gradient of a window goes to its largest entry; among equal entries, to the first in reading order, as in
    PyTorch. The forward pass records which entry was the largest. The backward pass gathers, for each pixel, from the
    few windows that contain it; on CPU this costs a fraction of XLA's pooling gradient.

    Args:
      x: Activations `[N, H, W, C]`.
      stride: Step of the window along both axes, or along height and width; at least 1.
      padding: Rows or columns `(before, after)` to add along height and width.
      window: Height and width of the window, in entries.
      dilation: Distance of neighboring entries of a window along height and width.

    Returns:
      The pooled activations `[N, h, w, C]`.

    Raises:
      TypeError: If the stride is not a whole number.
      ValueError: If the padded activations are smaller than a window, or the stride is below 1.
    """
    strides = (stride, stride) if not isinstance(stride, tuple) else stride
    for step in strides:
        _checks.whole(step, "stride", least=1)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    if any(size + sum(pad) < k for size, pad, k in zip(x.shape[1:3], padding, reach, strict=True)):
        raise ValueError(f"activations of {x.shape[1]}x{x.shape[2]} are too small to pool; use a larger image")
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf)
    return _max_pool(x, tuple(Side(*side) for side in zip(window, strides, dilation, strict=True)))


class Side(NamedTuple):
    """The windows along one axis: their length in entries, their step, and the distance of their entries."""

    length: int
    step: int
    distance: int


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: Array, sides: tuple[Side, Side]) -> Array:
    return _max_pool_forward(x, sides)[0]


def _max_pool_forward(x: Array, sides: tuple[Side, Side]):
    """The largest entry of each window (NaN if the window has one), and its place in reading order."""
    window, strides, dilation = zip(*sides, strict=True)
    ends = [(n - (k - 1) * d - 1) // s * s + 1 for n, (k, s, d) in zip(x.shape[1:3], sides, strict=True)]
    place = jnp.int8 if math.prod(window) < 128 else jnp.int32
    largest, which = x[:, : ends[0] : strides[0], : ends[1] : strides[1]], place(0)
    for tap in range(1, math.prod(window)):
        row, column = (i * d for i, d in zip(divmod(tap, window[1]), dilation, strict=True))
        entry = x[:, row : row + ends[0] : strides[0], column : column + ends[1] : strides[1]]
        larger = (entry > largest) | jnp.isnan(entry)
        largest, which = jnp.where(larger, entry, largest), jnp.where(larger, place(tap), which)
    return largest, (which, x)


def _max_pool_backward(sides: tuple[Side, Side], residuals, cotangent: Array):
    which, x = residuals
    window, strides, dilation = zip(*sides, strict=True)
    number, height, width, channels = x.shape
    reach = [(k - 1) * d // s for k, s, d in sides]  # farthest window before a pixel that holds it
    rows, columns = (-(-size // step) for size, step in zip((height, width), strides, strict=True))
    missing = [max(n - m, 0) for n, m in zip((rows, columns), cotangent.shape[1:3], strict=True)]
    edges = ((0, 0), (reach[0], missing[0]), (reach[1], missing[1]), (0, 0))
    which = jnp.broadcast_to(which, cotangent.shape)
    cotangent, which = jnp.pad(cotangent, edges), jnp.pad(which, edges, constant_values=-1)

    def pixels(row: int, column: int) -> Array:
        """Gradient of the pixels `(row, column)`, `(row + step, column)`, `(row, column + step)`, ..."""
        total = jnp.zeros((number, rows, columns, channels), cotangent.dtype)
        for i, j in itertools.product(*map(range, window)):
            (up, off_row), (back, off_column) = (
                divmod(tap * d - pixel, s)
                for tap, pixel, s, d in zip((i, j), (row, column), strides, dilation, strict=True)
            )
            if not off_row and not off_column:
                top, left = reach[0] - up, reach[1] - back
                view = (slice(None), slice(top, top + rows), slice(left, left + columns))
                total += jnp.where(which[view] == window[1] * i + j, cotangent[view], 0)
        return total

    lines = [jnp.stack([pixels(row, column) for column in range(strides[1])], 3) for row in range(strides[0])]
    full = jnp.stack(lines, 2).reshape(number, rows * strides[0], columns * strides[1], channels)
    return (full[:, :height, :width],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def relaxed_max_pool(
    x: Array,
    stride: int | tuple[int, int],
    padding: Padding,
    *,
    window: tuple[int, int] = (3, 3),
    dilation: tuple[int, int] = (1, 1),
) -> Array:
    """`max_pool` with Lucid's relaxed gradient, that of `mean(x**2) / (0.01 + mean(|x|))` over each window.

    The gradient of the maximum goes to one entry of a window, though its neighbors may be almost as large. Here they
    get a share. Attribution to positions agrees better with the effect of removing them.

    Args:
      x: As for `max_pool`.
      stride: As for `max_pool`.
      padding: As for `max_pool`; the means are those of the entries inside.
      window: As for `max_pool`.
      dilation: As for `max_pool`.

    References:
      Lucid, `optvis/overrides/smoothed_maxpool_grad.py`; Olah et al., "The Building Blocks of Interpretability", 2018.
    """
    relaxed = lambda x, mean: mean(x * x) / (0.01 + mean(jnp.abs(x)))
    return _spread(x, relaxed, stride, padding, window, dilation)


def mean_max_pool(
    x: Array,
    stride: int | tuple[int, int],
    padding: Padding,
    *,
    window: tuple[int, int] = (3, 3),
    dilation: tuple[int, int] = (1, 1),
) -> Array:
    """`max_pool` with the gradient of the mean of each window, as linearized networks have it.

    Args:
      x: As for `max_pool`.
      stride: As for `max_pool`.
      padding: As for `max_pool`; the means are those of the entries inside.
      window: As for `max_pool`.
      dilation: As for `max_pool`.

    References:
      Captum, `MaxPool2dRelaxed`.
    """
    return _spread(x, lambda x, mean: mean(x), stride, padding, window, dilation)


def _spread(x: Array, smooth: Callable, stride, padding: Padding, window, dilation) -> Array:
    """`max_pool` with the gradient of `smooth(x, mean)`, where `mean` takes the mean over each window."""
    strides = (stride, stride) if not isinstance(stride, tuple) else stride

    def total(x: Array) -> Array:
        around = ((0, 0), *padding, (0, 0))
        zero = np.zeros((), x.dtype)
        return lax.reduce_window(x, zero, lax.add, (1, *window, 1), (1, *strides, 1), around, None, (1, *dilation, 1))

    entries = total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))  # in each window
    mean = lambda x: total(x) / entries
    pool = jax.custom_vjp(lambda x: max_pool(x, stride, padding, window=window, dilation=dilation))
    pool.defvjp(lambda x: (pool(x), x), lambda x, g: jax.vjp(lambda x: smooth(x, mean), x)[1](g))
    return pool(x)


POOLS: dict[str, Pool] = {"max": max_pool, "relaxed": relaxed_max_pool, "mean": mean_max_pool}
"""The rules for the gradient of max pools."""


def pooling(rule: str) -> Pool:
    """The max pool of a gradient rule: "max", "relaxed" (`relaxed_max_pool`) or "mean" (`mean_max_pool`).

    Raises:
      TypeError: If the rule is not a string.
      ValueError: If there is no such rule.
    """
    return POOLS[_checks.one_of(rule, POOLS, "pool rule")]
