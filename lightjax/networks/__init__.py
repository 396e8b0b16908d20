"""Networks: pictures to named activations."""

import importlib
from typing import TYPE_CHECKING, Any

from lightjax.networks.architectures import ARCHITECTURES, DEFAULT, Architecture, Block, Layer, ResponseNorm
from lightjax.networks.capture import Captured, capture
from lightjax.networks.torch_bridge import ConversionError

if TYPE_CHECKING:
    from lightjax.networks import inception, weights
    from lightjax.networks.converted import ConvertedNetwork
    from lightjax.networks.inception import InceptionV1
    from lightjax.networks.torch_network import from_torch
    from lightjax.networks.weights import WeightsError, load_model

__all__ = [
    "ARCHITECTURES",
    "DEFAULT",
    "Architecture",
    "Block",
    "Captured",
    "ConversionError",
    "ConvertedNetwork",
    "InceptionV1",
    "Layer",
    "ResponseNorm",
    "WeightsError",
    "capture",
    "from_torch",
    "inception",
    "load_model",
    "weights",
]

_LAZY = {
    "ConvertedNetwork": "converted",
    "InceptionV1": "inception",
    "WeightsError": "weights",
    "from_torch": "torch_network",
    "load_model": "weights",
}
"""The module of each name. They are imported when first used, because the import of flax.nnx is slow."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"lightjax.networks.{_LAZY[name]}"), name)
    if name in _LAZY.values():
        return importlib.import_module(f"lightjax.networks.{name}")
    raise AttributeError(f"module 'lightjax.networks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
