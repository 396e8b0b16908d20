"""Many independent jobs in one compiled program, in chunks that fit into memory.

A job is one picture (or one batch of pictures) with its own objective and seed. Jobs whose objectives differ only in
their arrays share a program, which maps over them. Devices share the jobs and do not communicate.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks, objectives, optimize
from lightjax.objectives import Objective
from lightjax.optimize import Setup, State
from lightjax.progress import Pacer
from lightjax.recipe import Recipe
from lightjax.result import Result

CPU_CHUNK = 8
"""Largest number of jobs at a time on a CPU.

The time per picture does not depend on the size of the chunk there, and a small chunk finishes sooner.
"""

CHUNK = 64
"""Largest number of jobs at a time on each accelerator."""

CPU_MEMORY = 2 * 2**30
"""Bytes that the jobs on a CPU may take by default. Accelerators know their memory."""

_SECONDS = 2.0
"""Seconds between two checks for Ctrl-C. The states of all jobs are copied at each check."""


def split(given: str | Objective | Iterable[str | Objective | Callable], layers: Iterable[str] = ()) -> list[Objective]:
    """The objectives of the jobs.

    Args:
      given: Several objectives, or one whose arrays have a leading axis of jobs and whose numbers all jobs share.
      layers: Names of the layers of the model.

    Raises:
      ValueError: If there are no objectives, or if the arrays of one do not agree about the number of jobs.
    """
    if not isinstance(given, str | Objective) and not callable(given):
        listed = _checks.several(given, "objectives", "objectives, or one whose arrays have an axis of jobs")
        goals = [objectives.as_objective(one, layers) for one in listed]
        if not goals:
            raise ValueError("there is nothing to render: no objectives were given")
        return goals
    goal = objectives.as_objective(given, layers)
    leaves, structure = jax.tree.flatten(goal)
    leaves = [np.asarray(leaf) if np.ndim(leaf) else leaf for leaf in leaves]
    lengths = sorted({len(leaf) for leaf in leaves if np.ndim(leaf)})
    if len(lengths) != 1:
        found = f"its arrays have {', '.join(map(str, lengths))} entries" if lengths else "it has no arrays"
        raise ValueError(
            f"one objective for many jobs needs arrays with one entry for each job, but {found}: "
            f"{_checks.shown(goal)}; "
            "write channel('mixed4a', [0, 1, 2]), or give a list of objectives"
        )
    return [structure.unflatten([x[i] if np.ndim(x) else x for x in leaves]) for i in range(lengths[0])]


def by_program(goals: Sequence[Objective]) -> list[list[int]]:
    """Group the jobs by program: one list of job numbers for each program."""
    jobs: dict[Any, list[int]] = {}
    for job, goal in enumerate(goals):
        leaves, structure = jax.tree.flatten(goal)
        shapes = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        jobs.setdefault((structure, shapes), []).append(job)
    return list(jobs.values())


def mesh_of(devices: Sequence[Any] | None = None, jobs: int | None = None) -> jax.sharding.Mesh:
    """Devices, by default all of this process, along the axis "jobs"; no more of them than there are jobs."""
    devices = jax.local_devices() if devices is None else list(devices)
    return jax.sharding.Mesh(np.array(devices[:jobs]), ("jobs",))


def check_devices(devices: Any) -> list[Any] | None:
    """Devices to compute on, or None.

    Raises:
      TypeError: If something else is given.
      ValueError: If there is none, or one comes twice.
    """
    if devices is None:
        return None
    found = _checks.several(devices, "devices", "devices of jax.devices()")
    for device in found:
        if not isinstance(device, jax.Device):
            raise TypeError(f"devices must be devices of jax.devices(), got {_checks.shown(device)}")
    if not found or len(set(found)) < len(found):
        raise ValueError(f"devices must be one device or more, each once, got {_checks.shown(found)}")
    return found


def on_devices(setup: Setup, mesh: jax.sharding.Mesh) -> Setup:
    """The same setup with a copy of the network on each device."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    arrays = jax.Array | np.ndarray
    copy = lambda leaf: jax.device_put(leaf, everywhere) if isinstance(leaf, arrays) else leaf
    return setup._replace(model=jax.tree.map(copy, setup.model))


