"""Objectives that compare activations: with those of another picture, or among pictures that are optimized together.

The activations of another picture are, for example, `model(picture[None])["mixed4a"]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks
from lightjax.objectives import select
from lightjax.objectives.arguments import Channel, Layer, Numbers, Positive, Power, Reduction, Target, primitive
from lightjax.objectives.select import Activations


@primitive
def caricature(activations: Activations, layer: Layer, target: Target = None, *, power: Power = 0) -> Array:
    """An exaggeration of another picture: `D max(0.1, cos)^power` with `D = sum(F T)` over all entries.

    Args:
      layer: Name of an activation.
      target: Activations T of the other picture, `[h, w, C]` or `[1, h, w, C]`, or `[N, h, w, C]` for each picture its
        own. Transforms may change the size of what the network sees: the larger of F and T is cropped to its middle.
        None for the last picture of the batch (see `images.beside`), which the others are compared with.
      power: Weight of the angle relative to the length, at least 0.

    Returns:
      An objective: the mean over pictures. Its cosine is `D / ((1e-6 + |F|) (1e-6 + |T|))`. Lucid leaves |T| out, so
      there a power of p also multiplies the objective by |T|^p.

    References:
      Lucid (recipes/caricature); Olah et al., "Feature Visualization", Distill, 2017.
    """
    x, target = _compared(activations, layer, target)
    x, target = x.reshape(len(x), -1), target.reshape(len(target), -1)
    return select.agreement(x, target, power, "dot", epsilon=1e-6)


@primitive
def activation_difference(
    activations: Activations, layer: Layer, target: Target = None, *, reduce: Reduction = "mean_abs"
) -> Array:
    """Distance of a layer's activations from those of another picture; subtract it to invert the network.

    Args:
      layer: Name of an activation.
      target: Activations of the other picture, as in `caricature`, cropped in the same way; None for the last picture
        of the batch.
      reduce: Function of the difference: "mean_abs" (Lucid's mean_L1), "mean_square" (mean_L2), another of
        `REDUCTIONS`, or a function from the difference for one picture, `[h, w, C]`, to a scalar.

    Returns:
      An objective, 0 or more for the two reductions named above: the mean over pictures of the reduced difference.

    References:
      Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015; Lucid's notebooks.
    """
    x, target = _compared(activations, layer, target)
    return select.reduced(x - target, reduce)


def _compared(activations: Activations, layer: str, target) -> tuple[Array, Array]:
    """Activations and a target of the same size; without a target, all pictures but the last, and the last one."""
    x = select.read(activations, layer)
    if target is not None:
        return select.matched(x, target, layer)
    x = select.several(x, "a comparison without a target")
    return x[:-1], x[-1:]


@primitive
def style(activations: Activations, layer: Layer, target: Numbers, *, reduce: Reduction = "mean_abs") -> Array:
    """Distance of a layer's style, its Gram matrix, from a target; subtract it to imitate the style.

    Args:
      layer: Name of an activation.
      target: A Gram matrix, `[C, C]`, as `gram_matrix` returns, or the activations to compute it from, `[h, w, C]` or
        `[N, h, w, C]`, of any size.
      reduce: Function of the difference of the matrices: "mean_abs" as in Lucid, "mean_square", another of
        `REDUCTIONS`, or a function from the difference, `[C, C]`, to a scalar.

    Returns:
      An objective, 0 or more for the two reductions named above: the mean over pictures. Each picture has a matrix of
      its own.

    References:
      Gatys et al., "A Neural Algorithm of Artistic Style", 2015; Lucid (optvis/style).
    """
    grams = jax.vmap(gram_matrix)(select.read(activations, layer))
    target = jnp.asarray(target) if np.ndim(target) == 2 else gram_matrix(jnp.asarray(target))
    if target.shape != grams.shape[1:]:
        raise ValueError(f"target for {layer} must have {grams.shape[-1]} channels, got {target.shape[-1]}")
    return select.reduced(grams - target[None], reduce)


def gram_matrix(activations: ArrayLike) -> Array:
    """The mean product of each pair of channels over all positions and pictures.

    Args:
      activations: `[..., C]`.

    Returns:
      `[C, C]`: `A^T A / n` for the n rows of the activations, flattened to `[n, C]`.

    References:
      Gatys et al., "A Neural Algorithm of Artistic Style", 2015; normalized as in Lucid.
    """
    activations = select.at_least_float32(_checks.numbers(activations, "activations"))
    if not activations.ndim:
        raise ValueError("activations must be [..., C], got one number")
    rows = activations.reshape(-1, activations.shape[-1])
    return rows.T @ rows / len(rows)


@primitive
def diversity(activations: Activations, layer: Layer) -> Array:
    """Similarity of the pictures to each other; subtract it to see the different things that a unit responds to.

    The name is Lucid's and Lucent's, where it is the similarity too:
    `channel("mixed4a", 97) - 1e2 * diversity("mixed4a")`.

    Args:
      layer: Name of an activation.

    Returns:
      An objective, 0 or more: `sum over i != j of <G_i, G_j> / N` for N pictures, where `G_i` is the Gram matrix of
      picture i divided by its norm. Captum's has the other sign.

    References:
      Olah et al., "Feature Visualization", Distill, 2017; Lucid.
    """
    x = select.several(select.read(activations, layer), "diversity")
    rows = x.reshape(len(x), -1, x.shape[-1])
    grams = (rows.mT @ rows).reshape(len(x), -1)
    grams = grams * jax.lax.rsqrt(jnp.maximum(jnp.square(grams).sum(-1, keepdims=True), 1e-10))
    likeness = grams @ grams.T
    return (likeness.sum() - jnp.trace(likeness)) / len(x)


@primitive
def alignment(activations: Activations, layer: Layer, *, decay_ratio: Positive = 2) -> Array:
    """Difference between pictures that are close in order; subtract it to keep things in place from one to the next.

    Args:
      layer: Name of an activation; "input" for the pictures themselves.
      decay_ratio: Factor, greater than 0, by which a difference counts less for each step between two pictures.

    Returns:
      An objective, 0 or more: the sum over distances d from 1 to 4, and over pairs of pictures at that distance, of
      their mean squared difference, divided by `decay_ratio^d`. Lucid's has the other sign.

    References:
      Lucid; Olah et al., "Feature Visualization", Distill, 2017.
    """
    x = select.several(select.read(activations, layer), "alignment")
    total = jnp.zeros(())
    for d in range(1, min(5, len(x))):
        total += jnp.square(x[d:] - x[:-d]).mean(tuple(range(1, x.ndim))).sum() / decay_ratio**d
    return total


@primitive
def channel_interpolate(
    activations: Activations, layer1: Layer, channel1: Channel, layer2: Layer, channel2: Channel
) -> Array:
    """Interpolate between two channels over the pictures.

    The first picture excites `channel1`, the last picture excites `channel2`, and those between excite both.

    Args:
      layer1: Name of an activation.
      channel1: Channel of the first picture; a list or array takes the mean of these channels.
      layer2: Name of an activation.
      channel2: Channel of the last picture; a list or array takes the mean of these channels.

    Returns:
      An objective: `sum over n of (1 - w_n) mean(F1_n) + w_n mean(F2_n)` with `w_n = n / (N - 1)` for the N pictures.

    References:
      Lucid; Olah et al., "Feature Visualization", Distill, 2017.
    """

    def means(layer: str, channel) -> Array:
        x = select.several(select.read(activations, layer), "channel_interpolate")
        return select.channels(x, layer, channel).mean(tuple(range(1, x.ndim)))

    first, second = means(layer1, channel1), means(layer2, channel2)
    weights = jnp.linspace(0, 1, len(first), dtype=first.dtype)
    return ((1 - weights) * first + weights * second).sum()
