"""Evaluation of renders by cheap measures, some of them with the eyes of another network."""

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import _checks, labels, networks, record
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis import compared, drawing, measures
from lightjax.analysis.at_layer import as_data
from lightjax.analysis.evaluated import MEANINGS, SIDE, Evaluation
from lightjax.analysis.folder import content
from lightjax.analysis.reading import made_with
from lightjax.analysis.rest import goal_of, opened, shapes_of, values_of
from lightjax.contracts import Shapes, own_channels, own_size
from lightjax.networks import architectures
from lightjax.objectives import Objective, channel, class_logit, neuron
from lightjax.objectives.base import PRIMITIVES
from lightjax.objectives.units import LOGITS
from lightjax.pictures import find_pictures, load_picture, read_settings
from lightjax.progress import bar
from lightjax.result import Result
from lightjax.transforms import Transform


class _Render(NamedTuple):
    """A picture, `[H, W, C]` in [0, 1], what errors and the table call it, and the settings it was made with."""

    name: str
    picture: np.ndarray
    settings: dict[str, Any]


class _Unit(NamedTuple):
    """The unit of an objective: the objective of any unit of the layer, the number of this one, and how many there are.

    `label` is the class, if the unit is a logit.
    """

    goal: Objective
    number: int
    among: int
    label: int | None


