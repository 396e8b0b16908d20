"""InceptionV1 (GoogLeNet): one module, driven by an architecture record.

A record says what its published networks differ in: widths, padding, normalisation, preprocessing, classes. `graph`
turns it into the list of operations in the order in which data flows, and everything else reads that list: the
forward pass, the table of layers, and the conversion of weights.

References:
  Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
"""

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from lightjax import ops

Padding = Literal["same", "caffe", "torchlight"]


class Block(NamedTuple):
    """Widths of one inception block, whose output is the concatenation of four branches."""

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
    """What one InceptionV1 differs in from another.

    Attributes:
      name: As in `ARCHITECTURES`.
      stem: Widths of the first three convolutions.
      blocks: Widths of mixed3a, 3b, 4a, 4b, 4c, 4d, 4e, 5a and 5b.
      classes: Number of logits; 0 for a network without its classifier.
      padding: "same" pads as TensorFlow does at every size. The others pad by fixed amounts: the first convolution
        by (3, 3) for "caffe" and (2, 3) for "torchlight", the pools of stride 2 by (0, 1) for both.
      norm: Constants of the local response normalization.
      mean: Subtracted from `255 * image`, in red, green, blue order.
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
"""inception5h as Lucent and TorchLight run it: fixed padding, and a normalisation it was not trained with."""

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


def without_classifier(architecture: Architecture) -> Architecture:
    """The same network up to "avgpool0", for checkpoints that lack the last matrix."""
    return dataclasses.replace(architecture, classes=0)


class Node(NamedTuple):
    """One operation of the network: what it is called, what it does, and what it reads."""

    name: str
    op: Literal["conv", "relu", "max_pool", "norm", "concat", "mean", "linear", "softmax"]
    inputs: tuple[str, ...]
    channels: int
    kernel: int = 1
    stride: int = 1


class Layer(NamedTuple):
    """One line of the table of layers.

    `stride` is the distance between neighbouring positions and `receptive_field` the side of the square that one
    position can see, both in pixels of the image; both are None where a value depends on the whole image.
    """

    name: str
    channels: int
    stride: int | None
    receptive_field: int | None


@functools.lru_cache
def graph(architecture: Architecture) -> tuple[Node, ...]:
    """The operations of a network, in the order in which data flows, from "input" on."""
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
    """The table of layers, "input" first, in the order in which data flows."""
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


class Affine(nnx.Module):
    """A kernel and a bias; what they are applied to is the network's business."""

    def __init__(self, kernel: Array, bias: Array):
        """Hold the arrays as parameters."""
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(bias)


