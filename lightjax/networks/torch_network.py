"""Any PyTorch network in JAX: trace it, compare it with PyTorch, describe its layers."""

import contextlib
import copy
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lightjax import _checks, ops
from lightjax.networks import fields, tensor_files, torch_export
from lightjax.networks.aten import Tensor
from lightjax.networks.converted import ConvertedNetwork
from lightjax.networks.graph import Graph, Output, evaluate
from lightjax.networks.torch_bridge import ConversionError

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4
"""Largest difference between JAX and PyTorch, as a part of the largest value of an activation."""


def from_torch(
    module: "torch.nn.Module | torch.export.ExportedProgram",
    *,
    size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float = 1.0,
    bgr: bool = False,
    preprocess: Any = None,
    class_names: Sequence[str] = (),
    source: str = "",
    check: bool = True,
) -> ConvertedNetwork:
    """Convert a PyTorch network.

    The network is traced by `torch.export` and computed by JAX, so PyTorch is needed only here. Layers have the paths
    of PyTorch's modules: "layer3.5.conv2", "relu/2" for the second call of a module, ".0" for the first of several
    results, and "output" for what the network itself returns. Tokens of a vision transformer come as a grid
    `[N, h, w, C]` under the module's name, with the class token in `.cls` and further tokens in `.registers`.

    Args:
      module: The network; it takes one argument, images `[N, C, H, W]`. Or a program of `torch.export`, which must be
        open in the number of pictures; its layers are the last operations of its modules, and only what it returns is
        compared with PyTorch.
      size: Height and width of its images, in pixels. By default what `preprocess` or timm's `pretrained_cfg` says, or
        else 224. A network that computes the same at another size is open to any size.
      mean: Subtracted from `scale * image`, for each of red, green and blue. `mean=(0, 0, 0), std=(1, 1, 1)` says that
        the network takes images in [0, 1] as they are.
      std: Divisor of the difference.
      scale: Factor of the image, such as 255 for a network that takes bytes.
      bgr: Whether the network takes blue, green, red. `mean` and `std` are for red, green, blue all the same.
      preprocess: `weights.transforms()` of torchvision, which knows size, mean and std.
      class_names: Names of the classes in the order of the logits.
      source: Name of the network in the record of renders; by default the name of its class.
      check: Compare every layer with PyTorch on two pictures.

    Returns:
      The network.

    Raises:
      ConversionError: If the network cannot be traced, uses an unknown operation, differs from PyTorch, or its
        preprocessing is not known.
      ImportError: If PyTorch is not installed.
    """
    tensor_files.require_torch()
    import torch

    program = isinstance(module, torch.export.ExportedProgram)
    if not program and not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    scale, bgr, check = _checks.number(scale, "scale"), _checks.flag(bgr, "bgr"), _checks.flag(check, "check")
    source = _checks.text(source, "source")
    class_names = tuple(
        _checks.text(name, "class_names") for name in _checks.several(class_names, "class_names", "texts")
    )
    known = _known_preprocessing(module, preprocess)
    mean, std = (known.get(name) if given is None else given for name, given in (("mean", mean), ("std", std)))
    if mean is None or std is None:
        raise ConversionError(
            "the mean and the std that the network was trained with are not known: give mean=... and std=... "
            "(mean=(0, 0, 0), std=(1, 1, 1) for images in [0, 1] as they are)"
        )
    means = np.ravel(_checks.numbers(mean, "mean")).tolist()
    stds = np.ravel(_checks.numbers(std, "std", above=0)).tolist()
    channels = len(means)
    if len(stds) != channels:
        raise ValueError(f"mean and std must have one number for each channel, got {channels} and {len(stds)}")
    if program:
        channels, (height, width), fixed = torch_export.images_of(module)
        traced, plain = torch_export.trace_program(module), module.module()
    else:
        height, width = _checks.height_and_width(known.get("size", 224) if size is None else size)
        plain = copy.deepcopy(module).cpu().float() if _needs_copy(module) else module
        with torch_export.evaluating(plain):
            traced = torch_export.trace(plain, channels, (height, width))
            fixed = not _same_at_other_size(plain, traced, channels, (height, width))
    graph = Graph(
        nodes=traced.nodes,
        outputs=tuple(Output(layer, node, ()) for layer, node in traced.layers.items()),
        orders=traced.orders,
        channels=channels,
        size=(height, width),
        fixed=fixed,
        mean=tuple(means),
        std=tuple(stds),
        scale=scale,
        bgr=bgr,
    )
    tensors = {
        key: np.ascontiguousarray(value.transpose(traced.orders.get(key, range(value.ndim))))
        for key, value in traced.tensors.items()
    }
    graph = fields.describe(graph, tensors)
    graph.check(tensors)
    name = f"{source or type(module).__name__}@{_digest(graph, tensors)}"
    network = ConvertedNetwork.of(graph, tensors, source=name, class_names=class_names)
    if class_names and len(class_names) != network.layers[-1].channels:
        raise ValueError(f"the network has {network.layers[-1].channels} classes, got {len(class_names)} class_names")
    if check:
        with contextlib.nullcontext() if program else torch_export.evaluating(plain):
            compare(network, plain)
    return network


