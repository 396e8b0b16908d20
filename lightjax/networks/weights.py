"""Pretrained networks: find, download, convert, verify, cache and load them.

A weights file is a safetensors file of the parameters in `architectures.parameter_shapes`, in float32 or float16. Its
metadata name the architecture, the source, and the sha256 of the file that it was converted from.
"""

import contextlib
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

from lightjax import _checks, _files, labels
from lightjax.networks import architectures, inception, inception_torch, torch_bridge
from lightjax.networks.architectures import DEFAULT, Architecture
from lightjax.networks.inception import InceptionV1
from lightjax.networks.torch_bridge import ConversionError

EMBEDDED = {"bvlc_googlenet": Path(__file__).parents[1] / "data" / "bvlc_googlenet.safetensors"}
"""Files of the networks that come with lightjax. The model card is `data/bvlc_googlenet.md`."""


class Checkpoint(NamedTuple):
    """A public PyTorch checkpoint: its file name without ending, its URL, and the git blob id of its content."""

    stem: str
    url: str
    blob: str


_GITHUB = "https://github.com/ProGamerGov"
_INCEPTION5H = Checkpoint(
    "inception5h",
    f"{_GITHUB}/pytorch-old-tensorflow-models/raw/f8187b60fca8a3f5cfa541406dcbcefb80db5c78/inception5h.pth",
    "119f77db85c8352960933e025312b507d9a96ed7",
)
CHECKPOINTS = {"inception5h": _INCEPTION5H, "inception5h_torchlight": _INCEPTION5H}
"""The public checkpoint of each network that is downloaded."""

_OFFER = f"the network {DEFAULT!r} comes with lightjax and needs neither a download nor PyTorch"


class WeightsError(RuntimeError):
    """Weights cannot be found, downloaded or used. The message says what to do."""


class Conversion(NamedTuple):
    """A converted checkpoint: its architecture, and the names of the auxiliary tensors that were left out."""

    architecture: Architecture
    skipped: list[str]


class WeightsFile(NamedTuple):
    """The contents of a weights file."""

    architecture: Architecture
    parameters: dict[str, np.ndarray]
    metadata: dict[str, str]

    @property
    def source(self) -> str:
        """Name of the weights in the record of a render, such as "bvlc_googlenet@e87c85cf2e01, float16 weights"."""
        half = any(value.dtype == np.float16 for value in self.parameters.values())
        return f"{self.architecture.name}@{self.metadata.get('sha256', '')[:12]}" + ", float16 weights" * half


def load_model(model: str | os.PathLike = DEFAULT, *, dtype: DTypeLike = "float32") -> InceptionV1:
    """Load a pretrained network.

    "bvlc_googlenet" comes with lightjax. The weights of other names are looked up in the folder `$LIGHTJAX_HOME`, then
    in the platform's cache folder, as `NAME.safetensors` or as the public checkpoint `NAME.pth`, which is converted
    once. If they are in neither folder, they are downloaded, verified against a pinned hash, converted, and cached.

    Args:
      model: "bvlc_googlenet" (GoogLeNet, the network of DeepDream), "inception5h" (the network of Lucid, Lucent and
        TorchLight), "inception5h_torchlight" (the same weights with TorchLight's padding and normalization), or the
        path of a weights file that `lightjax convert` wrote.
      dtype: Floating-point type to compute in. "bfloat16" is faster on hardware that supports it, and precise enough
        for pictures.

    Returns:
      The network, with its class names.

    Raises:
      ValueError: If the name is unknown, or the dtype is not a floating-point type.
      WeightsError: If there is no such file, the weights can be neither found nor downloaded, or they are damaged.
      ConversionError: If a `.pth` file in one of the folders is not the checkpoint that its name says.
      ImportError: If a checkpoint must be converted and PyTorch is not installed.
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
        architecture = architectures.ARCHITECTURES[model]
    else:
        path = Path(model)
        if not path.is_file():
            known = [*EMBEDDED, *CHECKPOINTS]
            if _files.is_name(model):
                _checks.one_of(model, known, "model")
            raise WeightsError(f"there is no weights file {str(model)!r}; known models are {', '.join(known)}")
        if path.suffix in (".pth", ".pt"):
            raise WeightsError(f"{path} is a PyTorch checkpoint; convert it first: lightjax convert {path}")
    file = read(path)
    architecture = architecture or file.architecture
    if not file.architecture.classes:
        architecture = architectures.without_classifier(architecture)
    source = file._replace(architecture=architecture).source + f", computed in {dtype}" * (dtype != np.float32)
    names = labels.imagenet(architecture.name) if architecture.classes else ()
    try:
        return InceptionV1(architecture, file.parameters, dtype=dtype, source=source, class_names=names)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None


def read(path: str | os.PathLike) -> WeightsFile:
    """Read a weights file.

    Raises:
      WeightsError: If the file is damaged or was not written by lightjax.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            parameters = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path} is not a complete safetensors file ({error}); make it again") from None
    if metadata.get("format") != "lightjax" or metadata.get("architecture") not in architectures.ARCHITECTURES:
        raise WeightsError(f"{path} is not a weights file of this version of lightjax; make it with 'lightjax convert'")
    architecture = architectures.ARCHITECTURES[metadata["architecture"]]
    if not json.loads(metadata["classes"]):
        architecture = architectures.without_classifier(architecture)
    return WeightsFile(architecture, parameters, metadata)


