"""From planes to pictures: colors, a squash into [0, 1], and opacity; and starting from given pictures."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks, ops
from lightjax.images import statistics
from lightjax.images.base import Basis, Image, Shape, Size, check_basis, inverse
from lightjax.images.bases import Fourier
from lightjax.images.statistics import Matrix
from lightjax.pictures import load_picture

Color = str | Sequence[Sequence[float]]

# Square root of the covariance of colors in natural images (ImageNet), from Lucid's `param/color.py`, scaled so that
# its largest column has norm 1.
_COLOR = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOR_CORRELATION = _COLOR / np.linalg.norm(_COLOR, axis=0).max()
"""Turns decorrelated colors into red, green and blue: `rgb = COLOR_CORRELATION @ decorrelated`, `[3, 3]`.

The name is Lucid's. The matrix is a square root of the covariance of colors, not a correlation.
"""

_MOST_SUMS = 64
MOST_CHANNELS = 1024
"""Most channels of a picture."""
GRAY_LEVEL = 1 / 255
"""The step between neighboring values of a picture in a file."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["basis"],
    meta_fields=["height", "width", "batch", "color", "squash", "alpha", "channels"],
)
@dataclasses.dataclass(frozen=True)
class NaturalImage:
    """Pictures over a basis: its planes, given colors and squashed into [0, 1]. `image` makes one.

    Attributes:
      height: Pixels.
      width: Pixels.
      batch: Number of pictures, which one objective optimizes together.
      basis: Parameters of the planes.
      color: Turns the planes into channels, such as red, green and blue (see `image`).
      squash: Brings the values into [0, 1] (see `image`).
      alpha: Whether the last plane, through a sigmoid, is the opacity.
      channels: Number of channels besides opacity.
    """

    height: int
    width: int
    batch: int
    basis: Basis
    color: str | Matrix
    squash: str
    alpha: bool
    channels: int = 3

    def __post_init__(self):
        """Check the settings. The basis may be a placeholder of JAX here."""
        check_basis(self.basis)
        channels = _checks.whole(self.channels, "channels", least=1)
        _checks.whole(channels, "channels", most=MOST_CHANNELS)
        if channels == 4:
            raise ValueError(
                "channels must not be 4, which stands for colors and opacity: use channels=5 and a model that looks at "
                "four of them, lambda images: network(images[..., :4])"
            )
        if channels != 3 and self.alpha:
            raise ValueError(f"alpha must be False for an image of {channels} channels, not red, green and blue")
        _checks.keep(
            self,
            height=_checks.count(self.height, "height"),
            width=_checks.count(self.width, "width"),
            batch=_checks.count(self.batch, "batch"),
            color=_checked_color(self.color, channels),
            squash=_checks.one_of(self.squash, SQUASHES, "squash"),
            alpha=_checks.flag(self.alpha, "alpha"),
            channels=channels,
        )

    def init(self, key: Array) -> Any:
        """Draw parameters; those of picture i are the same for every batch."""
        return self.basis.init(key, self._shape())

    def decode(self, params: Any) -> Array:
        """The pictures `[N, H, W, channels]` in [0, 1], with opacity as the last of four channels if there is alpha."""
        planes = self.basis.decode(params, self._shape())
        number = self._shape()[-1] - self.alpha
        colors = _SQUASHES[self.squash].forward(self._mixed(planes[..., :number]))
        if not self.alpha:
            return colors
        return jnp.concatenate([colors, jax.nn.sigmoid(planes[..., number:])], axis=-1)

    def encode(self, pictures: Array) -> Any:
        """Parameters of given pictures in [0, 1], of the form that `decode` returns.

        `decode` returns the given pictures to within one gray level if the color and the squash can represent them. (A
        gray image has no colors, and "min_max" always reaches black and white.)

        Raises:
          ValueError: If the basis has no inverse.
        """
        colors = _SQUASHES[self.squash].inverse(pictures[..., : self.channels])
        planes = self._mixed(colors, np.linalg.pinv)
        if self.alpha:
            planes = jnp.concatenate([planes, _logit(pictures[..., self.channels :])], axis=-1)
        return inverse(self.basis)(planes)

    def _mixed(self, planes: Array, of: Callable = np.asarray) -> Array:
        """Planes times the matrix of the color, or a function of that matrix; "bands" are as they are."""
        return planes if self.color == "bands" else _times(planes, of(color_matrix(self.color, self.channels)))

    def _shape(self) -> Shape:
        planes = self.channels if self.color == "bands" else color_matrix(self.color, self.channels).shape[1]
        return self.batch, self.height, self.width, planes + self.alpha


