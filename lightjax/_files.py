"""Files that are written whole or not at all."""

import glob
import os
import uuid
from pathlib import Path


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove what a killed `write_atomically` left beside a file. Call it only while nobody else writes the file."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        leftover.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it into place.

    Whatever goes wrong, a file of that name is either the old one or the new one, and nothing else is left behind.

    Raises:
      OSError: If the folder does not exist, cannot be written, or is full.
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
