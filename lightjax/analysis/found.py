"""What was found in a folder of photographs: the best, the whole range, how often, and of which classes."""

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightjax import _checks
from lightjax.analysis import crops, drawing, measure
from lightjax.analysis.folder import Photographs
from lightjax.analysis.reading import Reading
from lightjax.pictures import load_picture

_SIDE, _COLUMNS, _BEST = 112, 10, 20
"""Side of a patch on the sheet in pixels, most patches in a row, and how many photographs its classes are those of."""


class Example(NamedTuple):
    """A photograph, or a patch of one, and its value.

    Attributes:
      source: The path of the photograph relative to the folder, with forward slashes.
      value: The value of the objective.
      number: The number of the photograph in `Examples.photographs`.
      window: The pixels of the patch in the square that the network sees, as (top, left, side).
    """

    source: str
    value: float
    number: int
    window: tuple[int, int, int]


class ClassShare(NamedTuple):
    """How many of some chosen photographs are of a class.

    Attributes:
      name: The class: the folder that the photographs are in, relative to the whole folder; "." for that itself.
      chosen: The number of photographs of the class among the chosen ones.
      share: The same as a share of all chosen photographs.
      rate: The same as a share of all photographs of the class.
    """

    name: str
    chosen: int
    share: float
    rate: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Examples(Reading):
    """What `examples` found in a folder of N photographs for J objectives.

    It shows itself as a sheet of patches with their values. The photographs are read again for that, so the folder must
    still be where it was. `save` writes the sheet, or the numbers (.safetensors); `write` writes the patches.

    Attributes:
      objectives: What the objectives are called: strings as they were given, others as they print.
      photographs: The paths of the photographs that can be read, relative to the folder, in order.
      peaks: The values, `[J, N, per_picture]`, the largest first; minus infinity where there are fewer.
      positions: Their positions in the layer, `[J, N, per_picture]`, counted along the rows.
      grids: For each objective the rows and columns of its positions, and the side of its patches in pixels.
      seen: The number of files that were looked at: fewer than `settings["files"]` if the pass did not end.
      count: Number of examples in a row of the sheet.
      quantiles: Number of parts of the range on the sheet.
    """

    objectives: list[str]
    photographs: list[str]
    peaks: np.ndarray
    positions: np.ndarray
    grids: list[list[int]]
    seen: int
    count: int
    quantiles: int

    @property
    def values(self) -> np.ndarray:
        """The value of each photograph for each objective, `[J, N]`."""
        return self.peaks[..., 0]

    def best(self, objective: int | str = 0, count: int | None = None) -> list[Example]:
        """The examples with the largest values, best first; of equals, the photograph whose path comes first.

        Args:
          objective: Its number, or its name in `objectives`.
          count: How many; by default as many as `examples` was given.

        Returns:
          At most `count` examples, at most `per_picture` of one photograph.

        Raises:
          TypeError, ValueError, IndexError: If an argument is wrong.
        """
        j, count = self._index(objective), self._count(count)
        flat = self.peaks[j].ravel()
        order = [int(i) for i in np.argsort(-flat, kind="stable")[:count] if flat[i] > -np.inf]
        return [self._example(j, *divmod(i, self.peaks.shape[2])) for i in order]

    def least(self, objective: int | str = 0, count: int | None = None) -> list[Example]:
        """The photographs with the smallest values, the smallest first. The arguments are those of `best`."""
        j, count = self._index(objective), self._count(count)
        return [self._example(j, int(i)) for i in np.argsort(self.values[j], kind="stable")[:count]]

    def spread(
        self, objective: int | str = 0, quantiles: int | None = None, count: int | None = None
    ) -> list[list[Example]]:
        """Photographs over the whole range of values, as in OpenAI's Microscope.

        The photographs in the order of their values are cut into parts of equal number, and each part gives
        photographs at equal distances in this order.

        Args:
          objective: Its number, or its name in `objectives`.
          quantiles: Number of parts; by default that of `examples`, or 5.
          count: Photographs of each part; fewer where the folder has fewer.

        Returns:
          The parts, that with the largest values first, and each from its largest to its smallest value.

        Raises:
          TypeError, ValueError, IndexError: If an argument is wrong.
        """
        j, count = self._index(objective), self._count(count)
        parts = _checks.count(self.quantiles or 5 if quantiles is None else quantiles, "quantiles")
        order = np.argsort(-self.values[j], kind="stable")
        found = []
        for part in np.array_split(order, min(parts, len(order))):
            places = np.unique(
                ((np.arange(min(count, len(part))) + 0.5) * len(part) / min(count, len(part))).astype(int)
            )
            found.append([self._example(j, int(i)) for i in part[places]])
        return found

    def frequency(self, above: float = 0.0) -> np.ndarray:
        """The share of photographs whose value is greater than a number, for each objective, `[J]`."""
        return (self.values > _checks.number(above, "above")).mean(1)

    def classes(self, objective: int | str = 0, *, best: int | None = None, above: float = 0.0) -> list[ClassShare]:
        """Of which classes the photographs with large values are. A class is a folder inside of the folder.

        Args:
          objective: Its number, or its name in `objectives`.
          best: How many photographs to choose, those with the largest values; None for all whose value is greater than
            `above`.
          above: See `best`.

        Returns:
          The classes of the chosen photographs, the most frequent first, and equals by name.

        Raises:
          TypeError, ValueError, IndexError: If an argument is wrong.
        """
        values, above = self.values[self._index(objective)], _checks.number(above, "above")
        chosen = np.flatnonzero(values > above)
        if best is not None:
            chosen = np.argsort(-values, kind="stable")[: _checks.count(best, "best")]
        names = [_class_of(source) for source in self.photographs]
        there, found = Counter(names), Counter(names[i] for i in chosen)
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return [ClassShare(name, n, n / len(chosen), n / there[name]) for name, n in ordered]

    def patches(self, chosen: Sequence[Example]) -> list[np.ndarray]:
        """The patches of some examples, `[side, side, 3]` in [0, 1] each.

        Raises:
          OSError: If a photograph is no longer in the folder.
        """
        folder, size = Path(self.settings["folder"]), self.settings["size"]
        found = []
        for one in _checks.several(chosen, "chosen", "examples"):
            if not isinstance(one, Example):
                raise TypeError(f"chosen must be examples, as `best` gives them, got {_checks.shown(one)}")
            top, left, side = one.window
            found.append(load_picture(folder / one.source, size)[top : top + side, left : left + side])
        return found

    def write(self, folder: str | os.PathLike) -> dict[str, list[dict[str, Any]]]:
        """Write the patches of the best examples as JPEG files, for pages.

        Args:
          folder: Where to, outside of the folder of photographs; it is made if it does not exist.

        Returns:
          For each objective a list, best first, of `{"file", "value", "source"}`, where `file` is a name in the folder.

        Raises:
          ValueError: If the folder lies among the photographs.
          OSError: If a photograph is no longer there, or a file cannot be written.
        """
        folder, home, found, files = _checks.path(folder, "folder"), Path(self.settings["folder"]), {}, []
        if home in (folder.resolve(), *folder.resolve().parents):
            raise ValueError(f"folder must lie outside of the photographs in {home}, got {_checks.in_a_line(folder)}")
        for j, name in enumerate(self.objectives):
            found[name] = []
            for rank, one in enumerate(self.best(j)):
                file = folder / f"{j:04d}-{rank + 1}.jpg"
                top, left, side = one.window
                files.append(crops.Crop(file, one.number, (slice(top, top + side), slice(left, left + side))))
                found[name].append({"file": file.name, "value": one.value, "source": one.source})
        crops.write(Photographs(home, [home / name for name in self.photographs], self.settings["size"]), files)
        return found

    def picture(self) -> np.ndarray:
        """A sheet: for each objective its best examples, and those of the quantiles, with their values."""
        parts = []
        for j, name in enumerate(self.objectives):
            active = f"greater than 0 for {self.frequency()[j]:.0%} of {len(self.photographs)} photographs"
            most = [f"{one.name} {one.share:.0%}" for one in self.classes(j, best=_BEST)[:3] if one.name != "."]
            kinds = f"\nof the best {min(_BEST, len(self.photographs))}: {', '.join(most)}" if most else ""
            parts.append(drawing.captioned(np.ones((4, _SIDE, 3), np.float32), f"{name}: {active}{kinds}"))
            rows = [self.best(j)] + (self.spread(j) if self.quantiles else [])
            for i, row in enumerate(rows):
                if i:
                    title = f"part {i} of {len(rows) - 1} of all photographs, from the largest values to the smallest"
                    parts.append(drawing.captioned(np.ones((1, _SIDE, 3), np.float32), title, 11))
                shown = [
                    drawing.captioned(drawing.resized(patch, (_SIDE, _SIDE)), f"{one.value:.4g}", 11)
                    for one, patch in zip(row, self.patches(row), strict=True)
                ]
                parts += [drawing.beside(shown[k : k + _COLUMNS]) for k in range(0, len(shown), _COLUMNS)]
        return drawing.stacked(parts)

    def _example(self, objective: int, number: int, rank: int = 0) -> Example:
        """One example: the photograph with a number, at its largest peak or another one."""
        rows, columns = measure.Grid(*self.grids[objective]).window(
            int(self.positions[objective, number, rank]), self.settings["size"]
        )
        value = float(self.peaks[objective, number, rank])
        return Example(self.photographs[number], value, number, (rows.start, columns.start, rows.stop - rows.start))

    def _index(self, objective: int | str) -> int:
        if isinstance(objective, str):
            return self.objectives.index(_checks.one_of(objective, self.objectives, "objective"))
        index = _checks.whole(objective, "objective", least=-_checks.LARGEST, most=_checks.LARGEST)
        number = len(self.objectives)
        if not 0 <= index < number:
            raise IndexError(f"objective {index} is out of range: there are {number} (0 to {number - 1})")
        return index

    def _count(self, count: int | None) -> int:
        return self.count if count is None else _checks.count(count, "count")


def _class_of(source: str) -> str:
    return source.rpartition("/")[0] or "."
