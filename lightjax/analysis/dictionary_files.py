"""Files of dictionaries: lightjax's own, and those of Prisma (vit-prisma), SAELens and overcomplete.

The tensors are read as data; no code in a file is executed. What the tools scale or normalize beside the two matrices
is folded into these, so that latents and reconstructions stay the same.

References:
  soniajoseph/ViT-Prisma, `sae/sae.py`; decoderesearch/SAELens, `saes/`; KempnerInstitute/overcomplete, `sae/`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from lightjax import _checks, _files
from lightjax.networks import tensor_files
from lightjax.networks.tensor_files import TensorFileError, listed

FORMAT = "lightjax_dictionary"
"""The only entry of the metadata: with several, safetensors writes them in any order, and not the same bytes twice."""
ARRAYS = ("encoder", "bias", "decoder", "center", "threshold")
_SETTINGS = ("cfg.json", "config.json")
_WEIGHTS = ("sae_weights.safetensors", "weights.pt", "weights.safetensors", "sae.safetensors")
_INSIDE = ("state_dict", "autoencoder", "model_state_dict", "model", "sae")
_BATCH_NORM_EPSILON = 1e-5
_LARGEST_SETTINGS = 2**20

Tensors = Mapping[str, np.ndarray]
Settings = Mapping[str, Any]


def write(path: Path, arrays: Mapping[str, Any], plain: Settings) -> None:
    """Write a dictionary.

    Args:
      path: The file.
      arrays: Its arrays; None is left out.
      plain: Its settings.

    Raises:
      ValueError: If the name does not end in .safetensors.
      OSError: If the file cannot be written.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"path: the name must end in .safetensors, got {_checks.in_a_line(path.name)!r}")
    there = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    _files.write_atomically(path, safetensors.numpy.save(there, {FORMAT: json.dumps(plain)}))


