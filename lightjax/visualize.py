"""The front door: from an objective to a picture."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from lightjax import images, objectives, optimize, transforms
from lightjax.images import Image, Size
from lightjax.objectives import Objective
from lightjax.optimize import Model
from lightjax.pictures import encode, save, sheet
from lightjax.transforms import Transform

_CHUNK_SECONDS = 0.25
"""Time between looks at the clock, the progress bar and the keyboard."""


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Result:
    """A finished render; it shows itself in a notebook.

    Attributes:
      images: `[N, H, W, 3]` float32 in [0, 1], or `[N, H, W, 4]` with opacity.
      snapshots: The same after earlier numbers of steps, by number.
      values: The objective before each update, float32 `[steps]`.
      seed: The seed it started from.
      settings: Everything it was made with, in plain types; `save` writes them into PNG files.
      interrupted: Whether Ctrl-C ended it early; `len(values)` steps were made.
      stopped: Whether its callback ended it early; `len(values)` steps were made.
      failed: The step that was not finite, counted from 1, if there was one in `visualize_many`: the pictures are the
        last good ones. `visualize` raises NonFiniteError instead.
    """

    images: np.ndarray
    snapshots: dict[int, np.ndarray]
    values: np.ndarray
    seed: int
    settings: dict[str, Any]
    interrupted: bool = False
    stopped: bool = False
    failed: int | None = None

    @property
    def image(self) -> np.ndarray:
        """The picture, `[H, W, 3 or 4]` float32 in [0, 1]; the first one of a batch."""
        return self.images[0]

    def save(self, path: str | os.PathLike) -> None:
        """Save the picture, or the sheet of a batch, as PNG, JPEG or WebP; JPEG shows transparency over white.

        A PNG carries the settings, so that `lightjax render --like FILE` can make it again.

        Raises:
          ValueError: If the ending is none of .png, .jpg, .jpeg, .webp.
          OSError: If the file cannot be written; nothing half-written is left.
        """
        save(path, sheet(self.images), self.settings)

    def save_snapshots(self, path: str | os.PathLike) -> list[Path]:
        """Save each snapshot beside `path`, as NAME_128.png for the one after 128 steps; return the files."""
        saved = []
        for step, pictures in self.snapshots.items():
            file = Path(path).with_stem(f"{Path(path).stem}_{step}")
            save(file, sheet(pictures), {**self.settings, "steps": step, "snapshots": []})
            saved.append(file)
        return saved

    def _repr_png_(self) -> bytes:
        rows = [*self.snapshots.values(), self.images]
        return encode(sheet(np.concatenate(rows), columns=len(rows) if len(self.images) == 1 else None))

    def __repr__(self) -> str:
        number, height, width, _ = self.images.shape
        pictures = f"{number} pictures" if number > 1 else "a picture"
        value = f", objective {self.values[-1]:.4g}" if len(self.values) else ""
        network = self.settings["model"].partition("@")[0]
        ended = " (interrupted)" if self.interrupted else " (stopped)" if self.stopped else ""
        ended = f" (not finite at step {self.failed})" if self.failed else ended
        return (
            f"<Result: {pictures} of {height}x{width} for {self.settings['objective']} of {network}, "
            f"{len(self.values)} steps{ended}{value}, seed {self.seed}>"
        )


class NonFiniteError(ArithmeticError):
    """An objective or a gradient that was infinite or not a number; the last good pictures are in `result`.

    Attributes:
      step: The step that failed, counted from 1.
      result: What there was before it: the last good pictures.
    """

    def __init__(self, step: int, result: Result):
        """Name the step and keep the result."""
        super().__init__(
            f"the objective or its gradient was not finite at step {step}, and the last good picture is kept; "
            + (
                "a smaller learning rate may help"
                if step > 1
                else "so it was before any update: look at model and objective"
            )
        )
        self.step = step
        self.result = result


def visualize(
    objective: str | Objective | Callable,
    *,
    steps: int = 2048,
    model: Model | str | None = None,
    image: Image | None = None,
    transforms: Transform | None = transforms.DEFAULT,
    optimizer: optax.GradientTransformation | float | None = None,
    relu: str | None = None,
    views: int = 1,
    start: ArrayLike | None = None,
    snapshots: Iterable[int] = (),
    callback: Callable[[Result], object] | None = None,
    every: int | Iterable[int] = 50,
    seed: int = 0,
    size: Size = 224,
    progress: bool = True,
) -> Result:
    """Optimise a picture until it excites what the objective names.

    The same arguments give the same bytes on the same device. Ctrl-C returns what there is, marked as interrupted.
    Functions given as model, objective or transform are compiled once, as by `jax.jit`: what they close over is frozen
    at their first use.

    Args:
      objective: "layer:channel" and its relatives (see `parse`), an `Objective`, or a function of the activations.
      steps: Number of updates.
      model: A network as a function of images (see the README), or the name or path of weights for `load_model`; by
        default "bvlc_googlenet", which comes with lightjax.
      image: What is optimised; by default `fourier_image(size)`.
      transforms: What the picture must survive, drawn anew for each step and each picture; None for nothing.
      optimizer: Any optax optimiser, or a learning rate for Adam; by default Adam at 0.05. Whatever else a step should
        do goes into it, for it is optax's: see below.
      relu: Gradient rule of the rectifiers: "torchlight", "lucid" or "plain" (see `ops.rectifier`). By default
        "torchlight" if the model can choose (a keyword `relu`), and the model's own if it cannot.
      views: Draws of the transforms in each step; the objective is averaged over them. MACO wants many crops.
      start: A picture to start from, `[H, W, 3]` in [0, 1] (see `load_picture`), or one for each of the batch,
        `[N, H, W, 3]`; a fourth channel is opacity. By default the image draws its start.
      snapshots: Numbers of steps after which to keep the pictures.
      callback: Called on the host with what a render of as many steps as were made so far would have returned: to plot
        it (see `live`), log it (`lambda result: run.log({"objective": result.values[-1]})`), or save it. If it returns
        something true, the render ends there, marked as stopped: `lambda result: result.values[-1] > 10`. It never
        changes what the render makes.
      every: When to call back: after each so many steps and after the last, or after the numbers of steps given.
      seed: Where the randomness comes from.
      size: Pixels of the default image, one number or (height, width).
      progress: Whether to show a progress bar.

    Returns:
      The pictures, the course of the objective, and all settings.

    Raises:
      ValueError, TypeError, IndexError: If an argument is wrong; raised before anything is compiled.
      WeightsError: If the network cannot be had.
      NonFiniteError: If the objective or its gradient stops being finite.

    Some optimisers, with `a = optax.adam(0.05)`. Build one once: a new one is compiled anew.

        optax.adam(optax.cosine_decay_schedule(0.1, 512))         # a schedule of learning rates
        optax.chain(optax.normalize_by_update_norm(), optax.sgd(1.0))  # steps of one length, whatever the gradient
        optax.chain(optax.clip_by_global_norm(1.0), a)            # gradients of a length of at most 1
        optax.chain(a, lj.optimize.clamp_params(-2, 2))           # parameters between -2 and 2
        optax.lbfgs()                                             # with a line search, best with transforms=None
    """
    goal = objectives.as_objective(objective)
    check_seed(seed)
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
    model, image, transforms, optimizer, relu, views, start, steps, snapshots, shapes = plan[:-1]
    calls = _calls(callback, every, steps)
    resolved = objectives.resolve(goal, model)
    objectives.check(resolved, shapes)
    settings = {**plan.settings, "objective": repr(goal), "seed": int(seed)}

    init_key, key = jax.random.split(jax.random.key(seed))
    state = optimize.init(init_key, image, optimizer, start)
    check_range(image, _decode(image, state.params))
    advance = functools.partial(
        optimize.advance,
        model=model,
        objective=resolved,
        key=key,
        image=image,
        transform=transforms,
        optimizer=optimizer,
        relu=relu,
        views=int(views),
    )
    kept: dict[int, np.ndarray] = {}
    values = np.zeros(0, np.float32)

    def result(ended: str = "") -> Result:
        pictures = _decode(image, state.params)
        if not np.isfinite(pictures).all():  # the last update, whose objective nobody has seen
            raise NonFiniteError(int(state.step), wrap(_decode(image, state.previous)))
        return wrap(pictures, ended)

    def wrap(pictures: np.ndarray, ended: str = "") -> Result:
        made = int(state.step)
        marked = settings | ({ended: made} if ended else {})
        ends = {"interrupted": ended == "interrupted", "stopped": ended == "stopped"}
        return Result(pictures, dict(kept), values[:made], int(seed), marked, **ends)

    def so_far() -> Result:
        """As a render of the steps made would be."""
        shorter = settings | {"steps": int(state.step), "snapshots": list(kept)}
        return dataclasses.replace(result(), settings=shorter)

    pace = Pace()
    with _bar(steps, progress) as bar:
        try:
            for stop in sorted({*snapshots, *calls, steps}):
                while (done := int(state.step)) < stop:
                    chunk = pace.next(stop - done)
                    made = advance(state, steps=chunk)
                    course = np.concatenate([values, np.asarray(made.values)[:chunk]])  # waits for the device
                    state, values = made.state, course
                    pace.made(chunk)
                    bar.update(int(state.step) - done)
                    if not made.finite:
                        raise NonFiniteError(int(state.step) + 1, result())
                    bar.set_postfix(objective=f"{values[-1]:.4g}", refresh=False)
                if stop in snapshots:
                    kept[stop] = result().images
                if callback is not None and stop in calls and callback(so_far()) and stop < steps:
                    return result("stopped")
        except KeyboardInterrupt:
            return result("interrupted")
    return result()


class Plan(NamedTuple):
    """What a render was asked for, but for its objective and its seed: checked and completed.

    Attributes:
      model: The network.
      image: What is optimised.
      transforms: What the picture must survive, or None.
      optimizer: An optax optimiser.
      relu: Gradient rule of the rectifiers; None for a network that has its own.
      views: Draws of the transforms in each step.
      start: Pictures to start from, or None.
      steps: Number of updates.
      snapshots: Numbers of steps after which to keep the pictures, in order.
      shapes: Of the activations that an objective can read.
      settings: All of it in plain types.
    """

    model: Model
    image: Image
    transforms: Transform | None
    optimizer: optax.GradientTransformation
    relu: str | None
    views: int
    start: np.ndarray | None
    steps: int
    snapshots: list[int]
    shapes: dict[str, jax.ShapeDtypeStruct]
    settings: dict[str, Any]


def complete(*, steps, model, image, transforms, optimizer, relu, views, start, snapshots, size) -> Plan:
    """Check and complete the arguments of `visualize` that say how to render; errors are as there."""
    snapshots = _snapshots(snapshots, steps)
    if not isinstance(views, int | np.integer) or isinstance(views, bool) or views < 1:
        raise ValueError(f"views is a whole number of draws from 1 on, not {views!r}")
    if views > 1 and transforms is None:
        raise ValueError(f"{views} views of a picture are all the same without transforms")
    if image is None:
        image = images.fourier_image(size)
    elif images.height_and_width(size) != (224, 224):
        raise ValueError("size is that of the default image; with image=..., give the size to the image")
    optimizer, described = _optimizer(optimizer)
    if model is None or isinstance(model, str | os.PathLike):
        from lightjax.networks import (
            weights,  # with flax.nnx, which takes a while to import; people may bring their own model
        )

        model = weights.load_model(weights.DEFAULT if model is None else model)
    if relu is None and optimize.accepts_relu(model):
        relu = "torchlight"
    shapes = optimize.shapes(model, image, transforms, relu)
    start = None if start is None else images.check_start(image, start, shapes["input"].shape)
    settings = {
        "lightjax": importlib.metadata.version("lightjax"),
        "steps": int(steps),
        "snapshots": snapshots,
        "model": getattr(model, "source", "") or getattr(model, "__name__", type(model).__name__),
        "size": list(shapes["input"].shape[1:3]),
        "image": repr(image),
        "start": None if start is None else hashlib.sha256(start.tobytes()).hexdigest()[:12],
        "transforms": repr(transforms),
        "optimizer": described,
        "relu": relu,
        "views": int(views),
        "device": jax.local_devices()[0].device_kind,
    }
    return Plan(model, image, transforms, optimizer, relu, int(views), start, int(steps), snapshots, shapes, settings)


def check_seed(seed: int) -> None:
    """Refuse what is no seed."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is a whole number from 0 to 4294967295, not {seed!r}")


