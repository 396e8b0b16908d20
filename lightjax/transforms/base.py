"""Common parts of all transforms: the protocol, random settings, and moves that share one resampling."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks, ops

MOST_PIXELS = 10_000
"""Widest border, and largest number of rows and columns that are cropped away."""
GRAY = 0.5
"""The gray beyond the edge if no `Pad` sets another one."""

Size = int | Sequence[int] | np.ndarray
"""Pixels: one number for a square, or (height, width). Transforms store the pair."""


class Transform(Protocol):
    """A function of a key and images. It must be hashable, and the size of its result must not depend on the key.

    One that changes in the course of a render also has a method `at_step(step)`, which returns the function for a step
    (see `at_step`). Called by itself, it does what it does at step 0.
    """

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        ...


# Settings


@dataclasses.dataclass(frozen=True)
class Between:
    """Any number from `low` to `high`, all equally likely: for `RandomScale` and other transforms that draw a number.

    Args:
      low: The lower end.
      high: The upper end, at least `low`.

    Raises:
      TypeError: If an end is not a number.
      ValueError: If an end is not finite, or `high` is less than `low`.
    """

    low: float
    high: float

    def __post_init__(self):
        low = _checks.number(self.low, "low")
        _checks.keep(self, low=low, high=_checks.number(self.high, "high", least=low))


Choices = float | Sequence[float] | np.ndarray | Between
"""One number, several that are equally likely, or `Between`. Transforms store a tuple of floats or `Between`."""


def numbers(given: Any, what: str, *, above: float | None = None, most: float | None = None) -> tuple[float, ...]:
    """One number or several as a tuple of floats.

    Raises:
      TypeError: If something else is given.
      ValueError: If there is no number, or one is out of range.
    """
    given = _checks.plain(given)
    several = tuple(given) if _checks.is_several(given) else (given,)
    if not several:
        raise ValueError(f"{what} must contain at least one number, got {_checks.shown(given)}")
    return tuple(_checks.number(value, what, above=above, most=most) for value in several)


def choices(
    given: Any, what: str, *, above: float | None = None, most: float | None = None
) -> tuple[float, ...] | Between:
    """Numbers as `numbers` returns them, or `Between` if both of its ends are in range.

    Raises:
      TypeError: If something else is given.
      ValueError: If there is no number, or one is out of range.
    """
    if isinstance(given, Between):
        numbers(ends(given), what, above=above, most=most)
        return given
    return numbers(given, what, above=above, most=most)


def ends(stored: Choices) -> tuple[float, ...]:
    """All choices, or the two ends of `Between`."""
    return (stored.low, stored.high) if isinstance(stored, Between) else cast("tuple[float, ...]", stored)


def draw(key: Array, stored: Choices) -> Array:
    """Draw one of the choices."""
    if isinstance(stored, Between):
        return jax.random.uniform(key, minval=stored.low, maxval=stored.high)
    return jax.random.choice(key, jnp.array(stored))


def check_transform(given: Any) -> None:
    """Check that a transform is callable.

    Raises:
      TypeError: If it is not a function.
    """
    if not callable(given) or isinstance(given, type):
        raise TypeError(f"a transform must be a function of a key and images, got {_checks.shown(given)}")


def at_step(transform: Transform, step: ArrayLike) -> Transform:
    """What a transform does at a step: the function that its method `at_step` returns, or itself if it has none.

    Args:
      transform: Any transform. One that holds others has a method `at_step` that calls theirs.
      step: Number of updates made before, from 0. It is traced in a render, so the function may hold traced values,
        and need not be hashable.

    Raises:
      TypeError: If it is no transform, if the method returns something else than a function, or if `step` is no number.
      ValueError: If `step` is negative.
    """
    check_transform(transform)
    if not isinstance(step, jax.Array):
        _checks.whole(step, "step", least=0)
    method = getattr(transform, "at_step", None)
    if method is None:
        return transform
    found = method(step)
    check_transform(found)
    return found


def each(fn: Callable[[Array, Array], Array], key: Array, images: Array) -> Array:
    """Map over images, each with a key of its own that does not depend on the batch."""
    keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(len(images)))
    return jax.vmap(fn)(keys, images)


def colors_in(image: Array) -> int:
    """Number of channels that are not opacity, which is the last of four."""
    return 3 if image.shape[-1] == 4 else image.shape[-1]


# Moves


class Move:
    """Base class of the transforms that move coordinates. Subclasses say where one draw moves them."""

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width after the move, from those before."""
        return size

    def matrix(self, key: Array, size: tuple[int, int]) -> Array:
        """The affine map from (row, column, 1) of a pixel after the move to its place before, `[3, 3]`.

        Args:
          key: Decides the draw.
          size: Height and width before the move.
        """
        raise NotImplementedError

    def stretch(self) -> float:
        """Upper bound on the enlargement over all draws (see `ops.resample`)."""
        return 1.0

    def only_moves(self) -> bool:
        """Whether the move can be resampled together with its neighbors. If not, `__call__` does all of the work."""
        return True

    def gray(self) -> float | None:
        """The gray outside of the image for this move and the following ones; None leaves the gray unchanged."""
        return None

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        return Compose((cast(Transform, self),))(key, images)


