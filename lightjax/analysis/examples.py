"""Pictures of a data set that excite channels most, cut out around the position that does."""

import concurrent.futures
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import objectives
from lightjax.optimize import Model
from lightjax.pictures import load_picture, save

BATCH = 16
"""Pictures that go through the network at a time."""

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
"""How the names of pictures end."""


_NAMED = 5
"""Most files that a warning names."""


class _Best(NamedTuple):
    """The pictures that excite the channels of a layer most so far, best first, `[count, channels]` each.

    Attributes:
      values: The largest activation anywhere in the picture; minus infinity where there is no picture yet.
      pictures: Number of the picture.
      places: Where in the layer, counted along the rows.
    """

    values: np.ndarray
    pictures: np.ndarray
    places: np.ndarray


def find(
    model: Model,
    folder: Path,
    channels: Mapping[str, Sequence[int]],
    output: Path,
    count: int = 6,
    size: int = 224,
    progress: bool = True,
) -> dict[tuple[str, int], list[dict]]:
    """Find the pictures that excite each channel most, in one pass over a folder, and write the parts that do.

    The network sees the middle square of each picture, resized. A picture counts for a channel with its largest
    activation at any position; among equals, the one whose path comes first counts more. What is written is a square as
    large as the receptive field around that position, moved into the picture where it would stick out; it is all of
    what the network saw if the field is larger than that, or if the model has no table of layers.

    Args:
      model: A network as a function of images; a table `layers` as `InceptionV1` has it tells the receptive fields.
      folder: Where to look for .jpg, .jpeg, .png and .webp files, also in folders within it.
      channels: The channels of each layer to look for.
      output: Folder for the crops, made if need be; no example is taken from it.
      count: Pictures for each channel; it gets fewer if there are fewer.
      size: Side in pixels of what the network sees.
      progress: Whether to show a progress bar.

    Returns:
      For each (layer, channel), best first: `{"file", "value", "source"}`, which are the crop's path relative to the
      parent of `output`, the activation, and the picture's path relative to `folder`, with forward slashes.

    Raises:
      ValueError: If the folder has no readable picture, a layer is unknown, or a number is wrong.
      IndexError: If a layer has no such channel.
      ArithmeticError: If an activation is infinite or not a number.
      OSError: If the folder is not there, or a crop cannot be written.
    """
    for name, number in (("count", count), ("size", size)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ValueError(f"{name} is a whole number from 1 on, not {number!r}")
    wanted = {layer: np.array(list(dict.fromkeys(indices)), np.int32) for layer, indices in channels.items() if indices}
    shapes = _shapes(model, wanted, size)
    folder, output = Path(folder), Path(output)
    paths = pictures_in(folder, output)
    excitations = jax.jit(_excitations(model, wanted))

    best = {layer: _nothing(count, len(indices)) for layer, indices in wanted.items()}
    unreadable: list[Path] = []
    for start, pictures in _batches(paths, size, progress):
        numbers = [start + i for i, picture in enumerate(pictures) if picture is not None]
        unreadable += [paths[start + i] for i, picture in enumerate(pictures) if picture is None]
        images = np.zeros((BATCH, size, size, 3), np.float32)  # the last batch as large as the others: one compilation
        for image, picture in zip(images, (p for p in pictures if p is not None), strict=False):
            image[:] = picture
        for layer, (values, places) in jax.device_get(excitations(images)).items():
            values, places = values[: len(numbers)], places[: len(numbers)]
            for number, finite in zip(numbers, np.isfinite(values).all(axis=1), strict=True):
                if not finite:
                    raise ArithmeticError(f"{paths[number]} gives {layer} values that are infinite or not numbers")
            best[layer] = _merge(best[layer], values, np.array(numbers, int), places)

    if len(unreadable) == len(paths):
        raise ValueError(f"none of the {len(paths)} pictures in {folder} can be read")
    if unreadable:
        names = ", ".join(path.relative_to(folder).as_posix() for path in unreadable[:_NAMED])
        more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
        warnings.warn(f"skipped what cannot be read as a picture: {names}{more}", stacklevel=2)
    fields = {line.name: line.receptive_field for line in getattr(model, "layers", ())}
    return _write(best, wanted, shapes, fields, paths, folder, output, size)


def _shapes(model: Model, wanted: Mapping[str, np.ndarray], size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the layers for one picture, after a check that they and their channels are there."""
    found = jax.eval_shape(lambda images: model(images), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
    for layer, indices in wanted.items():
        objectives.check(objectives.channel(layer, indices), found)
    return {layer: found[layer].shape for layer in wanted}


def pictures_in(folder: Path, output: Path) -> list[Path]:
    """The pictures in a folder, but for those in `output`, in the order of their names.

    Raises:
      ValueError: If there are none.
      NotADirectoryError: If there is no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder} to take examples from")
    inside = [path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file()]
    paths = sorted(path for path in inside if output.resolve() not in path.resolve().parents)
    if not paths:
        raise ValueError(f"there are no pictures in {folder}: none of its files ends in {', '.join(ENDINGS)}")
    return paths


def content(folder: Path, output: Path) -> str:
    """A hash of the paths and sizes of the pictures in a folder, which changes when other ones are there."""
    found = [f"{path.resolve()} {path.stat().st_size}" for path in pictures_in(folder, output)]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


def _batches(paths: list[Path], size: int, progress: bool) -> Iterator[tuple[int, list[np.ndarray | None]]]:
    """Pictures in batches, each with the number of its first; None for those that cannot be read."""
    from tqdm.auto import tqdm

    def attempt(path: Path) -> np.ndarray | None:
        try:
            return load_picture(path, size)
        except Exception:  # Pillow raises many types for damaged files
            return None

    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        tqdm(total=len(paths), disable=not progress, unit="picture", dynamic_ncols=True) as bar,
    ):
        for start in range(0, len(paths), BATCH):
            pictures = list(pool.map(attempt, paths[start : start + BATCH]))
            yield start, pictures
            bar.update(len(pictures))


