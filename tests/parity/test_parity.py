"""lightjax's InceptionV1 against the same network in PyTorch: values of every layer, gradients of the image.

Values are compared in float32. Gradients are compared in float64, because they are not continuous: if two entries of a
pooling window, or a pre-activation and zero, differ by less than a rounding error, both gradients are right.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image

from lightjax import ops
from lightjax.networks import architectures, inception, inception_torch
from tests.parity import reference

LOGITS = "softmax2_pre_activation_matmul"
TRAINED = "trained_googlenet"
SQUARE, ODD = (224, 224), (150, 203)
EVEN_HALF, ODD_HALF = (112, 112), (75, 101)  # for gradients, in float64
RULES = {"plain": (ops.relu, torch.relu), "torchlight": (ops.leaky_gradient_relu, reference.RedirectedReLU.apply)}


class Pair(NamedTuple):
    """One network in both libraries, and its pictures of a height and width."""

    record: str
    model: inception.InceptionV1
    state: dict[str, torch.Tensor]
    pictures: Callable[[tuple[int, int]], np.ndarray]


@pytest.fixture(scope="module", params=[*reference.RECORDS, TRAINED])
def pair(request) -> Pair:
    if request.param == TRAINED:
        state = torch.load(request.getfixturevalue("googlenet_file"), weights_only=True)
        photograph = functools.partial(read, request.getfixturevalue("dog_cat"))
        return Pair("bvlc_googlenet", request.getfixturevalue("googlenet_float32"), state, photograph)
    record = request.param
    state = reference.random_state_dict(record, seed=0)
    architecture, parameters = inception_torch.from_torch({k: v.numpy() for k, v in state.items()})
    if record == "inception5h_torchlight":  # the weights of inception5h, run in another way
        architecture = architectures.INCEPTION5H_TORCHLIGHT
    assert architecture.name == record
    return Pair(record, inception.InceptionV1(architecture, parameters), state, noise)


def read(path, size: tuple[int, int]) -> np.ndarray:
    """A photograph, resized by Pillow, and its mirror image."""
    with Image.open(path) as file:
        image = np.asarray(file.convert("RGB").resize(size[::-1], Image.Resampling.BICUBIC), np.float32) / 255
    return np.stack([image, image[:, ::-1]])


def noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).random((2, *size, 3), np.float32)


def to_torch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def to_numpy(activation: torch.Tensor) -> np.ndarray:
    array = activation.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def deviation(actual, expected: np.ndarray) -> float:
    """Largest difference, divided by the largest expected value."""
    assert actual.shape == expected.shape
    difference = np.abs(np.asarray(actual) - expected).max()
    return float(difference / np.abs(expected).max()) if difference else 0.0


QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Options with which XLA compiles in a fraction of the time, for programs that run once in float32."""


@functools.partial(jax.jit, compiler_options=QUICKLY)
def activations(model, images):
    return model(images)


@functools.partial(jax.jit, static_argnames="relus")
def gradients(model, images, weights, live, dead, logit, relus):
    """Gradients of a weighted sum of two channels of mixed4a and a logit by the images, one for each rectifier."""

    def objective(images, relu):
        values = model(images, relu=relu)
        mixed4a = values["mixed4a"]
        return weights @ jnp.stack([mixed4a[..., live].mean(), mixed4a[..., dead].mean(), values[LOGITS][0, logit]])

    return [jax.grad(objective)(images, relu) for relu in relus]


@pytest.mark.parametrize("size", [SQUARE, ODD], ids=["224x224", "150x203"])
def test_activations_agree_in_every_named_layer(pair, size):
    images = pair.pictures(size)
    ours = activations(pair.model, images)
    with torch.no_grad():
        theirs = reference.activations(pair.record, pair.state, to_torch(images))
    assert ours.keys() == theirs.keys()
    deviations = {name: deviation(ours[name], to_numpy(theirs[name])) for name in ours}
    assert not {name: d for name, d in deviations.items() if not d <= 1e-4}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pair", "size", "rules"),
    [(TRAINED, EVEN_HALF, (*RULES,)), *((record, ODD_HALF, ("torchlight",)) for record in reference.RECORDS)],
    ids=[TRAINED, *reference.RECORDS],
    indirect=["pair"],
)
def test_gradients_of_channels_and_a_logit_agree(pair, size, rules):
    """The most varied channel, the least active one, whose gradient differs most between the rules, and a logit."""
    images = pair.pictures(size)[:1].astype(np.float64)
    source = to_torch(images).requires_grad_()
    state = {name: value.double() for name, value in pair.state.items()}
    expected = []
    for rule in rules:
        theirs = reference.activations(pair.record, state, source, RULES[rule][1])
        mixed4a = theirs["mixed4a"]
        live, dead = int(mixed4a.std((0, 2, 3)).argmax()), int(mixed4a.amax((0, 2, 3)).argmin())
        objectives = [mixed4a[:, live].mean(), mixed4a[:, dead].mean(), theirs[LOGITS][0, 100]]
        expected.append([to_numpy(torch.autograd.grad(v, source, retain_graph=True)[0]) for v in objectives])

    with jax.enable_x64(True):
        model = jax.tree.map(lambda parameter: parameter.astype(jnp.float64), pair.model)
        relus = tuple(RULES[rule][0] for rule in rules)
        for i, weights in enumerate(np.eye(3)):
            actual = gradients(model, images, weights, live, dead, 100, relus)
            for rule, ours, theirs in zip(rules, actual, expected, strict=True):
                assert deviation(ours, theirs[i]) <= 1e-9, rule


def test_float32_gradient_agrees_but_for_rare_ties(googlenet_float32, googlenet_file, dog_cat):
    images = read(dog_cat, SQUARE)
    source = to_torch(images).requires_grad_()
    state = torch.load(googlenet_file, weights_only=True)
    reference.activations("bvlc_googlenet", state, source)["mixed4a"][:, 97].mean().backward()
    actual = jax.jit(jax.grad(lambda images: googlenet_float32(images)["mixed4a"][..., 97].mean()))(images)
    expected = to_numpy(source.grad)
    assert np.linalg.norm(actual - expected) <= 1e-2 * np.linalg.norm(expected)


def test_trained_googlenet_knows_the_dog(googlenet_float32, dog_cat, shared):
    synsets = [line.split()[0] for line in (shared / "weights" / "synset_words.txt").read_text().splitlines()]
    golden_retriever, labrador = synsets.index("n02099601"), synsets.index("n02099712")
    probabilities = activations(googlenet_float32, read(dog_cat, SQUARE))["softmax2"][0]
    assert probabilities[golden_retriever] == pytest.approx(0.615, abs=0.005)
    assert probabilities[labrador] == pytest.approx(0.344, abs=0.005)
