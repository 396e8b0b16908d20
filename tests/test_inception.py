"""InceptionV1: its table of layers, its parameters, its activations and its structure."""

import copy
import dataclasses
import functools
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lightjax.networks import architectures
from lightjax.networks.architectures import INCEPTION5H
from lightjax.networks.inception import InceptionV1

# Channels and stride of inception5h's layers, and the channels of the Caffe network where they differ.
LAYERS = {
    "input": (3, 1),
    "conv2d0_pre_relu_conv": (64, 2),
    "conv2d0": (64, 2),
    "maxpool0": (64, 4),
    "localresponsenorm0": (64, 4),
    "conv2d1": (64, 4),
    "conv2d2": (192, 4),
    "localresponsenorm1": (192, 4),
    "maxpool1": (192, 8),
    "mixed3a": (256, 8),
    "mixed3b": (480, 8),
    "maxpool4": (480, 16),
    "mixed4a_pre_relu": (508, 16),
    "mixed4a": (508, 16),
    "mixed4b_pool": (508, 16),
    "mixed4b_3x3_bottleneck": (112, 16),
    "mixed4b_3x3_pre_relu_conv": (224, 16),
    "mixed4b_pool_reduce": (64, 16),
    "mixed4b": (512, 16),
    "mixed4c": (512, 16),
    "mixed4d": (528, 16),
    "mixed4e": (832, 16),
    "maxpool10": (832, 32),
    "mixed5a_5x5_bottleneck": (48, 32),
    "mixed5a": (832, 32),
    "mixed5b": (1024, 32),
    "avgpool0": (1024, None),
    "softmax2_pre_activation_matmul": (1008, None),
    "softmax2": (1008, None),
}
CAFFE_CHANNELS = {
    "mixed4a_pre_relu": 512,
    "mixed4a": 512,
    "mixed4b_pool": 512,
    "mixed5a_5x5_bottleneck": 32,
    "softmax2_pre_activation_matmul": 1000,
    "softmax2": 1000,
}
BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
HEAD = ("softmax2_pre_activation_matmul", "softmax2")

records = pytest.mark.parametrize("record", architectures.ARCHITECTURES.values(), ids=architectures.ARCHITECTURES)


def table(record) -> dict[str, architectures.Layer]:
    return {layer.name: layer for layer in architectures.layers(record)}


def abstract(record):
    """The network with shapes in place of arrays."""
    sizes = architectures.parameter_shapes(record).items()
    parameters = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in sizes}
    return jax.eval_shape(lambda parameters: InceptionV1(record, parameters), parameters)


@functools.cache
def shapes(record, height: int, width: int, batch: int = 1) -> dict[str, tuple[int, ...]]:
    image = jax.ShapeDtypeStruct((batch, height, width, 3), jnp.float32)
    activations = jax.eval_shape(lambda model, images: model(images), abstract(record), image)
    return {name: value.shape for name, value in activations.items()}


def tiny(**changes) -> architectures.Architecture:
    """A network of the same depth, one channel to a convolution."""
    return dataclasses.replace(
        INCEPTION5H, stem=(1, 1, 1), blocks=(architectures.Block(1, 1, 1, 1, 1, 1),) * 9, **changes
    )


# The table of layers


@pytest.mark.parametrize(("name", "channels", "stride"), [(k, *v) for k, v in LAYERS.items()], ids=LAYERS)
def test_layer_has_its_published_channels_and_stride(name, channels, stride):
    layer = table(INCEPTION5H)[name]
    assert (layer.channels, layer.stride) == (channels, stride)
    assert table(architectures.BVLC_GOOGLENET)[name].channels == CAFFE_CHANNELS.get(name, channels)


def test_layers_are_in_the_order_of_computation():
    names = [layer.name for layer in architectures.layers(INCEPTION5H)]
    assert [name for name in names if name in LAYERS] == list(LAYERS)
    assert len(set(names)) == len(names)


@records
def test_every_block_names_each_step_of_each_branch(record):
    convolutions = ("1x1", "3x3_bottleneck", "3x3", "5x5_bottleneck", "5x5", "pool_reduce")
    for block in BLOCKS:
        steps = {name.removeprefix(f"mixed{block}") for name in table(record) if name.startswith(f"mixed{block}")}
        after = {f"_{convolution}" for convolution in convolutions}
        assert steps == {"", "_pre_relu", "_pool"} | after | {f"{name}_pre_relu_conv" for name in after}


