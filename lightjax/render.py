"""From objectives to pictures: `visualize`, `visualize_many`, and the loop on the host behind both."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Unpack

import optax
from jax.typing import ArrayLike

from lightjax import _checks, batching, objectives, transforms
from lightjax._structure import Model, made_again
from lightjax.images import Image, Size
from lightjax.objectives import Objective
from lightjax.progress import Pacer, bar
from lightjax.recipe import Recipe, SharedSettings, numbers_of_steps, settings_in
from lightjax.result import NonFiniteError, Result, no_response
from lightjax.transforms import Transform

_SECONDS = 0.25
"""Seconds between two updates of the progress bar and checks for Ctrl-C, for one job."""


def visualize(
    objective: str | Objective | Callable,
    *,
    steps: int = 2048,
    model: Model | str | None = None,
    image: Image | None = None,
    transform: Transform | None = transforms.DEFAULT,
    optimizer: optax.GradientTransformation | float = 0.05,
    relu: str | None = None,
    views: int = 1,
    start: ArrayLike | str | os.PathLike | None = None,
    snapshots: Iterable[int] = (),
    seed: int = 0,
    size: Size | None = None,
    callback: Callable[[Result], object] | None = None,
    every: int | Iterable[int] = 50,
    progress: bool = True,
) -> Result:
    """Optimize a picture to maximize an objective.

    The same arguments give the same bytes on the same device. Ctrl-C returns the picture made so far, marked as
    interrupted. Functions given as model, objective or transform are compiled once, as by `jax.jit`: the values that
    they close over are frozen at their first use.

    Args:
      objective: "layer:channel" and its relatives (see `objectives.parse`), an `Objective`, or a function of the
        activations.
      steps: Number of updates.
      model: A network as a function of images (see the README), or the name or path of weights for `load_model`; by
        default "bvlc_googlenet", which comes with lightjax.
      image: The parameterization that is optimized; by default `image(size)`.
      transform: The random transform applied to the picture in each step, drawn anew for each step and each picture;
        None for none. The default enlarges the picture; for a network that only takes the size of the picture, a crop
        to that size follows.
      optimizer: A learning rate for Adam, or any optax optimizer (examples below). Build an optimizer once: a new one
        is compiled anew.
      relu: Gradient rule of the rectifiers: "torchlight", "lucid" or "plain" (see `ops.rectifier`). By default
        "torchlight" if the model has a keyword `relu`, and otherwise the model's own.
      views: Draws of the transform in each step; the objective is averaged over them. MACO uses many crops.
      start: A picture to start from: a file, which is scaled and cropped to the size of the image as `load_picture`
        does, or `[H, W, 3]` in [0, 1], or one for each of the batch, `[N, H, W, 3]`, with as many channels as the
        image; a fourth is opacity. By default the image draws its start.
      snapshots: Numbers of steps after which to keep the pictures.
      seed: Seed of all randomness, from 0 to 2**32 - 1.
      size: Pixels of the default image, one number or (height, width); by default 224, or what an attribute `size` of
        the model says, (height, width), for a network that takes one size only.
      callback: Called on the host with the result so far: to plot it (see `live`), to log it
        (`lambda result: run.log({"objective": result.values[-1]})`), or to save it. If it returns something true, the
        render ends, marked as stopped: `lambda result: result.values[-1] > 10`. It never changes the picture.
      every: Number of steps between two calls (the last step also calls), or the numbers of steps after which to call.
      progress: Whether to show a progress bar.

    Returns:
      The pictures, the values of the objective, and all settings.

    Raises:
      ValueError, TypeError, IndexError: If an argument is wrong; raised before anything is compiled.
      WeightsError: If the network cannot be found or loaded.
      NonFiniteError: If the objective or its gradient stops being finite.

    Some optimizers, with `a = optax.adam(0.05)`:

        optax.adam(optax.cosine_decay_schedule(0.1, 512))         # a schedule of learning rates
        optax.chain(optax.normalize_by_update_norm(), optax.sgd(1.0))  # steps of one length, whatever the gradient
        optax.chain(optax.clip_by_global_norm(1.0), a)            # gradients of a length of at most 1
        optax.chain(a, lj.optimize.clamp_params(-2, 2))           # parameters between -2 and 2
        optax.lbfgs()                                             # with a line search, best with transform=None
    """
    goal = objective if isinstance(objective, str) else objectives.as_objective(objective)  # None is wrong here
    recipe = Recipe.of(goal, **settings_in(locals()))
    return render(recipe, callback=callback, every=every, progress=progress)


def render(
    recipe: Recipe,
    *,
    callback: Callable[[Result], object] | None = None,
    every: int | Iterable[int] = 50,
    progress: bool = True,
) -> Result:
    """Render the picture of a recipe. `visualize` builds a recipe and calls this function.

    Examples:
      >>> lj.render(lj.Recipe.read("mixed4a_97.png", seed=3))

    Args:
      recipe: A recipe with an objective.
      callback: As for `visualize`.
      every: As for `visualize`.
      progress: As for `visualize`.

    Returns:
      The pictures, the values of the objective, and all settings.

    Raises:
      ValueError, TypeError: If the recipe has no objective, or an argument is wrong.
      NonFiniteError: If the objective or its gradient stops being finite.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be a Recipe, as Recipe.of returns it, got {_checks.shown(recipe)}")
    _checks.flag(progress, "progress")
    if recipe.objective is None:
        raise ValueError("this recipe has no objective: give it one, as in Recipe.of('mixed4a:97')")
    calls = _calls(callback, every, recipe.steps)
    _warn_of_copies(recipe, [recipe.objective])
    jobs = batching.Jobs(recipe, recipe.setup, [recipe.objective], [recipe.seed])
    with bar(recipe.steps, "step", progress) as shown:

        def report(steps: int) -> None:
            shown.update(steps)
            shown.set_postfix(objective=f"{jobs.values[0, -1]:.4g}", refresh=False)

        try:
            for made in jobs.advance({*calls, recipe.steps}, Pacer(_SECONDS), report):
                if callback is not None and made in calls and jobs.finite:
                    result = jobs.results(so_far=True)[0]
                    if callback(result) and made < recipe.steps:
                        return jobs.results(stopped=True)[0]
        except KeyboardInterrupt:
            return jobs.results(interrupted=True)[0]
    result = jobs.results()[0]
    if result.failed is not None:
        raise NonFiniteError(result.failed, result)
    if result.unresponsive:
        warnings.warn(no_response([result]), stacklevel=3)
    return result


