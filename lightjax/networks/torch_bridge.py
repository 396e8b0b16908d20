"""PyTorch state dicts to parameters of lightjax and back, bit for bit, for any network."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lightjax.networks.tensor_files import listed


class ConversionError(ValueError):
    """A checkpoint cannot be converted. The message lists everything that is wrong with it."""


class Target(NamedTuple):
    """The parameter of a lightjax network that a tensor becomes."""

    name: str
    shape: tuple[int, ...]


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


def _permutation(rank: int) -> tuple[int, ...]:
    """Order of PyTorch's axes in lightjax: OIHW to HWIO, (out, in) to (in, out)."""
    return {4: (2, 3, 1, 0), 2: (1, 0)}.get(rank, tuple(range(rank)))
