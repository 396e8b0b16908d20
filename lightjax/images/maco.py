"""MACO: waves whose magnitudes are those of natural pictures; only their phases are optimized."""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks
from lightjax.images import statistics as natural
from lightjax.images.base import Shape, check_sd, draw
from lightjax.images.statistics import Matrix, Statistics


@functools.partial(jax.tree_util.register_dataclass, data_fields=["statistics"], meta_fields=["contrast"])
@dataclasses.dataclass(frozen=True)
class FourierPhases:
    """Waves that are each as strong as in natural pictures. The parameters are phases in radians.

    The magnitudes are the mean over many pictures, in the decorrelated colors of the same pictures. Before color and
    squash, each plane of each picture has mean 0 and the same standard deviation whatever its phases, so nothing needs
    to be standardized from step to step. It works best with many random crops of the picture (`transforms.MACO`, and
    `views` of `visualize`). The parameters are `[N, C, H, W // 2 + 1]`.

    Two differences from Xplique and Horama: they standardize the phases in every step; and in their spectrum a wave
    without a horizontal frequency occurs twice, with two phases that cancel in part, so that some magnitudes are not
    kept. Here the initial phases are uniform and all magnitudes are exact.

    Args:
      statistics: Colors and spectrum: "caltech101", a file that `lightjax statistics` wrote, or `Statistics`.
      contrast: Standard deviation of the decorrelated colors before the squash. With the sigmoid, 2 is about that of
        photographs. Xplique and Horama have 1, and stretch the result.

    Raises:
      TypeError: If `contrast` is not a number.
      ValueError: If `contrast` is not above 0, the name of the statistics is unknown, or a file holds no statistics.
      FileNotFoundError: If there is no such file.

    References:
      Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization", 2023.
    """

    statistics: str | os.PathLike | Statistics = "caltech101"
    contrast: float = 2.0

    def __post_init__(self):
        """Check the settings, and read a file. The statistics may be a placeholder of JAX here."""
        object.__setattr__(self, "contrast", check_sd(self.contrast, "contrast", above=0))
        if self.statistics is None or isinstance(self.statistics, bool | int | float | tuple | list | dict):
            raise TypeError(f"statistics must be a name, a file or Statistics, got {_checks.shown(self.statistics)}")
        if isinstance(self.statistics, str | os.PathLike):
            found = natural.load_statistics(self.statistics)
            if self.statistics not in natural.SHIPPED:  # a name stays a name
                object.__setattr__(self, "statistics", found)

    @property
    def color(self) -> str | Matrix:
        """The colors of the same pictures."""
        return self.statistics if isinstance(self.statistics, str) else self.statistics.color  # type: ignore[union-attr]

    def init(self, key: Array, shape: Shape) -> Array:
        """Draw phases, all equally likely."""
        number, height, width, channels = shape
        uniform = functools.partial(jax.random.uniform, minval=-np.pi, maxval=np.pi)
        return draw(uniform, key, (number, channels, height, width // 2 + 1))

    def decode(self, params: Array, shape: Shape) -> Array:
        """The sums of all waves, each plane with mean 0 and standard deviation `contrast`."""
        _, height, width, channels = shape
        amplitude = jnp.asarray(self._amplitude(height, width), jnp.float32)[np.arange(channels) % 3][None]
        phases = jnp.asarray(params).at[..., 0].set(_odd(params[..., 0]))
        if width % 2 == 0:
            phases = phases.at[..., -1].set(_odd(params[..., -1]))
        waves = jnp.fft.irfft2(
            jax.lax.complex(amplitude * jnp.cos(phases), amplitude * jnp.sin(phases)), (height, width)
        )
        return jnp.moveaxis(waves, 1, -1)

    def _amplitude(self, height: int, width: int) -> Array | np.ndarray:
        """Magnitude of every wave such that a plane has the wanted deviation, `[3, H, W // 2 + 1]`."""
        known = natural.load_statistics(self.statistics) if isinstance(self.statistics, str) else self.statistics
        amplitude = known.amplitude(height, width)  # type: ignore[union-attr]
        times = np.full(width // 2 + 1, 2)  # each wave counts twice, with its conjugate, except in the outer columns
        times[[0, -1] if width % 2 == 0 else 0] = 1
        power = (times * amplitude**2).sum(axis=(1, 2), keepdims=True)
        return self.contrast * height * width * amplitude / (power + (power == 0)) ** 0.5


def _odd(phases: Array) -> Array:
    """Opposite phases for opposite rows, `[..., H]`: `phase(k) - phase(-k)`.

    In the first and the last column of a real Fourier transform, rows k and -k hold the same wave.
    """
    return phases - jnp.roll(jnp.flip(phases, -1), 1, -1)
