"""Objectives: what a picture is to excite, as pytrees that are pure functions of the activations.

An objective maps a mapping of named activations, `[N, H, W, C]` or `[N, C]` each, to a scalar, which is *maximised*.
Its layers, its kind and its reductions are structure; channels, positions, vectors, weights and batch selectors are
leaves. So all channels of a layer share one compilation, and `jax.vmap` over the leaves is a batch of objectives.
Operators only build trees:

    channel("mixed4a", 97) + 0.5 * channel("mixed4b", 3) - neuron("mixed5a", 12)

Each is written below as what it computes, a function of the activations; the decorator `primitive` takes them away, and
leaves a constructor. Two conventions hold for all of them, unless a docstring says otherwise:

- An objective of several pictures is the mean over them, and each counts for itself: a weight means the same for any
  number of pictures. Where Lucid sums over pictures, the docstring says so; for one picture there is no difference.
- Penalties are 0 or more, and are subtracted: `channel("mixed4a", 97) - 0.25 * total_variation()`.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

from lightjax import labels
from lightjax.objectives import text as grammar
from lightjax.objectives.base import (
    PRIMITIVES,
    Activations,
    Argument,
    Batch,
    Channel,
    Columns,
    Flag,
    Label,
    Layer,
    Number,
    Numbers,
    Objective,
    Picture,
    Position,
    Positive,
    Power,
    Rows,
    Width,
    one_of,
    primitive,
)

REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "mean": jnp.mean,
    "sum": jnp.sum,
    "max": jnp.max,
    "min": jnp.min,
    "norm": lambda x: _norm(x.ravel()),
    "mean_abs": lambda x: jnp.abs(x).mean(),
    "mean_square": lambda x: jnp.square(x).mean(),
}
"""What makes one number of the values for one picture, by name; "norm" is the root of the sum of squares."""


def _reduction(reduce, what: str):
    return reduce if callable(reduce) else one_of(reduce, REDUCTIONS, "reduction")


def _similarity(similarity, what: str) -> str:
    return one_of(similarity, ("dot", "cosine"), what)


Reduction = Annotated[str | Callable[[Array], Array], Argument("options", _reduction)]
Similarity = Annotated[Literal["dot", "cosine"], Argument("options", _similarity)]


def objective(fn: Callable[..., Array], *leaves: Any) -> Objective:
    """Any function of the activations as an objective.

    Args:
      fn: `fn(activations, *leaves) -> scalar`. Define it once: a function made anew is compiled anew.
      *leaves: Arrays or numbers it depends on, passed on to it; changing them does not compile again.

    Example:
      >>> contrast = objective(lambda activations: activations["mixed4a"].std())

    Raises:
      TypeError: If `fn` is not a function.
    """
    if not callable(fn):
        raise TypeError(f"an objective is made of a function of the activations, not of {fn!r}")
    return Objective(fn, (), leaves)


def parse(text: str) -> Objective:
    """An objective from its string form.

    The form is TorchLight's `layer`, `layer:channel` or `layer:channel:position`, where the channel may be a list
    ("97,143") or a range ("90-99", both ends included) and the position counts along the rows. Names of layers may
    have dots and slashes. Terms combine by arithmetic, with spaces around `-` and `/`, and the functions of this module
    may be called: `str(objective)` reads back, unless it depends on a function or on an array too long to write out.

    Example:
      >>> parse("mixed4a:97 - 0.5 * mixed4b:3")
      channel('mixed4a', 97) - 0.5 * channel('mixed4b', 3)
      >>> parse("class_logit('golden retriever') - 0.25 * total_variation()")
      class_logit('golden retriever') - 0.25 * total_variation()

    Raises:
      ValueError: If the text has another form.
    """
    if not isinstance(text, str):
        raise TypeError(f"an objective in words is a string such as 'mixed4a:97', not {text!r}")
    result = grammar.read(text, {one.constructor.__name__: one.constructor for one in PRIMITIVES.values()})
    if not isinstance(result, Objective):
        raise grammar.no_layer(text)
    return result


def as_objective(value: "str | Objective | Callable[[Activations], Array]") -> Objective:
    """An objective from an objective, its string form, or a function of the activations."""
    if isinstance(value, Objective):
        return value
    if not isinstance(value, str) and not callable(value):
        several = "; for several, each with a picture of its own, call visualize_many" * isinstance(value, list | tuple)
        raise TypeError(
            "an objective is a string such as 'mixed4a:97', an Objective, or a function of the activations, "
            f"not {value!r:.200}{several}"
        )
    return parse(value) if isinstance(value, str) else objective(value)


def resolve(objective: Objective, model: Any) -> Objective:
    """Replace the names of classes by their indices among the logits of a model.

    Args:
      objective: May hold `class_logit` terms, anywhere.
      model: A network whose attribute `class_names` names the classes in the order of the logits, as those of
        `load_model` do; the attribute is needed for names alone.

    Returns:
      The objective with indices, the same if it has no names.

    Raises:
      ValueError: If the model has no names, if none of its classes or several are called so, or if an index is that of
        a logit that stands for no class.
    """
    names = getattr(model, "class_names", ())

    def is_class(term) -> bool:
        return isinstance(term, Objective) and term.fn in PRIMITIVES and PRIMITIVES[term.fn].constructor is class_logit

    def with_index(term):
        if not is_class(term):
            return term
        label, *others = term.leaves
        if isinstance(label, str):
            label = labels.class_index(label, names)
        elif not isinstance(label, Tracer):
            for index in np.ravel(label):
                labels.check(int(index), names)
        return replace(term, leaves=(label, *others))

    return jax.tree.map(with_index, objective, is_leaf=is_class)


def check(objective: Objective, activations: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """Check an objective against the shapes of the activations it will see, before anything is compiled.

    Raises:
      ValueError: If it names a layer that is not there, or does not give a scalar.
      IndexError: If a channel, position or picture is out of range.
    """
    value = jax.eval_shape(lambda a: objective(_Named(a)), dict(activations))
    jax.eval_shape(lambda o, a: o(_Named(a)), objective, dict(activations))  # as it will be compiled: all leaves traced
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"an objective gives one real number, but {objective!r} gives {value!r}")


class _Named(dict):
    """Activations that say which names there are."""

    def __missing__(self, name: str):
        likeness = {known: difflib.SequenceMatcher(None, name, known).ratio() for known in self}
        closest = max(likeness, key=lambda known: likeness[known], default="")
        near = likeness.get(closest, 0) > 0.6
        hint = f"did you mean {closest!r}?" if near else f"the layers are {', '.join(self)}"
        raise ValueError(f"unknown layer {name!r}; {hint}")


# Units, layers and classes.


@primitive
def channel(
    activations: Activations,
    layer: Layer,
    index: Channel,
    *,
    rows: Rows = None,
    columns: Columns = None,
    reduce: Reduction = "mean",
    batch: Batch = None,
) -> Array:
    """Mean activation of one channel, or of several.

    Args:
      layer: Name of an activation, such as "mixed4a".
      index: Channel, from 0 on; a list or array of them takes their mean.
      rows: Row of positions to look at, or several, such as range(3, 7); None for all.
      columns: The same for columns; together they are a window.
      reduce: What to take instead of the mean over positions and channels: one of `REDUCTIONS`, or a function from the
        chosen activations of one picture, `[h, w, channels]`, to a scalar.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective: the mean over pictures, positions and chosen channels.

    References:
      Olah et al., "Feature Visualization", Distill, 2017.
    """
    x = _window(_pictures(activations, layer, batch), layer, rows, columns)
    return _reduced(_select(x, index, -1, f"channel of {layer}"), reduce)


@primitive
def neuron(
    activations: Activations, layer: Layer, channel: Channel, position: Position = None, *, batch: Batch = None
) -> Array:
    """Activation of one channel at one position.

    Args:
      layer: Name of an activation with positions, such as "mixed4a".
      channel: Channel, from 0 on; a list or array of them takes their mean.
      position: (row, column), or one number that counts along the rows; None for the centre, the lower right of the
        four central positions where the size is even.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective: the mean over pictures and chosen channels at that position.

    References:
      Olah et al., "Feature Visualization", Distill, 2017.
    """
    x = _at(_pictures(activations, layer, batch), layer, position)
    return _select(x, channel, -1, f"channel of {layer}").mean()


@primitive
def layer(
    activations: Activations,
    layer: Layer,
    *,
    rows: Rows = None,
    columns: Columns = None,
    reduce: Reduction = "mean",
    batch: Batch = None,
) -> Array:
    """Mean activation of a whole layer, or of a window of it.

    Args:
      layer: Name of an activation.
      rows: Row of positions to look at, or several, such as range(3, 7); None for all.
      columns: The same for columns.
      reduce: What to take instead of the mean over positions and channels, as in `channel`.
      batch: Picture to look at, or several; None for all.

    References:
      TorchLight's objective for a layer, which looks at the first picture alone.
    """
    return _reduced(_window(_pictures(activations, layer, batch), layer, rows, columns), reduce)


@primitive
def deepdream(activations: Activations, layer: Layer, *, batch: Batch = None) -> Array:
    """Mean square of a layer: more of whatever is there, `mean(F^2)`.

    Args:
      layer: Name of an activation.
      batch: Picture to look at, or several; None for all.

    References:
      Mordvintsev et al., "Inceptionism: Going Deeper into Neural Networks", Google Research blog, 2015; Lucid.
    """
    return jnp.square(_pictures(activations, layer, batch)).mean()


@primitive
def class_logit(
    activations: Activations, label: Label, *, layer: Layer = "softmax2_pre_activation_matmul", batch: Batch = None
) -> Array:
    """Evidence for a class, before the softmax.

    Args:
      label: Index of the class, a list of indices (their mean), or a name, such as "golden retriever": in any case, any
        one of the names of the class. `visualize` looks it up in the model's `class_names`; elsewhere call `resolve`.
      layer: Name of the logits, `[N, classes]`.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective: the mean logit over the pictures, of which Lucid takes the sum.

    References:
      Simonyan et al., "Deep Inside Convolutional Networks", 2013; Lucid.
    """
    if isinstance(label, str):
        raise ValueError(f"class {label!r} is known by its name alone: objectives.resolve(objective, model) finds it")
    return _select(_pictures(activations, layer, batch), label, -1, f"class of {layer}").mean()


# Weighted sums and directions.


@primitive
def channel_weight(
    activations: Activations,
    layer: Layer,
    weights: Numbers,
    *,
    rows: Rows = None,
    columns: Columns = None,
    batch: Batch = None,
) -> Array:
    """All channels of a layer, each with its weight: the mean of `w_c F_c` over positions and channels.

    Args:
      layer: Name of an activation.
      weights: One number for each channel, `[C]`.
      rows: Row of positions to look at, or several, such as range(3, 7); None for all.
      columns: The same for columns; with both this is Lucent's localgroup_weight.
      batch: Picture to look at, or several; None for all.

    References:
      Lucent (channel_weight, localgroup_weight); Captum (ActivationWeights).
    """
    x = _window(_pictures(activations, layer, batch), layer, rows, columns)
    return (x * _vector(weights, x, layer)).mean()


@primitive
def neuron_weight(
    activations: Activations, layer: Layer, weights: Numbers, position: Position = None, *, batch: Batch = None
) -> Array:
    """All channels at one position, each with its weight: the mean of `w_c F_c` over channels.

    Args:
      layer: Name of an activation with positions.
      weights: One number for each channel, `[C]`.
      position: As in `neuron`.
      batch: Picture to look at, or several; None for all.

    References:
      Lucent (neuron_weight).
    """
    x = _at(_pictures(activations, layer, batch), layer, position)
    return (x * _vector(weights, x, layer)).mean()


@primitive
def spatial_weight(
    activations: Activations, layer: Layer, index: Channel, weights: Numbers, *, batch: Batch = None
) -> Array:
    """One channel, or several, with a weight for each position: the mean of `w_yx F_yx` over positions.

    Args:
      layer: Name of an activation with positions.
      index: Channel, from 0 on; a list or array of them takes their mean.
      weights: One number for each position, `[h, w]`; where the layer has another size, the larger is cropped to the
        middle of its size.
      batch: Picture to look at, or several; None for all.
    """
    maps, weights = _maps(_pictures(activations, layer, batch), layer, index, weights)
    return (maps * weights).mean()


@primitive
def direction(
    activations: Activations,
    layer: Layer,
    vector: Numbers,
    *,
    power: Power = 0,
    similarity: Similarity = "dot",
    batch: Batch = None,
) -> Array:
    """A direction among the channels of a layer, `mean(F.v max(0.1, cos(F, v))^power)` over positions.

    Args:
      layer: Name of an activation.
      vector: One number for each channel, `[C]`.
      power: How much the angle counts beside the length, from 0 on (Lucid's cossim_pow).
      similarity: What the power of the cosine is multiplied with: "dot", or "cosine" for the cosine itself, which
        with power 0 is Lucid's direction_cossim and Lucent's direction.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective: the mean over pictures and positions. The cosine divides by (1e-4 + |F|) and (1e-4 + |v|).

    References:
      Lucid; Carter et al., "Activation Atlas", Distill, 2019.
    """
    x = _pictures(activations, layer, batch)
    return _agreement(x, _vector(vector, x, layer), power, similarity)


@primitive
def direction_neuron(
    activations: Activations,
    layer: Layer,
    vector: Numbers,
    position: Position = None,
    *,
    power: Power = 0,
    similarity: Similarity = "dot",
    batch: Batch = None,
) -> Array:
    """A direction among the channels of a layer at one position; see `direction`.

    Args:
      layer: Name of an activation with positions.
      vector: One number for each channel, `[C]`.
      position: As in `neuron`.
      power: How much the angle counts beside the length, from 0 on; 4 in activation atlases, which also whiten the
        vector, take the mean over channels instead of the sum, and leave its length out of the cosine.
      similarity: "dot" or "cosine", as in `direction`.
      batch: Picture to look at, or several; None for all.

    References:
      Lucid; Carter et al., "Activation Atlas", Distill, 2019.
    """
    x = _at(_pictures(activations, layer, batch), layer, position)
    return _agreement(x, _vector(vector, x, layer), power, similarity)


@primitive
def direction_channel(
    activations: Activations,
    layer: Layer,
    index: Channel,
    pattern: Numbers,
    *,
    power: Power = 0,
    similarity: Similarity = "dot",
    batch: Batch = None,
) -> Array:
    """A direction among the positions of one channel: its map is to look like a pattern.

    The formula is that of `direction`, with the positions of a map in place of the channels at a position. TorchLight's
    neuron_direction_in_channel means the same, but takes its cosines over an axis of one entry.

    Args:
      layer: Name of an activation with positions.
      index: Channel, from 0 on; a list or array of them takes their mean.
      pattern: One number for each position, `[h, w]`; where the layer has another size, the larger is cropped to the
        middle of its size.
      power: How much the angle counts beside the length, from 0 on.
      similarity: "dot" or "cosine", as in `direction`.
      batch: Picture to look at, or several; None for all.
    """
    maps, pattern = _maps(_pictures(activations, layer, batch), layer, index, pattern)
    return _agreement(maps, pattern, power, similarity)


@primitive
def tensor_direction(
    activations: Activations,
    layer: Layer,
    target: Numbers,
    *,
    power: Power = 0,
    similarity: Similarity = "dot",
    batch: Batch = None,
) -> Array:
    """A direction of its own at each position of a layer; the formula is that of `direction`.

    Args:
      layer: Name of an activation with positions.
      target: `[h, w, C]`, or `[N, h, w, C]` for each picture its own; where the layer has another size, the larger is
        cropped to the middle of its size.
      power: How much the angle counts beside the length, from 0 on.
      similarity: "dot" or "cosine", as in `direction`.
      batch: Picture to look at, or several; None for all.

    References:
      Lucid.
    """
    return _agreement(*_matched(_pictures(activations, layer, batch), target, layer), power, similarity)


# Comparison with the activations of another picture, such as `model(picture[None])["mixed4a"]`.


@primitive
def caricature(
    activations: Activations, layer: Layer, target: Numbers, *, power: Power = 0, batch: Batch = None
) -> Array:
    """What a layer sees in another picture, overdone: `D max(0.1, cos)^power` with `D = sum(F T)` over all entries.

    Args:
      layer: Name of an activation.
      target: Activations T of the other picture, `[h, w, C]` or `[1, h, w, C]`, or `[N, h, w, C]` for each picture its
        own. Transforms may change the size of what the network sees: the larger of F and T is cropped to the middle of
        its size.
      power: How much the angle counts beside the length, from 0 on.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective: the mean over pictures. Its cosine is `D / ((1e-6 + |F|) (1e-6 + |T|))`; Lucid leaves |T| out, so
      that there a power of p also multiplies everything by |T|^p.

    References:
      Lucid (recipes/caricature); Olah et al., "Feature Visualization", Distill, 2017.
    """
    x, target = _matched(_pictures(activations, layer, batch), target, layer)
    return _agreement(x.reshape(len(x), -1), target.reshape(len(target), -1), power, "dot", epsilon=1e-6)


@primitive
def activation_difference(
    activations: Activations, layer: Layer, target: Numbers, *, reduce: Reduction = "mean_abs", batch: Batch = None
) -> Array:
    """How far a layer is from what it is for another picture; subtract it to invert the network.

    Args:
      layer: Name of an activation.
      target: Activations of the other picture, as in `caricature`, cropped in the same way.
      reduce: What to take of the difference: "mean_abs" (Lucid's mean_L1), "mean_square" (mean_L2), another of
        `REDUCTIONS`, or a function from the difference for one picture, `[h, w, C]`, to a scalar.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective, 0 or more for the reductions named above: the mean over pictures of the reduced difference.

    References:
      Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015; Lucid's notebooks.
    """
    x, target = _matched(_pictures(activations, layer, batch), target, layer)
    return _reduced(x - target, reduce)


@primitive
def style(
    activations: Activations, layer: Layer, target: Numbers, *, reduce: Reduction = "mean_abs", batch: Batch = None
) -> Array:
    """How far the style of a layer, its Gram matrix, is from a target; subtract it.

    Args:
      layer: Name of an activation.
      target: A Gram matrix, `[C, C]`, as `gram_matrix` makes it, or activations of any size to make it of, `[h, w, C]`
        or `[N, h, w, C]`.
      reduce: What to take of the difference of the matrices: "mean_abs" as in Lucid, "mean_square", another of
        `REDUCTIONS`, or a function from the difference, `[C, C]`, to a scalar.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective, 0 or more for the reductions named above: the mean over pictures, each with a matrix of its own.

    References:
      Gatys et al., "A Neural Algorithm of Artistic Style", 2015; Lucid (optvis/style).
    """
    grams = jax.vmap(gram_matrix)(_pictures(activations, layer, batch))
    target = jnp.asarray(target) if np.ndim(target) == 2 else gram_matrix(jnp.asarray(target))
    if target.shape != grams.shape[1:]:
        raise ValueError(f"{layer} has {grams.shape[-1]} channels, but the style to compare with {target.shape[-1]}")
    return _reduced(grams - target, reduce)


def gram_matrix(activations: ArrayLike) -> Array:
    """How channels go together: the mean over positions, and pictures if there are several, of their products.

    Args:
      activations: `[..., C]`.

    Returns:
      `[C, C]`: `A^T A / n` for the n rows of the activations, flattened to `[n, C]`.

    References:
      Gatys et al., "A Neural Algorithm of Artistic Style", 2015; normalised as in Lucid.
    """
    activations = jnp.asarray(activations)
    rows = activations.reshape(-1, activations.shape[-1])
    return rows.T @ rows / len(rows)


# Several pictures that are optimised together.


@primitive
def diversity(activations: Activations, layer: Layer, *, batch: Batch = None) -> Array:
    """How alike the pictures are; subtract it to see the different things that a unit responds to.

    As in Lucid and Lucent it is the likeness, in spite of its name:
    `channel("mixed4a", 97) - 1e2 * diversity("mixed4a")`.

    Args:
      layer: Name of an activation.
      batch: Pictures to compare; None for all.

    Returns:
      An objective, from 0 on: `sum over i != j of <G_i, G_j> / N`, where `G_i` is the Gram matrix of picture i divided
      by its norm, for the N pictures. Captum's has the other sign.

    References:
      Olah et al., "Feature Visualization", Distill, 2017; Lucid.
    """
    x = _several(_pictures(activations, layer, batch), "diversity")
    rows = x.reshape(len(x), -1, x.shape[-1])
    grams = (rows.mT @ rows).reshape(len(x), -1)
    grams = grams * jax.lax.rsqrt(jnp.maximum(jnp.square(grams).sum(-1, keepdims=True), 1e-10))
    likeness = grams @ grams.T
    return (likeness.sum() - jnp.trace(likeness)) / len(x)


@primitive
def alignment(activations: Activations, layer: Layer, *, decay_ratio: Positive = 2, batch: Batch = None) -> Array:
    """How well things stay in place from picture to picture; add it, to an interpolation for instance.

    Args:
      layer: Name of an activation; "input" for the pictures themselves.
      decay_ratio: How much less a difference counts for each place that two pictures are apart, above 0.
      batch: Pictures to compare, in this order; None for all.

    Returns:
      An objective, 0 or less, as in Lucid: minus the sum over distances d from 1 to 4, and over pairs of pictures at
      that distance, of their mean squared difference, divided by `decay_ratio^d`.

    References:
      Lucid; Olah et al., "Feature Visualization", Distill, 2017.
    """
    x = _several(_pictures(activations, layer, batch), "alignment")
    total = jnp.zeros(())
    for d in range(1, min(5, len(x))):
        total += jnp.square(x[d:] - x[:-d]).mean(tuple(range(1, x.ndim))).sum() / decay_ratio**d
    return -total


@primitive
def channel_interpolate(
    activations: Activations, layer1: Layer, channel1: Channel, layer2: Layer, channel2: Channel, *, batch: Batch = None
) -> Array:
    """From one channel to another over the pictures: the first excites the first one, the last the second.

    Args:
      layer1: Name of an activation.
      channel1: Channel of the first picture; several count by their mean.
      layer2: Name of an activation.
      channel2: Channel of the last picture.
      batch: Pictures to interpolate over, in this order; None for all.

    Returns:
      An objective: `sum over n of (1 - w_n) mean(F1_n) + w_n mean(F2_n)` with `w_n = n / (N - 1)` for the N pictures.

    References:
      Lucid; Olah et al., "Feature Visualization", Distill, 2017.
    """

    def means(layer: str, index) -> Array:
        x = _several(_pictures(activations, layer, batch), "channel_interpolate")
        return _select(x, index, -1, f"channel of {layer}").mean(tuple(range(1, x.ndim)))

    first, second = means(layer1, channel1), means(layer2, channel2)
    weights = jnp.linspace(0, 1, len(first), dtype=first.dtype)
    return ((1 - weights) * first + weights * second).sum()


# The picture itself: "input", before its transforms, in [0, 1]. These are 0 or more, and are subtracted.


@primitive
def input_diff(activations: Activations, target: Picture, *, batch: Batch = None) -> Array:
    """Distance of the picture from another one, `sqrt(mean((x - target)^2))`; subtract it to stay close.

    Args:
      target: The other picture, `[H, W, 3]` in [0, 1], of the same size, or one for each, `[N, H, W, 3]`. An alpha
        channel, there or in the picture, is left out.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective, 0 or more: the mean over pictures of the root of the mean over pixels and colours. Its gradient
      where the pictures are equal is 0.

    References:
      Lucid.
    """
    x = _colours(activations, "input", batch)
    target = jnp.asarray(target)[..., :3]
    if target.shape[-3:] != x.shape[1:]:
        raise ValueError(f"the picture is {list(x.shape[1:])}, but the one to compare it with {list(target.shape)}")
    x, target = _matched(x, target, "input")
    return _root(jnp.square(x - target).mean((1, 2, 3))).mean()


@primitive
def l1(activations: Activations, layer: Layer = "input", *, constant: Number = 0, batch: Batch = None) -> Array:
    """Sum of distances from a constant, `sum(|x - constant|)`; subtract it.

    Args:
      layer: Name of an activation; by default the colours of the picture, in [0, 1].
      constant: Where it costs nothing; 0.5 is mid-grey.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective, 0 or more: the mean over pictures, of which Lucid takes the sum.

    References:
      Lucid (L1), which weighs it by 0.05 in its notebook on regularisation.
    """
    x = _colours(activations, layer, batch)
    return jnp.abs(x - constant).sum() / len(x)


@primitive
def l2(activations: Activations, layer: Layer = "input", *, constant: Number = 0, batch: Batch = None) -> Array:
    """Euclidean distance from a constant, `sqrt(1e-6 + sum((x - constant)^2))`; subtract it.

    Args:
      layer: Name of an activation; by default the colours of the picture, in [0, 1].
      constant: Where it costs nothing; 0.5 is mid-grey.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective, above 0: the mean over pictures, where Lucid takes all of them as one vector.

    References:
      Lucid (L2).
    """
    x = _colours(activations, layer, batch)
    return jnp.sqrt(1e-6 + jnp.square(x - constant).sum(tuple(range(1, x.ndim)))).mean()


@primitive
def total_variation(activations: Activations, layer: Layer = "input", *, batch: Batch = None) -> Array:
    """Sum of differences between neighbours, `sum(|x_down - x|) + sum(|x_right - x|)`; subtract it for less noise.

    Args:
      layer: Name of an activation with positions; by default the colours of the picture, in [0, 1].
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective, 0 or more: the mean over pictures, of which Lucid takes the sum.

    References:
      Mahendran and Vedaldi, CVPR 2015; Lucid, which weighs it by 0.25 in its notebook on regularisation.
    """
    x = _with_positions(_colours(activations, layer, batch), layer)
    return (jnp.abs(x[:, 1:] - x[:, :-1]).sum() + jnp.abs(x[:, :, 1:] - x[:, :, :-1]).sum()) / len(x)


@primitive
def blur_input_each_step(activations: Activations, *, batch: Batch = None) -> Array:
    """Distance of the picture from a blurred copy, `sum((x - blur(x))^2) / 2`; subtract it to blur a little each step.

    The copy counts as a constant, so the gradient is `x - blur(x)`: gradient ascent at rate 1 on minus k times this
    makes the picture `(1 - k) x + k blur(x)`. Added, as in some published notebooks, it sharpens.

    Args:
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective, 0 or more: the mean over pictures, of which Lucid takes the sum. A pixel's blur weighs its eight
      neighbours half as much as itself, and at the border only those that there are.

    References:
      Nguyen et al., "Deep Neural Networks are Easily Fooled", CVPR 2015; Lucid.
    """
    return _distance_from_blur(_colours(activations, "input", batch))


@primitive
def blur_alpha_each_step(activations: Activations, *, batch: Batch = None) -> Array:
    """The same as `blur_input_each_step` for the opacity of the picture; subtract it for soft edges.

    Args:
      batch: Picture to look at, or several; None for all.

    References:
      Lucid.
    """
    return _distance_from_blur(_alpha(activations, batch))


@primitive
def mean_alpha(activations: Activations, *, batch: Batch = None) -> Array:
    """How much of the picture is opaque, from 0 to 1: its mean alpha.

    Subtract it, or multiply by what is left, as Lucid does: `channel("mixed4d", 20) * (1 - mean_alpha())`.

    Args:
      batch: Picture to look at, or several; None for all.

    References:
      Mordvintsev et al., "Differentiable Image Parameterizations", Distill, 2018.
    """
    return _alpha(activations, batch).mean()


@primitive
def boundary_complexity(
    activations: Activations, *, width: Width = 20, constant: Number = 0.5, alpha: Flag = False, batch: Batch = None
) -> Array:
    """Detail and colour near the border, `sum((x - blur(x))^2 + 0.8 (x - constant)^2)` there; subtract it.

    Args:
      width: Width of the border in pixels, from 1 on.
      constant: What the border should be, in [0, 1].
      alpha: Whether to look at the opacity of the picture instead of its colours; then mind `constant`.
      batch: Picture to look at, or several; None for all.

    Returns:
      An objective, 0 or more: the mean over pictures of the sum over pixels and colours. The blur is 5 pixels wide,
      with weights of 1 in the middle 3x3 and of 1/2 around it. Lucid's penalize_boundary_complexity is minus the sum.

    References:
      Lucid; Carter et al., "Activation Atlas", Distill, 2019.
    """
    x = _alpha(activations, batch) if alpha else _colours(activations, "input", batch)
    rows, columns = (np.minimum(np.arange(size), np.arange(size)[::-1]) for size in x.shape[1:3])
    border = jnp.minimum(rows[:, None], columns)[..., None] < width
    return (border * (jnp.square(_blur(x, 5) - x) + 0.8 * jnp.square(x - constant))).sum() / len(x)


# What the formulas share.


def _pictures(activations: Activations, layer: str, batch) -> Array:
    """Activations of the chosen pictures, `[n, ...]`."""
    x = activations[layer]
    if x.ndim < 2:
        raise ValueError(f"activations are [N, H, W, C] or [N, C], but those of {layer} are {list(x.shape)}")
    if 0 in x.shape:
        raise ValueError(f"nothing is left of {layer}, {list(x.shape)}, at this size of picture: use a larger image")
    return x if batch is None else _select(x, batch, 0, "picture of the batch")


def _several(x: Array, what: str) -> Array:
    if len(x) < 2:
        raise ValueError(f"{what} is about several pictures, and here is one: choose an image with batch=2 or more")
    return x


def _with_positions(x: Array, layer: str) -> Array:
    if x.ndim != 4:
        raise ValueError(f"{layer} has no positions: choose one of its units with channel({layer!r}, index)")
    return x


def _window(x: Array, layer: str, rows, columns) -> Array:
    """Activations in a window, `[n, rows, columns, C]`."""
    for axis, chosen, what in ((1, rows, "row"), (2, columns, "column")):
        if chosen is not None:
            x = _select(_with_positions(x, layer), chosen, axis, f"{what} of {layer}")
    return x


def _at(x: Array, layer: str, position) -> Array:
    """Activations at a position, `[n, 1, C]`."""
    pictures, height, width, channels = _with_positions(x, layer).shape
    if position is None:
        position = (height // 2, width // 2)
    if any(np.ndim(part) for part in jax.tree.leaves(position)):
        raise ValueError(
            f"a position in {layer} is (row, column), or one number that counts along the rows, not {position!r}; for "
            "a window, give rows=range(3, 5) and columns=range(4, 9) to channel()"
        )
    x = x.reshape(pictures, -1, channels) if not isinstance(position, tuple) else x
    if isinstance(position, tuple):
        return _window(x, layer, *position).reshape(pictures, -1, channels)
    return _select(x, position, 1, f"position of {layer}")


def _colours(activations: Activations, layer: str, batch) -> Array:
    """Activations, of a picture without its opacity."""
    x = _pictures(activations, layer, batch)
    return _with_positions(x, layer)[..., :3] if layer == "input" else x


def _alpha(activations: Activations, batch) -> Array:
    """The opacity of the pictures, `[n, H, W, 1]`."""
    x = _with_positions(_pictures(activations, "input", batch), "input")
    if x.shape[-1] != 4:
        raise ValueError(
            f"the picture has {x.shape[-1]} channels, none of them its opacity: choose an image with alpha=True"
        )
    return x[..., 3:]


def _select(x: Array, index, axis: int, what: str) -> Array:
    """Entries of an axis. An index known now must be in range; one that is traced gives NaN if it is not."""
    size = x.shape[axis]
    if not isinstance(index, Tracer):
        wrong = [i for i in np.ravel(index) if not 0 <= i < size]
        if wrong:
            raise IndexError(f"there is no {what} with index {wrong[0]}: they go from 0 to {size - 1}")
    index = jnp.ravel(index)
    beyond = jnp.where(index < 0, size, index)  # JAX would count negative ones from the end
    return jnp.take(x, beyond, axis=axis, mode="fill", fill_value=jnp.nan)


def _vector(vector, x: Array, layer: str) -> Array:
    """One number for each channel."""
    if np.shape(vector) != x.shape[-1:]:
        raise ValueError(f"{layer} takes a vector of {x.shape[-1]} numbers, one for each channel, not {_sized(vector)}")
    return jnp.asarray(vector)


def _maps(x: Array, layer: str, index, pattern) -> tuple[Array, Array]:
    """Maps of channels, `[n, channels, positions]`, and a pattern to go with them, `[positions]`."""
    x = _select(_with_positions(x, layer), index, -1, f"channel of {layer}")
    if np.ndim(pattern) != 2:
        raise ValueError(f"a map of {layer} has one number for each position, [h, w], not {_sized(pattern)}")
    pattern = jnp.broadcast_to(jnp.asarray(pattern)[..., None], (*np.shape(pattern), x.shape[-1]))
    x, pattern = _matched(x, pattern, layer)
    return jnp.moveaxis(x, -1, 1).reshape(len(x), x.shape[-1], -1), pattern[0, ..., 0].ravel()


def _matched(x: Array, target, layer: str) -> tuple[Array, Array]:
    """Activations and others to compare them with, the larger cropped to the middle of its size."""
    target = jnp.asarray(target)
    target = target[None] if target.ndim == x.ndim - 1 else target
    if target.ndim != x.ndim or target.shape[-1] != x.shape[-1] or target.shape[0] not in (1, len(x)):
        raise ValueError(f"the activations of {layer} are {_sized(x)}, and cannot be compared with {_sized(target)}")
    for axis in range(1, x.ndim - 1):
        size = min(x.shape[axis], target.shape[axis])
        x, target = (
            jax.lax.slice_in_dim(a, s := (a.shape[axis] - size) // 2, s + size, axis=axis) for a in (x, target)
        )
    return x, target


def _sized(value) -> str:
    return f"{list(np.shape(value))}" if np.ndim(value) else "one number"


def _reduced(x: Array, reduce: Reduction) -> Array:
    """The mean over pictures of what a reduction makes of each."""
    values = jax.vmap(REDUCTIONS[reduce] if isinstance(reduce, str) else reduce)(x)
    if np.shape(values) != x.shape[:1]:
        raise ValueError(f"a reduction makes one number of the values for a picture, not {_sized(values[0])}")
    return values.mean()


def _agreement(x: Array, vector: Array, power, similarity: Similarity, epsilon: float = 1e-4) -> Array:
    """The mean of `s max(0.1, cos)^power` along the last axis, where s is the dot product or the cosine."""
    dot = (x * vector).sum(-1)
    cosine = dot / ((epsilon + _norm(x)) * (epsilon + _norm(vector)))
    return ((dot if similarity == "dot" else cosine) * jnp.maximum(0.1, cosine) ** power).mean()


def _norm(x: Array) -> Array:
    """Euclidean norm along the last axis."""
    return _root(jnp.square(x).sum(-1))


def _root(x: Array) -> Array:
    """Square root whose gradient at 0 is 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def _distance_from_blur(x: Array) -> Array:
    return jnp.square(x - jax.lax.stop_gradient(_blur(x, 3))).sum() / (2 * len(x))


def _blur(x: Array, width: int) -> Array:
    """Lucid's blur: a square with a weight of 1, its outermost ring of 1/2, over as much of it as the picture has."""

    def pixels(width: int) -> np.ndarray:
        """How many pixels there are in a square around each, counted here: XLA would take seconds to."""
        places = (np.arange(size) for size in x.shape[1:3])
        rows, columns = (np.minimum(i + width // 2, len(i) - 1) - np.maximum(i - width // 2, 0) + 1 for i in places)
        return np.outer(rows, columns)[..., None]

    weights = (pixels(width) + pixels(width - 2)) / 2
    return (_box(x, width) + _box(x, width - 2)) / 2 / weights.astype(x.dtype)


def _box(x: Array, width: int) -> Array:
    """Sum over a square around each pixel."""
    return jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, (1, width, width, 1), (1, 1, 1, 1), "SAME")
