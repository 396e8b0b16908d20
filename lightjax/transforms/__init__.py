"""Random transforms that a picture must survive: pure functions `(key, images) -> images` of static shape.

Images are `[N, H, W, C]`. Every image of a batch gets a draw of its own, from a key of its own (Lucid, Lucent and
TorchLight draw once for all; see `same_for_all`). Transforms are frozen dataclasses, so that two with the same settings
are equal and share one compilation. A number that can be drawn is one number, several that are equally likely, or
`between(low, high)`.

Pad, jitter, scale, rotation, flip and crop move coordinates, not pixels: a run of them in `compose` becomes one affine
map, and the image is resampled once, bilinearly. Lucid resamples after each, and lets the size of the image follow the
scale; here scaling zooms within the frame, whose size stays the same. What lies beyond the edge is the grey of the last
`pad`, 0.5 if there was none.

Four channels are colours and opacity, alpha. Moves and blur carry it along, and what lies beyond the edge is
transparent; noise leaves it alone; `collapse_alpha` puts the colours over a background.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks, ops
from lightjax import images as pictures
from lightjax.images import Size

GREY = 0.5
"""What lies beyond the edge unless a `pad` says otherwise."""


class Transform(Protocol):
    """Anything that turns images into images of a fixed other size, given a key; it must be hashable."""

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        ...


def between(low: float, high: float) -> "Between":
    """Any number from `low` to `high`, all equally likely: for `random_scale` and its like.

    Raises:
      ValueError: If they are not finite, or the wrong way round.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"numbers are drawn between a lower and an upper finite end, not {low!r} and {high!r}")
    return Between(float(low), float(high))


def pad(pixels: int, value: float | str = GREY) -> "Pad | PadWith":
    """Add a border on all sides.

    Args:
      pixels: Width of the border.
      value: A grey in [0, 1]; "reflect" for the picture itself, mirrored at its outermost pixels (the default of
        Lucid's `pad`); or "random" for a grey of its own for each picture, anew at each step (Lucid's "uniform").

    Raises:
      ValueError: If the width is negative, the grey out of range, or the word unknown.
    """
    if isinstance(value, str):
        if value not in _BORDERS:
            raise ValueError(f"a border is a grey in [0, 1], {' or '.join(map(repr, _BORDERS))}, not {value!r}")
        return PadWith(_pixels(pixels), value)
    if not 0 <= value <= 1:
        raise ValueError(f"the value of a border is in [0, 1], not {value!r}")
    return Pad(_pixels(pixels), float(value))


def crop_or_pad(size: Size) -> "CropOrPad":
    """Bring images to a size by cropping, or padding, equally on opposite sides; an odd pixel goes at the end.

    Lucid pads with black, here with the grey of the last `pad`.

    Args:
      size: Pixels, one number for a square or (height, width).

    Raises:
      ValueError: If it is no size.
    """
    return CropOrPad(*_checks.height_and_width(size))


def jitter(pixels: int) -> "Jitter":
    """Crop `pixels` rows and columns away, at a random place.

    Lucent and TorchLight shift, and keep the size: `compose(pad(16), jitter(32))` shifts by up to 16 either way.

    Args:
      pixels: Rows and columns to lose; the shift is one of `pixels + 1` along each axis.

    Raises:
      ValueError: If it is negative.
    """
    return Jitter(_pixels(pixels))


def random_scale(scales: "float | Sequence[float] | Between") -> "RandomScale":
    """Zoom about the centre by a drawn factor; the size stays, and grey fills gaps.

    Args:
      scales: Factors, all equally likely, or `between(low, high)`; above 1 enlarges.

    Raises:
      ValueError: If there is none, or one that is not positive.
    """
    scales = _choices(scales)
    if not all(np.isfinite(s) and s > 0 for s in _ends(scales)):
        raise ValueError(f"scales are positive factors, at least one, not {scales!r}")
    return RandomScale(scales)


def random_rotate(degrees: "float | Sequence[float] | Between") -> "RandomRotate":
    """Turn about the centre by a drawn angle; the size stays, and grey fills gaps.

    Args:
      degrees: Angles in degrees, anticlockwise, all equally likely, or `between(low, high)`; a repeated one is more
        likely.

    Raises:
      ValueError: If there is none, or one that is not finite.
    """
    degrees = _choices(degrees)
    if not all(np.isfinite(d) for d in _ends(degrees)):
        raise ValueError(f"degrees are finite angles, at least one, not {degrees!r}")
    return RandomRotate(degrees)


