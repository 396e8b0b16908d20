"""Image parameterizations: what is optimized, and how it becomes a picture.

A parameterization is a frozen dataclass with a few pure functions: `init(key) -> params`, `decode(params) -> pictures`,
and, if there is one, the inverse `encode(pictures) -> params`. Two with the same settings are equal and share one
compilation. Pictures are `[N, H, W, 3]` float32 in [0, 1], or `[N, H, W, 4]` with opacity; for networks of other
inputs, `[N, H, W, C]` with any number of channels. One objective optimizes the N pictures of a parameterization
together.

`image` makes a `NaturalImage` over a basis. The basis turns parameters into planes `[N, H, W, C]` of any real values:
as pixels, waves, a pyramid, or a network of the coordinates. The `NaturalImage` gives the planes colors and squashes
them into [0, 1].
"""

from lightjax.images.base import Basis, Image, Shape, Size
from lightjax.images.bases import LUCID_PARTS, Fourier, Laplacian, Pixels, Shared
from lightjax.images.beside import Beside, beside
from lightjax.images.cppn import CPPN_ACTIVATIONS, Cppn
from lightjax.images.maco import FourierPhases
from lightjax.images.natural import (
    COLOR_CORRELATION,
    GRAY_LEVEL,
    SQUASHES,
    Color,
    NaturalImage,
    check_start,
    color_matrix,
    image,
)
from lightjax.images.statistics import Statistics, load_statistics

__all__ = [
    "COLOR_CORRELATION",
    "CPPN_ACTIVATIONS",
    "GRAY_LEVEL",
    "LUCID_PARTS",
    "SQUASHES",
    "Basis",
    "Beside",
    "Color",
    "Cppn",
    "Fourier",
    "FourierPhases",
    "Image",
    "Laplacian",
    "NaturalImage",
    "Pixels",
    "Shape",
    "Shared",
    "Size",
    "Statistics",
    "beside",
    "check_start",
    "color_matrix",
    "image",
    "load_statistics",
]
