"""Galleries: pictures of whole layers in a folder, which can be interrupted at any moment and continued.

The folder is the only record. `manifest.json` says how everything is made and which pictures are made together;
`LAYER/CHANNEL.png` is a picture, which carries its settings and the values of its objective. A file that exists is
finished, because it is written whole or not at all. A batch with a missing file is rendered again by the same program,
and no file holds a time or the name of a machine. So a run that was killed ends with the same bytes as one that was
not.

Processes share a folder through locks, which the operating system releases when a process ends. The processes do not
communicate in any other way.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import filelock
import jax
import numpy as np

from lightjax import _checks, _files, batching, networks, objectives
from lightjax._structure import Model
from lightjax.analysis import folder as photographs
from lightjax.gallery import beside
from lightjax.gallery import manifest as manifests
from lightjax.gallery.manifest import KINDS, MANIFEST, Batch
from lightjax.objectives import Objective
from lightjax.optimize import Setup
from lightjax.pictures import check_shown, save
from lightjax.progress import bar
from lightjax.recipe import Recipe, Settings, chosen_image
from lightjax.result import Result

CURVE = 64
"""Largest number of values of the objective that a picture carries."""

DIVERSITY = 1e2
"""Weight of the diversity term."""

_LOCKS = ".locks"
_PATIENCE = 1.0
"""Seconds between looks at the batches that other processes are still rendering."""


class Gallery(NamedTuple):
    """The outcome of a call of `render`.

    Attributes:
      folder: Where the pictures are.
      model: Name of the network whose channels they show.
      pictures: Number of pictures in the manifest.
      rendered: Number of pictures that this call made.
      failed: Files, relative to the folder, of pictures whose objective stopped being finite: they show the last good
        picture.
      unresponsive: Files of pictures that no step changed, because the gradient of their objective was 0.
      missing: Number of pictures that do not exist yet, because other processes are to make them.
    """

    folder: Path
    model: str
    pictures: int
    rendered: int
    failed: list[str]
    unresponsive: list[str]
    missing: int


def render(
    folder: Path,
    layers: Sequence[str],
    *,
    channels: Sequence[int] | None = None,
    positive: bool = True,
    negative: bool = False,
    diverse: int = 0,
    chunk: int | None = None,
    share: tuple[int, int] = (0, 1),
    examples: Path | None = None,
    evaluate: bool = False,
    eye: Model | str | os.PathLike | None = None,
    progress: bool = True,
    **settings: Unpack[Settings],
) -> Gallery:
    """Render the pictures that are missing in a folder, and write the page that shows all of them.

    Args:
      folder: Folder to fill; made if it does not exist.
      layers: Names of layers.
      channels: Channels of each layer; None for all.
      positive: Whether to render a picture that excites each channel.
      negative: Whether to render a picture that inhibits each channel.
      diverse: Number of different pictures that excite each channel, optimized together: 0, or at least 2.
      chunk: Number of pictures rendered together. A killed process loses at most this many pictures. By default as many
        as fit into memory, at most 8 on a CPU. The first call decides for all later ones.
      share: (i, n) with 0 <= i < n: render only the batches whose number k satisfies k mod n = i.
      examples: A folder of photographs: those that excite a channel most are shown beside its pictures.
      evaluate: Whether to measure the pictures that excite channels, as `lj.evaluate` does; positive must be True. The
        page shows the figures, and sorts by them.
      eye: Another network that judges, as for `lj.evaluate`: pictures of classes, and, with at least 40 examples,
        whether one can tell what a channel responds to. It implies `evaluate`.
      progress: Whether to show a progress bar.
      **settings: Keywords of `visualize`: steps (512 by default), model, image, size, transform, optimizer, relu,
        views, start, seed. `snapshots` must be empty.

    Returns:
      What was rendered, what failed, and what is missing.

    Raises:
      ValueError, TypeError, IndexError: If an argument is wrong, or differs from the settings of the manifest in the
        folder.
      WeightsError: If the network cannot be found or loaded.
      ArithmeticError: If an activation for a photograph of `examples` is infinite or not a number.
      OSError: If the folder cannot be written; the files that exist stay whole.
      KeyboardInterrupt: After Ctrl-C; the batch under way is lost.
    """
    folder = Path(folder)
    kinds = [kind for kind, wanted in zip(KINDS, (positive, negative, diverse), strict=True) if wanted]
    if not kinds or not layers:
        raise ValueError("there is nothing to render: name a layer, and positive, negative or diverse pictures")
    if _checks.whole(diverse, "diverse", least=0) == 1:
        raise ValueError("diverse must be 0 or at least 2, got 1")
    if chunk is not None:
        _checks.whole(chunk, "chunk", least=1)
    if snapshots := settings.pop("snapshots", ()):
        raise ValueError(f"snapshots must be empty for a gallery, got {snapshots!r}")
    if not positive and (evaluate or eye is not None):
        raise ValueError("positive must be True to evaluate: only pictures that excite a channel are measured")
    given = settings.pop("model", None)
    name = networks.DEFAULT if given is None else os.fspath(given) if isinstance(given, str | os.PathLike) else None
    model: Any = given if name is None else networks.load_model(name)
    shown = beside.checked(folder, model, layers, examples, evaluate, eye)
    image: Any = chosen_image(settings.pop("image", None), settings.pop("size", None), model)
    rest: Any = {"steps": 512, **settings}
    of_kind = {kind: dataclasses.replace(image, batch=diverse) if kind == "diverse" else image for kind in kinds}
    recipes = {kind: Recipe.of(None, model=model, image=of_kind[kind], **rest) for kind in kinds}
    wanted = _channels_of(recipes, layers, channels)
    shape = next(iter(recipes.values())).shapes["input"].shape
    check_shown(shape)
    if examples is not None:
        photographs.input_of(model, shape[1])

    folder.mkdir(parents=True, exist_ok=True)
    (folder / _LOCKS).mkdir(exist_ok=True)
    with _lock(folder, "manifest"):
        manifest = _begin_or_continue(folder, name, recipes, wanted, diverse, chunk)
    made = _render_missing(folder, manifest, recipes, share, progress)
    batches = manifests.batches_of(manifest)
    with _lock(folder, "page"):  # so that the last process sees all pictures
        missing = [file for batch in batches for file in manifests.missing(folder, manifest, batch)]
        beside.write_page(folder, manifest, model, None if missing else shown, progress)
    number = sum(len(names) for batch in batches for names in manifests.files_of(manifest, batch))
    network = manifest["settings"]["model"].partition("@")[0]
    failed, unresponsive = ([name for name in made if outcome in made[name]] for outcome in ("failed", "unresponsive"))
    return Gallery(folder, network, number, len(made), failed, unresponsive, len(missing))


def curve(result: Result) -> list[float]:
    """At most `CURVE` values of the objective, with the first and the last, to six digits."""
    values = result.values
    steps = np.unique(np.linspace(0, len(values) - 1, min(CURVE, len(values))).round().astype(int))
    return [float(f"{value:.6g}") for value in values[steps]]


def _channels_of(
    recipes: Mapping[str, Recipe], layers: Sequence[str], channels: Sequence[int] | None
) -> dict[str, list[int]]:
    """The channels to render of each layer, checked."""
    wanted = {}
    for layer in layers:
        for kind, recipe in recipes.items():
            recipe.check(_objective(kind, layer, 0))  # knows the layer
            wanted[layer] = list(range(recipe.shapes[layer].shape[-1])) if channels is None else sorted(set(channels))
            recipe.check(objectives.channel(layer, wanted[layer]))
    return wanted


def _objective(kind: str, layer: str, channel: int) -> Objective:
    """The objective of one job."""
    if kind == "positive":
        return objectives.channel(layer, channel)
    if kind == "negative":
        return -objectives.channel(layer, channel)
    return objectives.channel(layer, channel) - DIVERSITY * objectives.diversity(layer)


def _begin_or_continue(
    folder: Path, model: str | None, recipes: Mapping[str, Recipe], channels, diverse: int, chunk: int | None
) -> dict[str, Any]:
    """The manifest of the folder, if it says what is asked for, or a new one."""
    _files.remove_leftovers(folder / MANIFEST)
    kind, recipe = next(iter(recipes.items()))
    described = recipe.describe()
    device = described["device"]
    settings = {
        **{
            key: value
            for key, value in described.items()
            if key not in ("lightjax", "objective", "snapshots", "device")
        },
        "weights": _digest(recipe.model),
        "kinds": list(recipes),
        "diverse": diverse,
        "channels": {layer: manifests.format_channels(numbers) for layer, numbers in channels.items()},
    }
    libraries = ("lightjax", "jax", "jaxlib", "optax", "numpy", "pillow")
    versions = {name: importlib.metadata.version(name) for name in libraries}
    versions["device"] = f"{len(jax.local_devices())} x {device}"
    old = manifests.read(folder)
    if old is not None:
        note = manifests.compare(folder, old, settings, versions, chunk)
        if note:
            print(f"lightjax: note: {note}", file=sys.stderr)
        return manifests.continued(folder, old, settings, channels)
    if chunk is None:
        chunk = _fitting_chunk(kind, recipe, channels)
    manifest = manifests.make(model, settings, versions, channels, chunk)
    files = [
        name
        for batch in manifests.batches_of(manifest)
        for names in manifests.files_of(manifest, batch)
        for name in names
    ]
    present = [name for name in files if (folder / name).exists()]
    if present:
        raise ValueError(f"{folder} holds pictures, such as {present[0]}, but no {MANIFEST}; choose another folder")
    _files.write_atomically(folder / MANIFEST, manifests.to_json(manifest))
    return manifest


def _fitting_chunk(kind: str, recipe: Recipe, channels: Mapping[str, list[int]]) -> int:
    """Number of pictures at a time that fit into memory, for the deepest layer, whose program is the largest."""
    mesh = batching.mesh_of()
    together = recipe.shapes["input"].shape[0]
    layer = max(channels, key=list(recipe.shapes).index)
    goal = _objective(kind, layer, channels[layer][0])
    most = max(len(numbers) for numbers in channels.values())
    return batching.fitting_chunk(recipe, batching.on_devices(recipe.setup, mesh), goal, most, mesh) * together


def _digest(model: Model) -> str:
    """A hash of all arrays of a model. The arrays that a function closes over cannot be seen."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        if isinstance(leaf, jax.Array | np.ndarray):
            digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
            digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:12]