def check_range(image: Image, pictures: np.ndarray) -> None:
    """Refuse an image whose first pictures are not in [0, 1]."""
    if not (pictures.min() >= 0 and pictures.max() <= 1):
        low, high = pictures.min(), pictures.max()
        raise ValueError(f"an image decodes to values in [0, 1], but {image!r} gives {low} to {high}")


@functools.lru_cache(maxsize=32)
def adam(learning_rate: float) -> optax.GradientTransformation:
    """Adam at a learning rate, the same object each time, so that renders share a compilation.

    Raises:
      ValueError: If the rate is not a positive number.
    """
    if not math.isfinite(learning_rate) or learning_rate <= 0:
        raise ValueError(f"a learning rate is a positive number, not {learning_rate!r}")
    return optax.adam(learning_rate)


def _optimizer(given) -> tuple[optax.GradientTransformation, str]:
    """An optimiser from what the caller gave, and what to call it in the settings."""
    if isinstance(given, optax.GradientTransformation):
        return given, "custom"
    rate = 0.05 if given is None else given
    if isinstance(rate, bool | str) or np.shape(rate) != () or not np.issubdtype(np.asarray(rate).dtype, np.number):
        schedule = "; a schedule goes into an optimiser, as in optax.adam(schedule)" if callable(given) else ""
        raise TypeError(f"an optimizer is one of optax's, or a learning rate for Adam, not {given!r}{schedule}")
    return adam(float(rate)), f"adam({float(rate)})"


