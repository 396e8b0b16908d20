"""Activation grids, measured: `python -m benchmarks.grid PICTURE [--layer mixed4d] [--steps 64] [--save FOLDER]`.

For three ways to make the cells: processor seconds of the renders, with their compilation; the cosine between each
vector and the activation of the finished picture at its center, without transforms; and how alike neighbors are, as
the root mean square difference of two neighbors' pictures over that of two random cells.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np

import lightjax as lj
from lightjax.analysis.grid_section import CROP
from lightjax.analysis.rest import images_of
from lightjax.pictures import save

PAIRS = 2000
BATCH = 14


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("picture", type=Path)
    options.add_argument("--layer", default="mixed4d")
    options.add_argument("--size", type=int, default=48)
    options.add_argument("--steps", type=int, default=64)
    options.add_argument("--save", type=Path, help="folder for the grids as pictures")
    chosen = options.parse_args()
    model, layer = lj.load_model(), chosen.layer
    read = jax.jit(lambda model, images: model(images)[layer])
    vectors = np.asarray(read(model, images_of(chosen.picture, model))[0])
    height, width, channels = vectors.shape
    units = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).reshape(-1, channels)
    jobs = np.arange(len(units))
    ways = {
        "`direction_neuron(power=4)`, one seed": (lj.objectives.direction_neuron(layer, units, power=4), 0),
        "the same, each its own seed": (lj.objectives.direction_neuron(layer, units, power=4), jobs.tolist()),
        "`direction(power=0)`, one seed": (lj.direction(layer, units), 0),
    }
    print("| objective | CPU s | cosine at the center | neighbors / random pairs |\n|---|---|---|---|")
    for name, (goal, seed) in ways.items():
        start = time.process_time()
        settings = {"model": model, "size": chosen.size, "steps": chosen.steps, "progress": False}
        results = lj.visualize_many(goal, seed=seed, **settings).in_order()
        seconds = time.process_time() - start
        pictures = np.stack([result.image for result in results])
        # As `neuron` has it: of two middle positions the second.
        batches = [read(model, pictures[i : i + BATCH]) for i in range(0, len(pictures), BATCH)]
        found = np.concatenate([np.asarray(x)[:, x.shape[1] // 2, x.shape[2] // 2] for x in batches])
        cosine = (found * units).sum(-1) / np.linalg.norm(found, axis=-1)
        near, far = differences(pictures.reshape(height, width, *pictures.shape[1:]))
        print(
            f"| {name} | {seconds:.0f} | {cosine.mean():.3f} | {near:.3f} / {far:.3f} = {near / far:.2f} |", flush=True
        )
        if chosen.save:
            cells = pictures[:, CROP:-CROP, CROP:-CROP].reshape(
                height, width, *pictures[0, CROP:-CROP, CROP:-CROP].shape
            )
            save(chosen.save / f"{len(name)}.png", np.concatenate(np.concatenate(cells, 1), 1))
    start = time.process_time()
    lj.activation_grid(chosen.picture, layer, model=model, size=chosen.size, steps=chosen.steps, progress=False)
    print(
        f"\n`lj.activation_grid`, with channels and classes, compiled before: {time.process_time() - start:.0f} CPU s"
    )


def differences(cells: np.ndarray) -> tuple[float, float]:
    """Mean root mean square difference of neighbors, and of random pairs of cells, `[h, w, H, W, C]`."""
    apart = lambda a, b: np.sqrt(((a - b) ** 2).mean((-3, -2, -1))).ravel()
    near = np.concatenate([apart(cells[1:], cells[:-1]), apart(cells[:, 1:], cells[:, :-1])]).mean()
    flat, random = cells.reshape(-1, *cells.shape[2:]), np.random.default_rng(0)
    first, second = random.integers(len(flat), size=(2, PAIRS))
    differ = first != second
    return float(near), float(apart(flat[first[differ]], flat[second[differ]]).mean())


if __name__ == "__main__":
    main()
