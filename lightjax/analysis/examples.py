"""Photographs of a folder that excite channels most, cropped around the position with the largest activation."""

import concurrent.futures
import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks, objectives
from lightjax._activations import call
from lightjax._structure import Model
from lightjax.pictures import find_pictures, load_picture, save
from lightjax.progress import bar

BATCH = 16
"""Pictures that go through the network at a time."""

SIZE = 224
"""Side in pixels of the square that the network sees by default."""

_NAMED = 5
"""Most files that a warning names."""


class _Best(NamedTuple):
    """The pictures that excite the channels of a layer most so far, best first, `[count, channels]` each.

    Attributes:
      values: The largest activation at any position of the picture; minus infinity where there is no picture yet.
      pictures: Number of the picture.
      positions: Position in the layer, counted along the rows.
    """

    values: np.ndarray
    pictures: np.ndarray
    positions: np.ndarray


def find(
    model: Model,
    folder: Path,
    channels: Mapping[str, Sequence[int]],
    output: Path,
    count: int = 6,
    size: int = SIZE,
    progress: bool = True,
) -> dict[tuple[str, int], list[dict]]:
    """Find the pictures that excite each channel most, in one pass over a folder, and write a crop of each.

    The network sees the middle square of each picture, resized, and in gray if it takes one channel. The value of a
    picture for a channel is the channel's largest activation at any position; among equal values, the picture whose
    path comes first is preferred. The crop is a square of the size of the receptive field around that position, moved
    so that it lies inside the picture. It is the whole square if the field is larger, if the layer has no rows and
    columns (`[N, C]`, or tokens `[N, T, C]`), or if the model has no table of layers.

    Args:
      model: A network as a function of images. The receptive fields are those of its table `layers`, if it has one.
      folder: Folder of .jpg, .jpeg, .png and .webp files; folders inside it are searched too.
      channels: The channels of each layer to find pictures for.
      output: Folder for the crops, made if it does not exist. Pictures in it are not considered.
      count: Number of pictures for each channel; fewer if the folder has fewer.
      size: Side in pixels of the square that the network sees.
      progress: Whether to show a progress bar.

    Returns:
      For each (layer, channel) a list, best first, of `{"file", "value", "source"}`: the path of the crop relative to
      the parent of `output`, the activation, and the path of the picture relative to `folder`, with forward slashes.

    Raises:
      TypeError: If `count` or `size` is not a whole number.
      ValueError: If the folder has no readable picture, a layer is unknown, the model fails for such pictures, or
        `count` or `size` is less than 1.
      IndexError: If a layer has no such channel.
      ArithmeticError: If an activation is infinite or not a number.
      OSError: If the folder does not exist, or a crop cannot be written.
    """
    count, size = _checks.count(count, "count"), _checks.count(size, "size")
    folder, output = _checks.path(folder, "folder"), _checks.path(output, "output")
    _checks.function(model, "model")
    _checks.flag(progress, "progress")
    channels = _listed(channels)
    wanted = {layer: np.array(list(dict.fromkeys(indices)), np.int32) for layer, indices in channels.items() if indices}
    _, bands, found = input_of(model, size, size)
    shapes = _shapes(wanted, found)
    paths = pictures_in(folder, output)
    excitations = jax.jit(_excitations(model, wanted))

    best = {layer: _nothing(count, len(indices)) for layer, indices in wanted.items()}
    unreadable: list[Path] = []
    for start, pictures in _batches(paths, size, bands == 1, progress):
        numbers = [start + i for i, picture in enumerate(pictures) if picture is not None]
        unreadable += [paths[start + i] for i, picture in enumerate(pictures) if picture is None]
        images = np.zeros(
            (BATCH, size, size, bands), np.float32
        )  # the last batch as large as the others: one compilation
        for image, picture in zip(images, (p for p in pictures if p is not None), strict=False):
            image[:] = picture
        for layer, (values, positions) in jax.device_get(excitations(images)).items():
            values, positions = values[: len(numbers)], positions[: len(numbers)]
            for number, finite in zip(numbers, np.isfinite(values).all(axis=1), strict=True):
                if not finite:
                    raise ArithmeticError(f"{paths[number]} gives {layer} values that are infinite or not numbers")
            best[layer] = _merge(best[layer], values, np.array(numbers, int), positions)

    if len(unreadable) == len(paths):
        raise ValueError(f"none of the {len(paths)} pictures in {folder} can be read")
    if unreadable:
        names = ", ".join(path.relative_to(folder).as_posix() for path in unreadable[:_NAMED])
        more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
        warnings.warn(f"skipped what cannot be read as a picture: {names}{more}", stacklevel=2)
    fields = {line.name: line.receptive_field for line in getattr(model, "layers", ())}
    return _write(best, wanted, shapes, fields, paths, folder, output, size)


