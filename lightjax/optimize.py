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
from jax.sharding import PartitionSpec as P
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


JOBS = P("jobs")
"""How arrays with a leading axis of jobs lie on the devices."""


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


def decode_many(image: Image, params: Any) -> Array:
    """The pictures of several jobs, `[jobs, N, H, W, 3 or 4]`."""
    arrays, structure = _partition(image)
    return _decode_many(arrays, structure, params)


@functools.partial(jax.jit, static_argnums=1)
def _decode_many(arrays, structure, params) -> Array:
    return jax.vmap(_restore(arrays, structure).decode)(params)


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
    return _advance(*_call((model, image, transform), state, objective, key, steps, optimizer, relu, views))


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
    return _advance.lower(*_call((model, image, transform), state, objective, key, 1, optimizer, relu, views)).compile()


def _call(parts: tuple, state: Any, objective: Objective, keys: Array, steps: int, *settings: Any) -> tuple:
    """The arguments of `_advance` and `_advance_many`: first what is structure, then what is data."""
    if not 0 <= steps <= CHUNK:
        raise ValueError(f"one call makes from 0 to {CHUNK} steps, not {steps}")
    arrays, structure = _partition(parts)
    return (structure, *settings), arrays, state, jax.tree.map(_strongly_typed, objective), keys, np.int32(steps)


@functools.partial(jax.jit, static_argnums=0)
def _advance(static: tuple, arrays, state: State, objective: Objective, key: Array, steps: Array) -> Progress:
    structure, optimizer, relu, views = static
    climb = _climber(_restore(arrays, structure), objective, key, relu, views)

    def body(carry):
        made, progress = carry
        state, value, finite = _update(progress.state, climb, optimizer)
        return made + 1, Progress(state, progress.values.at[made].set(value), finite)

    def unfinished(carry):
        made, progress = carry
        return (made < steps) & progress.finite

    start = Progress(state, jnp.zeros(CHUNK), jnp.array(True))
    return jax.lax.while_loop(unfinished, body, (jnp.int32(0), start))[1]


def _climber(parts: tuple, objective: Objective, key: Array, relu: str | None, views: int) -> Callable:
    """The function to climb: parameters of the picture and number of the step to the objective."""
    model, image, transform = parts

    def climb(params, step: Array) -> Array:
        rectifier = None if relu is None else ops.rectifier(relu, step)

        def value(key: Array) -> Array:
            return jnp.asarray(objective(activations(model, image, params, transform, rectifier, key)))

        key_of_step = jax.random.fold_in(key, step)
        if views == 1:
            return value(key_of_step)
        keys = jax.vmap(lambda view: jax.random.fold_in(key_of_step, view))(jnp.arange(views))
        return jax.vmap(value)(keys).mean(axis=0)

    return climb


def _update(state: State, climb: Callable, optimizer: optax.GradientTransformation) -> tuple[State, Array, Array]:
    """One step: the state after it, the objective before it, and whether that and its gradient were finite.

    After a step that was not, the parameters are the last that gave a finite objective, and it does not count.
    """
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
    good = _choose(finite, state.params, state.previous)
    for leaf in jax.tree.leaves(gradient):
        finite &= jnp.isfinite(leaf).all()
    params = _choose(finite, optax.apply_updates(state.params, updates), good)
    return State(state.step + finite, params, good, opt_state), value.astype(jnp.float32), finite


def _choose(condition: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), a, b)


def init_many(
    keys: Array,
    image: Image,
    optimizer: optax.GradientTransformation,
    mesh: jax.sharding.Mesh,
    start: ArrayLike | None = None,
) -> Progress:
    """The states of several jobs before the first step, one for each key, spread over the devices."""
    arrays, structure = _partition(image)
    return _init_many((structure, optimizer, mesh), arrays, keys, start)


@functools.partial(jax.jit, static_argnums=0)
def _init_many(static: tuple, arrays, keys: Array, start) -> Progress:
    structure, optimizer, mesh = static

    def share(arrays, keys, start):
        states = jax.vmap(lambda key: _init(structure, optimizer, arrays, key, start))(keys)
        return Progress(states, jnp.zeros((len(keys), CHUNK)), jnp.ones(len(keys), bool))

    return jax.shard_map(share, mesh=mesh, in_specs=(P(), JOBS, P()), out_specs=JOBS, check_vma=False)(
        arrays, keys, start
    )