def _excitations(model: Model, wanted: Mapping[str, np.ndarray]) -> Callable[[Array], dict[str, tuple[Array, Array]]]:
    """From images to the largest activation of each channel, `[N, channels]`, and its place along the rows."""

    def excitations(images: Array) -> dict[str, tuple[Array, Array]]:
        activations = model(images)
        largest = {}
        for layer, indices in wanted.items():
            x = activations[layer][..., indices]
            x = x.reshape(len(x), -1, len(indices))
            largest[layer] = x.max(axis=1), x.argmax(axis=1)
        return largest

    return excitations


def _nothing(count: int, channels: int) -> _Best:
    shape = (count, channels)
    return _Best(np.full(shape, -np.inf, np.float32), np.zeros(shape, int), np.zeros(shape, int))


def _merge(best: _Best, values: np.ndarray, pictures: np.ndarray, places: np.ndarray) -> _Best:
    """The best of what there was and of some more pictures, `[N, channels]`, which come after them in order."""
    numbers = np.broadcast_to(pictures[:, None], values.shape)
    both = [np.concatenate(parts) for parts in zip(best, (values, numbers, places), strict=True)]
    order = np.argsort(-both[0], axis=0, kind="stable")[: len(best.values)]
    return _Best(*(np.take_along_axis(part, order, axis=0) for part in both))


def _write(
    best: Mapping[str, _Best],
    wanted: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    fields: Mapping[str, int | None],
    paths: list[Path],
    folder: Path,
    output: Path,
    size: int,
) -> dict[tuple[str, int], list[dict]]:
    """Cut the examples out, each picture read once more, and say what they are."""
    output.mkdir(parents=True, exist_ok=True)
    crops: dict[int, list[tuple[Path, tuple[slice, ...]]]] = {}
    found: dict[tuple[str, int], list[dict]] = {}
    for layer, indices in wanted.items():
        grid = shapes[layer][1:3] if len(shapes[layer]) == 4 else (1, 1)
        side = min(fields.get(layer) or size, size)
        for column, index in enumerate(indices.tolist()):
            examples = found[layer, index] = []
            for rank, (value, number, place) in enumerate(zip(*(part[:, column] for part in best[layer]), strict=True)):
                if value == -np.inf:
                    break
                file = output / f"{quote(layer, safe='')}-{index:04d}-{rank + 1}.jpg"
                position = np.unravel_index(place, grid)
                window = tuple(_window(int(p), n, side, size) for p, n in zip(position, grid, strict=True))
                crops.setdefault(int(number), []).append((file, window))
                source = paths[number].relative_to(folder).as_posix()
                examples.append({"file": f"{output.name}/{file.name}", "value": float(value), "source": source})
    for number in sorted(crops):
        picture = load_picture(paths[number], size)
        for file, window in crops[number]:
            save(file, picture[window])
    return found


def _window(position: int, positions: int, side: int, size: int) -> slice:
    """Pixels around one of the positions that share out a side of the picture, moved into it where they stick out."""
    centre = (position + 0.5) * size / positions
    start = min(max(round(centre - side / 2), 0), size - side)
    return slice(start, start + side)
