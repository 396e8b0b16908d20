"""The optimization: one compiled program that makes any number of steps, for one job or for many.

A step decodes the parameters, transforms the picture, runs the network, and lets an optax optimizer raise the
objective. Its randomness depends only on the key and on the number of the step. So a render does not depend on where
its loop is cut, and the host can stop between calls to show progress, take snapshots, or react to Ctrl-C.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from lightjax import _activations, _checks, ops
from lightjax._structure import Model, by_structure, partition, restore
from lightjax.images import Image
from lightjax.objectives import Objective
from lightjax.transforms import Transform, at_step

STEPS_PER_CALL = 128
"""Largest number of steps that one call of `advance` makes."""

JOBS = P("jobs")
"""How arrays with a leading axis of jobs lie on the devices."""


class Setup(NamedTuple):
    """Everything that a step depends on, except its objective and its key. Arrays are data, the rest is structure.

    The fields are those of `Recipe`, with an optax optimizer. Build an optimizer once: a new one compiles anew.
    """

    model: Model
    image: Image
    transform: Transform | None
    optimizer: optax.GradientTransformation
    relu: str | None
    views: int = 1


class State(NamedTuple):
    """Where a render stands. With many jobs, every array has a leading axis of jobs.

    Attributes:
      step: Number of updates made so far, int32.
      params: Parameters of the picture. After a step that was not finite, the last parameters with a finite objective.
      previous: Parameters before the last update: the last ones known to give a finite objective.
      opt_state: State of the optimizer.
      values: The objective before each update of the last call, `[STEPS_PER_CALL]`; later entries are left over.
      finite: Whether the objective and its gradient were finite in all steps. From the first step where they were not,
        `step` and `params` stay as they are.
    """

    step: Array
    params: Any
    previous: Any
    opt_state: Any
    values: Array
    finite: Array


def init(keys: Array, setup: Setup, start: ArrayLike | None = None, mesh: Mesh | None = None) -> State:
    """The state before the first step.

    Args:
      keys: One key, or with a mesh one for each job.
      setup: Its image draws the parameters, and its optimizer begins with them.
      start: Pictures to start from instead, which have passed `images.check_start`.
      mesh: The devices, along an axis called "jobs", if there are many jobs.
    """
    return _init(keys, setup.image, setup.optimizer, start, mesh)


def advance(
    state: State, setup: Setup, objective: Objective, keys: Array, steps: int, mesh: Mesh | None = None
) -> State:
    """Make up to `STEPS_PER_CALL` steps in one compiled program, which all objectives of one structure share.

    With a mesh, the state, the objective and the keys have a leading axis of jobs, whose length is a multiple of the
    number of devices. Each job then goes as it would alone. Each device computes its own jobs, without communication.

    Args:
      state: From `init`, or from the call before.
      setup: What the step depends on.
      objective: The objective to maximize. Its arrays and its numbers are data.
      keys: Randomness of the transform: one key, or one for each job.
      steps: Number of steps; other numbers do not recompile.
      mesh: The devices, along an axis called "jobs", if there are many jobs.

    Raises:
      ValueError: If `steps` is not between 0 and `STEPS_PER_CALL`.
    """
    if not 0 <= steps <= STEPS_PER_CALL:
        raise ValueError(f"steps of one call must be between 0 and {STEPS_PER_CALL}, got {steps}")
    return _advance(state, setup, jax.tree.map(_strongly_typed, objective), keys, np.array(steps, np.int32), mesh)


def lower(state: State, setup: Setup, objective: Objective, keys: Array, mesh: Mesh | None = None):
    """The lowered program of `advance`. Its `.compile()` reports its memory, and the cost of one step."""
    return _advance.lower(state, setup, jax.tree.map(_strongly_typed, objective), keys, np.array(1, np.int32), mesh)


@by_structure
def decode(image: Image, params: Any, many: bool = False) -> Array:
    """The pictures `[N, H, W, C]` that parameters stand for; with `many`, `[jobs, N, H, W, C]`."""
    return jax.vmap(image.decode)(params) if many else image.decode(params)


def activations(setup: Setup, params: Any, rectifier: ops.Relu | None, key: Array, step: Array) -> dict[str, Array]:
    """Activations for the picture as the network sees it at a step; "input" is the picture before the transform."""
    with jax.named_scope("decode"):
        pictures = setup.image.decode(params)
    with jax.named_scope("transforms"):
        view = pictures if setup.transform is None else at_step(setup.transform, step)(key, pictures)
    return {**_activations.call(setup.model, view, rectifier), "input": pictures}


@by_structure
def _init(keys, image: Image, optimizer: optax.GradientTransformation, start, mesh: Mesh | None) -> State:
    def one(image: Image, key: Array, start) -> State:
        params = image.init(key) if start is None else image.encode(start)  # type: ignore[attr-defined]
        values, finite = jnp.zeros(STEPS_PER_CALL), jnp.array(True)
        return State(jnp.zeros((), jnp.int32), params, params, optimizer.init(params), values, finite)

    if mesh is None:
        return one(image, keys, start)
    return _over_jobs(lambda image, start, key: one(image, key, start), mesh)((image, start), keys)


@by_structure
def _advance(
    state: State, setup: Setup, objective: Objective, keys: Array, steps: ArrayLike, mesh: Mesh | None
) -> State:
    def one(setup: Setup, steps: ArrayLike, state: State, objective: Objective, key: Array) -> State:
        value_at = _objective_at(setup, objective, key)

        step = lambda made, state: _update(state, value_at, setup.optimizer, made)
        return jax.lax.fori_loop(0, steps, step, state)

    if mesh is None:
        return one(setup, steps, state, objective, keys)
    return _over_jobs(one, mesh)((setup, steps), state, objective, keys)


def _over_jobs(function: Callable, mesh: Mesh) -> Callable:
    """Map a function of `(*shared, *own)` over jobs: the shared arguments are common to all of them."""

    def over_jobs(shared: tuple, *own):
        arrays, structure = partition(shared)

        def on_device(arrays, *own):
            return jax.vmap(lambda *own: function(*restore(arrays, structure), *own))(*own)

        specs = (P(), *[JOBS] * len(own))
        return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=JOBS, check_vma=False)(arrays, *own)

    return over_jobs


def _objective_at(setup: Setup, objective: Objective, key: Array) -> Callable[[Any, Array], Array]:
    """The objective as a function of the parameters of the picture and of the number of the step."""

    def objective_at(params: Any, step: Array) -> Array:
        rectifier = None if setup.relu is None else ops.rectifier(setup.relu, step)

        def value(key: Array) -> Array:
            return jnp.asarray(objective(activations(setup, params, rectifier, key, step)))

        key_of_step = jax.random.fold_in(key, step)
        if setup.views == 1:
            return value(key_of_step)
        keys = jax.vmap(lambda view: jax.random.fold_in(key_of_step, view))(jnp.arange(setup.views))
        return jax.vmap(value)(keys).mean(axis=0)

    return objective_at


def _update(state: State, value_at: Callable, optimizer: optax.GradientTransformation, made: Array) -> State:
    """The state after one step. After a step that was not finite, its parameters are the last with a finite objective.

    This is not a condition of the loop: under `vmap`, JAX would then choose between old and new at every step for all
    that the loop carries.
    """
    value, gradient = jax.value_and_grad(value_at)(state.params, state.step)
    descent = jax.tree.map(jnp.negative, gradient)
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to the power of a whole number of steps
        updates, opt_state = optax.with_extra_args_support(optimizer).update(
            descent,
            state.opt_state,
            state.params,
            value=-value,
            grad=descent,
            value_fn=lambda params: -value_at(params, state.step),
        )
    finite = jnp.isfinite(value)
    good = _choose(finite | ~state.finite, state.params, state.previous)
    finite &= state.finite
    for leaf in jax.tree.leaves(gradient):
        finite &= jnp.isfinite(leaf).all()
    params = _choose(finite, optax.apply_updates(state.params, updates), good)
    values = state.values.at[made].set(value.astype(jnp.float32))
    return State(state.step + finite.astype(jnp.int32), params, good, opt_state, values, finite)


def _choose(condition: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), a, b)


def _strongly_typed(leaf: Any) -> Array:
    """A leaf as an array whose type does not depend on how the number was written."""
    array = jnp.asarray(leaf)
    return jax.lax.convert_element_type(array, array.dtype) if getattr(array, "weak_type", False) else array


def clamp_params(low: float, high: float) -> optax.GradientTransformation:
    """Keep all parameters between two values, to rounding: the last transformation of an `optax.chain`.

    It suits images whose parameters are pixels. TorchLight calls it `clamp_param_value`.

    Args:
      low: Lowest value.
      high: Highest value.

    Raises:
      TypeError: If one is not a number.
      ValueError: If one is not finite, or the lowest value is not below the highest.
    """
    low, high = _checks.number(low, "low"), _checks.number(high, "high")
    if not low < high:
        raise ValueError(f"low must be below high, got {low:g} and {high:g}")

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("clamp_params needs the parameters: optimizer.update(updates, state, params)")
        clamped = optax.projections.projection_box(optax.apply_updates(params, updates), low, high)
        return jax.tree.map(jnp.subtract, clamped, params), state

    return optax.GradientTransformation(optax.init_empty_state, update)