def random_flip(probability: float = 0.5) -> "RandomFlip":
    """Exchange left and right, sometimes.

    Args:
      probability: How often.

    Raises:
      ValueError: If it is not in [0, 1].
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"a probability is in [0, 1], not {probability!r}")
    return RandomFlip(float(probability))


def random_crop(
    size: Size, sides: "float | Sequence[float] | Between | None" = None, spread: float = 0.15
) -> "RandomCrop":
    """Enlarge or reduce a random box of the picture to a size: the crops of MACO, which takes many for each step.

    The largest possible box has the shape of the result and touches two sides of the picture; the box is a drawn
    fraction of it. Its centre is drawn from a normal distribution about that of the picture; a box that would stick out
    is moved inside, where Xplique shows black. Samples are taken as for all moves, bilinearly at single points, so a
    result much smaller than its box is grainy. Xplique shrinks the boxes in the course of a render, from a half to a
    twentieth; here all sizes are drawn at all times. See `views` of `visualize` for several crops in each step.

    Args:
      size: Pixels of the result, one number for a square or (height, width); at least 2.
      sides: Sides of the box, as fractions of those of the largest; by default `between(0.05, 0.5)`.
      spread: Standard deviation of the centre along each axis, as a fraction of that side of the picture.

    Raises:
      ValueError: If the size or the spread is out of range, or a side not in (0, 1].

    References:
      Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization", 2023;
      numbers as in Xplique.
    """
    height, width = _checks.height_and_width(size)
    sides = between(0.05, 0.5) if sides is None else _choices(sides)
    if not all(0 < s <= 1 for s in _ends(sides)):
        raise ValueError(f"sides of a box are fractions in (0, 1], at least one, not {sides!r}")
    if min(height, width) < 2 or not 0 <= spread < np.inf:
        raise ValueError(f"a crop has at least 2 pixels and a spread from 0 on, not {size!r} and {spread!r}")
    return RandomCrop(height, width, sides, float(spread))


def gaussian_blur(sigmas: "float | Sequence[float] | Between") -> "GaussianBlur":
    """Blur with a Gaussian of drawn width; beyond the edge, the outermost pixels repeat.

    The kernel ends at three times the largest sigma, whatever is drawn, and sums to 1.

    Args:
      sigmas: Standard deviations in pixels, all equally likely, or `between(low, high)`.

    Raises:
      ValueError: If there is none, or one that is not positive.
    """
    sigmas = _choices(sigmas)
    if not all(np.isfinite(s) and s > 0 for s in _ends(sigmas)):
        raise ValueError(f"sigmas are positive, at least one, not {sigmas!r}")
    return GaussianBlur(sigmas)


def noise(normal: float = 0.0, uniform: float = 0.0) -> "Noise":
    """Add independent noise to every value of the colours, which may leave [0, 1]; opacity stays as it is.

    Args:
      normal: Standard deviation of normally distributed noise.
      uniform: Amplitude of uniformly distributed noise, which lies between -uniform and uniform.

    Raises:
      ValueError: If one is negative, or both are 0.
    """
    if not all(0 <= amount < np.inf for amount in (normal, uniform)) or normal == uniform == 0:
        raise ValueError(f"noise is from 0 on, normal or uniform or both, not {normal!r} and {uniform!r}")
    return Noise(float(normal), float(uniform))


def normalize_gradient(scales: "float | Sequence[float]" = 1.0) -> "NormalizeGradient":
    """Leave images alone, and scale their gradient to one length, for each picture by itself.

    A gradient of 0 stays 0, where Lucid divides by 0. To normalise the gradient of the parameters instead, put
    `optax.normalize_by_update_norm` before the optimiser.

    Args:
      scales: Euclidean length of the gradient of each picture, one number for all or one for each. Negative ones turn
        ascent into descent.

    Raises:
      ValueError: If one is not finite, or if there is neither one nor one for each picture of a batch.
    """
    scales = tuple(float(s) for s in np.atleast_1d(scales))
    if not scales or not np.isfinite(scales).all():
        raise ValueError(f"lengths of a gradient are finite numbers, at least one, not {scales!r}")
    return NormalizeGradient(scales)


def collapse_alpha(
    colour: "float | Sequence[float] | None" = None, *, sd: float = 0.5, decay: float = 1.0
) -> "CollapseAlpha":
    """Put pictures with opacity `[N, H, W, 4]` over a background: `[N, H, W, 3]`, alpha x colours + (1 - alpha) x it.

    Backgrounds are noise as smooth as pictures are, in the colours of natural images, drawn anew for each picture. What
    is to stand out against all of them must be opaque, and what does not matter may as well be transparent.

    Args:
      colour: One background for all instead, a grey or (red, green, blue), in [0, 1].
      sd: Standard deviation of the waves of random backgrounds; larger has more contrast.
      decay: Power of the frequency by which they fall; larger is smoother.

    Raises:
      ValueError: If a setting is out of range, or if images have no fourth channel.

    References:
      Mordvintsev et al., "Differentiable Image Parameterizations", Distill, 2018. Lucid, `collapse_alpha_random`: sd
      0.5 and decay 1 (its notebook on transparency: 0.2 and 1.5).
    """
    if colour is None:
        return CollapseAlpha(None, float(sd), float(decay))
    values = tuple(float(c) for c in np.broadcast_to(colour, 3)) if np.shape(colour) in ((), (3,)) else ()
    if not values or not all(0 <= c <= 1 for c in values):
        raise ValueError(f"a colour is a grey or (red, green, blue), in [0, 1], not {colour!r}")
    return CollapseAlpha(values, float(sd), float(decay))


def same_for_all(transform: Transform) -> "SameForAll":
    """Give all images of a batch the draw of the first, as Lucid does.

    Raises:
      TypeError: If it is not a function.
    """
    return SameForAll(_transform(transform))


def compose(*transforms: Transform) -> "Compose":
    """Apply transforms one after the other, the first first; neighbouring moves are resampled once.

    Raises:
      TypeError: If one of them is not a function.
    """
    flat = (t.transforms if isinstance(t, Compose) else (_transform(t),) for t in transforms)
    return Compose(tuple(itertools.chain.from_iterable(flat)))


def _transform(given: Transform) -> Transform:
    if not callable(given):
        raise TypeError(f"a transform is a function of a key and images, not {given!r}")
    return given


@dataclasses.dataclass(frozen=True)
class Between:
    """See `between`."""

    low: float
    high: float


def _choices(given: "float | Sequence[float] | Between") -> "tuple[float, ...] | Between":
    if isinstance(given, Between):
        return given
    return tuple(float(g) for g in (given if isinstance(given, Iterable) else (given,)))


def _ends(choices: tuple[float, ...] | Between) -> tuple[float, ...]:
    """The choices, or the ends of what they lie between; not a number if there is none."""
    return (choices.low, choices.high) if isinstance(choices, Between) else choices or (math.nan,)


def _draw(key: Array, choices: tuple[float, ...] | Between) -> Array:
    if isinstance(choices, Between):
        return jax.random.uniform(key, minval=choices.low, maxval=choices.high)
    return jax.random.choice(key, jnp.array(choices))


# Moves


class _Move:
    """A transform that only moves coordinates. Subclasses say how far for one draw."""

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width after the move, from those before."""
        return size

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """Where each pixel comes from: (row, column, 1) after the move to that before, `[3, 3]`."""
        raise NotImplementedError

    def stretch(self) -> float:
        """Most by which any draw lengthens a distance, as the larger of its rows and columns."""
        return 1.0

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        return Compose((self,))(key, images)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Pad(_Move):
    """See `pad`."""

    pixels: int
    value: float

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Larger by the border on either side."""
        return size[0] + 2 * self.pixels, size[1] + 2 * self.pixels

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A shift by the border."""
        return _shift(jnp.full(2, -self.pixels))


