"""The table of an evaluation: shows itself, saves itself, and gives its columns."""

import base64
import csv
import dataclasses
import html
import io
import json
import math
import os

import numpy as np

from lightjax import _checks, _files
from lightjax.analysis import drawing
from lightjax.analysis.reading import Reading
from lightjax.pictures import encode

SIDE = 72
"""Pixels of a picture in the table."""

MEANINGS = {
    "value": "the objective on the finished picture, without a transform",
    "views": "the objective on fresh draws of the transform of the render, mean",
    "rank": "units of the layer that the picture excites more, each over noise: 0 is the best",
    "choice": "classes that the network prefers: 0 if it would say the class of the picture",
    "eye": "classes that the eye, another network, prefers: 0 if it would say the class",
    "slope": "exponent of the power spectrum; photographs have about -2 to -4",
    "told": "of the unit, not the picture: share of trials in which the eye tells what photographs excite it",
    "sure": "of the unit: the same with how sure the eye is, 0 to 1; comparable for one eye only",
    "alike": "of the unit: mean similarity of photographs to the eye, weighted by its activations (MonoScore)",
}
"""What the columns say; the columns after these are path likenesses, `likeness LAYER`."""

LIKENESS = "likeness "


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Reading):
    """What `evaluate` measured: a table with a row for each picture. A notebook shows it.

    `save` writes the numbers (.csv, .json), everything (.safetensors, which `read` reads), or the table as a picture.

    Attributes:
      names: What the rows are called: the file, or the objective of a result.
      objectives: The objective of each row.
      columns: Names of the columns (see `MEANINGS`).
      values: The numbers, `[rows, columns]`; NaN where a measure has no meaning.
      small: The pictures at 72 pixels, uint8 `[rows, 72, 72, 3]`.
    """

    names: list[str]
    objectives: list[str]
    columns: list[str]
    values: np.ndarray
    small: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """The numbers of a column, `[rows]`.

        Raises:
          ValueError, TypeError: If there is none of this name.
        """
        return self.values[:, self.columns.index(_checks.one_of(name, self.columns, "column"))]

    @property
    def eye(self) -> str | None:
        """The network that was the eye; None if there was none."""
        return self.settings["eye"]

    def markdown(self) -> str:
        """The table as Markdown."""
        rows = [["", *self.columns], ["---"] * (len(self.columns) + 1)]
        rows += [[name, *map(_shown, line)] for name, line in zip(self.names, self.values, strict=True)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def save(self, path: str | os.PathLike) -> None:
        """Save the numbers as .csv or .json, everything as .safetensors, or the table as a picture (.png and so on).

        Raises:
          ValueError: If the name ends otherwise.
          OSError: If the file cannot be written; no half-written file is left.
        """
        path = _checks.path(path, "path")
        lines = [[None if math.isnan(x) else x for x in map(float, line)] for line in self.values]
        if path.suffix.lower() == ".csv":
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["name", "objective", *self.columns])
            writer.writerows([n, o, *line] for n, o, line in zip(self.names, self.objectives, lines, strict=True))
            _files.write_atomically(path, text.getvalue().encode())
        elif path.suffix.lower() == ".json":
            rows = [
                {"name": name, "objective": objective, **dict(zip(self.columns, line, strict=True))}
                for name, objective, line in zip(self.names, self.objectives, lines, strict=True)
            ]
            _files.write_atomically(path, json.dumps({"settings": self.settings, "rows": rows}, indent=1).encode())
        else:
            super().save(path)

    def picture(self) -> np.ndarray:
        """The table as a picture, `[H, W, 3]` in [0, 1]."""
        blank = np.ones((1, SIDE, 3), np.float32)
        texts = [[name, *map(_shown, line)] for name, line in zip(self.names, self.values, strict=True)]
        columns = [["", *(row[i] for row in texts)] for i in range(len(self.columns) + 1)]
        heads = ["", *(name.replace(LIKENESS, LIKENESS + "\n") for name in self.columns)]
        parts = []
        for head, column in zip(heads, columns, strict=True):
            cells = [drawing.captioned(blank, head if "\n" in head else head + "\n")]
            for text in column[1:]:
                cell = drawing.captioned(blank, text)
                cells.append(np.concatenate([np.ones((SIDE - len(cell), cell.shape[1], 3), np.float32), cell]))
            parts.append(drawing.stacked(cells, gap=4))
        top = np.ones((len(drawing.captioned(blank, "\n")), SIDE, 3), np.float32)
        pictures = drawing.stacked([top, *(self.small.astype(np.float32) / 255)], gap=4)
        return drawing.beside([pictures, *parts], gap=6)

    def _repr_png_(self) -> None:  # type: ignore[override]
        return None  # a notebook shows the table

    def _repr_html_(self) -> str:
        head = "".join(
            f'<th title="{html.escape(MEANINGS.get(name, "1 like photographs of the class, 0 like others"))}">'
            f"{html.escape(name)}</th>"
            for name in self.columns
        )
        rows = []
        for name, objective, line, small in zip(self.names, self.objectives, self.values, self.small, strict=True):
            data = base64.b64encode(encode(small.astype(np.float32) / 255)).decode()
            cells = "".join(f"<td>{_shown(value)}</td>" for value in line)
            picture = f'<img src="data:image/png;base64,{data}" alt="" width="{SIDE}">'
            rows.append(
                f'<tr><td>{picture}</td><td title="{html.escape(objective)}">{html.escape(name)}</td>{cells}</tr>'
            )
        eye = f", seen by {html.escape(self.eye)}" if self.eye else ""
        caption = f"<caption>Renders of {html.escape(self.settings['model'])}{eye}</caption>"
        return f"<table>{caption}<tr><th></th><th></th>{head}</tr>{''.join(rows)}</table>"

    def __repr__(self) -> str:
        eye = f", seen by {self.eye}" if self.eye else ""
        return f"<Evaluation: {len(self.names)} renders of {self.settings['model']}{eye}>\n{self.markdown()}"


def _shown(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.3g}"
