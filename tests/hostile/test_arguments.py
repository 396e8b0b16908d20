"""Every argument of every public function gets odd values, and does well or raises an error of lightjax's own."""

import functools
import inspect
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lightjax as lj
from lightjax import _checks, analysis, batching, images, networks, objectives, ops, optimize, pictures, transforms
from lightjax.analysis import crops, dictionary_training, layout
from lightjax.networks import torch_export
from tests.hostile.odd_values import VALUES

LONGEST = 600
"""Most characters of an error."""
OWN = str(Path(lj.__file__).parent)
KINDS = (TypeError, ValueError, IndexError, OSError, lj.WeightsError)

Call = tuple[tuple, dict[str, Any]]


class Reached(Exception):
    """All arguments were accepted, and a render would begin."""


def network(pictures):
    """Two layers."""
    return {"a": pictures[..., :2] * 2, "b": pictures.mean((1, 2))}


def chain(pictures):
    """Two layers, one after the other."""
    a = pictures[..., :2] * 2
    return {"a": a, "b": a.mean((1, 2))}


def classifier(pictures):
    """A layer and logits."""
    a = pictures[..., :2] * 2
    return {"a": a, "softmax2_pre_activation_matmul": a.mean((1, 2))}


def plane(pictures):
    """Two layers of maps, one after the other."""
    a = pictures[..., :2] * 2
    return {"a": a, "c": a @ np.ones((2, 2), np.float32)}


def weights() -> analysis.ExpandedWeights:
    """Weights of `plane` that were not computed."""
    values = np.ones((2, 2, 1, 1), np.float32)
    return analysis.ExpandedWeights({"model": "plane"}, values, "a", "c", [0, 1], [1, 1], [0, 0])


def of(*args, **kwargs) -> Callable[[], Call]:
    """Arguments of a call that works."""
    return lambda: (args, kwargs)


PICTURE = np.full((16, 16, 3), 0.5, np.float32)
CHAIN: dict[str, Any] = {"model": chain, "transform": None}
TINY: dict[str, Any] = {"model": network, "transform": None, "steps": 1}
FLAT: dict[str, Any] = {"model": network, "size": 8, "steps": 1, "cells": 1, "least": 1, "progress": False}
SHAPES = {"a": jax.ShapeDtypeStruct((1, 4, 4, 2), jnp.float32)}
LAYER = "a"


def formula(activations, layer: objectives.arguments.Layer):
    """A formula for `primitive`."""
    return activations[layer].mean()


def file(name: str) -> Path:
    """A picture with settings, in the folder of the running test."""
    return Path(name)


def result() -> lj.Result:
    """A result that was not rendered."""
    settings = {"objective": "a:1", "seed": 0, "model": "network"}
    return lj.Result(PICTURE[None], {1: PICTURE[None]}, np.zeros(1, np.float32), settings)


def rendered() -> lj.Result:
    """A result with the settings of a render."""
    settings = lj.Recipe.of("a:1", size=16, **TINY).describe()
    return lj.Result(PICTURE[None], {}, np.zeros(1, np.float32), settings)


@functools.cache
def found_groups() -> analysis.Groups:
    """Two groups of the first layer."""
    return lj.groups(np.linspace(0, 1, 768).reshape(16, 16, 3), "a", 2, model=chain)


def found() -> analysis.Examples:
    """Examples in the folder of the running test."""
    settings = {"folder": str(Path.cwd()), "size": 8}
    peaks = np.ones((1, 1, 1), np.float32)
    return analysis.Examples(settings, ["a:0"], ["picture.png"], peaks, peaks.astype(int), [[2, 2, 4]], 1, 1, 0)


def grid() -> analysis.Grid:
    """A grid that was not rendered."""
    cells, vectors = np.stack([[PICTURE] * 2] * 2), np.ones((2, 2, 2), np.float32)
    settings = {"layer": "a", "model": "network"}
    return analysis.Grid(settings, PICTURE, cells, vectors, np.zeros((2, 2, 0), np.float32), [], True)


