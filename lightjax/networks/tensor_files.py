"""Files of named tensors, written by anybody: what they hold is measured before it is read.

This is the only module that imports PyTorch, and only when a PyTorch file is read. Such files are opened with
`weights_only=True`, so no code in them is executed.
"""

import importlib.util
import math
import os
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np
import safetensors

LARGEST = 2**33
"""Most bytes of a file, and of what it unpacks to. A checkpoint of a large vision transformer (300 million parameters)
with the state of its optimizer and an average of its weights has 5 GB."""
MOST_OPERATIONS, MOST_TUPLES = 500_000, 20_000
"""Most operations of a pickle, and most tuples among them. InceptionV1 needs 5,000 and 700. Millions of nested tuples
end the process."""

_PLAIN = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")
_PLAIN += ("_rebuild_parameter_with_state", "_rebuild_from_type_v2")
"""Functions that make dense tensors. Others, and the names below, which PyTorch allows, make gigabytes of few bytes."""
_SWELLING = ("bytearray", "encode", "set", "Size")
_OBJECTS = "it holds Python objects other than tensors{}, which lightjax never executes; save its state_dict() instead"
_DTYPES = {"F16", "BF16", "F32", "F64", "C64", "BOOL", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"}
"""The types of safetensors files that NumPy has, with bfloat16."""


class TensorFileError(ValueError):
    """A file cannot be read. The message is a sentence without the name of the file: "it is damaged"."""


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file.

    Returns:
      Arrays by name, and the metadata.

    Raises:
      TensorFileError: If the file is damaged or too large, or has tensors of a type that NumPy does not have.
      OSError: If it cannot be read.
    """
    check_size(os.stat(path).st_size)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            others = [f"{name} ({dtype})" for name, dtype in types.items() if dtype not in _DTYPES]
            if others:
                raise TensorFileError(f"it has tensors of types that cannot be used: {listed(others)}; use float32")
            return {name: file.get_tensor(name) for name in types}, file.metadata() or {}
    except TensorFileError:
        raise
    except (safetensors.SafetensorError, ValueError, OverflowError) as error:
        raise TensorFileError(f"it is not a complete safetensors file ({in_a_line(error)})") from None


def read_torch(path: str | os.PathLike) -> Any:
    """Read what `torch.save` has written: usually a dictionary of tensors, or one of such dictionaries.

    Raises:
      TensorFileError: If the file is damaged, too large, or holds other Python objects.
      ImportError: If PyTorch is not installed.
      OSError: If it cannot be read.
    """
    require_torch()
    import torch

    path = Path(path)
    check_size(path.stat().st_size)
    try:
        _check_pickles(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except TensorFileError:
        raise
    except OSError as error:
        if error.errno:
            raise
        raise TensorFileError("it is damaged, cut short, or not a checkpoint") from error
    except Exception as error:  # torch raises half a dozen types for files that it cannot read
        whole = _is_zip(path) or path.read_bytes()[-1:] == b"."  # a whole pickle ends in a dot
        raise TensorFileError(
            _OBJECTS.format("")
            if whole and isinstance(error, pickle.UnpicklingError)
            else "it is damaged, cut short, or not a checkpoint"
        ) from error


def arrays(values: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """The tensors in a dictionary that `read_torch` has read, as arrays. Everything else in it is left out.

    Raises:
      TensorFileError: If a tensor is of a type that NumPy does not have, not dense, or too large.
    """
    import torch

    tensors = {k: v for k, v in dict.items(values) if isinstance(k, str) and isinstance(v, torch.Tensor)}  # type: ignore[arg-type]
    # A tensor may be far larger than the file: one number, repeated.
    check_size(sum(8 * math.prod(torch.Tensor.size(value)) for value in tensors.values()))
    found, others = {}, []
    for name, value in tensors.items():
        try:
            plain = torch.Tensor.detach(value)
            bits = plain.view(torch.int16).numpy().view(jnp.bfloat16) if plain.dtype == torch.bfloat16 else None
            found[name] = plain.numpy() if bits is None else bits
        except Exception:  # float8, sparse, quantized, without data, with an attribute called "detach"
            others.append(f"{name} ({torch.Tensor.type(value)})")
    if others:
        raise TensorFileError(f"it has tensors of types that cannot be used: {listed(others)}; use dense float32")
    return found


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


def listed(items: Sequence[str], most: int = 20) -> str:
    """Items for a message, at most so many, each in one short line."""
    return ", ".join(map(in_a_line, items[:most])) + (f" and {len(items) - most} more" if len(items) > most else "")


def in_a_line(text: object) -> str:
    """A text of others for a message: at most 100 characters in a line that can be printed."""
    line = " ".join(str(text).split())
    line = "".join(character if character.isprintable() else "?" for character in line[:101])
    return line if len(line) <= 100 else line[:97] + "..."


def check_size(size: int) -> None:
    """Check a number of bytes against `LARGEST`.

    Raises:
      TensorFileError: If it is larger.
    """
    if size > LARGEST:
        raise TensorFileError(
            f"it holds {size / 1e9:.1f} GB, and no checkpoint of a network that lightjax converts has more than "
            f"{LARGEST / 1e9:.1f} GB"
        )


def _check_pickles(path: Path) -> None:
    """Look through a PyTorch file for what would take all memory or end the process, without unpickling anything."""
    with open(path, "rb") as file:
        if not _is_zip(path):
            for _ in range(5):  # a file from before PyTorch 1.6: a sequence of pickles, then the numbers
                _check_pickle(file)
            return
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            check_size(sum(member.file_size for member in members))
            pickles = [member for member in members if member.filename.lower().endswith(".pkl")]
            if any(member.filename.endswith("/constants.pkl") for member in pickles):
                raise TensorFileError("it is a TorchScript program, not a checkpoint; save its state_dict() instead")
            for member in pickles:
                with archive.open(member) as opened:
                    _check_pickle(opened)


def _check_pickle(file: IO[bytes]) -> None:
    tuples = 0
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
        tuples += "TUPLE" in operation.name
        if count > MOST_OPERATIONS or tuples > MOST_TUPLES:
            raise TensorFileError("it holds far more objects than a checkpoint of a network that lightjax converts")
        name = str(argument).rpartition(" ")[2] if operation.name == "GLOBAL" else ""
        if name in _SWELLING or (name.startswith("_rebuild_") and name not in _PLAIN):
            raise TensorFileError(_OBJECTS.format(f" ({in_a_line(name)})"))


def _is_zip(path: Path) -> bool:
    """Whether PyTorch will take the file for an archive."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\3\4"