def image(
    size: Size = 224,
    *,
    basis: Basis = Fourier(),  # noqa: B008  (frozen)
    batch: int = 1,
    color: Color | None = None,
    squash: str = "sigmoid",
    alpha: bool = False,
    channels: int = 3,
) -> NaturalImage:
    """A parameterization of pictures. Every basis goes with every color space, every squash, and opacity.

    Examples:
      >>> lj.image((160, 224), basis=lj.images.Laplacian(levels=5), batch=2, color="caltech101")
      >>> lj.image(28, channels=1)  # for a network of one channel

    Args:
      size: Pixels, one number for a square or (height, width); a signal is a picture of one row, (1, width).
      basis: Parameters of the planes: `Fourier`, `Pixels`, `Laplacian`, `FourierPhases` (MACO), `Cppn`, `Shared`, or
        your own (see `Basis`).
      batch: Number of pictures that one objective optimizes together.
      color: Turns the planes into red, green and blue. "lucid": the square root of the covariance of colors in ImageNet
        (`COLOR_CORRELATION`); "caltech101": the same in Caltech-101; "rgb": the planes are red, green and blue; "gray"
        or "grey": one plane is all channels (one channel, if the network only takes that); "bands": each plane is a
        channel; or a matrix `[channels, planes]` of your own (`load_statistics(file).color`). By default "lucid", or
        the basis's own: "rgb" for `Cppn`, the colors of its statistics for `FourierPhases`; "gray" for one channel, and
        "bands" for more than three or two.
      squash: Brings the values into [0, 1]. "sigmoid"; "clamp": adds 1/2 (Lucid adds the mean color of ImageNet) and
        clamps, with a gradient that brings saturated values back (`ops.clamp`); "min_max": each picture is scaled to
        reach 0 and 1; "norm": each picture is divided by its largest magnitude if that is above 1, then moved from
        [-1, 1] to [0, 1]. TorchLight's `min_max` and `norm` scale by the extremes of the whole batch, so that its
        pictures depend on each other. TorchLight's `clamp` adds nothing, so that half of its initial values are black.
      alpha: Whether the pictures have a fourth channel, their opacity.
      channels: Number of channels of the pictures, as many as the network takes: 3 for red, green and blue, 1 for gray
        pictures, any other but 4 for bands. Files and notebooks show pictures of 1 and 3 channels.

    Returns:
      The parameterization: its `init` draws parameters, and its `decode` turns them into pictures.

    Raises:
      TypeError: If a setting has a wrong type.
      ValueError: If a size, `batch` or `channels` is less than 1, a color or squash is unknown, or they do not go
        together.
    """
    height, width = _checks.height_and_width(size)
    if not callable(getattr(basis, "init", None)) or not callable(getattr(basis, "decode", None)):
        raise TypeError(f"basis must have functions init and decode, such as Fourier() has, got {_checks.shown(basis)}")
    channels = _checks.whole(channels, "channels", least=1)
    if color is None:
        color = getattr(basis, "color", "lucid") if channels == 3 else "gray" if channels == 1 else "bands"
    return NaturalImage(height, width, batch, basis, color, squash, alpha, channels)  # type: ignore[arg-type]


