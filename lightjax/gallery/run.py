"""Galleries: pictures of whole layers in a folder, which can be interrupted at any moment and taken up again.

The folder is all the record there is. `manifest.json` says how everything is made and cuts it into chunks;
`LAYER/CHANNEL.png` is a picture, which carries its settings and the course of its objective. A file that exists is
finished, for it is written whole or not at all. A chunk with a missing file is rendered again, the same chunk with the
same program, and no file holds a time of day or a name of a machine: so a run that was killed ends with the same bytes
as one that was not.

Processes share a folder by locks that the kernel gives back when their owner dies. They never talk to each other.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import filelock
import jax
import numpy as np

from lightjax import _files, images, many, objectives
from lightjax import transforms as transforms_
from lightjax.analysis import examples as crops
from lightjax.gallery import page
from lightjax.images import Size
from lightjax.networks import weights
from lightjax.objectives import Objective
from lightjax.optimize import Model
from lightjax.pictures import read_settings, save
from lightjax.transforms import Transform
from lightjax.visualize import Plan, Result, check_seed, complete

MANIFEST = "manifest.json"

CURVE = 64
"""Most values of the objective that a picture carries."""

DIVERSITY = 1e2
"""Weight of the diversity term."""

_LOCKS = ".locks"
_EXAMPLES = "examples"
_PATIENCE = 1.0
"""Seconds between looks at what other processes are still making."""


class Chunk(NamedTuple):
    """Pictures that are made together.

    Attributes:
      number: Its place in the manifest.
      layer: Of all its pictures.
      kind: One of `page.KINDS`.
      channels: One job each.
    """

    number: int
    layer: str
    kind: str
    channels: list[int]


class Gallery(NamedTuple):
    """What a call of `render` brought.

    Attributes:
      folder: Where the pictures are.
      model: Name of the network whose channels they show.
      pictures: Number of pictures in the manifest.
      rendered: How many of them this call made.
      failed: Files, relative to the folder, of those whose objective stopped being finite: they show the last good
        picture.
      missing: How many are not there: other processes' share.
    """

    folder: Path
    model: str
    pictures: int
    rendered: int
    failed: list[str]
    missing: int


def render(
    folder: Path,
    layers: Sequence[str],
    *,
    channels: Sequence[int] | None = None,
    positive: bool = True,
    negative: bool = False,
    diverse: int = 0,
    steps: int = 512,
    size: Size = 224,
    model: Model | str | None = None,
    transforms: Transform | None = transforms_.DEFAULT,
    optimizer: float | None = None,
    relu: str | None = None,
    seed: int = 0,
    chunk: int | None = None,
    share: tuple[int, int] = (0, 1),
    examples: Path | None = None,
    progress: bool = True,
) -> Gallery:
    """Render channels of layers into a folder, or what is still missing there, and write the page that shows them.

    Args:
      folder: Where to; made if it is not there.
      layers: Names of layers.
      channels: Channels of each; None for all.
      positive: Whether to render what excites a channel.
      negative: Whether to render what quiets it.
      diverse: How many different pictures to render that excite it, optimised together; 0 for none.
      steps: Number of updates.
      size: Pixels, one number or (height, width).
      model: As for `visualize`.
      transforms: As for `visualize`.
      optimizer: Learning rate of Adam.
      relu: As for `visualize`.
      seed: Of every picture.
      chunk: Jobs that are rendered together, which is what a kill loses at most; by default what fits into memory, and
        no more than 8 on a CPU. The first call decides for all later ones.
      share: (i, n) renders only each n-th chunk from the i-th on: the part of one process among n.
      examples: A folder of photographs, to show those that excite a channel most beside its pictures.
      progress: Whether to show a progress bar.

    Raises:
      ValueError, TypeError, IndexError: If an argument is wrong, or not what the folder was begun with.
      OSError: If the folder cannot be written; what is there stays whole.
      KeyboardInterrupt: After Ctrl-C; the chunk under way is lost.
    """
    check_seed(seed)
    kinds = [kind for kind, wanted in zip(page.KINDS, (positive, negative, diverse), strict=True) if wanted]
    if not kinds or not layers:
        raise ValueError("there is nothing to render: name a layer, and positive, negative or diverse pictures")
    if diverse == 1 or diverse < 0:
        raise ValueError(f"diverse pictures are 2 or more of one channel, or 0 for none, not {diverse}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"a chunk is a number of jobs from 1 on, not {chunk}")
    if examples is not None:
        crops.pictures_in(examples, Path(folder) / _EXAMPLES)  # or it would fail at the very end
    given = weights.DEFAULT if model is None else model if isinstance(model, str) else None
    if model is None or isinstance(model, str):
        model = weights.load_model(weights.DEFAULT if model is None else model)
    plans = {
        kind: complete(
            steps=steps,
            model=model,
            image=images.fourier_image(size, batch=diverse if kind == "diverse" else 1),
            transforms=transforms,
            optimizer=optimizer,
            relu=relu,
            views=1,
            start=None,
            snapshots=(),
            size=224,
        )
        for kind in kinds
    }
    wanted = _channels_of(plans, layers, channels)

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _LOCKS).mkdir(exist_ok=True)
    with _lock(folder, "manifest"):
        manifest = _begin_or_resume(folder, given, plans, wanted, diverse, seed, chunk)
    rendered, failed = _render_missing(folder, manifest, plans, share, progress)
    with _lock(folder, "page"):  # so that who comes last sees everything
        missing = [file for chunk in chunks_of(manifest) for file in _missing(folder, manifest, chunk)]
        _write_page(folder, manifest, model, None if missing else examples, progress)
    pictures = sum(len(names) for chunk in chunks_of(manifest) for names in _files_of(manifest, chunk))
    return Gallery(folder, manifest["settings"]["model"].partition("@")[0], pictures, rendered, failed, len(missing))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a gallery; None if there is none.

    Raises:
      ValueError: If there is one that lightjax did not write.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{folder / MANIFEST} is not a manifest of lightjax; choose another folder") from error
    if not isinstance(manifest, dict) or manifest.keys() != {"model", "settings", "versions", "chunk", "chunks"}:
        raise ValueError(f"{folder / MANIFEST} is not a manifest of this version of lightjax; choose another folder")
    return manifest


def chunks_of(manifest: Mapping[str, Any]) -> list[Chunk]:
    """The chunks of a gallery, in the order in which they are rendered."""
    return [
        Chunk(number, chunk["layer"], chunk["kind"], parse_channels(chunk["channels"]))
        for number, chunk in enumerate(manifest["chunks"])
    ]


def entries(folder: Path, manifest: Mapping[str, Any], examples: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What there is to show, channel by channel, as `page.write` takes it, from the pictures' own metadata.

    Args:
      folder: Of the gallery.
      manifest: Of the gallery.
      examples: Photographs by "layer:channel", as `examples.find` describes them.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for chunk in chunks_of(manifest):
        for channel, names in zip(chunk.channels, _files_of(manifest, chunk), strict=True):
            for name in names:
                if not (folder / name).exists():
                    continue
                try:
                    values = read_settings(folder / name)["values"]
                except ValueError as error:
                    raise ValueError(f"{error}; delete it, and the same command makes it again") from error
                entry = found.setdefault(
                    (chunk.layer, channel),
                    {
                        "layer": chunk.layer,
                        "channel": channel,
                        "pictures": [],
                        "command": "",
                        "examples": examples.get(f"{chunk.layer}:{channel}", []),
                    },
                )
                entry["pictures"].append({"kind": chunk.kind, "file": name, "values": values})
                if name == names[0] and (command := _command(manifest, name)) not in entry["command"]:
                    entry["command"] += "\n" * bool(entry["command"]) + command
    order = list(manifest["settings"]["channels"])
    return sorted(found.values(), key=lambda entry: (order.index(entry["layer"]), entry["channel"]))


def parse_channels(text: str) -> list[int]:
    """Numbers and ranges, both ends included, as a list: "0-3,7" is [0, 1, 2, 3, 7].

    Raises:
      ValueError: If the text is something else.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip())
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"channels are numbers and ranges, such as 0-63,97, not {text!r}")
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(numbers)


