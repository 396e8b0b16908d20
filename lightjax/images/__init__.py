"""Image parameterisations: what is optimised, and how it becomes a picture.

A parameterisation is a few pure functions on a frozen dataclass: `init(key) -> params`, `decode(params) -> pictures`,
and, where there is one, the inverse `encode(pictures) -> params`. Two with the same settings are equal and share one
compilation. Pictures are `[N, H, W, 3]` float32 in [0, 1], or `[N, H, W, 4]` with opacity; the N pictures of one
parameterisation are optimised together, by one objective.

All of them are a `Canvas` over some basis. The basis turns parameters into planes `[N, H, W, C]` of any real values:
as pixels, waves, a pyramid, a network of the coordinates. The canvas gives the planes colour and squashes them into
[0, 1]. So every basis goes with every colour space, every squash, and transparency.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import ops
from lightjax.images import statistics
from lightjax.images.statistics import Matrix, Statistics

Size = int | tuple[int, int]
Shape = tuple[int, int, int, int]
Colour = str | Sequence[Sequence[float]]

# Square root of the covariance of colours in natural images (ImageNet), from Lucid's `param/color.py`, scaled so that
# its largest column has norm 1.
_COLOUR = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOUR_CORRELATION = _COLOUR / np.linalg.norm(_COLOUR, axis=0).max()
"""Turns decorrelated colours into red, green and blue: `rgb = COLOUR_CORRELATION @ decorrelated`, `[3, 3]`."""

GREY_LEVEL = 1 / 255
"""The step between neighbouring values of a picture in a file."""


class Image(Protocol):
    """What every image parameterisation offers.

    It must be hashable, or a pytree whose arrays are data and all else hashable. To start from pictures it also needs
    `encode(pictures) -> params`, the inverse of `decode`.
    """

    def init(self, key: Array) -> Any:
        """Draw the parameters of N pictures from a key."""
        ...

    def decode(self, params: Any) -> Array:
        """The pictures `[N, H, W, 3 or 4]` in [0, 1] that the parameters stand for."""
        ...


class Basis(Protocol):
    """Parameters of planes `[N, H, W, C]` without bounds. A basis that has an inverse offers `encode(planes)` too."""

    def init(self, key: Array, shape: Shape) -> Any:
        """Draw the parameters of planes of a shape; picture i gets the same whatever the N."""
        ...

    def decode(self, params: Any, shape: Shape) -> Array:
        """The planes, `[N, H, W, C]`."""
        ...


# The parameterisations


def fourier_image(
    size: Size = 224,
    *,
    batch: int = 1,
    sd: float = 0.01,
    decay: float = 1.0,
    colour: Colour = "lucid",
    squash: str = "sigmoid",
    alpha: bool = False,
) -> "Canvas":
    """Pictures as sums of waves, in which all scales and colours move at the speed of natural images.

    The parameters are the coefficients of a two-dimensional Fourier transform, divided by their frequency, in a colour
    space without correlations. Any size will do, odd ones too.

    Args:
      size: Pixels, one number for a square or (height, width).
      batch: Number of pictures optimised together.
      sd: Standard deviation of the first coefficients, in real and imaginary part each.
      decay: Power of the frequency by which coefficients are divided.
      colour: How colours come about (see `Canvas`): "lucid", "caltech101", "rgb", "grey", or a matrix.
      squash: How values are brought into [0, 1] (see `Canvas`): "sigmoid", "clamp", "min_max" or "norm".
      alpha: Whether the pictures have a fourth channel, their opacity.

    Raises:
      ValueError: If a setting is out of range.

    References:
      Olah et al., "Feature Visualization", Distill, 2017. Constants as in Lucid, `param/spatial.py`, which makes odd
      widths by a picture one pixel wider, and crops it.
    """
    return _canvas(size, batch, Fourier(_positive(sd, "sd"), _finite(decay)), colour, squash, alpha)


def pixel_image(
    size: Size = 224,
    *,
    batch: int = 1,
    sd: float = 0.01,
    colour: Colour = "lucid",
    squash: str = "sigmoid",
    alpha: bool = False,
) -> "Canvas":
    """Pictures as plain pixels, in a colour space without correlations.

    Args:
      size: Pixels, one number for a square or (height, width).
      batch: Number of pictures optimised together.
      sd: Standard deviation of the first values.
      colour: How colours come about (see `Canvas`): "lucid", "caltech101", "rgb", "grey", or a matrix.
      squash: How values are brought into [0, 1] (see `Canvas`): "sigmoid", "clamp", "min_max" or "norm".
      alpha: Whether the pictures have a fourth channel, their opacity.

    Raises:
      ValueError: If a setting is out of range.
    """
    return _canvas(size, batch, Pixels(_positive(sd, "sd")), colour, squash, alpha)


def laplacian_image(
    size: Size = 224,
    *,
    batch: int = 1,
    sd: float = 0.01,
    levels: int = 4,
    colour: Colour = "lucid",
    squash: str = "sigmoid",
    alpha: bool = False,
) -> "Canvas":
    """Pictures as the sum of pictures of one, a half, a quarter ... of the size, enlarged bilinearly.

    Coarse levels move large areas at once, so coarse structure is found as fast as fine structure.

    Args:
      size: Pixels, one number for a square or (height, width).
      batch: Number of pictures optimised together.
      sd: Standard deviation of the first values of every level.
      levels: Number of sizes; a side is halved and rounded down each time, to no less than 1.
      colour: How colours come about (see `Canvas`): "lucid", "caltech101", "rgb", "grey", or a matrix.
      squash: How values are brought into [0, 1] (see `Canvas`): "sigmoid", "clamp", "min_max" or "norm".
      alpha: Whether the pictures have a fourth channel, their opacity.

    Raises:
      ValueError: If a setting is out of range.

    References:
      Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983. Lucid, `laplacian_pyramid_image`; here
      pixels are aligned by their centres, there by their corners.
    """
    return _canvas(size, batch, Laplacian(_positive(sd, "sd"), _count(levels, "levels")), colour, squash, alpha)


def maco_image(
    size: Size = 224,
    *,
    batch: int = 1,
    statistics: str | os.PathLike | Statistics = "caltech101",
    contrast: float = 2.0,
    squash: str = "sigmoid",
    alpha: bool = False,
) -> "Canvas":
    """Pictures that hold each wave as strongly as natural pictures do; only the phases of the waves are optimised.

    The magnitudes are the mean of many pictures, in the decorrelated colours of the same pictures. Before colour and
    squash, each plane of each picture has mean 0 and one standard deviation whatever its phases, so nothing needs to be
    standardised from step to step. Best with many random crops of the picture (`lightjax.transforms`).

    Differs from Xplique and Horama: those two standardise the phases in every step; and a wave without a horizontal
    frequency occurs twice in their spectrum, with two phases that cancel in part, so that some magnitudes are not kept.
    Here the first phases are uniform, and all magnitudes are exact.

    Args:
      size: Pixels, one number for a square or (height, width).
      batch: Number of pictures optimised together.
      statistics: Colours and spectrum: "caltech101", a file of `lightjax statistics`, or what `load_statistics` gives.
      contrast: Standard deviation of the decorrelated colours before the squash: about that of photographs at 2, with
        the sigmoid. Xplique and Horama have 1, and stretch the result.
      squash: How values are brought into [0, 1] (see `Canvas`): "sigmoid", "clamp", "min_max" or "norm".
      alpha: Whether the pictures have a fourth channel, their opacity.

    Raises:
      ValueError: If a setting is out of range.
      FileNotFoundError: If there are no such statistics.

    References:
      Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization", 2023.
    """
    known, found = _statistics(statistics)
    return _canvas(size, batch, Phases(known, _positive(contrast, "contrast")), found, squash, alpha)


def cppn_image(
    size: Size = 224,
    *,
    batch: int = 1,
    layers: int = 8,
    channels: int = 24,
    activation: str = "composite",
    normalise: bool = False,
    bias_sd: float = 0.1,
    colour: Colour = "rgb",
    squash: str = "sigmoid",
    alpha: bool = False,
) -> "Canvas":
    """Pictures painted by a small network that is told where each pixel is: smooth at any size.

    The coordinates run from -sqrt(3) to sqrt(3) along the longer side. The last layer starts at zero, so the first
    picture is one grey. Networks train at smaller rates than pixels: 0.005 (Lucid) and 0.002 (TorchLight) with Adam.

    With the defaults it is Lucid's network; `cppn_image(layers=7, normalise=True, bias_sd=0)` is TorchLight's. Lucid
    paints all pictures of a batch with one network, so that they are all the same; here each has its own.

    Args:
      size: Pixels, one number for a square or (height, width).
      batch: Number of pictures optimised together.
      layers: Hidden layers; Lucid counts like this, TorchLight and Lucent count the output too.
      channels: Units of a hidden layer.
      activation: "composite": arctangent and its square, side by side, each divided by its root mean square;
        "unbiased": the same with the mean of the square taken off; "relu": a rectifier of mean 0 and variance 1.
      normalise: Whether each unit, those of the output too, is standardised over the picture.
      bias_sd: Standard deviation of the first biases.
      colour: How colours come about (see `Canvas`): "lucid", "caltech101", "rgb", "grey", or a matrix.
      squash: How values are brought into [0, 1] (see `Canvas`): "sigmoid", "clamp", "min_max" or "norm".
      alpha: Whether the pictures have a fourth channel, their opacity.

    Raises:
      ValueError: If a setting is out of range.

    References:
      Stanley, "Compositional Pattern Producing Networks", 2007. Mordvintsev et al., "Differentiable Image
      Parameterizations", Distill, 2018. Lucid, `param/cppn.py`.
    """
    _one_of(activation, CPPN_ACTIVATIONS, "activation")
    if not isinstance(bias_sd, int | float | np.number) or not 0 <= bias_sd < np.inf:
        raise ValueError(f"bias_sd is a number from 0 on, not {bias_sd!r}")
    layers, channels = _count(layers, "layers"), _count(channels, "channels")
    basis = Cppn(layers, channels, activation, bool(normalise), float(bias_sd))
    return _canvas(size, batch, basis, colour, squash, alpha)


CPPN_ACTIVATIONS = ("composite", "unbiased", "relu")
"""What there is between the layers of `cppn_image`."""

LUCID_PARTS = ((1, 2), (1, 4), (1, 8), (2, 8), (1, 16), (2, 16))
"""The shared components of Lucid's notebook on aligned interpolation."""


