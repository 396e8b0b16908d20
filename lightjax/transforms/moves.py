"""Transforms that move coordinates: borders, shifts, scales, rotations, flips and crops."""

import dataclasses
import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks
from lightjax.transforms.base import (
    GRAY,
    MOST_PIXELS,
    Between,
    Choices,
    Move,
    Size,
    choices,
    colors_in,
    draw,
    each,
    ends,
    product,
)

_SIDES = Between(0.05, 0.5)


@dataclasses.dataclass(frozen=True)
class Pad(Move):
    """Add a border on all sides.

    Args:
      pixels: Width of the border, at least 0.
      value: A gray in [0, 1]; "reflect" for the picture itself, mirrored at its outermost pixels (the default of
        Lucid's `pad`); "wrap" for its opposite side; or "random" for a gray of its own for each picture, anew at each
        step (Lucid's "uniform").

    Raises:
      TypeError: If the width is not a whole number, or the value neither a number nor a string.
      ValueError: If the width is negative, the gray out of range, or the word unknown.
    """

    pixels: int
    value: float | str = GRAY

    def __post_init__(self):
        _checks.keep(
            self, pixels=_checks.whole(_checks.whole(self.pixels, "pixels", least=0), "pixels", most=MOST_PIXELS)
        )
        if isinstance(self.value, str):
            _checks.keep(self, value=str(_checks.one_of(self.value, _BORDERS, "border")))
        else:
            _checks.keep(self, value=_checks.number(self.value, "value", least=0, most=1))

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Larger by the border on either side."""
        return size[0] + 2 * self.pixels, size[1] + 2 * self.pixels

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A shift by the border."""
        return _shift(jnp.full(2, -self.pixels))

    def only_moves(self) -> bool:
        """True if the border is one gray, as it is for all pictures."""
        return not isinstance(self.value, str)

    def gray(self) -> float | None:
        """The gray of the border."""
        return None if isinstance(self.value, str) else self.value

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        if isinstance(self.value, str):
            border = _BORDERS[self.value]
            return each(lambda key, image: border(key, image, self.pixels), key, images)
        return super().__call__(key, images)


@dataclasses.dataclass(frozen=True)
class CropOrPad(Move):
    """Bring images to a size by cropping, or padding, equally on opposite sides; an odd pixel goes at the end.

    Lucid pads with black, here with the gray of the last `Pad`.

    Args:
      size: Pixels, at least 1, one number for a square or (height, width).

    Raises:
      TypeError: If the size is not made of whole numbers.
      ValueError: If it is out of range, or does not have one or two numbers.
    """

    size: Size

    def __post_init__(self):
        _checks.keep(self, size=_checks.height_and_width(self.size))

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of the setting."""
        return cast("tuple[int, int]", self.size)

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A shift by half the difference."""
        return _shift(jnp.trunc((jnp.array(size, float) - jnp.array(self.size, float)) / 2))


@dataclasses.dataclass(frozen=True)
class Jitter(Move):
    """Crop rows and columns away, at a random place.

    Lucent and TorchLight shift, and keep the size: `compose(Pad(16), Jitter(32))` shifts by up to 16 either way.

    Args:
      pixels: Number of rows and of columns to crop, at least 0; the offset along each axis is drawn from 0 to `pixels`,
        all equally likely.

    Raises:
      TypeError: If it is not a whole number.
      ValueError: If it is negative, or, in a call, if an image is too small.
    """

    pixels: int

    def __post_init__(self):
        _checks.keep(
            self, pixels=_checks.whole(_checks.whole(self.pixels, "pixels", least=0), "pixels", most=MOST_PIXELS)
        )

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Smaller by the jitter."""
        if min(size) <= self.pixels:
            raise ValueError(f"an image of {size[0]}x{size[1]} pixels is too small to jitter by {self.pixels}")
        return size[0] - self.pixels, size[1] - self.pixels

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A shift by whole pixels."""
        return _shift(jax.random.randint(key, (2,), 0, self.pixels + 1))


@dataclasses.dataclass(frozen=True)
class RandomScale(Move):
    """Zoom about the center by a drawn factor; the size stays, and gray fills gaps.

    Args:
      scales: Positive factors, all equally likely, or `Between(low, high)`; above 1 enlarges.

    Raises:
      TypeError: If they are not numbers.
      ValueError: If there is no factor, or one is not positive.
    """

    scales: Choices

    def __post_init__(self):
        _checks.keep(self, scales=choices(self.scales, "scales", above=0))

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A zoom about the center."""
        scale = draw(key, self.scales)
        return _about_center(jnp.eye(2) / scale, size)

    def stretch(self) -> float:
        """The largest factor."""
        return max(ends(self.scales))


@dataclasses.dataclass(frozen=True)
class RandomRotate(Move):
    """Turn about the center by a drawn angle; the size stays, and gray fills gaps.

    Args:
      degrees: Angles in degrees, counterclockwise, all equally likely, or `Between(low, high)`; a repeated one is more
        likely.

    Raises:
      TypeError: If they are not numbers.
      ValueError: If there is no angle, or one is not finite.
    """

    degrees: Choices

    def __post_init__(self):
        _checks.keep(self, degrees=choices(self.degrees, "degrees"))

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A turn about the center."""
        angle = jnp.deg2rad(draw(key, self.degrees))
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return _about_center(jnp.array([[cos, sin], [-sin, cos]]), size)

    def stretch(self) -> float:
        """The stretch of the angle nearest to a diagonal, |cos| + |sin|."""
        angles = np.array(ends(self.degrees))
        if isinstance(self.degrees, Between) and (angles[0] - 45) // 90 != (angles[1] - 45) // 90:
            return math.sqrt(2)
        return float((np.abs(np.cos(np.deg2rad(angles))) + np.abs(np.sin(np.deg2rad(angles)))).max())


