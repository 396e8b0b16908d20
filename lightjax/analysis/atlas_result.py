"""The result of an atlas: what is in each cell, how well its picture shows it, and the map as a picture and a page."""

import dataclasses
import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from lightjax import _checks
from lightjax.analysis import atlas_section, drawing, page
from lightjax.analysis.layout import cell_of, directions
from lightjax.analysis.reading import Reading
from lightjax.analysis.sample import label_of

GROUND = 0.93
"""The gray where there are no cells."""

CROP = 2
"""Pixels that are cut from each side of a picture, as Lucid does: the borders are seldom well determined."""


class Home(NamedTuple):
    """How many pictures of an atlas are at home: their activations are most like the mean of their own cell.

    The activations of the finished picture at its center are compared (cosine) with the means of all cells.

    Attributes:
      own: The share of pictures for which their own cell is nearest.
      near: The share for which it is their own cell or one of the eight around it.
    """

    own: float
    near: float


class Photograph(NamedTuple):
    """A photograph in a cell.

    Attributes:
      number: Its number in `Atlas.sources`.
      source: Its path relative to the folder.
      place: Where the vector is, (row, column) in parts of the sides of the middle square.
    """

    number: int
    source: str
    place: tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Atlas(Reading):
    """A map of the directions of a layer, as `atlas` makes it. A notebook shows it.

    It has N vectors and M cells. A cell is one with enough vectors; those with fewer have no picture.

    Attributes:
      zooms: Cells along each side, of each zoom.
      points: Where the vectors lie, (x, y) in the unit square, x to the right and y downwards, `[N, 2]`.
      sources: The photograph of each vector, relative to the folder.
      places: Where in the photograph each vector is, (row, column) in parts of its sides, `[N, 2]`.
      likeness: The cosine between each vector and the mean of its cell, `[N, zooms]`; 0 where it has none.
      cells: The zoom, row and column of each cell, `[M, 3]`.
      counts: The number of vectors in each cell, `[M]`.
      means: Their means, `[M, c]`.
      evidence: What they add to each logit on average, `[M, classes]`; no classes if the sample has none.
      class_names: Names of the classes; empty if the network has none.
      icons: The pictures, `[M, size, size, C]` in [0, 1]; fewer than M if the atlas is not finished.
      landed: The activations of the finished pictures at their centers, `[M, c]`.
    """

    zooms: list[int]
    points: np.ndarray
    sources: list[str]
    places: np.ndarray
    likeness: np.ndarray
    cells: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    evidence: np.ndarray
    class_names: list[str]
    icons: np.ndarray
    landed: np.ndarray

    @property
    def home(self) -> Home:
        """How many pictures are at home (see `Home`), over all zooms."""
        return self._home(np.ones(len(self.cells), bool))

    @property
    def homes(self) -> list[Home]:
        """How many pictures of each zoom are at home."""
        return [self._home(self.cells[:, 0] == zoom) for zoom in range(len(self.zooms))]

    def inside(self, cell: int) -> np.ndarray:
        """The numbers of the vectors in a cell, those most like its mean first.

        Raises:
          TypeError, IndexError: If there is no such cell.
        """
        zoom, *place = self.cells[self._cell(cell)]
        found = np.flatnonzero((cell_of(self.points, self.zooms[zoom]) == place).all(1))
        return found[np.argsort(-self.likeness[found, zoom], kind="stable")]

    def photographs(self, cell: int, count: int = 6) -> list[Photograph]:
        """The photographs of a cell, each once, those whose vector is most like its mean first.

        Raises:
          TypeError, ValueError, IndexError: If an argument is wrong.
        """
        count = _checks.count(count, "count")
        found: dict[str, Photograph] = {}
        for number in self.inside(cell).tolist():
            row, column = self.places[number].tolist()
            found.setdefault(self.sources[number], Photograph(number, self.sources[number], (row, column)))
        return [*found.values()][:count]

    def folders(self, cell: int, count: int = 3) -> list[tuple[str, int]]:
        """The folders that most vectors of a cell come from, and how many.

        Raises:
          TypeError, ValueError, IndexError: If an argument is wrong.
        """
        names = [str(PurePosixPath(self.sources[number]).parent) for number in self.inside(cell)]
        return Counter(names).most_common(_checks.count(count, "count"))

    def classes(self, cell: int, count: int = 5) -> list[tuple[str, float]]:
        """The classes that the vectors of a cell add most to on average, and how much; only positive ones.

        Raises:
          TypeError, ValueError, IndexError: If an argument is wrong.
        """
        added = self.evidence[self._cell(cell)]
        order = np.argsort(-added, kind="stable")[: _checks.count(count, "count")]
        return [(label_of(self.class_names, int(i)), float(added[i])) for i in order if added[i] > 0]

    def picture(self, zoom: int = -1) -> np.ndarray:
        """The map as one picture `[H, W, 3]`, each cell without 2 pixels at its sides.

        Args:
          zoom: The number of the zoom in `zooms`; by default the last one.

        Raises:
          TypeError, IndexError: If there is no such zoom.
        """
        number = _checks.whole(zoom, "zoom")
        if not -len(self.zooms) <= number < len(self.zooms):
            raise IndexError(f"zoom must be less than {len(self.zooms)}, got {_checks.shown(number)}")
        number %= len(self.zooms)
        if not len(self.icons):
            return np.full((224, 224, 3), GROUND, np.float32)
        side = self.icons.shape[1] - 2 * CROP
        whole = np.full((self.zooms[number] * side, self.zooms[number] * side, 3), GROUND, np.float32)
        for (z, row, column), icon in zip(self.cells, self.cropped(), strict=False):
            if z == number:
                whole[row * side : (row + 1) * side, column * side : (column + 1) * side] = icon
        return whole

    def cropped(self) -> np.ndarray:
        """The pictures in color, without their borders, `[M, h, w, 3]`."""
        return np.stack([drawing.in_color(icon) for icon in self.icons[:, CROP:-CROP, CROP:-CROP]])

    def save_page(self, folder: str | os.PathLike, *, photographs: int = 6) -> Path:
        """Write the map as a page, which opens from disk: to move and zoom it, to find a class, to look at a cell.

        Small copies of the photographs are written beside it, into `photographs`.

        Args:
          folder: A folder; made if it is not there.
          photographs: Number of photographs of each cell; 0 for none. They are read again, so they must still be where
            they were.

        Returns:
          The page, index.html.

        Raises:
          TypeError, ValueError: If an argument is wrong, the atlas is not finished, or a photograph cannot be read.
          OSError: If a file cannot be written.
        """
        folder = _checks.path(folder, "folder")
        photographs = _checks.whole(photographs, "photographs", least=0, most=64)
        if len(self.icons) < len(self.cells):
            raise ValueError("folder can hold a finished atlas only: the same call of lj.atlas finishes this one")
        folder.mkdir(exist_ok=True)
        section = atlas_section.section(self, folder, photographs)
        title = f"Atlas of {self.settings['layer']} of {self.settings['model'].partition('@')[0]}"
        about = {**self.settings, "vectors": len(self.points), "cells": " ".join(map(str, self.zooms))}
        about |= {"home": f"{self.home.own:.0%} in the own cell, {self.home.near:.0%} in it or beside it"}
        return page.write(folder, title=title, settings=about, sections=[section])

    def with_icons(self, icons: np.ndarray, landed: np.ndarray) -> "Atlas":
        """The same atlas with pictures, and with their activations at their centers."""
        return dataclasses.replace(self, icons=icons, landed=landed)

    def __repr__(self) -> str:
        zooms = ", ".join(
            f"{(self.cells[:, 0] == i).sum()} of {zoom}x{zoom} cells" for i, zoom in enumerate(self.zooms)
        )
        if len(self.icons) < len(self.cells):
            return f"<Atlas: {zooms} of {self.settings['layer']}, {len(self.icons)} pictures so far>"
        return f"<Atlas: {zooms} of {self.settings['layer']}, {self.home.own:.0%} of the pictures at home>"

    def _home(self, chosen: np.ndarray) -> Home:
        own, near, number = 0, 0, 0
        for zoom in np.unique(self.cells[chosen, 0]):
            among = np.flatnonzero(self.cells[:, 0] == zoom)
            done = among[among < len(self.landed)]
            likeness = directions(self.landed[done]) @ directions(self.means[among]).T
            reached = self.cells[among[likeness.argmax(1)], 1:]
            away = np.abs(reached - self.cells[done, 1:]).max(1)
            own, near, number = own + (away == 0).sum(), near + (away <= 1).sum(), number + len(done)
        return Home(float(own / max(number, 1)), float(near / max(number, 1)))

    def _cell(self, cell: int) -> int:
        number = _checks.whole(cell, "cell", least=0)
        if number >= len(self.cells):
            raise IndexError(f"cell must be less than {len(self.cells)}, got {_checks.shown(number)}")
        return number
