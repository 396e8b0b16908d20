"""The recipe of a render: all settings of a render, checked once, and their conversion to and from JSON."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, Unpack

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from lightjax import _checks, images, memory, networks, objectives, record, transforms
from lightjax._structure import Model
from lightjax.contracts import Shapes, accepts_relu, check_size, fit, own_channels, own_size
from lightjax.images import Image, Size
from lightjax.networks import architectures
from lightjax.objectives import Objective
from lightjax.objectives.base import layers_of
from lightjax.objectives.text import omissions
from lightjax.optimize import Setup
from lightjax.pictures import read_settings
from lightjax.result import Result
from lightjax.transforms import Transform

_USUAL_WORK = 1e11
"""Steps times bytes of activations of a picture with all defaults."""
_MOST_WORK = 1000
_MOST_STEPS = 1_000_000
"""Most work, in usual pictures, and most steps that a file may ask for, unless the number of steps is given again."""


_FASTEST = 3.4e38
"""Largest learning rate: float32 has no larger numbers."""


class SharedSettings(TypedDict, total=False):
    """The keywords of `visualize` that jobs and pictures of a gallery share (see there)."""

    steps: int
    model: "Model | str | os.PathLike | None"
    image: Image | None
    transform: Transform | None
    optimizer: optax.GradientTransformation | float
    relu: str | None
    views: int
    start: ArrayLike | str | os.PathLike | None
    snapshots: Iterable[int]
    size: Size | None


class Settings(SharedSettings, total=False):
    """All keywords of `visualize` that say how to render."""

    seed: int


def settings_in(arguments: Mapping[str, Any]) -> Any:
    """The settings among the arguments of a function: `Recipe.of(objective, **settings_in(locals()))`."""
    return {name: arguments[name] for name in Settings.__annotations__}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """All settings of a render. `Recipe.of` checks and completes them; `render` makes the picture.

    Attributes:
      objective: What to maximize; None where a recipe serves many objectives.
      steps: Number of updates.
      model: The network.
      image: The parameterization that is optimized.
      transform: The random transform applied in each step, or None.
      optimizer: The learning rate of Adam, or an optax optimizer.
      relu: Gradient rule of the rectifiers; None for a network that has its own.
      views: Draws of the transform in each step.
      start: Pictures to start from, `[N, H, W, C]` in [0, 1], or None.
      snapshots: Numbers of steps after which to keep the pictures, in order.
      seed: Seed of all randomness.
      shapes: Shapes of the activations that an objective can read, by layer. Derived, not a setting.
    """

    objective: Objective | None
    steps: int
    model: Model
    image: Image
    transform: Transform | None
    optimizer: optax.GradientTransformation | float
    relu: str | None
    views: int
    start: np.ndarray | None
    snapshots: tuple[int, ...]
    seed: int
    shapes: Shapes = dataclasses.field(repr=False)

    @classmethod
    def of(cls, objective: str | Objective | Callable | None = None, **settings: Unpack[Settings]) -> "Recipe":
        """A complete recipe.

        Args:
          objective: As for `visualize`; None for a recipe that serves many objectives.
          **settings: Keywords of `visualize`; those that are left out have the same defaults.

        Raises:
          ValueError, TypeError, IndexError: If a setting is wrong, or the render needs more memory than there is;
            raised before anything is compiled.
          WeightsError: If the network cannot be found or loaded.
        """
        unknown = [name for name in settings if name not in Settings.__annotations__]
        if unknown:
            raise TypeError(f"unknown setting {unknown[0]!r}; {_checks.hint(unknown[0], Settings.__annotations__)}")
        _checks.devices()
        if not isinstance(objective, str | None):
            objective = objectives.as_objective(objective)  # a wrong type is known before the network is loaded
        steps = _checks.count(settings.get("steps", 2048), "steps", least=0)
        views = _checks.count(settings.get("views", 1), "views")
        snapshots = numbers_of_steps(settings.get("snapshots", ()), steps, "snapshots")
        model = settings.get("model")
        if model is None or isinstance(model, str | os.PathLike):
            model = networks.load_model(*() if model is None else (model,))
        relu = settings.get("relu")
        if relu is None and accepts_relu(model):
            relu = "torchlight"
        image = chosen_image(settings.get("image"), settings.get("size"), model)
        memory.check_pictures(image)
        if isinstance(image, images.NaturalImage):
            check_size(model, (image.height, image.width))
        image, transform, shapes = fit(model, image, settings.get("transform", transforms.DEFAULT), relu)
        memory.check(image, shapes, views=views, snapshots=len(snapshots), steps=steps)
        goal = None if objective is None else objectives.as_objective(objective, shapes)
        start = settings.get("start")
        recipe = cls(
            objective=goal,
            steps=steps,
            model=model,
            image=image,
            transform=transform,
            optimizer=_optimizer(settings.get("optimizer", 0.05)),
            relu=relu,
            views=views,
            start=None if start is None else images.check_start(image, start, shapes["input"].shape),
            snapshots=snapshots,
            seed=_checks.whole(settings.get("seed", 0), "seed", least=0, most=2**32 - 1),
            shapes=shapes,
        )
        if recipe.views > 1 and transform is None:
            raise ValueError(f"{recipe.views} views of a picture are all the same without a transform; use views=1")
        if goal is not None:
            recipe.check(goal)
        return recipe

    def check(self, objective: Objective) -> None:
        """Check an objective against the network; errors are those of `objectives.resolve` and `objectives.check`."""
        objectives.check(self.resolve(objective), self.shapes)
        check_size(self.model, self.shapes["input"].shape[1:3], layers_of(objective))

    def resolve(self, objective: Objective) -> Objective:
        """An objective with the names of classes replaced by the indices of the network's logits."""
        return objectives.resolve(objective, self.model)

    @property
    def setup(self) -> Setup:
        """What each step depends on."""
        optimizer = self.optimizer if isinstance(self.optimizer, optax.GradientTransformation) else adam(self.optimizer)
        fields: Any = {name: getattr(self, name) for name in Setup._fields} | {"optimizer": optimizer}
        return Setup(**fields)

    def describe(self) -> dict[str, Any]:
        """The recipe as plain JSON, which PNG files and the manifests of galleries hold and `read` reads.

        Pictures to start from are described by a hash. Values that JSON cannot hold, such as functions, are written as
        `{"python": text}`.
        """
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del settings["shapes"]
        settings["model"] = getattr(self.model, "source", "") or getattr(
            self.model, "__name__", type(self.model).__name__
        )
        settings["start"] = None if self.start is None else hashlib.sha256(self.start.tobytes()).hexdigest()[:12]
        return {
            "lightjax": importlib.metadata.version("lightjax"),
            **{name: record.to_json(value) for name, value in settings.items()},
            "size": list(self.shapes["input"].shape[1:3]),
            "device": jax.local_devices()[0].device_kind,
        }

    @classmethod
    def read(
        cls,
        source: "str | os.PathLike | Mapping[str, Any] | Result",
        objective: str | Objective | Callable | None = None,
        *,
        batch: int | None = None,
        **changes: Unpack[Settings],
    ) -> "Recipe":
        """The recipe of a picture that lightjax made, with changes.

        Examples:
          >>> lj.render(lj.Recipe.read("mixed4a_97.png", seed=3))

        Args:
          source: A PNG file, a `Result`, or the settings of one.
          objective: Another objective, if wanted.
          batch: Another number of pictures optimized together, if wanted.
          **changes: Keywords of `visualize`. `size` gives the picture's image another size.

        Raises:
          ValueError: If the file has no settings, if a setting cannot be read back and is not given, if the weights
            here differ from those of the file, if a setting is wrong, or if the file asks for more than 1,000 times
            the work of a usual picture and `steps` is not given.
          TypeError, IndexError: If a setting is wrong.
          FileNotFoundError: If there is no such file.
          WeightsError: If the network cannot be found or loaded.
        """
        known = isinstance(source, Result | Mapping)
        file = "this result" if known else str(_checks.path(source, "source"))
        settings = source.record if isinstance(source, Result) else source
        if not isinstance(settings, Mapping):
            settings = read_settings(settings)
        settings = record.checked(settings, file, ("objective", *Settings.__annotations__))
        known = {name: settings[name] for name in Settings.__annotations__ if name != "size"} | {
            "steps": next(iter(settings.get("outcome", {}).values()), settings["steps"]),
        }
        size = changes.pop("size", None)
        given: dict[str, Any] = dict(changes)
        foreign = {}
        for name in known:
            if name not in (*given, "model", "start", "snapshots"):
                try:
                    given[name] = record.read(name, known[name], file)
                except record.Foreign:
                    foreign[name] = known[name].get("python", known[name])
        if objective is None:
            objective = settings["objective"]
            if not isinstance(objective, str) or omissions(objective):
                foreign["objective"] = objective
        network = known["model"].partition("@")[0]
        if "model" not in given and ("@" not in known["model"] or network not in architectures.ARCHITECTURES):
            foreign["model"] = known["model"]
        if foreign:
            told = ", ".join(f"{name}={text!s:.200}" for name, text in foreign.items())
            wanted = ", ".join(f"{name}=..." for name in foreign)
            raise ValueError(
                f"{file} was made from Python with {told}, which a file cannot hold; give {wanted} in Python"
            )
        if known["start"] is not None and "start" not in given:
            raise ValueError(f"{file} was made from another picture; give it again as start")
        if "model" not in given:
            given["model"] = networks.load_model(network)
            if given["model"].source != known["model"]:
                here = given["model"].source
                raise ValueError(f"{file} was made with {known['model']:.200}, but here {network} is {here}")
        if (size is not None or batch is not None) and not isinstance(given["image"], images.NaturalImage):
            raise TypeError(f"image must be one of lj.image to be resized, got {_checks.shown(given['image'])}")
        if size is not None:
            height, width = _checks.height_and_width(size)
            given["image"] = dataclasses.replace(given["image"], height=height, width=width)
        if batch is not None:
            given["image"] = dataclasses.replace(given["image"], batch=_checks.count(batch, "batch"))
        steps = _checks.count(given["steps"], "steps", least=0)
        given.setdefault("snapshots", [s for s in known["snapshots"] if s <= steps])
        recipe = cls.of(objective, **given)
        work = steps * recipe.views * memory.size_of(dict(recipe.shapes)) / _USUAL_WORK
        if (work > _MOST_WORK or steps > _MOST_STEPS) and "steps" not in changes:
            raise ValueError(
                f"{file} asks for {steps} steps with {recipe.views} views, about {work:.2g} times the work of a usual "
                "picture; give steps= (--steps) to make them all the same"
            )
        return recipe