@dataclasses.dataclass(frozen=True)
class CropOrPad(_Move):
    """See `crop_or_pad`."""

    height: int
    width: int

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The one asked for."""
        return self.height, self.width

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A shift by half the difference."""
        return _shift(jnp.trunc((jnp.array(size) - jnp.array([self.height, self.width])) / 2))


@dataclasses.dataclass(frozen=True)
class Jitter(_Move):
    """See `jitter`."""

    pixels: int

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Smaller by the jitter."""
        if min(size) <= self.pixels:
            raise ValueError(f"an image of {size[0]}x{size[1]} pixels is too small to jitter by {self.pixels}")
        return size[0] - self.pixels, size[1] - self.pixels

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A shift by whole pixels."""
        return _shift(jax.random.randint(key, (2,), 0, self.pixels + 1))


@dataclasses.dataclass(frozen=True)
class RandomScale(_Move):
    """See `random_scale`."""

    scales: tuple[float, ...] | Between

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A zoom about the centre."""
        scale = _draw(key, self.scales)
        return _about_centre(jnp.eye(2) / scale, size)

    def stretch(self) -> float:
        """The largest factor."""
        return max(_ends(self.scales))


@dataclasses.dataclass(frozen=True)
class RandomRotate(_Move):
    """See `random_rotate`."""

    degrees: tuple[float, ...] | Between

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A turn about the centre."""
        angle = jnp.deg2rad(_draw(key, self.degrees))
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return _about_centre(jnp.array([[cos, sin], [-sin, cos]]), size)

    def stretch(self) -> float:
        """That of the angle nearest to a diagonal."""
        angles = np.array(_ends(self.degrees))
        if isinstance(self.degrees, Between) and (angles[0] - 45) // 90 != (angles[1] - 45) // 90:
            return math.sqrt(2)
        return float((np.abs(np.cos(np.deg2rad(angles))) + np.abs(np.sin(np.deg2rad(angles)))).max())