def advance_many(
    progress: Progress,
    model: Model,
    objective: Objective,
    keys: Array,
    steps: int,
    *,
    image: Image,
    transform: Transform | None,
    optimizer: optax.GradientTransformation,
    relu: str | None,
    views: int = 1,
    mesh: jax.sharding.Mesh,
) -> Progress:
    """Make up to `CHUNK` steps of several independent jobs in one compiled program, each as `advance` would alone.

    All jobs count their steps together. One that stops being finite stands still from there on, and the others go on.
    Each device takes its share of the jobs, and has nothing to say to the others.

    Args:
      progress: Where to start, from `init_many` or the call before. All arrays of it have a leading axis of jobs, whose
        length is a multiple of the number of devices.
      model: As for `advance`.
      objective: What to maximise; every leaf has a leading axis of jobs.
      keys: Randomness of the transforms, one key for each job.
      steps: Number of steps, at most `CHUNK`; any number shares the compilation.
      image: As for `advance`.
      transform: As for `advance`.
      optimizer: As for `advance`.
      relu: As for `advance`.
      views: As for `advance`.
      mesh: The devices, along an axis called "jobs".

    Raises:
      ValueError: If there are more steps than one call makes.
    """
    return _advance_many(
        *_call((model, image, transform), progress, objective, keys, steps, optimizer, relu, views, mesh)
    )


def compile_many(
    progress: Progress,
    model: Model,
    objective: Objective,
    keys: Array,
    *,
    image: Image,
    transform: Transform | None,
    optimizer: optax.GradientTransformation,
    relu: str | None,
    views: int = 1,
    mesh: jax.sharding.Mesh,
) -> jax.stages.Compiled:
    """The compiled program behind `advance_many`; a call with arguments of the same structure compiles nothing."""
    call = _call((model, image, transform), progress, objective, keys, 1, optimizer, relu, views, mesh)
    return _advance_many.lower(*call).compile()


@functools.partial(jax.jit, static_argnums=0)
def _advance_many(
    static: tuple, arrays, progress: Progress, objective: Objective, keys: Array, steps: Array
) -> Progress:
    structure, optimizer, relu, views, mesh = static

    def share(arrays, progress, objective, keys, steps) -> Progress:
        parts = _restore(arrays, structure)

        def update(progress: Progress, objective: Objective, key: Array, made: Array) -> Progress:
            climb = _climber(parts, objective, key, relu, views)
            state, value, finite = _update(progress.state, climb, optimizer)
            # A job that failed stays as it is. Were that the loop's own condition, vmap would choose anew, at every
            # step, between old and new for everything that the loop carries.
            state = _choose(progress.finite, state, progress.state)
            return Progress(state, progress.values.at[made].set(value), progress.finite & finite)

        updates = jax.vmap(update, in_axes=(0, 0, 0, None))
        return jax.lax.fori_loop(0, steps, lambda made, progress: updates(progress, objective, keys, made), progress)

    shares = (P(), JOBS, JOBS, JOBS, P())
    shared = jax.shard_map(share, mesh=mesh, in_specs=shares, out_specs=JOBS, check_vma=False)
    return shared(arrays, progress, objective, keys, steps)


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
    seen = shapes(model, image, transform, relu)
    objectives.check(objective, seen)
    return seen["input"].shape


def shapes(
    model: Model, image: Image, transform: Transform | None, relu: str | None
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of all activations that an objective can read, and a check that model, picture and transforms fit.

    Raises:
      TypeError: If the model, the picture or the transforms are not what their contract says.
      ValueError: If the network would see an alpha channel.
    """
    if not callable(model):
        raise TypeError(f"a model is a function of images that returns named activations, not {model!r}")
    if not callable(getattr(image, "init", None)) or not callable(getattr(image, "decode", None)):
        raise TypeError(f"an image has two functions, init and decode, as lj.fourier_image() has; this is {image!r}")
    if isinstance(transform, list | tuple):
        raise TypeError("several transforms are given as one: lj.transforms.compose(*transforms)")
    if transform is not None and not callable(transform):
        raise TypeError(f"transforms are a function of a key and images, or None, not {transform!r}")
    if inspect.isfunction(transform) and transform.__module__ == "lightjax.transforms":
        raise TypeError(f"{transform.__name__} makes a transform when it is called with its settings; call it first")
    if isinstance(model, type):
        raise TypeError(f"a model is an instance, and {model.__name__} is a class: call it first")
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
    return {**found, "input": pictures}


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
