"""The activation grid: what a network sees at each position of a photograph, as one picture for each position."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks, objectives
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis import drawing, grid_section, page
from lightjax.analysis.grid_section import CROP
from lightjax.analysis.reading import Reading, made_with
from lightjax.analysis.rest import Picture, Rest, images_of, opened, pushed_forward, rest, shapes_of
from lightjax.networks.cuts import DeadEnd
from lightjax.objectives.names import known
from lightjax.objectives.units import LOGITS
from lightjax.render import visualize_many
from lightjax.result import NonFiniteError

GROUND = 0.93
"""The gray behind cells that are smaller than their places."""

STRONGEST = 5
"""Channels and classes that are listed for each position."""


class Strongest(NamedTuple):
    """The strongest channels or classes of each position, the strongest first.

    Attributes:
      numbers: Their numbers, `[h, w, n]`.
      values: Their activations, or the evidence for them, `[h, w, n]`.
    """

    numbers: np.ndarray
    values: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Grid(Reading):
    """One picture for each position of a layer, as `activation_grid` makes it. It shows itself in a notebook.

    Attributes:
      photograph: What the network saw, `[H, W, C]` in [0, 1].
      pictures: The cells, `[h, w, size, size, C]` in [0, 1]; gray where no channel is active.
      vectors: The activations of the layer, `[h, w, c]`.
      evidence: What each position adds to each logit, activation times gradient, `[h, w, classes]`; no classes if the
        network has no layer of logits, or does not compute them from this layer.
      class_names: Names of the classes; empty if the network has none.
      sized: Whether the area of a cell is proportional to the length of its vector.
    """

    photograph: np.ndarray
    pictures: np.ndarray
    vectors: np.ndarray
    evidence: np.ndarray
    class_names: list[str]
    sized: bool

    @property
    def strengths(self) -> np.ndarray:
        """The length of the vector of each position, `[h, w]`; 0 where the cell is blank."""
        return np.linalg.norm(self.vectors, axis=-1)

    @property
    def sides(self) -> np.ndarray:
        """The side of each cell in parts of its place, `[h, w]`: in [0, 1], and 0 for blank cells."""
        strengths = self.strengths
        return np.sqrt(strengths / strengths.max()) if self.sized else (strengths > 0).astype(np.float32)

    @property
    def channels(self) -> Strongest:
        """The channels with the largest activations at each position."""
        return _strongest(self.vectors)

    @property
    def classes(self) -> Strongest:
        """The classes that each position adds most to."""
        return _strongest(self.evidence)

    def picture(self) -> np.ndarray:
        """All cells as one picture, each without 2 pixels at its sides, on gray if they have different sizes."""
        cells = self.pictures[:, :, CROP:-CROP, CROP:-CROP]
        height, width, side, _, _ = cells.shape
        whole = np.full((height * side, width * side, 3), GROUND, np.float32)
        for (row, column), part in np.ndenumerate(self.sides):
            pixels = round(float(part) * side)
            if pixels:
                cell = drawing.in_color(cells[row, column])
                cell = cell if pixels == side else drawing.resized(cell, (pixels, pixels))
                top, left = row * side + (side - pixels) // 2, column * side + (side - pixels) // 2
                whole[top : top + pixels, left : left + pixels] = cell
        return whole

    def save_page(
        self,
        path: str | os.PathLike,
        *,
        sprites: str | os.PathLike | Mapping[int, np.ndarray] | None = None,
    ) -> Path:
        """Write a page on which each cell shows its channels, its classes and its place in the photograph.

        The page is one file, which opens from disk and needs no connection.

        Args:
          path: The page, NAME.html; or a folder for its index.html, which is made if it is not there.
          sprites: Pictures of the channels, which stand beside their names (a semantic dictionary): the folder of a
            gallery of this layer, or pictures `[H, W, C]` in [0, 1] by channel.

        Returns:
          The page.

        Raises:
          TypeError, ValueError: If an argument is wrong, or the gallery has no picture of a channel of this layer.
          OSError: If the page cannot be written; no half-written file is left.
        """
        title = f"{self.settings['layer']} of {self._model}"
        return page.write(path, title=title, settings=self.settings, sections=[self.section(sprites)])

    def section(self, sprites: str | os.PathLike | Mapping[int, np.ndarray] | None = None) -> page.Section:
        """The grid as a part of a page, for `page.write`; `sprites` as for `save_page`."""
        return grid_section.section(self, sprites)

    def __repr__(self) -> str:
        blank = int((self.strengths == 0).sum())
        said = f", {blank} of them blank because no channel is active there" if blank else ""
        height, width = self.strengths.shape
        return f"<Grid: {height}x{width} cells of {self.settings['layer']} of {self._model}{said}>"

    @property
    def _model(self) -> str:
        return self.settings["model"].partition("@")[0]


def activation_grid(
    picture: Picture,
    layer: str,
    *,
    model: Model | str | os.PathLike | None = None,
    size: int = 48,
    steps: int = 64,
    sized: bool = True,
    power: float = 4,
    seed: int = 0,
    progress: bool = True,
) -> Grid:
    """Show what a network sees at each position of a photograph.

    The activations at a position are a direction among the channels. For each position a small picture is optimized
    whose center has this direction, all in one program. They have one seed, so equal vectors give equal pictures, and
    similar ones pictures that fit together.

    Examples:
      >>> lj.activation_grid("dog_cat.jpg", "mixed4d").save_page("grid.html")

    Args:
      picture: A photograph: a file, which is scaled and cropped to 224 pixels or to what the network takes, or
        `[H, W, C]` in [0, 1].
      layer: Name of an activation with positions, `[N, h, w, c]`.
      model: A network, or the name or path of one for `load_model`; by default "bvlc_googlenet".
      size: Side of each picture in pixels, at least 8.
      steps: Number of updates of each picture.
      sized: Whether the area of a cell is proportional to the length of its vector.
      power: Weight of the angle relative to the length (see `objectives.direction_neuron`).
      seed: Seed of all pictures.
      progress: Whether to show a progress bar.

    Returns:
      The pictures, with the strongest channels of each position, and the classes that it adds most to: the activations
      times their gradient, for each logit. Where no channel is active the cell is blank.

    Raises:
      TypeError, ValueError: If an argument is wrong, the layer has no positions, or no channel is active anywhere.
      ArithmeticError: If an activation is not finite.
      NonFiniteError: If a picture's objective stops being finite.
      WeightsError: If the network cannot be found or loaded.
      OSError: If the picture cannot be read.

    References:
      Olah et al., "The Building Blocks of Interpretability", Distill, 2018; Lucid's notebook ActivationGrid. There
      the pictures share parameters to fit together, and the objective is the dot product.
    """
    layer = _checks.text(layer, "layer")
    size, steps = _checks.count(size, "size", least=8), _checks.count(steps, "steps", least=0)
    sized, progress = _checks.flag(sized, "sized"), _checks.flag(progress, "progress")
    model = opened(model)
    images = images_of(picture, model)
    if len(images) != 1:
        raise ValueError(f"picture must be one picture, got {len(images)}")
    shapes = {name: shape for name, shape in shapes_of(model, images.shape).items() if name != "input"}
    shape = shapes[known(layer, shapes)].shape
    if len(shape) != 4:
        raise ValueError(f"layer must have positions, [N, h, w, c], but {layer!r} has {list(shape)}")
    values = _values(model, images, layer)
    vectors = np.asarray(values[0], np.float32)
    if not np.isfinite(vectors).all():
        raise ArithmeticError(f"{layer} has activations that are infinite or not numbers for this picture")
    lengths = np.linalg.norm(vectors, axis=-1)
    active = lengths > 0
    if not active.any():
        raise ValueError(f"no channel of {layer} is active anywhere in this picture: there is nothing to show")
    goal = objectives.direction_neuron(layer, vectors[active] / lengths[active][:, None], power=power)
    renders = visualize_many(goal, model=model, size=size, steps=steps, seed=seed, progress=progress)
    results = renders.in_order()
    if len(results) < active.sum() or any(result.interrupted for result in results):
        raise KeyboardInterrupt
    for result in results:
        if result.failed is not None:
            raise NonFiniteError(result.failed, result)
    pictures = np.full((*active.shape, *results[0].image.shape), GROUND, np.float32)
    pictures[active] = [result.image for result in results]
    return Grid(
        settings=made_with(model, images, layer=layer, size=size, steps=steps, power=float(power), seed=int(seed)),
        photograph=images[0],
        pictures=pictures,
        vectors=vectors,
        evidence=_evidence(model, images, values, layer, shapes),
        class_names=list(getattr(model, "class_names", ())),
        sized=sized,
    )


@by_structure
def _values(model: Model, images: np.ndarray, layer: str) -> Array:
    return call(model, jnp.asarray(images))[layer]


def _evidence(model: Model, images: np.ndarray, values: Array, layer: str, shapes: Mapping[str, Any]) -> np.ndarray:
    """Activation times gradient of each position for each logit, `[h, w, classes]`; no classes without logits."""
    logits = getattr(model, "logits", LOGITS)
    nothing = np.zeros((*values.shape[1:3], 0), np.float32)
    if logits not in shapes or len(shapes[logits].shape) != 2:
        return nothing
    try:
        later = rest(model, layer, size=images.shape[1:3])
    except DeadEnd:
        return nothing
    if logits == layer or logits not in jax.eval_shape(later, values, images):
        return nothing
    rows = jnp.arange(values.shape[1])  # one by one: in a compiled loop, convolutions take five times as long on a CPU
    return np.stack([np.asarray(_added(later, jnp.asarray(images), values, row, logits), np.float32) for row in rows])


@by_structure
def _added(later: Rest, images: Array, values: Array, row: Array, logits: str) -> Array:
    """The derivative of all logits in the direction of the activations of each position of a row, `[w, classes]`."""
    height, width = values.shape[1:3]
    here = (jnp.arange(height) == row)[:, None] & jnp.eye(width, dtype=bool)[:, None]  # [positions, h, w]
    changes = jnp.where(here[:, None, :, :, None], values, 0)
    push = lambda change: pushed_forward(lambda v: later(v, images)[logits][0], values, change)[1]
    return jax.vmap(push)(changes)


def _strongest(values: np.ndarray) -> Strongest:
    """The largest numbers along the last axis; of equal ones the first."""
    numbers = np.argsort(-values, axis=-1, kind="stable")[..., :STRONGEST]
    return Strongest(numbers, np.take_along_axis(values, numbers, -1))
