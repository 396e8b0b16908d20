"""An image with a fixed picture beside it, so that one draw of a transform moves both."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks
from lightjax.images.base import Image, inverse


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Beside:
    """The pictures of an image, and after them one that stays as it is. `beside` makes one.

    Attributes:
      image: The parameterization that is optimized.
      picture: The last picture of the batch, `[H, W, C]`. It is data: another one does not compile anew.
    """

    image: Any
    picture: Any

    def init(self, key: Array) -> Any:
        """Draw the parameters of the image."""
        return self.image.init(key)

    def decode(self, params: Any) -> Array:
        """The pictures of the image and the fixed one, `[N + 1, H, W, C]`."""
        return jnp.concatenate([self.image.decode(params), self.picture[None]])

    def encode(self, pictures: Array) -> Any:
        """Parameters of all pictures but the last.

        Raises:
          ValueError: If the image has no inverse.
        """
        return inverse(self.image)(pictures[:-1])

    def __repr__(self) -> str:
        return f"Beside({self.image!r}, a picture of {'x'.join(map(str, np.shape(self.picture)[:2]))})"


def beside(image: Image, picture: ArrayLike) -> Beside:
    """An image whose last picture is fixed, for objectives that compare pictures.

    With `transforms.SameForAll`, each draw of a transform moves what is made and the fixed picture in the same way, so
    that activations at one position belong together. `objectives.caricature` and `objectives.activation_difference`
    without a target compare with the last picture; an index, `unit[0]`, looks at the picture that is made.

    Example:
      >>> image = lj.images.beside(lj.image(224), lj.load_picture("photograph.jpg", 224))
      >>> same = lj.transforms.SameForAll(lj.transforms.DEFAULT)
      >>> lj.visualize(lj.objectives.caricature("mixed4d"), image=image, transform=same)

    Args:
      image: The parameterization that is optimized.
      picture: The fixed picture, `[H, W, C]` in [0, 1], with the size and the channels of the image.

    Raises:
      TypeError: If the image is none, or the picture no array.
      ValueError: If the picture has another shape or other values.
    """
    if not callable(getattr(image, "init", None)) or not callable(getattr(image, "decode", None)):
        raise TypeError(f"image must have functions init and decode, as lj.image() has, got {_checks.shown(image)}")
    if isinstance(image, type):
        raise TypeError(f"image must be an instance, got the class {image.__name__}: call it first")
    pixels = np.asarray(_checks.numbers(picture, "picture", least=0, most=1), np.float32)
    shape = jax.eval_shape(image.decode, jax.eval_shape(image.init, jax.random.key(0))).shape
    if pixels.shape != shape[1:]:
        raise ValueError(f"picture must be {list(shape[1:])} like the image, got {list(pixels.shape)}")
    return Beside(image, pixels)