class Renders(Iterator[tuple[int, Result]]):
    """The results of `visualize_many`, each with the number of its job, as they finish."""

    def __init__(self, results: Iterator[tuple[int, Result]]):
        """Wrap an iterator of numbers and results."""
        self._results = results

    def __next__(self) -> tuple[int, Result]:
        return next(self._results)

    def in_order(self) -> list[Result]:
        """All remaining results, in the order of their jobs."""
        return [result for _, result in sorted(self, key=lambda pair: pair[0])]


def visualize_many(
    objectives: str | Objective | Iterable[str | Objective | Callable],
    *,
    seed: int | Sequence[int] = 0,
    progress: bool = True,
    chunk: int | None = None,
    memory: int | None = None,
    devices: Sequence[Any] | None = None,
    **settings: Unpack[SharedSettings],
) -> Renders:
    """Optimize many pictures, each for its own objective, as `visualize` would one by one.

    Each job gives the picture that `visualize` gives for the same objective and seed, up to rounding. The other jobs
    have no influence. (Rounding grows from step to step: after many steps, two runs that round differently show the
    same motif in other places.) Objectives of one structure share one compilation.

    A job whose objective or gradient stops being finite keeps its last good pictures and says so in `Result.failed`;
    the other jobs go on. Ctrl-C ends the stream with the jobs under way, marked as interrupted.

    Examples:
      >>> for channel, result in lj.visualize_many(lj.channel("mixed4a", range(512)), steps=128, size=128):
      ...     result.save(f"mixed4a_{channel}.png")

    Args:
      objectives: Several objectives, strings or functions; or one objective with array arguments: entry i of each
        array belongs to job i, and plain numbers are shared by all jobs. `channel("mixed4a", [97, 143])` is two jobs
        here, not their mean.
      seed: One seed for all jobs, or one for each.
      progress: Whether to show a progress bar.
      chunk: Number of jobs at a time, rounded up to a multiple of the number of devices. The last chunk is filled up
        with jobs that are thrown away. By default as many as `memory` allows, at most `batching.CPU_CHUNK` on a CPU
        and `batching.CHUNK` for each accelerator.
      memory: Bytes that a chunk may take on each device, by the compiled program's own account; one job for each
        device is always allowed. By default three quarters of what an accelerator has free, and `batching.CPU_MEMORY`
        on a CPU.
      devices: Devices to compute on; by default all of this process.
      **settings: The other keywords of `visualize`, except `callback` and `every`: steps, model, image, transform,
        optimizer, relu, views, start, snapshots, size. All jobs share them.

    Returns:
      An iterator of (number of the job, its result), in the order in which they finish: chunk by chunk, structure by
      structure. `.in_order()` waits for all of them and gives a list.

    Raises:
      ValueError, TypeError, IndexError: If an argument is wrong; raised at once, before anything is compiled.
      WeightsError: If the network cannot be found or loaded.
    """
    _checks.flag(progress, "progress")
    devices = batching.check_devices(devices)
    for name, value in (("chunk", chunk), ("memory", memory)):
        if value is not None:
            _checks.whole(value, name, least=1)
    recipe = Recipe.of(None, **settings)
    goals = batching.split(objectives, recipe.shapes)
    seeds = _checks.several(seed, "seed", "numbers") if _checks.is_several(seed) else [seed] * len(goals)
    if len(seeds) != len(goals):
        raise ValueError(f"give one seed for all jobs, or one for each: got {len(seeds)} seeds for {len(goals)} jobs")
    seeds = [_checks.whole(one, "seed", least=0, most=2**32 - 1) for one in seeds]
    for goal in goals:
        recipe.check(goal)
    _warn_of_copies(recipe, goals)
    return Renders(_stream(recipe, goals, seeds, chunk, memory, devices, progress))


