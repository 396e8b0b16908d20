"""Objectives: values against NumPy, arithmetic, the string form, and the errors of a wrong index."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import lightjax
from lightjax import labels
from lightjax.objectives import (
    Objective,
    as_objective,
    channel,
    check,
    class_logit,
    l1,
    layer,
    neuron,
    objective,
    parse,
    resolve,
)
from lightjax.objectives.base import PRIMITIVES

SHAPES = {"conv": (3, 5, 4, 7), "even.0.conv": (3, 4, 6, 7), "dense": (3, 6)}
NUMPY = {name: np.random.default_rng(i).standard_normal(shape) for i, (name, shape) in enumerate(SHAPES.items())}
ACTIVATIONS = {name: jnp.asarray(x, jnp.float32) for name, x in NUMPY.items()}
STRUCTURE = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in SHAPES.items()}

INDICES = [
    pytest.param(3, id="number"),
    pytest.param([4, 0, 1], id="list"),
    pytest.param(np.array([2, 5]), id="NumPy array"),
    pytest.param(np.int64(5), id="NumPy number"),
    pytest.param(jnp.array([1, 2, 2]), id="JAX array"),
]
BATCHES = [
    pytest.param(None, id="all pictures"),
    pytest.param(1, id="one picture"),
    pytest.param([2, 0], id="two pictures"),
    pytest.param(jnp.array([1]), id="an array of pictures"),
]


def mean_over(x, *entries):
    """Mean over chosen entries along each axis; None takes all of them."""
    entries = [np.arange(n) if e is None else np.atleast_1d(e) for e, n in zip(entries, x.shape, strict=True)]
    return x[np.ix_(*entries)].mean()


def close(value, expected):
    assert value.shape == ()
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("name", SHAPES)
def test_channel_is_the_mean_over_pictures_positions_and_channels(name, index, batch):
    space = [None] * (len(SHAPES[name]) - 2)
    close(channel(name, index, batch=batch)(ACTIVATIONS), mean_over(NUMPY[name], batch, *space, index))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize(
    ("position", "row", "column"),
    [
        pytest.param((3, 1), 3, 1, id="row and column"),
        pytest.param([4, 3], 4, 3, id="list of row and column"),
        pytest.param((0, np.int64(2)), 0, 2, id="NumPy column"),
        pytest.param((jnp.array(2), 0), 2, 0, id="JAX row"),
        pytest.param(13, 3, 1, id="counted along the rows"),
        pytest.param(jnp.array(19), 4, 3, id="counted along the rows, JAX"),
        pytest.param(None, 2, 2, id="centre"),
    ],
)
def test_neuron_is_the_mean_over_pictures_and_channels_at_one_position(position, row, column, index, batch):
    value = neuron("conv", index, position, batch=batch)(ACTIVATIONS)
    close(value, mean_over(NUMPY["conv"], batch, row, column, index))


def test_centre_of_an_even_side_is_the_lower_right_of_the_four_in_the_middle():
    close(neuron("even.0.conv", 2)(ACTIVATIONS), mean_over(NUMPY["even.0.conv"], None, 2, 3, 2))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", SHAPES)
def test_layer_is_the_mean_over_all_it_has(name, batch):
    rest = [None] * (len(SHAPES[name]) - 1)
    close(layer(name, batch=batch)(ACTIVATIONS), mean_over(NUMPY[name], batch, *rest))


ONE_OF_EACH = [
    pytest.param(channel("conv", 3), id="channel"),
    pytest.param(channel("dense", [1, 4], batch=[0, 2]), id="channels of a rank 2 layer"),
    pytest.param(neuron("conv", 3, (3, 1), batch=1), id="neuron"),
    pytest.param(neuron("conv", [0, 6], 7), id="neuron by number"),
    pytest.param(neuron("even.0.conv", 2), id="central neuron"),
    pytest.param(layer("conv"), id="layer"),
    pytest.param(layer("dense", batch=0), id="layer of one picture"),
    pytest.param(channel("conv", 1, batch=0) - channel("conv", 1, batch=1), id="difference"),
    pytest.param(2 - channel("conv", 1) * layer("dense") / 3 + neuron("conv", 1) ** 2, id="formula"),
    pytest.param(objective(lambda a, k: (k * a["conv"] ** 2).mean(), 0.5), id="function"),
]


@pytest.mark.parametrize("objective", ONE_OF_EACH)
def test_gradient_agrees_with_finite_differences(objective):
    with jax.enable_x64(True):
        activations = {name: jnp.asarray(x) for name, x in NUMPY.items()}
        check_grads(objective, (activations,), order=1, modes=["rev"], atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("objective", ONE_OF_EACH)
def test_a_traced_objective_has_the_value_of_a_known_one(objective):
    traced = jax.jit(lambda objective, activations: objective(activations))
    np.testing.assert_allclose(traced(objective, ACTIVATIONS), objective(ACTIVATIONS), rtol=1e-5, atol=1e-6)


@jax.jit
def traced_channel(index, batch):
    return channel("conv", index, batch=batch)(ACTIVATIONS)


@jax.jit
def traced_neuron(index, row, column):
    return neuron("conv", index, (row, column))(ACTIVATIONS)


@jax.jit
def traced_position(position):
    return neuron("conv", 0, position)(ACTIVATIONS)


def test_indices_may_be_traced():
    for index, batch in ((0, 2), (6, 0)):
        close(traced_channel(index, batch), mean_over(NUMPY["conv"], batch, None, None, index))
    for index, row, column in ((0, 4, 3), (6, 0, 0)):
        close(traced_neuron(index, row, column), mean_over(NUMPY["conv"], None, row, column, index))
    for position in (0, 19):
        close(traced_position(position), mean_over(NUMPY["conv"], None, position // 4, position % 4, 0))


@pytest.mark.parametrize("beyond", ["next", "far", "minus one", "far below"])
@pytest.mark.parametrize(
    ("value", "size"),
    [
        pytest.param(lambda i: traced_channel(i, 0), 7, id="channel"),
        pytest.param(lambda i: traced_channel(0, i), 3, id="batch"),
        pytest.param(lambda i: traced_neuron(i, 0, 0), 7, id="channel of a neuron"),
        pytest.param(lambda i: traced_neuron(0, i, 0), 5, id="row"),
        pytest.param(lambda i: traced_neuron(0, 0, i), 4, id="column"),
        pytest.param(lambda i: traced_position(i), 20, id="position"),
    ],
)
def test_a_traced_index_out_of_range_gives_nan_and_no_neighbour(value, size, beyond):
    index = {"next": size, "far": 1000, "minus one": -1, "far below": -1000}[beyond]
    assert np.isfinite(value(size - 1))
    assert np.isnan(value(index))


BATCHES_OF_OBJECTIVES = [
    pytest.param(channel("conv", jnp.arange(7)), lambda i: channel("conv", i), 7, id="channels"),
    pytest.param(
        channel("conv", jnp.arange(6).reshape(3, 2)), lambda i: channel("conv", [2 * i, 2 * i + 1]), 3, id="pairs"
    ),
    pytest.param(
        neuron("conv", 2, (jnp.arange(4), jnp.arange(4)[::-1])),
        lambda i: neuron("conv", 2, (i, 3 - i)),
        4,
        id="neurons",
    ),
    pytest.param(layer("dense", batch=jnp.arange(3)), lambda i: layer("dense", batch=i), 3, id="pictures"),
    pytest.param(
        channel("conv", jnp.arange(5)) - jnp.linspace(0, 1, 5) * channel("dense", 2),
        lambda i: channel("conv", i) - i / 4 * channel("dense", 2),
        5,
        id="channels and weights, some shared",
    ),
]


@pytest.mark.parametrize(("objectives", "single", "count"), BATCHES_OF_OBJECTIVES)
def test_vmap_over_the_leaves_of_an_objective_is_a_loop_over_objectives(objectives, single, count):
    axes = jax.tree.map(lambda leaf: 0 if np.ndim(leaf) else None, objectives)
    values = jax.vmap(lambda objective: objective(ACTIVATIONS), in_axes=(axes,))(objectives)
    expected = [single(i)(ACTIVATIONS) for i in range(count)]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def counted():
    """A jitted evaluation, and a list that grows by one with each compilation."""
    traces = []

    @jax.jit
    def value(objective, activations):
        traces.append(objective)
        return objective(activations)

    return value, traces


@pytest.mark.parametrize(
    "objectives",
    [
        pytest.param([channel("conv", i) for i in range(7)], id="channels"),
        pytest.param([channel("conv", indices) for indices in ([0, 1], [6, 2], (3, 3))], id="lists of equal length"),
        pytest.param([neuron("conv", i, (i, 0), batch=i) for i in range(3)], id="neurons"),
        pytest.param([neuron("conv", 1, i) for i in range(20)], id="positions"),
        pytest.param([w * layer("conv") - channel("dense", i) for w, i in ((0.5, 1), (-3.0, 2))], id="weights"),
        pytest.param([parse(f"conv:{i} - 0.5*dense:{i}") for i in range(6)], id="strings"),
    ],
)
def test_objectives_that_differ_in_numbers_alone_share_one_trace(objectives):
    value, traces = counted()
    found = [float(value(o, ACTIVATIONS)) for o in objectives]
    assert len(traces) == 1
    np.testing.assert_allclose(found, [o(ACTIVATIONS) for o in objectives], rtol=1e-5, atol=1e-6)


def test_objectives_of_different_layers_or_kinds_are_traced_each():
    value, traces = counted()
    for o in (channel("conv", 1), channel("dense", 1), neuron("conv", 1), -channel("conv", 1)):
        value(o, ACTIVATIONS)
    assert len(traces) == 4


def test_a_function_with_new_leaves_is_not_traced_again():
    calls = []

    def contrast(activations, weight, channels):
        calls.append(weight)
        return weight * activations["conv"][..., channels].std()

    value, _ = counted()
    for weight, channels in ((1.0, [0, 1]), (2.5, [4, 6])):
        found = value(objective(contrast, weight, np.array(channels)), ACTIVATIONS)
        np.testing.assert_allclose(found, weight * NUMPY["conv"][..., channels].std(), rtol=1e-5)
    assert len(calls) == 1


# Every objective, by a formula written out in NumPy.

RNG = np.random.default_rng(7)
EVERY = {
    **{name: x + 0.2 for name, x in NUMPY.items()},
    "input": RNG.uniform(size=(3, 8, 7, 4)),  # with opacity
    "logits": RNG.standard_normal((3, 5)),
}
VECTOR, CENTRED, TALL = (RNG.standard_normal(shape) for shape in ((7,), (3, 2), (7, 4)))
TARGET, LARGE = RNG.standard_normal((5, 4, 7)), RNG.standard_normal((3, 8, 6, 7))
PHOTO = RNG.uniform(size=(8, 7, 3))


def crop(x, height, width):
    """The middle of `[..., h, w, C]`."""
    top, left = (x.shape[-3] - height) // 2, (x.shape[-2] - width) // 2
    return x[..., top : top + height, left : left + width, :]


def pull(pairs, power=0.0, cosine=False, epsilon=1e-4):
    """Mean over pairs of vectors of what `direction` says."""
    values = []
    for a, b in pairs:
        dot = sum(a * b)
        angle = dot / (epsilon + np.sqrt(sum(a**2))) / (epsilon + np.sqrt(sum(b**2)))
        values.append((angle if cosine else dot) * max(0.1, angle) ** power)
    return np.mean(values)


def positions(x):
    return x.reshape(-1, x.shape[-1])


def blurred(x, width):
    """Each pixel of `[H, W, C]` as the weighted mean of those around it."""
    reach, out = width // 2, np.zeros_like(x)
    for row, column in np.ndindex(x.shape[:2]):
        weights, total = 0.0, np.zeros(x.shape[2])
        for y in range(max(0, row - reach), min(len(x), row + reach + 1)):
            for z in range(max(0, column - reach), min(x.shape[1], column + reach + 1)):
                weight = 0.5 if max(abs(y - row), abs(z - column)) == reach else 1.0
                weights, total = weights + weight, total + weight * x[y, z]
        out[row, column] = total / weights
    return out


def from_blur(x):
    return np.mean([((picture - blurred(picture, 3)) ** 2).sum() / 2 for picture in x])


def border(x, width, constant):
    total = 0.0
    for picture in x:
        detail = (picture - blurred(picture, 5)) ** 2 + 0.8 * (picture - constant) ** 2
        detail[width : len(picture) - width, width : picture.shape[1] - width] = 0
        total += detail.sum()
    return total / len(x)


def gram(x):
    return np.mean([np.outer(row, row) for row in positions(x)], axis=0)


def likeness(x):
    grams = [gram(picture) / np.linalg.norm(gram(picture)) for picture in x]
    return sum((a * b).sum() for i, a in enumerate(grams) for j, b in enumerate(grams) if i != j) / len(x)


def drift(x, ratio):
    pairs = [(i, j) for i in range(len(x)) for j in range(i + 1, len(x)) if j - i <= 4]
    return -sum(((x[i] - x[j]) ** 2).mean() / ratio ** (j - i) for i, j in pairs)


def variation(x):
    return np.mean([sum(np.abs(np.diff(picture, axis=axis)).sum() for axis in (0, 1)) for picture in x])


def largest_and_smallest(x):
    return x.max() - x.min()


o = lightjax.objectives
CONV, DENSE, LOGITS, RGB, OPACITY = (
    EVERY["conv"],
    EVERY["dense"],
    EVERY["logits"],
    EVERY["input"][..., :3],
    EVERY["input"][..., 3:],
)
CASES = {
    "window of a channel": (
        o.channel("conv", 2, rows=range(1, 4), columns=[0, 3]),
        CONV[:, 1:4][:, :, [0, 3], 2].mean(),
    ),
    "sum of channels": (
        o.channel("conv", [2, 5], reduce="sum", batch=[0, 2]),
        CONV[[0, 2]][..., [2, 5]].sum((1, 2, 3)).mean(),
    ),
    "norm of a channel": (o.channel("conv", 2, reduce="norm"), np.mean([np.linalg.norm(x) for x in CONV[..., 2]])),
    "row of a layer": (o.layer("conv", rows=2), CONV[:, 2].mean()),
    "norm of a layer": (o.layer("dense", reduce="norm"), np.linalg.norm(DENSE, axis=1).mean()),
    "largest of a layer": (o.layer("conv", reduce="max", batch=1), CONV[1].max()),
    "smallest of a layer": (o.layer("dense", reduce="min"), DENSE.min(1).mean()),
    "mean size of a layer": (o.layer("dense", reduce="mean_abs"), np.abs(DENSE).mean()),
    "function of a layer": (
        o.layer("conv", reduce=largest_and_smallest),
        np.mean([x.max() - x.min() for x in CONV]),
    ),
    "deepdream": (o.deepdream("conv", batch=[0, 2]), (CONV[[0, 2]] ** 2).mean()),
    "class": (o.class_logit(3, layer="logits"), LOGITS[:, 3].mean()),
    "classes of one picture": (o.class_logit([3, 1], layer="logits", batch=1), LOGITS[1, [3, 1]].mean()),
    "channel weights": (o.channel_weight("conv", VECTOR), np.mean([VECTOR * row for row in positions(CONV)])),
    "channel weights in a window": (
        o.channel_weight("conv", VECTOR, rows=[1, 2], columns=3, batch=0),
        (CONV[0, 1:3, 3] * VECTOR).mean(),
    ),
    "neuron weights": (o.neuron_weight("conv", VECTOR, (1, 3)), (CONV[:, 1, 3] * VECTOR).mean()),
    "spatial weights": (
        o.spatial_weight("conv", [2, 5], TARGET[..., 0]),
        (CONV[..., [2, 5]] * TARGET[..., :1]).mean(),
    ),
    "direction": (o.direction("conv", VECTOR), pull((a, VECTOR) for a in positions(CONV))),
    "direction and angle": (
        o.direction("conv", VECTOR, power=2.5, batch=1),
        pull(((a, VECTOR) for a in positions(CONV[1])), 2.5),
    ),
    "pure cosine": (
        o.direction("conv", VECTOR, similarity="cosine"),
        pull(((a, VECTOR) for a in positions(CONV)), cosine=True),
    ),
    "direction without positions": (o.direction("dense", VECTOR[:6]), pull((a, VECTOR[:6]) for a in DENSE)),
    "direction in the centre": (
        o.direction_neuron("conv", VECTOR, power=4),
        pull(((a, VECTOR) for a in CONV[:, 2, 2]), 4),
    ),
    "cosine at a position": (
        o.direction_neuron("conv", VECTOR, 7, similarity="cosine", batch=[2, 0]),
        pull(((a, VECTOR) for a in CONV[[2, 0], 1, 3]), cosine=True),
    ),
    "direction in a channel": (
        o.direction_channel("conv", 4, TARGET[..., 1], power=1),
        pull(((a, TARGET[..., 1].ravel()) for a in CONV[..., 4].reshape(3, -1)), 1),
    ),
    "smaller pattern in two channels": (
        o.direction_channel("conv", [4, 0], CENTRED, similarity="cosine"),
        pull(
            ((crop(CONV, 3, 2)[n, ..., c].ravel(), CENTRED.ravel()) for n in range(3) for c in (4, 0)),
            cosine=True,
        ),
    ),
    "tensor direction": (
        o.tensor_direction("conv", TARGET, power=1),
        pull(zip(positions(CONV), np.tile(positions(TARGET), (3, 1)), strict=True), 1),
    ),
    "smaller tensor direction": (
        o.tensor_direction("conv", TARGET[:2, :2], batch=1),
        pull(zip(positions(crop(CONV[1], 2, 2)), positions(TARGET[:2, :2]), strict=True)),
    ),
    "caricature": (
        o.caricature("conv", TARGET, power=2),
        pull(((a.ravel(), TARGET.ravel()) for a in CONV), 2, epsilon=1e-6),
    ),
    "caricatures of larger pictures": (
        o.caricature("conv", LARGE),
        pull((a.ravel(), b.ravel()) for a, b in zip(CONV, crop(LARGE, 5, 4), strict=True)),
    ),
    "activation difference": (o.activation_difference("conv", TARGET), np.abs(CONV - TARGET).mean()),
    "square of the difference": (
        o.activation_difference("conv", LARGE[:1], reduce="mean_square", batch=[0, 1]),
        ((CONV[:2] - crop(LARGE[:1], 5, 4)) ** 2).mean(),
    ),
    "norm of the difference": (
        o.activation_difference("dense", VECTOR[:6], reduce="norm"),
        np.linalg.norm(DENSE - VECTOR[:6], axis=1).mean(),
    ),
    "style": (o.style("conv", gram(TARGET)), np.mean([np.abs(gram(x) - gram(TARGET)).mean() for x in CONV])),
    "style of activations": (
        o.style("conv", LARGE, reduce="mean_square", batch=2),
        ((gram(CONV[2]) - gram(LARGE)) ** 2).mean(),
    ),
    "diversity": (o.diversity("conv"), likeness(CONV)),
    "diversity of two": (o.diversity("conv", batch=[2, 0]), likeness(CONV[[2, 0]])),
    "alignment": (o.alignment("conv"), drift(CONV, 2)),
    "alignment in an order": (o.alignment("dense", decay_ratio=3, batch=[2, 0, 1]), drift(DENSE[[2, 0, 1]], 3)),
    "interpolation": (
        o.channel_interpolate("conv", 3, "dense", [1, 2]),
        CONV[0, ..., 3].mean() + (CONV[1, ..., 3].mean() + DENSE[1, 1:3].mean()) / 2 + DENSE[2, 1:3].mean(),
    ),
    "interpolation over two": (
        o.channel_interpolate("conv", 3, "conv", 4, batch=[2, 1]),
        CONV[2, ..., 3].mean() + CONV[1, ..., 4].mean(),
    ),
    "input difference": (o.input_diff(PHOTO), np.mean([np.sqrt(((x - PHOTO) ** 2).mean()) for x in RGB])),
    "input differences": (
        o.input_diff(EVERY["input"][[1, 2, 0]]),
        np.mean([np.sqrt(((x - y) ** 2).mean()) for x, y in zip(RGB, RGB[[1, 2, 0]], strict=True)]),
    ),
    "l1": (o.l1(constant=0.5), np.abs(RGB - 0.5).sum() / 3),
    "l1 of a layer": (o.l1("dense", batch=0), np.abs(DENSE[0]).sum()),
    "l2": (o.l2(constant=0.3), np.mean([np.sqrt(1e-6 + ((x - 0.3) ** 2).sum()) for x in RGB])),
    "total variation": (o.total_variation(), variation(RGB)),
    "total variation of a layer": (o.total_variation("conv", batch=1), variation(CONV[1:2])),
    "blur input": (o.blur_input_each_step(batch=[0, 2]), from_blur(RGB[[0, 2]])),
    "blur alpha": (o.blur_alpha_each_step(), from_blur(OPACITY)),
    "mean alpha": (o.mean_alpha(batch=1), OPACITY[1].mean()),
    "border": (o.boundary_complexity(width=2), border(RGB, 2, 0.5)),
    "border of alpha": (o.boundary_complexity(width=1, constant=0, alpha=True, batch=0), border(OPACITY[:1], 1, 0)),
}
TABLE = [pytest.param(made, value, id=name) for name, (made, value) in CASES.items()]
MADE = [pytest.param(made, id=name) for name, (made, _) in CASES.items()]
SINGLE = {name: jnp.asarray(x, jnp.float32) for name, x in EVERY.items()}


def name_of(objective):
    return PRIMITIVES[objective.fn].constructor.__name__


def test_the_table_has_every_objective():
    covered = {name_of(made) for made, _ in CASES.values()} | {"neuron"}  # which has tests of its own above
    assert covered == {one.constructor.__name__ for one in PRIMITIVES.values()}
    assert covered <= set(lightjax.__all__)


@pytest.mark.parametrize(("objective", "expected"), TABLE)
def test_value_is_that_of_the_formula(objective, expected):
    with jax.enable_x64(True):
        np.testing.assert_allclose(objective({n: jnp.asarray(x) for n, x in EVERY.items()}), expected, rtol=1e-9)


@pytest.mark.parametrize("objective", MADE)
def test_gradient_of_every_objective_agrees_with_finite_differences(objective):
    if name_of(objective).startswith("blur_"):
        pytest.skip("their gradient is not that of their value: see the next test")
    with jax.enable_x64(True):
        activations = {name: jnp.asarray(x) for name, x in EVERY.items()}
        read = {*objective.layers} or {"input"}
        others = {name: x for name, x in activations.items() if name not in read}
        value = jax.jit(lambda x: objective(others | x))
        check_grads(value, ({n: activations[n] for n in read},), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("objective", "planes"), [(o.blur_input_each_step(), slice(0, 3)), (o.blur_alpha_each_step(), slice(3, 4))]
)
def test_a_step_against_the_blur_blurs(objective, planes):
    pictures = EVERY["input"]
    moved = pictures - 3 * 0.4 * jax.grad(objective)(SINGLE)["input"]  # the mean over 3 pictures
    expected = pictures.copy()
    expected[..., planes] = 0.6 * pictures[..., planes] + 0.4 * np.stack([blurred(x, 3) for x in pictures[..., planes]])
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def variants(objective):
    """Three objectives of one structure: other numbers, other indices."""

    def vary(leaf, i):
        if np.issubdtype(np.asarray(leaf).dtype, np.integer):
            return np.maximum(np.asarray(leaf) - i, 0)
        return np.asarray(leaf) * (1, 0.5, 1.5)[i]

    return [jax.tree.map(lambda leaf, i=i: vary(leaf, i), objective) for i in range(3)]


@pytest.mark.parametrize("objective", MADE)
def test_every_objective_under_jit_vmap_and_arithmetic(objective):
    """One trace for all numbers, a batch of objectives by vmap, and a term like any other."""
    several = variants(objective)
    expected = np.array([one(SINGLE) for one in several])
    value, traces = counted()
    found = [value(one, SINGLE) for one in several]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    assert len(traces) == 1
    if jax.tree.leaves(objective):
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *several)
        found = jax.vmap(lambda one: one(SINGLE))(stacked)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    term = 2 - channel("dense", 1) * objective / 4
    np.testing.assert_allclose(term(SINGLE), 2 - EVERY["dense"][:, 1].mean() * expected[0] / 4, rtol=2e-5, atol=1e-6)
    check(term, {name: jax.ShapeDtypeStruct(x.shape, jnp.float32) for name, x in EVERY.items()})


@pytest.mark.parametrize("objective", MADE)
def test_string_of_every_objective_reads_back_or_is_refused(objective):
    arrays = [leaf for leaf in objective.leaves if np.ndim(leaf) and np.asarray(leaf).dtype.kind == "f"]
    text = str(-objective * 2)
    if any(leaf.size > 16 for leaf in arrays) or any(callable(option) for option in objective.options):
        with pytest.raises(ValueError, match=r"<\[.* array>|<largest_and_smallest>") as error:
            parse(text)
        assert "stands for an array or a function that is not written out" in str(error.value)
    else:
        np.testing.assert_array_equal(parse(text)(SINGLE), (-objective * 2)(SINGLE))
        assert str(parse(text)) == text


def test_strings_say_what_was_given_and_leave_out_the_defaults():
    made = o.direction("conv", VECTOR[:2], power=2) - o.channel("conv", 1, rows=range(2), reduce="norm", batch=0)
    assert str(made) == (
        f"direction('conv', {VECTOR[:2].tolist()}, power=2) - channel('conv', 1, rows=[0, 1], reduce='norm', batch=0)"
    )
    assert str(o.direction_neuron("conv", TARGET[0, :3], (1, 2))) == "direction_neuron('conv', <[3, 7] array>, (1, 2))"
    assert str(2 * objective(largest_and_smallest)) == "2 * objective(<largest_and_smallest>)"
    assert str(o.class_logit("jack-o'-lantern")) == 'class_logit("jack-o\'-lantern")'


def test_objectives_may_be_built_from_traced_arrays():
    vectors = RNG.standard_normal((4, 7))
    batch = jax.vmap(lambda v, p: o.direction("conv", v, power=p) - 0.5 * o.l1())(vectors, jnp.arange(4.0))
    found = jax.vmap(lambda one: one(SINGLE))(batch)
    expected = [(o.direction("conv", v, power=p) - 0.5 * o.l1())(SINGLE) for p, v in enumerate(vectors)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gradients_are_finite_where_roots_and_norms_are_zero():
    zeros = {name: jnp.zeros(x.shape) for name, x in EVERY.items()}
    for made in (
        o.input_diff(np.zeros((8, 7, 3))),
        o.l2(),
        o.layer("conv", reduce="norm"),
        o.direction("conv", VECTOR, power=2, similarity="cosine"),
        o.caricature("conv", TARGET, power=2),
        o.diversity("conv"),
        o.activation_difference("conv", 0 * TARGET, reduce="norm"),
    ):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.grad(made)(zeros))), made


def test_likeness_is_highest_for_equal_pictures_and_diversity_is_won_by_subtracting_it():
    same = {"conv": jnp.repeat(SINGLE["conv"][:1], 3, axis=0)}
    np.testing.assert_allclose(o.diversity("conv")(same), 2, rtol=1e-5)  # N - 1
    assert o.diversity("conv")(SINGLE) < 2
    np.testing.assert_allclose(o.alignment("conv")(same), 0, atol=1e-6)


def test_penalties_are_zero_at_best_and_positive_elsewhere():
    flat = {"input": jnp.full((1, 30, 50, 3), 0.5)}
    for penalty in (
        o.l1(constant=0.5),
        o.total_variation(),
        o.blur_input_each_step(),
        o.boundary_complexity(),
        o.input_diff(np.full((30, 50, 3), 0.5)),
    ):
        np.testing.assert_allclose(penalty(flat), 0, atol=1e-6)
        assert penalty({"input": flat["input"].at[0, 1, 1, 0].set(1)}) > 0.001


# Class names.


class Labelled:
    """A model that names its classes."""

    class_names = ("", "tabby, tabby cat", "crane, bird", "golden retriever", "crane, hoist")


def test_a_class_is_found_by_any_of_its_names_in_any_case():
    for name in ("tabby", "Tabby Cat", " tabby_cat", "tabby, tabby cat"):
        found = resolve(2 * class_logit(name, layer="logits") - l1(), Labelled())
        assert str(found) == "2 * class_logit(1, layer='logits') - l1()"
    assert str(resolve(class_logit("crane, hoist"), Labelled())) == "class_logit(4)"
    untouched = channel("conv", 1) - class_logit([3, 1])
    assert str(resolve(untouched, Labelled())) == str(untouched)
    assert str(resolve(untouched, object())) == str(untouched)
    inside = resolve(objective(lambda a, term: term(a), class_logit("golden retriever", layer="logits")), Labelled())
    np.testing.assert_allclose(inside(SINGLE), LOGITS[:, 3].mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("crane", "several classes are called 'crane'; give an index: 2 (crane, bird) or 4 (crane, hoist)"),
        ("golden retreiver", "no class is called 'golden retreiver'; did you mean 'golden retriever'?"),
        ("retriever", "did you mean 'golden retriever'?"),
        ("xyzzy", "no class is called 'xyzzy'; see the model's class_names"),
        (0, "logit 0 of this model stands for no class"),
        ([3, 0], "logit 0 of this model stands for no class"),
    ],
)
def test_a_class_that_cannot_be_told_is_refused(label, words):
    with pytest.raises(ValueError, match=r"class") as error:
        resolve(1 - class_logit(label), Labelled())
    assert words in str(error.value)


def test_names_need_a_model_that_has_them():
    with pytest.raises(ValueError, match="this model does not name its classes, so 'tabby' cannot be looked up"):
        resolve(class_logit("tabby"), object())
    with pytest.raises(ValueError, match=r"class 'tabby' is known by its name alone: objectives.resolve"):
        check(class_logit("tabby", layer="dense"), STRUCTURE)


def test_the_table_of_classes_is_that_of_the_published_networks(shared):
    synsets = [line.split(" ", 1) for line in (shared / "weights" / "synset_words.txt").read_text().splitlines()]
    bvlc, inception5h = labels.imagenet("bvlc_googlenet"), labels.imagenet("inception5h")
    assert bvlc == tuple(names for _, names in synsets)
    assert inception5h == labels.imagenet("inception5h_torchlight")
    assert len(inception5h) == 1008
    assert [i for i, names in enumerate(inception5h) if not names] == [0, *range(1001, 1008)]
    rows = [line.split("\t") for line in (shared / "weights" / "inception5h_classes.tsv").read_text().splitlines()]
    of_synset = dict(synsets)
    for index, synset, name in rows[1:]:
        assert inception5h[int(index)] == of_synset[synset]
        assert name in inception5h[int(index)].split(", ")
    assert labels.imagenet("own") == ()


def test_every_class_has_a_name_that_tells_it_or_shares_them_all():
    names = labels.imagenet("bvlc_googlenet")
    for index, name in enumerate(names):
        if name == "crane":  # a bird and a machine
            with pytest.raises(
                ValueError, match=r"several classes are called 'crane'.* 134 \(crane\) or 517 \(crane\)"
            ):
                labels.class_index(name, names)
        else:
            assert labels.class_index(name.upper(), names) == index
    assert names[labels.class_index("harp", names)] == "harp"


# Arithmetic.

A, B = channel("conv", 1), neuron("conv", 2, (1, 1))
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]
NUMBERS = [
    pytest.param(3, id="int"),
    pytest.param(-0.75, id="float"),
    pytest.param(np.float32(1.5), id="np.float32"),
    pytest.param(np.float64(0.25), id="np.float64"),
    pytest.param(np.int64(2), id="np.int64"),
    pytest.param(np.array(1.5, np.float32), id="NumPy array"),
    pytest.param(jnp.float32(2.5), id="JAX number"),
    pytest.param(jnp.array(2), id="JAX array"),
]


def value_of(term):
    return term(ACTIVATIONS) if isinstance(term, Objective) else term


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("operation", BINARY, ids=lambda op: op.__name__)
@pytest.mark.parametrize("side", ["objective first", "number first"])
def test_arithmetic_with_a_number_is_arithmetic_on_values(operation, number, side):
    terms = (A, number) if side == "objective first" else (number, A)
    result = operation(*terms)
    assert isinstance(result, Objective)
    np.testing.assert_allclose(result(ACTIVATIONS), operation(*map(value_of, terms)), rtol=1e-6)


@pytest.mark.parametrize("exponent", [2, -1, 3.0, np.float32(2), jnp.array(2)], ids=["2", "-1", "3.0", "NumPy", "JAX"])
def test_power_of_an_objective_is_the_power_of_its_value(exponent):
    np.testing.assert_allclose((A**exponent)(ACTIVATIONS), A(ACTIVATIONS) ** exponent, rtol=1e-6)


@pytest.mark.parametrize("base", [2, 0.5, np.float32(1.5), jnp.array(3.0)], ids=["2", "0.5", "NumPy", "JAX"])
def test_power_of_a_number_is_the_power_of_the_number(base):
    np.testing.assert_allclose((base**A)(ACTIVATIONS), base ** A(ACTIVATIONS), rtol=1e-6)


@pytest.mark.parametrize("operation", [*BINARY, lambda a, b: (a * a) ** b], ids=["add", "sub", "mul", "div", "pow"])
def test_arithmetic_of_objectives_is_arithmetic_on_values(operation):
    np.testing.assert_allclose(operation(A, B)(ACTIVATIONS), operation(A(ACTIVATIONS), B(ACTIVATIONS)), rtol=1e-6)


def test_negation_and_sum_are_those_of_the_values():
    a, b = A(ACTIVATIONS), B(ACTIVATIONS)
    np.testing.assert_allclose((-A)(ACTIVATIONS), -a)
    np.testing.assert_allclose(sum([A, B, A])(ACTIVATIONS), a + b + a, rtol=1e-6)
    np.testing.assert_allclose(sum([A, B], start=-B)(ACTIVATIONS), a, rtol=1e-5)


@pytest.mark.parametrize("other", ["conv:3", None, True, 1j, [1.0], {}], ids=repr)
@pytest.mark.parametrize("operation", [*BINARY, operator.pow], ids=lambda op: op.__name__)
def test_arithmetic_with_anything_else_is_a_type_error(operation, other):
    with pytest.raises(TypeError, match=r"unsupported operand|can only concatenate|can't multiply"):
        operation(A, other)


terms = st.one_of(
    st.builds(channel, st.just("conv"), st.integers(0, 6), batch=st.sampled_from([None, 0, 2])),
    st.builds(channel, st.just("dense"), st.lists(st.integers(0, 5), min_size=1, max_size=3)),
    st.builds(neuron, st.just("conv"), st.integers(0, 6), st.sampled_from([None, 7, (4, 3)])),
    st.builds(layer, st.sampled_from(sorted(SHAPES))),
)
numbers = st.one_of(
    st.integers(-4, 4),
    st.floats(-4, 4, width=32),
    st.floats(-4, 4, width=32).map(np.float32),
    st.sampled_from([jnp.float32(0.3), jnp.float32(-1.7)]),
)
arithmetic = st.sampled_from(BINARY)


def grow(trees):
    """Larger expressions; at least one side of each operation holds an objective."""
    return st.one_of(
        st.tuples(arithmetic, trees, trees),
        st.tuples(arithmetic, trees, numbers),
        st.tuples(arithmetic, numbers, trees),
        st.tuples(st.just(operator.pow), trees, st.one_of(trees, st.sampled_from([2, 3, -1, 0.5]))),
        st.tuples(st.just(operator.neg), trees),
    )


def build(tree, leaf):
    if not isinstance(tree, tuple):
        return leaf(tree)
    operation, *operands = tree
    return operation(*(build(operand, leaf) for operand in operands))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(tree=st.recursive(terms, grow, max_leaves=8))
def test_any_expression_has_the_value_of_its_formula_and_its_string_reads_back(tree):
    combined = build(tree, lambda leaf: leaf)
    expected = build(tree, value_of)
    np.testing.assert_array_equal(combined(ACTIVATIONS), expected)
    np.testing.assert_array_equal(parse(str(combined))(ACTIVATIONS), expected)


# The string form.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("conv", layer("conv")),
        ("even.0.conv", layer("even.0.conv")),
        ("conv:3", channel("conv", 3)),
        ("even.0.conv:3", channel("even.0.conv", 3)),
        ("conv:0,6,2", channel("conv", [0, 6, 2])),
        ("conv:2-5", channel("conv", [2, 3, 4, 5])),
        ("conv:4-4", channel("conv", [4])),
        ("conv:3:13", neuron("conv", 3, 13)),
        ("conv:0,6:13", neuron("conv", [0, 6], 13)),
        ("even.0.conv:1-3:0", neuron("even.0.conv", [1, 2, 3], 0)),
        ("conv:1 - 0.5*dense:3", channel("conv", 1) - 0.5 * channel("dense", 3)),
        ("conv:1+dense:3", channel("conv", 1) + channel("dense", 3)),
        ("even.0.conv:3:4 - 2", neuron("even.0.conv", 3, 4) - 2),
        ("-conv:1 / (2 - dense:2)", -channel("conv", 1) / (2 - channel("dense", 2))),
        ("(conv:1 + 1)**2 * 1e-1", (channel("conv", 1) + 1) ** 2 * 0.1),
        ("2 * conv - dense", 2 * layer("conv") - layer("dense")),
        ("conv:1-3 - conv:4,5", channel("conv", [1, 2, 3]) - channel("conv", [4, 5])),
        (
            "channel('conv', 1, batch=0) - channel('conv', 1, batch=1)",
            channel("conv", 1, batch=0) - channel("conv", 1, batch=1),
        ),
        ("neuron('conv', [1, 2], (3, 1))", neuron("conv", [1, 2], (3, 1))),
        ('layer("dense", batch=[0, 2])', layer("dense", batch=[0, 2])),
        ("channel('even.0.conv', index=3) + dense:1", channel("even.0.conv", 3) + channel("dense", 1)),
    ],
)
def test_a_string_reads_as_the_objective_it_spells(text, expected):
    found = parse(text)
    assert str(found) == str(expected)
    np.testing.assert_array_equal(found(ACTIVATIONS), expected(ACTIVATIONS))


@pytest.mark.parametrize("text", ["conv", "conv:3", "even.0.conv", "even.0.conv:3"])
def test_space_around_a_string_does_not_matter(text):
    assert str(parse(f"  {text} ")) == str(parse(text))


NO_OBJECTIVE = [
    ("", "cannot read the objective ''"),
    ("3", "it names no layer"),
    ("2 * 3", "it names no layer"),
    ("'conv'", "it names no layer"),
    ("conv:", "cannot read"),
    ("conv:3:", "cannot read"),
    ("conv: 3", "cannot read"),
    ("conv :3", "cannot read"),
    (":3", "cannot read"),
    ("conv dense", "cannot read"),
    ("conv:3:4:5", "cannot read"),
    ("conv:3 +", "cannot read"),
    ("(conv:3", "cannot read"),
    ("conv:3\ndense:3", "cannot read"),
    ("\0", "cannot read"),
    ("(" * 300 + "conv:3", "cannot read"),
    ("conv:x", "'x' is no channel of 'conv'"),
    ("conv:-1", "'-1' is no channel of 'conv'"),
    ("conv:1.5", "'1.5' is no channel of 'conv'"),
    ("conv:3,", "'3,' is no channel of 'conv'"),
    ("conv:1,,2", "'1,,2' is no channel of 'conv'"),
    ("conv:1-3,5", "'1-3,5' is no channel of 'conv'"),
    ("conv:1-2-3", "'1-2-3' is no channel of 'conv'"),
    ("even.0.conv:x", "'x' is no channel of 'even.0.conv'"),
    ("conv:9-2", "the range '9-2' runs backwards; write 2-9"),
    ("conv:3:x", "'x' is no position in 'conv'"),
    ("conv:3:1,2", "'1,2' is no position in 'conv'"),
    ("conv:3:-1", "'-1' is no position in 'conv'"),
    ("conv:99999999999999999999", "a channel is a whole number"),
    ("conv:3 % 2", "is not understood"),
    ("conv:3 // 2", "is not understood"),
    ("conv:3 @ dense:3", "is not understood"),
    ("conv:3 > 2", "is not understood"),
    ("conv:3 and dense:3", "is not understood"),
    ("conv:3 if 1 else dense:3", "is not understood"),
    ("lambda: 0", "is not understood"),
    ("[conv for conv in 'x']", "is not understood"),
    ("(x := 3) * conv", "is not understood"),
    ("f'{1}' * conv", "is not understood"),
    ("conv + conv.mean", "is not understood"),
    ("conv + conv[0]", "is not understood"),
    ("sum([conv, dense])", "is not understood"),
    ("objective(conv)", "is not understood"),
    ("conv:3 + 'x'", "unsupported operand"),
    ("conv:3 + None", "unsupported operand"),
    ("True * conv:3", "unsupported operand"),
    ("1j * conv:3", "is not understood"),
    ("(-1) ** 0.5 * conv:3", "not understood"),
    ("1 / 0 * conv:3", "cannot read"),
    ("2.0 ** 10000 * conv:3", "cannot read"),
    ("channel('conv')", "channel(): missing a required argument: 'index'"),
    ("channel(conv, 3)", "a layer is named by a string"),
    ("channel('conv', [])", "a channel is a whole number"),
    ("channel('conv', 1.5)", "a channel is a whole number"),
    ("channel('conv', True)", "a channel is a whole number"),
    ("channel('conv', None)", "a channel is a whole number"),
    ("channel('conv', 3, picture=1)", "unexpected keyword argument 'picture'"),
    ("channel('conv', 3, **{'batch': 1})", "cannot read"),
    ("channel(*['conv', 3])", "is not understood"),
    ("neuron('conv', 1, (1, 2, 3))", "a position is"),
    ("neuron('conv', 1, 'centre')", "a position is"),
]


@pytest.mark.parametrize(("text", "reason"), NO_OBJECTIVE, ids=[repr(text[:40]) for text, _ in NO_OBJECTIVE])
def test_a_malformed_string_is_a_value_error_that_says_why(text, reason):
    with pytest.raises(ValueError, match=r".") as error:
        parse(text)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('pathlib').Path({!r}).touch()",
        "layer(__import__('pathlib').Path({!r}).touch())",
        "conv:3 + open({!r}, 'w')",
        "eval(\"open({!r}, 'w')\")",
        "exec(\"open({!r}, 'w')\") or conv:3",
        "(lambda: open({!r}, 'w'))()",
        "[open({!r}, 'w') for x in [1]]",
        "layer.__globals__['__builtins__']['open']({!r}, 'w')",
    ],
)
def test_a_string_is_never_executed(text, tmp_path):
    path = tmp_path / "touched"
    with pytest.raises(ValueError, match=r"cannot read|is no channel"):
        parse(text.format(str(path)))
    assert not path.exists()


def test_only_a_string_is_parsed():
    with pytest.raises(TypeError, match="is a string such as 'mixed4a:97', not 97"):
        parse(97)


@pytest.mark.parametrize("weight", NUMBERS)
def test_string_of_a_weighted_objective_reads_back(weight):
    weighted = 1 - weight * A / weight
    np.testing.assert_allclose(parse(str(weighted))(ACTIVATIONS), weighted(ACTIVATIONS), rtol=1e-6)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(channel("conv", [1, 2], batch=0), id="channels"),
        pytest.param(neuron("conv", 1, (3, 2), batch=[0, 1]), id="neuron"),
        pytest.param(neuron("conv", 1, 7), id="neuron by number"),
        pytest.param(neuron("conv", 1, batch=1), id="central neuron"),
        pytest.param(layer("conv", batch=[1]), id="layer"),
    ],
)
@pytest.mark.parametrize("convert", [lambda leaf: leaf, jnp.asarray], ids=["as written", "arrays"])
def test_string_of_a_selection_reads_back(written, convert):
    objective = jax.tree.map(convert, written)
    np.testing.assert_array_equal(parse(str(objective))(ACTIVATIONS), written(ACTIVATIONS))


def test_a_string_keeps_the_brackets_that_matter_and_no_others():
    a, b = channel("conv", 1), channel("conv", 2)
    for text in (
        "channel('conv', 1) - 0.5 * channel('conv', 2)",
        "(channel('conv', 1) - 0.5) * channel('conv', 2)",
        "channel('conv', 1) - (channel('conv', 2) - 3)",
        "-channel('conv', 1) ** 2",
        "(-channel('conv', 1)) ** 2",
        "channel('conv', 1) / (2 * channel('conv', 2))",
    ):
        assert str(parse(text)) == text
    assert str(a + b - 3) == "channel('conv', 1) + channel('conv', 2) - 3"


def test_as_objective_takes_objectives_strings_and_functions():
    assert as_objective(A) is A
    assert str(as_objective("conv:1")) == str(channel("conv", 1))
    close(as_objective(lambda a: a["conv"].max())(ACTIVATIONS), NUMPY["conv"].max())


# Errors.


@pytest.mark.parametrize("index", [1.5, [0, 1.5], [], None, "3", True, [None]], ids=repr)
@pytest.mark.parametrize("make", [lambda i: channel("conv", i), lambda i: neuron("conv", i)], ids=["channel", "neuron"])
def test_a_channel_that_is_no_whole_number_is_refused_when_built(make, index):
    with pytest.raises(TypeError, match="a channel is a whole number or a list of them") as error:
        make(index)
    assert repr(index) in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: channel("conv", 1, batch=0.5), "a batch is a whole number", id="batch"),
        pytest.param(lambda: layer("conv", batch=[]), "a batch is a whole number", id="no batch"),
        pytest.param(lambda: neuron("conv", 1, 0.5), "a position is a whole number", id="position"),
        pytest.param(lambda: neuron("conv", 1, (0.5, 1)), "a row is a whole number", id="row"),
        pytest.param(lambda: neuron("conv", 1, (1, "2")), "a column is a whole number", id="column"),
        pytest.param(lambda: channel(97, 1), "a layer is named by a string", id="layer"),
        pytest.param(lambda: channel("", 1), "a layer is named by a string", id="no layer"),
        pytest.param(lambda: objective(97), "made of a function", id="function"),
    ],
)
def test_a_wrong_argument_is_refused_when_built(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("position", [(1,), (1, 2, 3), ()], ids=repr)
def test_a_position_of_other_than_two_numbers_is_refused(position):
    with pytest.raises(ValueError, match=r"a position is \(row, column\)") as error:
        neuron("conv", 1, position)
    assert repr(position) in str(error.value)


@pytest.mark.parametrize("objective", ONE_OF_EACH)
def test_check_lets_a_right_objective_pass(objective):
    check(objective, STRUCTURE)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cnov", "did you mean 'conv'?"),
        ("even.1.conv", "did you mean 'even.0.conv'?"),
        ("mixed4a", "the layers are "),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(layer, id="layer"),
        pytest.param(lambda name: channel(name, 0), id="channel"),
        pytest.param(lambda name: neuron(name, 0), id="neuron"),
        pytest.param(lambda name: 2 * channel("conv", 0) - layer(name), id="formula"),
        pytest.param(lambda name: objective(lambda a: a[name].mean()), id="function"),
    ],
)
def test_check_names_an_unknown_layer_and_the_nearest_one(make, name, hint):
    with pytest.raises(ValueError, match=f"unknown layer '{name}'") as error:
        check(make(name), STRUCTURE)
    assert hint in str(error.value)
    assert "did you mean" in hint or all(known in str(error.value) for known in SHAPES)


@pytest.mark.parametrize("beyond", ["next", "far", "minus one"])
@pytest.mark.parametrize("form", [int, np.int64, jnp.array, lambda i: [0, i]], ids=["int", "NumPy", "JAX", "list"])
@pytest.mark.parametrize(
    ("make", "what", "size"),
    [
        pytest.param(lambda i: channel("conv", i), "channel of conv", 7, id="channel"),
        pytest.param(lambda i: channel("dense", i), "channel of dense", 6, id="unit"),
        pytest.param(lambda i: neuron("conv", i), "channel of conv", 7, id="channel of a neuron"),
        pytest.param(lambda i: neuron("conv", 0, (np.ravel(i)[-1], 0)), "row of conv", 5, id="row"),
        pytest.param(lambda i: neuron("conv", 0, (0, np.ravel(i)[-1])), "column of conv", 4, id="column"),
        pytest.param(lambda i: channel("conv", 0, batch=i), "picture of the batch", 3, id="batch of a channel"),
        pytest.param(lambda i: neuron("conv", 0, batch=i), "picture of the batch", 3, id="batch of a neuron"),
        pytest.param(lambda i: layer("dense", batch=i), "picture of the batch", 3, id="batch of a layer"),
        pytest.param(lambda i: 2 - channel("conv", i) ** 2, "channel of conv", 7, id="in a formula"),
    ],
)
def test_check_refuses_an_index_out_of_range_and_names_the_range(make, what, size, form, beyond):
    index = {"next": size, "far": 10_000, "minus one": -1}[beyond]
    with pytest.raises(IndexError, match=f"there is no {what} with index {index}: they go from 0 to {size - 1}"):
        check(make(form(index)), STRUCTURE)


@pytest.mark.parametrize("position", [np.array([3, 2]), ((3, 2), (1, 1)), ([1, 2], 0)])
def test_check_refuses_several_positions_for_one_neuron(position):
    with pytest.raises(ValueError, match=r"a position in conv is .row, column.*for a window, give rows="):
        check(neuron("conv", 0, position), STRUCTURE)


@pytest.mark.parametrize(
    ("shape", "told"),
    [((3,), "but those of odd are"), ((), "but those of odd are"), ((3, 0, 4, 7), "use a larger image")],
)
def test_check_refuses_activations_that_are_none(shape, told):
    with pytest.raises(ValueError, match=told):
        check(channel("odd", 0), {"odd": jax.ShapeDtypeStruct(shape, np.float32)})


def test_a_picture_to_stay_close_to_is_in_the_range_of_pictures():
    with pytest.raises(ValueError, match="divide those of files by 255"):
        o.input_diff(np.full((8, 8, 3), 200))


@pytest.mark.parametrize("given", [["mixed4a:97"], None, 3])
def test_what_is_no_objective_says_what_one_is(given):
    with pytest.raises(TypeError, match="an objective is a string such as 'mixed4a:97'") as error:
        o.as_objective(given)
    assert ("visualize_many" in str(error.value)) == isinstance(given, list)


def test_a_penalty_on_blur_compiles_as_fast_as_any_other():
    """XLA would fold the blur of a picture of ones for seconds, and say so."""
    x = jax.ShapeDtypeStruct((8, 224, 224, 3), np.float32)
    text = jax.jit(lambda x: o.boundary_complexity()({"input": x})).lower(x).as_text()
    assert text.count("reduce_window") == 2  # of the picture alone


@pytest.mark.parametrize("position", [20, -1])
def test_check_refuses_a_position_out_of_range_and_names_the_range(position):
    with pytest.raises(IndexError, match=f"no position of conv with index {position}: they go from 0 to 19"):
        check(neuron("conv", 0, position), STRUCTURE)


def test_check_refuses_a_neuron_of_a_layer_without_positions():
    with pytest.raises(
        ValueError, match=r"dense has no positions: choose one of its units with channel\('dense', index\)"
    ):
        check(neuron("dense", 0), STRUCTURE)


@pytest.mark.parametrize(
    "fn",
    [
        pytest.param(lambda a: a["conv"], id="array"),
        pytest.param(lambda a: a["conv"].mean(keepdims=True), id="array of one"),
        pytest.param(lambda a: a["conv"].argmax(), id="whole number"),
        pytest.param(lambda a: a["conv"].size, id="Python int"),
        pytest.param(lambda a: a["conv"].mean() > 0, id="truth value"),
        pytest.param(lambda a: a["conv"].mean() * 1j, id="complex"),
        pytest.param(lambda a: (a["conv"].mean(), a["dense"].mean()), id="tuple"),
        pytest.param(lambda a: None, id="None"),
    ],
)
def test_check_refuses_what_is_not_one_real_number(fn):
    with pytest.raises(ValueError, match="an objective gives one real number, but objective"):
        check(objective(fn), STRUCTURE)


def test_check_refuses_an_objective_of_several_values():
    with pytest.raises(ValueError, match="an objective gives one real number, but channel"):
        check(channel("conv", 0) * jnp.ones(2), STRUCTURE)
