"""The weights file of lightjax: a safetensors file of the parameters in `architectures.parameter_shapes`.

They are in float32 or float16. The metadata name the architecture, the number of classes and their names, the source,
and the sha256 of the file that the weights were converted from.
"""

import importlib.metadata
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from lightjax import _files, labels
from lightjax.networks import architectures, tensor_files
from lightjax.networks.architectures import Architecture


class WeightsError(RuntimeError):
    """Weights cannot be found, downloaded or used. The message says what to do."""


class WeightsFile(NamedTuple):
    """The contents of a weights file. The names of the classes are empty if they are not known."""

    architecture: Architecture
    parameters: dict[str, np.ndarray]
    metadata: dict[str, str]
    class_names: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Name of the weights in the record of a render, such as "bvlc_googlenet@e87c85cf2e01, float16 weights"."""
        half = any(value.dtype == np.float16 for value in self.parameters.values())
        return f"{self.architecture.name}@{self.metadata.get('sha256', '')[:12]}" + ", float16 weights" * half


def contents(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file.

    Raises:
      WeightsError: If the file is damaged.
    """
    try:
        return tensor_files.read_safetensors(path)
    except tensor_files.TensorFileError as error:
        raise WeightsError(f"{path} cannot be used: {error}; make it again") from None


def read(path: str | os.PathLike) -> WeightsFile:
    """Read a weights file of an InceptionV1.

    Raises:
      WeightsError: If the file is damaged or was not written by lightjax.
    """
    return interpreted(path, *contents(path))


def interpreted(path: str | os.PathLike, parameters: dict[str, np.ndarray], metadata: dict[str, str]) -> WeightsFile:
    """The weights file of some contents; errors are those of `read`."""
    if metadata.get("format") != "lightjax" or metadata.get("architecture") not in architectures.ARCHITECTURES:
        raise WeightsError(f"{path} is not a weights file of this version of lightjax; make it with 'lightjax convert'")
    published = architectures.ARCHITECTURES[metadata["architecture"]]
    try:
        classes, names = _classes(metadata)
        _check_numbers(parameters)
    except ValueError as error:
        raise WeightsError(f"{path} cannot be used: {error}; make it again with 'lightjax convert'") from None
    names = names or (labels.imagenet(published.name) if classes == published.classes else ())
    return WeightsFile(architectures.with_classes(published, classes), parameters, metadata, names)


def write(
    path: str | os.PathLike,
    architecture: Architecture,
    parameters: Mapping[str, np.ndarray],
    *,
    source: str,
    sha256: str,
    class_names: Sequence[str] = (),
) -> None:
    """Write a weights file atomically.

    Args:
      path: The file to write.
      architecture: The record that the parameters belong to.
      parameters: Arrays by name, as in `architectures.parameter_shapes`; float32 or float16.
      source: URL or name of the file that they were converted from.
      sha256: Hash of that file.
      class_names: Names of the classes in the order of the logits; by default those of the published network.

    Raises:
      OSError: If the file cannot be written.
    """
    metadata = {
        "format": "lightjax",
        "lightjax": importlib.metadata.version("lightjax"),
        "architecture": architecture.name,
        "classes": json.dumps(architecture.classes),
        "source": source,
        "sha256": sha256,
    }
    if class_names:
        metadata["class_names"] = json.dumps(list(class_names))
    _files.write_atomically(path, safetensors.numpy.save(dict(parameters), metadata))


def _classes(metadata: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
    """The number of classes in the metadata of a weights file, and their names if they are there.

    Raises:
      ValueError: If they are damaged.
    """
    number, written = metadata.get("classes", "nothing"), metadata.get("class_names", "[]")
    if not re.fullmatch("[0-9]{1,7}", number):
        raise ValueError(f"the number of its classes must be a whole number, got {tensor_files.in_a_line(number)!r}")
    if not re.fullmatch("[0-9a-f]{0,64}", metadata.get("sha256", "")):
        raise ValueError("the sha256 of its source is none")
    try:
        names = json.loads(written)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("the names of its classes must be a list of texts")
    if names and len(names) != int(number):
        raise ValueError(f"it has {number} classes, but names for {len(names)}")
    return int(number), tuple(names)


def _check_numbers(parameters: Mapping[str, np.ndarray]) -> None:
    """Check that parameters are finite numbers in float32 or float16.

    Raises:
      ValueError: If they are not; the message lists them.
    """
    others = [f"{name} ({value.dtype})" for name, value in parameters.items() if value.dtype not in ("f4", "f2")]
    if others:
        raise ValueError(f"its parameters must be in float32 or float16, got {tensor_files.listed(others)}")
    broken = [name for name, value in parameters.items() if not np.isfinite(value).all()]
    if broken:
        raise ValueError(f"it has NaN or infinite values in {tensor_files.listed(broken)}")
