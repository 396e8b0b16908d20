"""Activations at random positions of photographs, and what each adds to every class: what atlases are made of."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightjax import _checks, labels
from lightjax._structure import Model
from lightjax.analysis import drawing
from lightjax.analysis.folder import SIZE, Photographs, content, input_of, pictures_in
from lightjax.analysis.places import Part, draw, grids_of, part_of, positions_at, rests_of
from lightjax.analysis.reading import Keeper, Reading, check_same, file_to_resume, made_with
from lightjax.analysis.rest import opened
from lightjax.contracts import own_size
from lightjax.objectives.units import LOGITS

_SHOWN = 12
"""Classes or folders that a sample shows."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sample(Reading):
    """Activations of layers at N places of photographs, as `sample` takes them.

    A notebook shows for how many vectors each class is the one that they add most to.

    Attributes:
      layers: The layers.
      grids: Rows, columns and channels of each layer.
      sources: The photograph of each vector, relative to the folder; several vectors may have one.
      places: Where in the photograph each vector is, (row, column) in parts of its sides, `[N, 2]`; the same in all
        layers.
      vectors: The activations of all layers, one after the other, `[N, channels]`; `of` has those of one.
      evidence: What each vector adds to each logit, activation times gradient, `[N, layers, classes]`; no classes if
        not asked for.
      class_names: Names of the classes; empty if the network has none.
      seen: The number of files that were looked at: fewer than `settings["files"]` if the sample did not end.
    """

    layers: list[str]
    grids: list[list[int]]
    sources: list[str]
    places: np.ndarray
    vectors: np.ndarray
    evidence: np.ndarray
    class_names: list[str]
    seen: int

    def of(self, layer: str) -> np.ndarray:
        """The activations of one layer, `[N, c]`.

        Raises:
          TypeError, ValueError: If the layer is not in the sample.
        """
        ends = np.cumsum([channels for _, _, channels in self.grids])
        return np.split(self.vectors, ends[:-1], axis=1)[self._index(layer)]

    def positions(self, layer: str) -> np.ndarray:
        """The positions of the vectors in one layer, (row, column), `[N, 2]`."""
        return positions_at(self.places, self.grids[self._index(layer)])

    def for_classes(self, layer: str) -> np.ndarray:
        """What the vectors of one layer add to each logit, `[N, classes]`."""
        return self.evidence[:, self._index(layer)]

    def only(self, *names: str | int, layer: str | None = None, largest: int = 2000) -> "Sample":
        """The vectors that add to some classes: for an atlas of these classes.

        They are those that add more to one of them than to any other class, and those that add most to one of them.

        Args:
          *names: Classes, by name or number.
          layer: The layer in which this is computed; by default the first one.
          largest: How many of those that add most, and something positive, to each class.

        Raises:
          TypeError, ValueError, IndexError: If an argument is wrong, the sample was made without classes, or no vector
            adds to one of them.
        """
        found = self.for_classes(self.layers[0] if layer is None else layer)
        largest = _checks.count(largest, "largest")
        chosen = np.zeros(len(found), bool)
        if not names:
            raise ValueError("names must be at least one class, got none")
        for number in (self.class_number(name) for name in names):
            own = found[:, number]
            order = np.argsort(-own, kind="stable")[:largest]
            chosen |= (found.argmax(1) == number) & (own > 0)
            chosen[order[own[order] > 0]] = True
        if not chosen.any():
            raise ValueError(f"names must be classes that vectors add to, got {_checks.shown(list(names))}")
        return self._rows(chosen, classes=[str(name) for name in names])

    def class_number(self, name: str | int) -> int:
        """The number of a class.

        Raises:
          TypeError, ValueError, IndexError: If there is no such class, or the sample was made without classes.
        """
        classes = self.evidence.shape[-1]
        if not classes:
            raise ValueError("names of classes need a sample with classes: make it with classes=True")
        if isinstance(name, str):
            return labels.class_index(name, self.class_names)
        number = _checks.whole(name, "class", least=0)
        if number >= classes:
            raise IndexError(f"class must be less than {classes}, got {_checks.shown(number)}")
        return number

    def picture(self) -> np.ndarray:
        """Bars: for how many vectors of the last layer a class is first; without classes, vectors by folder."""
        if self.evidence.shape[-1]:
            names = [label_of(self.class_names, int(number)) for number in self.evidence[:, -1].argmax(1)]
        else:
            names = [Path(source).parent.as_posix() for source in self.sources]
        most = Counter(names).most_common(_SHOWN)
        bars = drawing.bars([name for name, _ in most], [count for _, count in most])
        return drawing.captioned(bars, f"{len(self.sources)} vectors of {', '.join(self.layers)}")

    def __repr__(self) -> str:
        ended = "" if self.seen == self.settings["files"] else f", {self.seen} of {self.settings['files']} files seen"
        return f"<Sample: {len(self.sources)} vectors of {', '.join(self.layers)}{ended}>"

    def _rows(self, chosen: np.ndarray, **settings: Any) -> "Sample":
        """Some of the vectors, by a mask `[N]`."""
        parts = {name: getattr(self, name)[chosen] for name in ("places", "vectors", "evidence")}
        sources = [source for source, kept in zip(self.sources, chosen, strict=True) if kept]
        return dataclasses.replace(self, settings={**self.settings, **settings}, sources=sources, **parts)

    def _index(self, layer: str) -> int:
        return self.layers.index(_checks.one_of(layer, self.layers, "layer"))