@dataclasses.dataclass(frozen=True)
class RandomFlip(_Move):
    """See `random_flip`."""

    probability: float

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """Columns counted from the other end."""
        mirror = jnp.eye(3).at[1].set(jnp.array([0, -1, size[1] - 1]))
        return jnp.where(jax.random.bernoulli(key, self.probability), mirror, jnp.eye(3))


@dataclasses.dataclass(frozen=True)
class RandomCrop(_Move):
    """See `random_crop`."""

    height: int
    width: int
    sides: tuple[float, ...] | Between
    spread: float

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The one asked for."""
        return self.height, self.width

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A zoom into the box."""
        for_side, for_centre = jax.random.split(key)
        # Lengths are those between the centres of the outermost pixels, so that nothing beyond the edge is ever seen.
        whole, own = np.array(size) - 1, np.array([self.height, self.width]) - 1
        step = _draw(for_side, self.sides) * (whole / own).min()
        centre = 0.5 + self.spread * jax.random.normal(for_centre, (2,))
        corner = jnp.clip(centre * whole - step * own / 2, 0, jnp.maximum(whole - step * own, 0))
        return jnp.diag(jnp.array([step, step, 1])).at[:2, 2].set(corner)

    def stretch(self) -> float:
        """Any: how much a box is enlarged depends on the size of the picture."""
        return math.inf


# What changes pixels


@dataclasses.dataclass(frozen=True)
class PadWith:
    """See `pad`."""

    pixels: int
    value: str

    def __call__(self, key: Array, images: Array) -> Array:
        """Larger by the border on either side."""
        return _each(lambda key, image: _BORDERS[self.value](key, image, self.pixels), key, images)


@dataclasses.dataclass(frozen=True)
class GaussianBlur:
    """See `gaussian_blur`."""

    sigmas: tuple[float, ...] | Between

    def __call__(self, key: Array, images: Array) -> Array:
        """Blur `[N, H, W, C]`."""
        radius = math.ceil(3 * max(_ends(self.sigmas)))
        distance = jnp.arange(-radius, radius + 1, dtype=images.dtype)

        def blur(key: Array, image: Array) -> Array:
            weights = jnp.exp(-((distance / _draw(key, self.sigmas)) ** 2) / 2)
            weights = (weights / weights.sum()).astype(image.dtype)
            return _smooth(_smooth(image, weights, radius, 0), weights, radius, 1)

        return _each(blur, key, images)


