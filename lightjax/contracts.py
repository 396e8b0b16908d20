"""Checks that a model, an image and a transform fit together, before anything is compiled."""

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.errors
import jax
import jax.numpy as jnp
from jax import Array

from lightjax import _activations, _checks, ops, transforms
from lightjax._structure import PROGRAMS, Model, partition
from lightjax.images import Image, NaturalImage
from lightjax.networks import architectures
from lightjax.transforms import Compose, CropOrPad, Transform, at_step

Shapes = Mapping[str, jax.ShapeDtypeStruct]
"""Shapes and types of activations, by layer."""

_KNOWN: dict[tuple, Shapes] = {}
"""Shapes of activations, by the structure of the model, the types of its arrays, its rectifier and what it sees."""


class Fit(NamedTuple):
    """An image and a transform that suit a model, and the shapes of all activations that an objective can read."""

    image: Image
    transform: Transform | None
    shapes: Shapes


class ModelFailed(ValueError):
    """The model failed for the pictures that it got."""


def accepts(model: Model, keyword: str) -> bool:
    """Whether a model has a keyword: `relu` and `pool` choose operations, `given` holds activations to run on from."""
    try:
        return callable(model) and keyword in inspect.signature(model).parameters
    except (TypeError, ValueError):
        return False


def accepts_relu(model: Model) -> bool:
    """Whether a model lets its caller choose the rectifier, by a keyword `relu`."""
    return accepts(model, "relu")


def own_size(model: Model) -> tuple[int, int] | None:
    """The only size that a model takes, if it says so by an attribute `size`, (height, width); None for any size."""
    match getattr(model, "size", None):
        case [int(height), int(width)] if height > 0 and width > 0:
            return height, width
    return None


def own_channels(model: Model) -> int:
    """The channels of the images that a model takes, if it says so by an attribute `channels`; otherwise 3."""
    match getattr(model, "channels", None):
        case int(channels) if channels > 0:
            return channels
    return 3


def fit(model: Model, image: Image, transform: Transform | None, relu: str | None) -> Fit:
    """Fit an image and a transform to a model, as far as they leave a choice.

    The default transform enlarges the picture. If the model only takes the size of the picture (it says so, or it fails
    otherwise), a crop to that size follows. A gray picture gets one channel if the model takes only that.

    Raises:
      TypeError: If the model, the image or the transform breaks its contract.
      ValueError: If the model fails for these pictures, a layer is called "input", or the network would get an alpha
        channel; if the gradient rule is unknown, or the model has no keyword `relu` and `relu` is not None.
    """
    rule = _checked(model, image, transform, relu)
    failed: list[ModelFailed] = []
    for one, other in _choices(model, image, transform):
        try:
            return Fit(one, other, _shapes(model, one, other, rule))
        except ModelFailed as error:
            failed.append(error)
    raise failed[0]


def activation_shapes(model: Model, image: Image, transform: Transform | None, relu: str | None) -> Shapes:
    """Shapes of all activations that an objective can read; nothing is computed.

    Raises:
      TypeError, ValueError: As `fit` does.
    """
    return _shapes(model, image, transform, _checked(model, image, transform, relu))


def check_size(model: Model, size: Sequence[int], layers: Iterable[str] | None = None) -> None:
    """Check that pictures are large enough for layers of a network that knows what they see (InceptionV1 does).

    Args:
      model: The network.
      size: Height and width of the pictures.
      layers: Names of layers; None for the first one.

    Raises:
      ValueError: If a side is smaller than the step from one position of a layer to the next, or than the 7 pixels
        that the first layer sees.
    """
    table = getattr(model, "layers", ())
    if not (isinstance(table, tuple | list) and all(isinstance(row, architectures.Layer) for row in table)):
        return
    layers = [row.name for row in table if (row.receptive_field or 0) > 1][:1] if layers is None else set(layers)
    coarsest = max((row.stride for row in table if row.stride), default=1)
    for row in table:
        least = max(row.stride or coarsest, min(row.receptive_field or coarsest, 7))
        if row.name in layers and min(size) < least:
            raise ValueError(
                f"a picture of {_pixels(size)} pixels shows nothing of {row.name}, which looks at {least} pixels or "
                f"more at a time: use a size of at least {least}, better 64 or more"
            )


def check_hashable(part: Any, name: str, what: Any) -> None:
    """Check that what is no array in a model, an image or a transform is hashable, as compiled functions need it.

    Raises:
      TypeError: If it is not. The message calls the part `name`, and shows `what`.
    """
    try:
        hash(partition(part)[1])
    except TypeError as error:
        raise TypeError(
            f"{name} must be hashable, as functions and frozen dataclasses are, got {_checks.shown(what)}"
        ) from error


def _choices(model: Model, image: Image, transform: Transform | None) -> Iterator[tuple[Image, Transform | None]]:
    """What suits the model, the most likely first."""
    size = own_size(model)
    ways: list[Transform | None] = [transform]
    if isinstance(transform, Compose) and transform == transforms.DEFAULT:
        picture = _decoded(image).shape[1:3]
        if size not in (None, picture):
            raise ValueError(
                f"model takes pictures of {_pixels(size)} pixels only, got {_pixels(picture)}: use size={size}, or a "
                f"transform that ends with lj.transforms.RandomCrop({size})"
            )
        cropped = transforms.compose(transform, CropOrPad(picture))
        ways = [cropped] if size else [transform, cropped]
    yield from ((image, way) for way in ways)
    if isinstance(image, NaturalImage) and image.color == "gray" and image.channels == 3 and not image.alpha:
        yield from ((dataclasses.replace(image, channels=1), way) for way in ways)


