"""What is read from a network: results that show themselves, save themselves, and say how they were made."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import safetensors.numpy

from lightjax import _checks, _files
from lightjax._structure import Model
from lightjax.networks.tensor_files import TensorFileError, read_safetensors
from lightjax.pictures import encode, save

_KEY = "lightjax_reading"
"""The only key of the metadata: safetensors writes several in any order, and equal readings give equal bytes."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """Base class of what is read from a network.

    A subclass is a frozen dataclass with a method `picture`. Its fields are arrays, or plain values that JSON can hold.

    Attributes:
      settings: What it was made with, as plain JSON.
    """

    settings: dict[str, Any]

    def picture(self) -> np.ndarray:
        """What a notebook shows, `[H, W, 3]` in [0, 1]."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike) -> None:
        """Save the picture, or everything.

        Args:
          path: A file name. With .png, .jpg, .jpeg or .webp it is the picture, and a PNG carries the settings. With
            .safetensors it is everything, which `read` reads.

        Raises:
          ValueError: If the name ends otherwise.
          OSError: If the file cannot be written; no half-written file is left.
        """
        path = _checks.path(path, "path")
        if path.suffix.lower() != ".safetensors":
            save(path, self.picture(), self.settings)
            return
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        arrays = {name: np.ascontiguousarray(v) for name, v in fields.items() if isinstance(v, np.ndarray)}
        plain = {name: value for name, value in fields.items() if name not in arrays}
        metadata = {_KEY: json.dumps({"kind": type(self).__name__, "fields": plain})}
        _files.write_atomically(path, safetensors.numpy.save(arrays, metadata))

    @classmethod
    def read(cls, path: str | os.PathLike) -> Self:
        """Read what `save` wrote into a .safetensors file.

        Raises:
          ValueError: If the file is damaged, or holds something else.
          OSError: If it cannot be read.
        """
        path = _checks.path(path, "path")
        try:
            arrays, metadata = read_safetensors(path)
            about = json.loads(metadata.get(_KEY, "{}"))
        except (TensorFileError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} cannot be read: {_checks.in_a_line(error)}") from None
        fields = {field.name for field in dataclasses.fields(cls)}
        kind, plain = (about.get("kind"), about.get("fields")) if isinstance(about, dict) else (None, None)
        if kind != cls.__name__ or not isinstance(plain, dict) or {*arrays, *plain} != fields:
            raise ValueError(f"{path} does not hold what {cls.__name__}.save writes")
        return cls(**arrays, **plain)

    def _repr_png_(self) -> bytes:
        return encode(self.picture())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.settings['model']}>"


def made_with(model: Model, images: np.ndarray | None = None, **settings: Any) -> dict[str, Any]:
    """The settings of a reading: the version of lightjax, the network, a hash of the pictures, and others."""
    known: Mapping[str, Any] = {
        "lightjax": importlib.metadata.version("lightjax"),
        "model": getattr(model, "source", "") or getattr(model, "__name__", type(model).__name__),
    }
    seen = {} if images is None else {"picture": hashlib.sha256(images.tobytes()).hexdigest()[:12]}
    return {**known, **seen, **settings}


SECONDS = 15.0
"""Seconds between two writes of an unfinished reading."""

R = TypeVar("R", bound=Reading)


class Keeper:
    """Writes an unfinished reading into a file from time to time; writes take at most a twentieth of the time."""

    def __init__(self, path: Path | None):
        """Keep in a file, or nowhere if there is none."""
        self._path, self._written, self._took = path, time.monotonic(), 0.0

    def keep(self, so_far: Callable[[], Reading]) -> None:
        """Write what there is so far, if it is time."""
        if self._path is not None and time.monotonic() - self._written >= max(SECONDS, 20 * self._took):
            start = time.monotonic()
            so_far().save(self._path)
            self._written, self._took = time.monotonic(), time.monotonic() - start

    def finish(self, result: R) -> R:
        """Write the finished reading, and return it."""
        if self._path is not None:
            result.save(self._path)
        return result


def file_to_resume(resume: str | os.PathLike | None) -> Path | None:
    """The file that keeps an unfinished reading, which can be written; what a killed write has left is removed.

    Raises:
      TypeError, ValueError, OSError: If it is no .safetensors file, or in no folder.
    """
    if resume is None:
        return None
    path = _checks.path(resume, "resume")
    if path.suffix.lower() != ".safetensors":
        raise ValueError(f"resume must be a file that ends in .safetensors, got {_checks.shown(str(path))}")
    if not path.parent.is_dir():
        raise NotADirectoryError(f"there is no folder {_checks.in_a_line(path.parent)} for resume")
    _files.remove_leftovers(path)
    return path


def check_same(path: Path, asked: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Check that a file was left by a call with the same arguments.

    Raises:
      ValueError: If one of those asked for is another there.
    """
    other = [name for name in asked if asked[name] != there.get(name)]
    if other:
        raise ValueError(
            f"resume must be the file of a call with the same arguments, but {path} has another {other[0]}: "
            f"{_checks.shown(there.get(other[0]), 80)}; choose another file, or delete it"
        )
