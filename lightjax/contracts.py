"""Checks that a model, an image and a transform fit together, before anything is compiled."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
from jax import Array

from lightjax import ops
from lightjax._structure import Model, partition
from lightjax.images import Image
from lightjax.transforms import Transform

Shapes = Mapping[str, jax.ShapeDtypeStruct]
"""Shapes and types of activations, by layer."""


def accepts_relu(model: Model) -> bool:
    """Whether a model lets its caller choose the rectifier, by a keyword `relu`."""
    try:
        return "relu" in inspect.signature(model).parameters
    except (TypeError, ValueError):
        return False


def activation_shapes(model: Model, image: Image, transform: Transform | None, relu: str | None) -> Shapes:
    """Shapes of all activations that an objective can read; nothing is computed.

    Raises:
      TypeError: If the model, the image or the transform breaks its contract.
      ValueError: If the network would get an alpha channel, the gradient rule is unknown, or the model has no keyword
        `relu` and `relu` is not None.
    """
    if not callable(model):
        raise TypeError(f"model must be a function of images that returns named activations, got {model!r}")
    if isinstance(model, type):
        raise TypeError(f"model must be an instance, got the class {model.__name__}: call it first")
    if not callable(getattr(image, "init", None)) or not callable(getattr(image, "decode", None)):
        raise TypeError(f"image must have functions init and decode, as lj.image() has, got {image!r}")
    if isinstance(transform, list | tuple):
        raise TypeError("transform must be one transform: combine several with lj.transforms.compose(*transforms)")
    if isinstance(transform, type):
        raise TypeError(f"transform must be an instance, got the class {transform.__name__}: call it with its settings")
    if transform is not None and not callable(transform):
        raise TypeError(f"transform must be a function of a key and images, or None, got {transform!r}")
    for part, name, what in (
        (image, "image", image),
        (transform, "transform", transform),
        (model, "model", type(model)),
    ):
        try:
            hash(partition(part)[1])
        except TypeError as error:
            raise TypeError(
                f"{name} must be hashable, as functions and frozen dataclasses are, got {what!r}"
            ) from error
    rule = None if relu is None else ops.rectifier(relu)
    if rule is not None and not accepts_relu(model):
        raise ValueError(f"relu must be None for a model without a keyword `relu`, got {relu!r}")
    key = jax.random.key(0)
    pictures = jax.eval_shape(image.decode, jax.eval_shape(image.init, key))
    if pictures.ndim != 4 or pictures.shape[-1] not in (3, 4) or pictures.dtype != jnp.float32:
        given = f"{pictures.dtype} {list(pictures.shape)}"
        raise TypeError(f"image must decode to float32 [N, H, W, 3 or 4], but {image!r} gives {given}")
    view = pictures if transform is None else jax.eval_shape(transform, key, pictures)
    if view.shape[-1] == 4:
        raise ValueError(
            "a network takes pictures with 3 channels, got 4: add lj.transforms.CollapseAlpha() at the end of the "
            "transform, which puts the picture over random backgrounds"
        )
    replaced = False

    def run(images: Array) -> Any:
        nonlocal replaced
        found = model(images) if rule is None else model(images, relu=rule)
        replaced = isinstance(found, Mapping) and "input" in found and found["input"] is not images
        return found

    try:
        found = jax.eval_shape(run, view)
    except flax.errors.TraceContextError as error:
        raise TypeError("this model changes its own state when it is called: call its eval() first") from error
    if not isinstance(found, Mapping) or not all(hasattr(a, "shape") for a in found.values()):
        raise TypeError(
            f"model must return a mapping from names to activations, but this one returns {found!r:.200}; "
            "lj.capture(model) names the activations of a network"
        )
    if replaced:
        raise ValueError("model must not name a layer 'input', which is the picture before the transform: rename it")
    square = view.shape[1] == view.shape[2]
    for layer, x in found.items():
        if square and len(x.shape) == 4 and x.shape[1] != x.shape[2] == x.shape[3]:
            warnings.warn(
                f"layer {layer!r} is {list(x.shape)}, which looks like channels first: activations are [N, H, W, C]",
                stacklevel=4,
            )
    return {**found, "input": pictures}