def _render_missing(
    folder: Path, manifest: Mapping[str, Any], recipes: Mapping[str, Recipe], share: tuple[int, int], progress: bool
) -> dict[str, dict[str, int]]:
    """Render the batches of our share with missing files; return the outcome of each new file (see `Result.record`)."""
    index, count = share
    pending = [batch for batch in manifests.batches_of(manifest) if batch.number % count == index]
    left = {batch.number: len(manifests.missing(folder, manifest, batch)) for batch in pending}
    total = sum(len(names) for batch in pending for names in manifests.files_of(manifest, batch))
    pending = [batch for batch in pending if left[batch.number]]
    meshes = {(b.kind, b.layer): batching.mesh_of(jobs=manifests.jobs_of(manifest, b)) for b in pending}
    setups = {key: batching.on_devices(recipes[key[0]].setup, mesh) for key, mesh in meshes.items()}
    made: dict[str, dict[str, int]] = {}
    with bar(total, "picture", progress, done=total - sum(left.values()), decimals=1) as shown:
        while pending:
            locked = []
            for batch in pending:
                try:
                    with _lock(folder, f"{batch.number:05d}", wait=False):
                        missing = manifests.missing(folder, manifest, batch)
                        shown.update(left[batch.number] - len(missing))  # made by other processes
                        if missing:
                            key = batch.kind, batch.layer
                            program = recipes[batch.kind], setups[key], meshes[key]
                            made |= _render_batch(folder, manifest, batch, *program, shown)
                except filelock.Timeout:
                    locked.append(batch)
            if len(locked) == len(pending):
                time.sleep(_PATIENCE)
            pending = locked
    return made