def _listed(channels: Any) -> dict[str, list[int]]:
    """The channels of each layer, checked as far as they can be without the model."""
    if not isinstance(channels, Mapping):
        raise TypeError(f"channels must map names of layers to numbers of channels, got {_checks.shown(channels)}")
    return {
        _checks.text(layer, "a layer in channels"): [
            _checks.whole(one, "a number in channels", least=-_checks.LARGEST, most=_checks.LARGEST)
            for one in _checks.several(numbers, "channels", "numbers")
        ]
        for layer, numbers in channels.items()
    }


def input_of(model: Model, side: int, size: int = SIZE) -> tuple[int, int, dict[str, Any]]:
    """What photographs are like for a model, which decides between two sizes of a square and 3 channels or 1.

    Args:
      model: A network.
      side: The size if the model fails for `size`.
      size: The size that is preferred.

    Returns:
      The size, the number of channels, and the shapes of the activations.

    Raises:
      ValueError: If the model fails for all of these.
    """
    failed: Exception | None = None
    for pixels, bands in itertools.product(dict.fromkeys((size, side)), (3, 1)):
        picture = jax.ShapeDtypeStruct((1, pixels, pixels, bands), jnp.float32)
        try:
            return pixels, bands, jax.eval_shape(lambda images: call(model, images), picture)
        except Exception as error:
            failed = failed or error
    reason = " ".join(f"{type(failed).__name__}: {failed}".split())
    sizes = " or ".join(f"{n}x{n}" for n in dict.fromkeys((size, side)))
    raise ValueError(
        f"examples are photographs of {sizes} pixels with 3 channels or 1, but the model fails for them ({reason:.200})"
    ) from failed


def _shapes(wanted: Mapping[str, np.ndarray], found: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the layers for one picture, after a check that they and their channels are there."""
    for layer, indices in wanted.items():
        objectives.check(objectives.channel(layer, indices), found)
    return {layer: found[layer].shape for layer in wanted}


def pictures_in(folder: Path, output: Path) -> list[Path]:
    """The pictures in a folder, except those in `output`, in the order of their paths.

    Raises:
      NotADirectoryError: If there is no such folder.
      ValueError: If there are no pictures in it, or only those in `output`.
    """
    found = [path for path in find_pictures(folder) if output.resolve() not in path.resolve().parents]
    if not found:
        raise ValueError(f"there are no pictures in {folder} except those in {output}")
    return found


def content(folder: Path, output: Path) -> str:
    """A hash of the paths and sizes of the pictures in a folder, which changes when other ones are there."""
    found = [f"{path.resolve()} {path.stat().st_size}" for path in pictures_in(folder, output)]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


def _batches(paths: list[Path], size: int, gray: bool, progress: bool) -> Iterator[tuple[int, list[np.ndarray | None]]]:
    """Pictures in batches, each with the number of its first; None for those that cannot be read."""

    def attempt(path: Path) -> np.ndarray | None:
        try:
            return load_picture(path, size, gray=gray)
        except Exception:  # Pillow raises many types for damaged files
            return None

    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        bar(len(paths), "picture", progress) as shown,
    ):
        for start in range(0, len(paths), BATCH):
            pictures = list(pool.map(attempt, paths[start : start + BATCH]))
            yield start, pictures
            shown.update(len(pictures))


def _excitations(model: Model, wanted: Mapping[str, np.ndarray]) -> Callable[[Array], dict[str, tuple[Array, Array]]]:
    """From images to the largest activation of each channel, `[N, channels]`, and its position along the rows."""

    def excitations(images: Array) -> dict[str, tuple[Array, Array]]:
        activations = call(model, images)
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


def _merge(best: _Best, values: np.ndarray, pictures: np.ndarray, positions: np.ndarray) -> _Best:
    """Merge `best` with N more pictures, `[N, channels]`, whose paths come after those in `best`."""
    numbers = np.broadcast_to(pictures[:, None], values.shape)
    both = [np.concatenate(parts) for parts in zip(best, (values, numbers, positions), strict=True)]
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
    """Read each chosen picture once more, write the crops, and describe them."""
    output.mkdir(parents=True, exist_ok=True)
    crops: dict[int, list[tuple[Path, tuple[slice, ...]]]] = {}
    found: dict[tuple[str, int], list[dict]] = {}
    for layer, indices in wanted.items():
        positions = len(shapes[layer]) == 4
        grid = shapes[layer][1:3] if positions else (1, 1)
        side = min(fields.get(layer) or size, size) if positions else size
        for column, index in enumerate(indices.tolist()):
            examples = found[layer, index] = []
            for rank, (value, number, place) in enumerate(zip(*(part[:, column] for part in best[layer]), strict=True)):
                if value == -np.inf:
                    break
                file = output / f"{quote(layer, safe='')}-{index:04d}-{rank + 1}.jpg"
                position = np.unravel_index(place if positions else 0, grid)
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
    """The pixels of a crop along one side, around one of `positions` equal parts, moved so that they lie inside."""
    center = (position + 0.5) * size / positions
    start = min(max(round(center - side / 2), 0), size - side)
    return slice(start, start + side)
