"""Transforms that change pixels or gradients: blur, noise, colors, lengths of gradients, backgrounds for opacity."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks, images, ops
from lightjax.transforms.base import (
    Choices,
    Transform,
    at_step,
    check_transform,
    choices,
    colors_in,
    draw,
    each,
    ends,
    numbers,
)

_WIDEST = 100.0
"""Largest sigma of a blur, in pixels: its kernel has three times as many on either side."""


@dataclasses.dataclass(frozen=True)
class GaussianBlur:
    """Blur with a Gaussian of drawn width; beyond the edge, the outermost pixels repeat.

    The kernel ends at three times the largest sigma, whatever is drawn, and sums to 1.

    Args:
      sigmas: Positive standard deviations in pixels, all equally likely, or `Between(low, high)`.

    Raises:
      TypeError: If they are not numbers.
      ValueError: If there is no number, or one is not positive.
    """

    sigmas: Choices

    def __post_init__(self):
        _checks.keep(self, sigmas=choices(choices(self.sigmas, "sigmas", above=0), "sigmas", most=_WIDEST))

    def __call__(self, key: Array, images: Array) -> Array:
        """Blur `[N, H, W, C]`."""
        radius = math.ceil(3 * max(ends(self.sigmas)))
        distance = jnp.arange(-radius, radius + 1, dtype=images.dtype)

        def blur(key: Array, image: Array) -> Array:
            weights = jnp.exp(-((distance / draw(key, self.sigmas)) ** 2) / 2)
            weights = (weights / weights.sum()).astype(image.dtype)
            return _smooth(_smooth(image, weights, radius, 0), weights, radius, 1)

        return each(blur, key, images)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Add independent noise to every value of the colors, which may leave [0, 1]; opacity stays as it is.

    Args:
      normal: Standard deviation of normally distributed noise, at least 0.
      uniform: Amplitude of uniformly distributed noise, which lies between -uniform and uniform; at least 0.
      flat: Whether all pixels of a picture get the same noise, one number for each color.
      until: The step at which there is no more noise, at least 1: both amounts fall linearly from step 0 to this one.
        None for the same amounts at all steps.

    Raises:
      TypeError: If an amount is not a number, `flat` not True or False, or `until` not a whole number.
      ValueError: If an amount is negative, both are 0, or `until` is less than 1.
    """

    normal: float = 0.0
    uniform: float = 0.0
    _: dataclasses.KW_ONLY
    flat: bool = False
    until: int | None = None

    def __post_init__(self):
        _checks.keep(self, flat=_checks.flag(self.flat, "flat"))
        if self.until is not None:
            _checks.keep(self, until=_checks.whole(self.until, "until", least=1))
        normal = _checks.number(self.normal, "normal", least=0)
        uniform = _checks.number(self.uniform, "uniform", least=0)
        if normal == uniform == 0:
            raise ValueError("normal or uniform must be greater than 0, got 0 for both")
        _checks.keep(self, normal=normal, uniform=uniform)

    def __call__(self, key: Array, images: Array) -> Array:
        """Add noise to `[N, H, W, C]`, as at step 0."""
        return self._add(1.0, key, images)

    def at_step(self, step: ArrayLike) -> Transform:
        """Noise in the amounts of a step."""
        if self.until is None:
            return self
        return functools.partial(self._add, jnp.maximum(1 - jnp.asarray(step) / self.until, 0))

    def _add(self, part: Array | float, key: Array, images: Array) -> Array:
        """Add a part of the amounts."""

        def add(key: Array, image: Array) -> Array:
            for_normal, for_uniform = jax.random.split(key)
            height, width = (1, 1) if self.flat else image.shape[:2]
            shape, dtype = (height, width, number := colors_in(image)), image.dtype
            if self.normal:
                amount = jnp.asarray(part * self.normal, dtype)
                image = image.at[..., :number].add(amount * jax.random.normal(for_normal, shape, dtype))
            if self.uniform:
                amount = jnp.asarray(part * self.uniform, dtype)
                image = image.at[..., :number].add(amount * jax.random.uniform(for_uniform, shape, dtype, -1, 1))
            return image

        return each(add, key, images)


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Draw another mean and another standard deviation for each color of a picture; opacity stays as it is.

    The result is `(images - shift) / exp(spread)`, where `shift` lies between -mean and mean, `spread` between -std and
    std. All values are equally likely, and each color of each picture has its own. So the network sees colors far
    outside of [0, 1].

    Args:
      mean: Largest shift, at least 0.
      std: Largest logarithm of the factor, at least 0; with 1, contrast changes by up to 2.7 either way.

    Raises:
      TypeError: If one is not a number.
      ValueError: If one is negative, or both are 0.

    References:
      Ghiasi et al., "What do Vision Transformers Learn? A Visual Exploration", 2022 (color shift); numbers as in its
      code.
    """

    mean: float = 1.0
    std: float = 1.0

    def __post_init__(self):
        mean, std = _checks.number(self.mean, "mean", least=0), _checks.number(self.std, "std", least=0)
        if mean == std == 0:
            raise ValueError("mean or std must be greater than 0, got 0 for both")
        _checks.keep(self, mean=mean, std=std)

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""

        def change(key: Array, image: Array) -> Array:
            shift, spread = jax.random.uniform(key, (2, number := colors_in(image)), image.dtype, -1, 1)
            colors = (image[..., :number] - self.mean * shift) / jnp.exp(self.std * spread)
            return image.at[..., :number].set(colors)

        return each(change, key, images)


@dataclasses.dataclass(frozen=True)
class NormalizeGradient:
    """Leave images alone, and scale their gradient to one length, for each picture by itself.

    A gradient of 0 stays 0, where Lucid divides by 0. To normalize the gradient of the parameters instead, put
    `optax.normalize_by_update_norm` before the optimizer.

    Args:
      scales: Euclidean length of the gradient of each picture, one number for all or one for each. Negative ones turn
        ascent into descent.

    Raises:
      TypeError: If they are not numbers.
      ValueError: If one is not finite, or, in a call, if the number of scales is neither 1 nor the number of pictures.
    """

    scales: float | Sequence[float] | np.ndarray = 1.0

    def __post_init__(self):
        _checks.keep(self, scales=numbers(self.scales, "scales"))

    def __call__(self, key: Array, images: Array) -> Array:
        """The same images."""
        lengths = jnp.array(self.scales, images.dtype)
        if len(lengths) not in (1, len(images)):
            raise ValueError(f"scales must be one number or one for each of {len(images)} images, got {len(lengths)}")
        return ops.gradient_of_length(images, jnp.broadcast_to(lengths, len(images)))


@dataclasses.dataclass(frozen=True)
class CollapseAlpha:
    """Put pictures with opacity `[N, H, W, 4]` over a background: `[N, H, W, 3]`.

    The result is alpha x colors + (1 - alpha) x background. Backgrounds are noise as smooth as pictures are, in the
    colors of natural images, drawn anew for each picture. Parts that stand out against all of them must be opaque;
    parts that do not matter may be transparent.

    Args:
      color: A fixed background in place of random ones: a gray or (red, green, blue), in [0, 1].
      sd: Standard deviation of the waves of random backgrounds, greater than 0; larger has more contrast.
      decay: Power of the frequency by which they fall; larger is smoother.

    Raises:
      TypeError: If a setting is not made of numbers.
      ValueError: If a setting is out of range, or, in a call, if images do not have four channels.

    References:
      Mordvintsev et al., "Differentiable Image Parameterizations", Distill, 2018. Lucid, `collapse_alpha_random`: sd
      0.5 and decay 1 (its notebook on transparency: 0.2 and 1.5).
    """

    color: float | Sequence[float] | np.ndarray | None = None
    _: dataclasses.KW_ONLY
    sd: float = 0.5
    decay: float = 1.0

    def __post_init__(self):
        _checks.keep(self, sd=_checks.number(self.sd, "sd", above=0), decay=_checks.number(self.decay, "decay"))
        images.Fourier(sd=self.sd, decay=self.decay)
        if self.color is None:
            return
        values = [_checks.number(value, "color", least=0, most=1) for value in numbers(self.color, "color")]
        if len(values) not in (1, 3):
            raise ValueError(f"color must be a gray or (red, green, blue), got {_checks.shown(self.color)}")
        _checks.keep(self, color=tuple(values * 3 if len(values) == 1 else values))

    def __call__(self, key: Array, images: Array) -> Array:
        """From `[N, H, W, 4]` to `[N, H, W, 3]`."""
        number, height, width, channels = images.shape
        if channels != 4:
            raise ValueError(f"images must have 4 channels, colors and opacity, got {channels}")
        if self.color is None:
            background = _backgrounds(key, number, (height, width), self.sd, self.decay)
        else:
            background = jnp.array(self.color, images.dtype)[None, None, None]
        colors, alpha = images[..., :3], images[..., 3:]
        return alpha * colors + (1 - alpha) * background


@dataclasses.dataclass(frozen=True)
class SameForAll:
    """Give all images of a batch the draw of the first, as Lucid does.

    Args:
      transform: The transform that all images go through.

    Raises:
      TypeError: If it is not a function.
    """

    transform: Transform

    def __post_init__(self):
        check_transform(self.transform)

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`, each as the first of a batch."""
        return jax.vmap(lambda image: self.transform(key, image[None])[0])(images)

    def at_step(self, step: ArrayLike) -> "SameForAll":
        """The same of what the transform does at a step."""
        transform = at_step(self.transform, step)
        return self if transform is self.transform else SameForAll(transform)


def _smooth(image: Array, weights: Array, radius: int, axis: int) -> Array:
    """Correlate along one axis; beyond the edge, the outermost pixels repeat."""
    border = [(radius, radius) if i == axis else (0, 0) for i in range(image.ndim)]
    wide, length = jnp.pad(image, border, "edge"), image.shape[axis]
    shifted = (jax.lax.slice_in_dim(wide, i, i + length, axis=axis) for i in range(2 * radius + 1))
    return cast(Array, sum(weight * part for weight, part in zip(weights, shifted, strict=True)))


def _backgrounds(key: Array, number: int, size: tuple[int, int], sd: float, decay: float) -> Array:
    """Noise as smooth as pictures are, `[number, *size, 3]`."""
    noise = images.image(size, basis=images.Fourier(sd=sd, decay=decay), batch=number)
    return noise.decode(noise.init(key))
