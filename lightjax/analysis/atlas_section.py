"""The atlas as a part of a page: a map to move and zoom, a search for classes, and what is in each cell."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightjax import _files
from lightjax.analysis import page
from lightjax.analysis.folder import Photographs
from lightjax.pictures import encode

if TYPE_CHECKING:
    from lightjax.analysis.atlas_result import Atlas

THUMBNAIL = 112
"""Side in pixels of the copies of photographs."""

PHOTOGRAPHS = "photographs"
"""The folder of these copies."""


def section(atlas: "Atlas", folder: Path, photographs: int) -> page.Section:
    """An atlas as a part of a page, and beside it, in `folder`, copies of the photographs of its cells.

    Raises:
      ValueError: If a photograph cannot be read.
      OSError: If a copy cannot be written.
    """
    icons = atlas.cropped()
    zooms, shown = [], {}
    for zoom, number in enumerate(atlas.zooms):
        chosen = np.flatnonzero(atlas.cells[:, 0] == zoom).tolist()
        if not chosen:
            continue
        columns = math.ceil(math.sqrt(len(chosen)))
        cells = []
        for cell in chosen:
            seen = atlas.photographs(cell, photographs) if photographs else []
            shown |= {one.number: one.source for one in seen}
            cells.append(
                {
                    "row": int(atlas.cells[cell, 1]),
                    "column": int(atlas.cells[cell, 2]),
                    "count": int(atlas.counts[cell]),
                    "classes": [[name, _rounded(value)] for name, value in atlas.classes(cell)],
                    "folders": [[name, count] for name, count in atlas.folders(cell) if name != "." and count > 1],
                    "photographs": [[one.number, one.source, *map(_rounded, one.place)] for one in seen],
                }
            )
        sheet = _sheet(icons[chosen], columns)
        zooms.append({"cells": number, "columns": columns, "sheet": page.data_url(sheet), "list": cells})
    _write_copies(atlas, shown, folder)
    layer = atlas.settings["layer"]
    words = {name for zoom in zooms for cell in zoom["list"] for name, _ in cell["classes"] + cell["folders"]}
    values: dict[str, Any] = {
        "layer": layer,
        "has_classes": atlas.evidence.shape[-1] > 0,
        "words": sorted(words),
        "number": len(atlas.points),
        "details": {"side": icons.shape[1], "zooms": zooms, "folder": PHOTOGRAPHS},
    }
    return page.Section(f"Atlas of {layer}", "atlas.html", values, "atlas.css", "atlas.js")


def _sheet(icons: np.ndarray, columns: int) -> np.ndarray:
    """Pictures `[M, h, w, 3]` in rows without gaps; black where there are none."""
    rows = -(-len(icons) // columns)
    filled = np.zeros((rows * columns, *icons.shape[1:]), np.float32)
    filled[: len(icons)] = icons
    height, width = icons.shape[1:3]
    return filled.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def _write_copies(atlas: "Atlas", shown: dict[int, str], folder: Path) -> None:
    """Write small copies of photographs, by the number of their vector."""
    if not shown:
        return
    there = Path(atlas.settings["folder"])
    numbers = sorted(shown)
    photographs = Photographs(there, [there / shown[number] for number in numbers], THUMBNAIL)
    _files.make_folder(folder / PHOTOGRAPHS)
    for place, number in enumerate(numbers):
        picture = photographs.read(place)
        if picture is None:
            raise ValueError(f"photographs must be 0 if they are gone: {photographs.paths[place]} cannot be read")
        _files.write_atomically(folder / PHOTOGRAPHS / f"{number}.jpg", encode(picture, "JPEG"))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
