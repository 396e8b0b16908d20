"""Circuits: the weights by which the channels of one layer excite or inhibit those of a later one."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightjax import _checks
from lightjax._structure import Model
from lightjax.analysis import circuits_section, drawing, kernels, linearized, page
from lightjax.analysis.faithfulness import Faithfulness, Place, compared, mean_jacobian
from lightjax.analysis.kernels import Families, Kernels
from lightjax.analysis.reading import Reading, made_with
from lightjax.analysis.rest import opened
from lightjax.contracts import own_size

SHOWN = 8
"""Units that the picture of weights has."""


def expanded_weights(
    source: str,
    target: str,
    *,
    units: int | Iterable[int] | None = None,
    model: Model | str | os.PathLike | None = None,
    size: int | tuple[int, int] | None = None,
    progress: bool = True,
) -> "ExpandedWeights":
    """The weights from the channels of one layer to those of a later one, over all layers between them.

    They are the gradient of each target channel, at the center of its map, with respect to the source map. The network
    is made linear for that: rectifiers pass everything, and max pools are means. Neither biases nor the picture
    matter then. Local response norms only divide by a constant, `bias**beta`: 1 in bvlc_googlenet. The weights are
    those of the network where the path is linear already. Otherwise they are its expected gradient, up to a factor for
    each unit, if all units between are active equally often and independently; `ExpandedWeights.faithfulness` measures
    how nearly.

    Examples:
      >>> weights = lj.expanded_weights("mixed3a", "mixed3b")
      >>> weights.reads(179)

    Args:
      source: The layer that is read, `[N, h, w, c]`. If it is one of several branches, the weights are those of the
        paths through it.
      target: The layer that reads, `[N, h, w, c]`.
      units: Channels of the target; all by default.
      model: A network, or the name or path of one for `load_model`; the default network if it is None.
      size: Height and width of the pictures, in pixels, that the maps belong to. By default they are as small as the
        receptive field allows, or the only size that the network takes.
      progress: Whether to show a progress bar.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If a layer is unknown or has no map, the target is not computed from the source, its receptive field
        does not fit into the map, or the way has operations that are not linear, other than rectifiers and max pools.
      IndexError: If the target has no such channel.
      ArithmeticError: If a weight is infinite or not a number.
      WeightsError: If the network cannot be found or loaded.

    References:
      Voss et al., "Visualizing Weights", Distill 2021; Captum, `optim.circuits.extract_expanded_weights`.
    """
    source, target = _checks.text(source, "source"), _checks.text(target, "target")
    progress = _checks.flag(progress, "progress")
    wanted = None if units is None else np.ravel(_checks.wholes(units, "units", least=0))
    fixed = None if size is None else _checks.height_and_width(size)
    network = opened(model)
    fixed = fixed or own_size(network)
    view = linearized.view_of(network, source, target)
    if fixed is not None:
        sizes = iter([fixed])
    else:
        view = view or linearized.looked(network, source, target)
        sizes = linearized.sizes(network, source, view)
    problem = ""
    for picture in sizes:
        maps = linearized.maps_of(network, source, target, picture)
        chosen = _chosen(wanted, maps)
        rows = linearized.gradients(maps, chosen, progress)
        if linearized.is_whole(rows[-1], None if view is None else view.field):
            return _cropped(network, maps, chosen, rows)
        problem = linearized.too_large(maps)
    raise ValueError(problem)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ExpandedWeights(Reading):
    """The weights by which units read the channels of an earlier layer, as `expanded_weights` gives them.

    Attributes:
      weights: `[units, channels, h, w]`; positive ones excite, negative ones inhibit.
      source: The layer that is read.
      target: The layer of the units.
      units: The units, channels of the target.
      size: Height and width of the pictures that the source map belongs to, from which the weights were cropped.
      corner: Row and column of this map where the weights begin.
    """

    weights: np.ndarray
    source: str
    target: str
    units: list[int]
    size: list[int]
    corner: list[int]

    @property
    def strengths(self) -> np.ndarray:
        """The Euclidean length of each kernel, `[units, channels]`."""
        return kernels.lengths(self.weights)

    def reads(self, unit: int, number: int = 6) -> Kernels:
        """The channels of the source that a unit reads most, by the length of their kernels, and these kernels.

        Args:
          unit: A channel of the target.
          number: How many; fewer if there are fewer.

        Raises:
          TypeError: If an argument is no whole number.
          ValueError: If the weights do not have this unit, or `number` is less than 1.
        """
        own = self.weights[self._place(unit, "unit")]
        channels, share = kernels.strongest(own, _checks.count(number, "number"))
        title = f"{self.target}:{unit} reads {self.source}"
        return Kernels(self.settings, title, self.source, channels, own[channels], share)

    def feeds(self, channel: int, number: int = 6) -> Kernels:
        """The units of the target that read a channel most, by the length of their kernels, and these kernels.

        Args:
          channel: A channel of the source.
          number: How many; fewer if there are fewer.

        Raises:
          TypeError: If an argument is no whole number.
          ValueError: If `number` is less than 1.
          IndexError: If the source has no such channel.
        """
        channel, channels = _checks.whole(channel, "channel", least=0), self.weights.shape[1]
        if channel >= channels:
            raise IndexError(
                f"channel must be one of {self.source!r}, from 0 to {channels - 1}, got {_checks.shown(channel)}"
            )
        own = self.weights[:, channel]
        places, share = kernels.strongest(own, _checks.count(number, "number"))
        title = f"{self.source}:{channel} feeds {self.target}"
        return Kernels(self.settings, title, self.target, [self.units[i] for i in places], own[places], share)

    def families(self, units: int | Iterable[int], number: int = 2) -> Families:
        """What the kernels of some units share: a few directions in the source, and where each unit reads them.

        The weights are factored along the channels, positive and negative ones apart (one-sided non-negative matrix
        factorization). Three directions of one unit are a way to see its whole weights; two of several units show
        what makes them a family.

        Args:
          units: Channels of the target.
          number: How many directions.

        Raises:
          TypeError: If an argument is no whole number.
          ValueError: If the weights do not have a unit, or `number` is less than 1 or more than they allow.
          ImportError: If scikit-learn is not installed.
        """
        chosen = np.ravel(_checks.wholes(units, "units", least=0))
        places = [self._place(int(unit), "units") for unit in chosen]
        names = [f"{self.target}:{unit}" for unit in chosen]
        count = _checks.count(number, "number")
        return kernels.families(self.weights[places], count, names, self.source, self.settings)

    def faithfulness(
        self,
        photographs: Any,
        *,
        number: int = 25,
        positions: int = 25,
        seed: int = 0,
        model: Model | str | os.PathLike | None = None,
        progress: bool = True,
    ) -> Faithfulness:
        """How well the weights agree with the network itself: with its Jacobian at places in photographs, averaged.

        Rectifiers and max pools are the true ones here. The average is over the places where the unit's own rectifier
        is open. The places are drawn among those whose receptive field lies
        inside of the map. It takes one gradient for each unit and each place.

        Args:
          photographs: A folder, or several files or pictures `[H, W, C]` in [0, 1].
          number: How many photographs to take, at most.
          positions: How many places in each, at most.
          seed: Chooses both.
          model: The network that the weights are of; the default network if it is None.
          progress: Whether to show a progress bar.

        Raises:
          TypeError: If an argument has a wrong type.
          ValueError: If the model is another one, a photograph is too small or no picture, no photograph excites a
            unit, or the target is not computed from the source alone.
          OSError: If there is no such folder or file.
        """
        network = opened(model)
        count, places = _checks.count(number, "number"), _checks.count(positions, "positions")
        seed, progress = _checks.whole(seed, "seed", least=0), _checks.flag(progress, "progress")
        own, other = self.settings["model"], made_with(network)["model"]
        if own != other:
            raise ValueError(f"model must be the one of these weights, {own!r}, got {other!r}: give model=")
        place = Place(
            self.source,
            self.target,
            tuple(self.units),
            (self.size[0], self.size[1]),
            (self.corner[0], self.corner[1]),
            (self.weights.shape[2], self.weights.shape[3]),
        )
        jacobian, active, count, places = mean_jacobian(network, place, photographs, count, places, seed, progress)
        about = {**self.settings, "photographs": count, "positions": places, "seed": seed}
        return compared(self.weights, jacobian, active, about)

    def save_page(
        self,
        path: str | os.PathLike,
        *,
        also: "Iterable[ExpandedWeights]" = (),
        number: int = 8,
        sprites: str | os.PathLike | Mapping[str, np.ndarray] | None = None,
    ) -> Path:
        """Write a page to explore the weights: each unit with what it reads and what it feeds, and links between units.

        The page is one file, which opens from disk. It asks nothing of a network. The address of a unit ends with its
        name: circuits.html#mixed3b:179.

        Args:
          path: The page, NAME.html; or a folder for its index.html, which is made if it is not there.
          also: Weights between other layers of the same network, such as those from this target to a later layer.
          number: How many kernels that excite a unit are shown, and how many that inhibit it: the longest ones.
          sprites: Pictures of the units: the folder of a gallery of these layers, or pictures `[H, W, C]` in [0, 1] by
            name, such as "mixed3a:5".

        Returns:
          The page.

        Raises:
          TypeError, ValueError: If an argument is wrong, two of the weights are between the same layers or not of one
            network, or the gallery has no picture of these layers.
          OSError: If the page cannot be written; no half-written file is left.
        """
        every = [self, *_checks.several(also, "also", "weights")]
        between = set()
        for one in every:
            if not isinstance(one, ExpandedWeights):
                raise TypeError(f"also must be weights that lj.expanded_weights gave, got {_checks.shown(one)}")
            if one.settings["model"] != self.settings["model"]:
                raise ValueError(f"also must be of the same network, {self.settings['model']!r}, got another one")
            if (one.source, one.target) in between:
                raise ValueError(f"also must be between other layers, got {one.source!r} to {one.target!r} twice")
            between.add((one.source, one.target))
        section = circuits_section.section(every, _checks.count(number, "number"), sprites)
        title = f"Circuits of {self.settings['model'].partition('@')[0]}"
        about = {name: value for name, value in self.settings.items() if name not in ("source", "target")}
        return page.write(path, title=title, sections=[section], settings={**about, "weights": section.title})

    def picture(self) -> np.ndarray:
        """The first units, each with the six kernels that are strongest."""
        return drawing.stacked([self.reads(unit).picture() for unit in self.units[:SHOWN]], 16)

    def _place(self, unit: int, what: str) -> int:
        unit = _checks.whole(unit, what, least=0)
        if unit not in self.units:
            raise ValueError(f"{what} must be one of those with weights here, got {_checks.shown(unit)}: see .units")
        return self.units.index(unit)


def _chosen(units: np.ndarray | None, maps: linearized.Maps) -> list[int]:
    """The units, each once.

    Raises:
      IndexError: If there is no such unit.
    """
    channels = maps.reading[2]
    if units is None:
        return list(range(channels))
    if units.max() >= channels:
        raise IndexError(f"units must be channels of {maps.target!r}, from 0 to {channels - 1}, got {units.max()}")
    return list(dict.fromkeys(int(unit) for unit in units))


def _cropped(model: Model, maps: linearized.Maps, units: list[int], found: np.ndarray) -> "ExpandedWeights":
    rows, columns = linearized.box(found[-1])
    weights = found[:-1, rows.start : rows.stop, columns.start : columns.stop].transpose(0, 3, 1, 2)
    height, width, _ = maps.cut.picture
    source, target = maps.cut.layer, maps.target
    return ExpandedWeights(
        made_with(model, source=source, target=target),
        np.ascontiguousarray(weights),
        source,
        target,
        units,
        [height, width],
        [rows.start, columns.start],
    )