def dictionary(**settings) -> lj.Dictionary:
    """A dictionary of three latents for layer "a"."""
    return lj.Dictionary("a", np.ones((2, 3)), np.zeros(3), np.ones((3, 2)), np.zeros(2), **settings)


def taken() -> analysis.Sample:
    """Five vectors of one photograph, for two classes."""
    settings = {**analysis.reading.made_with(network), "folder": str(Path.cwd()), "size": 8, "files": 1}
    vectors = np.random.default_rng(0).uniform(size=(5, 2)).astype(np.float32)
    places, classes = np.full((5, 2), 0.5), ["one", "two"]
    both = np.concatenate([vectors, vectors], 1)
    grids = [[8, 8, 2], [8, 8, 2]]
    sources = ["picture.png"] * 5
    return analysis.Sample(settings, ["a", "c"], grids, sources, places, both, np.stack([vectors] * 2, 1), classes, 1)


@functools.cache
def small_atlas() -> analysis.Atlas:
    """An atlas of one cell that was not rendered."""
    points, vectors = np.full((2, 2), 0.5), np.ones((1, 2), np.float32)
    settings = {"layer": "a", "model": "network", "folder": str(Path.cwd())}
    cells, counts = np.zeros((1, 3), np.int32), np.array([2], np.int32)
    seen = ["picture.png"] * 2, points, np.ones((2, 1), np.float32)
    return analysis.Atlas(settings, [1], points, *seen, cells, counts, vectors, vectors, [], PICTURE[None], vectors)


def coarse(images: jax.Array) -> dict[str, jax.Array]:
    """`network`, with few positions: a grid renders a picture for each."""
    return {"a": network(images)["a"][:, ::16, ::16]}


def tiny_module() -> Any:
    """A PyTorch network of one layer."""
    import torch

    return torch.nn.Conv2d(3, 2, 1)


