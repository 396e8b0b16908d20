"""The small network that paints the pictures of `images.cppn_image`."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from lightjax.images import Cppn


def draw(settings: Cppn, outputs: int, key: Array) -> nnx.State:
    """Random parameters of a network with so many outputs."""
    return nnx.state(_Network(settings, outputs, nnx.Rngs(key)))


def paint(settings: Cppn, outputs: int, params: nnx.State, places: Array) -> Array:
    """What a network makes of coordinates `[H, W, 2]`: planes `[H, W, outputs]`."""
    graph = nnx.graphdef(nnx.eval_shape(lambda: _Network(settings, outputs, nnx.Rngs(jax.random.key(0)))))
    return nnx.merge(graph, params)(places)


class _Network(nnx.Module):
    """From coordinates `[H, W, 2]` to planes `[H, W, C]`."""

    def __init__(self, settings: Cppn, outputs: int, rngs: nnx.Rngs):
        self.settings = settings
        wider = 1 if settings.activation == "relu" else 2
        bias = nnx.initializers.normal(settings.bias_sd) if settings.bias_sd else nnx.initializers.zeros
        inputs = [2, *[wider * settings.channels] * (settings.layers - 1)]
        dense = functools.partial(nnx.Linear, bias_init=bias, precision=jax.lax.Precision.HIGHEST, rngs=rngs)
        self.hidden = nnx.List([dense(n, settings.channels) for n in inputs])
        self.last = dense(wider * settings.channels, outputs, kernel_init=nnx.initializers.zeros)

    def __call__(self, x: Array) -> Array:
        norm = _standardise if self.settings.normalise else lambda x: x
        for layer in self.hidden:
            x = _ACTIVATIONS[self.settings.activation](norm(layer(x)))
        return norm(self.last(x))


def _standardise(x: Array) -> Array:
    """Mean 0 and variance 1 of each channel of `[H, W, C]`, over one picture; PyTorch's InstanceNorm2d."""
    mean, variance = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5)


def _composite(x: Array) -> Array:
    x = jnp.arctan(x)
    return jnp.concatenate([x / 0.67, x * x / 0.6], axis=-1)


def _unbiased(x: Array) -> Array:
    x = jnp.arctan(x)
    return jnp.concatenate([x / 0.67, (x * x - 0.45) / 0.396], axis=-1)


# Means and deviations for normal inputs, as in Lucid.
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "composite": _composite,
    "unbiased": _unbiased,
    "relu": lambda x: (jax.nn.relu(x) - 0.40) / 0.58,
}