class InceptionV1(nnx.Module):
    """InceptionV1 as a function from images to all its named activations.

    Attributes:
      architecture: The record it was built from.
      source: Where its weights come from, for the record of a render, such as "bvlc_googlenet@e87c85cf2e01";
        empty for weights drawn at random.
      class_names: Names of the classes, in the order of the logits; empty where they are not known.

    References:
      Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Mapping[str, Array | np.ndarray] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
        dtype: DTypeLike = jnp.float32,
        source: str = "",
        class_names: tuple[str, ...] = (),
    ):
        """Build the network around given parameters, or around ones drawn at random.

        Args:
          architecture: One of `ARCHITECTURES`, or a record of your own.
          parameters: Arrays by the names and shapes of `parameter_shapes(architecture)`.
          rngs: Draws He-normal kernels and zero biases in place of `parameters`.
          dtype: What the network computes in, such as float32 or bfloat16; images and activations are float32 all the
            same.
          source: See the attribute.
          class_names: See the attribute.

        Raises:
          ValueError: If a parameter is missing, unexpected or of another shape, if it is not clear which parameters
            to use, or if the dtype is none of real numbers.
        """
        dtype = check_dtype(dtype)
        shapes = parameter_shapes(architecture)
        if parameters is None and rngs is not None:
            parameters = _random_parameters(shapes, rngs)
        elif parameters is None or rngs is not None:
            raise ValueError("give either parameters or rngs, not both and not neither")
        wrong = [f"{name} is missing" for name in shapes if name not in parameters]
        wrong += [f"{name} is unexpected" for name in parameters if name not in shapes]
        wrong += [
            f"{name} is {tuple(parameters[name].shape)}, not {shape}"
            for name, shape in shapes.items()
            if name in parameters and tuple(parameters[name].shape) != shape
        ]
        if wrong:
            raise ValueError(f"these are not the parameters of {architecture.name}: " + "; ".join(wrong))
        self.architecture = architecture
        self.source = source
        self.class_names = class_names
        for name in dict.fromkeys(name.partition("/")[0] for name in shapes):
            setattr(self, name, Affine(*(_cast(parameters[f"{name}/{part}"], dtype) for part in ("kernel", "bias"))))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Name, channels, stride and receptive field of every activation, in the order in which data flows."""
        return layers(self.architecture)

    def __call__(self, images: Array, *, relu: ops.Relu = ops.relu) -> dict[str, Array]:
        """Compute all named activations.

        Under `jit`, what the caller does not read is not computed: reading mixed3a does not pay for mixed5b.

        Args:
          images: `[N, H, W, 3]` in [0, 1], red, green, blue.
          relu: The rectifier, one of those in `ops`, which differ in their gradients alone.

        Returns:
          Activations `[N, h, w, c]` by name, `[N, c]` from "avgpool0" on.
        """
        with jax.named_scope("input"):
            values = {"input": self._preprocess(images)}
        for node in graph(self.architecture):
            with jax.named_scope(node.name):  # what profiles and compiled programs call it
                values[node.name] = self._apply(node, [values[name] for name in node.inputs], relu)
        return {name: value.astype(images.dtype) for name, value in values.items()} | {"input": images}

    def _preprocess(self, images: Array) -> Array:
        x = 255 * images - jnp.array(self.architecture.mean, images.dtype)
        x = x[..., ::-1] if self.architecture.bgr else x
        first: Affine = getattr(self, graph(self.architecture)[0].name.removesuffix("_pre_relu_conv"))
        return x.astype(first.kernel[...].dtype)

    def _apply(self, node: Node, inputs: list[Array], relu: ops.Relu) -> Array:
        x = inputs[0]
        match node.op:
            case "conv":
                affine = getattr(self, node.name.removesuffix("_pre_relu_conv"))
                return ops.conv(x, affine.kernel[...], node.stride, self._padding(node, x)) + affine.bias[...]
            case "relu":
                return relu(x)
            case "max_pool":
                return ops.max_pool(x, node.stride, self._padding(node, x))
            case "norm":
                return ops.local_response_norm(x, *self.architecture.norm)
            case "concat":
                return jnp.concatenate(inputs, axis=-1)
            case "mean":
                return x.mean(axis=(1, 2))
            case "linear":
                affine = getattr(self, node.name)
                return x @ affine.kernel[...] + affine.bias[...]
            case "softmax":
                return jax.nn.softmax(x)

    def _padding(self, node: Node, x: Array) -> ops.Padding:
        padding = self.architecture.padding
        if node.stride == 1 or padding == "same":
            height, width = (ops.same_padding(size, node.kernel, node.stride) for size in x.shape[1:3])
            return (height, width)
        if node.op == "max_pool":
            return ((0, 1),) * 2
        return ((3, 3),) * 2 if padding == "caffe" else ((2, 3),) * 2


def check_dtype(dtype: DTypeLike) -> jnp.dtype:
    """What a network is to compute in.

    Raises:
      ValueError: If it is none of real numbers.
    """
    try:
        known = jnp.dtype(dtype)
    except TypeError:
        known = jnp.dtype(bool)
    if not jnp.issubdtype(known, jnp.floating):
        raise ValueError(f"a network computes in real numbers, such as float32 or bfloat16, not in {dtype!r}")
    return known


def _cast(parameter: Array | np.ndarray, dtype: DTypeLike) -> Array:
    # Converted by NumPy where it can be: JAX would compile one program for each shape.
    return jnp.asarray(parameter.astype(dtype) if isinstance(parameter, np.ndarray) else parameter, dtype)


def _random_parameters(shapes: Mapping[str, tuple[int, ...]], rngs: nnx.Rngs) -> dict[str, np.ndarray]:
    """He-normal kernels and zero biases, drawn by NumPy: JAX would compile one program for each shape."""
    generator = np.random.default_rng(np.asarray(jax.random.bits(rngs.params(), (4,))))
    return {
        name: np.zeros(shape, np.float32)
        if name.endswith("bias")
        else generator.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[:-1])) ** 0.5)
        for name, shape in shapes.items()
    }