def _stream(recipe: Recipe, goals, seeds, chunk, memory, devices, progress) -> Iterator[tuple[int, Result]]:
    with bar(len(goals), "picture", progress, decimals=1) as shown:
        for numbers in batching.by_program([recipe.resolve(goal) for goal in goals]):
            mesh = batching.mesh_of(devices, len(numbers) if chunk is None else chunk)
            setup = batching.on_devices(recipe.setup, mesh)
            if chunk is None:
                size = batching.fitting_chunk(recipe, setup, goals[numbers[0]], len(numbers), mesh, memory)
            else:
                size = -(-min(chunk, len(numbers)) // mesh.size) * mesh.size
            for first in range(0, len(numbers), size):
                now = numbers[first : first + size]
                chosen = [goals[i] for i in now], [seeds[i] for i in now]
                results = batching.render_chunk(recipe, setup, *chosen, size, mesh, shown.update)
                still = [result for result in results if result.unresponsive]
                if still:
                    warnings.warn(no_response(still), stacklevel=2)
                yield from zip(now, results, strict=True)
                if any(result.interrupted for result in results):
                    return


def _warn_of_copies(recipe: Recipe, goals: Sequence[Objective]) -> None:
    """Warn if functions that look the same are compiled again and again."""
    copied = made_again([recipe.model, recipe.transform, *(fn for goal in goals for fn in goal.functions())])
    if copied:
        warnings.warn(copied, stacklevel=4)


def _calls(callback: Callable | None, every: int | Iterable[int], steps: int) -> tuple[int, ...]:
    """Numbers of steps after which to call back, checked and in order."""
    if callback is None:
        return ()
    if not callable(callback) or isinstance(callback, type):
        raise TypeError(f"callback must be a function of the result so far, got {_checks.shown(callback)}")
    if _checks.is_several(every):
        return numbers_of_steps(every, steps, "every")
    every = _checks.whole(every, "every", least=1)
    return (*range(every, steps, every), steps)
