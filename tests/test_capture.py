"""Networks that were not written for lightjax: names of their activations, rectifiers, fast derivatives, cuts."""

import functools
import re
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

import lightjax as lj
from lightjax import ops
from lightjax._structure import partition
from lightjax.networks.architectures import INCEPTION5H, Block
from lightjax.networks.inception import InceptionV1

IMAGES = jax.random.uniform(jax.random.key(0), (2, 24, 24, 3))


class Residual(nnx.Module):
    """A block as in bonsai's ResNet."""

    def __init__(self, rngs):
        self.conv0 = nnx.Conv(4, 4, (3, 3), use_bias=False, rngs=rngs)
        self.bn0 = nnx.BatchNorm(4, rngs=rngs)
        self.conv1 = nnx.Conv(4, 4, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.relu(x + self.conv1(nnx.relu(self.bn0(self.conv0(x)))))


class ResNet(nnx.Module):
    """Blocks that are called as they are, under `jax.checkpoint`, and a second time under a nested `jax.jit`."""

    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)
        self.blocks = nnx.List([Residual(rngs), Residual(rngs)])
        self.pool = functools.partial(nnx.max_pool, window_shape=(3, 3), strides=(2, 2), padding="SAME")
        self.head = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        x = self.pool(nnx.relu(self.stem(x)))
        x = jax.checkpoint(lambda y: self.blocks[1](y))(self.blocks[0](x))
        x = jax.jit(lambda block, y: block(y))(self.blocks[0], x)
        return self.head(x.mean((1, 2)))


class ConvNet(eqx.Module):
    """One picture, channels first."""

    layers: list
    head: eqx.nn.Linear

    def __init__(self):
        first, second, head = jax.random.split(jax.random.key(1), 3)
        pool = eqx.nn.MaxPool2d(3, 2)
        conv = eqx.nn.Conv2d(3, 4, 3, key=first)
        self.layers = [conv, jax.nn.relu, pool, eqx.nn.Conv2d(4, 12, 3, key=second)]
        self.head = eqx.nn.Linear(12, 5, key=head)

    def __call__(self, x, *, fail=False):
        for layer in self.layers:
            x = layer(x)
        if fail:
            raise RuntimeError("failed")
        return jax.nn.relu(self.head(x.mean((1, 2))))


class LinenNet(linen.Module):
    """A linen network with batch statistics, as in Flax's examples."""

    @linen.compact
    def __call__(self, x, train=True):
        conv = linen.Conv(4, (3, 3), name="conv")
        x = linen.relu(linen.BatchNorm(use_running_average=not train)(conv(x)))
        x = linen.relu(linen.remat(linen.Conv)(6, (3, 3), strides=2)(x))
        return linen.Dense(5)(x.mean((1, 2)))


def inference(network, images):
    return network(images, train=False)


@pytest.fixture(scope="module")
def resnet():
    network = jax.jit(lambda: ResNet(nnx.Rngs(0)))()
    network.eval()
    return network


@pytest.fixture(scope="module")
def convnet():
    return eqx.filter_jit(ConvNet)()


@pytest.fixture(scope="module")
def networks(resnet, convnet):
    """Of each library: the network as its users call it, captured, and the names of its activations."""
    linen_net = LinenNet()
    variables = jax.jit(linen_net.init)(jax.random.key(2), IMAGES)
    block = ("conv0", "bn0", "conv1")
    return {
        "nnx": (
            resnet,
            lj.capture(resnet),
            [
                "stem",
                *[f"blocks.{i}{part}" for i in range(2) for part in (*[f".{name}" for name in block], "")],
                *[f"blocks.0.{name}/2" for name in block],
                "blocks.0/2",
                "head",
                "output",
            ],
        ),
        "equinox": (
            lambda images: jax.vmap(convnet)(images.transpose(0, 3, 1, 2)),
            lj.capture(convnet),
            ["layers.0", "layers.2", "layers.3", "head", "output"],
        ),
        "linen": (
            lambda images: linen_net.apply(variables, images, train=False),
            lj.capture(linen_net, variables, call=inference),
            ["conv", "BatchNorm_0", "CheckpointConv_0", "Dense_0", "output"],
        ),
    }


@pytest.fixture(scope="module")
def activations(networks):
    """The activations of each captured network."""
    return {library: jax.jit(lambda x, model=model: model(x))(IMAGES) for library, (_, model, _) in networks.items()}


