"""The rest of a network: what it computes from the activations of one layer, for any network and without hooks."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core
from jax.typing import ArrayLike

from lightjax import _checks, networks, objectives, ops
from lightjax._activations import call, named
from lightjax._structure import Model
from lightjax.contracts import Shapes, accepts, own_channels, own_size
from lightjax.networks import cuts
from lightjax.objectives import Objective
from lightjax.objectives.base import layers_of
from lightjax.pictures import load_picture

SIZE = 224
"""Height and width of pictures, in pixels, for networks that take any."""

Picture = str | os.PathLike | ArrayLike
"""A file, `[H, W, C]`, or several pictures `[N, H, W, C]`; values in [0, 1]."""


def rest(
    model: Model | str | os.PathLike,
    layer: str,
    *,
    size: int | tuple[int, int] | None = None,
    pool: str = "max",
) -> "Rest":
    """The network from one layer on, as a function of the activations of this layer.

    It is the network itself, run from given activations. Its gradients are those of the network: the rectifiers have
    their true gradient, whatever `visualize` uses.

    Examples:
      >>> rest = lj.rest(model, "mixed4d")
      >>> logits = jax.jit(lambda activations: rest(activations)["softmax2_pre_activation_matmul"])

    Args:
      model: A network, or the name or path of one for `load_model`. A function that cannot run on from given
        activations is traced, as by `lj.capture`.
      layer: Name of an activation.
      size: Height and width of the pictures, in pixels, that the activations belong to; by default 224, or the only
        size that the network takes.
      pool: Rule for the gradient of max pools: "max", "relaxed" or "mean" (see `ops.pooling`).

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If the layer is unknown, nothing is computed from it, the network fails for such pictures, or it has
        no keyword `pool` and the rule is not "max".
      WeightsError: If the network cannot be found or loaded.
    """
    model = opened(model)
    layer = _checks.text(layer, "layer")
    pool = _checks.one_of(pool, ops.POOLS, "pool rule")
    if not accepts(model, "given"):
        model = running_on(model)
    if pool != "max" and not isinstance(model, _Traced) and not accepts(model, "pool"):
        raise ValueError(
            f"pool must be 'max' for a model without a keyword pool, got {pool!r}; lj.capture gives it one"
        )
    height, width = own_size(model) or (SIZE, SIZE) if size is None else _checks.height_and_width(size)
    picture = (height, width, own_channels(model))
    shapes = shapes_of(model, (1, *picture))
    value = shapes[_checks.one_of(layer, shapes, "layer")]
    cut = Rest(model, layer, pool, picture, False)
    needed = reads_images(cut, value, jax.ShapeDtypeStruct((1, *picture), jnp.float32))
    return dataclasses.replace(cut, alone=not needed)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Rest:
    """A network from one layer on, as `rest` makes it: a function of activations.

    Attributes:
      model: The network.
      layer: The layer.
      pool: Rule for the gradient of max pools.
      picture: Height, width and channels of the pictures that the activations belong to.
      alone: Whether all that follows is computed from this layer. It is not if the layer is one of several branches.
    """

    model: Any
    layer: str = dataclasses.field(metadata={"static": True})
    pool: str = dataclasses.field(metadata={"static": True})
    picture: tuple[int, int, int] = dataclasses.field(metadata={"static": True})
    alone: bool = dataclasses.field(metadata={"static": True})

    def __call__(self, values: ArrayLike, images: ArrayLike | None = None) -> dict[str, Array]:
        """Compute what follows from activations.

        Args:
          values: Activations of the layer, `[N, h, w, c]`, `[N, T, c]` or `[N, c]`, for pictures of the size that
            `rest` was given.
          images: The pictures `[N, H, W, C]`, from which other branches are computed; needed only if there are any.

        Returns:
          Activations by name: those that depend on the layer, and the layer itself.

        Raises:
          ValueError: If the activations have a wrong shape, or pictures are needed.
        """
        values = jnp.asarray(values)
        if images is None and not self.alone:
            raise ValueError(
                f"images must be given: {self.layer!r} is one of several branches, and the others are computed from "
                "the pictures"
            )
        if images is None:
            images = jnp.zeros((*values.shape[:1], *self.picture), jnp.promote_types(values.dtype, jnp.float32))
        chosen = {} if self.pool == "max" else {"pool": ops.pooling(self.pool)}
        return named(self.model(jnp.asarray(images), given={self.layer: values}, **chosen))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Named:
    """A model that is no module, so that tracing it keeps the names that it gives itself."""

    model: Any

    def __call__(self, images: Array) -> dict[str, Array]:
        return call(self.model, images)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Traced:
    """A model that gets the keywords of a captured one, and keeps what it says of itself, such as its classes."""

    model: Any
    captured: networks.Captured

    def __call__(self, images: Array, **keywords: Any) -> dict[str, Array]:
        return self.captured(images, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name in ("model", "captured") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.model, name)


def opened(model: Model | str | os.PathLike | None) -> Model:
    """A network, which is loaded if it is given by name or path; None for the default one."""
    if model is None or isinstance(model, str | os.PathLike):
        return networks.load_model(*() if model is None else (model,))
    return _checks.function(model, "model")


def running_on(model: Model) -> Model:
    """A network with the keywords `relu`, `pool` and `given`; one without them is traced, as by `lj.capture`."""
    if isinstance(model, _Traced) or all(accepts(model, keyword) for keyword in ("relu", "pool", "given")):
        return model
    return _Traced(model, networks.capture(_Named(model), size=own_size(model)))


def shapes_of(model: Model, images: tuple[int, ...]) -> Shapes:
    """Shapes of all activations of a network for images of a shape; nothing is computed.

    Raises:
      ValueError: If the network fails for such images.
    """
    try:
        found = jax.eval_shape(lambda x: call(model, x), jax.ShapeDtypeStruct(images, jnp.float32))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"model fails for pictures {list(images)} ({reason:.300})") from error
    return {"input": jax.ShapeDtypeStruct(images, jnp.float32)} | found


def images_of(picture: Picture, model: Model) -> np.ndarray:
    """Pictures as a network takes them, `[N, H, W, C]`.

    Args:
      picture: A file, which is scaled and cropped to the size that the network takes, or to 224 pixels; `[H, W, C]`,
        or `[N, H, W, C]`.
      model: The network.

    Raises:
      TypeError: If it is neither.
      ValueError: If it has another shape, or values that are not in [0, 1].
      OSError: If there is no such file.
    """
    bands = own_channels(model)
    if isinstance(picture, str | os.PathLike):
        picture = _checks.path(picture, "picture")
        return load_picture(picture, own_size(model) or SIZE, gray=bands == 1)[None]
    images = _checks.numbers(picture, "picture")
    images = np.asarray(images if np.ndim(images) == 4 else np.asarray(images)[None], np.float32)
    if images.ndim != 4 or images.shape[-1] != bands or not images.size:
        raise ValueError(
            f"picture must be a file, [H, W, {bands}] or [N, H, W, {bands}], got {list(np.shape(picture))}"
        )
    if images.min() < 0 or images.max() > 1:
        raise ValueError(f"picture must have values in [0, 1], got {images.min():g} to {images.max():g}")
    return images


def goal_of(objective: str | Objective | Callable, model: Model, shapes: Shapes, layer: str | None = None) -> Objective:
    """An objective that was checked against what a network computes, with indices in place of names of classes.

    Args:
      objective: As for `visualize`.
      model: The network.
      shapes: Shapes of the activations that the objective can read.
      layer: The layer that these are computed from, if there is one.

    Raises:
      ValueError, TypeError, IndexError: If the objective is wrong, or reads what is not computed from the layer.
    """
    goal = objectives.resolve(objectives.as_objective(objective, shapes), model)
    if layer is not None:
        before = layers_of(goal) - shapes.keys()
        if before:
            raise ValueError(
                f"objective reads {_checks.shown(min(before))}, which is not computed from layer {layer!r}: choose an "
                "earlier layer"
            )
    objectives.check(goal, shapes)
    return goal


def values_of(objective: Objective, activations: Mapping[str, Array]) -> Array:
    """The objective of each picture by itself, `[N]`."""
    return jax.vmap(lambda one: objective({name: a[None] for name, a in one.items()}))(dict(activations))


def pushed_forward(function: Callable[[Array], Any], value: Array, change: Array) -> tuple[Any, Any]:
    """The value of a function, and its derivative in one direction for all outputs at once (forward mode).

    Operations with derivatives of their own have reverse-mode derivatives only. The reverse-mode derivative is linear
    in the outputs' cotangents, and its transpose is the forward-mode derivative.

    Args:
      function: From one array to any arrays.
      value: Where to take the derivative.
      change: The direction, of the same shape.

    Returns:
      `function(value)` and the derivative, of the same structure.
    """
    outputs, back = jax.vjp(function, value)
    (derivative,) = jax.linear_transpose(lambda cotangents: back(cotangents)[0], outputs)(change)
    return outputs, derivative


def reads_images(cut: Callable[[Any, Any], Any], value: jax.ShapeDtypeStruct, images: jax.ShapeDtypeStruct) -> bool:
    """Whether any result of a function of activations and pictures is computed from the pictures."""
    program = jax.make_jaxpr(cut)(value, images).jaxpr
    steps = [
        (tuple(v for v in one.invars if not isinstance(v, core.Literal)), tuple(one.outvars)) for one in program.eqns
    ]
    results = [v for v in program.outvars if not isinstance(v, core.Literal)]
    return program.invars[-1] in cuts.needed(steps, (), results)