@records
@pytest.mark.parametrize(("height", "width"), [(224, 224), (150, 203)], ids=["224x224", "150x203"])
def test_activations_have_the_names_and_channels_of_the_table(record, height, width):
    layers = table(record)
    actual = shapes(record, height, width, batch=2)
    assert actual.keys() == layers.keys()
    for name, layer in layers.items():
        assert (actual[name][0], actual[name][-1]) == (2, layer.channels)
        assert len(actual[name]) == (2 if layer.stride is None else 4)


@pytest.mark.parametrize("size", [1, 31, 97, 224, 240])
def test_inception5h_has_one_position_per_stride_begun_at_any_size(size):
    actual = shapes(INCEPTION5H, size, 64)
    for layer in architectures.layers(INCEPTION5H):
        if layer.stride is not None:
            assert actual[layer.name][1:3] == (math.ceil(size / layer.stride), math.ceil(64 / layer.stride))


def test_fixed_padding_gives_the_sizes_of_the_pytorch_ports():
    """Lucent's network has 7 positions at 240 pixels where TensorFlow's has 8."""
    assert shapes(architectures.INCEPTION5H_TORCHLIGHT, 240, 224)["mixed5b"] == (1, 7, 7, 1024)
    assert shapes(INCEPTION5H, 240, 224)["mixed5b"] == (1, 8, 7, 1024)


def test_an_image_too_small_for_fixed_padding_is_refused():
    with pytest.raises(ValueError, match="use a larger image"):
        shapes(architectures.BVLC_GOOGLENET, 16, 224)


def test_receptive_fields_are_what_each_position_responds_to():
    """Measured in a network with positive kernels and no biases.

    All activations of a black image are zero, so one white row shows every position that sees it. Over as many rows as
    the stride, the number of positions that see a row adds up to the number of rows that a position sees.
    """
    record = tiny(norm=architectures.ResponseNorm(1, 1.0, 0.0, 0.5), mean=(0.0, 0.0, 0.0), classes=0)
    sizes = architectures.parameter_shapes(record)
    parameters = {k: np.zeros(s) if k.endswith("bias") else np.full(s, 0.2) for k, s in sizes.items()}
    rows, middle = 1600, 800
    images = np.zeros((32, rows, 32, 3), np.float32)
    images[np.arange(32), middle + np.arange(32)] = 1
    activations = jax.jit(lambda model, images: model(images))(InceptionV1(record, parameters), images)
    for name, channels, stride, field in architectures.layers(record):
        if stride is not None:
            lit = np.asarray(activations[name])[:stride].any(axis=(2, 3))
            assert lit.sum() == field, f"{name} of {channels} channels"


@pytest.mark.parametrize(
    ("name", "field"),
    [("conv2d0", 7), ("maxpool0", 11), ("conv2d2", 19), ("mixed3a_1x1", 27), ("mixed3a_3x3", 43), ("mixed3a", 59)],
)
def test_receptive_fields_of_early_layers_count_by_hand(name, field):
    assert table(INCEPTION5H)[name].receptive_field == field


def test_values_that_depend_on_the_whole_image_have_no_stride_or_field():
    for name in ("avgpool0", *HEAD):
        assert table(INCEPTION5H)[name][2:] == (None, None)


# Parameters


@pytest.mark.parametrize(
    ("record", "parameters"),
    [("inception5h", 7_066_380), ("inception5h_torchlight", 7_066_380), ("bvlc_googlenet", 6_998_552)],
)
def test_the_number_of_parameters_is_that_of_the_published_files(record, parameters):
    sizes = architectures.parameter_shapes(architectures.ARCHITECTURES[record])
    assert len(sizes) == 116
    assert sum(math.prod(shape) for shape in sizes.values()) == parameters
    leaves = jax.tree.leaves(abstract(architectures.ARCHITECTURES[record]))
    assert sum(leaf.size for leaf in leaves) == parameters


def test_random_kernels_are_he_normal_and_biases_zero():
    record = dataclasses.replace(INCEPTION5H, stem=(64, 64, 64), blocks=(architectures.Block(*[16] * 6),) * 9)
    model = InceptionV1(record, rngs=nnx.Rngs(0))
    for name in ("conv2d0", "conv2d2", "mixed4d_5x5"):
        affine = getattr(model, name)
        assert not affine.bias[...].any()
        fan_in = math.prod(affine.kernel[...].shape[:3])
        assert float(affine.kernel[...].std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.04)


