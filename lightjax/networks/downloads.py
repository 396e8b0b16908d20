"""Public checkpoints: found in a folder of the user's or in the cache, or downloaded, verified and converted."""

import contextlib
import hashlib
import os
import tempfile
import threading
import warnings
from pathlib import Path
from typing import IO, NamedTuple

from lightjax.networks import checkpoints, conversion, tensor_files
from lightjax.networks.architectures import DEFAULT
from lightjax.networks.weights_file import WeightsError

OFFER = f"the network {DEFAULT!r} comes with lightjax and needs neither a download nor PyTorch"

PATIENCE, PACE = 60, 600_000
"""A download must bring `PACE` bytes in every `PATIENCE` seconds."""


class Checkpoint(NamedTuple):
    """A public PyTorch checkpoint.

    Attributes:
      stem: Its file name without ending.
      url: Where it is.
      blob: The git blob id of its content.
      most: The download ends with an error after so many bytes. Twice the parameters of InceptionV1 in float32.
    """

    stem: str
    url: str
    blob: str
    most: int = 56_000_000


_GITHUB = "https://github.com/ProGamerGov"
_INCEPTION5H = Checkpoint(
    "inception5h",
    f"{_GITHUB}/pytorch-old-tensorflow-models/raw/f8187b60fca8a3f5cfa541406dcbcefb80db5c78/inception5h.pth",
    "119f77db85c8352960933e025312b507d9a96ed7",
)
CHECKPOINTS = {"inception5h": _INCEPTION5H, "inception5h_torchlight": _INCEPTION5H}
"""The public checkpoint of each network that is downloaded."""


def cache_folder() -> Path:
    """The platform's cache folder for lightjax (`~/.cache/lightjax` on Linux). It may not exist yet."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("lightjax", appauthor=False))


def blob_id(data: bytes) -> str:
    """The id under which git stores a file. It identifies the content of a download."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def find(checkpoint: Checkpoint) -> Path:
    """The converted file of a checkpoint, found or made.

    Raises:
      WeightsError: If it can be neither found nor downloaded, or cannot be written to the cache.
      ConversionError: If a file in one of the folders is not the checkpoint that its name says.
      ImportError: If a checkpoint must be converted and PyTorch is not installed.
    """
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
            f"or set the environment variable XDG_CACHE_HOME to another folder; {OFFER}"
        ) from None


def _convert_once(original: Path, cache: Path) -> Path:
    """Convert a checkpoint in a folder of the user's, which may be read-only, into the cache."""
    converted = cache / f"{original.stem}-{checkpoints.sha256(original)[:12]}.safetensors"
    if not converted.is_file():
        notes = conversion.convert(original, converted).notes
        if notes:
            warnings.warn(f"{original} was converted: {'; '.join(notes)}", stacklevel=4)
    return converted


def _download(checkpoint: Checkpoint, cache: Path) -> Path:
    """Download, verify and convert a public checkpoint."""
    tensor_files.require_torch()
    import requests

    advice = (
        f"try again, or download {checkpoint.url} yourself and set the environment variable LIGHTJAX_HOME to its "
        f"folder; {OFFER}"
    )
    converted = cache / f"{checkpoint.stem}.safetensors"
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as folder:
        original = Path(folder) / f"{checkpoint.stem}.pth"
        try:
            with open(original, "xb") as file:
                _fetch(checkpoint, file)
        except Exception as error:  # of requests, urllib3, http.client
            if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
                raise  # of the disk
            raise WeightsError(f"cannot download {checkpoint.stem}: {_reason(error)}; {advice}") from None
        data = original.read_bytes()
        if blob_id(data) != checkpoint.blob:
            raise WeightsError(
                f"the download of {checkpoint.stem} ({len(data)} bytes) does not match its pinned hash: it was cut "
                f"short or changed, and is not used; {advice}"
            )
        conversion.convert(original, converted, url=checkpoint.url)
    return converted


class _Stopped(Exception):
    """A download that was ended. The message says why."""


class _Intake:
    """A file that takes a limited number of bytes, and none after it was closed."""

    def __init__(self, file: IO[bytes], most: int):
        self.file, self.most, self.taken, self.open = file, most, 0, True

    def write(self, data: bytes) -> None:
        if not self.open:
            raise _Stopped("it was given up")
        self.taken += len(data)
        if self.taken > self.most:
            raise _Stopped(f"the server sent more than {self.most / 1e6:g} MB, which is too much for this file")
        self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _fetch(checkpoint: Checkpoint, file: IO[bytes]) -> None:
    """Download into an open file. Whatever the server does, this ends: at the limit of bytes, or after a stall.

    Another thread reads, because a server that sends a byte now and then, be it of a header, keeps a reader for ever
    below the time limits of a connection. It is left behind after a stall.
    """
    import pooch

    intake, errors = _Intake(file, checkpoint.most), []

    def read() -> None:
        try:
            pooch.HTTPDownloader(progressbar=True, timeout=PATIENCE)(checkpoint.url, intake, None)  # type: ignore[arg-type]
        except Exception as error:  # raised below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            before = intake.taken
            thread.join(PATIENCE)
            if thread.is_alive() and intake.taken < before + PACE:
                raise _Stopped(f"the server sent less than {PACE / 1e3:g} kB in {PATIENCE} seconds")
    finally:
        intake.open = False
    if errors:
        raise errors[0]


def _reason(error: Exception) -> str:
    """Why a download failed, in one line."""
    import requests

    match error:
        case _Stopped():
            return str(error)
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
        case requests.exceptions.ConnectionError():
            return "there is no connection to the server"
        case _:
            return f"the answer of the server is not understood ({type(error).__name__})"
