"""From the tensors of PyTorch checkpoints to parameters of lightjax and back, bit for bit.

The one module that imports PyTorch, and only when a checkpoint is read. Pickles are opened with `weights_only=True`, so
that nothing in them is executed.
"""

import functools
import importlib.util
import os
import pickle
import re
import types
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lightjax.networks import inception
from lightjax.networks.inception import Architecture

SCHEMES = {"tensorflow": inception.INCEPTION5H, "caffe": inception.BVLC_GOOGLENET}
"""Ways in which public checkpoints name their tensors, and the architecture that each belongs to."""

_CAFFE_STEM = {"conv2d0": "conv1_7x7_s2", "conv2d1": "conv2_3x3_reduce", "conv2d2": "conv2_3x3"}
_AUXILIARY = re.compile(r"(loss[12]_|head[01]_|nn[01]_|softmax[01]_)")


class ConversionError(ValueError):
    """A checkpoint that cannot be converted; the message says what is wrong with it, all of it."""


def read_checkpoint(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch state dict, by name, as arrays.

    Raises:
      ConversionError: If the file is not a whole checkpoint, or holds anything but float32 tensors.
      FileNotFoundError: If there is no such file.
      ImportError: If PyTorch is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    require_torch()
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for files that it cannot read
        whole = zipfile.is_zipfile(path) or path.read_bytes()[-1:] == b"."  # as pickles end
        reason = (
            "it holds Python objects other than tensors, which are never executed here; save its state_dict() alone"
            if whole and isinstance(error, pickle.UnpicklingError)
            else "the file is damaged, cut short, or something else altogether"
        )
        raise ConversionError(f"{path} is not a readable PyTorch checkpoint: {reason}") from error
    if not isinstance(state, Mapping):
        raise ConversionError(f"{path} holds a {type(state).__name__}, not a state dict of named tensors")
    strangers = [
        f"{name} ({getattr(value, 'dtype', type(value).__name__)})"
        for name, value in state.items()
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.dtype != torch.float32
    ]
    if strangers:
        raise ConversionError(f"{path} must hold float32 tensors only, but has {_some(strangers)}")
    tensors = {name: value.numpy() for name, value in state.items()}
    broken = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    if broken:
        raise ConversionError(f"{path} has infinite or undefined values in {_some(broken)}")
    return tensors


def from_torch(tensors: Mapping[str, np.ndarray]) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Parameters of a lightjax network from the tensors of a PyTorch state dict.

    Tensors of auxiliary classifiers are left out (see `without_auxiliary`). A checkpoint without its last classifier
    gives an architecture of 0 classes.

    Args:
      tensors: Arrays by key, convolutions `[out, in, kh, kw]`, matrices `[out, in]`.

    Returns:
      The architecture, and parameters by the names of `inception.parameter_shapes`.

    Raises:
      ConversionError: If keys are missing or unexpected, or shapes are wrong; the message lists them all.
    """
    tensors = without_auxiliary(tensors)
    scheme = scheme_of(tensors)
    architecture = SCHEMES[scheme]
    if not any(name.startswith(_key("softmax2_pre_activation_matmul", scheme)) for name in tensors):
        architecture = inception.without_classifier(architecture)
    expected = _keys(architecture, scheme)
    problems = [f"missing {key}" for key in expected if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in expected]
    parameters = {}
    for key, (name, shape) in expected.items():
        if key not in tensors:
            continue
        value = np.transpose(tensors[key], _permutation(tensors[key].ndim))
        if value.shape == shape:
            parameters[name] = np.ascontiguousarray(value)
        else:
            wanted = tuple(np.transpose(np.empty(shape), np.argsort(_permutation(len(shape)))).shape)
            problems.append(f"{key} has shape {tensors[key].shape}, not {wanted}")
    if problems:
        raise ConversionError(
            f"this looks like {architecture.name}, but does not fit it ({len(problems)} problems): {_some(problems)}"
        )
    return architecture, parameters


def without_auxiliary(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors that lightjax uses: all but those of the two classifiers that only helped the training."""
    return {name: value for name, value in tensors.items() if not _AUXILIARY.match(name)}


def to_torch(parameters: Mapping[str, np.ndarray], architecture: Architecture, scheme: str) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch state dict from a lightjax network: the exact inverse of `from_torch`.

    Args:
      parameters: Arrays by the names of `inception.parameter_shapes`.
      architecture: The record they belong to.
      scheme: The naming to use, a key of `SCHEMES`.
    """
    return {
        key: np.ascontiguousarray(np.transpose(parameters[name], np.argsort(_permutation(len(shape)))))
        for key, (name, shape) in _keys(architecture, scheme).items()
    }


def require_torch() -> None:
    """Raise an ImportError that says what to install, if PyTorch is not there."""
    if importlib.util.find_spec("torch") is None:
        raise ImportError(
            "reading a PyTorch checkpoint needs PyTorch, once: pip install 'lightjax[convert]' "
            "(converted files need it no longer)"
        )


def scheme_of(tensors: Mapping[str, np.ndarray]) -> str:
    """The naming that most of these keys follow, a key of `SCHEMES`.

    Raises:
      ConversionError: If they follow none.
    """
    matches = {scheme: len(_keys(record, scheme).keys() & tensors.keys()) for scheme, record in SCHEMES.items()}
    best = max(matches, key=lambda scheme: matches[scheme])
    if not matches[best]:
        raise ConversionError(
            "this is no checkpoint of a known InceptionV1: it has keys such as "
            f"{_some(list(tensors)) or '(none)'}, where inception5h has conv2d0_pre_relu_conv.weight and "
            "bvlc_googlenet has conv1_7x7_s2.weight"
        )
    return best


@functools.lru_cache
def _keys(architecture: Architecture, scheme: str) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    """Parameter name and shape in lightjax for each key of a state dict."""
    parts = {"kernel": "weight", "bias": "bias"}
    keys = {}
    for name, shape in inception.parameter_shapes(architecture).items():
        layer, _, part = name.partition("/")
        keys[f"{_key(layer, scheme)}.{parts[part]}"] = (name, shape)
    return types.MappingProxyType(keys)


def _key(layer: str, scheme: str) -> str:
    """The name of a layer in a state dict, such as "mixed3a_pool_reduce" -> "inception_3a_pool_proj"."""
    linear = layer == "softmax2_pre_activation_matmul"
    if scheme == "tensorflow":
        return layer if linear else f"{layer}_pre_relu_conv"
    if linear:
        return "loss3_classifier"
    renamed = layer.replace("mixed", "inception_").replace("bottleneck", "reduce").replace("pool_reduce", "pool_proj")
    return _CAFFE_STEM.get(layer, renamed)


def _permutation(rank: int) -> tuple[int, ...]:
    """PyTorch's axes in lightjax's order: OIHW to HWIO, (out, in) to (in, out)."""
    return {4: (2, 3, 1, 0), 2: (1, 0)}.get(rank, tuple(range(rank)))


def _some(items: list[str]) -> str:
    """A list for a message, cut after twenty entries."""
    return ", ".join(items[:20]) + (f" and {len(items) - 20} more" if len(items) > 20 else "")
