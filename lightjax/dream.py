"""DeepDream: a photograph in which a network sees more and more of what it knows, from large things to small ones."""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from PIL import Image

from lightjax import _checks, images, networks, objectives, transforms
from lightjax._structure import Model
from lightjax.contracts import accepts_relu
from lightjax.images import Size
from lightjax.objectives import Objective
from lightjax.optimize import clamp_params
from lightjax.pictures import load_picture
from lightjax.recipe import Recipe
from lightjax.render import render
from lightjax.result import Result

_MOST_OCTAVES = 64
"""Most sizes of a dream."""


def dream(
    picture: ArrayLike | str | os.PathLike,
    objective: str | Objective | Callable = "mixed4c",
    *,
    octaves: int = 4,
    scale: float = 1.4,
    steps: int = 20,
    rate: float = 1.5 / 255,
    jitter: int = 32,
    size: Size | None = None,
    model: Model | str | None = None,
    relu: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Result:
    """Dream into a picture (DeepDream): strengthen what a layer sees in it, at several sizes one after the other.

    The picture is made small, changed, and enlarged, again and again. Each size, an octave, starts from the picture
    itself plus the changes made so far, so large things come first and get their details later, and the photograph
    stays sharp. Each size is compiled once, whatever the picture.

    Examples:
      >>> lj.dream("photograph.jpg", "mixed4c", size=(480, 640)).save("dream.png")

    Args:
      picture: A file, or `[H, W, 3]` in [0, 1].
      objective: The name of a layer, whose mean square is maximized (`objectives.deepdream`), or any objective.
      octaves: Number of sizes.
      scale: Each size divided by the one before, greater than 1.
      steps: Number of updates at each size (10 in the notebook named below).
      rate: Mean change of a value of the picture, which is in [0, 1], in one update: the gradient is divided by its
        mean magnitude.
      jitter: Number of pixels by which the picture is shifted at random in each update, at most.
      size: Pixels of the result; a file is scaled and cropped to it. By default the size of the picture.
      model: As for `visualize`.
      relu: As for `visualize`, but "plain" by default if the model has a keyword `relu`.
      seed: Seed of the shifts.
      progress: Whether to show a progress bar for each size.

    Returns:
      The picture, and the values of the objective at all sizes in a row. Ctrl-C returns the changes made so far.

    Raises:
      ValueError, TypeError, IndexError: If an argument is wrong.
      WeightsError: If the network cannot be found or loaded.
      NonFiniteError: If the objective or its gradient stops being finite.

    References:
      Mordvintsev et al., "Inceptionism: Going Deeper into Neural Networks", Google Research blog, 2015; numbers as in
      the notebook published with it.
    """
    octaves, jitter = _checks.count(octaves, "octaves"), _checks.count(jitter, "jitter", least=0)
    _checks.whole(octaves, "octaves", most=_MOST_OCTAVES)
    scale, rate = _checks.number(scale, "scale", above=1), _checks.number(rate, "rate", above=0)
    steps, seed = _checks.count(steps, "steps", least=0), _checks.whole(seed, "seed", least=0, most=2**32 - 1)
    _checks.flag(progress, "progress")
    if not isinstance(objective, str):
        objective = objectives.as_objective(objective)
    photograph = _photograph(picture, size)
    sizes = _sizes(photograph.shape[:2], octaves, scale, jitter)
    if model is None or isinstance(model, str | os.PathLike):
        model = networks.load_model(*() if model is None else (model,))
    settings: Any = {
        "model": model,
        "transform": transforms.compose(transforms.Pad(jitter, "reflect"), transforms.Jitter(2 * jitter)),
        "optimizer": _ascent(rate),
        "relu": "plain" if relu is None and accepts_relu(model) else relu,
        "steps": steps,
        "seed": seed,
    }
    changes, results = np.zeros_like(photograph), []
    for height, width in sizes:
        small = np.clip(_resized(photograph, height, width), 0, 1)
        start = np.clip(small + _resized(changes, height, width), 0, 1)
        image = images.image((height, width), basis=images.Pixels(), color="rgb", squash="clamp")
        recipe = Recipe.of(None, image=image, start=start, **settings)
        if isinstance(objective, str) and objective in recipe.shapes:
            goal = objectives.deepdream(objective)
        else:
            goal = objectives.as_objective(objective)
        recipe.check(goal)
        results.append(render(dataclasses.replace(recipe, objective=goal), progress=progress))
        changes = results[-1].image - small
        if results[-1].interrupted:
            break
    made = f"dream(octaves={octaves}, scale={scale}, rate={rate:.6g}, jitter={jitter})"
    return dataclasses.replace(
        results[-1],
        images=np.clip(photograph + _resized(changes, *photograph.shape[:2]), 0, 1)[None],
        values=np.concatenate([result.values for result in results]),
        settings=results[-1].settings | {"optimizer": {"python": made}, "size": list(photograph.shape[:2])},
    )


def _photograph(picture: ArrayLike | str | os.PathLike, size: Size | None) -> np.ndarray:
    """The picture, `[H, W, 3]` float32 in [0, 1], of the given size."""
    if isinstance(picture, str | os.PathLike):
        return load_picture(_checks.path(picture, "picture"), size)
    pixels = _checks.array(picture, "picture")
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or not ((pixels >= 0) & (pixels <= 1)).all():
        raise ValueError(f"picture must be a file, or [H, W, 3] with values in [0, 1], got {list(pixels.shape)}")
    pixels = pixels.astype(np.float32)
    return pixels if size is None else np.clip(_resized(pixels, *_checks.height_and_width(size)), 0, 1)


def _sizes(largest: tuple[int, ...], octaves: int, scale: float, jitter: int) -> list[tuple[int, int]]:
    """Height and width of each octave, the smallest first."""
    height, width = largest
    factors = [scale**-octave for octave in reversed(range(octaves))]
    sizes = [(round(height * factor), round(width * factor)) for factor in factors]
    if min(sizes[0]) <= jitter:
        raise ValueError(
            f"jitter must be less than the sides of the smallest octave, {sizes[0][0]}x{sizes[0][1]} pixels, "
            f"got {jitter}: use fewer octaves, a smaller jitter, or a larger size"
        )
    return sizes


@functools.lru_cache(maxsize=32)
def _ascent(rate: float) -> optax.GradientTransformation:
    """Steps of one mean size, whatever the gradient, on pixels from -1/2 to 1/2: the same object for the same rate."""

    def update(updates, state, params=None):
        mean = sum(jnp.abs(g).mean() for g in jax.tree.leaves(updates))
        return jax.tree.map(lambda g: -rate * g / jnp.where(mean > 0, mean, 1), updates), state

    return optax.chain(optax.GradientTransformation(optax.init_empty_state, update), clamp_params(-0.5, 0.5))


def _resized(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Any values `[H, W, 3]` at another size, bicubic and without aliases."""
    if planes.shape[:2] == (height, width):
        return planes
    each = (Image.fromarray(np.ascontiguousarray(planes[..., i])) for i in range(planes.shape[-1]))
    return np.stack([np.asarray(one.resize((width, height), Image.Resampling.BICUBIC)) for one in each], axis=-1)