CALLS: dict[str, Callable[[], Call]] = {
    # lightjax
    "activation_grid": of(PICTURE[:2, :2], "a", model=coarse, size=8, steps=1, progress=False),
    "evaluate": lambda: ((rendered(),), {"model": network, "draws": 1, "progress": False}),
    "capture": of(network, None, call=lambda net, x: net(x), mean=0.5, std=0.5, size=8),
    "dream": of(PICTURE, "a", octaves=1, steps=1, jitter=1, size=12, model=network, progress=False),
    "from_torch": lambda: ((tiny_module(),), {"size": 8, "mean": (0, 0, 0), "std": (1, 1, 1), "check": False}),
    "image": of(8),
    "load_model": of(),
    "load_picture": lambda: ((file("picture.png"), 8), {}),
    "render": lambda: ((lj.Recipe.of("a:1", size=8, **TINY),), {"callback": print, "progress": False}),
    "show": lambda: (([PICTURE], ["one"]), {}),
    "visualize": of("a:1", size=8, callback=print, progress=False, **TINY),
    "visualize_many": lambda: ((["a:1", "a:0"],), {"seed": 0, "progress": False, **TINY, "size": 8}),
    "Recipe.of": of("a:1", size=8, **TINY),
    "Recipe.read": lambda: ((file("picture.png"), "a:1"), {"model": network, "batch": 1}),
    "Result.save": lambda: ((result(), "saved.png"), {}),
    "Result.save_snapshots": lambda: ((result(), "saved.png"), {}),
    "accentuate": of(PICTURE, "a:1", hold="a", distance=0.5, progress=False, size=None, **TINY),
    "beside": lambda: ((images.image(16), PICTURE), {}),
    # objectives
    "activation_difference": of(LAYER, np.zeros((4, 4, 2))),
    "alignment": of(LAYER),
    "as_objective": of("a:1"),
    "blur_input_each_step": of(),
    "boundary_complexity": of(),
    "caricature": of(LAYER, np.zeros((4, 4, 2))),
    "channel": of(LAYER, 1, rows=1, columns=1),
    "channel_interpolate": of(LAYER, 1, LAYER, 0),
    "check": lambda: ((lj.channel("a", 1), SHAPES), {}),
    "class_logit": of(1, layer="b"),
    "deepdream": of(LAYER, rows=1, columns=1),
    "direction": of(LAYER, np.ones(2), rows=1, columns=1),
    "direction_channel": of(LAYER, 1, np.ones((4, 4)), rows=None, columns=None),
    "direction_neuron": of(LAYER, np.ones(2), 1),
    "diversity": of(LAYER),
    "gram_matrix": of(np.ones((1, 2, 2, 2))),
    "input_diff": of(PICTURE),
    "l1": of(),
    "l2": of(),
    "layer": of(LAYER, rows=1, columns=1),
    "mean_alpha": of(),
    "neuron": of(LAYER, 1, 1),
    "objective": of(lambda activations: activations["a"].mean()),
    "parse": of("a:1"),
    "primitive": of(formula),
    "resolve": lambda: ((lj.channel("a", 1), network), {}),
    "style": of(LAYER, np.zeros((4, 4, 2))),
    "tensor_direction": of(LAYER, np.ones((4, 4, 2)), rows=None, columns=None),
    "total_variation": of(),
    "Grid.save_page": lambda: ((grid(), "page.html"), {"sprites": {0: PICTURE}}),
    "Objective.__getitem__": lambda: ((lj.channel("a", 1), 0), {}),
    "Objective.__add__": lambda: ((lj.channel("a", 1), 1), {}),
    "Objective.__rmul__": lambda: ((lj.channel("a", 1), 2), {}),
    # transforms
    "Between": of(0.5, 1),
    "CollapseAlpha": of(0.5),
    "ColorJitter": of(),
    "Compose": of((transforms.Pad(1),)),
    "CropOrPad": of(8),
    "GaussianBlur": of(1),
    "Jitter": of(1),
    "Noise": of(0.1, 0.1),
    "NormalizeGradient": of(1),
    "Pad": of(1),
    "RandomCrop": of(8),
    "RandomFlip": of(),
    "RandomRotate": of(1),
    "RandomScale": of(1),
    "SameForAll": lambda: ((transforms.Pad(1),), {}),
    "at_step": lambda: ((transforms.Pad(1), 0), {}),
    "compose": lambda: ((transforms.Pad(1),), {}),
    # images
    "Cppn": of(),
    "Fourier": of(),
    "FourierPhases": of(),
    "Laplacian": of(),
    "NaturalImage": of(8, 8, 1, images.Fourier(), "lucid", "sigmoid", False),
    "Pixels": of(),
    "Shared": of(),
    "Statistics": of(np.eye(3).tolist(), np.ones((3, 5, 3))),
    "check_start": lambda: ((images.image(16), PICTURE, (1, 16, 16, 3)), {}),
    "color_matrix": of("lucid"),
    "load_statistics": of("caltech101"),
    # ops, optimize
    "rectifier": of("plain"),
    "pooling": of("max"),
    "clamp_params": of(-1, 1),
    # pictures
    "check_shown": of((8, 8, 3)),
    "encode": of(PICTURE, "PNG", {"a": 1}),
    "file_format": of("a.png"),
    "find_pictures": lambda: ((Path("."),), {}),
    "read_settings": lambda: ((file("picture.png"),), {}),
    "save": of("saved.png", PICTURE, {"a": 1}),
    "sheet": of(PICTURE[None], 1, 1),
    "to_bytes": of(PICTURE),
    # analysis
    "Atlas.classes": lambda: ((small_atlas(), 0, 1), {}),
    "Atlas.folders": lambda: ((small_atlas(), 0, 1), {}),
    "Atlas.photographs": lambda: ((small_atlas(), 0, 1), {}),
    "Atlas.picture": lambda: ((small_atlas(), 0), {}),
    "Atlas.save_page": lambda: ((small_atlas(), Path("page")), {"photographs": 0}),
    "Sample.of": lambda: ((taken(), "a"), {}),
    "Sample.only": lambda: ((taken(), "one"), {"layer": "a", "largest": 2}),
    "aligned": lambda: ((taken(), "a", "c"), FLAT),
    "atlas": lambda: ((taken(), "a"), {**FLAT, "layout": np.eye(5)[:, :2]}),
    "compare": lambda: ((taken(), "one", "two"), {**FLAT, "layer": "a", "largest": 5}),
    "sample": of(Path("."), "a", model=classifier, number=1, size=8, progress=False),
    "Groups.render": lambda: ((found_groups(), 1, 8), {"seed": 0, "progress": False, "chunk": 1, **CHAIN}),
    "Groups.top": lambda: ((found_groups(), 1), {}),
    "attribute": of("b:1", PICTURE, layer="a", model=chain, method="integrated", steps=2, progress=False),
    "class_attribution": of(PICTURE, "a", 3, model=classifier),
    "factor": of(np.arange(8.0).reshape(4, 2), 1, signed=False),
    "grad_cam": of("b:1", PICTURE, layer="a", model=chain),
    "groups": of(PICTURE, "a", 2, model=chain, objective="b:0", of="activations", designs=2, progress=False),
    "relate": of(PICTURE, "a", "b", model=chain, pool="max", progress=False),
    "expanded_weights": lambda: (("a", "c"), {"units": [0], "model": plane, "size": 8, "progress": False}),
    "ExpandedWeights.reads": lambda: ((weights(), 0, 1), {}),
    "ExpandedWeights.feeds": lambda: ((weights(), 0, 1), {}),
    "ExpandedWeights.families": lambda: ((weights(), [0], 1), {}),
    "ExpandedWeights.faithfulness": lambda: (
        (weights(), [PICTURE]),
        {"number": 1, "positions": 1, "seed": 0, "model": plane, "progress": False},
    ),
    "ExpandedWeights.save_page": lambda: (
        (weights(), Path("page.html")),
        {"also": [], "number": 1, "sprites": {"a:0": PICTURE}},
    ),
    "Kernels.picture": lambda: ((weights().reads(0, 1),), {"pictures": [PICTURE]}),
    "rest": lambda: ((chain, "a"), {"size": 8}),
    "saliency": of("b:1", PICTURE, model=chain, draws=2),
    "Dictionary": of("a", np.ones((2, 3)), np.zeros(3), np.ones((3, 2)), np.zeros(2), source="here"),
    "Dictionary.activate": lambda: ((dictionary(k=1), np.ones((4, 3))), {}),
    "Dictionary.decode": lambda: ((dictionary(normalize="length"), np.ones((4, 3)), np.ones((4, 2))), {}),
    "Dictionary.encode": lambda: ((dictionary(k=1), np.ones((4, 2))), {}),
    "Dictionary.latents_pre": lambda: ((dictionary(), np.ones((4, 2))), {}),
    "Dictionary.on": lambda: ((dictionary(), chain), {"size": 8}),
    "Dictionary.read": lambda: ((file("dictionary.safetensors"), "a"), {}),
    "Dictionary.reconstruct": lambda: ((dictionary(), np.ones((4, 2))), {}),
    "Dictionary.recovered": lambda: (
        (dictionary(), chain, PICTURE * np.array([0.4, 1.6, 1], np.float32)),
        {"labels": [1], "logits": "b", "batch": 1, "progress": False},
    ),
    "Dictionary.save": lambda: ((dictionary(), "saved.safetensors"), {}),
    "Dictionary.variance_explained": lambda: ((dictionary(), np.eye(2)), {}),
    "fit_dictionary": lambda: (
        (np.eye(8, 2), "a", 3),
        {"k": 1, "steps": 1, "batch": 2, "held_out": 0.3, "checkpoint": "state.safetensors", "progress": False},
    ),
    "find": lambda: ((network, Path("."), {"a": [0]}, Path("out"), 1, 8, False), {}),
    "examples": lambda: (
        ("a:0", Path(".")),
        {"model": network, "size": 8, "resume": "a.safetensors", "progress": False},
    ),
    "Examples.best": lambda: ((found(),), {"objective": 0, "count": 1}),
    "Examples.least": lambda: ((found(),), {"objective": 0, "count": 1}),
    "Examples.spread": lambda: ((found(),), {"objective": 0, "quantiles": 1, "count": 1}),
    "Examples.frequency": lambda: ((found(), 0.0), {}),
    "Examples.classes": lambda: ((found(),), {"objective": 0, "best": 1, "above": 0.0}),
    "Examples.patches": lambda: ((found(), found().best()), {}),
    "Examples.write": lambda: ((found(), "../crops"), {}),
}
"""For each function the arguments of a call that works. Those left out are left to their defaults."""

