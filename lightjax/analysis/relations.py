"""Attribution from layer to layer, and from one position to all classes."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks, objectives
from lightjax._structure import Model, by_structure
from lightjax.analysis import drawing
from lightjax.analysis.at_layer import SIDES, Numbers, at_layer, finite, in_batches
from lightjax.analysis.reading import Reading, made_with
from lightjax.analysis.rest import Picture, Rest, pushed_forward
from lightjax.objectives import select
from lightjax.objectives.arguments import Some
from lightjax.objectives.units import LOGITS
from lightjax.progress import bar

_SHEET = 672
"""Most pixels along a side of the sheet of maps that a relation by positions shows."""


def relate(
    picture: Picture,
    first: str,
    second: str,
    *,
    by: str = "channels",
    model: Model | str | os.PathLike | None = None,
    pool: str | None = None,
    progress: bool = True,
) -> "Relation":
    """How much each part of a layer adds to each part of a later layer, for one picture.

    It is activation times gradient of a sum for each part of the later layer. By channels that is the sum of a channel
    over positions, and the shares are summed over the positions of the first layer. By positions it is the length of
    the activations at a position, `|F2|`, and the shares are summed over the channels of the first layer.

    Examples:
      >>> relation = lj.relate("dog_cat.jpg", "mixed4c", "mixed4d")
      >>> relation.values[220].argsort()[-5:]  # the channels of mixed4c that excite channel 220 of mixed4d most

    Args:
      picture: One picture: a file, or `[H, W, 3]` in [0, 1].
      first: Name of the earlier layer. It may be one of several branches.
      second: Name of a layer that is computed from it, such as that of the logits.
      by: "channels" or "positions".
      model: A network, or the name or path of one for `load_model`; None for the default one.
      pool: Rule for the gradient of max pools between the layers, see `ops.pooling`. By default it is "max" by
        channels and "relaxed" by positions.
      progress: Whether to show a progress bar if there are several batches.

    Returns:
      The relation, which shows and saves itself.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, the second layer is not computed from the first, a layer has no
        positions, or all gradients are 0.
      ArithmeticError: If an activation or a gradient is infinite or not a number.
      WeightsError: If the network cannot be found or loaded.

    References:
      Olah et al., "The Building Blocks of Interpretability", Distill, 2018; Lucid's notebook `AttrSpatial`.
    """
    by, progress = _checks.one_of(by, SIDES, "by"), _checks.flag(progress, "progress")
    pool = ("max" if by == "channels" else "relaxed") if pool is None else pool
    _checks.text(second, "second")
    cut = at_layer(picture, first, model, pool, what="first")
    later = [name for name in cut.shapes if name != first]
    shape = cut.shapes[_checks.one_of(second, later, f"second layer after {first!r}:")].shape[1:]
    if by == "positions" and (len(shape) < 2 or cut.value.ndim < 2):
        without = first if cut.value.ndim < 2 else second
        raise ValueError(f"by must be 'channels': layer {without!r} has no positions")
    outputs = shape[-1:] if by == "channels" else shape[:-1]
    inputs = cut.value.shape[-1:] if by == "channels" else cut.value.shape[:-1]
    number, rows, sums = int(np.prod(outputs)), [], np.zeros(0)
    which = in_batches(range(number), np.int32)
    with bar(number, by.removesuffix("s"), progress and len(which) > 1) as shown:
        for some in which:
            sums, found = _shares(cut.rest, second, by, cut.value, cut.images, some)
            rows.append(np.asarray(found))
            shown.update(min(len(some), number - shown.n))
    values = np.concatenate(rows)[:number]
    finite(values, f"the gradient of layer {second!r}")
    if not values.any():
        raise ValueError(f"all gradients of layer {second!r} by layer {first!r} are 0, or all activations are")
    settings = made_with(cut.rest.model, cut.images, first=first, second=second, by=by, pool=pool)
    sums = np.asarray(sums).reshape(outputs)
    return Relation(settings, cut.images[0], values.reshape(*outputs, *inputs), sums)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Relation(Reading):
    """How much each part of a layer adds to each part of a later one, as `relate` finds it.

    By positions it shows, for each position of the later layer, a map of the earlier one over the picture. By channels
    it shows the strongest pairs.

    Attributes:
      settings: What it was made with, as plain JSON.
      seen: The picture, `[H, W, C]`.
      values: `[out, in]` by channels, `[out_h, out_w, h, w]` by positions.
      outputs: What is explained, `[out]` or `[out_h, out_w]`: sums of channels, or lengths at positions.
    """

    seen: np.ndarray
    values: np.ndarray
    outputs: np.ndarray

    @property
    def bias(self) -> np.ndarray:
        """What the earlier layer does not explain, `[out]` or `[out_h, out_w]`.

        By channels, and through convolutions, rectifiers and max pools alone, it is the share of the biases.
        """
        return self.outputs - self.values.sum(tuple(range(self.outputs.ndim, self.values.ndim)))

    def picture(self) -> np.ndarray:
        """What a notebook shows, `[H, W, 3]` in [0, 1]."""
        about = f"{self.settings['first']} to {self.settings['second']}, by {self.settings['by']}"
        if self.values.ndim == 4:
            return drawing.captioned(self._maps(), f"{about}: in each place, where its activations come from")
        order = np.argsort(-np.abs(self.values), axis=None, kind="stable")[:20]
        order = order[np.argsort(-self.values.ravel()[order], kind="stable")]
        pairs = zip(*np.unravel_index(order, self.values.shape), strict=True)
        names = ["{1} to {0}".format(*(",".join(map(str, np.ravel(i))) for i in (pair[0], pair[1:]))) for pair in pairs]
        strongest = drawing.bars(names, self.values.ravel()[order].tolist())
        return drawing.captioned(drawing.beside([drawing.enlarged(self.seen), strongest]), about)

    def _maps(self) -> np.ndarray:
        rows, columns = self.outputs.shape
        side = max(_SHEET // max(rows, columns) - 2, 16)
        height, width = (max(round(side * n / max(self.seen.shape[:2])), 1) for n in self.seen.shape[:2])
        small = drawing.resized(self.seen, (height, width))
        maps = [drawing.beside([drawing.over(small, one) for one in row], gap=2) for row in self.values]
        return drawing.stacked(maps, gap=2)


def class_attribution(
    picture: Picture,
    layer: str,
    position: Some | None = None,
    *,
    model: Model | str | os.PathLike | None = None,
    pool: str = "max",
) -> np.ndarray:
    """How much one position of a layer adds to the logit of every class.

    It is the sum over channels of activation times gradient at this position, for all classes in one run: forward
    mode, by transposition of the reverse mode. Unlike Grad-CAM's mean over positions, the gradient is the position's
    own. Activation atlases take their classes so.

    Args:
      picture: One picture: a file, or `[H, W, 3]` in [0, 1].
      layer: Name of an activation with positions or tokens.
      position: (row, column), or one number that counts along the rows; None for the center. The number of a token.
      model: A network, or the name or path of one for `load_model`; None for the default one.
      pool: Rule for the gradient of max pools, see `ops.pooling`.

    Returns:
      One number for each class, float32 `[classes]`.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, the layer has no positions, or the logits are not computed from it.
      IndexError: If the position is out of range.
      ArithmeticError: If an activation or a gradient is infinite or not a number.
      WeightsError: If the network cannot be found or loaded.

    References:
      Carter et al., "Activation Atlas", Distill, 2019.
    """
    cut = at_layer(picture, layer, model, pool)
    neuron = objectives.neuron(layer, 0, position)
    objectives.check(neuron, cut.shapes)
    logits = getattr(cut.rest.model, "logits", LOGITS)
    if logits not in cut.shapes or logits == layer:
        raise ValueError(f"layer {layer!r} must come before the logits, {logits!r}")
    place = jax.tree.map(lambda one: np.asarray(one, np.int32), neuron.leaves[-1])
    found = np.asarray(_to_classes(cut.rest, logits, layer, place, cut.value, cut.images))
    finite(found, "the gradient of the logits")
    return found


@by_structure
def _shares(rest: Rest, second: str, by: str, value: Array, images: Numbers, which: Numbers) -> tuple[Array, Array]:
    """What is explained, `[out]`, and for some of it the shares of the parts of a layer, `[some, in]`."""

    def outputs(value: Array) -> Array:
        y = select.at_least_float32(rest(value[None], images)[second][0])
        return y.reshape(-1, y.shape[-1]).sum(0) if by == "channels" else select.norm(y).ravel()

    sums, back = jax.vjp(outputs, value)
    one = jnp.arange(len(sums))
    shares = jax.vmap(lambda i: back((one == i).astype(sums.dtype))[0] * value)(which)
    if by == "positions":
        return sums, shares.sum(-1)
    return sums, shares.reshape(len(which), -1, shares.shape[-1]).sum(1)


@by_structure
def _to_classes(rest: Rest, logits: str, layer: str, place: Array, value: Array, images: Numbers) -> Array:
    """The derivative of the logits in the direction of the activations at one position."""
    there, spread = jax.vjp(lambda value: select.at(value[None], layer, place), value)
    _, derivative = pushed_forward(lambda value: rest(value[None], images)[logits][0], value, spread(there)[0])
    return derivative
