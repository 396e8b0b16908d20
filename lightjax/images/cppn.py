"""Pictures painted by a small network whose inputs are the coordinates of each pixel (CPPN)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks
from lightjax.images.base import Shape, check_sd

_MOST_LAYERS = 256
_MOST_UNITS = 65_536


@dataclasses.dataclass(frozen=True)
class Cppn:
    """Planes painted by a network of the coordinates of a pixel: smooth at any size.

    The coordinates run from -sqrt(3) to sqrt(3) along the longer side. The last layer starts at zero, so the
    initial picture is gray. Networks need smaller learning rates than pixels: 0.005 (Lucid) or 0.002 (TorchLight) with
    Adam. The parameters are a list of layers, each `{"kernel": [N, in, out], "bias": [N, out]}`: one network for each
    picture.

    The defaults are Lucid's network; `Cppn(layers=7, normalize=True, bias_sd=0)` is TorchLight's. Lucid paints all
    pictures of a batch with one network, so that they are all the same; here each has its own.

    Args:
      layers: Number of hidden layers. Lucid counts like this; TorchLight and Lucent count the output too.
      channels: Units of a hidden layer.
      activation: "composite": arctangent and its square, side by side, each divided by its root mean square;
        "unbiased": the same with the mean of the square subtracted; "relu": a rectifier of mean 0 and variance 1.
      normalize: Whether to standardize each unit, including the output units, over the picture.
      bias_sd: Standard deviation of the initial biases, at least 0.

    Raises:
      TypeError, ValueError: If a setting is out of range.

    References:
      Stanley, "Compositional Pattern Producing Networks", 2007. Mordvintsev et al., "Differentiable Image
      Parameterizations", Distill, 2018. Lucid, `param/cppn.py`.
    """

    layers: int = 8
    channels: int = 24
    activation: str = "composite"
    normalize: bool = False
    bias_sd: float = 0.1

    def __post_init__(self):
        """Check the settings."""
        _checks.keep(
            self,
            layers=_checks.whole(_checks.count(self.layers, "layers"), "layers", most=_MOST_LAYERS),
            channels=_checks.whole(_checks.count(self.channels, "channels"), "channels", most=_MOST_UNITS),
            activation=_checks.one_of(self.activation, CPPN_ACTIVATIONS, "activation"),
            normalize=_checks.flag(self.normalize, "normalize"),
            bias_sd=check_sd(self.bias_sd, "bias_sd", least=0),
        )

    color = "rgb"

    def init(self, key: Array, shape: Shape) -> list[dict[str, Array]]:
        """Draw one network for each picture."""
        return jax.vmap(lambda i: self._draw(jax.random.fold_in(key, i), shape[-1]))(jnp.arange(shape[0]))

    def decode(self, params: list[dict[str, Array]], shape: Shape) -> Array:
        """The planes that the networks paint."""
        _, height, width, _ = shape
        places = jnp.asarray(_coordinates(height, width))
        return jax.vmap(lambda own: self._paint(own, places))(params)

    def _draw(self, key: Array, outputs: int) -> list[dict[str, Array]]:
        wider = 1 if self.activation == "relu" else 2
        inputs = [2, *[wider * self.channels] * self.layers]
        layers = []
        for i, size in enumerate(inputs):
            units = self.channels if i < self.layers else outputs
            for_kernel, for_bias = (jax.random.fold_in(key, 2 * i + part) for part in range(2))
            kernel = _lecun_normal(for_kernel, (size, units)) if i < self.layers else jnp.zeros((size, units))
            bias = self.bias_sd * jax.random.normal(for_bias, (units,)) if self.bias_sd else jnp.zeros(units)
            layers.append({"kernel": kernel, "bias": bias})
        return layers

    def _paint(self, layers: list[dict[str, Array]], x: Array) -> Array:
        """From coordinates `[H, W, 2]` to planes `[H, W, outputs]`."""
        for i, layer in enumerate(layers):
            x = jnp.matmul(x, layer["kernel"], precision=jax.lax.Precision.HIGHEST) + layer["bias"][None, None]
            x = _standardized(x) if self.normalize else x
            x = _ACTIVATIONS[self.activation](x) if i < self.layers else x
        return x


_lecun_normal = jax.nn.initializers.lecun_normal()


def _coordinates(height: int, width: int) -> np.ndarray:
    """(x, y) of every pixel, `[H, W, 2]`: from -sqrt(3) to sqrt(3) along the longer side, where its deviation is 1."""
    scale = 2 * np.sqrt(3) / max(height - 1, width - 1, 1)
    x, y = (scale * (np.arange(n) - (n - 1) / 2) for n in (width, height))
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def _standardized(x: Array) -> Array:
    """Each channel of `[H, W, C]` with mean 0 and variance 1 over one picture; PyTorch's InstanceNorm2d."""
    mean, variance = (statistic(axis=(0, 1), keepdims=True) for statistic in (x.mean, x.var))
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5)


def _composite(x: Array) -> Array:
    x = jnp.arctan(x)
    return jnp.concatenate([x / 0.67, x * x / 0.6], axis=-1)


def _unbiased(x: Array) -> Array:
    x = jnp.arctan(x)
    return jnp.concatenate([x / 0.67, (x * x - 0.45) / 0.396], axis=-1)


# Means and deviations for normal inputs, as in Lucid.
_ACTIVATIONS: dict[str, Callable[[Any], Array]] = {
    "composite": _composite,
    "unbiased": _unbiased,
    "relu": lambda x: (jax.nn.relu(x) - 0.40) / 0.58,
}

CPPN_ACTIVATIONS = tuple(_ACTIVATIONS)
"""The functions between the layers of `Cppn`."""