def color_matrix(color: str | Matrix, channels: int = 3) -> np.ndarray:
    """The matrix of a color space: `rgb = matrix @ planes`, `[channels, planes]` (see `image`).

    Raises:
      TypeError: If the color is neither a string nor an array.
      ValueError: If the name is unknown, or the matrix has a wrong shape or a value that is not finite.
    """
    channels = _checks.whole(_checks.whole(channels, "channels", least=1), "channels", most=MOST_CHANNELS)
    color = _checked_color(color, channels)
    if not isinstance(color, str):
        return np.array(color, np.float32)
    if color in statistics.SHIPPED:
        return np.array(statistics.load_statistics(color).color, np.float32)
    return _COLORS[color](channels).astype(np.float32)


_COLORS: Mapping[str, Callable[[int], np.ndarray]] = MappingProxyType(
    {
        "lucid": lambda channels: COLOR_CORRELATION,
        "rgb": np.eye,
        "gray": lambda channels: np.ones((channels, 1)),
        "bands": np.eye,
    }
)


def _checked_color(color: Any, channels: int) -> str | Matrix:
    if isinstance(color, str):
        color = _checks.one_of("gray" if color == "grey" else color, (*_COLORS, *statistics.SHIPPED), "color")
        if channels != 3 and color not in ("gray", "bands"):
            raise ValueError(f"color {color!r} has 3 channels: use 'gray' or 'bands' for an image of {channels}")
        return color
    must = (
        f"color must be a name or a matrix [{channels}, planes] of finite numbers with 1 to {channels} planes, "
        f"got {_checks.shown(color)}"
    )
    if not isinstance(color, Sequence | np.ndarray | jax.Array):
        raise TypeError(must)
    try:
        matrix = np.asarray(color, np.float64)
    except (TypeError, ValueError):  # rows of different lengths, or entries that are not numbers
        matrix = np.zeros(0)
    possible = [(channels, planes) for planes in range(1, channels + 1)]
    if matrix.shape not in possible or not np.isfinite(matrix).all():
        raise ValueError(must)
    return tuple(tuple(map(float, row)) for row in matrix.reshape(channels, -1).tolist())


class _Squash(NamedTuple):
    forward: Callable[[Array], Array]
    inverse: Callable[[Array], Array]


def _min_max(t: Array) -> Array:
    low, high = t.min(axis=(-3, -2, -1), keepdims=True), t.max(axis=(-3, -2, -1), keepdims=True)
    return ops.clamp((t - low) / jnp.where(high > low, high - low, 1))  # XLA's division may overshoot by a bit


def _norm(t: Array) -> Array:
    return ops.clamp((t / jnp.maximum(jnp.abs(t).max(axis=(-3, -2, -1), keepdims=True), 1) + 1) / 2)


def _logit(p: Array) -> Array:
    """The inverse of the sigmoid. Black and white, which it never reaches, become nearly so: the same in a file."""
    return jax.scipy.special.logit(jnp.clip(p, 0.4 * GRAY_LEVEL, 1 - 0.4 * GRAY_LEVEL))


_SQUASHES: Mapping[str, _Squash] = MappingProxyType(
    {
        "sigmoid": _Squash(jax.nn.sigmoid, _logit),
        "clamp": _Squash(lambda t: ops.clamp(t + 0.5), lambda p: p - 0.5),
        "min_max": _Squash(_min_max, lambda p: p),
        "norm": _Squash(_norm, lambda p: 2 * p - 1),
    }
)
SQUASHES = tuple(_SQUASHES)
"""Names of the ways to bring values into [0, 1] (see `image`)."""


