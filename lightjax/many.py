"""Many pictures at once: independent jobs as one compiled program, in chunks that fit into memory.

A job is what one call of `visualize` would do, and its picture is the same to within rounding: its randomness comes
from its own seed, not from its place. Jobs whose objectives differ in their arrays alone share a program, which maps
over them; devices share the jobs out, and never speak to each other.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lightjax import objectives, optimize
from lightjax import transforms as transforms_
from lightjax.images import Image, Size
from lightjax.objectives import Objective
from lightjax.optimize import Model
from lightjax.transforms import Transform
from lightjax.visualize import Pace, Plan, Result, check_range, check_seed, complete

CPU_CHUNK = 8
"""Jobs at a time on each processor: a picture takes as long in any chunk there, and a small one is soon finished."""

CHUNK = 64
"""Jobs at a time on each accelerator, which work best on many, if they fit into its memory."""

CPU_MEMORY = 2 * 2**30
"""Bytes that jobs on a CPU may take if nobody says; accelerators know their memory."""


_SECONDS = 2.0
"""Time between looks at the clock and the keyboard; the states of all jobs are copied at each."""


class Renders(Iterator[tuple[int, Result]]):
    """The results of `visualize_many`, each with the number of its job, as they finish."""

    def __init__(self, results: Iterator[tuple[int, Result]]):
        """Wrap what yields them."""
        self._results = results

    def __next__(self) -> tuple[int, Result]:
        return next(self._results)

    def in_order(self) -> list[Result]:
        """All results that are still to come, in the order of their jobs."""
        return [result for _, result in sorted(self, key=lambda pair: pair[0])]


def visualize_many(
    objectives: str | Objective | Iterable[str | Objective | Callable],
    *,
    steps: int = 2048,
    model: Model | str | None = None,
    image: Image | None = None,
    transforms: Transform | None = transforms_.DEFAULT,
    optimizer: optax.GradientTransformation | float | None = None,
    relu: str | None = None,
    views: int = 1,
    start: ArrayLike | None = None,
    snapshots: Iterable[int] = (),
    seed: int | Sequence[int] = 0,
    size: Size = 224,
    progress: bool = True,
    chunk: int | None = None,
    memory: int | None = None,
    devices: Sequence[Any] | None = None,
) -> Renders:
    """Optimise many pictures, each for an objective of its own, as `visualize` would one by one.

    The picture of a job is the one that `visualize` makes of its objective and seed, to within rounding, whatever else
    is asked for beside it. (Rounding grows from step to step: after many, two runs that round differently show the same
    motif in other places.) Objectives of one structure share one compilation.

    A job whose objective or gradient stops being finite keeps its last good pictures and says so in `Result.failed`;
    the others go on. Ctrl-C ends the stream with the jobs under way, marked as interrupted.

    Example:
      >>> for channel, result in visualize_many(lj.channel("mixed4a", jnp.arange(508)), steps=128, size=128):
      ...     result.save(f"mixed4a_{channel}.png")

    Args:
      objectives: Several objectives, strings or functions; or one objective whose arrays have a leading axis of jobs
        (its numbers are the same for all). `channel("mixed4a", [97, 143])` is two jobs here, not their mean.
      steps: As for `visualize`, and so are all below up to `size`.
      model: The network.
      image: What each job optimises.
      transforms: What a picture must survive.
      optimizer: The optimiser.
      relu: Gradient rule of the rectifiers.
      views: Draws of the transforms in each step.
      start: A picture for all jobs to start from.
      snapshots: Numbers of steps after which to keep the pictures.
      seed: One for all jobs, or one for each.
      size: Pixels of the default image.
      progress: Whether to show a progress bar.
      chunk: Jobs at a time, rounded up to a multiple of the number of devices; the last chunk is filled up with jobs
        that nobody sees. By default as many as `memory` allows, at most `CPU_CHUNK` or `CHUNK` for each device.
      memory: Bytes that a chunk may take on each device, by the compiled program's own account; one job for each
        device is always allowed. By default three quarters of what an accelerator has free, and `CPU_MEMORY` on a CPU.
      devices: What to compute on; by default all devices of this process.

    Returns:
      An iterator of (number of the job, its result), in the order in which they finish: chunk by chunk, structure by
      structure. `.in_order()` waits for all of them and gives a list.

    Raises:
      ValueError, TypeError, IndexError: If an argument is wrong; raised at once, before anything is compiled.
      WeightsError: If the network cannot be had.
    """
    goals = split(objectives)
    seeds = _seeds(seed, len(goals))
    for name, value in (("chunk", chunk), ("memory", memory)):
        if value is not None and (not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} is a whole number from 1 on, not {value!r}")
    plan = complete(
        steps=steps,
        model=model,
        image=image,
        transforms=transforms,
        optimizer=optimizer,
        relu=relu,
        views=views,
        start=start,
        snapshots=snapshots,
        size=size,
    )
    check(plan, goals)
    return Renders(_stream(plan, goals, seeds, chunk, memory, devices, progress))


def split(given: str | Objective | Iterable[str | Objective | Callable]) -> list[Objective]:
    """The objectives of the jobs, one by one.

    Raises:
      ValueError: If there are none, or the arrays of one objective do not agree about their number.
    """
    if isinstance(given, Iterable) and not isinstance(given, str):
        goals = [objectives.as_objective(one) for one in given]
        if not goals:
            raise ValueError("there is nothing to render: no objectives were given")
        return goals
    goal = objectives.as_objective(given)
    leaves, structure = jax.tree.flatten(goal)
    leaves = [np.asarray(leaf) if np.ndim(leaf) else leaf for leaf in leaves]
    numbers = sorted({len(leaf) for leaf in leaves if np.ndim(leaf)})
    if len(numbers) != 1:
        found = f"they have {', '.join(map(str, numbers))}" if numbers else "it has none"
        raise ValueError(
            f"one objective for many jobs has arrays with one entry for each, but {found}: {goal!r}; "
            "write channel('mixed4a', [0, 1, 2]), or give a list of objectives"
        )
    return [structure.unflatten([x[i] if np.ndim(x) else x for x in leaves]) for i in range(numbers[0])]


def check(plan: Plan, goals: Sequence[Objective]) -> None:
    """Check all objectives; errors are those of `objectives.resolve` and `objectives.check`."""
    for goal in goals:
        objectives.check(objectives.resolve(goal, plan.model), plan.shapes)


def mesh_of(devices: Sequence[Any] | None = None, jobs: int | None = None) -> jax.sharding.Mesh:
    """Devices, by default all of this process, in a row along the axis of jobs; no more than there are jobs."""
    devices = jax.local_devices() if devices is None else list(devices)
    return jax.sharding.Mesh(np.array(devices[:jobs]), ("jobs",))


def fitting_chunk(plan: Plan, goal: Objective, jobs: int, mesh: jax.sharding.Mesh, memory: int | None = None) -> int:
    """Jobs at a time that fit into the memory of each device: a guess, then what its compiled program says.

    Only a guess that is too large costs a second compilation.
    """
    device = mesh.devices.flat[0]
    most = CPU_CHUNK if device.platform == "cpu" else CHUNK
    per_device = min(most, -(-jobs // mesh.size))
    account = device.memory_stats() or {}
    free = account.get("bytes_limit", 0) - account.get("bytes_in_use", 0)
    allowed = memory or (free * 3 // 4 if free > 0 else CPU_MEMORY)
    while True:
        start, call = _start(plan, [goal], [0], per_device * mesh.size, mesh)
        needed = memory_of(optimize.compile_many(start, **call))
        if needed <= allowed or per_device == 1:
            return per_device * mesh.size
        per_device = max(1, min(per_device - 1, per_device * allowed // needed))


def memory_of(program: jax.stages.Compiled) -> int:
    """Bytes that a program takes on each device, by its own account; 0 on a backend that keeps none."""
    account = program.memory_analysis()
    if account is None:
        return 0
    return account.argument_size_in_bytes + account.output_size_in_bytes + account.temp_size_in_bytes


def render(
    plan: Plan,
    goals: Sequence[Objective],
    seeds: Sequence[int],
    chunk: int,
    mesh: jax.sharding.Mesh,
    made: Callable[[float], Any] = lambda share: None,
) -> list[Result]:
    """Render up to one chunk of jobs of the same structure.

    Args:
      plan: How.
      goals: What each job is to maximise.
      seeds: The seed of each job.
      chunk: Number of jobs that the program takes, a multiple of the number of devices; missing ones are filled up.
      mesh: The devices.
      made: Called now and then, with the number of jobs' worth of steps made since the last call.

    Returns:
      The results, in order. After Ctrl-C they are marked as interrupted.
    """
    state, call = _start(plan, goals, seeds, chunk, mesh)
    check_range(plan.image, _decode(plan.image, state.state.params))
    values = np.zeros((chunk, 0), np.float32)
    kept: list[dict[int, np.ndarray]] = [{} for _ in goals]
    interrupted = False
    pace = Pace(_SECONDS)
    try:
        for stop in [*plan.snapshots, plan.steps]:
            while (done := values.shape[1]) < stop:
                steps = pace.next(stop - done)
                advanced = optimize.advance_many(state, steps=steps, **call)
                course = np.asarray(advanced.values)[:, :steps]  # waits for the devices
                state, values = advanced, np.concatenate([values, course], axis=1)
                pace.made(steps)
                made(len(goals) * steps / plan.steps)
            if stop in plan.snapshots:
                good = np.asarray(state.state.step) == stop
                pictures = _decode(plan.image, state.state.params)
                for own, picture, well in zip(kept, pictures, good, strict=False):
                    if well and np.isfinite(picture).all():
                        own[stop] = picture
    except KeyboardInterrupt:
        interrupted = True

    if interrupted and not np.asarray(state.finite).any():
        raise KeyboardInterrupt  # no job is left that could be marked

    made_by_each, finite = np.asarray(state.state.step), np.asarray(state.finite)
    pictures = _decode(plan.image, state.state.params)
    # The last update may have spoilt a picture whose objective nobody has seen.
    spoilt = np.asarray(~np.isfinite(pictures).all(axis=(1, 2, 3, 4)))
    if spoilt.any():
        before = _decode(plan.image, state.state.previous)
        pictures = np.where(spoilt[:, None, None, None, None], before, pictures)
    results = []
    for i, (goal, seed) in enumerate(zip(goals, seeds, strict=True)):
        steps = int(made_by_each[i])
        failed = steps if spoilt[i] else None if finite[i] else steps + 1
        stopped = interrupted and failed is None
        settings = {**plan.settings, "objective": repr(goal), "seed": int(seed)}
        settings |= ({"interrupted": steps} if stopped else {}) | ({"failed": failed} if failed else {})
        result = Result(
            pictures[i], kept[i], values[i, :steps], int(seed), settings, interrupted=stopped, failed=failed
        )
        results.append(result)
    return results


def _stream(plan, goals, seeds, chunk, memory, devices, progress) -> Iterator[tuple[int, Result]]:
    with bar(len(goals), progress) as shown:
        for places in _by_structure([objectives.resolve(goal, plan.model) for goal in goals]):
            mesh = mesh_of(devices, len(places) if chunk is None else chunk)
            spread = spread_over(plan, mesh)
            if chunk is None:
                size = fitting_chunk(spread, goals[places[0]], len(places), mesh, memory)
            else:
                size = -(-min(chunk, len(places)) // mesh.size) * mesh.size
            for start in range(0, len(places), size):
                now = places[start : start + size]
                results = render(spread, [goals[i] for i in now], [seeds[i] for i in now], size, mesh, shown.update)
                yield from zip(now, results, strict=True)
                if any(result.interrupted for result in results):
                    return


def spread_over(plan: Plan, mesh: jax.sharding.Mesh) -> Plan:
    """The same with a copy of the network on each device."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    arrays = jax.Array | np.ndarray
    place = lambda leaf: jax.device_put(leaf, everywhere) if isinstance(leaf, arrays) else leaf
    return plan._replace(model=jax.tree.map(place, plan.model))