def shared(image: "Canvas", parts: Sequence[tuple[int, int]] = LUCID_PARTS, *, sd: float = 0.01) -> "Canvas":
    """Pictures of any parameterisation that share coarse components, so that what they show stays aligned.

    What a picture is made of is the sum of its own planes and of the shared parts, before colour and squash:

        lj.shared(lj.fourier_image(batch=6))

    Args:
      image: The parameterisation of each picture by itself.
      parts: (pictures, divisor) of each shared component. It has that many pictures, no more than the batch, of one
        divisor-th of the size, and is enlarged linearly to the batch and the size: one of 1 picture is common to all,
        one of 2 changes gradually from the first to the last.
      sd: Standard deviation of the first values of the parts.

    Raises:
      ValueError: If a setting is out of range.
      TypeError: If the image is none of this library.

    References:
      Mordvintsev et al., "Differentiable Image Parameterizations", Distill, 2018. Lucid, `lowres_tensor`.
    """
    if not isinstance(image, Canvas):
        raise TypeError(f"shared components go with an image of this library, such as fourier_image(), not {image!r}")
    parts = tuple((_count(pictures, "a part's number of pictures"), _count(by, "a divisor")) for pictures, by in parts)
    if not parts:
        raise ValueError("shared components need at least one part (pictures, divisor)")
    return dataclasses.replace(image, basis=Shared(image.basis, parts, _positive(sd, "sd")))