LEFT_OUT: dict[str, str] = {}
"""Why other public names are not called here."""
for names, reason in {
    "Accentuation Beside Objective Recipe Result Captured ConvertedNetwork InceptionV1": "others build it: "
    "accentuate, beside, channel, Recipe.of, visualize, capture, from_torch, load_model",
    "Agreement Atlas Attribution ClassShare Example Examples ExpandedWeights Factors Faithfulness Families Fit "
    "Grid Groups Heatmap Home Kernels Photograph Reading Relation Rest Sample": "a result, which others return",
    "NonFiniteError WeightsError ConversionError": "an error, which lightjax raises",
    "Accentuation Evaluation": "a result, which others return",
    "Beside": "others build it: beside",
    "Basis Image Transform Move Activations Shape Padding Relu Pool": "a type, or a base class without arguments",
    "Architecture Block Layer ResponseNorm": "a record of constants of published networks",
    "live": "needs a notebook; tested in test_notebook.py",
    "Setup State init advance lower decode activations": "inner functions of a render: what they get, Recipe checked",
    "clamp conv gradient_of_length leaky_gradient_relu local_response_norm lucid_relu max_pool mean_max_pool "
    "relaxed_max_pool relu resample same_padding softmax_product": "operations of networks, called with arrays inside "
    "of compiled programs",
    "DEFAULT GHIASI LUCENT LUCID LUCID_ATLAS LUCID_INVERSION MACO TORCHLIGHT": "a transform, called with arrays",
}.items():
    LEFT_OUT |= dict.fromkeys(names.split(), reason)