@dataclasses.dataclass(frozen=True)
class Noise:
    """See `noise`."""

    normal: float
    uniform: float

    def __call__(self, key: Array, images: Array) -> Array:
        """Add noise to `[N, H, W, C]`."""

        def add(key: Array, image: Array) -> Array:
            for_normal, for_uniform = jax.random.split(key)
            shape, dtype = (*image.shape[:2], min(image.shape[2], 3)), image.dtype
            if self.normal:
                image = image.at[..., :3].add(self.normal * jax.random.normal(for_normal, shape, dtype))
            if self.uniform:
                image = image.at[..., :3].add(self.uniform * jax.random.uniform(for_uniform, shape, dtype, -1, 1))
            return image

        return _each(add, key, images)


@dataclasses.dataclass(frozen=True)
class NormalizeGradient:
    """See `normalize_gradient`."""

    scales: tuple[float, ...]

    def __call__(self, key: Array, images: Array) -> Array:
        """The same images."""
        if len(self.scales) not in (1, len(images)):
            raise ValueError(f"{len(self.scales)} lengths of a gradient do not go with {len(images)} images")
        return ops.gradient_of_length(images, jnp.broadcast_to(jnp.array(self.scales, images.dtype), len(images)))


@dataclasses.dataclass(frozen=True)
class CollapseAlpha:
    """See `collapse_alpha`."""

    colour: tuple[float, ...] | None
    sd: float
    decay: float

    def __call__(self, key: Array, images: Array) -> Array:
        """From `[N, H, W, 4]` to `[N, H, W, 3]`."""
        number, height, width, channels = images.shape
        if channels != 4:
            raise ValueError(f"opacity is the fourth channel of images, but these have {channels}")
        if self.colour is None:
            noise = pictures.image((height, width), batch=number, basis=pictures.Fourier(self.sd, self.decay))
            background = noise.decode(noise.init(key))
        else:
            background = jnp.array(self.colour, images.dtype)
        colours, alpha = images[..., :3], images[..., 3:]
        return alpha * colours + (1 - alpha) * background


