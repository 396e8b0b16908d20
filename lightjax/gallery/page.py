"""The page of a gallery: one HTML file that shows a folder of pictures, from disk or from any web server.

Style, script and data are inside it, because a page opened from disk cannot fetch anything, and so that it is written
whole or not at all; the pictures stay beside it. Jinja2 escapes whatever comes from names and files, and a content
security policy lets no script run but the page's own.
"""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lightjax import _checks, _files, networks
from lightjax.analysis import page as pages
from lightjax.analysis.evaluated import MEANINGS
from lightjax.gallery.manifest import KINDS, Batch, batches_of, files_of
from lightjax.pictures import read_settings


def write(folder: Path, *, title: str, settings: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page of a gallery into its folder; the same arguments give the same bytes.

    Args:
      folder: Where the pictures are.
      title: What the gallery is called.
      settings: The settings shared by all pictures, as plain values, in the order of the page. The axis of the curves
        ends at "steps", if there is one.
      entries: One mapping for each channel, with

        - "layer" and "channel": its name and its number;
        - "pictures": at least one `{"kind", "file", "values"}`, whose kind is one of `KINDS`, whose file is a path
          relative to `folder` with forward slashes, and whose values are the course of the objective, first to last.
          The first positive picture stands for the channel in the grid;
        - "command": what makes them again;
        - "examples", which may be missing: pictures of a data set that excite it, `{"file", "value", "source"}`;
        - "figures", which may be missing: numbers by columns of an evaluation (see `analysis.MEANINGS`);
        - "label", which may be missing: a name, as classes have.

        Layers are shown in the order of their first entries, channels by ascending number.

    Returns:
      The page, `folder/index.html`.

    Raises:
      ValueError: If an entry has no pictures or an unknown kind, or if two entries have the same channel.
      OSError: If it cannot be written; an older page then stays as it was.
    """
    layers: dict[str, dict[int, Mapping[str, Any]]] = {}
    for entry in entries:
        channels = layers.setdefault(entry["layer"], {})
        name = f"{entry['layer']}:{entry['channel']}"
        if entry["channel"] in channels:
            raise ValueError(f"{name} is in the gallery twice")
        if not entry["pictures"]:
            raise ValueError(f"{name} has no pictures")
        for picture in entry["pictures"]:
            _checks.one_of(picture["kind"], KINDS, f"kind of a picture of {name}:")
        channels[entry["channel"]] = entry
    known = {name for entry in entries for name in entry.get("figures", ())}
    script = pages.asset("page.js", "lightjax.gallery")
    text = (
        pages.environment("lightjax.gallery")
        .get_template("page.html")
        .render(
            title=title,
            settings=[(name, _plain(value)) for name, value in settings.items()],
            steps=_plain(settings.get("steps", "")),
            figures={name: meaning for name, meaning in MEANINGS.items() if name in known},
            layers=[_layer(name, [channels[i] for i in sorted(channels)]) for name, channels in layers.items()],
            style=pages.asset("page.css", "lightjax.gallery"),
            script=script,
            script_hash=pages.fingerprint(script),
        )
    )
    path = Path(folder) / "index.html"
    _files.write_atomically(path, text.encode())
    return path


def entries(
    folder: Path, manifest: Mapping[str, Any], examples: Mapping[str, Any], figures: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The entries for `page.write`, from the metadata of the existing pictures.

    Args:
      folder: The folder of the gallery.
      manifest: Its manifest.
      examples: Photographs by "layer:channel", as `examples.find` describes them.
      figures: Numbers of an evaluation by "layer:channel".

    Returns:
      One entry for each channel with a picture, by layer in the order of the manifest, then by channel.

    Raises:
      ValueError: If a picture cannot be read.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for batch in batches_of(manifest):
        for channel, names in zip(batch.channels, files_of(manifest, batch), strict=True):
            for name in names:
                if not _files.is_regular(folder / name):
                    continue
                try:
                    settings = read_settings(folder / name)
                    values = _values(folder / name, settings, batch, channel, manifest["settings"])
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{error}; delete it, and the same command makes it again") from error
                entry = found.setdefault(
                    (batch.layer, channel),
                    {
                        "layer": batch.layer,
                        "channel": channel,
                        "pictures": [],
                        "command": "",
                        "examples": examples.get(f"{batch.layer}:{channel}", []),
                        "figures": (figures or {}).get(f"{batch.layer}:{channel}", {}),
                    },
                )
                entry["pictures"].append({"kind": batch.kind, "file": name, "values": values})
                if "unresponsive" in settings.get("outcome", {}):
                    entry["label"] = "never responded"
                if name == names[0] and (command := _command(manifest, name)) not in entry["command"]:
                    entry["command"] += "\n" * bool(entry["command"]) + command
    order = list(manifest["settings"]["channels"])
    return sorted(found.values(), key=lambda entry: (order.index(entry["layer"]), entry["channel"]))


def _values(file: Path, settings: Any, batch: Batch, channel: int, shared: Mapping[str, Any]) -> list[float]:
    """The course of the objective in the settings of a picture, after a check that they are this picture's."""
    asked = {key: shared[key] for key in ("model", "seed", "steps", "size") if key in shared}
    asked |= {"layer": batch.layer, "channel": channel, "kind": batch.kind}
    if not isinstance(settings, dict) or any(settings.get(key) != value for key, value in asked.items()):
        raise ValueError(f"{file} is another picture")
    values, outcome = settings.get("values"), settings.get("outcome", {})
    if (
        not isinstance(values, list)
        or not all(type(value) in (int, float) for value in values)
        or not isinstance(outcome, dict)
    ):
        raise ValueError(f"{file} does not say how its objective went")
    return values


def _command(manifest: Mapping[str, Any], name: str) -> str:
    """The command that renders the pictures of a channel again, in the folder of the gallery."""
    model = manifest["model"]
    if model is None:
        return "(the network was given in Python, and no command can name it)"
    option = [] if model in networks.ARCHITECTURES else ["--model", model]
    return shlex.join(["lightjax", "render", "--like", name, *option, "-o", "again.png"])


def _layer(name: str, entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template shows of a layer. A slash within its name is encoded, so that links have one meaning."""
    link = f"#{quote(name, safe='')}"
    return {
        "name": name,
        "link": link,
        "tiles": [
            {
                "channel": entry["channel"],
                "label": entry.get("label", ""),
                "link": f"{link}/{entry['channel']}",
                "source": quote(_thumbnail(entry["pictures"])),
            }
            for entry in entries
        ],
        "details": {str(entry["channel"]): _details(entry) for entry in entries},
    }


def _thumbnail(pictures: Sequence[Mapping[str, Any]]) -> str:
    return min(pictures, key=lambda picture: KINDS.index(picture["kind"]))["file"]


def _details(entry: Mapping[str, Any]) -> dict[str, Any]:
    pictures = [{**picture, "values": [_rounded(v) for v in picture["values"]]} for picture in entry["pictures"]]
    examples = [{**example, "value": _rounded(example["value"])} for example in entry.get("examples", ())]
    figures = {name: _rounded(value) for name, value in entry.get("figures", {}).items()}
    more = {"examples": examples, "figures": figures}
    return {"pictures": pictures, "command": entry["command"]} | {name: seen for name, seen in more.items() if seen}


def _rounded(value: float) -> float | None:
    """A number to the digits that are shown; None, which JSON knows, for one that is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _plain(value: Any) -> str:
    """A setting as a person would write it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case str():
            return value
        case {"kind": str(kind), **fields}:
            return f"{kind}({', '.join(f'{name}={_plain(field)}' for name, field in fields.items())})"
        case list() | tuple():
            return ", ".join(_plain(v) for v in value) or "none"
        case _:
            return json.dumps(value) if isinstance(value, dict) else str(value)
