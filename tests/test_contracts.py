"""Contracts of models, images and transforms: what fits together, and what is refused before anything is compiled."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lightjax import _activations, objectives, transforms
from lightjax.contracts import accepts_relu, activation_shapes, fit
from lightjax.images import Pixels, image
from lightjax.objectives import channel, layer, neuron
from lightjax.transforms import CropOrPad, Jitter, Pad, compose
from tests.test_optimize import MODEL, EquinoxNet, NnxNet, counted, far_below, weights

IMAGE = image(16, batch=2)
TRANSFORM = compose(Pad(2), Jitter(2))


class WithRelu(nnx.Module):
    def __call__(self, images, *, relu=jax.nn.relu):
        return {"on": relu(images)}


@pytest.mark.parametrize(
    ("model", "accepts"),
    [
        pytest.param(MODEL, False, id="function without"),
        pytest.param(far_below, True, id="function with"),
        pytest.param(functools.partial(far_below), True, id="partial"),
        pytest.param(jax.jit(far_below), True, id="jitted"),
        pytest.param(NnxNet(*weights()), False, id="nnx without"),
        pytest.param(WithRelu(), True, id="nnx with"),
        pytest.param(EquinoxNet(*weights()), False, id="equinox without"),
        pytest.param(dict, False, id="without a signature"),
        pytest.param(97, False, id="no function"),
    ],
)
def test_a_model_accepts_a_relu_if_it_has_that_keyword(model, accepts):
    assert accepts_relu(model) is accepts


def test_shapes_are_known_without_running_the_model():
    model, traces = counted(MODEL)
    assert activation_shapes(model, IMAGE, TRANSFORM, None)["input"].shape == (2, 16, 16, 3)
    pixels = image((8, 9), basis=Pixels())
    assert activation_shapes(far_below, pixels, None, "lucid")["on"].shape == (1, 8, 9, 3)
    assert traces == [(2, 18, 18, 3)]


@dataclasses.dataclass
class Unhashable:
    def init(self, key):
        return jnp.zeros((1, 2, 2, 3))

    def decode(self, params):
        return params

    def __call__(self, key, images):
        return images


@dataclasses.dataclass(frozen=True)
class AtStep:
    result: object

    def at_step(self, step):
        return self.result

    def __call__(self, key, images):
        return images


@dataclasses.dataclass(frozen=True)
class Blank:
    shape: tuple[int, ...]

    def init(self, key):
        return jnp.zeros(self.shape)

    def decode(self, params):
        return params


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        pytest.param(
            {"model": 97}, TypeError, "model must be a function of images .* got 97", id="model is no function"
        ),
        pytest.param(
            {"model": lambda images: images},
            TypeError,
            r"must return a mapping .* one array \[2, 18, 18, 3\]",
            id="array",
        ),
        pytest.param({"model": lambda images: None}, TypeError, "model must return a mapping .* None", id="nothing"),
        pytest.param(
            {"model": lambda images: {"a": [images, "text"], "c": [images] * 999}},
            TypeError,
            "must be arrays, but the model returns 'a/1' as 'text'",
            id="no array",
        ),
        pytest.param(
            {"model": lambda images: {"a/b": images, "a": {"b": images}}},
            ValueError,
            "two are called 'a/b': rename one",
            id="one name twice",
        ),
        pytest.param(
            {"image": Blank((4, 4, 3))},
            TypeError,
            r"must decode to float32 \[N, H, W, C\], .* \[4, 4, 3\]",
            id="3-D",
        ),
        pytest.param(
            {"image": Blank((1, 4, 4, 4, 1))},
            TypeError,
            r"\[1, 4, 4, 4, 1\]\. Volumes are not supported; a signal is a picture of one row",
            id="volume",
        ),
        pytest.param(
            {"image": Blank((1, 4, 4, 5))},
            ValueError,
            r"the network saw 6x6 of a 4x4 picture, with 5 channels, and failed \(.*image=lj.image\(size, channels=1\)",
            id="channels",
        ),
        pytest.param(
            {"image": Blank((1, 4, 4, 4))},
            ValueError,
            "opacity, got 4 channels: add lj.transforms.CollapseAlpha",
            id="opacity",
        ),
        pytest.param({"image": Unhashable()}, TypeError, r"image must be hashable.*Unhashable\(\)", id="image"),
        pytest.param(
            {"transform": Unhashable()}, TypeError, r"transform must be hashable.*Unhashable\(\)", id="transform"
        ),
        pytest.param(
            {"transform": AtStep(3)}, TypeError, "a transform must be a function of a key and images, got 3", id="step"
        ),
        pytest.param(
            {"transform": AtStep(lambda key, images: images[..., [0, 1, 2, 0]])},
            ValueError,
            "colors without opacity, got 4 channels",
            id="opacity at a step",
        ),
        pytest.param(
            {"relu": "lucid"},
            ValueError,
            "must be None for a model without a keyword `relu`",
            id="relu for a model without",
        ),
        pytest.param({"relu": "leaky"}, ValueError, "unknown ReLU rule 'leaky'; known are", id="unknown relu"),
        pytest.param(
            {"model": far_below, "objective": layer("on"), "relu": "leaky"},
            ValueError,
            "unknown ReLU rule 'leaky'; known are",
            id="unknown relu for a model with",
        ),
        pytest.param({"objective": layer("c")}, ValueError, "unknown layer 'c'", id="layer"),
        pytest.param({"objective": layer("inputs")}, ValueError, "did you mean 'input'", id="nearest layer"),
        pytest.param(
            {"objective": channel("b", 20)},
            IndexError,
            r"channel 20 is out of range: b has 20 channels \(0 to 19\)",
            id="channel",
        ),
        pytest.param(
            {"objective": neuron("a", 0, (3, 9))},
            IndexError,
            "column 9 is out of range: a has 9 columns",
            id="position",
        ),
        pytest.param({"objective": layer("a")[2]}, IndexError, "picture 2 is out of range", id="picture"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(changes, error, message):
    given = {"model": MODEL, "image": IMAGE, "transform": TRANSFORM, "relu": None} | changes
    goal = given.pop("objective", layer("a"))
    with pytest.raises(error, match=message):
        objectives.check(goal, activation_shapes(**given))


def test_a_layer_called_input_is_refused_unless_it_is_the_picture():
    with pytest.raises(ValueError, match="must not name a layer 'input'"):
        activation_shapes(lambda images: {"input": images * 2}, IMAGE, None, None)
    assert activation_shapes(lambda images: {"input": images}, IMAGE, None, None)["input"].shape == (2, 16, 16, 3)


def test_layers_that_look_like_channels_first_are_pointed_out():
    def model(images):
        return {"a": jnp.moveaxis(images[:, ::2, ::2], -1, 1)}

    with pytest.warns(UserWarning, match=r"'a' is \[2, 3, 8, 8\], which looks like channels first"):
        shapes = activation_shapes(model, IMAGE, None, None)
    with pytest.raises(IndexError, match=r"a has 8 channels .*; the activations of a are \[2, 3, 8, 8\]"):
        objectives.check(channel("a", 30), shapes)


# Networks as people have them

X, Y = np.zeros((1, 2)), np.ones((1, 3))


class Outputs(NamedTuple):
    logits: np.ndarray
    hidden_states: tuple


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"a": (X, None)}, {"a/0": X}),
        ({"b": {"a": X}, "c": None}, {"b/a": X}),
        ({"a": [X, Y], 3: {"d": (Y,)}}, {"a/0": X, "a/1": Y, "3/d": Y}),
        ((X, [Y, X]), {"0": X, "1/0": Y, "1/1": X}),
        ([X], {"0": X}),
        (Outputs(X, (Y, X)), {"logits": X, "hidden_states/0": Y, "hidden_states/1": X}),
        (
            (Y, {"intermediates": {"Dense_0": {"__call__": (X,)}, "Block": {"Dense_0": {"__call__": (X, Y)}}}}),
            {"0": Y, "Dense_0": X, "Block/Dense_0/0": X, "Block/Dense_0/1": Y},
        ),
        ({"intermediates": {"__call__": (X,), "Block": {"__call__": (Y,)}}}, {"__call__": X, "Block": Y}),
        ({"intermediates": X}, {"intermediates": X}),
        ({}, {}),
    ],
)
def test_what_a_model_returns_becomes_one_flat_mapping(output, expected):
    found = _activations.named(output)
    assert found.keys() == expected.keys()
    assert all(found[name] is expected[name] for name in expected)


class Sized:
    """A network that takes one size and one number of channels only; it may say the size."""

    def __init__(self, side, channels, size=None):
        self.weights, self.size = np.zeros((side * side * channels, 5), np.float32), size

    def __call__(self, images):
        return {"conv": images * 2, "head": images.reshape(len(images), -1) @ self.weights}


DEFAULT = transforms.DEFAULT
CROPPED = compose(DEFAULT, CropOrPad(12))


@pytest.mark.parametrize(
    ("model", "given", "transform", "expected"),
    [
        pytest.param(Sized(12, 3), image(12), DEFAULT, (image(12), CROPPED), id="tried"),
        pytest.param(Sized(12, 3, (12, 12)), image(12), DEFAULT, (image(12), CROPPED), id="said"),
        pytest.param(MODEL, image(12), DEFAULT, (image(12), DEFAULT), id="any size"),
        pytest.param(Sized(12, 3, 512), image(12), DEFAULT, (image(12), CROPPED), id="another size attribute"),
        pytest.param(Sized(24, 3), image(12), DEFAULT, (image(12), DEFAULT), id="the size of the view"),
        pytest.param(
            Sized(12, 1), image(12, color="gray"), DEFAULT, (image(12, color="gray", channels=1), CROPPED), id="gray"
        ),
        pytest.param(
            Sized(12, 1), image(12, color="grey"), None, (image(12, color="gray", channels=1), None), id="grey"
        ),
        pytest.param(
            MODEL, image(12, color="gray"), None, (image(12, color="gray"), None), id="gray in three channels"
        ),
        pytest.param(Sized(12, 7), image(12, channels=7), None, (image(12, channels=7), None), id="bands"),
    ],
)
def test_the_default_transform_and_gray_pictures_give_way_to_the_model(model, given, transform, expected):
    found = fit(model, given, transform, None)
    assert (found.image, found.transform) == expected


@pytest.mark.parametrize(
    ("model", "transform", "message"),
    [
        (Sized(32, 3), compose(Pad(6)), "the network saw 44x44 of a 32x32 picture, .*CropOrPad"),
        (Sized(31, 3), DEFAULT, "the network saw 44x44 of a 32x32 picture, .* needs that size="),
        (Sized(31, 3, (31, 31)), DEFAULT, r"takes pictures of 31x31 pixels only, got 32x32: use size=\(31, 31\)"),
        (Sized(32, 1), None, r"with 3 channels, and failed \(.*lj.image\(size, channels=1\)"),
    ],
)
def test_a_model_that_fails_says_what_it_saw(model, transform, message):
    with pytest.raises(ValueError, match=message) as caught:
        fit(model, image(32), transform, None)
    assert len(str(caught.value)) < 600
