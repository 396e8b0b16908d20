"""Circuits as a part of a page: each unit with what it reads and feeds, and links from unit to unit."""

import base64
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lightjax.analysis import drawing, kernels, page, sheets

if TYPE_CHECKING:
    from lightjax.analysis.circuits import ExpandedWeights

SPRITE = 80
"""Side in pixels of the picture of a unit."""


def section(
    weights: Sequence["ExpandedWeights"],
    number: int,
    sprites: str | os.PathLike | Mapping[str, np.ndarray] | None = None,
) -> page.Section:
    """Weights as a part of a page.

    Args:
      weights: Weights of one network.
      number: How many kernels of each sign a unit shows.
      sprites: Pictures of units: the folder of a gallery, or pictures `[H, W, C]` in [0, 1] by name, "mixed3a:5".

    Raises:
      TypeError, ValueError: If there are no such pictures.
      OSError: If there is no such folder.
    """
    layers: dict[str, set[int]] = {}
    for one in weights:
        layers.setdefault(one.source, set()).update(range(one.weights.shape[1]))
        layers.setdefault(one.target, set()).update(one.units)
    units = {f"{layer}:{unit}": (layer, unit) for layer, numbers in layers.items() for unit in sorted(numbers)}
    known = {} if sprites is None else sheets.chosen(sprites, units, SPRITE, weights[0].settings["model"])
    sheet = sheets.in_rows([*known.values()]) if known else None
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in units}
    for i, one in enumerate(weights):
        for unit, own in zip(one.units, one.weights, strict=True):
            lists[f"{one.target}:{unit}"].append({"pair": i, "reads": True, **_strongest(own, None, number)})
        for channel in range(one.weights.shape[1]):
            own = _strongest(one.weights[:, channel], one.units, number)
            lists[f"{one.source}:{channel}"].append({"pair": i, "reads": False, **own})
    values = {
        "sprites_source": "" if sheet is None else sheets.address(sheet),
        "names": list(units),
        "details": {
            "layers": {layer: sorted(numbers) for layer, numbers in layers.items()},
            "pairs": [
                {"source": x.source, "target": x.target, "of": x.weights.shape[:2], "sides": x.weights.shape[2:]}
                for x in weights
            ],
            "lists": lists,
            "sprites": {name: place for place, name in enumerate(known)},
            "sheet": (0, 0) if sheet is None else sheet.shape[:2],
            "colors": drawing.SCALE.tolist(),
            "start": f"{weights[0].target}:{weights[0].units[0]}",
        },
    }
    title = ", ".join(f"{one.source} to {one.target}" for one in weights)
    return page.Section(title, "circuits.html", values, "circuits.css", "circuits.js")


def _strongest(own: np.ndarray, numbers: Sequence[int] | None, count: int) -> dict[str, Any]:
    """The longest of kernels `[N, h, w]`, those that excite apart from those that inhibit, and how the page draws them.

    A kernel excites if its positive entries are longer than its negative ones.

    Returns:
      "excites" and "inhibits", lists of number and length; "share", the part of the squares of all that these have;
      "kernels", their entries as signed bytes, of which 127 is "largest".
    """
    lengths = kernels.lengths(own)
    excess = kernels.lengths(np.maximum(own, 0)) - kernels.lengths(np.minimum(own, 0))
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    parts = [order[excess[order] >= 0][:count], order[excess[order] < 0][:count]]
    shown = np.concatenate(parts)
    largest = float(np.abs(own[shown]).max(initial=0))
    entries = np.rint(own[shown] * (127 / (largest or 1))).astype(np.int8)
    listed = [
        [[int(i if numbers is None else numbers[i]), _rounded(float(lengths[i]))] for i in part] for part in parts
    ]
    return {
        "excites": listed[0],
        "inhibits": listed[1],
        "share": _rounded((lengths[shown] ** 2).sum() / ((lengths**2).sum() or 1)),
        "largest": _rounded(largest),
        "kernels": base64.b64encode(entries.tobytes()).decode(),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
