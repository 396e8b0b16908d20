"""The manifest of a gallery: how its pictures are made, which of them are made together, and their files.

This module computes; it renders nothing. `manifest.json` is written once, when a gallery begins.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from lightjax import _files

MANIFEST = "manifest.json"
EXAMPLES = "examples"
"""Folder of the photographs that excite channels most."""

KINDS = ("positive", "negative", "diverse")
"""Kinds of pictures: one that excites a channel, one that inhibits it, several different ones that excite it."""


_MOST_BYTES = 2**28
"""Largest JSON file that is read."""


class Batch(NamedTuple):
    """A chunk of the gallery: jobs that are rendered together.

    The `batch` of an image is something else: the pictures that one objective optimizes together.

    Attributes:
      number: Place in the manifest, from 0.
      layer: The layer of all of them.
      kind: One of `KINDS`.
      channels: Numbers of the channels; each is one job.
    """

    number: int
    layer: str
    kind: str
    channels: list[int]


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a gallery; None if there is none.

    Raises:
      ValueError: If lightjax did not write it.
    """
    if not os.path.lexists(folder / MANIFEST):
        return None
    try:
        manifest = read_json(folder / MANIFEST)
    except ValueError:
        raise ValueError(f"{folder / MANIFEST} is not a manifest of lightjax; choose another folder") from None
    if not isinstance(manifest, dict) or manifest.keys() != {"model", "settings", "versions", "chunk", "batches"}:
        raise ValueError(f"{folder / MANIFEST} is not a manifest of this version of lightjax; choose another folder")
    settings, versions, chunk = manifest["settings"], manifest["versions"], manifest["chunk"]
    if (
        not isinstance(manifest["model"], str | None)
        or not isinstance(settings, dict)
        or not isinstance(settings.get("channels"), dict)
        or not isinstance(versions, dict)
        or not all(isinstance(version, str) for version in versions.values())
        or type(chunk) is not int
        or chunk < 1
    ):
        raise ValueError(f"{folder / MANIFEST} was changed since lightjax wrote it; choose another folder")
    return manifest


def read_json(file: Path) -> Any:
    """The value in a JSON file of a gallery.

    Raises:
      ValueError: If it is not a file of JSON of a reasonable size and depth.
    """
    if not _files.is_regular(file) or file.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{file} is not a file, or is larger than any of lightjax")
    try:
        return json.loads(file.read_bytes())
    except RecursionError:
        raise ValueError(f"{file} is nested too deeply") from None


def read_examples(file: Path) -> dict[str, Any]:
    """What is known about photographs; nothing, so that they are looked for again, if the file is not ours."""
    nothing: dict[str, Any] = {"folder": None, "examples": {}}
    if not os.path.lexists(file):
        return nothing
    try:
        known = read_json(file)
        ours = all(
            type(example["file"]) is type(example["source"]) is str
            and type(example["value"]) in (int, float)
            and len(example) == 3
            and re.fullmatch(rf"{EXAMPLES}/[^/]+", example["file"])
            and _files.is_regular(file.parent / example["file"])
            for seen in known["examples"].values()
            for example in seen
        )
        return known if ours and isinstance(known["folder"], str) and len(known) == 2 else nothing
    except (ValueError, TypeError, KeyError, AttributeError):
        return nothing


