"""Heatmaps over a picture: saliency, SmoothGrad and Grad-CAM."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis import drawing
from lightjax.analysis.at_layer import (
    Numbers,
    as_data,
    at_layer,
    baseline_of,
    finite,
    mean_gradient,
    one_picture,
    vanished,
)
from lightjax.analysis.reading import Reading, made_with
from lightjax.analysis.rest import Picture, goal_of, opened, shapes_of
from lightjax.objectives import Objective, as_objective


def saliency(
    objective: str | Objective | Callable,
    picture: Picture,
    *,
    model: Model | str | os.PathLike | None = None,
    noise: float = 0.15,
    draws: int = 25,
    seed: int = 0,
) -> "Heatmap":
    """Which pixels change an objective: the size of its gradient, averaged over noisy pictures (SmoothGrad).

    It is good for a first look at which outlines matter. It has no sign, does not sum to the objective, and without
    noise hardly shows a shape. For the shares of channels and places use `attribute`.

    Args:
      objective: Any objective, as for `visualize`.
      picture: One picture: a file, or `[H, W, 3]` in [0, 1].
      model: A network, or the name or path of one for `load_model`; None for the default one.
      noise: Standard deviation of the normal noise, relative to the range of the picture's values. 0 is the plain
        gradient, for which one draw is enough. Noisy pictures may leave [0, 1].
      draws: Number of noisy pictures.
      seed: Chooses the noise.

    Returns:
      The heatmap, `[H, W]`: the size of the mean gradient, of the color for which it is largest.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, or the gradient is 0 everywhere.
      IndexError: If the objective reads a channel or position out of range.
      ArithmeticError: If the gradient is infinite or not a number.
      WeightsError: If the network cannot be found or loaded.

    References:
      Simonyan et al., "Deep Inside Convolutional Networks", 2013; Smilkov et al., "SmoothGrad", 2017.
    """
    noise, draws = _checks.number(noise, "noise", least=0), _checks.count(draws, "draws")
    seed = _checks.whole(seed, "seed", least=0, most=2**32 - 1)
    model = opened(model)
    images = one_picture(picture, model)
    shapes = shapes_of(model, images.shape)
    goal = goal_of(objective, model, shapes)
    spread = np.asarray(noise * (images.max() - images.min()), np.float32)
    keys = jax.random.split(jax.random.key(seed), draws if noise else 1)
    gradient = np.asarray(_smooth(model, as_data(goal), images, spread, keys))
    finite(gradient, "the gradient of the objective")
    if not gradient.any():
        raise vanished(goal, "input")
    settings: dict[str, Any] = {"objective": str(as_objective(objective, shapes)), "method": "saliency"}
    settings |= {"noise": noise, "draws": draws, "seed": seed} if noise else {}
    return Heatmap(made_with(model, images, **settings), images[0], np.abs(gradient[0]).max(-1))


def grad_cam(
    objective: str | Objective | Callable,
    picture: Picture,
    *,
    layer: str,
    model: Model | str | os.PathLike | None = None,
    rectified: bool = True,
) -> "Heatmap":
    """Where the last layers see an objective: channels weighted by their mean gradient (Grad-CAM).

    It is good for the last layer with positions, such as "mixed5b", where it marks objects. In earlier layers the mean
    gradient of a channel says little about its places, and the map is misleading: use `attribute` there.

    Args:
      objective: Any objective, as for `visualize`: of a class a logit, not a probability.
      picture: One picture: a file, or `[H, W, 3]` in [0, 1].
      layer: Name of an activation with positions, `[N, h, w, c]`.
      model: A network, or the name or path of one for `load_model`; None for the default one.
      rectified: Whether to set negative values to 0, as the paper does; Captum does not by default.

    Returns:
      The heatmap, `[h, w]`: `max(sum_c F_c * mean(dS/dF_c), 0)`.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, the layer has no positions, the objective does not depend on it, or
        its gradient is 0 everywhere.
      IndexError: If the objective reads a channel or position out of range.
      ArithmeticError: If the objective or its gradient is infinite or not a number.
      WeightsError: If the network cannot be found or loaded.

    References:
      Selvaraju et al., "Grad-CAM", 2017.
    """
    rectified = _checks.flag(rectified, "rectified")
    cut = at_layer(picture, layer, model, "max")
    if cut.value.ndim != 3:
        raise ValueError(f"layer must have rows and columns, got {layer!r} with {[1, *cut.value.shape]}")
    gradient, _ = mean_gradient(cut, cut.goal(objective), baseline_of(0.0, cut), np.ones(1), np.ones(1))
    values = np.asarray(cut.value) @ gradient.mean((0, 1))
    settings = {"objective": cut.written(objective), "layer": layer, "method": "grad-cam", "rectified": rectified}
    settings = made_with(cut.rest.model, cut.images, **settings)
    return Heatmap(settings, cut.images[0], np.maximum(values, 0) if rectified else values)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Heatmap(Reading):
    """One number for each place of a picture, as `saliency` and `grad_cam` find them.

    It shows the picture, and the numbers over it: red where positive, blue where negative.

    Attributes:
      settings: What it was made with, as plain JSON.
      seen: The picture, `[H, W, C]`.
      values: `[H, W]`, or the size of a layer.
    """

    seen: np.ndarray
    values: np.ndarray

    def picture(self) -> np.ndarray:
        """What a notebook shows, `[H, W, 3]` in [0, 1]."""
        seen = drawing.enlarged(self.seen)
        largest = float(np.quantile(np.abs(self.values), 0.99))  # a single pixel would darken all others
        about = " ".join(str(self.settings[name]) for name in ("method", "layer") if name in self.settings)
        objective = _checks.in_a_line(self.settings["objective"], 100)
        pictures = drawing.beside([seen, drawing.over(seen, self.values, largest)])
        return drawing.captioned(pictures, f"{objective}\n{about}")


@by_structure
def _smooth(model: Model, goal: Objective, images: Numbers, spread: Numbers, keys: Array) -> Array:
    """The mean gradient of an objective over noisy pictures, one after the other."""
    score = lambda images: goal({**call(model, images), "input": images})

    def gradient(total: Array, key: Array) -> tuple[Array, None]:
        noisy = images + spread * jax.random.normal(key, images.shape)
        return total + jax.grad(score)(noisy), None

    return jax.lax.scan(gradient, jnp.zeros_like(images), keys)[0] / len(keys)
