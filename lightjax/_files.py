"""Atomic writes: a file is complete or not there. And plain names, as opposed to paths."""

import contextlib
import glob
import os
import re
import stat
import uuid
from pathlib import Path
from typing import Any


def is_name(source: str | os.PathLike) -> bool:
    """Whether this is a plain name and not a path: a string without a suffix and without a separator of folders."""
    return isinstance(source, str) and Path(source).name == source and not Path(source).suffix


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove the temporary files of killed `write_atomically` calls. Call it only while no process writes the file."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        leftover.unlink(missing_ok=True)


def remove_all_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed `write_atomically` calls from a folder that no process writes to."""
    for leftover in folder.glob(".*"):
        if re.fullmatch(r"\..+\.[0-9a-f]{32}", leftover.name) and is_regular(leftover):
            leftover.unlink(missing_ok=True)


def is_regular(path: str | os.PathLike) -> bool:
    """Whether this is a file itself: no folder, link, pipe or socket, and there."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there, and refuse a link, which may lead elsewhere.

    Raises:
      ValueError: If it is a link.
    """
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link; remove it, and the same command makes a folder")
    folder.mkdir(exist_ok=True)


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    After an error the file is still the old one, and the temporary file is removed.

    Raises:
      OSError: If the folder does not exist, cannot be written, or is full. The error names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise


class Forgiving:
    """A stream that drops what cannot be written, because it is full or closed."""

    def __init__(self, stream: Any):
        """Write to `stream` where it can be written."""
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Write, or drop the text."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or drop what is left."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()
