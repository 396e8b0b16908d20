"""Feature visualization in functional JAX: see what a neural network has learned.

import lightjax as lj

lj.visualize("mixed4a:97", steps=512).save("mixed4a_97.png")
"""

import importlib.metadata

from lightjax import images, objectives, ops, transforms
from lightjax.images import fourier_image, pixel_image
from lightjax.inception import ARCHITECTURES, InceptionV1
from lightjax.many import visualize_many
from lightjax.objectives import Objective, channel, layer, neuron, objective, parse
from lightjax.torch_bridge import ConversionError
from lightjax.visualize import NonFiniteError, Result, visualize
from lightjax.weights import WeightsError, load_model

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
    "fourier_image",
    "images",
    "layer",
    "load_model",
    "neuron",
    "objective",
    "objectives",
    "ops",
    "parse",
    "pixel_image",
    "transforms",
    "visualize",
    "visualize_many",
]