def continued(
    folder: Path, old: Mapping[str, Any], settings: Mapping[str, Any], channels: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """The manifest of a folder, made again from settings that `compare` found equal, in the order of its layers.

    Raises:
      ValueError: If its batches are not those of the settings.
    """
    order = {layer: channels[layer] for layer in old["settings"]["channels"]}
    settings = {**settings, "channels": {layer: settings["channels"][layer] for layer in order}}
    manifest = make(old["model"], settings, old["versions"], order, old["chunk"])
    if manifest["batches"] != old["batches"]:
        raise ValueError(f"{folder / MANIFEST} was changed since lightjax wrote it; choose another folder")
    return manifest


def make(
    model: str | None,
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    channels: Mapping[str, Sequence[int]],
    chunk: int,
) -> dict[str, Any]:
    """A new manifest.

    Args:
      model: Name or path of the network; None for one that was made in Python.
      settings: How the pictures are made: the recipe, and the gallery's own "kinds", "diverse" and "channels".
      versions: Versions of the libraries, and the device.
      channels: The channels to render of each layer.
      chunk: Number of pictures that are rendered together.
    """
    batches = [
        {"layer": layer, "kind": kind, "channels": format_channels(numbers[first : first + jobs])}
        for layer, numbers in channels.items()
        for kind in settings["kinds"]
        for jobs in [_jobs(kind, chunk, settings["diverse"], len(numbers))]
        for first in range(0, len(numbers), jobs)
    ]
    return {"model": model, "settings": settings, "versions": versions, "chunk": chunk, "batches": batches}


def batches_of(manifest: Mapping[str, Any]) -> list[Batch]:
    """The batches of a gallery, in the order in which they are rendered."""
    return [
        Batch(number, batch["layer"], batch["kind"], parse_channels(batch["channels"]))
        for number, batch in enumerate(manifest["batches"])
    ]


def jobs_of(manifest: Mapping[str, Any], batch: Batch) -> int:
    """Number of jobs of the program that renders a batch; the last batch of a layer may have fewer channels."""
    settings = manifest["settings"]
    channels = len(parse_channels(settings["channels"][batch.layer]))
    return _jobs(batch.kind, manifest["chunk"], settings["diverse"], channels)


def _jobs(kind: str, chunk: int, diverse: int, channels: int) -> int:
    """As many jobs as make about `chunk` pictures, and no more than a layer has channels."""
    return min(channels, max(1, chunk // diverse) if kind == "diverse" else chunk)


def files_of(manifest: Mapping[str, Any], batch: Batch) -> list[list[str]]:
    """The files of each job of a batch, relative to the folder of the gallery."""
    number = manifest["settings"]["diverse"]
    endings = {"positive": [""], "negative": ["_negative"], "diverse": [f"_diverse_{i + 1}" for i in range(number)]}
    layer = folder_of(batch.layer)
    return [[f"{layer}/{channel:04d}{end}.png" for end in endings[batch.kind]] for channel in batch.channels]


def missing(folder: Path, manifest: Mapping[str, Any], batch: Batch) -> list[str]:
    """The files of a batch that do not exist yet, or are folders, links or pipes."""
    return [name for names in files_of(manifest, batch) for name in names if not _files.is_regular(folder / name)]


def folder_of(layer: str) -> str:
    """The folder of a layer: its name, quoted.

    The quoting keeps the folder inside the gallery, not hidden, and different from `EXAMPLES`.
    """
    quoted = quote(layer, safe="")
    return f"%{ord(layer[0]):02X}{quoted[1:]}" if quoted.startswith(".") or quoted == EXAMPLES else quoted


def parse_channels(text: str) -> list[int]:
    """Numbers and ranges, both ends included, as a list: "0-3,7" is [0, 1, 2, 3, 7].

    Raises:
      ValueError: If the text has another form.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip())
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"channels must be numbers and ranges, such as 0-63,97, got {text!r}")
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(numbers)


def format_channels(channels: Sequence[int]) -> str:
    """The inverse of `parse_channels`: sorted numbers as ranges."""
    runs: list[list[int]] = []
    for channel in channels:
        if runs and channel == runs[-1][1] + 1:
            runs[-1][1] = channel
        else:
            runs.append([channel, channel])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def compare(
    folder: Path, old: Mapping[str, Any], settings: Mapping[str, Any], versions: Mapping[str, str], chunk: int | None
) -> str:
    """Compare the manifest of a folder with what is asked for now.

    Returns:
      A sentence about versions that changed, which may make pictures round differently; empty if none did.

    Raises:
      ValueError: If a setting differs; the message names all of them.
    """
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
    told = "; ".join(f"{key} was {_told(old['versions'], key)} and is now {versions[key]}" for key in changed)
    return f"{told}; pictures may round differently from those in {folder}" if changed else ""


def _told(settings: Mapping[str, Any], key: str) -> str:
    text = json.dumps(settings[key]) if key in settings else "absent"
    return text if len(text) <= 200 else f"{text[:200]}..."


def to_json(value: Any) -> bytes:
    """The bytes of a JSON file of a gallery."""
    return (json.dumps(value, indent=1) + "\n").encode()