@dataclasses.dataclass(frozen=True)
class SameForAll:
    """See `same_for_all`."""

    transform: Transform

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`, each as the first of a batch."""
        return jax.vmap(lambda image: self.transform(key, image[None])[0])(images)


@dataclasses.dataclass(frozen=True)
class Compose:
    """See `compose`."""

    transforms: tuple[Transform, ...]

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        greys = _greys(self.transforms)
        for grey, run in itertools.groupby(range(len(greys)), greys.__getitem__):
            places = list(run)
            keys = [jax.random.fold_in(key, place) for place in places]
            steps = [self.transforms[place] for place in places]
            if grey is None:
                for transform, own in zip(steps, keys, strict=True):
                    images = transform(own, images)
            else:
                images = _resample_run(steps, keys, images, grey)  # type: ignore[arg-type]
        return images


def _greys(transforms: tuple[Transform, ...]) -> list[float | None]:
    """The grey beyond the edge for each transform that only moves coordinates; None for one that does anything else."""
    grey, greys = GREY, []
    for transform in transforms:
        grey = transform.value if isinstance(transform, Pad) else grey
        greys.append(grey if isinstance(transform, _Move) else None)
    return greys


def _each(fn: Callable[[Array, Array], Array], key: Array, images: Array) -> Array:
    """Map over images, each with a key of its own that does not depend on the batch."""
    keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(len(images)))
    return jax.vmap(fn)(keys, images)


def _framed(image: Array, pixels: int, value: float | Array) -> Array:
    """An image `[H, W, C]` with a border of one grey, transparent if there is opacity."""
    border = ((pixels, pixels), (pixels, pixels), (0, 0))
    colours = jnp.pad(image[..., :3], border, constant_values=value)
    return jnp.concatenate([colours, jnp.pad(image[..., 3:], border)], axis=-1)


def _reflected(key: Array, image: Array, pixels: int) -> Array:
    return jnp.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)), "reflect")


def _randomly_framed(key: Array, image: Array, pixels: int) -> Array:
    return _framed(image, pixels, jax.random.uniform(key, dtype=image.dtype))


_BORDERS = {"reflect": _reflected, "random": _randomly_framed}


def _smooth(image: Array, weights: Array, radius: int, axis: int) -> Array:
    """Correlate along one axis; beyond the edge, the outermost pixels repeat."""
    border = [(radius, radius) if i == axis else (0, 0) for i in range(image.ndim)]
    wide, length = jnp.pad(image, border, "edge"), image.shape[axis]
    shifted = (jax.lax.slice_in_dim(wide, i, i + length, axis=axis) for i in range(2 * radius + 1))
    return sum(weight * part for weight, part in zip(weights, shifted, strict=True))  # type: ignore[return-value]


def _resample_run(moves: list[_Move], keys: list[Array], images: Array, value: float) -> Array:
    _, height, width, channels = images.shape
    beyond = jnp.array([value, value, value, 0][:channels], images.dtype)  # transparent, where there is opacity
    stretch = math.prod(move.stretch() for move in moves)
    sizes = list(itertools.accumulate(moves, lambda size, move: move.size(size), initial=(height, width)))

    def resample(index: Array, image: Array) -> Array:
        matrices = [
            move.matrix(jax.random.fold_in(key, index), size)
            for move, key, size in zip(moves, keys, sizes, strict=False)
        ]
        return ops.resample(image, beyond, functools.reduce(_product, matrices), sizes[-1], stretch)

    return jax.vmap(resample)(jnp.arange(len(images)), images)


def _shift(by: Array) -> Array:
    return jnp.eye(3).at[:2, 2].set(by)


def _about_centre(linear: Array, size: tuple[int, int]) -> Array:
    centre = (jnp.array(size) - 1) / 2
    return jnp.eye(3).at[:2, :2].set(linear).at[:2, 2].set(centre - _product(linear, centre))


def _product(a: Array, b: Array) -> Array:
    """A matrix product in full precision, on accelerators too: coordinates must not be rounded to bfloat16."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _pixels(pixels: int) -> int:
    if not isinstance(pixels, int | np.integer) or isinstance(pixels, bool) or pixels < 0:
        raise ValueError(f"a width in pixels is a whole number from 0 on, not {pixels!r}")
    return int(pixels)


# Published sets. What differs here from all of their systems is at the top of this file.

LUCID = compose(
    pad(12),
    jitter(8),
    random_scale([1 + (i - 5) / 50 for i in range(11)]),
    random_rotate([*range(-10, 11), 0, 0, 0, 0, 0]),
    jitter(4),
)
"""The standard set of Lucid: 224 pixels become 236. Lucid's rotation takes the nearest pixel and shows black beyond."""

LUCENT = compose(pad(16), *LUCID.transforms[1:4], pad(2), jitter(4))
"""The standard set of Lucent, the numbers of Lucid with jitter that keeps the size: 224 pixels become 248.

Lucent only shifts right and down, by up to 7 and 3 pixels, and shows black beyond; here shifts go both ways, by up to 4
and 2. Images that a scale above 1 makes larger than 248 pixels stay so in Lucent, and come to 248 here.
"""

TORCHLIGHT = compose(
    pad(32, 0), jitter(32), random_scale(between(0.95, 1.05)), random_rotate(between(-5, 5)), jitter(32)
)
"""The default set of TorchLight: black borders of 16 pixels, two shifts by up to 16 either way; the size stays.

TorchLight takes the nearest pixel at each move, and crops the last 16 pixels at the top and on the left only, so that
its network sees 240 pixels of 224, off the centre; here it sees the middle.
"""

LUCID_INVERSION = compose(
    pad(8),
    jitter(8),
    random_scale([0.9, 0.95, 1.05, 1.1, 1, 1, 1, 1]),
    random_rotate([*range(-5, 5), 0, 0, 0, 0, 0]),
    jitter(2),
)
"""The set of Lucid's notebook on feature inversion: 224 pixels become 230."""

LUCID_ATLAS = compose(
    pad(16),
    jitter(4),
    jitter(4),
    jitter(8),
    jitter(8),
    jitter(8),
    random_scale([0.998**n for n in range(20, 40)]),
    random_rotate([*range(-20, 20), *range(-10, 10), *range(-5, 5), 0, 0, 0, 0, 0]),
    jitter(2),
    pad(1),
)
"""The set of Lucid's activation atlas (`recipes/activation_atlas/render.py`); the last pad restores the size."""

MACO = compose(random_crop(224), noise(normal=0.08, uniform=0.04))
"""Crops and noise of MACO at the size of the default network; numbers as in Xplique. Use many views of each step."""

DEFAULT = LUCID
"""What `visualize` uses: the robust set of Lucid, as one resampling; 224 pixels become 236."""