def test_random_parameters_depend_on_the_seed_alone():
    one, same, other = (jax.tree.leaves(InceptionV1(tiny(), rngs=nnx.Rngs(seed))) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def zeros(record) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in architectures.parameter_shapes(record).items()}


def test_all_wrong_parameters_are_named_at_once():
    parameters = zeros(tiny())
    del parameters["mixed4a_1x1/kernel"]
    parameters["mixed9z/kernel"] = np.zeros(1)
    parameters["conv2d0/bias"] = np.zeros(3)
    with pytest.raises(ValueError, match="inception5h") as error:
        InceptionV1(tiny(), parameters)
    assert "mixed4a_1x1/kernel is missing" in str(error.value)
    assert "mixed9z/kernel is unexpected" in str(error.value)
    assert "conv2d0/bias must have shape (1,), got (3,)" in str(error.value)


def test_parameters_or_a_seed_must_be_given_and_not_both():
    with pytest.raises(TypeError, match="exactly one of parameters and rngs"):
        InceptionV1(tiny())
    with pytest.raises(TypeError, match="exactly one of parameters and rngs"):
        InceptionV1(tiny(), zeros(tiny()), rngs=nnx.Rngs(0))


# The forward pass


@records
def test_an_image_of_the_mean_color_reaches_the_network_as_zeros(record):
    """The first convolution then gives its bias. The record lists red, green and blue."""
    record = dataclasses.replace(tiny(), mean=record.mean, bgr=record.bgr)
    model = InceptionV1(record, rngs=nnx.Rngs(0))
    model.conv2d0.bias[...] = jnp.array([3.0])
    image = np.broadcast_to(np.array(record.mean, np.float32) / 255, (1, 32, 32, 3))
    actual = jax.jit(lambda images: model(images)["conv2d0_pre_relu_conv"])(image)
    np.testing.assert_allclose(actual, 3, atol=1e-3)


def test_activations_come_in_the_order_of_the_table_and_begin_with_the_images():
    model, images = InceptionV1(tiny(), rngs=nnx.Rngs(0)), jnp.zeros((2, 48, 64, 3))

    def look(images):
        activations = model(images)
        assert list(activations) == [layer.name for layer in model.layers]
        assert activations["input"] is images

    jax.eval_shape(look, images)


def test_network_without_a_classifier_ends_at_the_pooled_features():
    headless = dataclasses.replace(INCEPTION5H, classes=0)
    assert architectures.with_classes(INCEPTION5H, 0) == headless
    assert [name for name in table(INCEPTION5H) if name not in table(headless)] == list(HEAD)
    assert shapes(headless, 64, 64).keys() == table(headless).keys()
    assert not [name for name in architectures.parameter_shapes(headless) if name.startswith("softmax2")]


# The structure


def named_networks() -> list[InceptionV1]:
    """Two networks with other weights, another source and other class names."""
    return [
        InceptionV1(tiny(), rngs=nnx.Rngs(i), source=source, class_names=(source,))
        for i, source in enumerate(("first", "second"))
    ]


def test_networks_that_differ_in_weights_source_and_class_names_share_a_program():
    first, second = named_networks()
    traces = []

    @jax.jit
    def total(model):
        traces.append(model)
        return model.conv2d0.kernel[...].sum()

    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert total(first) != total(second)
    assert len(traces) == 1


def test_networks_of_other_architectures_have_another_structure():
    first, _ = named_networks()
    assert jax.tree.structure(first) != jax.tree.structure(InceptionV1(tiny(bgr=True), rngs=nnx.Rngs(0)))


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "split and merge": lambda model: nnx.merge(*nnx.split(model)),
    "tree map": lambda model: jax.tree.map(lambda leaf: leaf, model),
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_keeps_weights_source_and_class_names(duplicate):
    for model in named_networks():
        same = duplicate(model)
        assert (same.source, same.class_names) == (model.source, model.class_names)
        assert jax.tree.structure(same) == jax.tree.structure(model)
        jax.tree.map(np.testing.assert_array_equal, same, model)
