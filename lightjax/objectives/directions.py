"""Objectives of directions: among the channels of a layer, or among the positions of a map."""

from jax import Array

from lightjax.objectives import select
from lightjax.objectives.arguments import (
    Channel,
    Columns,
    Layer,
    Numbers,
    Position,
    Power,
    Rows,
    Similarity,
    Tokens,
    primitive,
)
from lightjax.objectives.select import Activations


@primitive
def direction(
    activations: Activations,
    layer: Layer,
    vector: Numbers,
    *,
    power: Power = 0,
    similarity: Similarity = "dot",
    rows: Rows = None,
    columns: Columns = None,
    tokens: Tokens = None,
) -> Array:
    """A direction among the channels of a layer, `mean(F.v max(0.1, cos(F, v))^power)` over positions.

    Args:
      layer: Name of an activation.
      vector: One number for each channel, `[C]`.
      power: Weight of the angle relative to the length, at least 0 (Lucid's cossim_pow).
      similarity: The factor before the power of the cosine: "dot" for the dot product, or "cosine". "cosine" with
        power 0 is Lucid's direction_cossim and Lucent's direction.
      rows: Rows of positions to look at: a number or a list, such as range(3, 7); None for all.
      columns: Columns to look at.
      tokens: "class" for the class token of a vision transformer, "registers" for its registers, as in `channel`.

    Returns:
      An objective: the mean over pictures and positions. The cosine divides by (1e-4 + |F|) and (1e-4 + |v|).

    References:
      Lucid; Carter et al., "Activation Atlas", Distill, 2019.
    """
    layer = select.of_tokens(activations, layer, tokens)
    x = select.window(select.read(activations, layer), layer, rows, columns)
    return select.agreement(x, select.vector_for(x, layer, vector), power, similarity)


@primitive
def direction_neuron(
    activations: Activations,
    layer: Layer,
    vector: Numbers,
    position: Position = None,
    *,
    power: Power = 0,
    similarity: Similarity = "dot",
) -> Array:
    """A direction among the channels of a layer at one position; see `direction`.

    Args:
      layer: Name of an activation with positions.
      vector: One number for each channel, `[C]`.
      position: (row, column), or one number that counts along the rows; None for the center, as in `neuron`.
      power: Weight of the angle relative to the length, at least 0. Activation atlases use 4; they also whiten the
        vector, take the mean over channels instead of the sum, and leave the length of the vector out of the cosine.
      similarity: "dot" or "cosine", as in `direction`.

    Returns:
      An objective: the mean over pictures at that position.

    References:
      Lucid; Carter et al., "Activation Atlas", Distill, 2019.
    """
    x = select.at(select.read(activations, layer), layer, position)
    return select.agreement(x, select.vector_for(x, layer, vector), power, similarity)


@primitive
def direction_channel(
    activations: Activations,
    layer: Layer,
    channel: Channel,
    pattern: Numbers,
    *,
    power: Power = 0,
    similarity: Similarity = "dot",
    rows: Rows = None,
    columns: Columns = None,
) -> Array:
    """A direction among the positions of one channel: its map becomes similar to a pattern.

    The formula is that of `direction`, with the positions of a map in place of the channels at a position. TorchLight's
    neuron_direction_in_channel means the same, but computes its cosines over an axis with one entry.

    Args:
      layer: Name of an activation with positions.
      channel: Number of the channel, at least 0; a list or array of numbers takes the mean of these channels.
      pattern: One number for each position, `[h, w]`. If the sizes of pattern and map differ, the larger one is
        cropped to its middle.
      power: Weight of the angle relative to the length, at least 0.
      similarity: "dot" or "cosine", as in `direction`.
      rows: Rows of the map to compare with the pattern: a number or a list, such as range(3, 7); None for all.
      columns: Columns of the map.

    Returns:
      An objective: the mean over pictures and the chosen channels.
    """
    x = select.window(select.read(activations, layer), layer, rows, columns)
    maps, pattern = select.maps(x, layer, channel, pattern)
    return select.agreement(maps, pattern, power, similarity)


@primitive
def tensor_direction(
    activations: Activations,
    layer: Layer,
    target: Numbers,
    *,
    power: Power = 0,
    similarity: Similarity = "dot",
    rows: Rows = None,
    columns: Columns = None,
) -> Array:
    """A different direction at each position of a layer; the formula is that of `direction`.

    Args:
      layer: Name of an activation with positions.
      target: A vector for each position, `[h, w, C]`, or `[N, h, w, C]` for each picture its own. If the sizes of
        target and layer differ, the larger one is cropped to its middle.
      power: Weight of the angle relative to the length, at least 0.
      similarity: "dot" or "cosine", as in `direction`.
      rows: Rows of positions to compare with the target: a number or a list, such as range(3, 7); None for all.
      columns: Columns of positions.

    Returns:
      An objective: the mean over pictures and positions.

    References:
      Lucid.
    """
    x = select.window(select.read(activations, layer), layer, rows, columns)
    return select.agreement(*select.matched(x, target, layer), power, similarity)