def _format_channels(channels: Sequence[int]) -> str:
    """What `parse_channels` reads: sorted numbers as ranges."""
    runs: list[list[int]] = []
    for channel in channels:
        if runs and channel == runs[-1][1] + 1:
            runs[-1][1] = channel
        else:
            runs.append([channel, channel])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _channels_of(
    plans: Mapping[str, Plan], layers: Sequence[str], channels: Sequence[int] | None
) -> dict[str, list[int]]:
    """The channels to render of each layer, checked."""
    wanted = {}
    for layer in layers:
        for kind, plan in plans.items():
            objectives.check(_objective(kind, layer, 0), plan.shapes)  # knows the layer
            wanted[layer] = list(range(plan.shapes[layer].shape[-1])) if channels is None else sorted(set(channels))
            objectives.check(objectives.channel(layer, wanted[layer]), plan.shapes)
    return wanted


def _objective(kind: str, layer: str, channel: int) -> Objective:
    """What to maximise for one job."""
    if kind == "positive":
        return objectives.channel(layer, channel)
    if kind == "negative":
        return -objectives.channel(layer, channel)
    return objectives.channel(layer, channel) - DIVERSITY * objectives.diversity(layer)


def _begin_or_resume(
    folder: Path, model: str | None, plans: Mapping[str, Plan], wanted, diverse: int, seed: int, chunk: int | None
) -> dict[str, Any]:
    """The manifest that is there, if it says what is asked for, or a new one."""
    _files.remove_leftovers(folder / MANIFEST)
    any_plan = next(iter(plans.values()))
    device = any_plan.settings["device"]
    names = ("model", "size", "steps", "transforms", "optimizer", "relu")
    settings = {
        **{name: any_plan.settings[name] for name in names},
        "weights": _digest(any_plan.model),
        "seed": int(seed),
        "kinds": list(plans),
        "diverse": diverse,
        "channels": {layer: _format_channels(channels) for layer, channels in wanted.items()},
    }
    versions = {
        name: importlib.metadata.version(name) for name in ("lightjax", "jax", "jaxlib", "optax", "numpy", "pillow")
    }
    versions["device"] = f"{len(jax.local_devices())} x {device}"
    old = read_manifest(folder)
    if old is not None:
        _compare(folder, old, settings, versions, chunk)
        return old
    mesh = many.mesh_of(jobs=chunk)
    if chunk is None:
        chunk = _fitting_chunk(plans, wanted, mesh)
    chunks = [
        {"layer": layer, "kind": kind, "channels": _format_channels(channels[start : start + jobs])}
        for layer, channels in wanted.items()
        for kind in plans
        for jobs in [_jobs(kind, chunk, diverse, len(channels))]
        for start in range(0, len(channels), jobs)
    ]
    manifest = {"model": model, "settings": settings, "versions": versions, "chunk": chunk, "chunks": chunks}
    present = [name for c in chunks_of(manifest) for names in _files_of(manifest, c) for name in names]
    present = [name for name in present if (folder / name).exists()]
    if present:
        raise ValueError(f"{folder} holds pictures, such as {present[0]}, but no {MANIFEST}; choose another folder")
    _files.write_atomically(folder / MANIFEST, _to_json(manifest))
    return manifest