@functools.lru_cache(maxsize=32)
def adam(learning_rate: float) -> optax.GradientTransformation:
    """Adam at a learning rate: the same object each time, so that renders share a compilation."""
    return optax.adam(learning_rate)


def chosen_image(image: Image | None, size: Size | None, model: Model) -> Image:
    """The given image, or the default image of a size (by default the only one that the model takes, or 224 pixels).

    It has as many channels as the model says, or 3.

    Raises:
      ValueError: If both are given.
    """
    if image is not None and size is not None:
        raise ValueError("size must be None if image is given: set the size of the image")
    if image is not None:
        return image
    return images.image((own_size(model) or 224) if size is None else size, channels=own_channels(model))


def _optimizer(given: Any) -> optax.GradientTransformation | float:
    if isinstance(given, optax.GradientTransformation):
        return given
    if callable(given) or given is None:
        advice = "; put a schedule into an optimizer, as in optax.adam(schedule)" if callable(given) else ""
        raise TypeError(
            f"optimizer must be an optax optimizer or a learning rate for Adam, got {_checks.shown(given)}{advice}"
        )
    return _checks.number(_checks.number(given, "the learning rate", above=0), "the learning rate", most=_FASTEST)


def numbers_of_steps(given: Any, steps: int, what: str) -> tuple[int, ...]:
    """Several numbers of steps, checked and in order."""
    listed = _checks.several(given, what, "numbers of steps, such as (128, 512)")
    numbers = sorted({_checks.whole(number, f"a number in {what}", least=0) for number in listed})
    if numbers and numbers[-1] > steps:
        raise ValueError(f"{what} must be at most {steps}, the number of steps, got {numbers[-1]}")
    return tuple(numbers)