def write(
    path: str | os.PathLike,
    architecture: Architecture,
    parameters: Mapping[str, np.ndarray],
    *,
    source: str,
    sha256: str,
) -> None:
    """Write a weights file atomically.

    Args:
      path: The file to write.
      architecture: The record that the parameters belong to.
      parameters: Arrays by name, as in `architectures.parameter_shapes`; float32 or float16.
      source: URL or name of the file that they were converted from.
      sha256: Hash of that file.

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
    """Convert a PyTorch checkpoint into a weights file.

    Args:
      source: A state dict saved by `torch.save`, in one of the namings of `inception_torch.NAMINGS`.
      destination: The weights file to write, NAME.safetensors.
      url: Where the checkpoint was downloaded from, for the metadata; by default the name of its file.
      half: Whether to round the parameters to float16, which halves the size of the file.

    Returns:
      The architecture of the checkpoint, and the names of the tensors of its auxiliary classifiers, which are left out.

    Raises:
      ConversionError: If the checkpoint is not a known InceptionV1, or `half` is true and a value exceeds the range of
        float16. Nothing is written.
      FileNotFoundError: If there is no such checkpoint.
      ValueError: If the destination does not end in .safetensors.
      OSError: If the weights file cannot be written.
    """
    if Path(destination).suffix != ".safetensors":
        raise ValueError(f"the weights file must be called NAME.safetensors, got {str(destination)!r}")
    tensors = torch_bridge.read_checkpoint(source)
    architecture, parameters = inception_torch.from_torch(tensors)
    if half:
        large = [name for name, value in parameters.items() if np.abs(value).max() > np.finfo(np.float16).max]
        if large:
            raise ConversionError(
                f"{source} has values above 65504, the largest number in float16, in {torch_bridge.listed(large)}; "
                "convert it to float32"
            )
        parameters = {name: value.astype(np.float16) for name, value in parameters.items()}
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    write(destination, architecture, parameters, source=url or Path(source).name, sha256=digest)
    return Conversion(architecture, sorted(tensors.keys() - inception_torch.without_auxiliary(tensors).keys()))


def verify(source: str | os.PathLike, converted: str | os.PathLike) -> int:
    """Convert a weights file back and compare it, bit for bit, with the checkpoint that it came from.

    A float16 file is compared with the checkpoint rounded to float16.

    Args:
      source: The PyTorch checkpoint.
      converted: The weights file.

    Returns:
      The number of tensors compared.

    Raises:
      ConversionError: If tensors differ; the message lists them.
      WeightsError, FileNotFoundError, ImportError: If a file is damaged or missing, or PyTorch is not installed.
    """
    original = inception_torch.without_auxiliary(torch_bridge.read_checkpoint(source))
    file = read(converted)
    exported = inception_torch.to_torch(file.parameters, file.architecture, inception_torch.naming_of(original))
    original = {
        name: value.astype(exported[name].dtype) if name in exported else value for name, value in original.items()
    }

    def bits(tensors: Mapping[str, np.ndarray], name: str) -> tuple | None:
        return (tensors[name].shape, tensors[name].tobytes()) if name in tensors else None

    names = sorted(original.keys() | exported.keys())
    differing = [name for name in names if bits(original, name) != bits(exported, name)]
    if differing:
        raise ConversionError(f"{converted} differs from {source} in {torch_bridge.listed(differing)}")
    return len(original)


def cache_folder() -> Path:
    """The platform's cache folder for lightjax (`~/.cache/lightjax` on Linux). It may not exist yet."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("lightjax", appauthor=False))


def blob_id(data: bytes) -> str:
    """The id under which git stores a file. It identifies the content of a download."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _find(checkpoint: Checkpoint) -> Path:
    """The converted file of a checkpoint, found or made."""
    cache = cache_folder()
    home = os.environ.get("LIGHTJAX_HOME")
    folders = [Path(home).expanduser(), cache] if home else [cache]
    if not folders[0].is_dir() and home:
        raise WeightsError(f"the environment variable LIGHTJAX_HOME must name a folder, got {home!r}")
    for folder in folders:
        converted = folder / f"{checkpoint.stem}.safetensors"
        if converted.is_file():
            return converted
        original = folder / f"{checkpoint.stem}.pth"
        if original.is_file():
            with _writable(checkpoint, cache):
                return _convert_once(original, cache)
    with _writable(checkpoint, cache):
        return _download(checkpoint, cache)


@contextlib.contextmanager
def _writable(checkpoint: Checkpoint, cache: Path):
    """Make the cache folder. If it cannot be written, raise an error that says what to do."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise WeightsError(
            f"cannot write {checkpoint.stem} to the cache folder {cache} ({error.strerror or error}); make room there, "
            f"or set the environment variable XDG_CACHE_HOME to another folder; {_OFFER}"
        ) from None


def _convert_once(original: Path, cache: Path) -> Path:
    """Convert a checkpoint in a folder of the user's, which may be read-only, into the cache."""
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
        f"try again, or download {checkpoint.url} yourself and set the environment variable LIGHTJAX_HOME to its "
        f"folder; {_OFFER}"
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
                f"the download of {checkpoint.stem} ({len(data)} bytes) does not match its pinned hash: it was cut "
                f"short or changed, and is not used; {advice}"
            )
        convert(original, converted, url=checkpoint.url)
    return converted


def _reason(error: Exception) -> str:
    """Why a download failed, in one line."""
    import requests

    match error:
        case requests.exceptions.ProxyError():
            return "the proxy in HTTPS_PROXY or https_proxy cannot be reached or refused"
        case requests.exceptions.SSLError():
            return "the certificate of the server cannot be verified"
        case requests.exceptions.HTTPError(response=requests.Response(status_code=code)):
            return f"the server answered with HTTP status {code}"
        case requests.exceptions.Timeout():
            return "the server did not answer in time"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection broke before the file was complete"
        case _:
            return "there is no connection to the server"
