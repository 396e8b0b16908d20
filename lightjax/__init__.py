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
from lightjax.visualize import NonFiniteError, Result, visualize

if TYPE_CHECKING:
    from lightjax.networks.inception import ARCHITECTURES, InceptionV1
    from lightjax.networks.torch_bridge import ConversionError
    from lightjax.networks.weights import WeightsError, load_model

__version__ = importlib.metadata.version("lightjax")
__all__ = [
    "ARCHITECTURES",
    "ConversionError",
    "InceptionV1",
    "NonFiniteError",
    "Objective",
    "Result",
    "WeightsError",
    "channel",
    "class_logit",
    "cppn_image",
    "deepdream",
    "direction",
    "diversity",
    "fourier_image",
    "images",
    "laplacian_image",
    "layer",
    "live",
    "load_model",
    "load_picture",
    "load_statistics",
    "maco_image",
    "neuron",
    "objective",
    "objectives",
    "ops",
    "optimize",
    "pixel_image",
    "shared",
    "statistics",
    "transforms",
    "visualize",
    "visualize_many",
]

_LATER = {
    "ARCHITECTURES": "networks.inception",
    "InceptionV1": "networks.inception",
    "ConversionError": "networks.torch_bridge",
    "WeightsError": "networks.weights",
    "load_model": "networks.weights",
}
"""Names whose modules are imported when first asked for: flax.nnx, which they need, takes a while."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'lightjax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lightjax.{_LATER[name]}"), name)
