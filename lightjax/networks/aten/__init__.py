"""PyTorch's operations, computed by JAX with the channels last."""

from lightjax.networks.aten import convolutions, elementwise, linear, reductions, shapes
from lightjax.networks.aten.registry import CHOICES, OPERATIONS
from lightjax.networks.aten.tensor import CHANNELS_LAST, Tensor, plain

__all__ = ["CHANNELS_LAST", "CHOICES", "OPERATIONS", "Tensor", "plain"]
__all__ += ["convolutions", "elementwise", "linear", "reductions", "shapes"]
