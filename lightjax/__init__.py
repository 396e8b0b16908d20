"""Feature visualization in functional JAX: see what a neural network has learned.

import lightjax as lj

lj.visualize("mixed4a:97", steps=512).save("mixed4a_97.png")
"""

import importlib.metadata
from typing import TYPE_CHECKING, Any

from lightjax import analysis, images, networks, objectives, ops, optimize, pictures, transforms
from lightjax.accentuation import Accentuation, accentuate
from lightjax.analysis import (
    Dictionary,
    activation_grid,
    aligned,
    atlas,
    attribute,
    class_attribution,
    compare,
    evaluate,
    examples,
    expanded_weights,
    factor,
    fit_dictionary,
    grad_cam,
    groups,
    relate,
    rest,
    saliency,
    sample,
)
from lightjax.dream import dream
from lightjax.images import image
from lightjax.networks import capture
from lightjax.notebook import live, show
from lightjax.objectives import (
    Objective,
    channel,
    class_logit,
    deepdream,
    direction,
    diversity,
    layer,
    neuron,
    objective,
)
from lightjax.pictures import load_picture
from lightjax.recipe import Recipe
from lightjax.render import render, visualize, visualize_many
from lightjax.result import NonFiniteError, Result

if TYPE_CHECKING:
    from lightjax.networks import WeightsError, from_torch, load_model

__version__ = importlib.metadata.version("lightjax")
__all__ = [
    "Accentuation",
    "Dictionary",
    "NonFiniteError",
    "Objective",
    "Recipe",
    "Result",
    "WeightsError",
    "accentuate",
    "activation_grid",
    "aligned",
    "analysis",
    "atlas",
    "attribute",
    "capture",
    "channel",
    "class_attribution",
    "class_logit",
    "compare",
    "deepdream",
    "direction",
    "diversity",
    "dream",
    "evaluate",
    "examples",
    "expanded_weights",
    "factor",
    "fit_dictionary",
    "from_torch",
    "grad_cam",
    "groups",
    "image",
    "images",
    "layer",
    "live",
    "load_model",
    "load_picture",
    "networks",
    "neuron",
    "objective",
    "objectives",
    "ops",
    "optimize",
    "pictures",
    "relate",
    "render",
    "rest",
    "saliency",
    "sample",
    "show",
    "transforms",
    "visualize",
    "visualize_many",
]


def __getattr__(name: str) -> Any:
    if name in ("WeightsError", "from_torch", "load_model"):  # imported when first asked for: flax.nnx takes a while
        return getattr(networks, name)
    raise AttributeError(f"module 'lightjax' has no attribute {name!r}")