def _render_batch(
    folder: Path, manifest: Mapping[str, Any], batch: Batch, recipe: Recipe, setup: Setup, mesh, shown
) -> dict[str, dict[str, int]]:
    """Render a batch and write its missing files; return the outcome of each."""
    goals = [_objective(batch.kind, batch.layer, channel) for channel in batch.channels]
    jobs = -(-manifests.jobs_of(manifest, batch) // mesh.size) * mesh.size
    files_per_job = len(manifests.missing(folder, manifest, batch)) / len(goals)
    report = lambda pictures: shown.update(pictures * files_per_job)
    results = batching.render_chunk(recipe, setup, goals, [recipe.seed] * len(goals), jobs, mesh, report)
    if any(result.interrupted for result in results):
        raise KeyboardInterrupt
    made = {}
    _files.make_folder(folder / manifests.folder_of(batch.layer))
    for channel, names, result in zip(batch.channels, manifests.files_of(manifest, batch), results, strict=True):
        for number, (name, picture) in enumerate(zip(names, result.images, strict=True)):
            path = folder / name
            _files.remove_leftovers(path)
            if _files.is_regular(path):
                continue
            about = {"layer": batch.layer, "channel": channel, "kind": batch.kind, "values": curve(result)}
            if batch.kind == "diverse":
                about["picture"] = number
            save(path, picture, result.record | about)
            made[name] = result.record.get("outcome", {})
    return made


@contextlib.contextmanager
def _lock(folder: Path, name: str, wait: bool = True) -> Iterator[None]:
    """Hold a lock of the gallery, which the operating system releases when this process ends.

    Raises:
      filelock.Timeout: If another process holds it and `wait` is False.
    """
    with filelock.FileLock(folder / _LOCKS / f"{name}.lock", timeout=-1 if wait else 0):
        yield