WORDS: dict[str, tuple[str, ...]] = {
    "optimizer": ("learning rate",),
    "rule": ("relu",),
    "model": ("network",),
    "first": ("layer", "class"),
    "second": ("class",),
    "names": ("class",),
    "eye": ("network",),
    "value": ("border", "objective", "layer"),
    "objective": ("layer",),
    "objectives": ("layer",),
    "text": ("objective", "layer"),
    "path": ("picture", "the name must end in"),
    "position": ("row",),
    "shape": ("pictures of",),
    "other": ("a number combined",),
    "activations": ("layer",),
    "encoder": ("bias must",),
    "labels": ("does not suffer",),
    "latents": ("like must",),
    "low": ("high",),
    "resume": ("cannot be read",),
    "output": ("except those in",),
    "source": ("picture", "statistics", "settings"),
    "start": ("picture",),
    "sprites": ("there are no pictures",),
    "folder": ("there are no pictures",),
    "image": ("picture",),
    "images": ("picture",),
    "pictures": ("start",),
    "photographs": ("picture", "folder", "labels must", "does not suffer"),
}
"""What errors may call an argument whose name they do not have."""

EXTRAS: dict[str, Callable] = {
    "Recipe.of": lj.Recipe.of,
    "Recipe.read": lj.Recipe.read,
    "Result.save": lj.Result.save,
    "Result.save_snapshots": lj.Result.save_snapshots,
    "Objective.__getitem__": lj.Objective.__getitem__,
    "Objective.__add__": lj.Objective.__add__,
    "Objective.__rmul__": lj.Objective.__rmul__,
    "Groups.render": analysis.Groups.render,
    "Groups.top": analysis.Groups.top,
    "find": crops.find,
    **{f"Examples.{name}": getattr(analysis.Examples, name) for name in ("best", "least", "spread", "frequency")},
    **{f"Examples.{name}": getattr(analysis.Examples, name) for name in ("classes", "patches", "write")},
    "Grid.save_page": analysis.Grid.save_page,
    "ExpandedWeights.reads": analysis.ExpandedWeights.reads,
    "ExpandedWeights.feeds": analysis.ExpandedWeights.feeds,
    "ExpandedWeights.families": analysis.ExpandedWeights.families,
    "ExpandedWeights.faithfulness": analysis.ExpandedWeights.faithfulness,
    "ExpandedWeights.save_page": analysis.ExpandedWeights.save_page,
    "Kernels.picture": analysis.Kernels.picture,
    **{
        f"Dictionary.{name}": getattr(lj.Dictionary, name)
        for name in ("activate", "decode", "encode", "latents_pre", "on", "read", "reconstruct", "recovered", "save")
    },
    "Dictionary.variance_explained": lj.Dictionary.variance_explained,
    **{f"Atlas.{name}": getattr(analysis.Atlas, name) for name in ("classes", "folders", "photographs", "picture")},
    "Atlas.save_page": analysis.Atlas.save_page,
    "Sample.of": analysis.Sample.of,
    "Sample.only": analysis.Sample.only,
}