def loss(model):
    return lambda images: jnp.sin(model(images)).sum()


@pytest.mark.parametrize("library", ["nnx", "equinox", "linen"])
def test_the_activations_of_a_network_by_name(networks, activations, library):
    network, model, names = networks[library]
    found = activations[library]
    assert [layer.name for layer in model.layers] == names
    assert {layer.name: layer.channels for layer in model.layers} == {n: a.shape[-1] for n, a in found.items()}
    value, expected = jax.jit(jax.value_and_grad(loss(network)))(IMAGES)
    np.testing.assert_allclose(jnp.sin(found["output"]).sum(), value, rtol=1e-5)
    gradient = jax.jit(jax.grad(loss(lambda images: model(images)["output"])))(IMAGES)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


def test_activations_of_submodules_are_those_of_the_submodules(resnet, convnet, activations):
    found = activations["nnx"]
    block, before = resnet.blocks[0], found["blocks.1"]
    np.testing.assert_allclose(found["blocks.0.bn0/2"], block.bn0(block.conv0(before)), atol=1e-6)
    np.testing.assert_allclose(found["blocks.0/2"], block(before), atol=1e-6)
    first = jax.vmap(convnet.layers[0])(IMAGES.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(activations["equinox"]["layers.0"], first, atol=1e-6)


def test_names_survive_the_jit_of_the_libraries(resnet, convnet):
    class Inner(eqx.Module):
        conv: eqx.nn.Conv2d

        @eqx.filter_jit
        def __call__(self, x):
            return self.conv(x)

    class Outer(nnx.Module):
        def __init__(self, block):
            self.block = block

        @nnx.jit
        def __call__(self, x):
            return nnx.remat(lambda block, y: block(y))(self.block, x)

    shapes = jax.eval_shape(lj.capture(Inner(convnet.layers[0])), IMAGES)
    assert sorted(shapes) == ["conv", "output"]
    shapes = jax.eval_shape(lj.capture(Outer(resnet.blocks[0])), jnp.zeros((1, 4, 4, 4)))
    assert sorted(shapes) == ["block", "block.bn0", "block.conv0", "block.conv1", "output"]


def test_the_users_network_and_its_classes_stay_as_they_are(resnet, convnet):
    kinds = {type(m) for _, m in nnx.iter_modules(resnet)} | {ConvNet, eqx.nn.Conv, eqx.nn.Linear, nnx.Conv}
    before = {kind: dict(vars(kind)) for kind in kinds}
    jax.eval_shape(lj.capture(resnet), IMAGES)
    with pytest.raises(RuntimeError, match="failed"):
        jax.eval_shape(lj.capture(convnet, call=lambda network, picture: network(picture, fail=True)), IMAGES)
    assert {kind: dict(vars(kind)) for kind in kinds} == before
    assert type(convnet.layers[0]) is eqx.nn.Conv2d
    assert type(resnet.blocks[0]) is Residual


def test_other_weights_share_a_compilation(networks):
    for _, model, _ in networks.values():
        trained = jax.tree.map(lambda x: x + x if eqx.is_inexact_array(x) else x, model)
        before, after = partition(model)[1], partition(trained)[1]
        assert before == after
        assert hash(before) == hash(after)


def test_several_outputs_and_preprocessing():
    class Twice(eqx.Module):
        def __call__(self, x):
            return x, {"half": x / 2, "count": jnp.int32(3)}

    class Net(eqx.Module):
        twice: Twice

        def __call__(self, x):
            x, others = self.twice(x)
            return x + others["half"]

    mean, std = (0.1, 0.2, 0.3), 0.5
    found = lj.capture(Net(Twice()), mean=mean, std=std)(IMAGES)
    np.testing.assert_allclose(found["twice.1.half"], (IMAGES - np.float32(mean)) / std / 2, rtol=1e-5)
    assert list(found) == ["twice.0", "twice.1.half", "output"]
    batch = lj.capture(
        Net(Twice()), one_picture=False, channels="last", call=lambda net, x: jax.vmap(net)(x.transpose(0, 3, 1, 2))
    )
    assert batch(IMAGES)["twice.0"].shape == (2, 3, 24, 24)


def test_channels_come_last_also_after_modules_that_are_mapped_over_positions():
    class Net(eqx.Module):
        norm: eqx.nn.LayerNorm
        scale: eqx.nn.Linear

        def __call__(self, x):
            x = jax.vmap(jax.vmap(self.norm, 1, 1), 1, 1)(x)
            return jax.vmap(jax.vmap(self.scale, 1, 1), 1, 1)(x)

    images = jax.random.uniform(jax.random.key(6), (2, 4, 5, 3))
    net = Net(eqx.nn.LayerNorm(3), eqx.nn.Linear(3, 6, key=jax.random.key(7)))
    model = lj.capture(net)
    found = model(images)
    normal = jax.nn.standardize(images, epsilon=1e-5)
    np.testing.assert_allclose(found["norm"], normal, atol=1e-3)
    np.testing.assert_allclose(found["scale"], normal @ net.scale.weight.T + net.scale.bias, atol=1e-3)
    np.testing.assert_array_equal(found["scale"], found["output"])
    np.testing.assert_array_equal(model(images, given={"norm": found["norm"]})["output"], found["output"])


def test_a_render_of_a_captured_network(networks):
    model = networks["equinox"][1]
    result = lj.visualize("layers.3:2", model=model, size=24, steps=3, transform=None, progress=False)
    assert result.values[-1] > result.values[0]
    assert result.record["model"] == "ConvNet"
    assert result.record["relu"] == "torchlight"
    many = lj.visualize_many(
        lj.channel("layers.3", [2, 3]), model=model, size=24, steps=3, transform=None, progress=False
    )
    np.testing.assert_allclose(many.in_order()[0].images, result.images, atol=1e-4)


@jax.custom_jvp
def scaled_rectifier(scale, x):
    return jnp.maximum(x, 0)


scaled_rectifier.defjvp(
    lambda primals, tangents: (jnp.maximum(primals[1], 0), primals[0] * tangents[1] * (primals[1] > 0))
)

X = 4 * jax.random.normal(jax.random.key(3), (2, 5, 5, 3))
RECTIFIERS = {
    "jax.nn.relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum, turned round": lambda x: jnp.maximum(0.0, x),
    "array of zeros": lambda x: lax.max(x, jnp.zeros_like(x)),
    "clip": lambda x: jnp.clip(x, 0),
    "nested": jax.checkpoint(jax.jit(lambda x: jnp.maximum(x, 0))),
    "of lightjax": ops.relu,
    "with another argument first": lambda x: scaled_rectifier(jnp.ones(()), x),
}
BOUNDED = {
    "jax.nn.relu6": jax.nn.relu6,
    "clip to 6": lambda x: jnp.clip(x, 0, 6),
    "lax.clamp": lambda x: lax.clamp(0.0, x, 6.0),
}
OTHERS = {
    "softplus": jax.nn.softplus,
    "hard_swish": jax.nn.hard_swish,
    "gelu": jax.nn.gelu,
    "of weights": lambda x: x * jnp.maximum(jnp.cos(jnp.arange(3.0)), 0),
    "variance": lambda x: (
        x / jnp.sqrt(jnp.maximum(0, (x * x).mean(-1, keepdims=True) - x.mean(-1, keepdims=True) ** 2))
    ),
}


def value_and_gradient(function):
    weights = jnp.cos(jnp.arange(X.size, dtype=X.dtype)).reshape(X.shape)
    value, back = jax.vjp(function, X)
    return value, back(weights)[0]


@pytest.mark.parametrize("rule", ops.RULES)
def test_the_rule_of_the_rectifiers_in_every_spelling(rule):
    relu = ops.rectifier(rule)
    cases = [(name, spelling, relu) for name, spelling in RECTIFIERS.items()]
    cases += [(name, spelling, lambda x: jnp.minimum(relu(x), 6)) for name, spelling in BOUNDED.items()]
    cases += [(name, other, other) for name, other in OTHERS.items()]

    @jax.jit
    def compute():
        found, expected = {}, {}
        for name, function, replaced in cases:
            model = lj.capture(function)
            found[name] = value_and_gradient(lambda x, model=model: model(x, relu=relu)["output"])
            expected[name] = value_and_gradient(replaced)
            found[f"{name} as it is"] = value_and_gradient(lambda x, model=model: model(x)["output"])
            expected[f"{name} as it is"] = value_and_gradient(function)
        return found, expected

    found, expected = compute()
    assert len(found) == 2 * len(cases)
    for name in found:
        for mine, other in zip(found[name], expected[name], strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6, err_msg=name)


def test_lucids_rule_looks_at_each_picture_of_a_network_that_takes_one():
    relu = ops.rectifier("lucid")
    images = jnp.array([[[[-1.0, -1.0, -1.0]]], [[[1.0, -1.0, -1.0]]]])

    def of_batch(x):
        return {"y": jax.nn.relu(x)}

    def of_one(x):
        return {"y": jax.nn.relu(x)}

    models = lj.capture(of_batch), lj.capture(of_one, one_picture=True)
    for model in models:
        found = jax.jit(jax.grad(lambda x, model=model: model(x, relu=relu)["y"].sum()))(images)
        np.testing.assert_array_equal(found, [[[[1, 1, 1]]], [[[1, 0, 0]]]])


KERNEL = jax.random.normal(jax.random.key(4), (3, 3, 3, 4))
WIDE = jnp.ones((3, 3, 1, 6))
LAST, FIRST = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")
OPERATIONS = {
    "conv": (1, lambda x: lax.conv_general_dilated(x, KERNEL, (2, 2), "SAME", dimension_numbers=LAST)),
    "conv, channels first": (
        1,
        lambda x: lax.conv_general_dilated(
            x.transpose(0, 3, 1, 2), KERNEL.transpose(3, 2, 0, 1), (1, 1), ((1, 2), (0, 1)), dimension_numbers=FIRST
        ),
    ),
    "conv, odd layout": (
        1,
        lambda x: lax.conv_general_dilated(
            x.transpose(3, 1, 2, 0), KERNEL, (2, 2), "VALID", dimension_numbers=("CHWN", "HWIO", "CWNH")
        ),
    ),
    "conv, depthwise": (
        1,
        lambda x: lax.conv_general_dilated(
            x, WIDE, (2, 1), "SAME", rhs_dilation=(1, 2), dimension_numbers=LAST, feature_group_count=3
        ),
    ),
    "conv, patches": (0, lambda x: lax.conv_general_dilated(x, KERNEL, (3, 3), "VALID", dimension_numbers=LAST)),
    "max pool, 2x3": (1, lambda x: linen.max_pool(x, (2, 3), (2, 1), "SAME")),
    "max pool": (1, lambda x: linen.max_pool(x, (3, 3), (2, 2), "SAME")),
    "max pool, channels first": (
        1,
        lambda x: lax.reduce_window(
            x.transpose(0, 3, 1, 2), -jnp.inf, lax.max, (1, 1, 3, 3), (1, 1, 1, 1), ((0, 0), (0, 0), (1, 0), (0, 1))
        ),
    ),
    "conv, unequal padding below 0": (
        0,
        lambda x: lax.conv_general_dilated(x, KERNEL, (1, 1), ((-1, 1), (0, 0)), dimension_numbers=LAST),
    ),
    "conv of one axis": (
        0,
        lambda x: lax.conv_general_dilated(x[:, 0], KERNEL[0], (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")),
    ),
    "transposed conv": (0, lambda x: lax.conv_transpose(x, KERNEL, (2, 2), "SAME")),
    "max pool of three axes": (
        0,
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 3), (1, 1, 1, 1), "VALID"),
    ),
}


def test_convolutions_and_max_pools_get_fast_derivatives_in_any_layout():
    models = {name: lj.capture(function) for name, (_, function) in OPERATIONS.items()}
    for name, model in models.items():
        counts = [str(jax.make_jaxpr(one)(X)).count("custom_vjp_call[") for one in (model, replace(model, fast=False))]
        assert counts == [OPERATIONS[name][0], 0], name

    @jax.jit
    def compute():
        found = {n: jax.value_and_grad(loss(lambda x, m=m: m(x)["output"]))(X) for n, m in models.items()}
        return found, {n: jax.value_and_grad(loss(function))(X) for n, (_, function) in OPERATIONS.items()}

    found, expected = compute()
    for name in OPERATIONS:
        np.testing.assert_allclose(found[name][0], expected[name][0], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(found[name][1], expected[name][1], atol=1e-5, err_msg=name)


def flops(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


@pytest.mark.parametrize(
    ("library", "layer", "shallow"), [("nnx", "blocks.1", "stem"), ("equinox", "layers.3", "layers.0")]
)
def test_a_network_runs_on_from_given_activations(networks, activations, library, layer, shallow):
    _, model, names = networks[library]
    found = activations[library]
    later = jax.jit(lambda images, a: model(images, given={layer: a}))(IMAGES * jnp.nan, found[layer])
    assert set(later) == set(names[names.index(layer) :])
    for name, activation in later.items():
        np.testing.assert_allclose(activation, found[name], rtol=1e-6, atol=1e-7, err_msg=name)
    output = lambda images: model(images)["output"]
    cut = lambda a: model(IMAGES, given={layer: a})["output"]
    before = lambda images: model(images)[layer]
    whole = jax.jit(jax.grad(loss(output)))(IMAGES)
    chained = jax.jit(lambda images, a: jax.vjp(before, images)[1](jax.grad(loss(cut))(a))[0])(IMAGES, found[layer])
    np.testing.assert_allclose(chained, whole, atol=1e-6)
    total = flops(output, IMAGES)
    assert flops(cut, found[layer]) < 0.8 * total
    assert flops(lambda images: model(images)[shallow], IMAGES) < 0.8 * total


def test_what_cannot_be_given():
    def function(x):
        a, b = jax.jit(lambda x: (jnp.tanh(x), jnp.sin(x)))(x)
        return {"a": a, "both": jnp.concatenate([a, b], -1), "copy": a.astype(jnp.bfloat16), "end": a + b}

    model = lj.capture(function)
    found = model(X)
    assert list(model(X, given={"a": found["a"]})) == ["a", "both", "copy", "end"]
    for given, error, message in [
        ({"both": found["both"]}, ValueError, "'both' leads nowhere"),
        ({"copy": found["copy"]}, ValueError, "'copy' leads nowhere"),
        ({"end": found["end"]}, ValueError, "'end' leads nowhere"),
        ({"a": found["both"]}, ValueError, r"'a' must have shape \[2, 5, 5, 3\], got \[2, 5, 5, 6\]"),
        ({"boths": found["a"]}, ValueError, "did you mean 'both'"),
        ([found["a"]], TypeError, "must map names of layers to activations"),
    ]:
        with pytest.raises(error, match=message):
            model(X, given=given)


def test_inception_runs_on_from_given_activations():
    small = Block(4, 4, 4, 4, 4, 4)
    architecture = replace(INCEPTION5H, stem=(4, 4, 4), blocks=(small,) * 9, classes=7)
    model = InceptionV1(architecture, rngs=nnx.Rngs(0))
    traced = lj.capture(lambda images: model(images))
    images = jax.random.uniform(jax.random.key(5), (1, 64, 64, 3))
    found = jax.jit(lambda images: model(images))(images)
    given = {name: found[name] for name in ("mixed4d", "mixed5a_1x1")}
    later = jax.jit(lambda images, given: model(images, given=given))(images * jnp.nan, given)
    assert set(later) == set(jax.eval_shape(lambda images: traced(images, given=given), images))
    assert {"mixed4d", "mixed4e_pre_relu", "mixed5a", "softmax2"} < set(later)
    assert not {"input", "mixed4c", "mixed4d_1x1"} & set(later)
    for name, activation in later.items():
        np.testing.assert_allclose(activation, found[name], rtol=1e-5, err_msg=name)
    for name, message in [
        ("softmax2", "leads nowhere"),
        ("input", "unknown layer"),
        ("mixed4c", "must have shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            model(images, given={name: found["mixed5a"]} if name == "mixed4c" else {name: found[name]})


def test_networks_that_cannot_be_captured(resnet):
    training = ResNet(nnx.Rngs(0))
    linen_net = LinenNet()
    for error, message, make in [
        (TypeError, "got the class ResNet: call it first", lambda: lj.capture(ResNet)),
        (TypeError, "must be a module or a function of images", lambda: lj.capture({"a": 1})),
        (TypeError, "needs its variables", lambda: lj.capture(linen_net)),
        (TypeError, "variables must be None", lambda: lj.capture(resnet, {})),
        (ValueError, "unknown place of channels 'middle'", lambda: lj.capture(resnet, channels="middle")),
        (ValueError, "mean must be one number, or one for red", lambda: lj.capture(resnet, mean=(1, 2))),
        (ValueError, "std must be greater than 0", lambda: lj.capture(resnet, std=0)),
        (TypeError, "fast must be True or False", lambda: lj.capture(resnet, fast=1)),
        (TypeError, re.escape("call its eval() first"), lambda: lj.capture(training)(IMAGES)),
        (TypeError, "activations must be arrays", lambda: lj.capture(lambda x: {"a": ["x"]})(IMAGES)),
        (TypeError, "returns no array of floats", lambda: lj.capture(lambda x: None)(IMAGES)),
    ]:
        with pytest.raises(error, match=message):
            make()
