"""A dictionary of a layer of GoogLeNet, trained, measured and rendered: `python -m benchmarks.dictionary FOLDER`.

FOLDER holds photographs, such as Caltech-101. Seconds are those of the processor.
Without `--picture` nothing is rendered.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np

import lightjax as lj
from lightjax.analysis import drawing

POSITIONS, HELD_OUT, BATCH, SHOWN = 49, 96, 16, 6


def main() -> None:
    """Train, measure, and render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layer", default="mixed4c")
    parser.add_argument("--pictures", type=int, default=1900)
    parser.add_argument("--latents", type=int, default=2048)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--aux-weight", type=float, default=1 / 32)
    parser.add_argument("--file", type=Path, help="keep the dictionary here, and use it if it is there")
    parser.add_argument("--picture", type=Path, help="render latents into this PNG file")
    chosen = parser.parse_args()
    model = lj.load_model()
    paths = np.array(lj.pictures.find_pictures(chosen.folder))
    paths = paths[np.random.default_rng(0).permutation(len(paths))][: chosen.pictures + 2 * HELD_OUT]
    test, fresh, train = np.split(paths, [HELD_OUT, 2 * HELD_OUT])

    start = time.process_time()
    vectors = activations(model, chosen.layer, train)
    unseen = activations(model, chosen.layer, fresh).reshape(-1, vectors.shape[-1])
    print(f"{vectors.size // vectors.shape[-1]} vectors of {len(train)} photographs: {since(start)}")
    if chosen.file is not None and chosen.file.exists():
        dictionary = lj.Dictionary.read(chosen.file)
    else:
        start = time.process_time()
        fit = lj.fit_dictionary(
            vectors,
            chosen.layer,
            chosen.latents,
            k=chosen.k,
            steps=chosen.steps,
            learning_rate=chosen.learning_rate,
            aux_weight=chosen.aux_weight,
            progress=False,
        )
        print(f"{fit!r}: {since(start)}")
        dictionary = fit.dictionary
        if chosen.file is not None:
            dictionary.save(chosen.file)
    flat = vectors.reshape(-1, vectors.shape[-1])
    print(
        f"variance of {len(unseen)} vectors of other photographs explained: "
        f"{dictionary.variance_explained(unseen):.3f}, by {chosen.k} principal components "
        f"{principal(flat, unseen, chosen.k):.3f}"
    )
    start = time.process_time()
    print(f"{dictionary.recovered(model, list(test), progress=False)}: {since(start)}")
    if chosen.picture is not None:
        rendered(model, dictionary, train[:1000], flat[: 1000 * POSITIONS], chosen.picture)


def activations(model, layer: str, paths) -> np.ndarray:
    """Vectors of random positions, `[N, 49, c]`."""
    generator = np.random.default_rng(1)
    run = jax.jit(lambda network, images: network(images)[layer])
    found = []
    for i in range(0, len(paths), BATCH):
        images = np.stack([lj.load_picture(path, 224) for path in paths[i : i + BATCH]])
        full = np.zeros((BATCH, *images.shape[1:]), np.float32)
        full[: len(images)] = images
        x = np.asarray(run(model, full))[: len(images)]
        x = x.reshape(len(x), -1, x.shape[-1])
        found += [one[generator.permutation(len(one))[:POSITIONS]] for one in x]
    return np.stack(found)


def principal(train: np.ndarray, test: np.ndarray, k: int) -> float:
    """The share of the variance of `test` that the first k principal components of `train` explain."""
    mean = train.mean(0)
    directions = np.linalg.eigh(np.cov((train - mean).T))[1][:, -k:]
    x = test - mean
    return 1 - np.square(x - x @ directions @ directions.T).sum() / np.square(test - test.mean(0)).sum()


def rendered(model, dictionary: lj.Dictionary, paths, vectors: np.ndarray, file: Path) -> None:
    """Render latents in two ways, and count how often the latent of a picture is the strongest at its center."""
    latents = np.concatenate(
        [np.asarray(dictionary.encode(vectors[i : i + 4900])) for i in range(0, len(vectors), 4900)]
    )
    frequency, largest = (latents > 0).mean(0), latents.max(0)
    usual = np.flatnonzero((frequency > 0.001) & (frequency < 0.02))
    units = usual[np.argsort(-largest[usual])][:SHOWN].tolist()
    both = dictionary.on(model)
    name = f"{dictionary.layer}/latents_pre"
    ways = {
        "decoder": [lj.objectives.direction_neuron(dictionary.layer, dictionary.decoder[i], power=4) for i in units],
        "latents_pre": [lj.neuron(name, i) for i in units],
    }
    rows, of_picture = [], latents.reshape(len(paths), -1, latents.shape[-1]).max(1)
    for unit in units:
        best = np.argsort(-of_picture[:, unit])[:3]
        photographs = drawing.beside([lj.load_picture(paths[i], 96) for i in best], 2)
        rows.append([drawing.captioned(photographs, f"latent {unit}: photographs")])
    for way, goals in ways.items():
        start = time.process_time()
        results = lj.visualize_many(goals, model=both, size=96, steps=96, progress=False)
        found = dict(results)
        spent, first, ratios = since(start), 0, []
        for place, unit in enumerate(units):
            pre = np.asarray(both(found[place].images)[name][0])
            center = pre[pre.shape[0] // 2, pre.shape[1] // 2]
            first += int(center.argmax() == unit)
            ratios.append(f"{center[unit] / largest[unit]:.1f}")
            rows[place].append(drawing.captioned(found[place].image, way))
        print(f"{way}: own latent first in {first} of {len(units)}, times the largest on photographs {ratios}: {spent}")
    parts = [drawing.beside(row) for row in rows]
    half = -(-len(parts) // 2)
    lj.pictures.save(file, drawing.beside([drawing.stacked(parts[:half]), drawing.stacked(parts[half:])], 24))


def since(start: float) -> str:
    """The processor's time since a start."""
    return f"{time.process_time() - start:.0f} CPU s"


if __name__ == "__main__":
    main()
