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

from lightjax import objectives, ops
from lightjax.images import Image
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


def init(key: Array, image: Image, optimizer: optax.GradientTransformation) -> State:
    """The state before the first step."""
    params = image.init(key)
    return State(jnp.zeros((), jnp.int32), params, params, optimizer.init(params))


def activations(
    model: Model, image: Image, params: Any, transform: Transform | None, relu: ops.Relu | None, key: Array
) -> dict[str, Array]:
    """Activations for the picture as the network sees it; "input" is the picture before its transforms."""
    pictures = image.decode(params)
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
) -> Progress:
    """Make up to `CHUNK` steps in one compiled program, which is shared by all objectives of the same structure.

    Args:
      state: Where to start.
      model: The network; its arrays are data, everything else is structure.
      objective: What to maximise.
      key: Randomness of the transforms.
      steps: Number of steps, at most `CHUNK`; any number shares the compilation.
      image: Parameterisation of the picture.
      transform: What the picture must survive, or None.
      optimizer: Any optax optimiser; build it once, for a new one is compiled anew.
      relu: Gradient rule of the network's rectifiers (see `ops.rectifier`); None for a network that has its own.

    Raises:
      ValueError: If there are more steps than one call makes.
    """
    if not 0 <= steps <= CHUNK:
        raise ValueError(f"one call makes from 0 to {CHUNK} steps, not {steps}")
    arrays, structure = _partition(model)
    objective = jax.tree.map(_strongly_typed, objective)
    return _advance(state, arrays, objective, key, np.int32(steps), structure, image, transform, optimizer, relu)


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8, 9))
def _advance(state, arrays, objective, key, steps, structure, image, transform, optimizer, relu) -> Progress:
    climb = _climber(_restore(arrays, structure), objective, key, image, transform, relu)

    def body(carry):
        made, (state, values, _) = carry
        state, value, finite = _update(state, climb, optimizer)
        return made + 1, Progress(state, values.at[made].set(value), finite)

    def unfinished(carry):
        made, progress = carry
        return (made < steps) & progress.finite

    start = Progress(state, jnp.zeros(CHUNK), jnp.array(True))
    return jax.lax.while_loop(unfinished, body, (jnp.int32(0), start))[1]


def _climber(model, objective, key, image, transform, relu) -> Callable[[Any, Array], Array]:
    """The function to climb: parameters of the picture and number of the step to the objective."""

    def climb(params, step: Array) -> Array:
        rectifier = None if relu is None else ops.rectifier(relu, step)
        seen = activations(model, image, params, transform, rectifier, jax.random.fold_in(key, step))
        return jnp.asarray(objective(seen))

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


