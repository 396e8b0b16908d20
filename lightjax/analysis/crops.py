"""Photographs of a folder that excite channels most, each cropped around the largest activation: those of galleries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from lightjax import _checks, objectives
from lightjax._structure import Model
from lightjax.analysis.folder import SIZE, Photographs, input_of, pictures_in
from lightjax.analysis.measure import grid_of, measured
from lightjax.pictures import load_picture, save


class Crop(NamedTuple):
    """A patch of a photograph to be written: the file, the number of the photograph, and the pixels of the patch."""

    file: Path
    number: int
    window: tuple[slice, slice]


class _Best(NamedTuple):
    """The photographs that excite J channels most so far, best first, `[count, J]` each.

    Attributes:
      values: The largest activation at any position of the photograph; minus infinity where there is none yet.
      numbers: Number of the photograph.
      positions: Position in the layer, counted along the rows.
    """

    values: np.ndarray
    numbers: np.ndarray
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

    Only the best are kept in memory, however many channels and pictures there are; `examples` keeps all values.

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
    _, bands, shapes = input_of(model, size, size)
    for layer, indices in channels.items():
        if indices:
            objectives.check(objectives.channel(layer, indices), shapes)
    photographs = Photographs(folder, pictures_in(folder, output), size, bands)
    units = [(layer, index) for layer, indices in channels.items() for index in dict.fromkeys(indices)]
    if not units:
        return {}
    goals = [objectives.channel(*unit) for unit in units]

    best = _nothing(count, len(units))
    for seen in measured(model, goals, [layer for layer, _ in units], photographs, progress=progress):
        best = _merge(best, seen.values[..., 0], seen.numbers, seen.positions[..., 0])

    names, crops, found = photographs.names, [], {}
    for column, (unit, goal) in enumerate(zip(units, goals, strict=True)):
        grid = grid_of(goal, model, shapes, size)
        found[unit] = []
        for rank, (value, number, position) in enumerate(zip(*(part[:, column] for part in best), strict=True)):
            if value == -np.inf:
                break
            file = output / f"{quote(unit[0], safe='')}-{unit[1]:04d}-{rank + 1}.jpg"
            crops.append(Crop(file, int(number), grid.window(position, size)))
            about = {"file": f"{output.name}/{file.name}", "value": float(value), "source": names[number]}
            found[unit].append(about)
    write(photographs, crops)
    return found


def write(photographs: Photographs, crops: Sequence[Crop]) -> None:
    """Write crops, in color; each photograph is read once more.

    Raises:
      OSError: If a file cannot be written.
    """
    for folder in {crop.file.parent for crop in crops}:
        folder.mkdir(parents=True, exist_ok=True)
    by_number: dict[int, list[Crop]] = {}
    for crop in crops:
        by_number.setdefault(crop.number, []).append(crop)
    for number, own in sorted(by_number.items()):
        picture = load_picture(photographs.paths[number], photographs.size)
        for crop in own:
            save(crop.file, picture[crop.window])


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


def _nothing(count: int, channels: int) -> _Best:
    shape = (count, channels)
    return _Best(np.full(shape, -np.inf, np.float32), np.zeros(shape, int), np.zeros(shape, int))


def _merge(best: _Best, values: np.ndarray, numbers: np.ndarray, positions: np.ndarray) -> _Best:
    """Merge `best` with n more photographs, `[n, J]`, whose paths come after those in `best`."""
    numbers = np.broadcast_to(numbers[:, None], values.shape)
    both = [np.concatenate(parts) for parts in zip(best, (values, numbers, positions), strict=True)]
    order = np.argsort(-both[0], axis=0, kind="stable")[: len(best.values)]
    return _Best(*(np.take_along_axis(part, order, axis=0) for part in both))
