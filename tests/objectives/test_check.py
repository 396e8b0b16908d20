"""Errors: arguments that are refused when an objective is built, and the check against the shapes of activations."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lightjax import objectives as o
from lightjax.objectives import channel, check, class_logit, layer, neuron, objective
from tests.objectives.cases import SHAPES, STRUCTURE

WHOLE = "must be a whole number or a list of them, got"
REFUSED = [
    *((lambda i=i: channel("conv", i), TypeError, f"channel {WHOLE} {i!r}") for i in (1.5, [0, 1.5], None, "3", True)),
    (lambda: channel("conv", []), ValueError, "channel must contain at least one number, got []"),
    (lambda: neuron("conv", [None]), TypeError, f"channel {WHOLE} [None]"),
    (lambda: neuron("conv", 1, 0.5), TypeError, f"position {WHOLE} 0.5"),
    (lambda: neuron("conv", 1, (0.5, 1)), TypeError, f"row {WHOLE} 0.5"),
    (lambda: neuron("conv", 1, (1, "2")), TypeError, f"column {WHOLE} '2'"),
    (lambda: neuron("conv", 1, (1,)), ValueError, "position must be (row, column) or one number that counts along the"),
    (lambda: neuron("conv", 1, (1, 2, 3)), ValueError, "rows, got (1, 2, 3)"),
    (lambda: neuron("conv", 1, ()), ValueError, "rows, got ()"),
    (lambda: layer("conv", rows=[]), ValueError, "rows must contain at least one number, got []"),
    (lambda: o.direction("conv", [1, 2], columns=0.5), TypeError, f"columns {WHOLE} 0.5"),
    (lambda: channel(97, 1), TypeError, "layer must be a string such as 'mixed4a', got 97"),
    (lambda: channel("", 1), ValueError, "layer must be the name of an activation, got ''"),
    (lambda: class_logit(" "), ValueError, "label must be the name of a class, or its index, got ' '"),
    (lambda: class_logit(0.5), TypeError, f"label {WHOLE} 0.5"),
    (lambda: objective(97), TypeError, "fn must be a function of the activations, got 97"),
    (lambda: o.direction("conv", "ab"), TypeError, "vector must be a number or an array of numbers, got 'ab'"),
    (lambda: o.direction("conv", [[1], [1, 2]]), TypeError, "vector must be a number or an array of numbers"),
    (lambda: o.direction("conv", []), ValueError, "vector must contain at least one number, got []"),
    (lambda: o.direction("conv", [1, np.nan]), ValueError, "vector must be finite, got nan"),
    (lambda: o.direction("conv", [1, 2], power=-1), ValueError, "power must be at least 0, got -1"),
    (lambda: o.direction("conv", [1, 2], power="2"), TypeError, "power must be a number"),
    (lambda: o.direction("conv", [1, 2], similarity="cosin"), ValueError, "unknown similarity 'cosin'; did you mean"),
    (lambda: layer("conv", reduce="means"), ValueError, "unknown reduce 'means'; did you mean 'mean'?"),
    (lambda: layer("conv", reduce=3), TypeError, "reduce must be a string, got 3"),
    (lambda: channel("conv", 1, tokens="cls"), ValueError, "unknown tokens 'cls'; did you mean 'class'?"),
    (lambda: o.alignment("conv", decay_ratio=0), ValueError, "decay_ratio must be greater than 0, got 0"),
    (lambda: o.boundary_complexity(width=0), ValueError, "width must be at least 1, got 0"),
    (lambda: o.blur_input_each_step(alpha=1), TypeError, "alpha must be True or False, got 1"),
    (lambda: channel("conv", 1, batch=0), TypeError, "channel(): got an unexpected keyword argument 'batch'"),
]


@pytest.mark.parametrize(("make", "kind", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_a_wrong_argument_is_refused_when_the_objective_is_built(make, kind, words):
    with pytest.raises(kind) as error:
        make()
    assert words in str(error.value)


def test_check_lets_a_right_objective_pass():
    for one in (
        channel("conv", 3),
        channel("dense", [1, 4])[[0, 2]],
        neuron("conv", 3, (3, 1))[1],
        neuron("conv", [0, 6], 7),
        2 - channel("conv", 1) * layer("dense") / 3 + neuron("conv", 1) ** 2,
        objective(lambda a, k: (k * a["conv"] ** 2).mean(), 0.5),
    ):
        check(one, STRUCTURE)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cnov", "did you mean 'conv'?"),
        ("even.1.conv", "did you mean 'even.0.conv'?"),
        ("mixed4a", f"known are {', '.join(map(repr, sorted(SHAPES)))}"),
    ],
)
def test_check_names_an_unknown_layer_and_the_nearest_one(name, hint):
    for made in (
        layer(name),
        channel(name, 0)[1],
        neuron(name, 0),
        2 * channel("conv", 0) - layer(name),
        objective(lambda a: a[name].mean()),
        objective(lambda a: a[name].mean())[1],
    ):
        with pytest.raises(ValueError, match=f"unknown layer '{name}'") as error:
            check(made, STRUCTURE)
        assert hint in str(error.value)


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("inception_4d/output", "mixed4d"),
        ("inception4d", "mixed4d"),
        ("inception_3a/3x3_reduce", "mixed3a_3x3_bottleneck"),
        ("inception_5b/pool_proj", "mixed5b_pool_reduce"),
        ("pool3/3x3_s2", "maxpool4"),
        ("loss3/classifier", "softmax2_pre_activation_matmul"),
        ("prob", "softmax2"),
    ],
)
def test_names_of_caffe_are_known_where_the_network_has_the_layer(name, here):
    for made in (channel(name, 0), objective(lambda a: a[name].mean())):
        with pytest.raises(ValueError, match=f"unknown layer '{name}'; here it is called '{here}'"):
            check(made, {here: STRUCTURE["conv"], "conv": STRUCTURE["conv"]})
    check(channel(name, 0), {here: STRUCTURE["conv"], name: STRUCTURE["conv"]})
    with pytest.raises(ValueError, match=f"unknown layer '{name}'; known are 'conv'"):
        check(channel(name, 0), {"conv": STRUCTURE["conv"]})


def test_no_error_about_a_layer_is_long():
    with pytest.raises(ValueError, match=r"unknown layer 'xxx.* and 984 more") as caught:
        check(layer("x" * 9999), {f"{i}" * 99: STRUCTURE["conv"] for i in range(1000)})
    assert len(str(caught.value)) < 2000


TOKENS = {"tokens": jax.ShapeDtypeStruct((3, 5, 7), np.float32)}


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (neuron("tokens", 0, 5), IndexError, r"token 5 is out of range: tokens has 5 tokens \(0 to 4\)"),
        (neuron("tokens", 7, 0), IndexError, r"channel 7 is out of range: tokens has 7 channels"),
        (neuron("tokens", 0), ValueError, "position in tokens must be the number of a token, 0 to 4, got none"),
        (neuron("tokens", 0, (1, 2)), ValueError, r"the number of a token, 0 to 4, got \(1, 2\)"),
        (
            channel("tokens", 0, rows=1),
            ValueError,
            r"tokens has tokens and no rows .* neuron\('tokens', channel, token\)",
        ),
    ],
)
def test_check_refuses_what_tokens_do_not_have(made, error, message):
    with pytest.raises(error, match=message):
        check(made, TOKENS)


CHANNEL = "channel {} is out of range: conv has 7 channels (0 to 6)"


@pytest.mark.parametrize(
    ("make", "words", "size"),
    [
        (lambda i: channel("conv", i), CHANNEL, 7),
        (lambda i: channel("conv", [0, i]), CHANNEL, 7),
        (lambda i: channel("conv", np.int64(i)), CHANNEL, 7),
        (lambda i: channel("conv", jnp.array(i)), CHANNEL, 7),
        (lambda i: neuron("conv", i), CHANNEL, 7),
        (lambda i: 2 - channel("conv", i) ** 2, CHANNEL, 7),
        (lambda i: channel("dense", i), "channel {} is out of range: dense has 6 channels (0 to 5)", 6),
        (lambda i: neuron("conv", 0, (i, 0)), "row {} is out of range: conv has 5 rows (0 to 4)", 5),
        (lambda i: neuron("conv", 0, (0, i)), "column {} is out of range: conv has 4 columns (0 to 3)", 4),
        (lambda i: neuron("conv", 0, i), "position {} is out of range: conv has 20 positions (0 to 19)", 20),
        (lambda i: layer("conv", rows=[0, i]), "row {} is out of range: conv has 5 rows (0 to 4)", 5),
        (lambda i: class_logit(i, layer="dense"), "class {} is out of range: dense has 6 classes (0 to 5)", 6),
    ],
)
def test_check_refuses_an_index_out_of_range_and_names_the_range(make, words, size):
    for index in (size, 10_000, -1):
        with pytest.raises(IndexError) as error:
            check(make(index), STRUCTURE)
        assert re.sub(r"; the activations of .* are \[.*\]$", "", str(error.value)) == words.format(index)


@pytest.mark.parametrize("position", [np.array([3, 2]), ((3, 2), (1, 1)), ([1, 2], 0)])
def test_check_refuses_several_positions_for_one_neuron(position):
    with pytest.raises(ValueError, match=r"position in conv must be .row, column.*for a window use channel"):
        check(neuron("conv", 0, position), STRUCTURE)


@pytest.mark.parametrize(
    ("shape", "told"),
    [((3,), r"\[N, C\], got \[3\] for odd"), ((), r"got \[\] for odd"), ((3, 0, 4, 7), "use a larger image")],
)
def test_check_refuses_activations_of_another_form(shape, told):
    with pytest.raises(ValueError, match=told):
        check(channel("odd", 0), {"odd": jax.ShapeDtypeStruct(shape, np.float32)})


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (neuron("dense", 0), "dense has no positions, its activations are [3, 6]: choose"),
        (o.direction("conv", [1.0, 2.0]), "vector for conv must have 7 numbers, one for each channel, got [2]"),
        (o.direction_neuron("conv", 1.0), "vector for conv must have 7 numbers, one for each channel, got one number"),
        (o.direction_channel("conv", 0, [1.0]), "pattern for conv must have one number for each position, [h, w], got"),
        (o.caricature("conv", np.ones((5, 4, 6))), "target for conv must match its activations, [3, 5, 4, 7], got [1,"),
        (o.style("conv", np.ones((6, 6))), "target for conv must have 7 channels, got 6"),
        (o.diversity("conv")[0], "diversity compares several pictures, got 1: use an image with batch=2 or more"),
        (channel("conv", 1, tokens="class"), "conv has no layer conv.cls of its class tokens beside it"),
        (layer("conv", reduce=jnp.abs), "reduce must return one number for each picture, got [5, 4, 7]"),
    ],
    ids=str,
)
def test_check_refuses_what_does_not_go_with_the_layer(made, words):
    with pytest.raises(ValueError, match=r".") as error:
        check(made, STRUCTURE)
    assert words in str(error.value)


def test_check_refuses_the_opacity_of_a_picture_without_one():
    with pytest.raises(ValueError, match="the picture has 3 channels and no alpha channel: use an image with alpha=Tr"):
        check(o.mean_alpha(), {"input": jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)})


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
    with pytest.raises(ValueError, match="an objective must return one real number, but objective"):
        check(objective(fn), STRUCTURE)


def test_check_refuses_an_objective_of_several_values():
    with pytest.raises(ValueError, match="an objective must return one real number, but channel"):
        check(channel("conv", 0) * jnp.ones(2), STRUCTURE)