def init_many(keys: Array, image: Image, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh) -> Progress:
    """The states of several jobs before the first step, one for each key, spread over the devices."""
    return _init_many(keys, image, optimizer, mesh)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _init_many(keys, image, optimizer, mesh) -> Progress:
    def share(keys):
        states = jax.vmap(lambda key: init(key, image, optimizer))(keys)
        return Progress(states, jnp.zeros((len(keys), CHUNK)), jnp.ones(len(keys), bool))

    return jax.shard_map(share, mesh=mesh, in_specs=JOBS, out_specs=JOBS, check_vma=False)(keys)


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
      mesh: The devices, along an axis called "jobs".

    Raises:
      ValueError: If there are more steps than one call makes.
    """
    call = _call_of_many(progress, model, objective, keys, steps, image, transform, optimizer, relu, mesh)
    return _advance_many(*call)


def memory_of_many(progress: Progress, model: Model, objective: Objective, keys: Array, **settings: Any) -> int:
    """Bytes that a call of `advance_many` takes on each device, by the compiled program's own account.

    That compiles it; a call with arguments of the same structure does not do so again.
    """
    program = _advance_many.lower(*_call_of_many(progress, model, objective, keys, 1, **settings)).compile()
    account = program.memory_analysis()
    if account is None:  # a backend that keeps none
        return 0
    return account.argument_size_in_bytes + account.output_size_in_bytes + account.temp_size_in_bytes


def _call_of_many(progress, model, objective, keys, steps, image, transform, optimizer, relu, mesh) -> tuple:
    if not 0 <= steps <= CHUNK:
        raise ValueError(f"one call makes from 0 to {CHUNK} steps, not {steps}")
    arrays, structure = _partition(model)
    objective = jax.tree.map(_strongly_typed, objective)
    return progress, arrays, objective, keys, np.int32(steps), structure, image, transform, optimizer, relu, mesh


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8, 9, 10))
def _advance_many(
    progress, arrays, objective, keys, steps, structure, image, transform, optimizer, relu, mesh
) -> Progress:
    def share(progress, arrays, objective, keys, steps) -> Progress:
        model = _restore(arrays, structure)

        def update(progress: Progress, objective: Objective, key: Array, made: Array) -> Progress:
            climb = _climber(model, objective, key, image, transform, relu)
            state, value, finite = _update(progress.state, climb, optimizer)
            # A job that failed stays as it is. Were that the loop's own condition, vmap would choose anew, at every
            # step, between old and new for everything that the loop carries.
            state = _choose(progress.finite, state, progress.state)
            return Progress(state, progress.values.at[made].set(value), progress.finite & finite)

        updates = jax.vmap(update, in_axes=(0, 0, 0, None))
        return jax.lax.fori_loop(0, steps, lambda made, progress: updates(progress, objective, keys, made), progress)

    shares = (JOBS, P(), JOBS, JOBS, P())
    shared = jax.shard_map(share, mesh=mesh, in_specs=shares, out_specs=JOBS, check_vma=False)
    return shared(progress, arrays, objective, keys, steps)


def accepts_relu(model: Model) -> bool:
    """Whether a model lets its caller choose the rectifier, by a keyword `relu`."""
    try:
        return "relu" in inspect.signature(model).parameters
    except (TypeError, ValueError):
        return False


def check(
    model: Model, objective: Objective, image: Image, transform: Transform | None, relu: str | None
) -> tuple[int, ...]:
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
    """
    if not callable(model):
        raise TypeError(f"a model is a function of images that returns named activations, not {model!r}")
    if not callable(getattr(image, "init", None)) or not callable(getattr(image, "decode", None)):
        raise TypeError(f"an image has two functions, init and decode, as lj.fourier_image() has; this is {image!r}")
    if transform is not None and not callable(transform):
        raise TypeError(f"transforms are a function of a key and images, or None, not {transform!r}")
    shown = ((image, "image", repr(image)), (transform, "transforms", repr(transform)))
    for part, name, what in (*shown, (_partition(model)[1], "a model", type(model).__name__)):
        try:
            hash(part)
        except TypeError as error:
            raise TypeError(f"{name} must be hashable, as functions and frozen dataclasses are: {what}") from error
    rule = None if relu is None else ops.rectifier(relu)
    if rule is not None and not accepts_relu(model):
        raise TypeError("this model has no keyword `relu`, so its rectifiers cannot be chosen; leave relu=None")
    key = jax.random.key(0)
    params = jax.eval_shape(image.init, key)
    pictures = jax.eval_shape(image.decode, params)
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != jnp.float32:
        given = f"{pictures.dtype} {list(pictures.shape)}"
        raise TypeError(f"an image decodes to float32 [N, H, W, 3], but {image!r} gives {given}")
    view = pictures if transform is None else jax.eval_shape(transform, key, pictures)
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


def _partition(model: Model) -> tuple[list, tuple]:
    """Split a model into its arrays, which are traced, and all else, which is hashed."""
    leaves, tree = jax.tree.flatten(model)
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)]
    others = tuple(None if isinstance(leaf, jax.Array | np.ndarray) else (leaf,) for leaf in leaves)
    return arrays, (tree, others)


def _restore(arrays: list, structure: tuple) -> Model:
    tree, others = structure
    remaining = iter(arrays)
    return jax.tree.unflatten(tree, [next(remaining) if other is None else other[0] for other in others])