def public() -> dict[str, Callable]:
    """Everything that can be called in the public modules, by name."""
    found: dict[str, Callable] = dict(EXTRAS)
    for module in (lj, objectives, transforms, images, ops, optimize, pictures, networks, analysis):
        own = lambda value, module=module: getattr(value, "__module__", "") == module.__name__
        names = getattr(module, "__all__", None) or [
            name for name, value in vars(module).items() if not name.startswith("_") and own(value)
        ]
        for name in names:
            value = getattr(module, name)
            if callable(value) and not isinstance(value, types.ModuleType):
                assert found.setdefault(name, value) is value, f"two public functions are called {name}"
    return found


def attempts(function: Callable, call: Call) -> dict[str, Callable[[Any], Any]]:
    """For each argument a function that calls with another value for it."""
    args, kwargs = call
    signature = inspect.signature(function)
    bound = signature.bind(*args, **kwargs)
    one_by_one = {}
    for name, parameter in signature.parameters.items():
        if name == "self":
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            for key in bound.arguments.get(name, {}):
                one_by_one[key] = lambda value, key=key: function(*args, **(kwargs | {key: value}))
            for key in ("image", "optimizer", "relu", "views", "start", "snapshots", "seed", "size"):
                if key not in one_by_one and key not in signature.parameters:
                    dropped = {k: v for k, v in kwargs.items() if key != "image" or k != "size"}
                    one_by_one[key] = lambda v, key=key, kw=dropped: function(*args, **(kw | {key: v}))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            one_by_one[name] = lambda value: function(*args, value, **kwargs)
        else:

            def replaced(value, name=name):
                given = signature.bind_partial(*args, **kwargs)
                given.arguments[name] = value
                if name == "image":
                    given.arguments.pop("size", None)
                ordered = {n: given.arguments[n] for n in signature.parameters if n in given.arguments}
                given.arguments = ordered
                return function(*given.args, **given.kwargs)

            one_by_one[name] = replaced
    return one_by_one


