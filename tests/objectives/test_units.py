"""Channels, neurons and layers: each form of an index, each position, and indices that are traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lightjax.objectives import channel, direction, direction_neuron, layer, neuron, parse
from tests.objectives.cases import ACTIVATIONS, NUMPY, SHAPES, mean_over, traced_values, values

INDICES = [3, [4, 0, 1], (4, 0), range(2, 5), np.array([2, 5]), np.int64(5), jnp.array([1, 2, 2]), jnp.array(4)]
PICTURES = [None, 1, [2, 0], np.array([1]), jnp.array([0, 2])]
POSITIONS = [  # and the row and column that they mean
    ((3, 1), 3, 1),
    ([4, 3], 4, 3),
    ((0, np.int64(2)), 0, 2),
    ((jnp.array(2), 0), 2, 0),
    (13, 3, 1),
    (np.int32(5), 1, 1),
    (jnp.array(19), 4, 3),
    (None, 2, 2),
]


def of(objective, pictures):
    return objective if pictures is None else objective[pictures]


def of_channel(name, index, pictures):
    space = [None] * (len(SHAPES[name]) - 2)
    return of(channel(name, index), pictures), mean_over(NUMPY[name], pictures, *space, index)


def of_neuron(index, position, pictures):
    given, row, column = position
    return of(neuron("conv", index, given), pictures), mean_over(NUMPY["conv"], pictures, row, column, index)


def of_layer(name, pictures):
    rest = [None] * (len(SHAPES[name]) - 1)
    return of(layer(name), pictures), mean_over(NUMPY[name], pictures, *rest)


def drawn(*axes, count=10):
    """Some combinations of one choice from each axis."""
    random = np.random.default_rng(0)
    return [[axis[random.integers(len(axis))] for axis in axes] for _ in range(count)]


def assert_means(pairs):
    objectives, expected = zip(*pairs, strict=True)
    np.testing.assert_allclose(values(objectives), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traced_values(objectives), expected, rtol=1e-5, atol=1e-6)


def test_channel_is_the_mean_over_pictures_positions_and_channels():
    assert_means(
        [of_channel(name, 3, None) for name in SHAPES]
        + [of_channel("conv", index, None) for index in INDICES]
        + [of_channel("conv", 3, pictures) for pictures in PICTURES]
        + [of_channel(*combination) for combination in drawn([*SHAPES], INDICES, PICTURES)]
    )


def test_neuron_is_the_mean_over_pictures_and_channels_at_one_position():
    assert_means(
        [of_neuron(index, POSITIONS[0], None) for index in INDICES]
        + [of_neuron(3, position, None) for position in POSITIONS]
        + [of_neuron(3, POSITIONS[0], pictures) for pictures in PICTURES]
        + [of_neuron(*combination) for combination in drawn(INDICES, POSITIONS, PICTURES)]
    )


def test_one_number_picks_a_token():
    tokens = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    for made, expected in (
        (neuron("tokens", 2, 4), tokens[:, 4, 2].mean()),
        (parse("tokens:2,6:0"), tokens[:, 0, [2, 6]].mean()),
        (neuron("tokens", 1, jnp.array(3))[1], tokens[1, 3, 1]),
        (channel("tokens", 1), tokens[..., 1].mean()),
        (direction_neuron("tokens", np.arange(7), 2), (tokens[:, 2] @ np.arange(7)).mean()),
    ):
        np.testing.assert_allclose(made({"tokens": tokens}), expected, rtol=1e-5)


def test_center_of_an_even_side_is_the_lower_right_of_the_four_in_the_middle():
    assert_means([(neuron("even.0.conv", 2), mean_over(NUMPY["even.0.conv"], None, 2, 3, 2))])


def test_layer_is_the_mean_over_all_its_activations():
    assert_means([of_layer(name, pictures) for name in SHAPES for pictures in PICTURES])


@jax.jit
def traced_channel(index, picture):
    return channel("conv", index)[picture](ACTIVATIONS)


@jax.jit
def traced_neuron(index, row, column):
    return neuron("conv", index, (row, column))(ACTIVATIONS)


@jax.jit
def traced_position(position):
    return neuron("conv", 0, position)(ACTIVATIONS)


@jax.jit
def traced_picture_of_two(picture):
    return channel("conv", 0)[[2, 0]][picture](ACTIVATIONS)


def test_constructors_take_traced_indices():
    x = NUMPY["conv"]
    found = [traced_channel(0, 2), traced_channel(6, 0), traced_neuron(0, 4, 3), traced_neuron(6, 0, 0)]
    expected = [x[2, ..., 0].mean(), x[0, ..., 6].mean(), x[:, 4, 3, 0].mean(), x[:, 0, 0, 6].mean()]
    found += [traced_position(0), traced_position(19), traced_picture_of_two(0), traced_picture_of_two(1)]
    expected += [x[:, 0, 0, 0].mean(), x[:, 4, 3, 0].mean(), x[2, ..., 0].mean(), x[0, ..., 0].mean()]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        pytest.param(lambda i: traced_channel(i, 0), 7, id="channel"),
        pytest.param(lambda i: traced_channel(0, i), 3, id="picture"),
        pytest.param(traced_picture_of_two, 2, id="picture of two"),
        pytest.param(lambda i: traced_neuron(i, 0, 0), 7, id="channel of a neuron"),
        pytest.param(lambda i: traced_neuron(0, i, 0), 5, id="row"),
        pytest.param(lambda i: traced_neuron(0, 0, i), 4, id="column"),
        pytest.param(traced_position, 20, id="position"),
    ],
)
def test_a_traced_index_out_of_range_gives_nan_and_no_neighbor(value, size):
    assert np.isfinite(value(size - 1))
    for beyond in (size, 1000, -1, -1000):
        assert np.isnan(value(beyond))


def test_tokens_choose_the_layer_beside_the_grid_in_every_form_of_an_objective():
    one = direction("conv", np.arange(6), tokens="class") - channel("conv", [2, 4], tokens="registers")[1]
    text = "direction('conv', [0, 1, 2, 3, 4, 5], tokens='class') - channel('conv', [2, 4], tokens='registers')[1]"
    assert str(one) == text
    activations = ACTIVATIONS | {"conv.cls": ACTIVATIONS["dense"], "conv.registers": ACTIVATIONS["even.0.conv"][:, 0]}
    expected = (NUMPY["dense"] @ np.arange(6)).mean() - NUMPY["even.0.conv"][1, 0][:, [2, 4]].mean()
    np.testing.assert_allclose(parse(text)(activations), expected, rtol=1e-5)


BATCHES = [
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
    pytest.param(layer("dense")[jnp.arange(3)], lambda i: layer("dense")[i], 3, id="pictures"),
    pytest.param(
        channel("conv", jnp.arange(5)) - jnp.linspace(0, 1, 5) * channel("dense", 2),
        lambda i: channel("conv", i) - i / 4 * channel("dense", 2),
        5,
        id="channels and weights, some shared",
    ),
]


@pytest.mark.parametrize(("objectives", "single", "count"), BATCHES)
def test_vmap_over_the_leaves_of_an_objective_is_a_loop_over_objectives(objectives, single, count):
    axes = jax.tree.map(lambda leaf: 0 if np.ndim(leaf) else None, objectives)
    found = jax.vmap(lambda objective: objective(ACTIVATIONS), in_axes=(axes,))(objectives)
    np.testing.assert_allclose(found, values([single(i) for i in range(count)]), rtol=1e-5, atol=1e-6)
