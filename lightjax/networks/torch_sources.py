"""PyTorch networks by a text: of torchvision, of timm, or of a package of the user's."""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightjax.networks import checkpoints, tensor_files
from lightjax.networks.torch_bridge import ConversionError

if TYPE_CHECKING:
    import torch


class Source(NamedTuple):
    """A PyTorch network and what is known of it.

    Attributes:
      module: The network with its weights, or a program of `torch.export`.
      name: Its name in the record of renders.
      preprocess: What `from_torch` takes as `preprocess`.
      class_names: Names of its classes; empty if unknown.
      notes: What was done to read its checkpoint.
    """

    module: "torch.nn.Module | torch.export.ExportedProgram"
    name: str
    preprocess: Any = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find(text: str, checkpoint: str | os.PathLike | None = None) -> Source:
    """Make a network.

    Args:
      text: "torchvision:NAME", "timm:NAME", "package.module:function", a function without arguments that returns a
        network, or NAME.pt2, a program that `torch.export.save` wrote. PyTorch reads such a program with pickle, so it
        must come from somebody you trust.
      checkpoint: A file of weights. Without it torchvision and timm download theirs.

    Raises:
      ConversionError: If there is no such network, its weights cannot be had, or the checkpoint does not fit.
      ImportError: If PyTorch or the library is not installed.
    """
    tensor_files.require_torch()
    if text.endswith(".pt2"):
        return _program(Path(text), checkpoint)
    library, _, name = text.partition(":")
    if not name:
        raise ConversionError(f"a network must be torchvision:NAME, timm:NAME or package.module:function, got {text!r}")
    match library:
        case "torchvision":
            source = _torchvision(name, None if checkpoint is None else _classes(checkpoint))
        case "timm":
            source = _timm(name, None if checkpoint is None else _classes(checkpoint))
        case _:
            source = Source(_made_by(library, name), name)
    return source if checkpoint is None else source._replace(notes=tuple(_fill(source.module, checkpoint)))


def _program(path: Path, checkpoint: str | os.PathLike | None) -> Source:
    import torch

    if checkpoint is not None:
        raise ConversionError("a program of torch.export has its weights; it takes no checkpoint")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return Source(torch.export.load(path), path.stem)
    except Exception as error:  # of zipfile, json, pickle or torch
        reason = tensor_files.in_a_line(error)
        raise ConversionError(f"cannot read {path} as a program of torch.export: {reason}") from None


def _torchvision(name: str, classes: int | None) -> Source:
    try:
        import torchvision.models
    except ModuleNotFoundError:
        raise ImportError("this network needs torchvision: pip install torchvision") from None
    except RuntimeError as error:  # its operators are missing
        raise ImportError(f"the installed torchvision does not fit the installed PyTorch: {error}") from None
    try:
        kind = torchvision.models.get_model_weights(name)
    except ValueError:
        raise ConversionError(
            f"torchvision has no network {name!r}; torchvision.models.list_models() has them"
        ) from None
    trained = kind.DEFAULT  # type: ignore[attr-defined]
    names = tuple(trained.meta.get("categories", ()))
    extra = {"num_classes": classes} if classes else {}
    if name in ("googlenet", "inception_v3"):
        extra["init_weights"] = False  # this takes a minute
    try:
        module = torchvision.models.get_model(name, weights=trained if classes is None else None, **extra)
    except OSError as error:
        raise ConversionError(
            f"cannot download the weights of {name} ({error}); download {trained.url} yourself and give them as a "
            "checkpoint"
        ) from None
    return Source(module, name, trained.transforms(), names if classes in (None, len(names)) else ())


def _timm(name: str, classes: int | None) -> Source:
    try:
        import timm  # pyright: ignore[reportMissingImports]  (only the extra "zoo" has it)
    except ModuleNotFoundError:
        raise ImportError("this network needs timm: pip install timm") from None
    if not timm.is_model(name):
        raise ConversionError(f"timm has no network {name!r}; timm.list_models() has them")
    try:
        extra: dict[str, Any] = {"num_classes": classes} if classes else {}
        module = timm.create_model(name, pretrained=classes is None, **extra)
    except Exception as error:  # of huggingface_hub, httpx, or timm, for a missing connection
        raise ConversionError(
            f"cannot make {name} with its weights ({str(error).strip().partition(chr(10))[0]}); download them "
            "yourself and give them as a checkpoint"
        ) from None
    return Source(module, name)


def _made_by(module: str, function: str) -> "torch.nn.Module":
    import torch

    try:
        made = getattr(importlib.import_module(module), function)()
    except ImportError as error:
        raise ConversionError(f"cannot import {module}: {error}") from None
    except AttributeError:
        raise ConversionError(f"the module {module} has no function {function!r}") from None
    if not isinstance(made, torch.nn.Module):
        raise ConversionError(f"{module}:{function} must return a torch.nn.Module, got {type(made).__name__}")
    return made


def _classes(checkpoint: str | os.PathLike) -> int:
    """The number of classes of a checkpoint, by its last matrix or kernel; 0 if it has none."""
    weights = checkpoints.read(checkpoint, ()).tensors
    return next((value.shape[0] for value in reversed(weights.values()) if value.ndim in (2, 4)), 0)


def _fill(module: Any, checkpoint: str | os.PathLike) -> list[str]:
    """Put the weights of a checkpoint into a network.

    Returns:
      Notes on what was done to read it.
    """
    import torch

    own = {key: value for key, value in module.state_dict().items() if value.is_floating_point()}
    weights, notes = checkpoints.read(checkpoint, own.keys())
    problems = [f"missing {key}" for key in own if key not in weights]
    problems += [f"unexpected {key}" for key in weights if key not in own and "aux" not in key.lower()]
    problems += [
        f"{key} must have shape {tuple(value.shape)}, got {weights[key].shape}"
        for key, value in own.items()
        if key in weights and tuple(value.shape) != weights[key].shape
    ]
    if problems:
        told = tensor_files.listed(problems, 5)
        raise ConversionError(f"{checkpoint} does not fit {type(module).__name__} ({len(problems)} problems): {told}")
    module.load_state_dict({key: torch.from_numpy(weights[key]) for key in own}, strict=False)
    return notes
