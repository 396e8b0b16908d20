"""Folders of photographs, read in batches of one size as a network takes them."""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lightjax._activations import call
from lightjax._structure import Model
from lightjax.contracts import own_channels
from lightjax.pictures import find_pictures, load_picture
from lightjax.progress import bar

BATCH = 16
"""Pictures that go through the network at a time."""

SIZE = 224
"""Side in pixels of the square that the network sees by default."""

_NAMED = 5
"""Most files that a warning names."""


class Batch(NamedTuple):
    """Some photographs of a folder.

    Attributes:
      numbers: The numbers of those that can be read, `[n]`.
      images: `[BATCH, size, size, bands]` in [0, 1]: the first n are these photographs, the others are black, so that
        every batch has the same shape.
      seen: The number of files that were looked at so far.
    """

    numbers: np.ndarray
    images: np.ndarray
    seen: int


@dataclasses.dataclass(frozen=True)
class Photographs:
    """The photographs of a folder, as a network sees them: the middle square of each, resized.

    Attributes:
      folder: The folder.
      paths: Its pictures, in the order of their paths; the number of a photograph is its place here.
      size: Side of the square in pixels.
      bands: 3, or 1 for a network that sees grays.
    """

    folder: Path
    paths: list[Path]
    size: int
    bands: int = 3

    @property
    def names(self) -> list[str]:
        """The paths relative to the folder, with forward slashes."""
        return [path.relative_to(self.folder).as_posix() for path in self.paths]

    def read(self, number: int) -> np.ndarray | None:
        """One photograph, `[size, size, bands]` in [0, 1]; None if it cannot be read."""
        try:
            return load_picture(self.paths[number], self.size, gray=self.bands == 1)
        except Exception:  # Pillow raises many types for damaged files
            return None

    def batches(self, start: int = 0, progress: bool = False) -> Iterator[Batch]:
        """All photographs, or those from a number on, in batches. The next batch is read while one is used.

        Args:
          start: Number of the first file; a multiple of `BATCH` gives the batches that the whole folder has.
          progress: Whether to show a progress bar.

        Raises:
          ValueError: At the end, if none of the files can be read. If some cannot, a warning names them.
        """
        names, unreadable = self.names, []
        with (
            concurrent.futures.ThreadPoolExecutor() as pool,
            bar(len(self.paths), "picture", progress, done=start) as shown,
        ):
            parts = [range(i, min(i + BATCH, len(self.paths))) for i in range(start, len(self.paths), BATCH)]
            ahead = pool.map(self.read, parts[0] if parts else ())
            for part, following in itertools.zip_longest(parts, parts[1:], fillvalue=range(0)):
                pictures = dict(zip(part, ahead, strict=True))
                ahead = pool.map(self.read, following)
                readable = {number: picture for number, picture in pictures.items() if picture is not None}
                unreadable += [names[number] for number in part if number not in readable]
                images = np.zeros((BATCH, self.size, self.size, self.bands), np.float32)
                for image, picture in zip(images, readable.values(), strict=False):
                    image[:] = picture
                yield Batch(np.array([*readable], int), images, part[-1] + 1)
                shown.update(len(part))
        if len(unreadable) == len(self.paths):
            raise ValueError(f"none of the {len(self.paths)} pictures in {self.folder} can be read")
        if unreadable:
            more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
            listed = ", ".join(unreadable[:_NAMED])
            warnings.warn(f"skipped what cannot be read as a picture: {listed}{more}", stacklevel=2)


def input_of(model: Model, side: int, size: int = SIZE) -> tuple[int, int, dict[str, Any]]:
    """What photographs are like for a model, which decides between two sizes of a square and 3 channels or 1.

    Args:
      model: A network.
      side: The size if the model fails for `size`.
      size: The size that is preferred.

    Returns:
      The size, the number of channels, and the shapes of the activations and of the pictures, "input".

    Raises:
      ValueError: If the model fails for all of these.
    """
    failed: Exception | None = None
    for pixels, bands in itertools.product(dict.fromkeys((size, side)), (1, 3) if own_channels(model) == 1 else (3, 1)):
        picture = jax.ShapeDtypeStruct((1, pixels, pixels, bands), jnp.float32)
        try:
            found = jax.eval_shape(lambda images: call(model, images), picture)
            return pixels, bands, {"input": picture} | found
        except Exception as error:
            failed = failed or error
    reason = " ".join(f"{type(failed).__name__}: {failed}".split())
    sizes = " or ".join(f"{n}x{n}" for n in dict.fromkeys((size, side)))
    raise ValueError(
        f"examples are photographs of {sizes} pixels with 3 channels or 1, but the model fails for them ({reason:.200})"
    ) from failed


def pictures_in(folder: Path, output: Path | None = None) -> list[Path]:
    """The pictures in a folder, except those in `output`, in the order of their paths.

    Raises:
      NotADirectoryError: If there is no such folder.
      ValueError: If there are no pictures in it, or only those in `output`.
    """
    found = find_pictures(folder)
    if output is not None:
        found = [path for path in found if output.resolve() not in path.resolve().parents]
    if not found:
        raise ValueError(f"there are no pictures in {folder} except those in {output}")
    return found


def content(folder: Path, output: Path | None = None) -> str:
    """A hash of the paths and sizes of the pictures in a folder, which changes when other ones are there."""
    found = [f"{path.resolve()} {path.stat().st_size}" for path in pictures_in(folder, output)]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]
