"""Activation atlases, measured: `python -m benchmarks.atlas FOLDER [--layer mixed4d] [--number 2000] [--save FOLDER]`.

Processor seconds of each stage, with its compilation; how well the layout keeps the nearest neighbors of the
directions; and how many pictures land at home, plain and whitened.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

import lightjax as lj
from lightjax.analysis import layout

NEIGHBORS = 15

T = TypeVar("T")


def timed(name: str, stage: Callable[[], T]) -> T:
    """Run a stage and print its processor seconds."""
    start = time.process_time()
    made = stage()
    print(f"{name}: {time.process_time() - start:.1f} CPU s", flush=True)
    return made


def nearest(points: np.ndarray) -> np.ndarray:
    """The nearest neighbors of each point, `[N, NEIGHBORS]`."""
    return NearestNeighbors(n_neighbors=NEIGHBORS).fit(points).kneighbors(return_distance=False)


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--layer", default="mixed4d")
    options.add_argument("--number", type=int, default=2000)
    options.add_argument("--save", type=Path, help="folder for the atlases as pictures and as a page")
    chosen = options.parse_args()
    model, layer = lj.load_model(), chosen.layer
    quiet = {"model": model, "progress": False}
    sample = timed("sample", lambda: lj.sample(chosen.folder, layer, number=chosen.number, **quiet))
    points = timed("t-SNE", lambda: layout.placed(sample.of(layer), "tsne", 0))
    units = layout.directions(sample.of(layer))
    kept = np.mean([len({*a} & {*b}) / NEIGHBORS for a, b in zip(nearest(units), nearest(points), strict=True)])
    print(f"neighbors kept: {kept:.1%}; trustworthiness {trustworthiness(units, points, n_neighbors=NEIGHBORS):.3f}")
    for whiten in (False, True):
        settings = {"layout": points, "cells": (10, 20), "whiten": whiten, **quiet}
        atlas = timed("whitened" if whiten else "pictures", lambda s=settings: lj.atlas(sample, layer, **s))
        print(atlas, *(f"{zoom}: {home}" for zoom, home in zip(atlas.zooms, atlas.homes, strict=True)), sep="\n  ")
        if chosen.save is not None:
            chosen.save.mkdir(exist_ok=True)
            atlas.save(chosen.save / ("whitened.png" if whiten else "atlas.png"))
            if not whiten:
                timed("page", lambda atlas=atlas: atlas.save_page(chosen.save))


if __name__ == "__main__":
    main()