@dataclasses.dataclass(frozen=True)
class Compose:
    """Apply transforms in the given order; neighboring moves share one resampling. Built by `compose`.

    Args:
      transforms: Several transforms. The members of a `Compose` among them take its place.

    Raises:
      TypeError: If one of them is not a function.
    """

    transforms: tuple[Transform, ...]

    def __post_init__(self):
        if not isinstance(self.transforms, tuple | list):
            raise TypeError(f"transforms must be several transforms, got {_checks.shown(self.transforms)}")
        flat: list[Transform] = []
        for transform in self.transforms:
            check_transform(transform)
            flat += transform.transforms if isinstance(transform, Compose) else [transform]
        _checks.keep(self, transforms=tuple(flat))

    def __call__(self, key: Array, images: Array) -> Array:
        """Transform `[N, H, W, C]`."""
        grays = _grays(self.transforms)
        for gray, run in itertools.groupby(range(len(grays)), grays.__getitem__):
            places = list(run)
            keys = [jax.random.fold_in(key, place) for place in places]
            steps = [self.transforms[place] for place in places]
            if gray is None:
                for transform, own in zip(steps, keys, strict=True):
                    images = transform(own, images)
            else:
                images = _resample_run(cast("list[Move]", steps), keys, images, gray)
        return images

    def at_step(self, step: ArrayLike) -> "Compose":
        """The same of what each transform does at a step."""
        parts = tuple(at_step(transform, step) for transform in self.transforms)
        same = all(part is transform for part, transform in zip(parts, self.transforms, strict=True))
        return self if same else Compose(parts)


def compose(*transforms: Transform) -> Compose:
    """Apply transforms in the given order; neighboring moves share one resampling.

    Raises:
      TypeError: If one of them is not a function.
    """
    return Compose(transforms)


def product(a: Array, b: Array) -> Array:
    """A matrix product in full precision, on accelerators too: coordinates must not be rounded to bfloat16."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _grays(transforms: tuple[Transform, ...]) -> list[float | None]:
    """The gray beyond the edge for each transform that only moves coordinates, None for each other transform."""
    gray, grays = GRAY, []
    for transform in transforms:
        if isinstance(transform, Move) and transform.only_moves():
            own = transform.gray()
            gray = gray if own is None else own
            grays.append(gray)
        else:
            grays.append(None)
    return grays


def _resample_run(moves: list[Move], keys: list[Array], images: Array, gray: float) -> Array:
    _, height, width, channels = images.shape
    colors = colors_in(images)
    beyond = jnp.array([gray] * colors + [0] * (channels - colors), images.dtype)  # transparent, if there is opacity
    stretch = math.prod(move.stretch() for move in moves)
    sizes = list(itertools.accumulate(moves, lambda size, move: move.size_after(size), initial=(height, width)))

    def resample(index: Array, image: Array) -> Array:
        matrices = [
            move.matrix(jax.random.fold_in(key, index), size)
            for move, key, size in zip(moves, keys, sizes, strict=False)
        ]
        return ops.resample(image, beyond, functools.reduce(product, matrices), sizes[-1], stretch)

    return jax.vmap(resample)(jnp.arange(len(images)), images)