def wrong_with(error: BaseException, argument: str) -> str:
    """What is wrong with an error; empty if nothing is."""
    text = str(error)
    if not isinstance(error, KINDS):
        return "another kind of error"
    if "\n" in text or not text.isprintable():
        return "several lines"
    if len(text) > LONGEST:
        return f"{len(text)} characters"
    where = traceback.extract_tb(error.__traceback__)[-1].filename
    if not where.startswith(OWN) and not isinstance(error, OSError):
        return f"raised in {where}"
    words = (argument, argument.replace("_", " "), argument.rstrip("s"), *WORDS.get(argument, ()))
    if not isinstance(error, OSError | lj.WeightsError) and not any(word.lower() in text.lower() for word in words):
        return "does not name the argument"
    return ""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder with one picture, where renders end before they begin."""
    monkeypatch.chdir(tmp_path)

    def reached(*args, **kwargs):
        raise Reached

    monkeypatch.setattr(batching, "Jobs", reached)
    monkeypatch.setattr(sys.modules["lightjax.analysis.sample"], "part_of", reached)
    monkeypatch.setattr(
        layout, "tsne", lambda vectors, seed=0, axes=2: np.arange(len(vectors) * axes).reshape(-1, axes)
    )
    monkeypatch.setattr(torch_export, "trace", reached)
    monkeypatch.setattr(dictionary_training, "_started", reached)
    recipe = lj.Recipe.of("a:1", size=8, model=network, transform=None, steps=1)
    pictures.save("picture.png", PICTURE, recipe.describe())
    dictionary().save("dictionary.safetensors")
    return tmp_path


def test_all_public_functions_are_covered():
    found = public()
    assert sorted(found.keys() - CALLS.keys() - LEFT_OUT.keys()) == []
    assert sorted((CALLS.keys() | LEFT_OUT.keys()) - found.keys()) == []
    assert sorted(CALLS.keys() & LEFT_OUT.keys()) == []


def test_arrays_without_axes_are_numbers(place):
    one, other = (lj.visualize_many(["a:1"], seed=seed, chunk=1, size=8, **TINY) for seed in (3, jnp.array(3)))
    assert [inspect.getgeneratorlocals(renders._results)["seeds"] for renders in (one, other)] == [[3], [3]]
    assert lj.channel("a", jnp.array(1)).leaves[0] == 1
    assert images.image(np.array(8), batch=jnp.array(2)).batch == 2
    with pytest.raises(TypeError, match=r"devices must be devices of jax.devices\(\), got 1"):
        lj.visualize_many(["a:1"], devices=[1, 2], size=8, **TINY)


def test_errors_show_any_value_in_a_short_line():
    shown = {word: _checks.shown(make()) for word, make in VALUES.items()}
    assert all(len(text) <= 200 and text.isprintable() for text in shown.values())
    assert shown["mute"] == "something of type Mute"
    assert shown["large JAX array"] == "an array [40, 40, 3] of float32"
    assert shown["zeros(2, 2)"] == "array([[0., 0.], [0., 0.]])"


def test_odd_values_for_every_argument(place):
    number, wrong, times = 0, [], {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, call in CALLS.items():
            start = time.process_time()
            for argument, attempt in attempts(public()[name], call()).items():
                for word, make in VALUES.items():
                    number += 1
                    try:
                        attempt(make())
                    except Reached:
                        pass
                    except Exception as error:
                        what = wrong_with(error, argument)
                        if what:
                            shown = f"{type(error).__name__}: {str(error)[:200]!r}"
                            wrong.append(f"{name}({argument}={word}): {what}: {shown}")
            times[name] = time.process_time() - start
    print(f"{number} attempts, {len(wrong)} mishandled; the slowest: {sorted(times, key=times.__getitem__)[-5:]}")
    assert number > 15_000
    assert not wrong, f"{len(wrong)} of {number} are mishandled:\n" + "\n".join(wrong)
