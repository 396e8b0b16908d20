"""Pretrained networks: the one that comes with lightjax, and those that are found, downloaded, converted and cached.

A weights file is a safetensors file of the parameters of `inception.parameter_shapes`, in float32 or float16. Its
metadata name the architecture, the source, and the sha256 of the file that it was converted from.
"""

import contextlib
import difflib
import hashlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from jax.typing import DTypeLike

from lightjax import _files, labels
from lightjax.networks import inception, torch_bridge
from lightjax.networks.inception import Architecture, InceptionV1

DEFAULT = "bvlc_googlenet"
"""The network of `visualize` unless another is given."""

EMBEDDED = {"bvlc_googlenet": Path(__file__).parents[1] / "data" / "bvlc_googlenet.safetensors"}
"""Networks that come with lightjax; `data/bvlc_googlenet.md` is the model card."""


class Checkpoint(NamedTuple):
    """A public file of weights: its stem, where it is, and the git blob id that pins what is in it."""

    stem: str
    url: str
    blob: str


_GITHUB = "https://github.com/ProGamerGov"
_INCEPTION5H = Checkpoint(
    "inception5h",
    f"{_GITHUB}/pytorch-old-tensorflow-models/raw/f8187b60fca8a3f5cfa541406dcbcefb80db5c78/inception5h.pth",
    "119f77db85c8352960933e025312b507d9a96ed7",
)
CHECKPOINTS = {
    "inception5h": _INCEPTION5H,
    "inception5h_torchlight": _INCEPTION5H,
}
"""The public file behind each model that is downloaded."""

_OFFER = f"the network {DEFAULT!r} comes with lightjax and needs neither a download nor PyTorch"


class WeightsError(RuntimeError):
    """Weights that cannot be had or cannot be used; the message says what to do."""


class Conversion(NamedTuple):
    """What a checkpoint turned out to be: its architecture, and the tensors that were left out on purpose."""

    architecture: Architecture
    skipped: list[str]


class WeightsFile(NamedTuple):
    """The contents of a weights file."""

    architecture: Architecture
    parameters: dict[str, np.ndarray]
    metadata: dict[str, str]

    @property
    def source(self) -> str:
        """What a render says that its network was, such as "bvlc_googlenet@e87c85cf2e01, float16 weights"."""
        half = any(value.dtype == np.float16 for value in self.parameters.values())
        return f"{self.architecture.name}@{self.metadata.get('sha256', '')[:12]}" + ", float16 weights" * half

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits; empty where the file does not say."""
        return tuple(json.loads(self.metadata.get("class_names", "[]")))


def load_model(model: str | os.PathLike = DEFAULT, *, dtype: DTypeLike = "float32") -> InceptionV1:
    """Load a pretrained network.

    "bvlc_googlenet" comes with lightjax. Other names are looked for in the folder `$LIGHTJAX_HOME`, then in the
    platform's cache, as `NAME.safetensors` or, to be converted once, as the public `NAME.pth`. A name found in neither
    is downloaded, checked against the hash that this version of lightjax pins, converted, and cached.

    Args:
      model: "bvlc_googlenet" (GoogLeNet, the network of DeepDream), "inception5h" (the network of Lucid, Lucent and
        TorchLight), "inception5h_torchlight" (the same weights with TorchLight's padding and normalization), or the
        path of a weights file that `lightjax convert` wrote.
      dtype: What the network computes in; "bfloat16" is faster where the hardware has it, and good enough for pictures.

    Raises:
      ValueError: If the dtype is not one of real numbers.
      WeightsError: If there is no such model, if it can be neither found nor downloaded, or if its file is damaged.
      ConversionError: If a `.pth` file found in one of the folders is not the checkpoint that its name says.
      ImportError: If a checkpoint has to be converted and PyTorch is not installed.
    """
    dtype = inception.check_dtype(dtype)
    architecture = None
    if isinstance(model, str) and model in EMBEDDED:
        path = EMBEDDED[model]
    elif isinstance(model, str) and model in CHECKPOINTS:
        try:
            path = _find(CHECKPOINTS[model])
        except ImportError as error:
            raise ImportError(f"{error}; {_OFFER}") from None
        architecture = inception.ARCHITECTURES[model]
    else:
        path = Path(model)
        if not path.is_file():
            names = [*EMBEDDED, *CHECKPOINTS]
            close = difflib.get_close_matches(str(model), names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known names: {', '.join(names)}"
            raise WeightsError(f"there is no model or weights file {str(model)!r}; {hint}")
        if path.suffix in (".pth", ".pt"):
            raise WeightsError(f"{path} is a PyTorch checkpoint: convert it first, with 'lightjax convert {path}'")
    file = read(path)
    if architecture is None:
        architecture = file.architecture
    elif not file.architecture.classes:
        architecture = inception.without_classifier(architecture)
    source = file._replace(architecture=architecture).source + f", computed in {dtype}" * (dtype != np.float32)
    names = file.class_names or (labels.imagenet(architecture.name) if architecture.classes else ())
    try:
        return InceptionV1(architecture, file.parameters, dtype=dtype, source=source, class_names=names)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None


def read(path: str | os.PathLike) -> WeightsFile:
    """Read a weights file.

    Raises:
      WeightsError: If it is damaged or was not written by lightjax.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            parameters = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); convert or download it again") from None
    if metadata.get("format") != "lightjax" or metadata.get("architecture") not in inception.ARCHITECTURES:
        raise WeightsError(f"{path} was not written by this version of lightjax; make it again with 'lightjax convert'")
    architecture = inception.ARCHITECTURES[metadata["architecture"]]
    if not json.loads(metadata["classes"]):
        architecture = inception.without_classifier(architecture)
    return WeightsFile(architecture, parameters, metadata)


