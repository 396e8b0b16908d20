"""The result of `groups`: it renders the groups' pictures, shows their maps over the photographs, and saves itself."""

import colorsys
import dataclasses
import math
import os
from typing import Any, ClassVar, Self

import numpy as np

from lightjax import _checks
from lightjax._structure import Model
from lightjax.analysis import drawing
from lightjax.analysis.factors import Factors
from lightjax.analysis.rest import opened
from lightjax.objectives import Objective, direction
from lightjax.render import visualize_many
from lightjax.result import NonFiniteError

EXAMPLES = 6
"""Photographs that are shown for each group, of a folder or of many pictures."""

_CELL = 112
"""Side in pixels of a picture that is shown."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Groups(Factors):
    """Groups of neurons of a layer, as `groups` finds them, the largest share first. They show themselves.

    Attributes:
      names: The names of the N pictures: of files, or numbers.
      pictures: The pictures that are shown, `[n, H, W, C]`: all, or of more than six those that `top` names.
      kept: Numbers of these pictures among all.
      attributions: For each picture the attribution of each group and, last, of the residual, `[N, k + 1]`;
        `[0, k + 1]` without an objective.
      importances: For each picture the total Sobol index of each group, `[N, k]`; 0 where the objective does not change
        at all. `[0, k]` if they were not asked for.
      icons: The pictures that `render` made, `[k, S, S, C]`; `[0]` before.
    """

    names: list[str]
    pictures: np.ndarray
    kept: np.ndarray
    attributions: np.ndarray
    importances: np.ndarray
    icons: np.ndarray

    _model: ClassVar[Any] = None

    @property
    def attribution(self) -> np.ndarray:
        """The attribution of each group to the objective, `[k + 1]`, the mean over pictures; the last, the residual's.

        They sum to that of the whole layer, the sum of (activation * gradient).

        Raises:
          ValueError: If the groups were found without an objective.
        """
        if not len(self.attributions):
            raise ValueError("there is no attribution without an objective: give groups(..., objective=...)")
        return self.attributions.mean(0)

    @property
    def importance(self) -> np.ndarray:
        """The total Sobol index of each group, `[k]`, the mean over pictures.

        Raises:
          ValueError: If the groups were found without an objective, with designs=0, or of attributions.
        """
        if not len(self.importances):
            raise ValueError(
                "there is no importance: give groups(..., objective=...) of activations, and leave designs at 32"
            )
        return self.importances.mean(0)

    def objectives(self) -> list[Objective]:
        """For each group the objective of its direction, for `visualize_many`."""
        return [direction(self.settings["layer"], row, power=2) for row in self.directions]

    def top(self, count: int = EXAMPLES) -> np.ndarray:
        """Numbers of the pictures in which each group is strongest at any position, best first, `[k, count]`.

        Args:
          count: Number of pictures for each group; fewer if there are fewer. `names` has their names.

        Raises:
          TypeError, ValueError: If `count` is not a whole number of at least 1.
        """
        return _strongest(self.weights, _checks.count(count, "count"))

    def render(
        self,
        steps: int = 128,
        size: int = 112,
        *,
        seed: int = 0,
        model: Model | str | os.PathLike | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> Self:
        """The same groups with a picture of each: all from one seed, so that they differ by their direction alone.

        Args:
          steps: Number of updates.
          size: Side of the pictures in pixels.
          seed: The seed.
          model: The network. By default the one in which the groups were found; a file does not hold it, so groups from
            a file need it.
          progress: Whether to show a progress bar.
          **settings: Other keywords of `visualize_many`.

        Raises:
          TypeError, ValueError: If an argument is wrong, or the network is not known.
          NonFiniteError: If a render fails.
          KeyboardInterrupt: If Ctrl-C ended the renders.
          WeightsError: If the network cannot be found or loaded.
        """
        if model is None and self._model is None:
            raise ValueError("model must be given: groups that were read from a file do not hold the network")
        network = self._model if model is None else opened(model)
        results = visualize_many(
            self.objectives(), steps=steps, size=size, seed=seed, model=network, progress=progress, **settings
        ).in_order()
        for result in results:
            if result.failed is not None:
                raise NonFiniteError(result.failed, result)
        if len(results) < len(self.directions) or any(result.interrupted for result in results):
            raise KeyboardInterrupt
        icons = np.stack([result.image for result in results])
        made = {"render": {name: value for name, value in results[0].settings.items() if name != "objective"}}
        return dataclasses.replace(self, icons=icons, settings=self.settings | made).of_network(network)

    def of_network(self, model: Model) -> Self:
        """The same groups, which remember their network."""
        object.__setattr__(self, "_model", model)
        return self

    def picture(self) -> np.ndarray:
        """For each group its picture, if rendered, its map over photographs, and its shares; the residual last.

        Of one picture, the picture itself and all groups over it come first. Each group has a hue. All maps have one
        scale: full color is the 99th percentile of all weights. The residual's map, in gray, is its length.
        """
        number, top = len(self.directions), self.top()
        colors = [colorsys.hsv_to_rgb(i / number, 0.95, 0.9) for i in range(number)]
        place = {int(picture): i for i, picture in enumerate(self.kept)}
        maps = self.weights / (np.quantile(self.weights, 0.99) or self.weights.max())
        blocks = []
        for i in range(number):
            icon = [_framed(_cell(self.icons[i]), colors[i])] if len(self.icons) else []
            photographs = [self._over(place[n], maps[n][..., i : i + 1], colors[i : i + 1]) for n in top[i].tolist()]
            blocks.append(drawing.captioned(drawing.beside([*icon, *photographs], 4), self._caption(i)))
        left = np.linalg.norm(self.residual, axis=-1, keepdims=True)
        n = int(left.reshape(len(left), -1).max(1)[self.kept].argmax())
        last = self._over(n, left[self.kept[n]] / (left[self.kept[n]].max() or 1), [(1, 1, 1)])
        blocks.append(drawing.captioned(last, self._caption(number)))
        if len(self.names) > 1:
            return drawing.stacked(blocks)
        first = [_cell(self.pictures[0]), self._over(0, maps[0], colors)]
        if len(self.icons):  # as wide as the others
            first = [drawing.beside(first, 4)]
        titles = [self._title(), "all groups"]
        blocks = [drawing.captioned(one, title) for one, title in zip(first, titles, strict=False)] + blocks
        columns = 4
        width = max(block.shape[1] for block in blocks)
        even = [np.pad(b, ((0, 0), (0, width - b.shape[1]), (0, 0)), constant_values=1) for b in blocks]
        rows = [even[start : start + columns] for start in range(0, len(even), columns)]
        return drawing.stacked([drawing.beside(row) for row in rows])

    def _over(self, number: int, strengths: np.ndarray, colors: list[tuple]) -> np.ndarray:
        """A picture in gray with maps `[h, w, n]` over it in their colors; layers without positions have no maps."""
        picture = _cell(self.pictures[number])
        if strengths.ndim != 3:
            return picture
        strengths = np.clip(strengths, 0, 1)
        mixed = (strengths @ np.array(colors, np.float32)) / np.maximum(strengths.sum(-1, keepdims=True), 1e-9)
        size = picture.shape[:2]
        opacity = drawing.resized(strengths.max(-1, keepdims=True), size)
        gray = 0.1 + 0.7 * np.repeat(picture.mean(-1, keepdims=True), 3, -1)
        return np.clip(gray + 0.85 * opacity * (drawing.resized(mixed, size) - gray), 0, 1)

    def _title(self) -> str:
        goal = self.settings["objective"]
        lines = [f"{self.names[0]:.32}, {self.settings['layer']}"]
        return "\n".join([*lines, *([f"for {goal:.40}"] if goal else [])])

    def _caption(self, i: int) -> str:
        residual = i == len(self.directions)
        lines = [f"{'residual' if residual else f'group {i}'}: {self.shares[i]:.1%}"]
        if len(self.attributions):
            value, whole = float(self.attribution[i]), float(self.attribution.sum())
            lines.append(f"attribution {value:+.3g}" + (f" ({value / whole:.0%})" if whole else ""))
        if len(self.importances) and not residual:
            lines.append(f"importance {self.importance[i]:.2f}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        pictures = self.names[0] if len(self.names) == 1 else f"{len(self.names)} pictures"
        return (
            f"<Groups: {len(self.directions)} groups of {self.settings['layer']} for {pictures}, residual "
            f"{self.shares[-1]:.1%}>"
        )


def shown(weights: np.ndarray) -> np.ndarray:
    """Numbers of the pictures to show, of all that have weights `[N, ..., k]`."""
    return np.unique(_strongest(weights, EXAMPLES))


def _strongest(weights: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the pictures with the largest weight of each group at any position, best first, `[k, count]`."""
    largest = weights.reshape(len(weights), -1, weights.shape[-1]).max(1)
    return np.argsort(-largest, axis=0, kind="stable")[:count].T


def _cell(picture: np.ndarray) -> np.ndarray:
    """A picture in color, scaled so that its height is that of a cell."""
    height, width = picture.shape[:2]
    return drawing.resized(drawing.in_color(picture), (_CELL, max(math.ceil(_CELL * width / height), 1)))


def _framed(picture: np.ndarray, color: tuple, thickness: int = 4) -> np.ndarray:
    framed = picture.copy()
    for edge in (np.s_[:thickness], np.s_[-thickness:], np.s_[:, :thickness], np.s_[:, -thickness:]):
        framed[edge] = color
    return framed