def _checked(model: Model, image: Image, transform: Transform | None, relu: str | None) -> ops.Relu | None:
    """The rectifier, after checks of the parts by themselves."""
    if not callable(model):
        raise TypeError(
            f"model must be a function of images that returns named activations, got {_checks.shown(model)}"
        )
    if isinstance(model, type):
        raise TypeError(f"model must be an instance, got the class {model.__name__}: call it first")
    if not callable(getattr(image, "init", None)) or not callable(getattr(image, "decode", None)):
        raise TypeError(f"image must have functions init and decode, as lj.image() has, got {_checks.shown(image)}")
    if isinstance(transform, list | tuple):
        raise TypeError("transform must be one transform: combine several with lj.transforms.compose(*transforms)")
    if isinstance(transform, type):
        raise TypeError(f"transform must be an instance, got the class {transform.__name__}: call it with its settings")
    if transform is not None and not callable(transform):
        raise TypeError(f"transform must be a function of a key and images, or None, got {_checks.shown(transform)}")
    for part, name, what in (
        (image, "image", image),
        (transform, "transform", transform),
        (model, "model", type(model)),
    ):
        check_hashable(part, name, what)
    rule = None if relu is None else ops.rectifier(relu)
    if rule is not None and not accepts_relu(model):
        raise ValueError(f"relu must be None for a model without a keyword `relu`, got {relu!r}")
    pictures = _decoded(image)
    if pictures.ndim != 4 or pictures.dtype != jnp.float32:
        given = f"{pictures.dtype} {list(pictures.shape)}"
        raise TypeError(
            f"image must decode to float32 [N, H, W, C], but {_checks.shown(image)} gives {given}. "
            "Volumes are not supported; "
            "a signal is a picture of one row, [N, 1, W, C]"
        )
    return rule


def _decoded(image: Image) -> jax.ShapeDtypeStruct:
    try:
        return _decoded_once(image)
    except TypeError:  # it holds arrays, and is not hashable
        return _decoded_once.__wrapped__(image)


@functools.lru_cache(maxsize=64)
def _decoded_once(image: Image) -> jax.ShapeDtypeStruct:
    return jax.eval_shape(image.decode, jax.eval_shape(image.init, jax.random.key(0)))


def _shapes(model: Model, image: Image, transform: Transform | None, rule: ops.Relu | None) -> Shapes:
    pictures, key = _decoded(image), jax.random.key(0)
    if transform is None:
        view = pictures
    elif at_step(transform, 0) is transform:
        view = jax.eval_shape(transform, key, pictures)  # JAX keeps this for the next time
    else:
        see = lambda key, pictures, step: at_step(transform, step)(key, pictures)
        view = jax.eval_shape(see, key, pictures, jax.ShapeDtypeStruct((), jnp.int32))
    if len(getattr(view, "shape", ())) != 4:
        raise TypeError(f"transform must return images [N, H, W, C], but this one returns {_checks.shown(view)}")
    if view.shape[-1] == 4:
        raise ValueError(
            "a network takes colors without opacity, got 4 channels: add lj.transforms.CollapseAlpha() at the end of "
            "the transform, which puts the picture over random backgrounds"
        )

    def run(images: Array) -> dict[str, Array]:
        try:
            found = model(images) if rule is None else model(images, relu=rule)
        except flax.errors.TraceContextError as error:
            raise TypeError("this model changes its own state when it is called: call its eval() first") from error
        except Exception as error:
            raise ModelFailed(_failure(view.shape, pictures.shape, error)) from error
        found = _activations.named(found)
        if found.get("input", images) is not images:
            raise ValueError(
                "model must not name a layer 'input', which is the picture before the transform: rename it"
            )
        return found

    arrays, structure = partition(model)
    seen = (structure, tuple(map(jax.typeof, arrays)), rule, view)
    if seen not in _KNOWN:
        _KNOWN[seen] = jax.eval_shape(run, view)
        if len(_KNOWN) > PROGRAMS:
            del _KNOWN[next(iter(_KNOWN))]
    found = _KNOWN[seen]
    square = view.shape[1] == view.shape[2]
    for layer, x in found.items():
        if square and len(x.shape) == 4 and x.shape[1] != x.shape[2] == x.shape[3]:
            warnings.warn(
                f"layer {layer!r} is {list(x.shape)}, which looks like channels first: activations are [N, H, W, C]",
                stacklevel=5,
            )
    return {**found, "input": pictures}


def _failure(view: tuple[int, ...], picture: tuple[int, ...], error: Exception) -> str:
    """What the network saw when it failed, and what may help."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"the network saw {_pixels(view[1:3])} of a {_pixels(picture[1:3])} picture, with {view[3]} channels, and "
        f"failed ({reason:.200}): a network of one size needs that size= or lj.image(size), and "
        "lj.transforms.CropOrPad(size) at the end of a transform of your own; one of other channels needs "
        "image=lj.image(size, channels=1)"
    )


def _pixels(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
