"""Objectives of units: channels, neurons, whole layers and classes."""

import jax.numpy as jnp
from jax import Array

from lightjax import _checks
from lightjax.objectives import select
from lightjax.objectives.arguments import Channel, Columns, Label, Layer, Position, Reduction, Rows, Tokens, primitive
from lightjax.objectives.select import Activations

LOGITS = "softmax2_pre_activation_matmul"
"""Layer of the logits of InceptionV1."""


@primitive
def channel(
    activations: Activations,
    layer: Layer,
    channel: Channel,
    *,
    rows: Rows = None,
    columns: Columns = None,
    reduce: Reduction = "mean",
    tokens: Tokens = None,
) -> Array:
    """Mean activation of one channel, or of several.

    Args:
      layer: Name of an activation, such as "mixed4a".
      channel: Number of the channel, at least 0; a list or array of numbers takes the mean of these channels.
      rows: Rows of positions to look at: a number or a list, such as range(3, 7); None for all.
      columns: Columns to look at. Rows and columns together are a window.
      reduce: Function to use instead of the mean over positions and channels: one of `REDUCTIONS`, or a function from
        the chosen activations of one picture, `[h, w, channels]`, to a scalar.
      tokens: Of a layer of a vision transformer of `lj.from_torch`: "class" for its class token, "registers" for its
        registers, None for the tokens of the picture. "class" reads the layer whose name ends in ".cls".

    Returns:
      An objective: the mean over pictures, positions and the chosen channels.

    References:
      Olah et al., "Feature Visualization", Distill, 2017.
    """
    layer = select.of_tokens(activations, layer, tokens)
    x = select.window(select.read(activations, layer), layer, rows, columns)
    return select.reduced(select.channels(x, layer, channel), reduce)


@primitive
def neuron(activations: Activations, layer: Layer, channel: Channel, position: Position = None) -> Array:
    """Activation of one channel at one position.

    Args:
      layer: Name of an activation with positions, such as "mixed4a", or with tokens, `[N, T, C]`.
      channel: Number of the channel, at least 0; a list or array of numbers takes the mean of these channels.
      position: (row, column), or one number that counts along the rows. None is the center: of the four central
        positions of an even size, the lower right one. Among tokens, the number of a token.

    Returns:
      An objective: the mean over pictures and the chosen channels at that position.

    References:
      Olah et al., "Feature Visualization", Distill, 2017.
    """
    x = select.at(select.read(activations, layer), layer, position)
    return select.channels(x, layer, channel).mean()


@primitive
def layer(
    activations: Activations, layer: Layer, *, rows: Rows = None, columns: Columns = None, reduce: Reduction = "mean"
) -> Array:
    """Mean activation of a whole layer, or of a window of it.

    Args:
      layer: Name of an activation.
      rows: Rows of positions to look at: a number or a list, such as range(3, 7); None for all.
      columns: Columns to look at.
      reduce: Function to use instead of the mean over positions and channels, as in `channel`.

    Returns:
      An objective: the mean over pictures, positions and channels.

    References:
      TorchLight's objective of a layer, which looks at the first picture alone.
    """
    return select.reduced(select.window(select.read(activations, layer), layer, rows, columns), reduce)


@primitive
def deepdream(activations: Activations, layer: Layer, *, rows: Rows = None, columns: Columns = None) -> Array:
    """Mean square of a layer, `mean(F^2)`: it strengthens the activations that are already strong.

    Args:
      layer: Name of an activation.
      rows: Rows of positions to look at: a number or a list, such as range(3, 7); None for all.
      columns: Columns to look at.

    Returns:
      An objective, 0 or more: the mean over pictures, positions and channels.

    References:
      Mordvintsev et al., "Inceptionism: Going Deeper into Neural Networks", Google Research blog, 2015; Lucid.
    """
    return jnp.square(select.window(select.read(activations, layer), layer, rows, columns)).mean()


@primitive
def class_logit(activations: Activations, label: Label, *, layer: Layer = LOGITS) -> Array:
    """Evidence for a class, before the softmax.

    Args:
      label: Name or index of the class. A name such as "golden retriever" may be any one of the names of the class, in
        upper or lower case; `visualize` looks it up in the model's `class_names`, elsewhere call `resolve`. A list of
        indices takes the mean of these classes.
      layer: Name of the logits, `[N, classes]`; by default those of InceptionV1, or of a converted network.

    Returns:
      An objective: the mean logit over pictures; Lucid takes the sum.

    References:
      Simonyan et al., "Deep Inside Convolutional Networks", 2013; Lucid.
    """
    if isinstance(label, str):
        raise ValueError(
            f"the index of class {_checks.shown(label)} is not known yet: objectives.resolve(objective, "
            "model) looks it up"
        )
    return select.take(select.read(activations, layer), label, -1, "class", layer).mean()
