"""Checkpoints of InceptionV1 to weights files, and the comparison of both."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightjax.networks import checkpoints, inception_torch, weights_file
from lightjax.networks.architectures import Architecture
from lightjax.networks.tensor_files import listed
from lightjax.networks.torch_bridge import ConversionError


class Conversion(NamedTuple):
    """A converted checkpoint.

    Attributes:
      architecture: Its architecture.
      skipped: Names of the auxiliary tensors that were left out.
      notes: What else was done to it, such as "cast 116 tensors from float16 to float32".
    """

    architecture: Architecture
    skipped: list[str]
    notes: list[str]


def convert(
    source: str | os.PathLike,
    destination: str | os.PathLike,
    *,
    url: str = "",
    half: bool = False,
    class_names: Sequence[str] = (),
) -> Conversion:
    """Convert a checkpoint into a weights file.

    Args:
      source: A state dict saved by `torch.save`, or a safetensors file, which needs no PyTorch; in one of the namings
        of `inception_torch.NAMINGS`. It may lie in other dictionaries, as trainers write them, and its names may have
        a prefix such as "module.".
      destination: The weights file to write, NAME.safetensors.
      url: Where the checkpoint was downloaded from, for the metadata; by default the name of its file.
      half: Whether to round the parameters to float16, which halves the size of the file.
      class_names: Names of the classes in the order of the logits; by default those of ImageNet if the checkpoint has
        as many classes as the published network.

    Returns:
      The architecture of the checkpoint, the names of the tensors of its auxiliary classifiers, which are left out, and
      notes on what was unwrapped, cast or left out.

    Raises:
      ConversionError: If the checkpoint is not a known InceptionV1, `half` is true and a value exceeds the range of
        float16, or the number of class names is not that of the classes. Nothing is written.
      FileNotFoundError: If there is no such checkpoint.
      ValueError: If the destination does not end in .safetensors, or is the source.
      OSError: If the weights file cannot be written.
      ImportError: If PyTorch is needed and not installed.
    """
    source, destination = Path(source), Path(destination)
    if destination.suffix != ".safetensors":
        raise ValueError(f"the weights file must be called NAME.safetensors, got {str(destination)!r}")
    if source.exists() and destination.exists() and destination.samefile(source):
        raise ValueError(f"the weights file must have another name than the checkpoint, got {str(destination)!r}")
    tensors, notes = checkpoints.read(source, inception_torch.KNOWN)
    try:
        architecture, parameters = inception_torch.from_torch(tensors)
    except ConversionError as error:
        raise ConversionError(f"cannot convert {source}: {error}") from None
    if class_names and len(class_names) != architecture.classes:
        raise ConversionError(
            f"{source} has {architecture.classes} classes, so there must be as many names, got {len(class_names)}"
        )
    if half:
        large = [name for name, value in parameters.items() if np.abs(value).max() > np.finfo(np.float16).max]
        if large:
            raise ConversionError(
                f"{source} has values above 65504, the largest number in float16, in {listed(large)}; "
                "convert it to float32"
            )
        parameters = {name: value.astype(np.float16) for name, value in parameters.items()}
    sha256 = checkpoints.sha256(source)
    weights_file.write(
        destination, architecture, parameters, source=url or source.name, sha256=sha256, class_names=class_names
    )
    skipped = sorted(tensors.keys() - inception_torch.without_auxiliary(tensors).keys())
    return Conversion(architecture, skipped, notes)


def verify(source: str | os.PathLike, converted: str | os.PathLike) -> int:
    """Convert a weights file back and compare it, bit for bit, with the checkpoint that it came from.

    The checkpoint is cast to float32 first, and rounded to float16 for a file in float16.

    Args:
      source: The checkpoint.
      converted: The weights file.

    Returns:
      The number of tensors compared.

    Raises:
      ConversionError: If tensors differ; the message lists them.
      WeightsError, FileNotFoundError, ImportError: If a file is damaged or missing, or PyTorch is not installed.
    """
    original = inception_torch.without_auxiliary(checkpoints.read(source, inception_torch.KNOWN).tensors)
    file = weights_file.read(converted)
    exported = inception_torch.to_torch(file.parameters, file.architecture, inception_torch.naming_of(original))
    original = {
        name: value.astype(exported[name].dtype) if name in exported else value for name, value in original.items()
    }

    def bits(tensors: Mapping[str, np.ndarray], name: str) -> tuple | None:
        return (tensors[name].shape, tensors[name].tobytes()) if name in tensors else None

    names = sorted(original.keys() | exported.keys())
    differing = [name for name in names if bits(original, name) != bits(exported, name)]
    if differing:
        raise ConversionError(f"{converted} differs from {source} in {listed(differing)}")
    return len(original)