def read(path: Path, said: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Dictionary` that a file or a folder stands for.

    Args:
      path: The file or the folder.
      said: The layer, and k or a threshold, where the file does not say them; None for what is not said.

    Raises:
      ValueError: If it is damaged, holds something else, or what a `Dictionary` cannot be.
      OSError: If it cannot be read.
      ImportError: If PyTorch is needed and not installed.
    """
    layer = None if said["layer"] is None else _checks.text(said["layer"], "layer")
    try:
        parts = _read(path)
    except TensorFileError as error:
        raise ValueError(f"cannot read the path {_checks.in_a_line(path)} as a dictionary: {error}") from None
    layer = parts.get("layer") if layer is None else layer
    if layer is None:
        raise ValueError(
            "layer must name the layer that the dictionary explains, which the file does not say; got None"
        )
    choice = {name: said[name] for name in ("k", "threshold") if said[name] is not None}
    if choice and (parts.get("k") is not None or parts.get("threshold") is not None):
        raise ValueError(f"{min(choice)} must be None for a file that says itself which latents stay")
    return {**parts, **choice, "layer": layer}


def _read(path: Path) -> dict[str, Any]:
    weights = path
    if path.is_dir():
        there = [path / name for name in _WEIGHTS if (path / name).is_file()]
        if len(there) != 1:
            raise TensorFileError(f"the folder must hold one of {', '.join(_WEIGHTS)}; or give the file itself")
        weights = there[0]
    elif not path.is_file():
        raise FileNotFoundError(f"there is no file {_checks.in_a_line(path)}")
    if weights.suffix == ".safetensors":
        tensors, metadata = tensor_files.read_safetensors(weights)
        if FORMAT in metadata:
            return _own(tensors, metadata)
        settings: Settings = {}
    else:
        tensors, settings = _of_torch(tensor_files.read_torch(weights))
    settings = {**settings, **_settings_beside(weights)}
    tensors = {
        name: value for name, value in tensors.items() if np.issubdtype(value.dtype, np.integer) or _floats(value)
    }
    with np.errstate(over="ignore"):  # infinite values are an error later
        tensors = {name: value.astype(np.float64) for name, value in tensors.items()}
    if "W_enc" in tensors and "W_dec" in tensors:
        parts = _lens(tensors, settings)
    elif any(name.startswith(("dictionary.", "encoder.")) for name in tensors):
        parts = _overcomplete(tensors)
    else:
        names = listed(list(tensors), 6) or "nothing"
        raise TensorFileError(
            "it must hold W_enc and W_dec (SAELens, Prisma), or encoder.* and dictionary.* (overcomplete), but its "
            f"tensors are {names}"
        )
    with np.errstate(over="ignore"):
        arrays = {name: value.astype(np.float32) for name, value in parts.items() if isinstance(value, np.ndarray)}
    return {**parts, **arrays, "source": weights.name if path == weights else path.resolve().name}


def _own(tensors: Tensors, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        plain = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict) or plain.keys() != {"layer", "k", "normalize", "source"}:
        raise TensorFileError("its settings are damaged")
    if not {"encoder", "bias", "decoder", "center"} <= tensors.keys() <= set(ARRAYS):
        raise TensorFileError(f"it must hold the arrays of a dictionary, got {listed(list(tensors))}")
    return {**tensors, **plain}


def _of_torch(content: Any) -> tuple[dict[str, np.ndarray], Settings]:
    """The tensors of a PyTorch file, and the settings beside them."""
    settings: Settings = {}
    for _ in range(5):
        if not isinstance(content, dict):
            raise TensorFileError(f"it must hold a state dict of named tensors, got a {type(content).__name__}")
        for name in ("cfg", "config"):
            beside = dict.get(content, name)
            settings = beside if isinstance(beside, dict) else settings
        inside = [dict.get(content, name) for name in _INSIDE if isinstance(dict.get(content, name), dict)]
        if not inside:
            break
        content = inside[0]
    return tensor_files.arrays(content), settings


def _settings_beside(weights: Path) -> Settings:
    """The settings in a JSON file in the folder of the weights; none if there is no such file."""
    for name in _SETTINGS:
        path = weights.parent / name
        if not path.is_file():
            continue
        if path.stat().st_size > _LARGEST_SETTINGS:
            raise TensorFileError(f"{name} beside it has more than {_LARGEST_SETTINGS} bytes")
        try:
            settings = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError):
            settings = None
        if not isinstance(settings, dict):
            raise TensorFileError(f"{name} beside it is no dictionary of settings")
        return settings
    return {}


def _lens(tensors: Tensors, settings: Settings) -> dict[str, Any]:
    """The layout of SAELens, which Prisma has too: W_enc `[c, latents]`, W_dec `[latents, c]`, b_enc, b_dec."""
    encoder, decoder = tensors["W_enc"], tensors["W_dec"]
    if encoder.ndim != 2 or decoder.shape != encoder.shape[::-1]:
        raise TensorFileError(
            f"W_enc and W_dec must be [c, latents] and [latents, c], got {list(encoder.shape)} and "
            f"{list(decoder.shape)}"
        )
    channels, latents = encoder.shape
    center = _vector(tensors, "b_dec", channels, np.zeros(channels))
    architecture = _setting(settings, "architecture", "standard", str)
    gated = architecture == "gated" or "r_mag" in tensors
    bias = _vector(tensors, "b_enc", latents, np.zeros(latents) if gated else None)
    found: dict[str, Any] = {"normalize": _normalization(settings)}
    kwargs = _setting(settings, "activation_fn_kwargs", {}, dict)
    activation = _setting(settings, "activation_fn_str", settings.get("activation_fn", "relu"), str)
    if architecture not in ("standard", "topk", "jumprelu", "gated"):
        raise TensorFileError(f"its architecture must be standard, topk, jumprelu or gated, got {architecture!r:.60}")
    if activation not in ("relu", "topk") or (gated and activation != "relu"):
        raise TensorFileError(f"its activation function cannot be expressed here: {activation!r:.60}")
    scaling = tensors.get("scaling_factor", tensors.get("finetuning_scaling_factor"))
    if scaling is not None and not np.allclose(scaling, 1):
        raise TensorFileError("its latents are scaled by a scaling_factor, which cannot be expressed here")
    if architecture == "topk" or activation == "topk":
        k = settings.get("k", dict.get(kwargs, "k"))
        if not isinstance(k, int) or isinstance(k, bool):
            raise TensorFileError(f"its settings must say k, the number of latents that stay, got {k!r:.60}")
        found["k"] = k
    if gated:  # ReLU of m = exp(r_mag) u + b_mag where u > -b_gate, which is m > b_mag - exp(r_mag) b_gate
        gate, scale, bias = (_vector(tensors, name, latents) for name in ("b_gate", "r_mag", "b_mag"))
        with np.errstate(over="ignore", invalid="ignore"):
            encoder = encoder * np.exp(scale)
            found["threshold"] = bias - np.exp(scale) * gate
    elif "log_threshold" in tensors:
        with np.errstate(over="ignore"):
            found["threshold"] = np.exp(_vector(tensors, "log_threshold", latents))
    elif "threshold" in tensors:
        found["threshold"] = _vector(tensors, "threshold", latents)
    elif architecture == "jumprelu":
        raise TensorFileError("it must hold the threshold of a jumprelu autoencoder")
    if _setting(settings, "rescale_acts_by_decoder_norm", False, bool):
        lengths = np.linalg.norm(decoder, axis=1)
        if not (lengths > 0).all():
            raise TensorFileError("its decoder must have no row of 0, because it is divided by their lengths")
        encoder, bias, decoder = encoder * lengths, bias * lengths, decoder / lengths[:, None]
    if not _setting(settings, "apply_b_dec_to_input", True, bool):
        bias = bias + center @ encoder
    return {**found, "encoder": encoder, "bias": bias, "decoder": decoder, "center": center}


def _normalization(settings: Settings) -> str:
    """How a tool normalizes vectors, in the names of `Dictionary`."""
    how = settings.get("normalize_activations", "none")
    known = {"none": "none", "layer_norm": "layer_norm", "constant_norm_rescale": "length", None: "none", False: "none"}
    if isinstance(how, str | None | bool) and how in known:
        return known[how]
    raise TensorFileError(
        f"its activations are normalized by {how!r:.60}, with numbers that are not in the file; fold them into the "
        "weights first (SAELens: fold_activation_norm_scaling_factor)"
    )


def _overcomplete(tensors: Tensors) -> dict[str, Any]:
    """The layout of overcomplete: a linear encoder with batch normalization, and a dictionary without a center."""
    deeper = [
        name for name in tensors if name.startswith(("encoder.mlp_blocks.", "encoder.attention_", "encoder.resnet"))
    ]
    if deeper:
        raise TensorFileError(
            f"its encoder has more than one layer ({listed(deeper, 3)}), which cannot be expressed here"
        )
    block = "encoder.final_block." if "encoder.final_block.0.weight" in tensors else "encoder."
    directions = [tensors[name] for name in ("dictionary._weights", "dictionary.dictionary") if name in tensors]
    if f"{block}0.weight" not in tensors or not directions:
        raise TensorFileError(
            "it must hold encoder.final_block.0.weight and dictionary._weights of overcomplete, got "
            f"{listed(list(tensors), 6)}"
        )
    weight, decoder = tensors[f"{block}0.weight"], directions[0]
    if weight.ndim != 2 or decoder.shape != weight.shape:
        raise TensorFileError(
            f"its encoder and its dictionary must be [latents, c] both, got {list(weight.shape)} and "
            f"{list(decoder.shape)}"
        )
    latents, channels = weight.shape
    bias = _vector(tensors, f"{block}0.bias", latents, np.zeros(latents))
    if f"{block}1.weight" in tensors:
        part = {
            name: _vector(tensors, f"{block}1.{name}", latents)
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        if (part["running_var"] < 0).any():
            raise TensorFileError("its running variances must be 0 or more")
        scale = part["weight"] / np.sqrt(part["running_var"] + _BATCH_NORM_EPSILON)
        weight, bias = weight * scale[:, None], (bias - part["running_mean"]) * scale + part["bias"]
    found: dict[str, Any] = {"encoder": weight.T.copy(), "bias": bias, "decoder": decoder, "center": np.zeros(channels)}
    for name in ("thresholds", "threshold"):
        if name in tensors:
            with np.errstate(over="ignore"):
                found["threshold"] = np.exp(_vector(tensors, name, latents))
    return found


def _vector(tensors: Tensors, name: str, length: int, otherwise: np.ndarray | None = None) -> np.ndarray:
    """A tensor of one axis."""
    value = tensors.get(name, otherwise)
    if value is None or value.shape != (length,):
        got = "nothing" if value is None else str(list(value.shape))
        raise TensorFileError(f"it must hold {name} of shape [{length}], got {got}")
    return value


def _setting(settings: Settings, name: str, otherwise: Any, kind: type) -> Any:
    """A setting of a type; those that are missing or null have a default."""
    value = settings.get(name)
    value = otherwise if value is None else value
    if not isinstance(value, kind):
        raise TensorFileError(f"its setting {name} must be a {kind.__name__}, got {value!r:.60}")
    return value


def _floats(value: np.ndarray) -> bool:
    return value.dtype.name in ("float16", "bfloat16", "float32", "float64")