def bar(jobs: int, show: bool, done: float = 0):
    """A progress bar that counts pictures, also in parts, and says how many a second there are."""
    from tqdm.auto import tqdm

    form = "{l_bar}{bar}| {n:.1f}/{total} pictures [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
    look = {"unit": " pictures", "bar_format": form, "smoothing": 0.1, "dynamic_ncols": True}
    return tqdm(total=jobs, initial=done, disable=not show, **look)


def _start(plan: Plan, goals, seeds, chunk: int, mesh) -> tuple[optimize.Progress, dict[str, Any]]:
    """Where a chunk of jobs starts, and the arguments of `advance_many` that stay the same."""
    goals = [objectives.resolve(goal, plan.model) for goal in goals]
    missing = chunk - len(goals)
    jobs = jax.sharding.NamedSharding(mesh, optimize.JOBS)
    numbers = jnp.asarray([*seeds, *seeds[-1:] * missing], jnp.uint32)
    init_keys, keys = _keys(jax.device_put(numbers, jobs))
    call = {
        "model": plan.model,
        "objective": jax.device_put(_stack([*goals, *goals[-1:] * missing]), jobs),
        "keys": keys,
        "image": plan.image,
        "transform": plan.transforms,
        "optimizer": plan.optimizer,
        "relu": plan.relu,
        "views": plan.views,
        "mesh": mesh,
    }
    return optimize.init_many(init_keys, plan.image, plan.optimizer, mesh, plan.start), call


