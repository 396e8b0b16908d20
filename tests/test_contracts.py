"""Contracts of models, images and transforms: what fits together, and what is refused before anything is compiled."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from lightjax import objectives
from lightjax.contracts import accepts_relu, activation_shapes
from lightjax.images import Pixels, image
from lightjax.objectives import channel, layer, neuron
from lightjax.transforms import Jitter, Pad, compose
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
            {"model": lambda images: (images, images)}, TypeError, r"model must return a mapping .* \(", id="tuple"
        ),
        pytest.param({"model": lambda images: images}, TypeError, "model must return a mapping", id="array"),
        pytest.param({"model": lambda images: None}, TypeError, "model must return a mapping .* None", id="nothing"),
        pytest.param({"model": lambda images: {"a": [images]}}, TypeError, "model must return a mapping", id="lists"),
        pytest.param(
            {"image": Blank((4, 4, 3))},
            TypeError,
            r"must decode to float32 \[N, H, W, 3 or 4\], .* \[4, 4, 3\]",
            id="3-D",
        ),
        pytest.param(
            {"image": Blank((1, 4, 4, 5))},
            TypeError,
            r"must decode to float32 \[N, H, W, 3 or 4\], .* \[1, 4, 4, 5\]",
            id="5 colors",
        ),
        pytest.param(
            {"image": Blank((1, 4, 4, 4))},
            ValueError,
            "channels, got 4: add lj.transforms.CollapseAlpha",
            id="opacity",
        ),
        pytest.param({"image": Unhashable()}, TypeError, r"image must be hashable.*Unhashable\(\)", id="image"),
        pytest.param(
            {"transform": Unhashable()}, TypeError, r"transform must be hashable.*Unhashable\(\)", id="transform"
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
