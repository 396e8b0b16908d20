"""What the page of a gallery shows beside its pictures: photographs that excite channels, and figures of an evaluation.

Both come last, when all pictures are there, and each is kept in a JSON file, so that it is made once.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightjax import _checks, _files
from lightjax._structure import Model
from lightjax.analysis import compared, evaluation
from lightjax.analysis import crops as dataset_examples
from lightjax.analysis import folder as photographs
from lightjax.analysis.reading import made_with
from lightjax.gallery import manifest as manifests
from lightjax.gallery import page
from lightjax.gallery.manifest import EXAMPLES

FIGURES = "evaluation.json"
"""The file of the figures."""


class Beside(NamedTuple):
    """What a page shows beside its pictures.

    Attributes:
      examples: The folder of photographs; None for none.
      evaluate: Whether to measure the pictures that excite channels.
      eye: The network that judges them; None for none.
    """

    examples: Path | None
    evaluate: bool
    eye: Model | None


def checked(
    folder: Path,
    model: Model,
    layers: Sequence[str],
    examples: Path | None,
    evaluate: bool,
    eye: Model | str | os.PathLike | None,
) -> Beside:
    """What to show, after checks that would otherwise fail at the very end.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If there are no photographs, or too few for the eye, or the eye is the network itself or has nothing
        to judge.
      OSError: If there is no folder of photographs.
      WeightsError: If the eye cannot be found or loaded.
    """
    evaluate = _checks.flag(evaluate, "evaluate")
    if examples is not None:
        photographs.pictures_in(examples, folder / EXAMPLES)
    if eye is None:
        return Beside(examples, evaluate, None)
    eye = evaluation.opened_eye(eye, model)
    if examples is not None:
        compared.judge(eye, examples, None)
    elif not any(evaluation.is_logits(layer, model) for layer in layers):
        raise ValueError("the eye has nothing to judge: give examples as well, or a layer whose channels are classes")
    return Beside(examples, True, eye)


def write_page(folder: Path, manifest: Mapping[str, Any], model: Model, beside: Beside | None, progress: bool) -> None:
    """Write the page of the existing pictures.

    Args:
      folder: The folder of the gallery.
      manifest: Its manifest.
      model: Its network.
      beside: What to look for and measure, unless that has been done; None while pictures are missing.
      progress: Whether to show progress bars.
    """
    seen, told = manifests.read_examples(folder / "examples.json"), _read_figures(folder / FIGURES)
    settings = {key: value for key, value in manifest["settings"].items() if key not in ("kinds", "channels")}
    settings["size"] = "x".join(map(str, settings["size"]))
    title = f"{', '.join(manifest['settings']['channels'])} of {settings['model'].partition('@')[0]}"

    def write() -> None:
        _files.remove_leftovers(folder / "index.html")
        shown = page.entries(folder, manifest, seen["examples"], told["figures"])
        eye = {"eye of the evaluation": told["eye"]} if told["eye"] else {}
        page.write(folder, title=title, settings=settings | manifest["versions"] | eye, entries=shown)

    write()
    if beside is None:
        return
    content = None if beside.examples is None else photographs.content(beside.examples, folder / EXAMPLES)
    if beside.examples is not None and seen["folder"] != content:
        seen = {"folder": content, "examples": _examples(folder, manifest, model, beside.examples, progress)}
        _files.remove_leftovers(folder / "examples.json")
        _files.write_atomically(folder / "examples.json", manifests.to_json(seen))
        write()
    eye = None if beside.eye is None else made_with(beside.eye)["model"]
    asked = {"eye": eye, "folder": content if eye else None}
    if beside.evaluate and asked != {key: told[key] for key in asked}:
        told = {**asked, "figures": _figures(folder, manifest, model, beside, progress)}
        _files.remove_leftovers(folder / FIGURES)
        _files.write_atomically(folder / FIGURES, manifests.to_json(told))
        write()


def _examples(
    folder: Path, manifest: Mapping[str, Any], model: Model, examples: Path, progress: bool
) -> dict[str, list[dict]]:
    """The photographs that excite each channel most, by "layer:channel"."""
    channels = {layer: manifests.parse_channels(text) for layer, text in manifest["settings"]["channels"].items()}
    _files.make_folder(folder / EXAMPLES)
    _files.remove_all_leftovers(folder / EXAMPLES)
    size, *_ = photographs.input_of(model, manifest["settings"]["size"][0])
    found = dataset_examples.find(model, examples, channels, folder / EXAMPLES, size=size, progress=progress)
    return {f"{layer}:{channel}": seen for (layer, channel), seen in found.items()}


def _figures(
    folder: Path, manifest: Mapping[str, Any], model: Model, beside: Beside, progress: bool
) -> dict[str, dict[str, float]]:
    """The figures of the picture that excites each channel, by "layer:channel"."""
    files = {
        f"{batch.layer}:{channel}": folder / names[0]
        for batch in manifests.batches_of(manifest)
        if batch.kind == "positive"
        for channel, names in zip(batch.channels, manifests.files_of(manifest, batch), strict=True)
    }
    seen = None if beside.eye is None else beside.examples
    table = evaluation.evaluate([*files.values()], model=model, eye=beside.eye, photographs=seen, progress=progress)
    rows = [dict(zip(table.columns, map(float, row), strict=True)) for row in table.values]
    return {
        name: {key: value for key, value in row.items() if not math.isnan(value)}
        for name, row in zip(files, rows, strict=True)
    }


def _read_figures(file: Path) -> dict[str, Any]:
    """The figures that are known; none, so that they are measured again, if the file is not ours."""
    nothing: dict[str, Any] = {"eye": None, "folder": "", "figures": {}}
    if not os.path.lexists(file):
        return nothing
    try:
        known = manifests.read_json(file)
        ours = (
            known.keys() == nothing.keys()
            and all(isinstance(known[key], str | None) for key in ("eye", "folder"))
            and all(
                isinstance(name, str) and key in evaluation.MEANINGS and type(value) is float
                for name, row in known["figures"].items()
                for key, value in row.items()
            )
        )
        return known if ours else nothing
    except (ValueError, TypeError, KeyError, AttributeError):
        return nothing
