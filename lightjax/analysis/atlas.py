"""The activation atlas: the directions that occur in a layer, laid out as a map of pictures."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lightjax import _checks, batching, objectives
from lightjax._activations import call
from lightjax._structure import Model, by_structure
from lightjax.analysis import layout as layouts
from lightjax.analysis.atlas_result import Atlas
from lightjax.analysis.layout import Layout
from lightjax.analysis.reading import Keeper, check_same, file_to_resume, made_with
from lightjax.analysis.rest import opened, shapes_of
from lightjax.analysis.sample import Sample
from lightjax.contracts import own_channels
from lightjax.render import visualize_many
from lightjax.result import NonFiniteError

RIDGE = 1e-3
"""What is added to the covariance before it is inverted, in parts of its mean variance."""


def atlas(
    sample: Sample,
    layer: str | None = None,
    *,
    layout: Layout = "tsne",
    cells: int | Sequence[int] = 20,
    least: int = 6,
    whiten: bool = False,
    size: int = 48,
    steps: int = 64,
    power: float = 4,
    model: Model | str | os.PathLike | None = None,
    seed: int = 0,
    resume: str | os.PathLike | None = None,
    progress: bool = True,
) -> Atlas:
    """Show the directions that occur in a layer as a map: pictures, of which neighbors mean similar things.

    The vectors of a sample are laid out in a plane, the plane is cut into cells, and for the mean of the vectors of
    each cell a small picture is optimized whose center has this direction. All pictures have one seed, so that similar
    directions give pictures that fit together. The atlas says how well the pictures show what they stand for
    (`Atlas.home`), and keeps for each cell its vectors, their photographs, and the classes that they add to.

    Examples:
      >>> sample = lj.sample("photographs", "mixed4d", number=2000, resume="sample.safetensors")
      >>> atlas = lj.atlas(sample, "mixed4d", cells=(10, 20), resume="atlas.safetensors")
      >>> atlas.save_page("atlas")

    Args:
      sample: Activations, as `lj.sample` takes them.
      layer: A layer of the sample; by default its first one.
      layout: "tsne", scikit-learn's t-SNE of the directions; "umap", umap-learn's UMAP (the extra `umap`); points
        `[N, 2]`, x to the right and y downwards; or a function from vectors `[N, c]` to points, such as
        `umap.UMAP(...).fit_transform`. Points are scaled to the unit square, unless they lie in it: the 1st and the
        99th percentile get margins of 1/12, and what lies beyond is moved to the side.
      cells: Cells along each side, from 1 to 512; or several numbers, for a map with several zooms.
      least: Least number of vectors in a cell that gets a picture.
      whiten: Whether to multiply the means by the inverse of the second moments of all vectors (with a ridge of 0.001
        of the mean variance), as the published atlases do. It takes out what all directions have in common, and points
        elsewhere: of mixed4d's pictures 63 % are then at home, instead of 90 % (docs/atlas.md).
      size: Side of each picture in pixels, at least 8.
      steps: Number of updates of each picture.
      power: Weight of the angle relative to the length (see `objectives.direction_neuron`).
      model: The network of the sample.
      seed: Seed of the layout and of all pictures.
      resume: A file (.safetensors) that keeps the atlas, from time to time and at the end. The same call goes on where
        an earlier one ended, even if it was killed, and gives the same bytes.
      progress: Whether to show a progress bar.

    Returns:
      The atlas, which shows and saves itself.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If an argument has a wrong value, the network is not the sample's, no cell of a zoom has enough
        vectors, or `resume` holds something else.
      NonFiniteError: If a picture's objective stops being finite.
      ImportError: If the library of the layout is not installed.
      WeightsError: If the network cannot be found or loaded.
      OSError: If `resume` cannot be written.

    References:
      Carter et al., "Activation Atlas", Distill, 2019. There UMAP lays out, and the pictures follow the dot product
      with whitened means.
    """
    if not isinstance(sample, Sample):
        raise TypeError(f"sample must be a Sample, as lj.sample returns it, got {_checks.shown(sample)}")
    layer = sample.layers[0] if layer is None else _checks.one_of(layer, sample.layers, "layer")
    zooms = _zooms(cells)
    least, whiten = _checks.count(least, "least"), _checks.flag(whiten, "whiten")
    size, steps = _checks.count(size, "size", least=8), _checks.count(steps, "steps", least=0)
    power, progress = _checks.number(power, "power", least=0), _checks.flag(progress, "progress")
    seed = _checks.whole(seed, "seed", least=0, most=2**32 - 1)
    resume = file_to_resume(resume)
    model = opened(model)
    if made_with(model)["model"] != sample.settings["model"]:
        raise ValueError(
            f"model must be the network of the sample, {sample.settings['model']}, got {made_with(model)['model']}"
        )
    shape = shapes_of(model, (1, size, size, own_channels(model)))[layer].shape
    if len(shape) != 4 or shape[-1] != sample.of(layer).shape[1]:
        raise ValueError(
            f"model must give {layer!r} {sample.of(layer).shape[1]} channels, as the sample has, got {list(shape)}"
        )

    vectors = sample.of(layer)
    settings = made_with(model, layer=layer, sample=_digest(sample.vectors, sample.evidence, sample.places))
    settings |= {
        "layout": _named(layout),
        "least": least,
        "whiten": whiten,
        "size": size,
        "steps": steps,
        "power": float(power),
    }
    settings |= {"seed": seed, "folder": sample.settings["folder"], "square": sample.settings["size"]}
    if resume is not None and resume.exists():
        found = Atlas.read(resume)
        check_same(resume, {**settings, "cells": zooms}, {**found.settings, "cells": found.zooms})
    else:
        points = layouts.placed(vectors, layout, seed)
        found = _begun(settings, sample, layer, points, zooms, least)
    return _rendered(found, vectors, model, resume, progress)


def whitening(vectors: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """The inverse of the second moments of vectors `[N, c]`, `[c, c]`: of X'X / N plus a ridge.

    Without the ridge, of `ridge` times the mean of the diagonal, the inverse follows what rounding leaves of the
    directions that never occur.
    """
    x = np.asarray(vectors, np.float64)
    moments = x.T @ x / len(x)
    return np.linalg.inv(moments + ridge * moments.diagonal().mean() * np.eye(len(moments)))


def _zooms(cells: int | Sequence[int]) -> list[int]:
    """The numbers of cells along each side, the smallest first."""
    listed: list[Any] = _checks.several(cells, "cells", "numbers") if _checks.is_several(cells) else [cells]
    zooms = sorted(_checks.whole(one, "cells", least=1, most=512) for one in listed)
    if not zooms or len({*zooms}) < len(zooms):
        raise ValueError(f"cells must be one number or several different ones, got {_checks.shown(cells)}")
    return zooms


def _named(layout: Layout) -> str:
    """What the settings say of a layout: its name, or a hash of its points."""
    if isinstance(layout, str):
        return layout
    if callable(layout):
        return getattr(layout, "__qualname__", type(layout).__name__)
    return _digest(np.asarray(_checks.numbers(layout, "layout")))


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:12]


def _begun(
    settings: dict[str, Any], sample: Sample, layer: str, points: np.ndarray, zooms: list[int], least: int
) -> Atlas:
    """An atlas without pictures: its cells, with what is known of their vectors."""
    vectors, evidence = sample.of(layer), sample.for_classes(layer)
    cells, counts, means, added = [], [], [], []
    likeness = np.zeros((len(points), len(zooms)), np.float32)
    units = layouts.directions(vectors)
    for zoom, number in enumerate(zooms):
        places = layouts.cell_of(points, number)
        found, inverse = np.unique(places, axis=0, return_inverse=True)
        for i, (row, column) in enumerate(found):
            inside = inverse.ravel() == i
            mean = vectors[inside].mean(0)
            if inside.sum() >= least and mean.any():
                cells.append((zoom, row, column))
                counts.append(inside.sum())
                means.append(mean)
                added.append(evidence[inside].mean(0))
                likeness[inside, zoom] = units[inside] @ layouts.directions(mean)
        if not cells or cells[-1][0] != zoom:
            raise ValueError(
                f"least must be at most the vectors of the fullest cell, and none of {number}x{number} cells has "
                f"{least}: take fewer cells or a larger sample"
            )
    return Atlas(
        settings,
        zooms=zooms,
        points=points,
        sources=sample.sources,
        places=sample.places,
        likeness=likeness,
        cells=np.array(cells, np.int32),
        counts=np.array(counts, np.int32),
        means=np.stack(means).astype(np.float32),
        evidence=np.stack(added).astype(np.float32),
        class_names=sample.class_names,
        icons=np.zeros((0, 0, 0, 3), np.float32),
        landed=np.zeros((0, vectors.shape[1]), np.float32),
    )


def _rendered(atlas: Atlas, vectors: np.ndarray, model: Model, resume: Path | None, progress: bool) -> Atlas:
    """The atlas with all its pictures; those that it has stay."""
    about, layer = atlas.settings, atlas.settings["layer"]
    targets = atlas.means @ whitening(vectors) if about["whiten"] else atlas.means
    goals = objectives.direction_neuron(layer, layouts.directions(targets).astype(np.float32), power=about["power"])
    chunk = batching.CPU_CHUNK if jax.default_backend() == "cpu" else batching.CHUNK * len(jax.local_devices())
    done = len(atlas.icons) // chunk * chunk if len(atlas.icons) < len(atlas.cells) else len(atlas.icons)
    icons, landed = [*atlas.icons[:done]], [*atlas.landed[:done]]
    if done:
        _check_network(atlas, model, chunk, resume)
    elif resume is not None:
        atlas.save(resume)  # the layout is not computed again

    def joined() -> Atlas:
        return atlas.with_icons(np.stack(icons), np.stack(landed))

    keeper = Keeper(resume)
    if done < len(atlas.cells):
        left = batching.split(goals)[done:]
        for _, result in visualize_many(
            left,
            model=model,
            size=about["size"],
            steps=about["steps"],
            seed=about["seed"],
            chunk=chunk,
            progress=progress,
        ):
            if result.interrupted:
                raise KeyboardInterrupt
            if result.failed is not None:
                raise NonFiniteError(result.failed, result)
            icons.append(result.image)
            if len(icons) % chunk and len(icons) < len(atlas.cells):
                continue
            landed += [*_landed(model, np.stack(icons[len(landed) :]), layer, chunk)]
            keeper.keep(joined)
    return keeper.finish(joined())


def _landed(model: Model, icons: np.ndarray, layer: str, chunk: int) -> np.ndarray:
    """The activations at the center of pictures, `[n, c]`; at most `chunk` pictures, in one program."""
    filled = np.zeros((chunk, *icons.shape[1:]), np.float32)
    filled[: len(icons)] = icons
    return np.asarray(_centers(model, filled, layer), np.float32)[: len(icons)]


@by_structure
def _centers(model: Model, images: np.ndarray, layer: str) -> jax.Array:
    x = call(model, jnp.asarray(images))[layer]
    return x[:, x.shape[1] // 2, x.shape[2] // 2]


def _check_network(atlas: Atlas, model: Model, chunk: int, resume: Path | None) -> None:
    """Check that the first pictures of an atlas were made for this network."""
    found = _landed(model, atlas.icons[:chunk], atlas.settings["layer"], chunk)
    if not np.allclose(found, atlas.landed[: len(found)], rtol=1e-3, atol=1e-4 * np.abs(found).max()):
        raise ValueError(
            f"resume must be the file of a call with the same network, but the pictures in {resume} give other "
            "activations; choose another file, or delete it"
        )
