"""The grid as a part of a page: cells that show their channels, their classes and their place in the photograph."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lightjax.analysis import drawing, page, sheets

if TYPE_CHECKING:
    from lightjax.analysis.grid import Grid, Strongest

CROP = 2
"""Pixels that are cut from each side of a cell, as Lucid does: the borders of a picture are seldom well determined."""

SPRITE = 64
"""Side in pixels of the picture of a channel."""


def section(grid: "Grid", sprites: str | os.PathLike | Mapping[int, np.ndarray] | None = None) -> page.Section:
    """A grid as a part of a page.

    Args:
      grid: The grid.
      sprites: Pictures of channels: the folder of a gallery, or pictures `[H, W, C]` in [0, 1] by channel.

    Raises:
      TypeError, ValueError: If there are no such pictures of channels of the grid's layer and network.
    """
    layer, strengths = grid.settings["layer"], grid.strengths
    rows, columns = strengths.shape
    used = {int(number): (layer, int(number)) for number in np.unique(grid.channels.numbers)}
    known = {} if sprites is None else sheets.chosen(sprites, used, SPRITE, grid.settings["model"])
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
        "cells_source": sheets.address(grid.pictures[:, :, CROP:-CROP, CROP:-CROP]),
        "photograph_source": page.data_url(drawing.in_color(grid.photograph)),
        "sprites_source": sheets.address(sheets.in_rows([*known.values()])) if known else "",
        "details": {
            "rows": rows,
            "columns": columns,
            "channels": channels,
            "classes": classes,
            "strengths": [_rounded(x) for x in strengths.ravel()],
            "sprites": sheets.in_rows([*known.values()]).shape[:2] if known else (0, 0),
            "start": int(strengths.argmax()),
        },
    }
    return page.Section(f"Grid of {layer}", "grid.html", values, "grid.css", "grid.js")


def _listed(found: "Strongest", name: Callable[[int], list], more: Callable[[int], list]) -> list[list[list]]:
    """For each position the strongest, as the page shows them: name, value and more. Zeros are left out."""
    return [
        [[*name(int(n)), _rounded(value), *more(int(n))] for n, value in zip(numbers, values, strict=True) if value]
        for numbers, values in zip(*map(np.concatenate, found), strict=True)
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
