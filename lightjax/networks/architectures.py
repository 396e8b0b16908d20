"""Records of the published InceptionV1 networks, and the graph of operations that a record describes.

A record holds what the published networks differ in: widths, padding, normalization, preprocessing, classes. `graph`
turns a record into a list of operations. The forward pass, the table of layers and the shapes of the parameters all
follow from this list.

References:
  Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
"""

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Literal, NamedTuple

Padding = Literal["same", "caffe", "torchlight"]


class Block(NamedTuple):
    """Output channels of the six convolutions of an inception block."""

    conv1x1: int
    bottleneck3x3: int
    conv3x3: int
    bottleneck5x5: int
    conv5x5: int
    pool_reduce: int


class ResponseNorm(NamedTuple):
    """Constants of `ops.local_response_norm`."""

    radius: int
    bias: float
    alpha: float
    beta: float


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The record of one variant of InceptionV1.

    Attributes:
      name: A key of `ARCHITECTURES`, or a name of your own.
      stem: Widths of the first three convolutions.
      blocks: Widths of mixed3a, 3b, 4a, 4b, 4c, 4d, 4e, 5a and 5b.
      classes: Number of logits; 0 for a network without a classifier.
      padding: "same" pads as TensorFlow does. With "caffe" the first convolution is padded by (3, 3), with "torchlight"
        by (2, 3); both pad the pools of stride 2 by (0, 1), and everything of stride 1 as "same".
      norm: Constants of the local response normalization.
      mean: Red, green and blue, subtracted from `255 * image`.
      bgr: Whether the network reads blue, green, red.
    """

    name: str
    stem: tuple[int, int, int]
    blocks: tuple[Block, ...]
    classes: int
    padding: Padding
    norm: ResponseNorm
    mean: tuple[float, float, float]
    bgr: bool = False


_GOOGLENET_BLOCKS = (
    Block(64, 96, 128, 16, 32, 32),
    Block(128, 128, 192, 32, 96, 64),
    Block(192, 96, 208, 16, 48, 64),
    Block(160, 112, 224, 24, 64, 64),
    Block(128, 128, 256, 24, 64, 64),
    Block(112, 144, 288, 32, 64, 64),
    Block(256, 160, 320, 32, 128, 128),
    Block(256, 160, 320, 32, 128, 128),
    Block(384, 192, 384, 48, 128, 128),
)

_INCEPTION5H_BLOCKS = (
    *_GOOGLENET_BLOCKS[:2],
    _GOOGLENET_BLOCKS[2]._replace(conv3x3=204),
    *_GOOGLENET_BLOCKS[3:7],
    _GOOGLENET_BLOCKS[7]._replace(bottleneck5x5=48),
    _GOOGLENET_BLOCKS[8],
)

INCEPTION5H = Architecture(
    name="inception5h",
    stem=(64, 64, 192),
    blocks=_INCEPTION5H_BLOCKS,
    classes=1008,
    padding="same",
    norm=ResponseNorm(radius=5, bias=2.0, alpha=1e-4, beta=0.5),
    mean=(117.0, 117.0, 117.0),
)
"""The network of Lucid, Lucent and TorchLight, as TensorFlow ran it."""

INCEPTION5H_TORCHLIGHT = dataclasses.replace(
    INCEPTION5H,
    name="inception5h_torchlight",
    padding="torchlight",
    norm=ResponseNorm(radius=4, bias=1.0, alpha=1e-4 / 9, beta=0.5),
)
"""inception5h as Lucent and TorchLight run it: with fixed padding, and not the normalization of its training."""

BVLC_GOOGLENET = Architecture(
    name="bvlc_googlenet",
    stem=(64, 64, 192),
    blocks=_GOOGLENET_BLOCKS,
    classes=1000,
    padding="caffe",
    norm=ResponseNorm(radius=2, bias=1.0, alpha=1e-4 / 5, beta=0.75),
    mean=(123.0, 117.0, 104.0),
    bgr=True,
)
"""The Caffe GoogLeNet of DeepDream."""

ARCHITECTURES = {a.name: a for a in (INCEPTION5H, INCEPTION5H_TORCHLIGHT, BVLC_GOOGLENET)}
"""The records of the networks that `load_model` knows, by name."""

DEFAULT = BVLC_GOOGLENET.name
"""The network of `visualize` unless another is given; it comes with lightjax."""


def with_classes(architecture: Architecture, classes: int) -> Architecture:
    """The same network with so many classes. With 0 it has no classifier, and its last layer is "avgpool0"."""
    return dataclasses.replace(architecture, classes=classes)


class Node(NamedTuple):
    """One operation of the network: its name, its kind, and the names of its inputs."""

    name: str
    op: Literal["conv", "relu", "max_pool", "norm", "concat", "mean", "linear", "softmax"]
    inputs: tuple[str, ...]
    channels: int
    kernel: int = 1
    stride: int = 1


class Layer(NamedTuple):
    """One row of the table of layers.

    `stride` is the distance between neighboring positions, and `receptive_field` the side of the square that one
    position sees; both in pixels of the image. Both are None for layers without positions.
    """

    name: str
    channels: int
    stride: int | None
    receptive_field: int | None


@functools.lru_cache
def graph(architecture: Architecture) -> tuple[Node, ...]:
    """The operations of a network in the order of computation. The first reads "input"."""
    nodes: list[Node] = []

    def add(name: str, op, inputs: tuple[str, ...], channels: int, kernel: int = 1, stride: int = 1) -> str:
        nodes.append(Node(name, op, inputs, channels, kernel, stride))
        return name

    def conv(name: str, source: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
        before = add(f"{name}_pre_relu_conv", "conv", (source,), channels, kernel, stride)
        return add(name, "relu", (before,), channels)

    def pool(name: str, source: str, stride: int = 2) -> str:
        return add(name, "max_pool", (source,), nodes[-1].channels, 3, stride)

    def norm(name: str, source: str) -> str:
        return add(name, "norm", (source,), nodes[-1].channels)

    def mixed(name: str, source: str, block: Block) -> str:
        channels = nodes[-1].channels
        pooled = add(f"{name}_pool", "max_pool", (source,), channels, 3, 1)
        bottleneck3x3 = conv(f"{name}_3x3_bottleneck", source, block.bottleneck3x3)
        bottleneck5x5 = conv(f"{name}_5x5_bottleneck", source, block.bottleneck5x5)
        branches = (
            conv(f"{name}_1x1", source, block.conv1x1),
            conv(f"{name}_3x3", bottleneck3x3, block.conv3x3, 3),
            conv(f"{name}_5x5", bottleneck5x5, block.conv5x5, 5),
            conv(f"{name}_pool_reduce", pooled, block.pool_reduce),
        )
        channels = block.conv1x1 + block.conv3x3 + block.conv5x5 + block.pool_reduce
        before = tuple(f"{branch}_pre_relu_conv" for branch in branches)
        add(f"{name}_pre_relu", "concat", before, channels)
        return add(name, "concat", branches, channels)

    blocks = iter(architecture.blocks)
    x = conv("conv2d0", "input", architecture.stem[0], 7, 2)
    x = norm("localresponsenorm0", pool("maxpool0", x))
    x = conv("conv2d1", x, architecture.stem[1])
    x = conv("conv2d2", x, architecture.stem[2], 3)
    x = pool("maxpool1", norm("localresponsenorm1", x))
    for name in ("mixed3a", "mixed3b"):
        x = mixed(name, x, next(blocks))
    x = pool("maxpool4", x)
    for name in ("mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed4e"):
        x = mixed(name, x, next(blocks))
    x = pool("maxpool10", x)
    for name in ("mixed5a", "mixed5b"):
        x = mixed(name, x, next(blocks))
    x = add("avgpool0", "mean", (x,), nodes[-1].channels)
    if architecture.classes:
        x = add("softmax2_pre_activation_matmul", "linear", (x,), architecture.classes)
        add("softmax2", "softmax", (x,), architecture.classes)
    return tuple(nodes)


@functools.lru_cache
def layers(architecture: Architecture) -> tuple[Layer, ...]:
    """The table of layers in the order of computation, "input" first."""
    table = {"input": Layer("input", 3, 1, 1)}
    for node in graph(architecture):
        sources = [table[name] for name in node.inputs]
        stride, field = sources[0].stride, max((s.receptive_field or 0) for s in sources)
        if node.op == "mean" or stride is None:
            table[node.name] = Layer(node.name, node.channels, None, None)
        else:
            field += (node.kernel - 1) * stride
            table[node.name] = Layer(node.name, node.channels, stride * node.stride, field)
    return tuple(table.values())


@functools.lru_cache
def parameter_shapes(architecture: Architecture) -> Mapping[str, tuple[int, ...]]:
    """Shapes of all parameters, by names such as "conv2d0/kernel" and "softmax2_pre_activation_matmul/bias"."""
    channels = {"input": 3} | {node.name: node.channels for node in graph(architecture)}
    shapes: dict[str, tuple[int, ...]] = {}
    for node in graph(architecture):
        name, inputs = node.name.removesuffix("_pre_relu_conv"), channels[node.inputs[0]]
        if node.op == "conv":
            shapes[f"{name}/kernel"] = (node.kernel, node.kernel, inputs, node.channels)
            shapes[f"{name}/bias"] = (node.channels,)
        elif node.op == "linear":
            shapes[f"{name}/kernel"] = (inputs, node.channels)
            shapes[f"{name}/bias"] = (node.channels,)
    return types.MappingProxyType(shapes)