# From planes to pictures


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["basis"],
    meta_fields=["height", "width", "batch", "colour", "squash", "alpha"],
)
@dataclasses.dataclass(frozen=True)
class Canvas:
    """Pictures over a basis: its planes, given colour, squashed into [0, 1].

    Attributes:
      height: Pixels.
      width: Pixels.
      batch: Number of pictures.
      basis: What the planes are made of: `Fourier`, `Pixels`, `Laplacian`, `Phases`, `Cppn`, `Shared`, or your own.
      colour: Turns the planes into red, green and blue. "lucid": the square root of the covariance of colours in
        ImageNet (`COLOUR_CORRELATION`); "caltech101": the same in Caltech-101; "rgb": the planes are red, green and
        blue; "grey": one plane is all three; or a matrix `[3, planes]` of your own (`load_statistics(file).colour`).
      squash: "sigmoid"; "clamp": adds 1/2 (Lucid: the mean colour of
        ImageNet) and clamps to [0, 1], with a gradient that brings saturated values back
        (`ops.clamp`); "min_max": each picture is scaled to reach 0 and 1; "norm": each picture is divided by its
        largest magnitude if that is above 1, then moved from [-1, 1] to [0, 1]. TorchLight's `min_max` and `norm` scale
        by the extremes of the whole batch, so that its pictures depend on each other; here each has its own.
        TorchLight's `clamp` adds nothing, so that half of its first values are black.
      alpha: Whether a last plane, by a sigmoid, is the opacity.
    """

    height: int
    width: int
    batch: int
    basis: Basis
    colour: str | Matrix
    squash: str
    alpha: bool

    def init(self, key: Array) -> Any:
        """Draw parameters; those of picture i are the same whatever the batch."""
        return self.basis.init(key, self._shape())

    def decode(self, params: Any) -> Array:
        """The pictures `[N, H, W, 3]` in [0, 1], or `[N, H, W, 4]` with their opacity."""
        planes = self.basis.decode(params, self._shape())
        matrix = colour_matrix(self.colour)
        colours = matrix.shape[1]
        rgb = _SQUASHES[self.squash].forward(_times(planes[..., :colours], matrix))
        if not self.alpha:
            return rgb
        return jnp.concatenate([rgb, jax.nn.sigmoid(planes[..., colours:])], axis=-1)

    def encode(self, pictures: Array) -> Any:
        """Parameters of given pictures, `[N, H, W, 3]`, or `[N, H, W, 4]` with alpha, in [0, 1].

        Decoded, they are the same to within a grey level, as far as the settings can show them at all: a grey canvas
        has no colours, and "min_max" always reaches black and white.

        Raises:
          ValueError: If the basis has no inverse.
        """
        planes = _times(_SQUASHES[self.squash].inverse(pictures[..., :3]), np.linalg.pinv(colour_matrix(self.colour)))
        if self.alpha:
            planes = jnp.concatenate([planes, _logit(pictures[..., 3:])], axis=-1)
        return _inverse(self.basis)(planes)

    def _shape(self) -> Shape:
        return self.batch, self.height, self.width, colour_matrix(self.colour).shape[1] + self.alpha


