"""Penalties on the picture itself: each is 0 or more, and is subtracted.

They look at "input", the picture before its transforms, with values in [0, 1].
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax.objectives import select
from lightjax.objectives.arguments import Flag, Layer, Number, Picture, Width, primitive
from lightjax.objectives.select import Activations


@primitive
def input_diff(activations: Activations, target: Picture) -> Array:
    """Distance of the picture from another one, `sqrt(mean((x - target)^2))`; subtract it to stay close.

    Args:
      target: The other picture, `[H, W, 3]` in [0, 1], of the same size, or one for each picture, `[N, H, W, 3]`. The
        alpha channels of both are ignored.

    Returns:
      An objective, 0 or more: the mean over pictures of the root of the mean over pixels and colors. Its gradient
      where the pictures are equal is 0.

    References:
      Lucid.
    """
    x = select.colors(activations)
    target = jnp.asarray(target)[..., : x.shape[-1]]
    if target.shape[-3:] != x.shape[1:]:
        raise ValueError(f"target must have the size of the picture, {list(x.shape[1:])}, got {list(target.shape)}")
    x, target = select.matched(x, target, "input")
    return select.root(jnp.square(x - target).mean((1, 2, 3))).mean()


@primitive
def l1(activations: Activations, layer: Layer = "input", *, constant: Number = 0) -> Array:
    """Sum of distances from a constant, `sum(|x - constant|)`; subtract it.

    Args:
      layer: Name of an activation; by default the colors of the picture, in [0, 1].
      constant: The value without penalty; 0.5 is the middle gray.

    Returns:
      An objective, 0 or more: the mean over pictures; Lucid takes the sum.

    References:
      Lucid (L1), which weights it by 0.05 in its notebook on regularization.
    """
    x = select.colors(activations, layer)
    return jnp.abs(x - constant).sum() / len(x)


@primitive
def l2(activations: Activations, layer: Layer = "input", *, constant: Number = 0) -> Array:
    """Euclidean distance from a constant, `sqrt(1e-6 + sum((x - constant)^2))`; subtract it.

    Args:
      layer: Name of an activation; by default the colors of the picture, in [0, 1].
      constant: The value with the least penalty; 0.5 is the middle gray.

    Returns:
      An objective, greater than 0: the mean over pictures; Lucid takes all of them as one vector.

    References:
      Lucid (L2).
    """
    x = select.colors(activations, layer)
    return jnp.sqrt(1e-6 + jnp.square(x - constant).sum(tuple(range(1, x.ndim)))).mean()


@primitive
def total_variation(activations: Activations, layer: Layer = "input") -> Array:
    """Sum of differences between neighbors, `sum(|x_down - x|) + sum(|x_right - x|)`; subtract it for less noise.

    Args:
      layer: Name of an activation with positions; by default the colors of the picture, in [0, 1].

    Returns:
      An objective, 0 or more: the mean over pictures; Lucid takes the sum.

    References:
      Mahendran and Vedaldi, CVPR 2015; Lucid, which weights it by 0.25 in its notebook on regularization.
    """
    x = select.with_positions(select.colors(activations, layer), layer)
    return (jnp.abs(x[:, 1:] - x[:, :-1]).sum() + jnp.abs(x[:, :, 1:] - x[:, :, :-1]).sum()) / len(x)


@primitive
def blur_input_each_step(activations: Activations, *, alpha: Flag = False) -> Array:
    """Distance of the picture from a blurred copy, `sum((x - blur(x))^2) / 2`; subtract it to blur a little each step.

    The copy counts as a constant, so the gradient is `x - blur(x)`: gradient ascent at rate 1 on minus k times this
    makes the picture `(1 - k) x + k blur(x)`. Some published notebooks add it, which sharpens.

    Args:
      alpha: Whether to look at the opacity of the picture instead of its colors; subtracted, this makes soft edges.

    Returns:
      An objective, 0 or more: the mean over pictures; Lucid takes the sum. The blur of a pixel is a mean over 3x3
      pixels: itself with weight 1 and its eight neighbors with weight 1/2. At the border the mean is over the pixels
      that are inside the picture.

    References:
      Nguyen et al., "Deep Neural Networks are Easily Fooled", CVPR 2015; Lucid (also its blur_alpha_each_step).
    """
    x = select.opacity(activations) if alpha else select.colors(activations)
    return jnp.square(x - jax.lax.stop_gradient(_blur(x, 3))).sum() / (2 * len(x))


@primitive
def mean_alpha(activations: Activations) -> Array:
    """The mean opacity of the picture, from 0 to 1.

    Subtract it, or multiply by 1 minus it as Lucid does: `channel("mixed4d", 20) * (1 - mean_alpha())`.

    Returns:
      An objective, from 0 to 1: the mean over pictures and pixels.

    References:
      Mordvintsev et al., "Differentiable Image Parameterizations", Distill, 2018.
    """
    return select.opacity(activations).mean()


@primitive
def boundary_complexity(
    activations: Activations, *, width: Width = 20, constant: Number = 0.5, alpha: Flag = False
) -> Array:
    """Detail and color near the border, `sum((x - blur(x))^2 + 0.8 (x - constant)^2)` there; subtract it.

    Args:
      width: Width of the border in pixels, at least 1.
      constant: The value of the border without penalty, in [0, 1].
      alpha: Whether to look at the opacity of the picture instead of its colors; choose `constant` accordingly.

    Returns:
      An objective, 0 or more: the mean over pictures of the sum over pixels and colors. The blur is 5 pixels wide,
      with weight 1 in the middle 3x3 pixels and 1/2 around them. Lucid's penalize_boundary_complexity is minus the
      sum.

    References:
      Lucid; Carter et al., "Activation Atlas", Distill, 2019.
    """
    x = select.opacity(activations) if alpha else select.colors(activations)
    rows, columns = (np.minimum(np.arange(size), np.arange(size)[::-1]) for size in x.shape[1:3])
    border = np.minimum(rows[:, None], columns[None])[None, ..., None] < width
    detail = jnp.square(_blur(x, 5) - x) + 0.8 * jnp.square(x - constant)
    return jnp.where(border, detail, 0).sum() / len(x)


def _blur(x: Array, width: int) -> Array:
    """Lucid's blur: a mean over a square in which the outermost ring has weight 1/2 and the rest weight 1.

    At the border the mean is over the part of the square that is inside the picture.
    """

    def pixels(width: int) -> np.ndarray:
        """Number of pixels in a square around each pixel. NumPy counts them here: XLA would take seconds."""
        places = (np.arange(size) for size in x.shape[1:3])
        rows, columns = (np.minimum(i + width // 2, len(i) - 1) - np.maximum(i - width // 2, 0) + 1 for i in places)
        return np.outer(rows, columns)[None, ..., None]

    weights = (pixels(width) + pixels(width - 2)) / 2
    return (_box(x, width) + _box(x, width - 2)) / 2 / weights.astype(x.dtype)


def _box(x: Array, width: int) -> Array:
    """Sum over a square around each pixel."""
    return jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, (1, width, width, 1), (1, 1, 1, 1), "SAME")