def sample(
    folder: str | os.PathLike,
    layers: str | Sequence[str],
    *,
    model: Model | str | os.PathLike | None = None,
    number: int = 2000,
    per_picture: int = 1,
    classes: bool = True,
    pool: str = "relaxed",
    seed: int = 0,
    size: int | None = None,
    resume: str | os.PathLike | None = None,
    progress: bool = True,
) -> Sample:
    """Take activations at random positions of the photographs of a folder, with what they add to every class.

    The network sees the middle square of each photograph, resized. In each, places are drawn at random, and the
    activations of all layers at the positions that hold these places are kept. The first and last row and column of
    every layer are left out, because the network sees the border there. The draws depend on the seed and on the
    photograph's place in the folder, and on nothing else.

    Examples:
      >>> sample = lj.sample("photographs", "mixed4d", number=2000, resume="mixed4d.safetensors")
      >>> lj.atlas(sample, "mixed4d").save_page("atlas")

    Args:
      folder: Folder of .jpg, .jpeg, .png and .webp files, and the folders inside it.
      layers: One or several names of activations with positions, `[N, h, w, c]`, of at least 3 rows and columns.
      model: A network, or the name or path of one for `load_model`; by default "bvlc_googlenet".
      number: Number of vectors. If the folder has more photographs than needed, some are drawn at random; if it has
        fewer, there are fewer vectors.
      per_picture: Vectors of each photograph, at different positions.
      classes: Whether to compute what each vector adds to each logit: the derivative of all logits in the direction of
        this one vector, that is activation times the position's own gradient, in forward mode.
      pool: Rule for the gradient of max pools, see `ops.pooling`. Activation atlases use "relaxed".
      seed: Seed of the photographs and the places, from 0 to 2**32 - 1.
      size: Side in pixels of the square that the network sees; by default 224, or the only size that it takes.
      resume: A file (.safetensors) that keeps the sample, from time to time and at the end. The same call goes on where
        an earlier one ended, even if it was killed, and gives the same bytes. The first photographs are read again, to
        see that the network is the same.
      progress: Whether to show a progress bar.

    Returns:
      The sample. A photograph that cannot be read is left out, with a warning.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, a layer has no positions or too few, the logits are not computed
        from it, the network fails for such pictures, no picture can be read, or `resume` holds something else.
      ArithmeticError: If an activation or a gradient is infinite or not a number.
      WeightsError: If the network cannot be found or loaded.
      OSError: If the folder does not exist, or `resume` cannot be written.

    References:
      Carter et al., "Activation Atlas", Distill, 2019. Lucid leaves out the first row and column only.
    """
    model, folder = opened(model), _checks.path(folder, "folder")
    names = [layers] if isinstance(layers, str) else _checks.several(layers, "layers", "names of layers")
    names = [_checks.text(name, "layers") for name in names]
    number, per_picture = _checks.count(number, "number"), _checks.count(per_picture, "per_picture")
    classes, progress = _checks.flag(classes, "classes"), _checks.flag(progress, "progress")
    seed = _checks.whole(seed, "seed", least=0, most=2**32 - 1)
    size = max(own_size(model) or (SIZE,)) if size is None else _checks.count(size, "size")
    resume = file_to_resume(resume)
    size, bands, shapes = input_of(model, size, size)
    grids = grids_of(names, shapes, per_picture)
    rests = rests_of(model, names, shapes, size, bands, pool) if classes else ()
    paths = pictures_in(folder)
    needed = min(-(-number // per_picture), len(paths))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(paths))[:needed])
    photographs = Photographs(folder, [paths[i] for i in chosen], size, bands)

    about = {"folder": str(folder.resolve()), "content": content(folder), "files": needed}
    about |= {"number": number, "per_picture": per_picture, "seed": seed, "size": size}
    about |= {"pool": pool} if classes else {}
    logits = getattr(model, "logits", LOGITS)
    width = shapes[logits].shape[-1] if classes else 0
    begun = Sample(
        made_with(model, **about),
        names,
        grids,
        sources=[],
        places=np.zeros((0, 2)),
        vectors=np.zeros((0, sum(channels for *_, channels in grids)), np.float32),
        evidence=np.zeros((0, len(names), width), np.float32),
        class_names=list(getattr(model, "class_names", ())) if classes else [],
        seen=0,
    )

    def run(start: int, progress: bool) -> Iterator[Part]:
        for batch in photographs.batches(start, progress):
            places = np.stack([draw(seed, int(chosen[i]), per_picture, grids) for i in batch.numbers])
            yield part_of(model, rests, names, logits, photographs, batch, places, grids)

    so_far = begun if resume is None else _continued(resume, begun, run)
    parts = [Part(so_far.sources, so_far.places, so_far.vectors, so_far.evidence, so_far.seen)]

    def joined() -> Sample:
        sources = [name for part in parts for name in part.sources]
        names = ("places", "vectors", "evidence")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts])[:number] for name in names}
        return dataclasses.replace(begun, sources=sources[:number], seen=parts[-1].seen, **arrays)

    keeper = Keeper(resume)
    for part in run(so_far.seen, progress) if so_far.seen < needed else ():
        parts.append(part)
        keeper.keep(joined)
    return keeper.finish(joined())


def label_of(class_names: Sequence[str], number: int) -> str:
    """A short name of a class, or its number if it has none."""
    name = class_names[number].partition(",")[0] if number < len(class_names) else ""
    return name or str(number)


def _continued(path: Path, begun: Sample, run: Any) -> Sample:
    """What an earlier call with the same arguments has left in a file; `begun`, if there is no file."""
    if not path.exists():
        return begun
    found = Sample.read(path)
    asked, there = ({**one.settings, "layers": one.layers} for one in (begun, found))
    check_same(path, asked, there)
    first = next(run(0, False))
    kept = found.vectors[: len(first.vectors)]
    if not np.allclose(first.vectors[: len(kept)], kept, rtol=1e-3, atol=1e-5) or (len(kept) == 0) != (found.seen == 0):
        raise ValueError(
            f"resume must be the file of a call with the same network, but {path} has other activations of the first "
            "photographs; choose another file, or delete it"
        )
    return found
