"""Operations of JAX that `ops` computes with faster gradients, in any layout.

Each rule takes an operation of a jaxpr and returns a function of the same inputs, or None if `ops` cannot compute it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend import core
from jax.extend.core import primitives

from lightjax import ops

LARGEST_WINDOW = 64
"""Entries of the largest window that `ops.max_pool` gets: it goes through them one by one."""


def replacement(operation: core.JaxprEqn) -> Callable | None:
    """A function that computes the same with a faster gradient; None if there is none."""
    rule = _RULES.get(operation.primitive)
    return None if rule is None else rule(operation)


def _convolution(operation: core.JaxprEqn) -> Callable | None:
    """`ops.conv` for a convolution in any layout; None for those that it cannot compute."""
    params = operation.params
    x, kernel, result = (_type(atom) for atom in (*operation.invars, *operation.outvars))
    strides, padding = params["window_strides"], params["padding"]
    fits = (
        len(strides) == 2
        and all(factor == 1 for factor in params["lhs_dilation"])
        and params["batch_group_count"] == 1
        and all(number >= 0 for pair in padding for number in pair)
        and jnp.issubdtype(x.dtype, jnp.floating)
        and x.dtype == kernel.dtype == result.dtype
        and _usual_precision(params["precision"])
    )
    if not fits:
        return None
    # Where batch, height, width and channels lie.
    (n, c, h, w), (o, i, rows, columns), (to_n, to_c, to_h, to_w) = params["dimension_numbers"]
    back = tuple(int(axis) for axis in np.argsort((to_n, to_h, to_w, to_c)))
    padding = tuple((int(before), int(behind)) for before, behind in padding)
    strides, dilation = _pair(strides), _pair(params["rhs_dilation"])
    groups = int(params["feature_group_count"])

    def convolve(x: Array, kernel: Array) -> Array:
        x, kernel = x.transpose(n, h, w, c), kernel.transpose(rows, columns, i, o)
        return ops.conv(x, kernel, strides, padding, dilation=dilation, groups=groups).transpose(back)

    return convolve


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    """Two whole numbers, for height and width."""
    height, width = numbers
    return int(height), int(width)


def _type(atom: core.Var | core.Literal) -> Any:
    """Shape and type of a value in a jaxpr."""
    return atom.aval


def _usual_precision(precision: Any) -> bool:
    """Whether a precision is the one that `ops.conv` computes with."""
    setting = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    try:
        usual = lax.Precision.DEFAULT if setting is None else lax.Precision(setting)
    except ValueError:  # an algorithm for matrix products
        return False
    return set(precision if isinstance(precision, tuple) else (precision,)) <= {
        None if setting is None else usual,
        usual,
    }


def max_pool(operation: core.JaxprEqn, pool: ops.Pool = ops.max_pool) -> Callable | None:
    """`ops.max_pool`, or one like it, for a pool over two axes in any layout; None for those that it cannot compute."""
    params = operation.params
    x = _type(operation.invars[0])
    windows, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
    dilation = params["window_dilation"]
    pooled = [axis for axis, window in enumerate(windows) if window > 1]
    others = [axis for axis in range(len(windows)) if axis not in pooled]
    fits = (
        len(pooled) == 2
        and others
        and math.prod(windows) <= LARGEST_WINDOW
        and all(x.shape[axis] + sum(padding[axis]) >= dilation[axis] * (windows[axis] - 1) + 1 for axis in pooled)
        and all(strides[axis] == 1 and tuple(padding[axis]) == (0, 0) for axis in others)
        and all(number >= 0 for pair in padding for number in pair)
        and all(factor == 1 for factor in params["base_dilation"])
        and jnp.issubdtype(x.dtype, jnp.floating)
    )
    if not fits:
        return None
    order = (*others[:-1], *pooled, others[-1])
    back = tuple(int(axis) for axis in np.argsort(order))
    around = tuple((int(padding[axis][0]), int(padding[axis][1])) for axis in pooled)
    steps, window, distances = (_pair([of[axis] for axis in pooled]) for of in (strides, windows, dilation))

    def pooled_in_order(x: Array) -> Array:
        x = x.transpose(order)
        y = pool(x.reshape(-1, *x.shape[-3:]), steps, around, window=window, dilation=distances)
        return y.reshape(*x.shape[:-3], *y.shape[1:]).transpose(back)

    return pooled_in_order


_RULES: dict[core.Primitive, Callable[[core.JaxprEqn], Callable | None]] = {
    primitives.conv_general_dilated_p: _convolution,
    primitives.reduce_window_max_p: max_pool,
}