def colour_matrix(colour: str | Matrix) -> np.ndarray:
    """What turns planes into red, green and blue: `rgb = matrix @ planes`, `[3, planes]` (see `Canvas`)."""
    if not isinstance(colour, str):
        return np.array(colour, np.float32)
    if colour in statistics.SHIPPED:
        return np.array(statistics.read(colour).colour, np.float32)
    return _COLOURS[colour].astype(np.float32)


_COLOURS = {"lucid": COLOUR_CORRELATION, "rgb": np.eye(3), "grey": np.ones((3, 1))}


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
    return jax.scipy.special.logit(jnp.clip(p, 0.4 * GREY_LEVEL, 1 - 0.4 * GREY_LEVEL))


_SQUASHES: Mapping[str, _Squash] = MappingProxyType(
    {
        "sigmoid": _Squash(jax.nn.sigmoid, _logit),
        "clamp": _Squash(lambda t: ops.clamp(t + 0.5), lambda p: p - 0.5),
        "min_max": _Squash(_min_max, lambda p: p),
        "norm": _Squash(_norm, lambda p: 2 * p - 1),
    }
)


def check_start(image: Image, pictures: ArrayLike, shape: Shape) -> np.ndarray:
    """Check that an image of a shape can start from pictures, and make them that shape.

    Args:
      image: The parameterisation.
      pictures: `[H, W, 3 or 4]` for every picture of the batch, or `[N, H, W, 3 or 4]`, in [0, 1].
      shape: Shape of what the image decodes to.

    Returns:
      The pictures, float32 of that shape; opaque where the image has transparency and they have none.

    Raises:
      ValueError: If they have another size or other values, or the image cannot show them to within a grey level.
    """
    pictures = np.asarray(pictures)
    number, height, width, channels = shape
    if pictures.ndim not in (3, 4) or pictures.shape[-1] not in (3, 4):
        raise ValueError(f"pictures to start from are [H, W, 3] or [N, H, W, 3], not {list(pictures.shape)}")
    if pictures.shape[-3:-1] != (height, width):
        given = "x".join(map(str, pictures.shape[-3:-1]))
        raise ValueError(
            f"the picture to start from is {given} pixels, the image {height}x{width}; "
            f"load_picture(file, size=({height}, {width})) reads one to fit, or give the image that size"
        )
    if pictures.ndim == 4 and len(pictures) not in (1, number):
        raise ValueError(f"there are {len(pictures)} pictures to start from, but {number} in the image")
    if pictures.dtype == np.uint8 or not ((pictures >= 0) & (pictures <= 1)).all():
        raise ValueError("a picture to start from has values in [0, 1]; divide those of files by 255")
    pictures = pictures.astype(np.float32)
    if pictures.shape[-1] > channels:
        raise ValueError("the picture to start from has transparency; so must the image, by alpha=True")
    if pictures.shape[-1] < channels:
        pictures = np.concatenate([pictures, np.ones_like(pictures[..., :1])], axis=-1)
    pictures = np.broadcast_to(pictures, shape)
    shown = np.asarray(image.decode(_inverse(image)(jnp.asarray(pictures))))
    off = np.abs(shown - pictures).max() * 255
    if not off <= 1:
        raise ValueError(
            f"{image!r} cannot show the picture to start from: it would be off by up to {off:.0f} grey levels "
            "(a grey image has no colours, and min_max always reaches black and white)"
        )
    return pictures