@dataclasses.dataclass(frozen=True)
class RandomFlip(Move):
    """Exchange left and right with a probability.

    Args:
      probability: Probability of the exchange, in [0, 1].

    Raises:
      TypeError: If it is not a number.
      ValueError: If it is out of range.
    """

    probability: float = 0.5

    def __post_init__(self):
        _checks.keep(self, probability=_checks.number(self.probability, "probability", least=0, most=1))

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """Columns counted from the other end."""
        mirror = jnp.eye(3).at[1].set(jnp.array([0.0, -1, size[1] - 1]))
        return jnp.where(jax.random.bernoulli(key, self.probability), mirror, jnp.eye(3))


@dataclasses.dataclass(frozen=True)
class RandomCrop(Move):
    """Enlarge or reduce a random box of the picture to a size: the crops of MACO, which takes many for each step.

    The largest possible box has the shape of the result and touches two sides of the picture; the box is a drawn
    fraction of it. Its center is drawn from a normal distribution about that of the picture; a box that would stick out
    is moved inside, where Xplique shows black. Samples are taken as for all moves, bilinearly at single points, so a
    result much smaller than its box is grainy. Xplique shrinks the boxes in the course of a render, from a half to a
    twentieth; here all sizes are drawn at all times. See `views` of `visualize` for several crops in each step.

    Args:
      size: Pixels of the result, at least 2, one number for a square or (height, width).
      sides: Sides of the box, as fractions in (0, 1] of those of the largest.
      spread: Standard deviation of the center along each axis, as a fraction of that side of the picture; at least 0.

    Raises:
      TypeError: If a setting is not made of numbers.
      ValueError: If a setting is out of range.

    References:
      Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization", 2023;
      numbers as in Xplique.
    """

    size: Size
    sides: Choices = _SIDES
    spread: float = 0.15

    def __post_init__(self):
        _checks.keep(
            self,
            size=_checks.height_and_width(self.size, least=2),
            sides=choices(self.sides, "sides", above=0, most=1),
            spread=_checks.number(self.spread, "spread", least=0),
        )

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of the setting."""
        return cast("tuple[int, int]", self.size)

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """A zoom into the box."""
        for_side, for_center = jax.random.split(key)
        # Lengths are those between the centers of the outermost pixels, so that nothing beyond the edge is ever seen.
        whole, own = jnp.array(size, float) - 1, jnp.array(self.size, float) - 1
        step = draw(for_side, self.sides) * (whole / own).min()
        center = 0.5 + self.spread * jax.random.normal(for_center, (2,))
        corner = jnp.clip(center * whole - step * own / 2, 0, jnp.maximum(whole - step * own, 0))
        return jnp.diag(jnp.array([step, step, 1])).at[:2, 2].set(corner)

    def stretch(self) -> float:
        """Infinite: the enlargement of a box depends on the size of the picture."""
        return math.inf


def _shift(by: Array) -> Array:
    return jnp.eye(3).at[:2, 2].set(by.astype(float))


def _about_center(linear: Array, size: tuple[int, int]) -> Array:
    center = (jnp.array(size, float) - 1) / 2
    return jnp.eye(3).at[:2, :2].set(linear).at[:2, 2].set(center - product(linear, center))


# Borders that are not moves: their pixels depend on the picture or on the draw.


def _reflect(key: Array, image: Array, pixels: int) -> Array:
    return jnp.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)), "reflect")


def _wrap(key: Array, image: Array, pixels: int) -> Array:
    return jnp.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)), "wrap")


def _frame_randomly(key: Array, image: Array, pixels: int) -> Array:
    """A border of one drawn gray, transparent if there is opacity."""
    border = ((pixels, pixels), (pixels, pixels), (0, 0))
    number = colors_in(image)
    colors = jnp.pad(image[..., :number], border, constant_values=jax.random.uniform(key, dtype=image.dtype))
    return jnp.concatenate([colors, jnp.pad(image[..., number:], border)], axis=-1)


_BORDERS = {"reflect": _reflect, "wrap": _wrap, "random": _frame_randomly}
