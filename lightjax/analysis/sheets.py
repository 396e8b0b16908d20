"""Sheets: many small pictures in one file, such as those of channels that stand beside their numbers on a page."""

import math
import os
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from lightjax import _checks
from lightjax.analysis import drawing, page
from lightjax.pictures import find_pictures, load_picture, read_settings

LARGEST = 16383
"""Most pixels along a side of a WebP file."""

K = TypeVar("K", int, str)


def chosen(
    given: str | os.PathLike | Mapping[K, np.ndarray], wanted: Mapping[K, tuple[str, int]], side: int, network: str
) -> dict[K, np.ndarray]:
    """Pictures of channels, `[side, side, 3]`, of those that are wanted, in their order.

    Args:
      given: The folder of a gallery, or pictures `[H, W, C]` in [0, 1].
      wanted: The layer and the channel of each picture, by what a mapping calls it.
      side: Height and width in pixels.
      network: The source of the network; pictures of a gallery must be of the same one.

    Raises:
      TypeError, ValueError: If there is no picture of such a channel, or one is no picture, or of another network.
      OSError: If there is no such folder.
    """
    if isinstance(given, Mapping):
        found = {name: _checks.array(given[name], "a sprite") for name in wanted if name in given}
        for x in found.values():
            if x.ndim != 3 or x.shape[-1] not in (1, 3, 4) or not x.size or not (x.min() >= 0 and x.max() <= 1):
                raise ValueError(f"sprites must be pictures [H, W, C] in [0, 1], got {_checks.shown(x)}")
    else:
        found = _of_gallery(given, wanted, network)
    if not found:
        layers = " or ".join(dict.fromkeys(layer for layer, _ in wanted.values()))
        raise ValueError(
            f"sprites must have pictures of channels of {layers}, but there are none in {_checks.shown(given)}"
        )
    return {name: drawing.resized(drawing.in_color(found[name]), (side, side)) for name in wanted if name in found}


def _of_gallery(folder: str | os.PathLike, wanted: Mapping[K, tuple[str, int]], network: str) -> dict[K, np.ndarray]:
    names = {place: name for name, place in wanted.items()}
    found = {}
    for file in find_pictures(_checks.path(folder, "sprites")):
        try:
            settings = read_settings(file)
        except ValueError:  # no picture of a gallery
            continue
        layer, channel = settings.get("layer"), settings.get("channel")
        if settings.get("kind") == "positive" and isinstance(layer, str) and isinstance(channel, int):
            name = names.get((layer, channel))
            if name is not None:
                if settings.get("model") != network:
                    other = _checks.shown(settings.get("model"))
                    raise ValueError(f"sprites must be pictures of {network!r}, but those of {folder} are of {other}")
                found[name] = load_picture(file)
    return found


def address(cells: np.ndarray) -> str:
    """Pictures `[h, w, H, W, C]` side by side, as an address that holds them; smaller ones if a file has no room."""
    side = LARGEST // max(cells.shape[:2])
    if max(cells.shape[2:4]) > side:
        cells = np.stack([[drawing.resized(cell, (side, side)) for cell in row] for row in cells])
    return page.data_url(drawing.in_color(np.concatenate(np.concatenate(cells, 1), 1)))


def in_rows(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size as `[h, w, H, W, C]`, about as many rows as columns; the last one fills up the last row."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = -(-len(pictures) // columns)
    filled = pictures + pictures[-1:] * (rows * columns - len(pictures))
    return np.stack(filled).reshape(rows, columns, *pictures[0].shape)
