"""Train `mini` on the data that `prepare.py` made, and export it as a weights file of lightjax.

References:
  Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
  Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015 (matching the teacher's activations).
  Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015 (the adversarial step).
"""

import argparse
import csv
import dataclasses
import hashlib
import json
import time
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import safetensors.numpy
from jax import Array
from network import LOGITS, Params, Stats, fold, forward, initial, transplant
from prepare import TARGETS, decode

from lightjax import files, weights
from lightjax.inception import MINI

Batch = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
      transplant: Whether to start from the teacher (`network.transplant`) rather than at random.
      hard: Weight of the cross-entropy with the true classes, smoothed by 0.1.
      soft: Weight of the divergence from the teacher's class probabilities.
      match: Weight of the error in the teacher's activations, as a share of their variance, summed over layers.
      noise: Largest deviation of the Gaussian noise that is added to a picture, drawn anew for each.
      adversarial: Largest length of the adversarial step in every colour value, drawn anew for each picture.
      rate: Peak learning rate.
    """

    transplant: bool = True
    hard: float = 1.0
    soft: float = 0.5
    match: float = 5.0
    noise: float = 0.0
    adversarial: float = 0.0
    rate: float = 1e-3


RECIPES = {
    "plain": Recipe(transplant=False, soft=0, match=0, rate=2e-3),
    "distilled": Recipe(transplant=False, rate=2e-3),
    "transplanted": Recipe(),
    "robust": Recipe(hard=0.5, soft=0.25, match=8.0, noise=0.08, adversarial=0.03, rate=1.5e-3),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    """All that changes while training."""

    step: Array
    params: Params
    average: Params
    optimizer: optax.OptState


def load(data: Path, batch: int, seed: int) -> grain.MapDataset:
    """Shuffled batches of pictures, labels and the teacher's answers, without end; batch `i` is always the same."""
    labels, logits = np.load(data / "train_labels.npy"), np.load(data / "logits.npy")
    images = np.load(data / "train_images.npy", mmap_mode="r")
    maps = {layer: np.load(data / f"{layer}.npy", mmap_mode="r") for layer in TARGETS}

    def read(rows: np.ndarray) -> dict[str, np.ndarray]:
        answers = {layer: values[rows] for layer, values in maps.items()}
        return answers | {"images": images[rows], "labels": labels[rows], "logits": logits[rows].astype(np.float32)}

    return grain.MapDataset.range(len(labels)).seed(seed).shuffle().repeat().batch(batch).map(read)