def check_start(image: Image, pictures: ArrayLike | str | os.PathLike, shape: Shape) -> np.ndarray:
    """Check that an image can start from pictures, and give them the shape of the image.

    Args:
      image: The parameterization.
      pictures: `[H, W, C]` for every picture of the batch, or `[N, H, W, C]`, in [0, 1]; or a file, which
        `load_picture` fits to the size of the image.
      shape: Shape of the decoded pictures.

    Returns:
      The pictures, float32 of that shape; with opacity 1 if the image has an alpha channel and the pictures have none,
      and with one of three equal channels if the image has one.

    Raises:
      ValueError: If they have another size or other values, or the image cannot show them to within a gray level.
      OSError: If the file cannot be opened.
    """
    sides = [_checks.count(side, "shape") for side in _checks.several(shape, "shape", "numbers, (N, H, W, C)")]
    if len(sides) != 4:
        raise ValueError(f"shape must have four numbers, (N, H, W, C), got {_checks.shown(shape)}")
    number, height, width, channels = sides
    if not callable(getattr(image, "decode", None)) or isinstance(image, type):
        raise TypeError(f"image must have functions init and decode, as lj.image() has, got {_checks.shown(image)}")
    if isinstance(pictures, str | os.PathLike):
        pictures = load_picture(_checks.path(pictures, "start"), (height, width), gray=channels == 1)
    pictures = _checks.array(pictures, "start")
    forms = {channels, *((3, 4) if channels == 4 else (1, 3) if channels == 1 else ())}
    if pictures.ndim in (3, 4) and (pictures.shape[-1], channels) == (4, 3):
        raise ValueError("start has opacity, so the image must have it too: use alpha=True")
    if pictures.ndim not in (3, 4) or pictures.shape[-1] not in forms:
        known = " or ".join(map(str, sorted(forms)))
        raise ValueError(f"start must be [H, W, {known}] or [N, H, W, {known}], got {list(pictures.shape)}")
    if pictures.shape[-3:-1] != (height, width):
        given = "x".join(map(str, pictures.shape[-3:-1]))
        raise ValueError(
            f"start must be {height}x{width} pixels like the image, got {given}: "
            f"load_picture(file, size=({height}, {width})) reads a picture to fit, or give the image that size"
        )
    if pictures.ndim == 4 and len(pictures) not in (1, number):
        raise ValueError(f"start must be 1 picture or {number} like the image, got {len(pictures)}")
    if pictures.dtype == np.uint8 or not ((pictures >= 0) & (pictures <= 1)).all():
        raise ValueError("start must have values in [0, 1]: divide those of files by 255")
    pictures = pictures.astype(np.float32)
    if channels == 1:
        if (pictures != pictures[..., :1]).any():
            raise ValueError(
                "start has colors, but the image has one channel: load_picture(file, gray=True) reads grays"
            )
        pictures = pictures[..., :1]
    if pictures.shape[-1] < channels:
        pictures = np.concatenate([pictures, np.ones_like(pictures[..., :1])], axis=-1)
    pictures = np.broadcast_to(pictures, sides)
    shown = np.asarray(image.decode(inverse(image)(jnp.asarray(pictures))))
    off = np.abs(shown - pictures).max() * 255
    if not off <= 1:
        raise ValueError(
            f"{_checks.shown(image)} cannot show the picture to start from: it would be off by up to "
            f"{off:.0f} gray levels "
            "(a gray image has no colors, and min_max always reaches black and white)"
        )
    return pictures


def _times(planes: Array, matrix: np.ndarray) -> Array:
    """`matrix @ plane` at every pixel, `[..., planes]` to `[..., rows]`: as sums, which XLA fuses, if they are few."""
    if matrix.size > _MOST_SUMS:
        weights = jnp.asarray(matrix, planes.dtype)
        return jnp.einsum("...p,rp->...r", planes, weights, precision=jax.lax.Precision.HIGHEST)
    planes = jnp.moveaxis(planes, -1, 0)
    rows = [sum(float(weight) * plane for weight, plane in zip(row, planes, strict=True)) for row in matrix]
    return jnp.stack(rows, axis=-1)
