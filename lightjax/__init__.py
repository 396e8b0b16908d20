"""Feature visualization in functional JAX: see what a neural network has learned.

import lightjax as lj

lj.visualize("mixed4a:97", steps=512).save("mixed4a_97.png")
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from lightjax import images, objectives, ops, optimize, transforms
from lightjax.images import cppn_image, fourier_image, laplacian_image, maco_image, pixel_image, shared, statistics
from lightjax.images.statistics import read as load_statistics
from lightjax.many import visualize_many
from lightjax.notebook import live
from lightjax.objectives import (
    Objective,
    activation_difference,
    alignment,
    blur_alpha_each_step,
    blur_input_each_step,
    boundary_complexity,
    caricature,
    channel,
    channel_interpolate,
    channel_weight,
    class_logit,
    deepdream,
    direction,
    direction_channel,
    direction_neuron,
    diversity,
    gram_matrix,
    input_diff,
    l1,
    l2,
    layer,
    mean_alpha,
    neuron,
    neuron_weight,
    objective,
    parse,
    spatial_weight,
    style,
    tensor_direction,
    total_variation,
)
from lightjax.pictures import load_picture
from lightjax.visualize import NonFiniteError, Result, visualize

if TYPE_CHECKING:
    from lightjax.networks import ARCHITECTURES, ConversionError, InceptionV1, WeightsError, load_model

__version__ = importlib.metadata.version("lightjax")
__all__ = [
    "ARCHITECTURES",
    "ConversionError",
    "InceptionV1",
    "NonFiniteError",
    "Objective",
    "Result",
    "WeightsError",
    "activation_difference",
    "alignment",
    "blur_alpha_each_step",
    "blur_input_each_step",
    "boundary_complexity",
    "caricature",
    "channel",
    "channel_interpolate",
    "channel_weight",
    "class_logit",
    "cppn_image",
    "deepdream",
    "direction",
    "direction_channel",
    "direction_neuron",
    "diversity",
    "fourier_image",
    "gram_matrix",
    "images",
    "input_diff",
    "l1",
    "l2",
    "laplacian_image",
    "layer",
    "live",
    "load_model",
    "load_picture",
    "load_statistics",
    "maco_image",
    "mean_alpha",
    "neuron",
    "neuron_weight",
    "objective",
    "objectives",
    "ops",
    "optimize",
    "parse",
    "pixel_image",
    "shared",
    "spatial_weight",
    "statistics",
    "style",
    "tensor_direction",
    "total_variation",
    "transforms",
    "visualize",
    "visualize_many",
]

_LATER = ("ARCHITECTURES", "InceptionV1", "ConversionError", "WeightsError", "load_model")
"""Names of `lightjax.networks`, which is imported when first asked for: flax.nnx, which it needs, takes a while."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'lightjax' has no attribute {name!r}")
    return getattr(importlib.import_module("lightjax.networks"), name)