def _fitting_chunk(plans: Mapping[str, Plan], wanted: Mapping[str, list[int]], mesh) -> int:
    """Single pictures at a time that fit into memory, for the deepest layer, whose program is the largest."""
    kind, plan = next(iter(plans.items()))
    together = plan.shapes["input"].shape[0]
    layer = max(wanted, key=list(plan.shapes).index)
    goal = _objective(kind, layer, wanted[layer][0])
    most = max(len(channels) for channels in wanted.values())
    return many.fitting_chunk(many.spread_over(plan, mesh), goal, most, mesh) * together


def _jobs(kind: str, chunk: int, diverse: int, channels: int) -> int:
    """Jobs in a chunk: as many as make about the same number of pictures, and no more than a layer has channels."""
    return min(channels, max(1, chunk // diverse) if kind == "diverse" else chunk)


def _jobs_of(manifest: Mapping[str, Any], chunk: Chunk) -> int:
    settings = manifest["settings"]
    channels = len(parse_channels(settings["channels"][chunk.layer]))
    return _jobs(chunk.kind, manifest["chunk"], settings["diverse"], channels)


def _digest(model: Model) -> str:
    """A hash of all arrays of a model; a function holds none that can be seen."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        if isinstance(leaf, jax.Array | np.ndarray):
            digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
            digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:12]


def _compare(folder: Path, old: Mapping[str, Any], settings, versions, chunk: int | None) -> None:
    """Refuse to go on with other settings; say so if only the programs that render are others."""
    there, here = (
        {f"channels of {key}": value for key, value in given["channels"].items()}
        | {key: value for key, value in given.items() if key != "channels"}
        for given in (old["settings"], settings)
    )
    there |= {"chunk": old["chunk"], "lightjax": old["versions"].get("lightjax")}
    here |= {"chunk": old["chunk"] if chunk is None else chunk, "lightjax": versions["lightjax"]}
    differing = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    if differing:
        told = "; ".join(f"{key} was {_told(there, key)} and is now {_told(here, key)}" for key in differing)
        raise ValueError(f"{folder} was begun with other settings: {told}. Use the same, or another folder")
    changed = [key for key in versions if old["versions"].get(key) != versions[key]]
    if changed:
        told = "; ".join(f"{key} was {_told(old['versions'], key)} and is now {versions[key]}" for key in changed)
        print(f"lightjax: note: {told}; pictures may round differently from those in {folder}", file=sys.stderr)


def _told(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "not there"


def _render_missing(
    folder: Path, manifest: Mapping[str, Any], plans: Mapping[str, Plan], share: tuple[int, int], progress: bool
) -> tuple[int, list[str]]:
    """Render the chunks of our share with missing files; return how many pictures, and the files of failed ones."""
    index, count = share
    pending = [chunk for chunk in chunks_of(manifest) if chunk.number % count == index]
    left = {chunk.number: len(_missing(folder, manifest, chunk)) for chunk in pending}
    total = sum(len(names) for chunk in pending for names in _files_of(manifest, chunk))
    pending = [chunk for chunk in pending if left[chunk.number]]
    meshes = {(chunk.kind, chunk.layer): many.mesh_of(jobs=_jobs_of(manifest, chunk)) for chunk in pending}
    spread = {(kind, layer): many.spread_over(plans[kind], mesh) for (kind, layer), mesh in meshes.items()}
    rendered, failed = 0, []
    with many.bar(total, progress, total - sum(left.values())) as bar:
        while pending:
            locked = []
            for chunk in pending:
                try:
                    with _lock(folder, f"{chunk.number:05d}", wait=False):
                        missing = _missing(folder, manifest, chunk)
                        bar.update(left[chunk.number] - len(missing))  # made by others
                        if missing:
                            place = chunk.kind, chunk.layer
                            failed += _render_chunk(folder, manifest, chunk, spread[place], meshes[place], bar)
                            rendered += len(missing)
                except filelock.Timeout:
                    locked.append(chunk)
            if len(locked) == len(pending):
                time.sleep(_PATIENCE)
            pending = locked
    return rendered, failed


def _render_chunk(folder: Path, manifest: Mapping[str, Any], chunk: Chunk, plan: Plan, mesh, bar) -> list[str]:
    """Render a chunk and write the files of it that are missing; return those of failed jobs."""
    settings = manifest["settings"]
    goals = [_objective(chunk.kind, chunk.layer, channel) for channel in chunk.channels]
    jobs = -(-_jobs_of(manifest, chunk) // mesh.size) * mesh.size
    worth = len(_missing(folder, manifest, chunk)) / len(goals)
    made = lambda share: bar.update(share * worth)
    results = many.render(plan, goals, [settings["seed"]] * len(goals), jobs, mesh, made)
    if any(result.interrupted for result in results):
        raise KeyboardInterrupt
    failed = []
    (folder / _place(chunk.layer)).mkdir(exist_ok=True)
    for channel, names, result in zip(chunk.channels, _files_of(manifest, chunk), results, strict=True):
        for place, (name, picture) in enumerate(zip(names, result.images, strict=True)):
            path = folder / name
            _files.remove_leftovers(path)
            if path.exists():
                continue
            about = {"layer": chunk.layer, "channel": channel, "kind": chunk.kind, "values": _curve(result)}
            if chunk.kind == "diverse":
                about["picture"] = place
            save(path, picture, result.settings | about)
            if result.failed:
                failed.append(name)
    return failed


def _curve(result: Result) -> list[float]:
    """The course of the objective as at most `CURVE` values, the first and the last among them, to six digits."""
    values = result.values
    places = np.unique(np.linspace(0, len(values) - 1, min(CURVE, len(values))).round().astype(int))
    return [float(f"{value:.6g}") for value in values[places]]


def _files_of(manifest: Mapping[str, Any], chunk: Chunk) -> list[list[str]]:
    """The files of each job of a chunk, relative to the folder."""
    number = manifest["settings"]["diverse"]
    endings = {"positive": [""], "negative": ["_negative"], "diverse": [f"_diverse_{i + 1}" for i in range(number)]}
    place = _place(chunk.layer)
    return [[f"{place}/{channel:04d}{end}.png" for end in endings[chunk.kind]] for channel in chunk.channels]


def _place(layer: str) -> str:
    """The folder of a layer: its name, but for what would lead elsewhere or to the photographs."""
    quoted = quote(layer, safe="")
    return f"%{ord(layer[0]):02X}{quoted[1:]}" if quoted.startswith(".") or quoted == _EXAMPLES else quoted


def _missing(folder: Path, manifest: Mapping[str, Any], chunk: Chunk) -> list[str]:
    """The files of a chunk that are not there yet."""
    return [name for names in _files_of(manifest, chunk) for name in names if not (folder / name).exists()]


@contextlib.contextmanager
def _lock(folder: Path, name: str, wait: bool = True) -> Iterator[None]:
    """Hold a lock of the gallery, which its kernel gives back whatever happens to us.

    Raises:
      filelock.Timeout: If somebody else holds it, and we are not to wait.
    """
    with filelock.FileLock(folder / _LOCKS / f"{name}.lock", timeout=-1 if wait else 0):
        yield


def _write_page(folder: Path, manifest: Mapping[str, Any], model: Model, examples: Path | None, progress: bool) -> None:
    """Write the page that shows what is there; look for photographs too, unless that has been done."""
    file = folder / "examples.json"
    known = json.loads(file.read_bytes()) if file.exists() else {"folder": None, "examples": {}}
    settings = {key: value for key, value in manifest["settings"].items() if key not in ("kinds", "channels")}
    settings["size"] = "x".join(map(str, settings["size"]))
    title = f"{', '.join(manifest['settings']['channels'])} of {settings['model'].partition('@')[0]}"

    def write() -> None:
        _files.remove_leftovers(folder / "index.html")
        shown = entries(folder, manifest, known["examples"])
        page.write(folder, title=title, settings=settings | manifest["versions"], entries=shown)

    write()
    if examples is None or known["folder"] == (content := crops.content(examples, folder / _EXAMPLES)):
        return
    channels = {layer: parse_channels(text) for layer, text in manifest["settings"]["channels"].items()}
    for leftover in (file, *(folder / _EXAMPLES).glob("[!.]*")):
        _files.remove_leftovers(leftover)
    found = crops.find(model, examples, channels, folder / _EXAMPLES, progress=progress)
    known = {"folder": content, "examples": {f"{layer}:{channel}": seen for (layer, channel), seen in found.items()}}
    _files.write_atomically(file, _to_json(known))
    write()


def _command(manifest: Mapping[str, Any], name: str) -> str:
    """What renders the pictures of a channel again, in the folder of the gallery."""
    model = manifest["model"]
    if model is None:
        return "(the network was given in Python, and there is no command that has it)"
    named = model in weights.CHECKPOINTS or model in weights.EMBEDDED
    return shlex.join(["lightjax", "render", "--like", name, *([] if named else ["--model", model]), "-o", "again.png"])


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
