"""Networks of PyTorch in JAX: values, names, layers, files, and what is refused."""

import dataclasses
import json
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import torch.nn.functional as F
from torch import nn

import lightjax as lj
from lightjax import cli, ops
from lightjax.networks import ConversionError, ConvertedNetwork, WeightsError, torch_network
from lightjax.networks.graph import Graph, GraphError
from tests.networks import zoo
from tests.parity import reference

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}
SMALL = ("resnet", "densenet", "mobilenet_v2", "efficientnet", "convnext", "vit", "swin")
FIXED = ("vit", "swin")


class Net(nn.Module):
    """A module that is called twice and works in place, and another with two results."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=2), nn.BatchNorm2d(8))
        self.both = Both()
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.relu(x + self.block(x))
        mean, largest = self.both(x)
        return self.head(torch.cat([mean, largest], 1))


class Both(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), x.amax((2, 3))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return zoo.randomized(Net())


@pytest.fixture(scope="module")
def model(net) -> ConvertedNetwork:
    return lj.from_torch(net, size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), class_names=list("abcde"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((2, 32, 32, 3), np.float32)


@pytest.mark.parametrize("name", SMALL)
def test_every_layer_of_a_small_network_agrees_with_pytorch(name):
    net = zoo.small(name)
    converted = lj.from_torch(net, size=32, check=False, **PLAIN)
    assert max(torch_network.compare(converted, net).values()) < 1e-5
    assert (converted.size == (32, 32)) == (name in FIXED)
    assert converted.layers[-1] == ("output", 7, None, None)


@pytest.mark.zoo
@pytest.mark.slow
@pytest.mark.parametrize(("library", "name"), [(library, name) for library in zoo.WHOLE for name in zoo.WHOLE[library]])
def test_every_layer_of_a_published_network_agrees_with_pytorch(library, name):
    net = zoo.whole(library, name)
    start = time.process_time()
    converted = lj.from_torch(net, size=zoo.WHOLE[library][name], check=False, **PLAIN)
    converting = time.process_time() - start
    differences = torch_network.compare(converted, net)
    checking = time.process_time() - start - converting
    print(f"{library} {name}: {len(converted.graph.nodes)} operations, {len(differences)} layers,", end=" ")
    print(f"worst {max(differences.values()):.1e}, size {converted.size or 'any'},", end=" ")
    print(f"converted in {converting:.1f} s of processor time, checked in {checking:.1f} s")


def test_layers_have_the_names_of_modules_and_the_order_of_calls(model):
    assert [tuple(layer) for layer in model.layers] == [
        ("input", 3, 1, 1),
        ("first", 8, 2, 3),
        ("relu", 8, 2, 3),
        ("block.0", 8, 2, 7),
        ("block.1", 8, 2, 7),
        ("block", 8, 2, 7),
        ("relu/2", 8, 2, 7),
        ("both.0", 8, None, None),
        ("both.1", 8, None, None),
        ("head", 5, None, None),
        ("output", 5, None, None),
    ]


def test_a_stride_and_a_receptive_field_are_those_of_the_gradient(model, images):
    """The pixels that a position of a layer depends on, by its gradient."""
    for layer in model.layers:
        if layer.name.startswith(("first", "relu", "block")):
            gradient = jax.grad(lambda x, name=layer.name: model(x)[name][0, 7, 7].sum())(images[:1] + 1)
            rows = np.flatnonzero(np.abs(gradient[0]).sum((1, 2)))
            assert len(rows) <= layer.receptive_field
            assert abs((rows[0] + rows[-1]) / 2 - 7 * layer.stride) <= 1


def test_values_are_pytorchs_with_the_preprocessing_at_any_size_and_batch(model, net):
    images = np.random.default_rng(1).random((3, 21, 40, 3), np.float32)
    x = (torch.tensor(images) - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.3, 0.4])
    with torch.no_grad():
        expected = net(x.permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(model(images)["output"], expected, rtol=1e-4, atol=1e-5)


def test_bgr_and_scale_are_applied_before_the_network():
    net = nn.Conv2d(3, 3, 1, bias=False)
    net.weight.data = torch.eye(3)[:, :, None, None]
    converted = lj.from_torch(net, size=8, mean=(10, 20, 30), std=(1, 2, 4), scale=255, bgr=True)
    images = np.full((1, 8, 8, 3), [1.0, 0.5, 0.0], np.float32)
    expected = [(0 - 30) / 4, (127.5 - 20) / 2, 255 - 10]
    np.testing.assert_allclose(converted(images)["output"][0, 0, 0], expected, rtol=1e-6)


def test_the_rectifier_is_the_callers_choice(model, images):
    def gradient(relu):
        return jax.grad(lambda x: model(x, relu=relu)["relu/2"].sum())(images)

    assert not np.allclose(gradient(ops.relu), gradient(ops.leaky_gradient_relu))


def test_relu6_redirects_below_and_stops_above():
    converted = lj.from_torch(nn.Sequential(nn.ReLU6()), size=2, **PLAIN)
    x = jnp.array([-1.0, 3.0, 7.0, 0.5]).reshape(1, 2, 2, 1) * jnp.ones((1, 1, 1, 3))
    gradient = jax.grad(lambda x: converted(x, relu=ops.leaky_gradient_relu)["0"].sum())(x)
    np.testing.assert_allclose(gradient[0, ..., 0], [[0.1, 1], [0, 1]])


def test_tokens_are_a_grid_with_the_class_token_beside_it():
    net = zoo.small("vit")
    converted = lj.from_torch(net, size=32, **PLAIN)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    found = converted(images)
    layer = "encoder.layers.encoder_layer_1"
    with torch.no_grad():
        tokens = torch_network.torch_export.recorded(net, torch.tensor(images).permute(0, 3, 1, 2))[layer].numpy()
    np.testing.assert_allclose(found[layer].reshape(2, 16, 16), tokens[:, 1:], atol=1e-5)
    np.testing.assert_allclose(found[f"{layer}.cls"], tokens[:, 0], atol=1e-5)
    of_class = lj.objectives.parse(f"channel({layer!r}, 5, tokens='class')", found)
    np.testing.assert_allclose(of_class(found), tokens[:, 0, 5].mean(), atol=1e-5)
    assert found[layer].shape == (2, 4, 4, 16)
    assert ("encoder.dropout", 16, 8, 8) in converted.layers  # before the first attention
    assert (layer, 16, 8, None) in converted.layers


def test_a_network_goes_on_from_given_layers(model, images):
    whole = model(images)
    for layer in ("first", "relu", "block.1", "relu/2"):
        rest = model(images, given={layer: whole[layer]})
        assert layer in rest
        np.testing.assert_array_equal(rest["output"], whole["output"])
    assert model(images, given={"relu/2": whole["relu/2"]}).keys() == {"relu/2", "both.0", "both.1", "head", "output"}
    flops = [
        jax.jit(f).lower(images, whole["relu/2"]).compile().cost_analysis()["flops"]
        for f in (lambda x, a: model(x)["output"], lambda x, a: model(x, given={"relu/2": a})["output"])
    ]
    assert flops[1] < 0.2 * flops[0]
    with pytest.raises(ValueError, match="nothing is computed from 'output' alone"):
        model(images, given={"output": whole["output"]})
    with pytest.raises(ValueError, match="'relu/3', which this network does not have"):
        model(images, given={"relu/3": whole["relu"]})


def test_work_stops_at_the_layer_that_is_read(model, images):
    flops = [
        jax.jit(lambda x, name=name: model(x)[name]).lower(images).compile().cost_analysis()["flops"]
        for name in ("first", "block.0", "output")
    ]
    assert flops[0] < 0.6 * flops[1] < flops[2]


def test_a_file_brings_the_network_back(model, images, tmp_path):
    model.save(tmp_path / "net.safetensors")
    back = lj.load_model(tmp_path / "net.safetensors")
    assert (back.source, back.class_names, back.layers) == (model.source, tuple("abcde"), model.layers)
    assert re.fullmatch("Net@[0-9a-f]{12}", model.source)
    for layer, value in model(images).items():
        np.testing.assert_array_equal(back(images)[layer], value)
    model.save(tmp_path / "half.safetensors", half=True)
    half = lj.load_model(tmp_path / "half.safetensors")
    assert half.source == f"{model.source}, float16 weights"
    np.testing.assert_allclose(half(images)["output"], model(images)["output"], atol=1e-2)
    assert (tmp_path / "half.safetensors").stat().st_size < (tmp_path / "net.safetensors").stat().st_size
    low = lj.load_model(tmp_path / "net.safetensors", dtype="bfloat16")
    assert low(images)["output"].dtype == np.float32
    np.testing.assert_allclose(low(images)["output"], model(images)["output"], atol=0.1)


def test_networks_of_one_structure_share_their_programs(model, compiled, tmp_path):
    other = dataclasses.replace(model, parameters={key: 0.9 * value for key, value in model.parameters.items()})
    settings = {"size": 32, "steps": 2, "progress": False, "transform": None}
    lj.visualize(lj.channel("block.1", 3), model=model, **settings)
    count = len(compiled)
    model.save(tmp_path / "net.safetensors")
    lj.visualize(lj.channel("block.1", 4), model=other, **settings)
    lj.visualize(lj.channel("block.1", 4), model=lj.load_model(tmp_path / "net.safetensors"), **settings)
    assert len(compiled) == count


def test_a_render_excites_its_channel(model):
    result = lj.visualize(lj.channel("relu/2", 5), model=model, size=32, steps=20, progress=False)
    assert result.values[-1] > result.values[0]
    assert result.model == "Net"
    label = lj.visualize(lj.class_logit("c"), model=model, size=32, steps=1, progress=False)
    assert label.settings["objective"] == "class_logit('c')"
    logit = lj.visualize(lj.channel("output", 2), model=model, size=32, steps=1, progress=False)
    np.testing.assert_array_equal(label.image, logit.image)


def test_a_network_of_one_channel_gets_gray_pictures_of_its_size():
    net = nn.Sequential(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 12 * 12, 3))
    converted = lj.from_torch(net, size=28, mean=0.13, std=0.31)
    assert lj.visualize("3:2", model=converted, steps=1, progress=False).image.shape == (28, 28, 1)


def test_the_network_of_the_user_is_left_as_it_was():
    net = Net().train().double()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    converted = lj.from_torch(net, size=32, **PLAIN)
    assert net.training
    assert net.block[1].training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert converted.parameters["first.weight"].dtype == np.float32


def test_a_program_of_torch_export_is_converted_too(net, model, images, tmp_path):
    batch = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(net, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch, strict=False)
    converted = lj.from_torch(program, mean=model.graph.mean, std=model.graph.std)
    assert converted.size == (32, 32)
    np.testing.assert_allclose(converted(images)["output"], model(images)["output"], atol=1e-5)
    np.testing.assert_allclose(converted(images)["block.0"], model(images)["block.0"], atol=1e-5)
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(SystemExit) as caught:
        cli.main(
            [
                "convert",
                str(tmp_path / "net.pt2"),
                "--mean",
                "0,0,0",
                "--std",
                "1,1,1",
                "-o",
                str(tmp_path / "a.safetensors"),
            ]
        )
    assert caught.value.code == 0
    assert lj.load_model(tmp_path / "a.safetensors").layers == converted.layers


def make_net() -> nn.Module:
    """For the command line."""
    torch.manual_seed(0)
    return zoo.randomized(Net())


def test_the_command_line_converts_a_function_and_a_checkpoint(net, model, images, tmp_path, capsys):
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "net.pth"
    )
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    out = tmp_path / "net.safetensors"
    command = ["convert", f"{__name__}:make_net", "--checkpoint", str(tmp_path / "net.pth"), "-o", str(out)]
    options = [
        "--mean",
        "0.5,0.4,0.3",
        "--std",
        "0.2,0.3,0.4",
        "--size",
        "32",
        "--classes",
        str(tmp_path / "names.txt"),
    ]
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, *options])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert "took the weights from 'state_dict'" in told
    assert "11 layers, for images of any size" in told
    back = lj.load_model(out)
    np.testing.assert_array_equal(back(images)["output"], model(images)["output"])
    assert back.class_names == tuple("abcde")
    with pytest.raises(SystemExit):
        cli.main(["layers", "--model", str(out)])
    assert "relu/2" in capsys.readouterr().out
    zoo.torchvision()
    for arguments, message in (
        (["convert", "torchvision:nothing"], "torchvision has no network 'nothing'"),
        (["convert", "nowhere:net"], "cannot import nowhere"),
        (["convert", f"{__name__}:nothing"], "has no function 'nothing'"),
        (["convert", f"{__name__}:make_net", "--verify"], "--verify is for checkpoints"),
        (["convert", str(tmp_path / "net.pth"), "--bgr"], "--bgr is for networks such as torchvision:resnet50"),
        (["convert", str(tmp_path / "none.pt2")], "there is no file"),
        (["convert", f"{__name__}:make_net", "--mean", "a"], "--mean must be numbers with commas between them"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
        assert message in capsys.readouterr().err


class Twisted(nn.Module):
    """A network with a fault that a test names."""

    def __init__(self, fault: str):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fault = fault

    def forward(self, x):
        match self.fault:
            case "random":
                return self.conv(x) + torch.rand(4, 1, 1)
            case "unknown":
                return torch.special.bessel_j0(self.conv(x))
            case "branch":
                return self.conv(x) if x.sum() > 0 else x
            case "batch":
                return self.conv(x).reshape(2, -1)
            case "volume":
                return F.conv3d(x[:, None], torch.ones(1, 1, 1, 1, 1))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("random", "layer 'output' differs from PyTorch by|uses operations that lightjax does not know: rand"),
        ("unknown", r"operations that lightjax does not know: special_bessel_j0 \(in module ''\)"),
        ("branch", "torch.export cannot trace Twisted for 3 channels of 16x16 pixels: "),
        ("batch", "must take any number of pictures, but it takes 2"),
        ("volume", "does not know: conv3d"),
    ],
)
def test_a_network_that_cannot_be_converted_is_refused(fault, message, capfd):
    with pytest.raises(ConversionError, match=message):
        lj.from_torch(Twisted(fault), size=16, **PLAIN)
    assert capfd.readouterr() == ("", "")


def test_wrong_arguments_are_refused(net):
    with pytest.raises(ConversionError, match=r"give mean=\.\.\. and std=\.\.\."):
        lj.from_torch(net)
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got function"):
        lj.from_torch(lambda x: x, **PLAIN)
    with pytest.raises(ValueError, match="one number for each channel, got 3 and 1"):
        lj.from_torch(net, mean=(0, 0, 0), std=1)
    with pytest.raises(ValueError, match="the network has 5 classes, got 2 class_names"):
        lj.from_torch(net, size=32, class_names=["a", "b"], check=False, **PLAIN)
    with pytest.raises(ValueError, match=r"must be called NAME\.safetensors"):
        lj.from_torch(nn.Conv2d(3, 2, 1), size=4, check=False, **PLAIN).save("net.pth")


def test_preprocessing_is_read_where_it_is_known(net):
    net.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "input_size": (3, 20, 24)}
    try:
        graph = lj.from_torch(net, check=False).graph
    finally:
        del net.pretrained_cfg
    assert (graph.mean, graph.std, graph.size) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (20, 24))
    transforms = zoo.torchvision().models.ResNet50_Weights.DEFAULT.transforms()
    graph = lj.from_torch(net, preprocess=transforms, size=32, check=False).graph
    assert (graph.mean, graph.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def edits(graph: dict) -> dict[str, dict]:
    """Graphs that nobody should compute, by what is wrong with them."""

    def edited(**changes) -> dict:
        return {**json.loads(json.dumps(graph)), **changes}

    def node(place: int, **changes) -> dict:
        made = edited()
        name, op, module, arguments = made["nodes"][place]
        fields = {"name": name, "op": op, "module": module, "arguments": arguments} | changes
        made["nodes"][place] = list(fields.values())
        return made

    first = graph["nodes"][0][3]
    deep: list = []
    for _ in range(50):
        deep = [deep]
    return {
        "not known to lightjax": node(0, op="system"),
        "operation is no text": node(0, op=["conv2d"]),
        "dunder": node(0, op="__class__"),
        "extra argument": node(0, arguments=first | {"evil": 1}),
        "missing argument": node(0, arguments={}),
        "later node": node(0, arguments=first | {"input": {"node": graph["nodes"][-1][0]}}),
        "itself": node(0, arguments=first | {"input": {"node": graph["nodes"][0][0]}}),
        "unknown parameter": node(0, arguments=first | {"weight": {"tensor": "nothing"}}),
        "shape that lies": node(0, arguments=first | {"weight": {"tensor": "first.bias"}}),
        "number for a tensor": node(0, arguments=first | {"input": 3}),
        "text for a number": node(0, arguments=first | {"stride": "wide"}),
        "negative stride": node(0, arguments=first | {"stride": [-1, -1]}),
        "huge padding": node(0, arguments=first | {"padding": [2**62, 2**62]}),
        "unknown type": node(0, arguments=first | {"input": {"dtype": "object"}}),
        "strange argument": node(0, arguments=first | {"input": {"file": "/etc/passwd"}}),
        "deep argument": node(0, arguments=first | {"padding": deep}),
        "two nodes of one name": edited(nodes=[graph["nodes"][0]] * 2 + graph["nodes"][1:]),
        "a billion nodes": edited(nodes=[graph["nodes"][0]] * 30_000),
        "no nodes": edited(nodes=None),
        "a node of three": edited(nodes=[graph["nodes"][0][:3]]),
        "layer of no node": edited(outputs=[["a", "nothing", [0, 1], "", 3, None, None]]),
        "layer of wrong axes": edited(outputs=[["a", graph["nodes"][0][0], [0, 1, 1, 2], "", 8, None, None]]),
        "layer of lying channels": edited(outputs=[["a", graph["nodes"][0][0], [0, 2, 3, 1], "", 9, None, None]]),
        "layer of unknown tokens": edited(outputs=[["a", graph["nodes"][0][0], [0, 2, 3, 1], "grid", 8, None, None]]),
        "layers twice": edited(outputs=graph["outputs"] * 2),
        "wrong order": edited(orders={"first.weight": [0, 0, 1, 1]}),
        "later version": edited(version=99),
        "no version": {key: value for key, value in graph.items() if key != "version"},
        "unknown field": edited(secret=1),
        "size of texts": edited(size=["a", "b"]),
        "size beyond reason": edited(size=[2**40, 2**40]),
        "std 0": edited(std=[1, 0, 1]),
        "mean of texts": edited(mean=["a", "b", "c"]),
        "mean of two": edited(mean=[1, 2]),
        "scale NaN": edited(scale=float("nan")),
    }


def test_hostile_graphs_are_refused(model, tmp_path):
    model.save(tmp_path / "net.safetensors")
    with safetensors.safe_open(tmp_path / "net.safetensors", "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    graph = json.loads(metadata["graph"])
    assert Graph.from_json(metadata["graph"], tensors) == model.graph
    texts = {name: json.dumps(made) for name, made in edits(graph).items()}
    texts |= {"no JSON": "{", "deep JSON": "[" * 100_000, "a list": "[]", "nothing": "", "null": "null"}
    for name, text in texts.items():
        safetensors.numpy.save_file(tensors, tmp_path / "evil.safetensors", metadata | {"graph": text})
        with pytest.raises(WeightsError) as caught:
            lj.load_model(tmp_path / "evil.safetensors")
        assert "\n" not in str(caught.value), name
        assert len(str(caught.value)) < 600, name
    with pytest.raises(GraphError, match="class names"):
        ConvertedNetwork.read(metadata | {"class_names": '{"a": 1}'}, tensors)


class GoogLeNet(nn.Module):
    """The reference of the parity tests as a module."""

    def __init__(self, state: dict[str, torch.Tensor]):
        super().__init__()
        self.keys = list(state)
        for number, value in enumerate(state.values()):
            self.register_buffer(f"tensor{number}", value)

    def forward(self, x):
        state = {key: getattr(self, f"tensor{number}") for number, key in enumerate(self.keys)}
        return reference.activations("bvlc_googlenet", state, x)


def test_googlenet_by_this_route_is_the_hand_written_inception_at_every_layer(
    googlenet_file, googlenet_float32, dog_cat
):
    state = torch.load(googlenet_file, weights_only=True)
    net = GoogLeNet(state)
    picture = lj.load_picture(dog_cat, 96)[None]
    expected = jax.jit(lambda picture: googlenet_float32(picture))(picture)
    names = list(net(torch.zeros(1, 3, 96, 96)))
    converted = lj.from_torch(net, size=96, check=False, **PLAIN)
    found = jax.jit(lambda picture: converted(picture))(picture)
    checked = 0
    for number, name in enumerate(names):
        layer = f"output.{number}"
        if name in expected and layer in found:
            difference = np.abs(found[layer] - expected[name]).max() / np.abs(expected[name]).max()
            assert difference < 1e-5, name
            checked += 1
    assert checked > 80


def test_a_trained_squeezenet_sees_what_pytorch_sees(shared, tmp_path):
    weights = shared / "weights" / "squeezenet1_0.pth"
    if not weights.exists():
        pytest.skip("weights/squeezenet1_0.pth is not here")
    net = zoo.torchvision().models.squeezenet1_0(weights=None).eval()
    net.load_state_dict(torch.load(weights, weights_only=True))
    converted = lj.from_torch(net, size=224, mean=(123, 117, 104), std=(1, 1, 1), scale=255, bgr=True, check=False)
    pictures = np.stack([lj.load_picture(path, 224) for path in sorted((shared / "images").glob("*.jpg"))[:4]])
    x = 255 * torch.tensor(pictures[..., ::-1].copy()) - torch.tensor([104.0, 117, 123])
    with torch.no_grad():
        expected = net(x.permute(0, 3, 1, 2)).argmax(1).numpy()
    np.testing.assert_array_equal(jax.jit(lambda x: converted(x)["output"])(pictures).argmax(1), expected)
