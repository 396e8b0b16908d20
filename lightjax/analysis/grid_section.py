"""The grid as a part of a page: cells that show their channels, their classes and their place in the photograph."""

import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lightjax import _checks
from lightjax.analysis import drawing, page
from lightjax.pictures import find_pictures, load_picture, read_settings

if TYPE_CHECKING:
    from lightjax.analysis.grid import Grid, Strongest

CROP = 2
"""Pixels that are cut from each side of a cell, as Lucid does: the borders of a picture are seldom well determined."""

LARGEST = 16383
"""Most pixels along a side of a WebP file."""

SPRITE = 64
"""Side in pixels of the picture of a channel."""


def section(grid: "Grid", sprites: str | os.PathLike | Mapping[int, np.ndarray] | None = None) -> page.Section:
    """A grid as a part of a page.

    Args:
      grid: The grid.
      sprites: Pictures of channels: the folder of a gallery, or pictures `[H, W, C]` in [0, 1] by channel.

    Raises:
      TypeError, ValueError: If there are no such pictures of channels of the grid's layer.
    """
    layer, strengths = grid.settings["layer"], grid.strengths
    rows, columns = strengths.shape
    used = {int(number) for number in np.unique(grid.channels.numbers)}
    known = {} if sprites is None else _sprites(sprites, layer, used)
    places = {number: place for place, number in enumerate(known)}
    names = [name.partition(",")[0] for name in grid.class_names]
    label = lambda number: names[number] if number < len(names) and names[number] else str(number)
    channels = _listed(grid.channels, lambda n: [str(n)], lambda n: [places[n]] if n in places else [])
    classes = _listed(grid.classes, lambda n: [label(n)], lambda n: [])
    values = {
        "layer": layer,
        "rows": rows,
        "columns": columns,
        "cells": [
            {"row": row, "column": column, "side": f"{side:.4g}" if side else ""}
            for (row, column), side in np.ndenumerate(grid.sides)
        ],
        "blank": int((strengths == 0).sum()),
        "has_classes": grid.evidence.shape[-1] > 0,
        "cells_source": _sheet(grid.pictures[:, :, CROP:-CROP, CROP:-CROP]),
        "photograph_source": page.data_url(drawing.in_color(grid.photograph)),
        "sprites_source": _sheet(_in_rows([*known.values()])) if known else "",
        "details": {
            "rows": rows,
            "columns": columns,
            "channels": channels,
            "classes": classes,
            "strengths": [_rounded(x) for x in strengths.ravel()],
            "sprites": _in_rows([*known.values()]).shape[:2] if known else (0, 0),
            "start": int(strengths.argmax()),
        },
    }
    return page.Section(f"Grid of {layer}", "grid.html", values, "grid.css", "grid.js")


def _sheet(cells: np.ndarray) -> str:
    """Pictures `[h, w, H, W, C]` side by side, as an address that holds them; smaller ones if a file has no room."""
    side = LARGEST // max(cells.shape[:2])
    if max(cells.shape[2:4]) > side:
        cells = np.stack([[drawing.resized(cell, (side, side)) for cell in row] for row in cells])
    return page.data_url(drawing.in_color(np.concatenate(np.concatenate(cells, 1), 1)))


def _in_rows(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size as `[h, w, H, W, C]`, about as many rows as columns; the last one fills up the last row."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = -(-len(pictures) // columns)
    filled = pictures + pictures[-1:] * (rows * columns - len(pictures))
    return np.stack(filled).reshape(rows, columns, *pictures[0].shape)


def _listed(found: "Strongest", name: Callable[[int], list], more: Callable[[int], list]) -> list[list[list]]:
    """For each position the strongest, as the page shows them: name, value and more. Zeros are left out."""
    return [
        [[*name(int(n)), _rounded(value), *more(int(n))] for n, value in zip(numbers, values, strict=True) if value]
        for numbers, values in zip(*map(np.concatenate, found), strict=True)
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _sprites(
    given: str | os.PathLike | Mapping[int, np.ndarray], layer: str, wanted: set[int]
) -> dict[int, np.ndarray]:
    """Pictures of channels, `[SPRITE, SPRITE, 3]`, of those that are wanted."""
    if isinstance(given, Mapping):
        pictures = {
            _checks.whole(n, "a channel of sprites", least=0): _checks.array(x, "a sprite") for n, x in given.items()
        }
        for x in pictures.values():
            if x.ndim != 3 or x.shape[-1] not in (1, 3, 4) or not x.size or not (x.min() >= 0 and x.max() <= 1):
                raise ValueError(f"sprites must be pictures [H, W, C] in [0, 1], got {_checks.shown(x)}")
    else:
        pictures = {}
        for file in find_pictures(_checks.path(given, "sprites")):
            try:
                settings = read_settings(file)
            except ValueError:  # no picture of a gallery
                continue
            asked = (settings.get("layer"), settings.get("kind"))
            if asked == (layer, "positive") and settings.get("channel") in wanted:
                pictures[settings["channel"]] = load_picture(file)
    if not pictures:
        raise ValueError(
            f"sprites must have pictures of channels of {layer}, but there are none in {_checks.shown(given)}"
        )
    return {
        number: drawing.resized(drawing.in_color(pictures[number]), (SPRITE, SPRITE))
        for number in sorted(pictures)
        if number in wanted
    }