@jax.jit
def _keys(seeds: Array) -> tuple[Array, Array]:
    """The keys that `visualize` splits a seed into: of the first picture, and of the transforms."""
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed)))(seeds)
    return keys[:, 0], keys[:, 1]


def _decode(image: Image, params: Any) -> np.ndarray:
    """The finished pictures of all jobs, `[jobs, N, H, W, 3 or 4]`."""
    return np.asarray(optimize.decode_many(image, params))


def _by_structure(goals: Sequence[Objective]) -> list[list[int]]:
    """The places of the objectives that can share a program, for each structure there is."""
    places: dict[Any, list[int]] = {}
    for place, goal in enumerate(goals):
        leaves, structure = jax.tree.flatten(goal)
        shapes = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        places.setdefault((structure, shapes), []).append(place)
    return list(places.values())


def _stack(goals: Sequence[Objective]) -> Objective:
    """Objectives of one structure as one, whose leaves have a leading axis of jobs."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(x, jnp.result_type(x)) for x in leaves]), *goals)


def _seeds(seed: int | Sequence[int], jobs: int) -> list[int]:
    seeds = list(seed) if isinstance(seed, Iterable) else [seed] * jobs
    if len(seeds) != jobs:
        raise ValueError(f"there are {jobs} jobs and {len(seeds)} seeds; give one seed for all, or one for each")
    for one in seeds:
        check_seed(one)
    return [int(one) for one in seeds]