def write(
    path: str | os.PathLike,
    architecture: Architecture,
    parameters: Mapping[str, np.ndarray],
    *,
    source: str,
    sha256: str,
) -> None:
    """Write a weights file, whole or not at all.

    Args:
      path: The file to write.
      architecture: The record that the parameters belong to.
      parameters: Arrays by the names of `inception.parameter_shapes`, float32 or float16.
      source: Where they come from: a URL or a file name.
      sha256: Hash of the file they were converted from.

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
    _files.write_atomically(path, safetensors.numpy.save(dict(parameters), metadata))


def convert(
    source: str | os.PathLike, destination: str | os.PathLike, *, url: str = "", half: bool = False
) -> Conversion:
    """Convert a PyTorch checkpoint into a weights file, whole or not at all.

    Args:
      source: A state dict saved by `torch.save`, in one of the namings of `torch_bridge.SCHEMES`.
      destination: The weights file to write.
      url: Where the checkpoint was downloaded from, for the metadata; by default its file name.
      half: Whether to round the parameters to float16, which halves the file.

    Returns:
      The architecture that the checkpoint turned out to be, and the names of its auxiliary classifiers' tensors,
      which are left out.

    Raises:
      ConversionError: If the checkpoint is not one of a known InceptionV1, or has values that float16 cannot hold;
        nothing is written.
      FileNotFoundError: If there is no such checkpoint.
      ValueError: If the weights file is not to be called .safetensors.
      OSError: If the weights file cannot be written.
    """
    if Path(destination).suffix != ".safetensors":
        raise ValueError(f"a weights file is called NAME.safetensors, not {str(destination)!r}")
    tensors = torch_bridge.read_checkpoint(source)
    architecture, parameters = torch_bridge.from_torch(tensors)
    if half:
        large = [name for name, value in parameters.items() if np.abs(value).max() > np.finfo(np.float16).max]
        if large:
            raise torch_bridge.ConversionError(
                f"{source} has values beyond 65504, the largest of float16, in {', '.join(large)}; convert it without "
                "half precision"
            )
        parameters = {name: value.astype(np.float16) for name, value in parameters.items()}
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    write(destination, architecture, parameters, source=url or Path(source).name, sha256=digest)
    return Conversion(architecture, sorted(tensors.keys() - torch_bridge.without_auxiliary(tensors).keys()))


def verify(source: str | os.PathLike, converted: str | os.PathLike) -> int:
    """Export a weights file again and compare it with the checkpoint it came from, bit for bit.

    A float16 file is compared with the checkpoint rounded to float16.

    Returns:
      The number of tensors compared.

    Raises:
      ConversionError: If any tensor differs; the message lists them.
    """
    original = torch_bridge.without_auxiliary(torch_bridge.read_checkpoint(source))
    file = read(converted)
    exported = torch_bridge.to_torch(file.parameters, file.architecture, torch_bridge.scheme_of(original))
    original = {
        name: value.astype(exported[name].dtype) if name in exported else value for name, value in original.items()
    }
    differing = [
        name
        for name in sorted(original.keys() | exported.keys())
        if name not in original
        or name not in exported
        or original[name].shape != exported[name].shape
        or original[name].tobytes() != exported[name].tobytes()
    ]
    if differing:
        raise torch_bridge.ConversionError(
            f"{converted} is not a faithful conversion of {source}: {', '.join(differing)} differ"
        )
    return len(original)


def cache_folder() -> Path:
    """The platform's cache folder for lightjax, which may not be there yet (`~/.cache/lightjax` on Linux)."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("lightjax", appauthor=False))