def _needs_copy(module: "torch.nn.Module") -> bool:
    """Whether a module computes on an accelerator or not in float32."""
    tensors = [*module.parameters(), *module.buffers()]
    return any(t.device.type != "cpu" or (t.is_floating_point() and t.element_size() != 4) for t in tensors)


def _digest(graph: Graph, tensors: Mapping[str, np.ndarray]) -> str:
    """A hash of a network."""
    digest = hashlib.sha256(graph.to_json().encode())
    for key in sorted(tensors):
        digest.update(tensors[key].tobytes())
    return digest.hexdigest()[:12]


def _known_preprocessing(module: Any, preprocess: Any) -> dict[str, Any]:
    """Size, mean and std from torchvision's transforms or from timm's record."""
    if preprocess is not None:
        if isinstance(preprocess, type) or getattr(preprocess, "mean", None) is None:
            raise TypeError(
                "preprocess must have a mean and a std, as weights.transforms() of torchvision has, "
                f"got {_checks.shown(preprocess)}"
            )
        crop = getattr(preprocess, "crop_size", None)
        found = {"mean": getattr(preprocess, "mean", None), "std": getattr(preprocess, "std", None)}
        if crop:
            sides = _checks.several(crop, "the size of preprocess", "numbers")
            found["size"] = (sides[0], sides[-1])
        return found
    record = getattr(module, "pretrained_cfg", None)
    if isinstance(record, Mapping) and "mean" in record:
        return {"mean": record["mean"], "std": record["std"], "size": tuple(record["input_size"][1:])}
    return {}


def _same_at_other_size(module: Any, traced: Any, channels: int, size: tuple[int, int]) -> bool:
    """Whether the network is traced to the same graph at an odd size that is not square."""
    try:
        other = torch_export.trace(module, channels, (size[0] + 33, size[1] + 17))
    except ConversionError:
        return False
    return (
        other.nodes == traced.nodes
        and other.layers == traced.layers
        and other.tensors.keys() == traced.tensors.keys()
        and all(np.array_equal(value, traced.tensors[key]) for key, value in other.tensors.items())
    )


def compare(network: ConvertedNetwork, module: "torch.nn.Module") -> dict[str, float]:
    """Compare every layer with PyTorch, on two pictures.

    Returns:
      For each layer the largest difference, as a part of the largest value of the layer.

    Raises:
      ConversionError: If a layer differs by more than `TOLERANCE`, in float64 too.
    """
    import torch

    pictures = np.random.default_rng(0).random((2, network.graph.channels, *network.graph.size), np.float32)
    expected = _expected(module, torch.from_numpy(pictures))
    differences = _differences(network, pictures, expected)
    wrong = [layer for layer, difference in differences.items() if not difference <= TOLERANCE]
    if wrong:  # rounding that many layers amplify, or a mistake
        expected = _expected(copy.deepcopy(module).double(), torch.from_numpy(pictures.astype(np.float64)))
        with jax.enable_x64(True):
            precise = _differences(dataclasses.replace(network, dtype="float64"), pictures.astype(np.float64), expected)
        wrong = [layer for layer, difference in precise.items() if not difference <= TOLERANCE]
        differences = {layer: min(difference, precise[layer]) for layer, difference in differences.items()}
    if wrong:
        raise ConversionError(
            f"layer {wrong[0]!r} differs from PyTorch by {differences[wrong[0]]:.1e} of its largest value "
            f"({len(wrong)} of {len(differences)} layers differ by more than {TOLERANCE:.0e})"
        )
    return differences


def _expected(module: "torch.nn.Module", pictures: "torch.Tensor") -> dict[str, np.ndarray]:
    import torch

    with torch.no_grad():
        return {layer: value.numpy() for layer, value in torch_export.recorded(module, pictures).items()}


def _differences(
    network: ConvertedNetwork, pictures: np.ndarray, expected: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Largest difference of each layer, as a part of its largest value. The pictures are the network's own input."""
    float64 = pictures.dtype == np.float64
    parameters = {
        key: jnp.asarray(value, pictures.dtype) if float64 and jnp.issubdtype(value.dtype, jnp.floating) else value
        for key, value in network.parameters.items()
    }

    @jax.jit
    def run(parameters: Any, images: Any) -> dict[str, Any]:
        values = evaluate(network.graph, parameters, {"input": Tensor(images, (0, 1, 2, 3), 1)}, ops.relu)
        return {node: values[node].home for node in {output.node for output in network.graph.outputs}}

    found = run(parameters, pictures)
    nodes = {output.layer: output.node for output in network.graph.outputs}
    differences = {}
    for layer, node in nodes.items():
        if layer in expected:
            ours, theirs = np.asarray(found[node]), expected[layer]
            difference = np.abs(ours - theirs).max(initial=0) if ours.shape == theirs.shape else np.inf
            differences[layer] = float(difference / (np.abs(theirs).max(initial=0) or 1))
    return differences