def fitting_chunk(
    recipe: Recipe, setup: Setup, goal: Objective, jobs: int, mesh: jax.sharding.Mesh, memory: int | None = None
) -> int:
    """Number of jobs at a time that fit into the memory of each device, by the compiled program's own account.

    It compiles a program for a first guess, and a second one only if the guess was too large.
    """
    device = mesh.devices.flat[0]
    most = CPU_CHUNK if device.platform == "cpu" else CHUNK
    per_device = min(most, -(-jobs // mesh.size))
    account = device.memory_stats() or {}
    free = account.get("bytes_limit", 0) - account.get("bytes_in_use", 0)
    allowed = memory or (free * 3 // 4 if free > 0 else CPU_MEMORY)
    while True:
        state, objective, keys = start(recipe, setup, [goal], [0], per_device * mesh.size, mesh)
        needed = memory_of(optimize.lower(state, setup, objective, keys, mesh).compile())
        if needed <= allowed or per_device == 1:
            return per_device * mesh.size
        per_device = max(1, min(per_device - 1, per_device * allowed // needed))


def memory_of(program: jax.stages.Compiled) -> int:
    """Bytes that a program takes on each device, by its own account; 0 on a backend that keeps no account."""
    account = program.memory_analysis()
    if account is None:
        return 0
    return account.argument_size_in_bytes + account.output_size_in_bytes + account.temp_size_in_bytes


def start(
    recipe: Recipe,
    setup: Setup,
    goals: Sequence[Objective],
    seeds: Sequence[int],
    chunk: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> tuple[State, Objective, Array]:
    """The state, the objective and the keys with which jobs start.

    Args:
      recipe: How the jobs are rendered.
      setup: The recipe's setup, on the devices of the mesh.
      goals: What each job maximizes.
      seeds: The seed of each job.
      chunk: Number of jobs of the program. The last job is repeated to fill it up.
      mesh: The devices; None for one job without an axis of jobs.
    """
    goals = [recipe.resolve(goal) for goal in goals]
    if mesh is None or chunk is None:
        init_key, key = jax.random.split(jax.random.key(seeds[0]))
        return optimize.init(init_key, setup, recipe.start), goals[0], key
    missing = chunk - len(goals)
    jobs = jax.sharding.NamedSharding(mesh, optimize.JOBS)
    numbers = jnp.asarray([*seeds, *[seeds[-1]] * missing], jnp.uint32)
    init_keys, keys = _keys(jax.device_put(numbers, jobs))
    objective = jax.device_put(stack([*goals, *[goals[-1]] * missing]), jobs)
    return optimize.init(init_keys, setup, recipe.start, mesh), objective, keys


@jax.jit
def _keys(seeds: Array) -> tuple[Array, Array]:
    """The two keys that each seed is split into: one for the first picture, one for the transform."""
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed)))(seeds)
    return keys[:, 0], keys[:, 1]


def stack(goals: Sequence[Objective]) -> Objective:
    """Objectives of one structure as one objective, whose leaves have a leading axis of jobs."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(x, jnp.result_type(x)) for x in leaves]), *goals)


class Jobs:
    """The loop on the host: runs one job, or a chunk of jobs on a mesh, in one program.

    Attributes:
      values: The objective of each job before each update so far, `[jobs, steps]`.
    """

    def __init__(
        self,
        recipe: Recipe,
        setup: Setup,
        goals: Sequence[Objective],
        seeds: Sequence[int],
        chunk: int | None = None,
        mesh: jax.sharding.Mesh | None = None,
    ):
        """Start all jobs. Raises a ValueError if the image decodes to values outside of [0, 1]."""
        self._recipe, self._setup, self._goals, self._seeds, self._mesh = recipe, setup, goals, seeds, mesh
        self._state, self._objective, self._keys = start(recipe, setup, goals, seeds, chunk, mesh)
        self._kept: list[dict[int, np.ndarray]] = [{} for _ in goals]
        self._first, self._settings = self._state.params, recipe.describe()
        self.values = np.zeros((chunk or 1, 0), np.float32)
        first = self._decode(self._state.params)
        if not (first.min() >= 0 and first.max() <= 1):
            raise ValueError(
                f"image must decode to values in [0, 1], but {_checks.shown(recipe.image)} gives "
                f"{first.min()} to {first.max()}"
            )

    def advance(self, stops: Iterable[int], pacer: Pacer, report: Callable[[int], Any]) -> Iterator[int]:
        """Make steps until each stop, keep snapshots, yield each stop. Makes no more steps once no job is finite."""
        for stop in sorted({*stops, *self._recipe.snapshots}):
            while (done := self.values.shape[1]) < stop and self.finite:
                steps = pacer.next(stop - done)
                state = optimize.advance(self._state, self._setup, self._objective, self._keys, steps, self._mesh)
                values = self._each(state.values)[:, :steps]  # waits for the devices
                self._state, self.values = state, np.concatenate([self.values, values], axis=1)
                pacer.made(steps)
                report(steps)
            if stop in self._recipe.snapshots:
                pictures = self._decode(self._state.params)
                for kept, own, made in zip(self._kept, pictures, self._each(self._state.step), strict=False):
                    if made == stop and np.isfinite(own).all():
                        kept[stop] = own
            yield stop

    @property
    def finite(self) -> bool:
        """Whether any job is still finite."""
        return bool(self._each(self._state.finite).any())

    def results(self, *, interrupted: bool = False, stopped: bool = False, so_far: bool = False) -> list[Result]:
        """The results of all jobs.

        With `so_far`, the settings give the number of steps made so far instead of the number planned.
        """
        made, finite = self._each(self._state.step), self._each(self._state.finite)
        pictures = self._decode(self._state.params)
        # The last update may have spoiled a picture whose objective has not been computed.
        spoiled = np.array([not np.isfinite(own).all() for own in pictures])
        if spoiled.any():
            before = self._decode(self._state.previous)
            pictures = np.where(spoiled[:, None, None, None, None], before, pictures)
        before, after = (list(map(self._each, jax.tree.leaves(params))) for params in (self._first, self._state.params))
        still = [all((a[i] == b[i]).all() for a, b in zip(before, after, strict=True)) for i in range(len(self._goals))]
        results = []
        for i, (goal, seed, kept) in enumerate(zip(self._goals, self._seeds, self._kept, strict=True)):
            steps = int(made[i])
            failed = steps if spoiled[i] else None if finite[i] else steps + 1
            ends = {"interrupted": interrupted and failed is None, "stopped": stopped and failed is None}
            ends["unresponsive"] = still[i] and steps > 0 and failed is None
            settings = self._settings | {"objective": repr(goal), "seed": seed}
            settings |= {"steps": steps, "snapshots": list(kept)} if so_far else {}
            results.append(Result(pictures[i], dict(kept), self.values[i, :steps], settings, **ends, failed=failed))
        return results

    def _decode(self, params: Any) -> np.ndarray:
        """The pictures of all jobs, `[jobs, N, H, W, C]`."""
        return self._each(optimize.decode(self._recipe.image, params, self._mesh is not None))

    def _each(self, array: jax.Array) -> np.ndarray:
        """An array with its leading axis of jobs, on the host."""
        return np.asarray(array) if self._mesh is not None else np.asarray(array)[None]


def render_chunk(
    recipe: Recipe,
    setup: Setup,
    goals: Sequence[Objective],
    seeds: Sequence[int],
    chunk: int,
    mesh: jax.sharding.Mesh,
    report: Callable[[float], Any] = lambda pictures: None,
) -> list[Result]:
    """Render up to one chunk of jobs whose objectives have the same structure.

    Args:
      recipe: How to render all of them.
      setup: The recipe's setup, on the devices of the mesh.
      goals: What each job maximizes.
      seeds: The seed of each job.
      chunk: Number of jobs of the program, a multiple of the number of devices.
      mesh: The devices.
      report: Called now and then with the number of pictures made since the last call, parts of pictures included.

    Returns:
      The results, in order. After Ctrl-C they are marked as interrupted.
    """
    jobs = Jobs(recipe, setup, goals, seeds, chunk, mesh)
    made = lambda steps: report(len(goals) * steps / recipe.steps)
    interrupted = False
    try:
        for _ in jobs.advance({recipe.steps}, Pacer(_SECONDS), made):
            pass
    except KeyboardInterrupt:
        if not jobs.finite:
            raise  # no job is left that could be marked
        interrupted = True
    return jobs.results(interrupted=interrupted)