def _inverse(thing: Image | Basis) -> Callable[[Array], Any]:
    encode = getattr(thing, "encode", None)
    if encode is None:
        raise ValueError(
            f"{type(thing).__name__} cannot start from a picture: it has no `encode`, the inverse of decode"
        )
    return encode


def _times(planes: Array, matrix: np.ndarray) -> Array:
    """`matrix @ plane` at every pixel, `[..., planes]` to `[..., rows]`, as sums, which XLA fuses with what follows."""
    planes = jnp.moveaxis(planes, -1, 0)
    rows = [sum(float(weight) * plane for weight, plane in zip(row, planes, strict=True)) for row in matrix]
    return jnp.stack(rows, axis=-1)


# From parameters to planes


@dataclasses.dataclass(frozen=True)
class Pixels:
    """See `pixel_image`. Parameters are the planes."""

    sd: float

    def init(self, key: Array, shape: Shape) -> Array:
        """Draw pixels."""
        return self.sd * _normal(key, shape)

    def decode(self, params: Array, shape: Shape) -> Array:
        """The pixels themselves."""
        return params

    def encode(self, planes: Array) -> Array:
        """The planes themselves."""
        return planes


@dataclasses.dataclass(frozen=True)
class Fourier:
    """See `fourier_image`. Parameters are real and imaginary parts, `[2, N, C, H, W // 2 + 1]`."""

    sd: float
    decay: float

    def init(self, key: Array, shape: Shape) -> Array:
        """Draw coefficients."""
        number, height, width, channels = shape
        return jnp.moveaxis(self.sd * _normal(key, (number, channels, height, width // 2 + 1, 2)), -1, 0)

    def decode(self, params: Array, shape: Shape) -> Array:
        """The sums of all waves."""
        # An orthonormal transform of coefficients over frequency; the 4 is Lucid's, and only lowers the first contrast.
        size = shape[1:3]
        spectrum = jax.lax.complex(params[0], params[1]) * self._scale(size)
        waves = jnp.fft.irfft2(spectrum, s=size, norm="ortho") / 4
        return jnp.moveaxis(waves, 1, -1)

    def encode(self, planes: Array) -> Array:
        """The coefficients of planes."""
        spectrum = jnp.fft.rfft2(4 * jnp.moveaxis(planes, -1, 1), norm="ortho") / self._scale(planes.shape[1:3])
        return jnp.stack([spectrum.real, spectrum.imag])

    def _scale(self, size: tuple[int, ...]) -> np.ndarray:
        frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None, :])
        return (1 / np.maximum(frequency, 1 / max(size)) ** self.decay).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Laplacian:
    """See `laplacian_image`. Parameters are the planes of all levels, the finest first, as a list."""

    sd: float
    levels: int

    def init(self, key: Array, shape: Shape) -> list[Array]:
        """Draw the pixels of every level."""
        sizes = (_divided(shape, shape[0], 2**level) for level in range(self.levels))
        return [self.sd * _normal(jax.random.fold_in(key, level), size) for level, size in enumerate(sizes)]

    def decode(self, params: list[Array], shape: Shape) -> Array:
        """The sum of all levels."""
        return sum((_enlarge(level, shape) for level in params[1:]), params[0])

    def encode(self, planes: Array) -> list[Array]:
        """The planes as the finest level, and nothing in the others."""
        coarse = (_divided(planes.shape, planes.shape[0], 2**level) for level in range(1, self.levels))
        return [planes, *map(jnp.zeros, coarse)]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["statistics"], meta_fields=["contrast"])