class Pace:
    """How many steps to make before the next look at the host, from how long the last ones took."""

    def __init__(self, between: float = _CHUNK_SECONDS):
        """Aim at so many seconds between looks."""
        self._between = between
        self._seconds: float | None = None
        self._calls = 0
        self._start = 0.0

    def next(self, most: int) -> int:
        """Steps to make now, at most so many; the clock starts."""
        self._start = time.perf_counter()
        wanted = 1 if not self._seconds else max(1, int(self._between / self._seconds))
        return min(wanted, most, optimize.CHUNK)

    def made(self, steps: int) -> None:
        """Stop the clock after so many steps."""
        self._calls += 1
        if self._calls > 1:  # the first call includes the compilation
            self._seconds = (time.perf_counter() - self._start) / steps


def _calls(callback: Callable | None, every: int | Iterable[int], steps: int) -> list[int]:
    """Numbers of steps after which to call back, checked and in order."""
    if callback is None:
        return []
    if not callable(callback):
        raise TypeError(f"a callback is a function of the result so far, not {callback!r}")
    if isinstance(every, Iterable):
        return _snapshots(every, steps, "call")
    if not isinstance(every, int | np.integer) or isinstance(every, bool) or every < 1:
        raise ValueError(f"every is a number of steps from 1 on, or several numbers of steps, not {every!r}")
    return [*range(int(every), int(steps), int(every)), int(steps)]


def _snapshots(snapshots: Iterable[int], steps: int, name: str = "snapshot") -> list[int]:
    """The snapshots, or other numbers of steps, checked and in order."""
    if not isinstance(snapshots, Iterable):
        raise TypeError(f"snapshots are several numbers of steps, such as (128, 512), not {snapshots!r}")
    snapshots = list(snapshots)
    for number in (steps, *snapshots):
        if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 0:
            raise ValueError(f"steps and {name}s are whole numbers from 0 on, not {number!r}")
    late = [s for s in snapshots if s > steps]
    if late:
        raise ValueError(f"a {name} after {late[0]} steps needs more than the {steps} steps asked for")
    return [int(s) for s in sorted(set(snapshots))]


def _decode(image: Image, params: Any) -> np.ndarray:
    """The finished pictures, `[N, H, W, 3 or 4]`."""
    return np.asarray(optimize.decode(image, params))


def _bar(steps: int, show: bool):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a notebook without ipywidgets gets a bar of text
        from tqdm.auto import tqdm

    return tqdm(total=steps, disable=not show, unit="step", dynamic_ncols=True)
