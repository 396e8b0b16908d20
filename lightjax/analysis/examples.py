"""Photographs of a folder as examples of anything: one pass for all objectives, which can be resumed."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lightjax import _checks
from lightjax._structure import Model
from lightjax.analysis import measure
from lightjax.analysis.folder import SIZE, Photographs, content, input_of, pictures_in
from lightjax.analysis.found import Examples
from lightjax.analysis.reading import Keeper, check_same, file_to_resume, made_with
from lightjax.analysis.rest import goal_of, opened
from lightjax.contracts import own_size
from lightjax.objectives import Objective

_LONGEST = 200
"""Most characters of the name of an objective."""


def examples(
    objectives: str | Objective | Callable | Sequence[str | Objective | Callable],
    folder: str | os.PathLike,
    *,
    model: Model | str | os.PathLike | None = None,
    count: int = 6,
    size: int | None = None,
    at: str = "maximum",
    per_picture: int = 1,
    expand: float = 1.0,
    quantiles: int = 0,
    resume: str | os.PathLike | None = None,
    progress: bool = True,
) -> Examples:
    """Find the photographs of a folder that excite anything most, in one pass for all objectives.

    The network sees the middle square of each photograph, resized, and in gray if it takes one channel. The value of a
    photograph is the objective of this photograph by itself. An objective that is a channel, a direction, a whole
    layer, or arithmetic with several of one layer, has a value at each position of the layer; the value of the
    photograph is the largest of these, and its example is the patch that the position sees: a square of the size of the
    receptive field, moved so that it lies inside the photograph. It is the whole square for all other objectives (a
    class, a neuron, a window, a function), where the layer has no rows and columns, and where the network has no table
    `layers` with receptive fields.

    Examples:
      >>> found = lj.examples(["mixed4d:220", "class_logit('dalmatian')"], "photographs", quantiles=5)
      >>> found.save("sheet.png")
      >>> found.classes("mixed4d:220", best=100)[:3]

    Args:
      objectives: One or several of what `visualize` takes: strings, objectives, functions of the activations.
      folder: Folder of .jpg, .jpeg, .png and .webp files; the folders inside it are the classes.
      model: A network, or the name or path of one for `load_model`.
      count: Number of examples of each objective on the sheet.
      size: Side in pixels of the square that the network sees; by default 224, or the only size that it takes.
      at: "maximum" as said above, or "mean": every objective as it is, which is the mean over the positions for
        channels and directions; the examples are whole squares.
      per_picture: How many patches of one photograph count at most. Each has a value that none of the eight positions
        around it exceeds.
      expand: Side of a patch relative to the receptive field. Late layers see nearly all of a photograph, but mostly
        what lies near the middle of their field: 0.4 shows that.
      quantiles: Number of parts of the range of values on the sheet (see `Examples.spread`); 0 for none.
      resume: A file (.safetensors) that keeps what was found, from time to time and at the end. The same call goes on
        where an earlier one ended, even if it was killed, and gives the same bytes. `Examples.read` reads the file,
        also before the end. The first photographs are measured again, to see that network and functions are the same.
      progress: Whether to show a progress bar.

    Returns:
      The values of all photographs (8 bytes for each objective, photograph and patch), and what follows from them.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, the network fails for such pictures, the folder has no readable
        picture, or `resume` holds something else.
      IndexError: If an objective reads a channel, class or position that is not there.
      ArithmeticError: If a value is infinite or not a number.
      WeightsError: If the network cannot be found or loaded.
      OSError: If the folder does not exist, or `resume` cannot be written.

    References:
      Olah et al., "Feature Visualization", Distill, 2017; OpenAI Microscope, 2020, for the whole range.
    """
    model, folder = opened(model), _checks.path(folder, "folder")
    at = _checks.one_of(at, measure.WAYS, "at")
    count, per_picture = _checks.count(count, "count"), _checks.count(per_picture, "per_picture")
    expand = _checks.number(expand, "expand", above=0)
    quantiles = _checks.whole(quantiles, "quantiles", least=0, most=_checks.LARGEST)
    progress = _checks.flag(progress, "progress")
    size = max(own_size(model) or (SIZE,)) if size is None else _checks.count(size, "size")
    resume = file_to_resume(resume)
    listed: list[Any] = (
        _checks.several(objectives, "objectives", "objectives") if _checks.is_several(objectives) else [objectives]
    )
    if not listed:
        raise ValueError("objectives must be at least one, got none")
    _, bands, shapes = input_of(model, size, size)
    goals = [goal_of(one, model, shapes) for one in listed]
    names = _names(listed)
    grids = [measure.grid_of(goal, model, shapes, size, at, expand) for goal in goals]
    photographs = Photographs(folder, pictures_in(folder), size, bands)

    about = {"folder": str(folder.resolve()), "content": content(folder), "files": len(photographs.paths)}
    arrays = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(goals))).hexdigest()[:12]
    settings = made_with(model, **about, arrays=arrays, size=size, at=at, per_picture=per_picture)
    nothing = np.zeros((len(goals), 0, per_picture))
    empty = (nothing.astype(np.float32), nothing.astype(np.int32), [list(grid) for grid in grids], 0, count, quantiles)
    begun = Examples(settings, names, [], *empty)

    run = lambda start, progress: measure.measured(
        model, goals, names, photographs, at=at, most=per_picture, start=start, progress=progress
    )
    so_far = begun if resume is None else _continued(resume, begun, run)
    parts, sources = [(so_far.peaks, so_far.positions)], list(so_far.photographs)

    def joined(seen: int) -> Examples:
        peaks, positions = (np.concatenate(arrays, 1) for arrays in zip(*parts, strict=True))
        return dataclasses.replace(begun, photographs=sources, peaks=peaks, positions=positions, seen=seen)

    seen, keeper = so_far.seen, Keeper(resume)
    for batch in run(seen, progress) if seen < about["files"] else ():
        parts.append((batch.values.swapaxes(0, 1), batch.positions.swapaxes(0, 1).astype(np.int32)))
        sources += [photographs.paths[i].relative_to(folder).as_posix() for i in batch.numbers]
        seen = batch.seen
        keeper.keep(lambda seen=seen: joined(seen))
    return keeper.finish(joined(seen))


def _continued(path: Path, begun: Examples, run: Callable) -> Examples:
    """What an earlier call with the same arguments has left in a file; `begun`, if there is no file."""
    if not path.exists():
        return begun
    found = Examples.read(path)
    asked = {**begun.settings, "objectives": begun.objectives}
    there = {**found.settings, "objectives": found.objectives}
    check_same(path, asked, there)
    first = next(run(0, False))
    values, kept = first.values.swapaxes(0, 1), found.peaks[:, : len(first.numbers)]
    if values.shape != kept.shape or not np.allclose(values, kept, rtol=1e-3, atol=1e-5):
        raise ValueError(
            f"resume must be the file of a call with the same network and functions, but {path} has other values "
            "for the first photographs; choose another file, or delete it"
        )
    return found


def _names(listed: Sequence[Any]) -> list[str]:
    """What the objectives are called: strings as they are, others as they print, and equals with a number."""
    found: list[str] = []
    for one in listed:
        text = one if isinstance(one, str | Objective) else getattr(one, "__name__", type(one).__name__)
        name = _checks.in_a_line(text, _LONGEST)
        copies = sum(name == other.partition(" #")[0] for other in found)
        found.append(f"{name} #{copies + 1}" if copies else name)
    return found