@dataclasses.dataclass(frozen=True)
class Phases:
    """See `maco_image`. Parameters are phases in radians, `[N, C, H, W // 2 + 1]`."""

    statistics: str | Statistics
    contrast: float

    def init(self, key: Array, shape: Shape) -> Array:
        """Draw phases, all equally likely."""
        number, height, width, channels = shape
        draw = functools.partial(jax.random.uniform, minval=-np.pi, maxval=np.pi)
        return _draw(draw, key, (number, channels, height, width // 2 + 1))

    def decode(self, params: Array, shape: Shape) -> Array:
        """The sums of all waves, each plane with mean 0 and standard deviation `contrast`."""
        _, height, width, channels = shape
        amplitude = jnp.asarray(self._amplitude(height, width), jnp.float32)[np.arange(channels) % 3]
        phases = jnp.asarray(params).at[..., 0].set(_odd(params[..., 0]))
        if width % 2 == 0:
            phases = phases.at[..., -1].set(_odd(params[..., -1]))
        waves = jnp.fft.irfft2(
            jax.lax.complex(amplitude * jnp.cos(phases), amplitude * jnp.sin(phases)), (height, width)
        )
        return jnp.moveaxis(waves, 1, -1)

    def _amplitude(self, height: int, width: int) -> Array | np.ndarray:
        """Magnitude of every wave such that a plane has the wanted deviation, `[3, H, W // 2 + 1]`."""
        known = statistics.read(self.statistics) if isinstance(self.statistics, str) else self.statistics
        amplitude = known.amplitude(height, width)
        times = np.full(width // 2 + 1, 2)  # a wave stands for itself and its conjugate, but for the outer columns
        times[[0, -1] if width % 2 == 0 else 0] = 1
        power = (times * amplitude**2).sum(axis=(1, 2), keepdims=True)
        return self.contrast * height * width * amplitude / (power + (power == 0)) ** 0.5


def _odd(phases: Array) -> Array:
    """Phases `[..., H]` of a column of waves each of which occurs twice, at row k and row -k: made opposite."""
    return phases - jnp.roll(jnp.flip(phases, -1), 1, -1)


@dataclasses.dataclass(frozen=True)
class Cppn:
    """See `cppn_image`. Parameters are those of an nnx module, with a leading axis for the pictures."""

    layers: int
    channels: int
    activation: str
    normalise: bool
    bias_sd: float

    def init(self, key: Array, shape: Shape) -> Any:
        """Draw one network for each picture."""
        from lightjax.images import cppn  # flax.nnx takes a while to import, and few need it

        draw = lambda i: cppn.draw(self, shape[-1], jax.random.fold_in(key, i))
        return jax.vmap(draw)(jnp.arange(shape[0]))

    def decode(self, params: Any, shape: Shape) -> Array:
        """What the networks paint."""
        from lightjax.images import cppn

        _, height, width, channels = shape
        places = jnp.asarray(_coordinates(height, width))
        return jax.vmap(lambda own: cppn.paint(self, channels, own, places))(params)


def _coordinates(height: int, width: int) -> np.ndarray:
    """(x, y) of every pixel, `[H, W, 2]`: from -sqrt(3) to sqrt(3) along the longer side, where its deviation is 1."""
    scale = 2 * np.sqrt(3) / max(height - 1, width - 1, 1)
    x, y = (scale * (np.arange(n) - (n - 1) / 2) for n in (width, height))
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["basis"], meta_fields=["parts", "sd"])
@dataclasses.dataclass(frozen=True)
class Shared:
    """See `shared`. Parameters are those of the own basis, and a list of the planes of the parts."""

    basis: Basis
    parts: tuple[tuple[int, int], ...]
    sd: float

    def init(self, key: Array, shape: Shape) -> tuple[Any, list[Array]]:
        """Draw the own parameters of each picture and the shared planes."""
        own, *keys = jax.random.split(key, 1 + len(self.parts))
        sizes = self._sizes(shape)
        return self.basis.init(own, shape), [self.sd * _normal(k, size) for k, size in zip(keys, sizes, strict=True)]

    def decode(self, params: tuple[Any, list[Array]], shape: Shape) -> Array:
        """The own planes and all parts, added up."""
        own, parts = params
        return sum((_enlarge(part, shape) for part in parts), self.basis.decode(own, shape))

    def encode(self, planes: Array) -> tuple[Any, list[Array]]:
        """Everything as the own planes of each picture; nothing is shared."""
        return _inverse(self.basis)(planes), [jnp.zeros(size) for size in self._sizes(planes.shape)]

    def _sizes(self, shape: tuple[int, ...]) -> list[Shape]:
        return [_divided(shape, min(pictures, shape[0]), by) for pictures, by in self.parts]


def _divided(shape: tuple[int, ...], number: int, by: int) -> Shape:
    """The shape of that many planes of a `by`-th of the size, rounded down, at least one pixel."""
    return number, max(1, shape[1] // by), max(1, shape[2] // by), shape[3]


def _enlarge(planes: Array, shape: Shape) -> Array:
    return jax.image.resize(planes, shape, "linear", antialias=False)


def _normal(key: Array, shape: tuple[int, ...]) -> Array:
    return _draw(jax.random.normal, key, shape)


def _draw(draw: Callable, key: Array, shape: tuple[int, ...]) -> Array:
    """Random `[N, ...]`, in which row i is drawn from the key of its own number and so is the same for every N."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(shape[0]))
    return jax.vmap(lambda k: draw(k, shape[1:], jnp.float32))(keys)


# Checks


def height_and_width(size: Size) -> tuple[int, int]:
    """Check a size in pixels, one number for a square or (height, width).

    Raises:
      ValueError: If it is not one or two whole numbers from 1 on.
    """
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in pair):
        raise ValueError(f"size is a positive number of pixels or a pair (height, width) of them, not {size!r}")
    return int(pair[0]), int(pair[1])


def _canvas(size: Size, batch: int, basis: Basis, colour: Colour, squash: str, alpha: bool) -> Canvas:
    _one_of(squash, _SQUASHES, "squash")
    return Canvas(*height_and_width(size), _count(batch, "batch"), basis, _colour(colour), squash, bool(alpha))


def _colour(colour: Colour) -> str | Matrix:
    if isinstance(colour, str):
        _one_of(colour, {**_COLOURS, **dict.fromkeys(statistics.SHIPPED)}, "colour")
        return colour
    try:
        matrix = np.asarray(colour, np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.ndim != 2 or len(matrix) != 3 or matrix.size not in (3, 6, 9) or not np.isfinite(matrix).all():
        raise ValueError(
            f"colour is a name or a matrix [3, planes] of finite numbers, with 1 to 3 planes, not {colour!r}"
        )
    return tuple(tuple(map(float, row)) for row in matrix.reshape(3, -1).tolist())


def _statistics(given: str | os.PathLike | Statistics) -> tuple[str | Statistics, Colour]:
    """Statistics as a basis keeps them, and the colours that go with them: names stay names."""
    if isinstance(given, Statistics):
        return given, given.colour
    found = statistics.read(given)
    return (str(given), str(given)) if given in statistics.SHIPPED else (found, found.colour)


def _one_of(value: Any, names: Iterable[str], what: str) -> None:
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"unknown {what} {value!r}; choose {', '.join(map(repr, names))}")


def _count(value: int, name: str) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is a whole number from 1 on, not {value!r}")
    return int(value)


def _positive(value: float, name: str) -> float:
    if not isinstance(value, int | float | np.number) or not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} is a positive number, not {value!r}")
    return float(value)


def _finite(decay: float) -> float:
    if not isinstance(decay, int | float | np.number) or not np.isfinite(decay):
        raise ValueError(f"decay is a finite number, not {decay!r}")
    return float(decay)


def image(size=224, **kw):
    return fourier_image(size, **kw)