def some_views(data: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Training views drawn at random, in random order, always the same; and their rows."""
    images = np.load(data / "train_images.npy", mmap_mode="r")
    rows = np.random.default_rng(0).permutation(len(images))[:count]
    return images[rows], rows


def losses(recipe: Recipe, params: Params, images: Array, batch: Batch) -> tuple[Array, dict[str, Array]]:
    """The loss to be minimised, and its parts."""
    values, _ = forward(params, images)
    logits = values[LOGITS]
    parts = {}
    if recipe.hard:
        targets = optax.smooth_labels(jax.nn.one_hot(batch["labels"], MINI.classes), 0.1)
        parts["hard"] = optax.softmax_cross_entropy(logits, targets).mean()
    if recipe.soft:
        wanted, found = jax.nn.log_softmax(batch["logits"] / 2), jax.nn.log_softmax(logits / 2)
        parts["soft"] = 4 * jnp.sum(jnp.exp(wanted) * (wanted - found), axis=-1).mean()
    if recipe.match:
        for layer in TARGETS:
            wanted = decode(batch[layer])
            variance = jnp.mean((wanted - wanted.mean((0, 1, 2))) ** 2)
            parts[layer] = jnp.mean((values[layer] - wanted) ** 2) / variance
    weight = {"hard": recipe.hard, "soft": recipe.soft} | dict.fromkeys(TARGETS, recipe.match / len(TARGETS))
    return sum((weight[name] * part for name, part in parts.items()), jnp.zeros(())), parts


def perturb(recipe: Recipe, key: Array, params: Params, batch: Batch) -> Array:
    """The pictures of a batch in [0, 1]: the first half under noise, the other half after an adversarial step."""
    images = batch["images"].astype(jnp.float32) / 255
    keys = jax.random.split(key, 3)
    shape = (len(images), 1, 1, 1)
    if recipe.noise:
        deviation = recipe.noise * jax.random.uniform(keys[0], shape)
        images = images + deviation * jax.random.normal(keys[1], images.shape)
    if recipe.adversarial:
        half = len(images) // 2
        chosen = jax.tree.map(lambda x: x[half:], batch)
        clean = chosen["images"].astype(jnp.float32) / 255
        gradient = jax.grad(lambda x: losses(recipe, params, x, chosen)[0])(images[half:])
        length = recipe.adversarial * jax.random.uniform(keys[2], (len(clean), 1, 1, 1), minval=0.2)
        images = jnp.concatenate([images[:half], clean + length * jnp.sign(gradient)])
    return jnp.clip(images, 0, 1)


def schedule(recipe: Recipe, steps: int) -> optax.Schedule:
    """A short warm-up, then a cosine to zero."""
    return optax.warmup_cosine_decay_schedule(0.0, recipe.rate, min(50, steps // 10), steps)


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """AdamW with clipped gradients; decay on kernels only."""
    decayed = lambda params: {name: name.endswith("kernel") for name in params}
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(schedule(recipe, steps), weight_decay=0.02, mask=decayed),
    )


def calibrate(params: Params, images: np.ndarray, batch: int = 64) -> Stats:
    """The statistics of batch normalisation under given parameters, over pictures of uint8."""
    used = [_statistics(params, images[i : i + batch]) for i in range(0, len(images), batch)]
    mean = jax.tree.map(lambda *values: sum(values) / len(values), *used)
    for name in [name for name in mean if name.endswith("var")]:
        between = [(part[name.replace("var", "mean")] - mean[name.replace("var", "mean")]) ** 2 for part in used]
        mean[name] += sum(between) / len(between)
    return mean


def fit_classifier(params: Params, images: np.ndarray, logits: np.ndarray, ridge: float = 0.1) -> Params:
    """The classifier whose logits are closest to given ones, by ridge regression on the pooled activations."""
    pool = jax.jit(lambda x: forward(params, x.astype(jnp.float32) / 255)[0]["avgpool0"])
    x = np.concatenate([pool(images[i : i + 64]) for i in range(0, len(images), 64)]).astype(np.float64)
    y = logits - logits.mean(1, keepdims=True, dtype=np.float32)
    mean_x, mean_y = x.mean(0), y.mean(0, dtype=np.float64)
    square = (x - mean_x).T @ (x - mean_x) / len(x)
    square += ridge * np.trace(square) / len(square) * np.eye(len(square))
    kernel = np.linalg.solve(square, (x - mean_x).T @ (y - mean_y) / len(x))
    bias = mean_y - mean_x @ kernel
    return {f"{LOGITS}/kernel": jnp.asarray(kernel, jnp.float32), f"{LOGITS}/bias": jnp.asarray(bias, jnp.float32)}


@jax.jit
def _statistics(params: Params, images: Array) -> Stats:
    return forward(params, images.astype(jnp.float32) / 255)[1]


@jax.jit
def _predict(params: Params, stats: Stats, images: Array) -> Array:
    return jnp.argmax(forward(params, images.astype(jnp.float32) / 255, stats)[0][LOGITS], axis=-1)


def accuracy(params: Params, stats: Stats, data: Path, part: str, size: int = 61) -> tuple[float, float]:
    """Top-1 accuracy on the held-out pictures of a part, over all pictures and as the mean over classes."""
    images, labels = np.load(data / f"{part}_images.npy"), np.load(data / f"{part}_labels.npy")
    found = np.concatenate([_predict(params, stats, images[i : i + size]) for i in range(0, len(images), size)])
    right = found == labels
    return float(right.mean()), float(np.mean([right[labels == c].mean() for c in np.unique(labels)]))


def export(params: Params, stats: Stats, classes: list[str], path: Path) -> None:
    """Write a weights file of lightjax, in float16."""
    folded = fold(params, stats)
    digest = hashlib.sha256(b"".join(folded[name].tobytes() for name in sorted(folded))).hexdigest()
    metadata = {
        "format": "lightjax",
        "lightjax": "0.1.0",
        "architecture": MINI.name,
        "classes": str(MINI.classes),
        "class_names": json.dumps(classes),
        "source": "trained on Caltech-101 (CC BY 4.0), see training/README.md",
        "sha256": digest,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, safetensors.numpy.save(folded, metadata))


def start(recipe: Recipe, data: Path, teacher: str, seed: int) -> Params:
    """The parameters to begin with; those transplanted from the teacher are kept beside the data."""
    if not recipe.transplant:
        return initial(seed)
    path = data / f"transplant-{seed}.npz"
    if not path.exists():
        plan, logits = dict(np.load(data / "plan.npz")), np.load(data / "logits.npy")
        images = np.load(data / "train_images.npy", mmap_mode="r")
        rows = np.sort(np.random.default_rng(seed + 1).choice(len(images), 512, replace=False))
        params = transplant(weights.load_model(teacher), plan, images[rows], seed)
        images, rows = some_views(data, 4096)
        np.savez(path, **params | fit_classifier(params, images, logits[rows]))
    return {name: jnp.asarray(value, jnp.float32) for name, value in np.load(path).items()}


def main() -> None:
    """Read the command line, train, test and export."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder that prepare.py wrote")
    parser.add_argument("out", type=Path, help="folder for checkpoints, curves and weights; an unfinished run resumes")
    parser.add_argument("--recipe", choices=RECIPES, default="robust")
    parser.add_argument("--teacher", default="", help="weights file of BVLC GoogLeNet, for recipes that start from it")
    parser.add_argument("--start", type=Path, help="checkpointed parameters (average.npz) to start from instead")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--every", type=int, default=250, help="steps between validations and checkpoints")
    parser.add_argument("--rate", type=float, help="peak learning rate, instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[args.recipe]
    recipe = dataclasses.replace(recipe, rate=args.rate or recipe.rate)
    optimizer = make_optimizer(recipe, args.steps)

    if args.start:
        params = {name: jnp.asarray(value) for name, value in np.load(args.start).items()}
    else:
        params = start(recipe, args.data, args.teacher, args.seed)
    some = some_views(args.data, 768)[0]
    stats = calibrate(params, some)
    print(f"at the start: top-1 {accuracy(params, stats, args.data, 'val')[0]:.3f}", flush=True)
    state = State(jnp.zeros((), jnp.int32), params, params, optimizer.init(params))
    manager = ocp.CheckpointManager(out / "checkpoints", options=ocp.CheckpointManagerOptions(max_to_keep=1))
    if manager.latest_step() is not None:
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        state = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(abstract))
        print(f"resumed at step {int(state.step)}", flush=True)

    @jax.jit
    def update(state: State, key: Array, batch: Batch) -> tuple[State, dict[str, Array]]:
        key = jax.random.fold_in(key, state.step)
        images = perturb(recipe, key, state.params, batch)
        value_and_gradient = jax.value_and_grad(losses, argnums=1, has_aux=True)
        (loss, parts), gradient = value_and_gradient(recipe, state.params, images, batch)
        updates, moments = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        keep = jnp.minimum(0.998, (1 + state.step) / (10 + state.step))
        average = jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, state.average, params)
        return State(state.step + 1, params, average, moments), parts | {"loss": loss}

    step, key = int(state.step), jax.random.key(args.seed)
    dataset = load(args.data, args.batch, args.seed)[step:]
    batches = iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=3)))
    since, begun, sums = time.monotonic(), step, []
    while step < args.steps:
        state, parts = update(state, key, next(batches))
        sums.append(parts)
        step += 1
        if step % args.every and step != args.steps:
            continue
        mean = {name: float(np.mean([float(part[name]) for part in sums])) for name in parts}
        speed = (step - begun) * args.batch / (time.monotonic() - since)
        top1, per_class = accuracy(state.average, calibrate(state.average, some), args.data, "val")
        row = {"step": step, "images_per_second": speed, "val_top1": top1, "val_per_class": per_class} | mean
        manager.save(step, args=ocp.args.StandardSave(state))
        new = not (out / "curves.csv").exists()
        with (out / "curves.csv").open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow({name: f"{value:.4g}" if name != "step" else value for name, value in row.items()})
        print({name: round(value, 3) for name, value in row.items()}, flush=True)
        since, begun, sums = time.monotonic(), step, []
    manager.wait_until_finished()

    stats = calibrate(state.average, some)
    np.savez(out / "average.npz", **state.average)
    export(state.average, stats, json.loads((args.data / "classes.json").read_text()), out / "mini.safetensors")
    for part in ("val", "test"):
        top1, per_class = accuracy(state.average, stats, args.data, part)
        print(f"{part}: top-1 {top1:.4f}, mean over classes {per_class:.4f}", flush=True)


if __name__ == "__main__":
    main()
