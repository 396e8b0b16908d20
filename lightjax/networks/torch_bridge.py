"""PyTorch state dicts to parameters of lightjax and back, bit for bit, for any network.

This is the only module that imports PyTorch, and only when a checkpoint is read. Checkpoints are opened with
`weights_only=True`, so no code in them is executed.
"""

import importlib.util
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class ConversionError(ValueError):
    """A checkpoint cannot be converted. The message lists everything that is wrong with it."""


class Target(NamedTuple):
    """The parameter of a lightjax network that a tensor becomes."""

    name: str
    shape: tuple[int, ...]


def read_checkpoint(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of a PyTorch state dict.

    Returns:
      Arrays by key.

    Raises:
      ConversionError: If the file is damaged, is not a state dict, or holds anything but finite float32 tensors.
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
        whole = zipfile.is_zipfile(path) or path.read_bytes()[-1:] == b"."  # a whole pickle ends in a dot
        reason = (
            "it holds Python objects other than tensors, which lightjax never executes; save its state_dict() instead"
            if whole and isinstance(error, pickle.UnpicklingError)
            else "the file is damaged, cut short, or not a checkpoint"
        )
        raise ConversionError(f"cannot read {path} as a PyTorch checkpoint: {reason}") from error
    if not isinstance(state, Mapping):
        raise ConversionError(f"{path} must hold a state dict of named tensors, got a {type(state).__name__}")
    others = [
        f"{name} ({getattr(value, 'dtype', type(value).__name__)})"
        for name, value in state.items()
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.dtype != torch.float32
    ]
    if others:
        raise ConversionError(f"{path} must hold only float32 tensors, got {listed(others)}")
    tensors = {name: value.numpy() for name, value in state.items()}
    broken = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    if broken:
        raise ConversionError(f"{path} has NaN or infinite values in {listed(broken)}")
    return tensors


def from_torch(tensors: Mapping[str, np.ndarray], targets: Mapping[str, Target], network: str) -> dict[str, np.ndarray]:
    """Convert the tensors of a state dict into parameters: rename them and reorder their axes.

    Args:
      tensors: Arrays by key; convolutions `[out, in, kh, kw]`, matrices `[out, in]`.
      targets: The parameter for each key.
      network: Name of the network, for the error.

    Returns:
      Parameters by name; convolutions `[kh, kw, in, out]`, matrices `[in, out]`.

    Raises:
      ConversionError: If keys are missing or unexpected, or shapes are wrong. The message lists them.
    """
    problems = [f"missing {key}" for key in targets if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in targets]
    parameters = {}
    for key, (name, shape) in targets.items():
        if key not in tensors:
            continue
        value = np.transpose(tensors[key], _permutation(tensors[key].ndim))
        if value.shape == shape:
            parameters[name] = np.ascontiguousarray(value)
        else:
            expected = tuple(shape[axis] for axis in np.argsort(_permutation(len(shape))))
            problems.append(f"{key} must have shape {expected}, got {tensors[key].shape}")
    if problems:
        count = f"{len(problems)} problem" + "s" * (len(problems) > 1)
        raise ConversionError(f"the checkpoint looks like {network} but does not fit it ({count}): {listed(problems)}")
    return parameters


def to_torch(parameters: Mapping[str, np.ndarray], targets: Mapping[str, Target]) -> dict[str, np.ndarray]:
    """Convert parameters into the tensors of a state dict; the inverse of `from_torch`."""
    return {
        key: np.ascontiguousarray(np.transpose(parameters[name], np.argsort(_permutation(len(shape)))))
        for key, (name, shape) in targets.items()
    }


def require_torch() -> None:
    """Check that PyTorch is installed.

    Raises:
      ImportError: If it is not; the message says how to install it.
    """
    if importlib.util.find_spec("torch") is None:
        raise ImportError(
            'reading a PyTorch checkpoint needs PyTorch: pip install -e ".[convert]" in the checkout of lightjax '
            "(the converted file does not need it)"
        )


def listed(items: Sequence[str]) -> str:
    """Items for a message, at most twenty."""
    return ", ".join(items[:20]) + (f" and {len(items) - 20} more" if len(items) > 20 else "")


def _permutation(rank: int) -> tuple[int, ...]:
    """Order of PyTorch's axes in lightjax: OIHW to HWIO, (out, in) to (in, out)."""
    return {4: (2, 3, 1, 0), 2: (1, 0)}.get(rank, tuple(range(rank)))
