"""Pretrained networks by name or from a file. What the other modules about weights offer is found here, too."""

import os
from pathlib import Path

import numpy as np
from jax.typing import DTypeLike

from lightjax import _checks, _files
from lightjax.networks import architectures, graph, inception, weights_file
from lightjax.networks.architectures import DEFAULT
from lightjax.networks.conversion import Conversion, convert, verify
from lightjax.networks.converted import ConvertedNetwork
from lightjax.networks.downloads import CHECKPOINTS, OFFER, Checkpoint, blob_id, cache_folder, find
from lightjax.networks.inception import InceptionV1
from lightjax.networks.weights_file import WeightsError, WeightsFile, read, write

__all__ = [
    "CHECKPOINTS",
    "EMBEDDED",
    "Checkpoint",
    "Conversion",
    "WeightsError",
    "WeightsFile",
    "blob_id",
    "cache_folder",
    "convert",
    "load_model",
    "read",
    "verify",
    "write",
]

EMBEDDED = {"bvlc_googlenet": Path(__file__).parents[1] / "data" / "bvlc_googlenet.safetensors"}
"""Files of the networks that come with lightjax. The model card is `data/bvlc_googlenet.md`."""


def load_model(model: str | os.PathLike = DEFAULT, *, dtype: DTypeLike = "float32") -> InceptionV1 | ConvertedNetwork:
    """Load a pretrained network.

    "bvlc_googlenet" comes with lightjax. The weights of other names are looked up in the folder `$LIGHTJAX_HOME`, then
    in the platform's cache folder, as `NAME.safetensors` or as the public checkpoint `NAME.pth`, which is converted
    once. If they are in neither folder, they are downloaded, verified against a pinned hash, converted, and cached.

    Args:
      model: "bvlc_googlenet" (GoogLeNet, the network of DeepDream), "inception5h" (the network of Lucid, Lucent and
        TorchLight), "inception5h_torchlight" (the same weights with TorchLight's padding and normalization), or the
        path of a file that `lightjax convert` or `model.save` wrote.
      dtype: Floating-point type to compute in. "bfloat16" is faster on hardware that supports it, and precise enough
        for pictures.

    Returns:
      The network, with its class names.

    Raises:
      ValueError: If the name is unknown, or the dtype is not a floating-point type.
      WeightsError: If there is no such file, the weights can be neither found nor downloaded, or they are damaged.
      ConversionError: If a `.pth` file in one of the folders is not the checkpoint that its name says.
      ImportError: If a checkpoint must be converted and PyTorch is not installed.
    """
    _checks.devices()
    dtype = inception.check_dtype(dtype)
    path = _located(model)
    tensors, metadata = weights_file.contents(path)
    if metadata.get("format") == graph.FORMAT:
        try:
            return ConvertedNetwork.read(metadata, tensors, dtype)
        except graph.GraphError as error:
            raise WeightsError(f"{path} cannot be used: {error}") from None
    file = weights_file.interpreted(path, tensors, metadata)
    if isinstance(model, str) and model in CHECKPOINTS:  # one file for networks with other rules
        architecture = architectures.with_classes(architectures.ARCHITECTURES[model], file.architecture.classes)
        file = file._replace(architecture=architecture)
    source = file.source + f", computed in {dtype}" * (dtype != np.float32)
    try:
        return InceptionV1(file.architecture, file.parameters, dtype=dtype, source=source, class_names=file.class_names)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None


def _located(model: str | os.PathLike) -> Path:
    """The weights file of a network, which is looked for, downloaded or converted."""
    if isinstance(model, str) and model in EMBEDDED:
        return EMBEDDED[model]
    if isinstance(model, str) and model in CHECKPOINTS:
        try:
            return find(CHECKPOINTS[model])
        except ImportError as error:
            raise ImportError(f"{error}; {OFFER}") from None
    path = _checks.path(model, "model")
    if not path.is_file():
        known = [*EMBEDDED, *CHECKPOINTS]
        if _files.is_name(model):
            _checks.one_of(model, known, "model")
        raise WeightsError(f"there is no weights file {str(model)!r}; known models are {', '.join(known)}")
    if path.suffix in (".pth", ".pt", ".ckpt", ".bin"):
        raise WeightsError(f"{path} is a PyTorch checkpoint; convert it first: lightjax convert {path}")
    return path