def blob_id(data: bytes) -> str:
    """The id under which git stores a file, which pins a download whoever serves it."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _find(checkpoint: Checkpoint) -> Path:
    """The converted file of a checkpoint, made if need be."""
    cache = cache_folder()
    home = os.environ.get("LIGHTJAX_HOME")
    folders = [Path(home).expanduser(), cache] if home else [cache]
    if not folders[0].is_dir() and home:
        raise WeightsError(f"the environment variable LIGHTJAX_HOME names {home!r}, which is no folder")
    for folder in folders:
        converted = folder / f"{checkpoint.stem}.safetensors"
        if converted.is_file():
            return converted
        original = folder / f"{checkpoint.stem}.pth"
        if original.is_file():
            with _kept(checkpoint, cache):
                return _convert_once(original, cache)
    with _kept(checkpoint, cache):
        return _download(checkpoint, cache)


@contextlib.contextmanager
def _kept(checkpoint: Checkpoint, cache: Path):
    """Make the cache folder, and say what to do if something cannot be kept in it."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise WeightsError(
            f"cannot keep {checkpoint.stem} in the cache folder {cache} ({error.strerror or error}); make room there, "
            f"or choose another one by the environment variable XDG_CACHE_HOME; {_OFFER}"
        ) from None


def _convert_once(original: Path, cache: Path) -> Path:
    """Convert a checkpoint that lies in a folder of the user's, which may be read-only, into the cache."""
    digest = hashlib.sha256(original.read_bytes()).hexdigest()
    converted = cache / f"{original.stem}-{digest[:12]}.safetensors"
    if not converted.is_file():
        convert(original, converted)
    return converted


def _download(checkpoint: Checkpoint, cache: Path) -> Path:
    """Download, verify and convert a public checkpoint."""
    torch_bridge.require_torch()
    import pooch
    import requests
    import urllib3

    advice = (
        f"try again, or download {checkpoint.url} yourself into a folder that the environment variable LIGHTJAX_HOME "
        f"names; {_OFFER}"
    )
    converted = cache / f"{checkpoint.stem}.safetensors"
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as folder:
        original = Path(folder) / f"{checkpoint.stem}.pth"
        try:
            pooch.HTTPDownloader(progressbar=True)(checkpoint.url, str(original), None)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise WeightsError(f"cannot download {checkpoint.stem}: {_reason(error)}; {advice}") from None
        data = original.read_bytes()
        if blob_id(data) != checkpoint.blob:
            raise WeightsError(
                f"what was downloaded for {checkpoint.stem} ({len(data)} bytes) is not the file that this version of "
                f"lightjax knows: it was cut short or changed, and is not used; {advice}"
            )
        convert(original, converted, url=checkpoint.url)
    return converted


def _reason(error: Exception) -> str:
    """Why a download failed, in one line."""
    import requests

    match error:
        case requests.exceptions.ProxyError():
            return "the proxy that HTTPS_PROXY or https_proxy names cannot be reached or refused"
        case requests.exceptions.SSLError():
            return "the certificate of the server cannot be verified"
        case requests.exceptions.HTTPError(response=requests.Response(status_code=code)):
            return f"the server answered with HTTP status {code}"
        case requests.exceptions.Timeout():
            return "the server did not answer in time"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection broke before the file was whole"
        case _:
            return "there is no connection to the server"
