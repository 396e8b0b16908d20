"""Checkpoints as people have them: wrapped, prefixed, in other types of numbers.

What is taken out of a checkpoint, cast or left out is said, in `State.notes`.
"""

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightjax.networks import tensor_files
from lightjax.networks.tensor_files import TensorFileError, in_a_line, listed
from lightjax.networks.torch_bridge import ConversionError

AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "model_ema_state_dict", "params_ema", "ema")
"""Names under which checkpoints hold averages of the weights over training, which are the ones to be used."""
WEIGHTS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights", "shadow")
"""Names under which they hold the weights of the last step. The first name that is there is taken, averages before."""

_FLOATS = {"float16", "bfloat16", "float32", "float64"}


class State(NamedTuple):
    """The weights in a checkpoint: float32 arrays by name, and notes on what was done to get them."""

    tensors: dict[str, np.ndarray]
    notes: list[str]


def read(path: str | os.PathLike, known: Collection[str]) -> State:
    """Read the weights in a checkpoint.

    Args:
      path: A file that `torch.save` wrote, or a safetensors file, which needs no PyTorch.
      known: Names of the tensors of all networks that are looked for. What stands before them in the checkpoint, such
        as "module.", is taken away.

    Raises:
      ConversionError: If the file is damaged or holds no dictionary of finite tensors.
      FileNotFoundError: If there is no such file.
      ImportError: If PyTorch is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    notes: list[str] = []
    try:
        if path.suffix == ".safetensors":
            tensors, metadata = tensor_files.read_safetensors(path)
            if metadata.get("format") == "lightjax":
                raise ConversionError(f"{path} is a weights file of lightjax already; load it as it is")
        else:
            tensors = tensor_files.arrays(_unwrapped(tensor_files.read_torch(path), notes))
        tensors = _floats(_without_prefix(tensors, known, notes), known, notes)
    except TensorFileError as error:
        raise ConversionError(f"cannot read {path} as a checkpoint: {error}") from None
    broken = [name for name, value in tensors.items() if name in known and not np.isfinite(value).all()]
    if broken:
        raise ConversionError(f"{path} has values that are NaN, infinite or too large for float32 in {listed(broken)}")
    return State(tensors, notes)


def sha256(path: str | os.PathLike) -> str:
    """The hash of a checkpoint.

    Raises:
      ConversionError: If the file is too large to be a checkpoint.
    """
    try:
        tensor_files.check_size(os.stat(path).st_size)
    except TensorFileError as error:
        raise ConversionError(f"cannot read {path} as a checkpoint: {error}") from None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _unwrapped(content: Any, notes: list[str]) -> Mapping[Any, Any]:
    """The dictionary of tensors inside of dictionaries."""
    for _ in range(5):
        if not isinstance(content, dict):
            break
        inside = {one: dict.get(content, one) for one in (*AVERAGES, *WEIGHTS)}
        name, *others = [one for one, value in inside.items() if isinstance(value, dict) and value] or [""]
        if not name:
            break
        aside = f", an average over training, and not from {listed(others)}"
        notes.append(f"took the weights from {name!r}" + aside * (name in AVERAGES and bool(others)))
        content = inside[name]
    if not isinstance(content, dict):
        raise TensorFileError(f"it must hold a state dict of named tensors, got a {type(content).__name__}")
    return content


def _without_prefix(
    tensors: Mapping[str, np.ndarray], known: Collection[str], notes: list[str]
) -> dict[str, np.ndarray]:
    """Take away what stands before the known names, such as "module.", and leave out what is not below it."""
    counts: dict[str, int] = {}
    for name in tensors:
        parts = name.split(".")
        for start in range(max(len(parts) - 4, 0), len(parts)):
            if ".".join(parts[start:]) in known:
                prefix = ".".join([*parts[:start], ""])
                counts[prefix] = counts.get(prefix, 0) + 1
                break
    whole = [prefix for prefix, count in counts.items() if 2 * count > max(counts.values())]
    averages = [prefix for prefix in whole if re.search(r"(^|[._])ema[._]", prefix)]
    if len(whole) > 1 and len(averages) != 1:
        raise TensorFileError(f"it holds several copies of the weights, below {listed(whole)}; save one of them alone")
    if not whole or whole == [""]:
        return dict(tensors)
    prefix = (averages if len(whole) > 1 else whole)[0]
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    aside = ", below which are averages over training" * (prefix in averages)
    notes.append(f"took the prefix {in_a_line(prefix)!r} away from the names{aside}")
    if len(inside) < len(tensors):
        outside = [name for name in tensors if not name.startswith(prefix)]
        notes.append(f"left out {_tensors(len(outside))} without this prefix: {listed(outside, 5)}")
    return inside


def _floats(tensors: Mapping[str, np.ndarray], known: Collection[str], notes: list[str]) -> dict[str, np.ndarray]:
    """The tensors of floating-point numbers, in float32."""
    floats = {name: value for name, value in tensors.items() if value.dtype.name in _FLOATS}
    others = [f"{name} ({value.dtype})" for name, value in tensors.items() if name not in floats]
    wrong = [f"{name} ({tensors[name].dtype})" for name in tensors if name in known and name not in floats]
    if wrong:
        raise TensorFileError(f"it must hold floating-point numbers, got {listed(wrong)}")
    if others:
        notes.append(f"left out {_tensors(len(others))} not of floating-point numbers: {listed(others, 5)}")
    for dtype in sorted({value.dtype.name for value in floats.values()} - {"float32"}):
        count = sum(value.dtype.name == dtype for value in floats.values())
        notes.append(f"cast {_tensors(count)} from {dtype} to float32")
    with np.errstate(over="ignore"):  # infinite values are an error later
        return {name: value.astype(np.float32) for name, value in floats.items()}


def _tensors(count: int) -> str:
    return f"{count} tensor{'s' * (count != 1)}"
