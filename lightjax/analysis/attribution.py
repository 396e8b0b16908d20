"""Attribution: how much each channel and each position of a layer adds to an objective for one picture."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from lightjax import _checks
from lightjax._structure import Model
from lightjax.analysis import drawing
from lightjax.analysis.at_layer import SIDES, ablated, at_layer, baseline_of, mean_gradient
from lightjax.analysis.reading import Reading, made_with
from lightjax.analysis.rest import Picture
from lightjax.objectives import Objective

METHODS = ("gradient", "integrated", "ablation")

_SHARED = 20
"""Entries whose overlap `agreement` reports."""


def attribute(
    objective: str | Objective | Callable,
    picture: Picture,
    *,
    layer: str,
    model: Model | str | os.PathLike | None = None,
    method: str = "gradient",
    pool: str = "max",
    steps: int = 32,
    baseline: ArrayLike = 0.0,
    progress: bool = True,
) -> "Attribution":
    """How much each channel and each position of a layer adds to an objective, for one picture.

    The three methods answer different questions:

    - "gradient": activation times gradient. It estimates the effect of taking out one channel, and orders channels
      best; it does not sum to the objective.
    - "integrated": activation times the mean gradient on the straight way from the baseline, in the layer. It sums to
      the objective's difference, up to `gap`; it predicts single channels less well.
    - "ablation": what is lost when one channel, or one position, is set to the baseline: exact, and slower. It has no
      number for each entry, so `values` is None.

    Use a logit or a difference of logits as objective, not a probability: that of a sure class hardly has a gradient.

    Examples:
      >>> both = "class_logit('golden retriever') - class_logit('tiger cat')"
      >>> attribution = lj.attribute(both, "dog_cat.jpg", layer="mixed4d")
      >>> attribution.strongest(3), attribution.agreement()

    Args:
      objective: Any objective, as for `visualize`: a class, a neuron, a direction, a sum, a function. It may read the
        layer and what is computed from it.
      picture: One picture: a file, or `[H, W, 3]` in [0, 1].
      layer: Name of an activation, `[N, h, w, c]`, `[N, T, c]` or `[N, c]`. It may be one of several branches.
      model: A network, or the name or path of one for `load_model`; None for the default one. Its rectifiers have
        their true gradient.
      method: "gradient", "integrated" or "ablation".
      pool: Rule for the gradient of max pools, see `ops.pooling`. In GoogLeNet, "max" agrees best with ablation for
        channels, and only with it is "integrated" complete; "relaxed" agrees better for positions.
      steps: Points on the way of "integrated" (Gauss and Legendre's).
      baseline: What stands for an absent activation: a number, or numbers for each channel or entry of the layer.
      progress: Whether to show a progress bar if there are several batches.

    Returns:
      The attribution, which shows and saves itself.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, nothing is computed from the layer, the objective does not depend on
        it, or its gradient is 0 everywhere, as that of a unit that is off.
      IndexError: If the objective reads a channel or position out of range.
      ArithmeticError: If the objective or its gradient is infinite or not a number.
      WeightsError: If the network cannot be found or loaded.

    References:
      Olah et al., "The Building Blocks of Interpretability", Distill, 2018; Sundararajan et al., "Axiomatic Attribution
      for Deep Networks", 2017; Captum, `LayerGradientXActivation` and `LayerIntegratedGradients`.
    """
    method = _checks.one_of(method, METHODS, "method")
    steps, progress = _checks.count(steps, "steps"), _checks.flag(progress, "progress")
    cut = at_layer(picture, layer, model, pool)
    goal = cut.goal(objective)
    start = baseline_of(baseline, cut)
    settings: dict[str, Any] = {"objective": cut.written(objective), "layer": layer, "method": method}
    settings |= {"pool": pool} if method != "ablation" else {}
    settings |= {"steps": steps} if method == "integrated" else {}
    settings["baseline"] = float(start.flat[0]) if np.ndim(baseline) == 0 else "an array"
    settings = made_with(cut.rest.model, cut.images, **settings)
    values, ends = None, np.zeros(2)
    sides: dict[str, Any] = {"positions": None}
    if method == "ablation":
        for side in cut.sides():
            sides[side], ends = ablated(cut, goal, start, side, progress)
    else:
        nodes, weights = np.ones(1), np.ones(1)
        if method == "integrated":
            nodes, weights = np.polynomial.legendre.leggauss(steps)
            nodes, weights = (nodes + 1) / 2, weights / 2
        gradient, ends = mean_gradient(cut, goal, start, nodes, weights, progress)
        values = (np.asarray(cut.value) - start) * gradient
        sides["channels"] = values.reshape(-1, values.shape[-1]).sum(0)
        sides["positions"] = values.sum(-1) if values.ndim > 1 else None
    found = Attribution(settings, cut.images[0], values=values, score=float(ends[0]), start=float(ends[1]), **sides)
    _checks.keep(found, _effects=lambda side: ablated(cut, goal, start, side, progress)[0])
    return found


class Agreement(NamedTuple):
    """How well an attribution predicts the effects of ablation.

    Attributes:
      pearson: Correlation.
      spearman: Correlation of the ranks.
      slope: Effect for each unit of attribution, by least squares; 1 if sizes agree too.
      shared: Share of the 20 largest attributions, of either sign, that are among the 20 largest effects. Of fewer
        than 80 entries it is the largest quarter.
    """

    pearson: float
    spearman: float
    slope: float
    shared: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Attribution(Reading):
    """How much each part of a layer adds to an objective, as `attribute` finds it.

    It shows the picture, the positions over it (red for, blue against), and the strongest channels.

    Attributes:
      settings: What it was made with, as plain JSON.
      seen: The picture, `[H, W, C]`.
      channels: The share of each channel, `[c]`: the sum over positions; the effect of ablating it if so made.
      positions: The share of each position, `[h, w]` or `[T]`: the sum over channels, or the effect of ablating it;
        None if the layer has none.
      values: The share of each entry, `[h, w, c]`, `[T, c]` or `[c]`; None for ablation.
      score: The objective.
      start: The objective with the whole layer at the baseline.
    """

    seen: np.ndarray
    channels: np.ndarray
    positions: np.ndarray | None
    values: np.ndarray | None
    score: float
    start: float

    _effects: ClassVar[Callable[[str], np.ndarray] | None] = None  # of the instance, where `attribute` made it

    @property
    def total(self) -> float:
        """The sum over channels."""
        return float(self.channels.sum())

    @property
    def difference(self) -> float:
        """The objective minus that of the baseline: what a complete attribution sums to."""
        return self.score - self.start

    @property
    def gap(self) -> float:
        """What `total` misses of `difference`, relative to the sizes of both objectives; 0 if complete.

        (total - difference) / (|score| + |start|). Relative to the difference it would say nothing where the objective
        hardly changes. It measures the error of "integrated"; other methods are not meant to be complete.
        """
        missed, size = self.total - self.difference, abs(self.score) + abs(self.start)
        return missed / size if size else float(np.copysign(np.inf, missed)) if missed else 0.0

    def strongest(self, count: int = 6) -> list[int]:
        """The channels with the largest positive shares, then those with the largest negative ones, largest last.

        Args:
          count: Most channels of each kind.
        """
        count = _checks.count(count, "count")
        order = np.argsort(-self.channels, kind="stable")
        positive, negative = order[self.channels[order] > 0], order[self.channels[order] < 0]
        return [int(channel) for channel in (*positive[:count], *negative[-count:])]

    def agreement(self, by: str = "channels", ablation: "Attribution | None" = None) -> Agreement:
        """How well it predicts the effects of ablation: of setting each channel, or each position, to the baseline.

        Args:
          by: "channels" or "positions".
          ablation: The same made with method="ablation". By default it is computed, with the same network, objective
            and baseline: one run of the rest of the network for each channel or position, 32 at a time.

        Raises:
          TypeError: If `ablation` is something else.
          ValueError: If there are no positions, `ablation` belongs to another layer, or it must be given because this
            attribution was read from a file; if all shares or all effects are equal.
        """
        by = _checks.one_of(by, SIDES, "by")
        shares = self.channels if by == "channels" else self.positions
        if shares is None:
            raise ValueError(f"by must be 'channels': layer {self.settings['layer']!r} has no positions")
        if ablation is not None:
            if not isinstance(ablation, Attribution) or ablation.settings["method"] != "ablation":
                raise TypeError(f"ablation must be made with method='ablation', got {_checks.shown(ablation)}")
            effects = ablation.channels if by == "channels" else ablation.positions
        elif self._effects is None:
            raise ValueError("ablation must be given, lj.attribute(..., method='ablation'): this was read from a file")
        else:
            effects = self._effects(by)
        if effects is None or effects.shape != shares.shape:
            raise ValueError(f"ablation must be of the same layer, {self.settings['layer']!r}")
        return agreement(shares.ravel(), effects.ravel())

    def picture(self, sprites: Mapping[int, np.ndarray] | None = None) -> np.ndarray:
        """What a notebook shows, `[H, W, 3]` in [0, 1].

        Args:
          sprites: Pictures of channels by number, `[h, w, 3]`, shown below with their shares; for example
            `{c: lj.visualize(f"mixed4d:{c}").image for c in attribution.strongest()}`.
        """
        seen = drawing.enlarged(self.seen)
        network = self.settings["model"].partition("@")[0]
        parts = [drawing.captioned(seen, network)]
        if self.positions is not None and self.positions.ndim == 2:
            title = f"{self.settings['layer']}: red for, blue against"
            parts.append(drawing.captioned(drawing.over(seen, self.positions), title))
        elif self.positions is not None:
            order = np.argsort(-np.abs(self.positions), kind="stable")[:12]
            parts.append(drawing.bars([f"token {t}" for t in order], self.positions[order].tolist()))
        strongest = self.strongest()
        shares = self.channels[strongest]
        if strongest:
            parts.append(drawing.bars([str(channel) for channel in strongest], shares.tolist()))
        body = drawing.beside(parts)
        if sprites:
            chosen = [channel for channel in strongest if channel in sprites]
            small = [drawing.resized(drawing.in_color(np.asarray(sprites[channel])), (80, 80)) for channel in chosen]
            texts = [f"{channel}: {self.channels[channel]:+.2g}" for channel in chosen]
            rows = [drawing.captioned(one, text) for one, text in zip(small, texts, strict=True)]
            body = drawing.stacked([body, *([drawing.beside(rows)] if rows else [])])
        objective = _checks.in_a_line(self.settings["objective"], 100)
        sums = (
            f"{self.settings['method']}: sum {self.total:.3g}; {self.score:.3g}, and {self.start:.3g} without the layer"
        )
        return drawing.captioned(body, f"{objective}\n{sums}")


def agreement(shares: np.ndarray, effects: np.ndarray) -> Agreement:
    """Compare attributed shares with the effects of ablation, `[n]` each.

    Raises:
      ValueError: If all shares or all effects are equal.
    """
    x, y = (np.asarray(a, np.float64) - np.mean(a, dtype=np.float64) for a in (shares, effects))
    if not (x.any() and y.any()):
        raise ValueError("agreement needs shares and effects of ablation that differ, but all are equal")
    count = min(_SHARED, max(len(x) // 4, 1))
    largest = [set(np.argsort(-np.abs(a), kind="stable")[:count]) for a in (shares, effects)]
    return Agreement(
        pearson=_correlation(x, y),
        spearman=_correlation(_ranks(x), _ranks(y)),
        slope=float(x @ y / (x @ x)),
        shared=len(largest[0] & largest[1]) / count,
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks with mean 0; equal entries share their mean rank."""
    _, place, number = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(number) - (number - 1) / 2)[place] - (len(x) + 1) / 2
