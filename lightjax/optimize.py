"""The optimisation: one jitted program that makes any number of steps, and nothing else.

A step decodes the parameters, transforms the picture, runs the network, and lets an optax optimiser climb the
objective. Its randomness comes from the key and the number of the step alone, so a render does not depend on where its
loop is cut, and the host can stop between chunks to show progress, take snapshots, or listen to Ctrl-C.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lightjax import objectives, ops
from lightjax.images import Image, Shape
from lightjax.objectives import Objective
from lightjax.transforms import Transform

Model = Callable[..., Mapping[str, Array]]
"""Images `[N, H, W, 3]` in [0, 1] to named activations. With a keyword `relu`, its rectifiers can be chosen.

The arrays of a pytree (an nnx or Equinox module) are data. A function is compiled once, as by `jax.jit`: what it closes
over is frozen then, and a changed closure needs a new function.
"""

CHUNK = 128
"""Most steps that one call of `advance` makes."""


class State(NamedTuple):
    """Where a render stands: all it takes to go on from there.

    Attributes:
      step: Updates made so far, int32 scalar.
      params: Parameters of the picture.
      previous: Parameters before the last update: the last ones known to give a finite objective.
      opt_state: State of the optimiser.
    """

    step: Array
    params: Any
    previous: Any
    opt_state: Any


class Progress(NamedTuple):
    """What a chunk of steps brought.

    Attributes:
      state: After the last step. If that one failed, its parameters are the last that gave a finite objective, and
        it is no state to go on from.
      values: The objective before each update, `[CHUNK]`; only as many entries count as steps were made.
      finite: Whether objective and gradient were finite in every step; the loop ends at one where they are not.
    """

    state: State
    values: Array
    finite: Array


def init(key: Array, image: Image, optimizer: optax.GradientTransformation, start: ArrayLike | None = None) -> State:
    """The state before the first step, from a draw or from pictures `start` that have passed `images.check_start`."""
    arrays, structure = _partition(image)
    return _init(structure, optimizer, arrays, key, start)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init(structure, optimizer, arrays, key, start) -> State:
    image = _restore(arrays, structure)
    params = image.init(key) if start is None else image.encode(start)
    return State(jnp.zeros((), jnp.int32), params, params, optimizer.init(params))


def decode(image: Image, params: Any) -> Array:
    """The pictures that parameters stand for, compiled once for all images of one structure."""
    arrays, structure = _partition(image)
    return _decode(arrays, structure, params)


@functools.partial(jax.jit, static_argnums=1)
def _decode(arrays, structure, params) -> Array:
    return _restore(arrays, structure).decode(params)


def activations(
    model: Model, image: Image, params: Any, transform: Transform | None, relu: ops.Relu | None, key: Array
) -> dict[str, Array]:
    """Activations for the picture as the network sees it; "input" is the picture before its transforms."""
    with jax.named_scope("decode"):
        pictures = image.decode(params)
    with jax.named_scope("transforms"):
        view = pictures if transform is None else transform(key, pictures)
    return {**(model(view) if relu is None else model(view, relu=relu)), "input": pictures}


def advance(
    state: State,
    model: Model,
    objective: Objective,
    key: Array,
    steps: int,
    *,
    image: Image,
    transform: Transform | None,
    optimizer: optax.GradientTransformation,
    relu: str | None,
    views: int = 1,
) -> Progress:
    """Make up to `CHUNK` steps in one compiled program, which is shared by all objectives of the same structure.

    Args:
      state: Where to start.
      model: The network; its arrays are data, everything else is structure.
      objective: What to maximise.
      key: Randomness of the transforms.
      steps: Number of steps, at most `CHUNK`; any number shares the compilation.
      image: Parameterisation of the picture; like a model's, its arrays are data, everything else is structure.
      transform: What the picture must survive, or None; arrays as with the image.
      optimizer: Any optax optimiser; build it once, for a new one is compiled anew.
      relu: Gradient rule of the network's rectifiers (see `ops.rectifier`); None for a network that has its own.
      views: Draws of the transforms in each step, over which the objective is averaged.

    Raises:
      ValueError: If there are more steps than one call makes.
    """
    if not 0 <= steps <= CHUNK:
        raise ValueError(f"one call makes from 0 to {CHUNK} steps, not {steps}")
    arguments = _arguments((model, image, transform), state, objective, key, steps)
    return _advance(*arguments, optimizer, relu, views)


def compile(
    state: State,
    model: Model,
    objective: Objective,
    key: Array,
    *,
    image: Image,
    transform: Transform | None,
    optimizer: optax.GradientTransformation,
    relu: str | None,
    views: int = 1,
) -> jax.stages.Compiled:
    """The compiled program behind `advance`, to ask for its costs: operations and bytes count one step."""
    return _advance.lower(
        *_arguments((model, image, transform), state, objective, key, 1), optimizer, relu, views
    ).compile()


def _arguments(parts: tuple, state: State, objective: Objective, key: Array, steps: int) -> tuple:
    arrays, structure = _partition(parts)
    return structure, arrays, state, jax.tree.map(_strongly_typed, objective), key, np.int32(steps)


@functools.partial(jax.jit, static_argnums=(0, 6, 7, 8))
def _advance(structure, arrays, state, objective, key, steps, optimizer, relu, views) -> Progress:
    model, image, transform = _restore(arrays, structure)

    def climb(params, step: Array) -> Array:
        rectifier = None if relu is None else ops.rectifier(relu, step)

        def value(key: Array) -> Array:
            return jnp.asarray(objective(activations(model, image, params, transform, rectifier, key)))

        key_of_step = jax.random.fold_in(key, step)
        if views == 1:
            return value(key_of_step)
        keys = jax.vmap(lambda view: jax.random.fold_in(key_of_step, view))(jnp.arange(views))
        return jax.vmap(value)(keys).mean(axis=0)

    def body(carry):
        made, (state, values, _) = carry
        value, gradient = jax.value_and_grad(climb)(state.params, state.step)
        descent = jax.tree.map(jnp.negative, gradient)
        updates, opt_state = optax.with_extra_args_support(optimizer).update(
            descent,
            state.opt_state,
            state.params,
            value=-value,
            grad=descent,
            value_fn=lambda params: -climb(params, state.step),
        )
        finite = jnp.isfinite(value)
        good = jax.tree.map(lambda a, b: jnp.where(finite, a, b), state.params, state.previous)
        for leaf in jax.tree.leaves(gradient):
            finite &= jnp.isfinite(leaf).all()
        state = State(state.step + 1, optax.apply_updates(state.params, updates), good, opt_state)
        return made + 1, Progress(state, values.at[made].set(value.astype(values.dtype)), finite)

    def unfinished(carry):
        made, progress = carry
        return (made < steps) & progress.finite

    start = Progress(state, jnp.zeros(CHUNK), jnp.array(True))
    _, (state, values, finite) = jax.lax.while_loop(unfinished, body, (jnp.int32(0), start))
    params = jax.tree.map(lambda a, b: jnp.where(finite, a, b), state.params, state.previous)
    return Progress(state._replace(params=params, step=state.step - jnp.where(finite, 0, 1)), values, finite)


def clamp_params(low: float, high: float) -> optax.GradientTransformation:
    """Keep all parameters between two values, to rounding: the last of an `optax.chain`.

    For images whose parameters are pixels; `clamp_param_value` of TorchLight.

    Args:
      low: Lowest value.
      high: Highest value.

    Raises:
      ValueError: If the lowest is not below the highest.
    """
    if not low < high:
        raise ValueError(f"parameters are kept between a lower and an upper value, not {low!r} and {high!r}")

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("clamp_params needs the parameters: optimizer.update(updates, state, params)")
        clamped = optax.projections.projection_box(optax.apply_updates(params, updates), low, high)
        return jax.tree.map(jnp.subtract, clamped, params), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def accepts_relu(model: Model) -> bool:
    """Whether a model lets its caller choose the rectifier, by a keyword `relu`."""
    try:
        return "relu" in inspect.signature(model).parameters
    except (TypeError, ValueError):
        return False


def check(model: Model, objective: Objective, image: Image, transform: Transform | None, relu: str | None) -> Shape:
    """Check that model, objective, picture and transforms fit together, before anything is compiled.

    Returns:
      Shape of the pictures, (N, H, W, channels).

    Raises:
      TypeError: If the model, the picture or the transforms are not what their contract says.
      ValueError, IndexError: As `objectives.check`.
    """
    if not callable(model):
        raise TypeError(f"a model is a function of images that returns named activations, not {model!r}")
    if not callable(getattr(image, "init", None)) or not callable(getattr(image, "decode", None)):
        raise TypeError(f"an image has two functions, init and decode, as lj.fourier_image() has; this is {image!r}")
    if transform is not None and not callable(transform):
        raise TypeError(f"transforms are a function of a key and images, or None, not {transform!r}")
    shown = ((image, "image", repr(image)), (transform, "transforms", repr(transform)))
    for part, name, what in (*shown, (model, "a model", type(model).__name__)):
        try:
            hash(_partition(part)[1])
        except TypeError as error:
            raise TypeError(f"{name} must be hashable, as functions and frozen dataclasses are: {what}") from error
    rule = None if relu is None else ops.rectifier(relu)
    if rule is not None and not accepts_relu(model):
        raise TypeError("this model has no keyword `relu`, so its rectifiers cannot be chosen; leave relu=None")
    key = jax.random.key(0)
    params = jax.eval_shape(image.init, key)
    pictures = jax.eval_shape(image.decode, params)
    if pictures.ndim != 4 or pictures.shape[-1] not in (3, 4) or pictures.dtype != jnp.float32:
        given = f"{pictures.dtype} {list(pictures.shape)}"
        raise TypeError(f"an image decodes to float32 [N, H, W, 3 or 4], but {image!r} gives {given}")
    view = pictures if transform is None else jax.eval_shape(transform, key, pictures)
    if view.shape[-1] == 4:
        raise ValueError(
            "a network sees no transparency: let the transforms end with lj.transforms.collapse_alpha(), "
            "which puts the picture over random backgrounds"
        )
    try:
        found = jax.eval_shape((lambda x: model(x)) if rule is None else (lambda x: model(x, relu=rule)), view)
    except flax.errors.TraceContextError as error:
        raise TypeError("this model changes its own state when it is called; call its eval() first") from error
    if not isinstance(found, Mapping) or not all(hasattr(a, "shape") for a in found.values()):
        raise TypeError(f"a model returns a mapping from names to activations, but this one returns {found!r}")
    objectives.check(objective, {**found, "input": pictures})
    return pictures.shape


def _strongly_typed(leaf) -> Array:
    """A leaf as an array whose type does not depend on how the number was written."""
    array = jnp.asarray(leaf)
    return jax.lax.convert_element_type(array, array.dtype) if getattr(array, "weak_type", False) else array


def _partition(parts: Any) -> tuple[list, tuple]:
    """Split a model, an image, a transform, or several, into arrays, to be traced, and all else, to be hashed."""
    leaves, tree = jax.tree.flatten(parts)
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)]
    others = tuple(None if isinstance(leaf, jax.Array | np.ndarray) else (leaf,) for leaf in leaves)
    return arrays, (tree, others)


def _restore(arrays: list, structure: tuple) -> Any:
    tree, others = structure
    remaining = iter(arrays)
    return jax.tree.unflatten(tree, [next(remaining) if other is None else other[0] for other in others])