def evaluate(
    renders: Result | str | os.PathLike | Sequence[Result | str | os.PathLike],
    *,
    model: Model | str | os.PathLike | None = None,
    photographs: str | os.PathLike | None = None,
    eye: Model | str | os.PathLike | None = None,
    layers: Sequence[str] = (),
    features: str | None = None,
    draws: int = 8,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Measure how good renders are: their units, their spectrum, what another network sees, and how photographs go.

    Columns are those of `analysis.MEANINGS`. Without photographs or without an eye, theirs are left out.

    Examples:
      >>> table = lj.evaluate("renders", photographs="photographs", eye=other, layers=["mixed3a", "mixed4d"])
      >>> table.save("evaluation.csv")

    Args:
      renders: Results of `visualize`, PNG files that lightjax saved, or folders of them; each of one picture, and all
        of one network.
      model: The network that they were made for; by default the one that they name.
      photographs: A folder of photographs whose folders are named like classes ("grand_piano"), 40 or more.
      eye: Another network, as `Model`, name or path. It ranks the classes of the renders if it has `class_names` like
        those of the network under study, which is refused as its own eye.
      layers: Layers for the path likeness: whether a picture of a class goes through them as photographs of the class
        do. Needs photographs with a folder of the class, and of others.
      features: Layer of the eye whose channel means say how alike photographs are; by default its last with positions.
      draws: Draws of the transform, and pictures of noise.
      seed: Seed of draws, noise and trials.
      progress: Whether to show a progress bar.

    Returns:
      A table with a row for each render.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, a file has no settings, a render has an objective that a file cannot
        hold, is of several pictures or of another network, or the eye is the network under study.
      OSError: If a file or folder cannot be read.
      WeightsError: If a network cannot be found or loaded.

    References:
      See `measures` for the formulas and where they come from.
    """
    draws, seed = _checks.count(draws, "draws"), _checks.whole(seed, "seed", least=0, most=2**32 - 1)
    progress = _checks.flag(progress, "progress")
    layers = [_checks.text(name, "a layer in layers") for name in _checks.several(layers, "layers", "names of layers")]
    folder = None if photographs is None else _checks.path(photographs, "photographs")
    if layers and folder is None:
        raise ValueError("photographs must be given for the path likeness of layers")
    if features is not None and (eye is None or folder is None):
        raise ValueError("features must be None without an eye and photographs")
    listed = _listed(renders)
    model = _network(model, listed)
    stems = Counter(one.stem for one in listed if isinstance(one, Path))
    found = [_read(one, own_channels(model), stems) for one in listed]
    source = made_with(model)["model"]
    for one in found:
        if one.settings["model"] != source:
            made = _checks.in_a_line(one.settings["model"], 200)
            raise ValueError(f"{one.name} was made with {made}, but model is {source}")
    shapes = {size: shapes_of(model, (1, *size)) for size in {one.picture.shape for one in found}}
    goals = [_goal(one, model, shapes[one.picture.shape]) for one in found]
    units = [_unit(goal, model, shapes[one.picture.shape]) for goal, one in zip(goals, found, strict=True)]
    views = [_transform(one) for one in found]
    eye = None if eye is None else opened_eye(eye, model)
    whole = None if folder is None else compared.photographs(folder, model, layers)
    judge = None if eye is None or folder is None else compared.judge(eye, folder, features)

    table: dict[str, list[float]] = {}
    noise: dict[Any, np.ndarray] = {}
    with bar(len(found), "render", progress) as shown:
        for one, goal, unit, transform in zip(found, goals, units, views, strict=True):
            numbers = _own(model, one.picture, goal, unit, transform, draws, seed, noise)
            if eye is not None:
                numbers["eye"] = _choice(eye, one.picture, model, unit)
            for name, value in numbers.items():
                table.setdefault(name, []).append(value)
            shown.update(1)
    table["slope"] = [measures.spectrum_slope(one.picture) for one in found]
    if whole is not None and layers:
        same = [None if unit is None else unit.label for unit in units]
        table |= compared.likenesses(model, [one.picture for one in found], same, whole, layers, progress)
    if whole is not None and judge is not None:
        table |= compared.judgments(model, goals, [one.name for one in found], whole, judge, seed, progress)
    columns = [name for name in MEANINGS if name in table]
    columns += [name for name in table if name not in columns]
    columns = [name for name in columns if not np.isnan(table[name]).all()]
    seen = {} if folder is None else {"photographs": str(folder.resolve()), "content": content(folder)}
    about = {"eye": None if eye is None else made_with(eye)["model"], "features": judge.layer if judge else None}
    small = [drawing.in_color(drawing.resized(one.picture, (SIDE, SIDE))) for one in found]
    return Evaluation(
        made_with(model, None, **about, **seen, draws=draws, seed=seed),
        names=[one.name for one in found],
        objectives=[str(one.settings["objective"]) for one in found],
        columns=columns,
        values=np.array([table[name] for name in columns], float).T,
        small=np.round(np.stack(small) * 255).astype(np.uint8),
    )


def _listed(renders: Any) -> list[Result | Path]:
    """Results and files, with those in folders."""
    several = _checks.several(renders, "renders", "renders") if _checks.is_several(renders) else [renders]
    listed: list[Result | Path] = []
    for one in several:
        if isinstance(one, Result):
            listed.append(one)
            continue
        path = _checks.path(one, "renders")
        listed += [file for file in find_pictures(path) if file.suffix == ".png"] if path.is_dir() else [path]
    if not listed:
        raise ValueError("renders must be at least one, got none")
    return listed


def _network(model: Model | str | os.PathLike | None, listed: Sequence[Result | Path]) -> Model:
    """The network that is given, or named by the first render."""
    if model is not None:
        return opened(model)
    first = listed[0]
    named = (first.settings if isinstance(first, Result) else read_settings(first)).get("model")
    name = named.partition("@")[0] if isinstance(named, str) else ""
    if name not in architectures.ARCHITECTURES:
        raise ValueError(f"renders were made with {_checks.shown(named, 100)}; give model=... in Python")
    return networks.load_model(name)


def _read(one: Result | Path, bands: int, stems: Mapping[str, int]) -> _Render:
    """A render with its settings. Its folder is part of its name if several files are called the same."""
    if isinstance(one, Result):
        name, settings, pictures = str(one.settings.get("objective")), one.settings, one.images
    else:
        name = one.stem if stems[one.stem] == 1 else f"{one.resolve().parent.name}/{one.stem}"
        settings = read_settings(one)
        pictures = load_picture(one, gray=bands == 1)[None]
    missing = [key for key in ("objective", "model", "transform", "size") if key not in settings]
    if missing:
        raise ValueError(f"renders: {name} lacks the setting {missing[0]!r}, which lightjax writes")
    if len(pictures) != 1 or list(pictures.shape[1:3]) != list(settings["size"]):
        raise ValueError(f"renders must be of one picture each, but {name} is of several: render them one by one")
    if pictures.shape[-1] != bands:
        raise ValueError(f"renders must have {bands} channels like the network, but {name} has {pictures.shape[-1]}")
    if not isinstance(settings["model"], str):
        raise ValueError(
            f"renders: {name} was not written by lightjax: its model is {_checks.shown(settings['model'])}"
        )
    return _Render(name, np.asarray(pictures[0], np.float32), settings)


def _goal(one: _Render, model: Model, shapes: Shapes) -> Objective:
    objective = one.settings["objective"]
    try:
        if not isinstance(objective, str):
            raise ValueError("it is a Python object")
        return as_data(goal_of(objective, model, shapes))
    except (ValueError, IndexError) as error:
        reason = _checks.in_a_line(error, 200)
        raise ValueError(f"renders: the objective of {one.name} cannot be read back ({reason})") from None


def _unit(goal: Objective, model: Model, shapes: Shapes) -> _Unit | None:
    """The unit that an objective is about; None for other objectives, such as directions and sums."""
    kind = PRIMITIVES.get(goal.fn)
    if kind is None or kind.constructor not in (channel, neuron, class_logit) or np.ndim(goal.leaves[0]):
        return None
    number = int(goal.leaves[0])
    among = shapes[goal.layers[0]].shape[-1]
    return _Unit(goal, number, among, number if is_logits(goal.layers[0], model) else None)


def _transform(one: _Render) -> Transform | str | None:
    """The transform of a render; a text if a file cannot hold it."""
    try:
        return record.read("transform", one.settings["transform"], one.name)
    except record.Foreign as error:
        return str(error)


def is_logits(layer: str, model: Model) -> bool:
    """Whether the units of a layer are the classes of a network."""
    return layer == getattr(model, "logits", LOGITS)


def opened_eye(eye: Model | str | os.PathLike, model: Model) -> Model:
    """The eye, which is another network than the one under study.

    Raises:
      TypeError: If it is no network.
      ValueError: If it is the network itself, or has the same weights.
      WeightsError: If it cannot be found or loaded.
    """
    try:
        eye = opened(eye)
    except (TypeError, ValueError) as error:
        raise type(error)(f"eye: {error}") from None
    source = lambda one: getattr(one, "source", "").removesuffix(", float16 weights")
    arrays, others = ([x for x in jax.tree.leaves(one) if hasattr(x, "shape")] for one in (eye, model))
    alike = len(arrays) == len(others) > 0 and all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(arrays, others, strict=True)
    )
    if eye is model or alike or (source(eye) and source(eye) == source(model)):
        raise ValueError(
            f"eye must be another network than the one under study, {made_with(model)['model']}: what excites a "
            "network always looks right to it"
        )
    return eye


# Renders.


def _own(
    model: Model,
    picture: np.ndarray,
    goal: Objective,
    unit: _Unit | None,
    transform: Transform | str | None,
    draws: int,
    seed: int,
    noise: dict[Any, np.ndarray],
) -> dict[str, float]:
    """What the network under study says about a picture. `noise` keeps what it says about noise, for each layer."""
    images = jnp.asarray(picture)[None]
    nothing = float("nan")
    found = {"value": 0.0, "views": nothing, "rank": nothing, "choice": nothing}
    for_noise, for_views = jax.random.split(jax.random.key(seed))
    if unit is None:
        found["value"] = float(_values(model, goal, images)[0])
    else:
        layer = (unit.goal.fn, unit.goal.layers, unit.goal.options, str(unit.goal.leaves[1:]), picture.shape)
        if layer not in noise:
            drawn = jax.random.uniform(for_noise, (draws, *picture.shape))
            noise[layer] = np.asarray(_of_all_units(model, unit.goal, drawn, unit.among)).mean(0)
        among = np.asarray(_of_all_units(model, unit.goal, images, unit.among))[0]
        found["value"] = float(among[unit.number])
        found["rank"] = measures.rank(among - noise[layer], unit.number)
        if unit.label is not None:
            found["choice"] = measures.rank(among, unit.number)
    if transform is None:
        found["views"] = found["value"]
    elif not isinstance(transform, str):
        found["views"] = float(_in_views(model, goal, images, transform, jax.random.split(for_views, draws)))
    return found


@by_structure
def _values(model: Model, goal: Objective, images: Array) -> Array:
    return values_of(goal, {"input": images} | call(model, images))


@by_structure
def _of_all_units(model: Model, goal: Objective, images: Array, among: int) -> Array:
    """The objective of each picture for each unit in place of its own, `[N, units]`."""
    activations = {"input": images} | call(model, images)
    of = lambda number: values_of(dataclasses.replace(goal, leaves=(number, *goal.leaves[1:])), activations)
    return jax.vmap(of, out_axes=1)(jnp.arange(among))


@by_structure
def _in_views(model: Model, goal: Objective, picture: Array, transform: Transform, keys: Array) -> Array:
    """The mean of the objective over draws of a transform."""
    views = jax.vmap(lambda key: transform(key, picture)[0])(keys)
    pictures = jnp.broadcast_to(picture, (len(keys), *picture.shape[1:]))
    return values_of(goal, call(model, views) | {"input": pictures}).mean()


def _choice(eye: Model, picture: np.ndarray, model: Model, unit: _Unit | None) -> float:
    """The rank of the class of a picture among the classes of the eye."""
    label = None if unit is None or unit.label is None else _same_class(model, eye, unit.label)
    if label is None:
        return float("nan")
    side = own_size(eye) or (224, 224)
    seen = jnp.asarray(drawing.resized(picture, side))[None]
    return measures.rank(np.asarray(_logits(eye, seen, getattr(eye, "logits", LOGITS)))[0], label)


@by_structure
def _logits(model: Model, images: Array, layer: str) -> Array:
    return call(model, images)[layer]


def _same_class(model: Model, eye: Model, label: int) -> int | None:
    """The class of the eye that has the name of a class of the model, or one of its names; None if there is none."""
    names, others = getattr(model, "class_names", ()), getattr(eye, "class_names", ())
    if not names or not others:
        return None
    for name in (names[label], *names[label].split(",")):
        try:
            return labels.class_index(name.strip(), others)
        except ValueError:
            continue
    return None
