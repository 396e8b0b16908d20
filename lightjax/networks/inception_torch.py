"""InceptionV1 in public PyTorch checkpoints: the names of its tensors, as a table."""

import functools
import re
import types
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lightjax.networks import torch_bridge
from lightjax.networks.architectures import (
    BVLC_GOOGLENET,
    INCEPTION5H,
    Architecture,
    parameter_shapes,
    with_classes,
)
from lightjax.networks.tensor_files import listed

# Layers in lightjax, in the TensorFlow naming, in the Caffe naming. {} is a block, "3a" to "5b".
_TABLE = (
    ("conv2d0", "conv2d0_pre_relu_conv", "conv1_7x7_s2"),
    ("conv2d1", "conv2d1_pre_relu_conv", "conv2_3x3_reduce"),
    ("conv2d2", "conv2d2_pre_relu_conv", "conv2_3x3"),
    ("mixed{}_1x1", "mixed{}_1x1_pre_relu_conv", "inception_{}_1x1"),
    ("mixed{}_3x3_bottleneck", "mixed{}_3x3_bottleneck_pre_relu_conv", "inception_{}_3x3_reduce"),
    ("mixed{}_3x3", "mixed{}_3x3_pre_relu_conv", "inception_{}_3x3"),
    ("mixed{}_5x5_bottleneck", "mixed{}_5x5_bottleneck_pre_relu_conv", "inception_{}_5x5_reduce"),
    ("mixed{}_5x5", "mixed{}_5x5_pre_relu_conv", "inception_{}_5x5"),
    ("mixed{}_pool_reduce", "mixed{}_pool_reduce_pre_relu_conv", "inception_{}_pool_proj"),
    ("softmax2_pre_activation_matmul", "softmax2_pre_activation_matmul", "loss3_classifier"),
)
_BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
_PARTS = {"kernel": "weight", "bias": "bias"}
_TORCHVISION = "inception3a.branch1.conv.weight"
_AUXILIARY = re.compile(r"(loss[12]_|head[01]_|nn[01]_|softmax[01]_)")


class Naming(NamedTuple):
    """Names of the tensors in a public checkpoint.

    Attributes:
      architecture: The network that the checkpoint belongs to.
      layers: Layers of the checkpoint by layers of lightjax; their tensors end in ".weight" and ".bias".
    """

    architecture: Architecture
    layers: Mapping[str, str]


def _column(index: int) -> dict[str, str]:
    """Map each layer of lightjax to its name in column `index` of the table."""
    return {row[0].format(block): row[index].format(block) for row in _TABLE for block in _BLOCKS}


NAMINGS = {"tensorflow": Naming(INCEPTION5H, _column(1)), "caffe": Naming(BVLC_GOOGLENET, _column(2))}
"""The two public namings."""

KNOWN = frozenset(
    f"{layer}.{part}" for naming in NAMINGS.values() for layer in naming.layers.values() for part in _PARTS.values()
)
"""The keys of both namings."""


def from_torch(tensors: Mapping[str, np.ndarray]) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Convert the tensors of a PyTorch state dict into parameters of a lightjax network.

    Tensors of the auxiliary classifiers are ignored (see `without_auxiliary`). The number of classes is that of the
    rows of the last matrix; 0 for a state dict without it.

    Args:
      tensors: Arrays by key; convolutions `[out, in, kh, kw]`, matrices `[out, in]`.

    Returns:
      The architecture, and parameters by name, as in `parameter_shapes`.

    Raises:
      ConversionError: If keys are missing or unexpected, or shapes are wrong. The message lists them.
    """
    tensors = without_auxiliary(tensors)
    naming = naming_of(tensors)
    architecture, layers = NAMINGS[naming]
    matrix = tensors.get(f"{layers['softmax2_pre_activation_matmul']}.weight")
    if matrix is None:
        architecture = with_classes(architecture, 0)
    elif matrix.ndim == 2 and len(matrix):
        architecture = with_classes(architecture, len(matrix))
    return architecture, torch_bridge.from_torch(tensors, keys(architecture, naming), architecture.name)


def to_torch(parameters: Mapping[str, np.ndarray], architecture: Architecture, naming: str) -> dict[str, np.ndarray]:
    """Convert parameters into the tensors of a PyTorch state dict; the inverse of `from_torch`.

    Args:
      parameters: Arrays by name, as in `parameter_shapes`.
      architecture: The record that the parameters belong to.
      naming: A key of `NAMINGS`.
    """
    return torch_bridge.to_torch(parameters, keys(architecture, naming))


def naming_of(tensors: Mapping[str, np.ndarray]) -> str:
    """The naming that most keys of a state dict follow, a key of `NAMINGS`.

    Raises:
      ConversionError: If no key follows either naming.
    """
    matches = {name: len(keys(naming.architecture, name).keys() & tensors.keys()) for name, naming in NAMINGS.items()}
    best = max(matches, key=lambda name: matches[name])
    if not matches[best]:
        examples = [f"{n.layers['conv2d0']}.weight in {n.architecture.name}" for n in NAMINGS.values()]
        other = "the GoogLeNet of torchvision, which has other layers" if _TORCHVISION in tensors else "another network"
        raise torch_bridge.ConversionError(
            f"this is a checkpoint of {other}: its keys are {listed(list(tensors), 3) or 'none'}, but the first "
            f"convolution of InceptionV1 is {' and '.join(examples)}"
        )
    return best


def without_auxiliary(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leave out the tensors of the two auxiliary classifiers, which are used only in training."""
    return {name: value for name, value in tensors.items() if not _AUXILIARY.match(name)}


@functools.lru_cache
def keys(architecture: Architecture, naming: str) -> Mapping[str, torch_bridge.Target]:
    """Map each key of a state dict to its target: the name and the shape of a parameter."""
    layers, targets = NAMINGS[naming].layers, {}
    for name, shape in parameter_shapes(architecture).items():
        layer, _, part = name.partition("/")
        targets[f"{layers[layer]}.{_PARTS[part]}"] = torch_bridge.Target(name, shape)
    return types.MappingProxyType(targets)
