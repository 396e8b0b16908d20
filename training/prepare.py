"""Prepare the training data of `mini`: the split, augmented views of the pictures, and the teacher's answers to them.

Everything that a training step would otherwise compute again and again is computed once and kept on disk, so that a
step costs the student alone. The steps are resumed where they were interrupted.

References:
  Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (the teacher).
  Farahat et al., "An efficient greedy method for unsupervised feature selection", ICDM 2011 (the choice of channels).
"""

import argparse
import json
import math
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from PIL import Image, ImageEnhance

from lightjax import inception, weights
from lightjax.inception import MINI, InceptionV1

SIZE = 128
"""Side of the training pictures, in pixels."""

VIEWS = 3
"""Augmented views of every training picture."""

TARGETS = ("mixed3b", "mixed4a", "mixed4c", "mixed5a", "mixed5b")
"""Layers at which the student is compared with its teacher."""

CEILING = 12.0
"""Largest target that is kept, in standard deviations of the teacher's channel."""

SPLIT = Path(__file__).with_name("split.tsv")


def list_pictures(data: Path) -> list[str]:
    """All pictures as "CLASS/NAME.jpg", sorted."""
    return sorted(path.relative_to(data).as_posix() for path in data.glob("*/*.jpg"))


def make_split(pictures: list[str], seed: int = 0) -> dict[str, str]:
    """Assign 80 % of every class to training, 10 % to validation, 10 % to the test; at least one to each."""
    rng = np.random.default_rng(seed)
    by_class: dict[str, list[str]] = {}
    for picture in pictures:
        by_class.setdefault(picture.partition("/")[0], []).append(picture)
    part = {}
    for members in by_class.values():
        held_out = max(1, round(0.1 * len(members)))
        for place, index in enumerate(rng.permutation(len(members))):
            part[members[index]] = "test" if place < held_out else "val" if place < 2 * held_out else "train"
    return part


def read_split(data: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The pictures of each part, and the class names in the order of the labels.

    The file beside this script names the held-out pictures; it is written from the seed if it is not there.
    """
    pictures = list_pictures(data)
    if not SPLIT.exists():
        held_out = sorted((p, where) for p, where in make_split(pictures).items() if where != "train")
        SPLIT.write_text("".join(f"{picture}\t{where}\n" for picture, where in held_out))
    part = dict(line.split("\t") for line in SPLIT.read_text().splitlines())
    parts = {name: [p for p in pictures if part.get(p, "train") == name] for name in ("train", "val", "test")}
    return parts, sorted({picture.partition("/")[0] for picture in pictures})


def augment(path: Path, rng: np.random.Generator) -> np.ndarray:
    """A random crop of 30 to 100 % of the picture's area, mirrored half of the time, in jittered colours."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    width, height = picture.size
    area = width * height * rng.uniform(0.3, 1.0)
    ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    w, h = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    picture = picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC, (x, y, x + w, y + h))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(rng.uniform(0.7, 1.3))
    return np.asarray(picture)


def centre(path: Path) -> np.ndarray:
    """The central square of a picture, as the student is tested."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    side = min(picture.size)
    x, y = ((length - side) / 2 for length in picture.size)
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC, (x, y, x + side, y + side)))


def write_views(data: Path, out: Path, seed: int) -> None:
    """Write the pictures of all parts, those of training in `VIEWS` views: `PART_images.npy`, `PART_labels.npy`."""
    parts, classes = read_split(data)
    (out / "classes.json").write_text(json.dumps(classes))
    for part, pictures in parts.items():
        if (out / f"{part}_labels.npy").exists():
            continue
        source = grain.MapDataset.source(pictures).seed(seed)
        views = source.map(lambda picture: centre(data / picture))
        if part == "train":
            views = source.repeat(VIEWS).random_map(lambda picture, rng: augment(data / picture, rng))
        images = np.lib.format.open_memmap(out / f"{part}_images.npy", "w+", np.uint8, (len(views), SIZE, SIZE, 3))
        for i, image in enumerate(views):
            images[i] = image
        images.flush()
        labels = [classes.index(picture.partition("/")[0]) for picture in pictures]
        np.save(out / f"{part}_labels.npy", np.resize(np.array(labels, np.int32), len(views)))
        print(f"{part}: {len(views)} views", flush=True)


def as_teacher_sees(images: np.ndarray | Array) -> Array:
    """Pictures of uint8 in [0, 1], moved by one pixel: the student's "same" padding puts its stride-2 grid there."""
    return jnp.pad(jnp.asarray(images, jnp.float32)[:, 1:, 1:] / 255, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")


def representatives(covariance: np.ndarray, count: int) -> np.ndarray:
    """Greedily choose the channels from which all others are best predicted linearly; sorted."""
    deviation = np.sqrt(np.diag(covariance))
    alive = deviation > 0.02 * np.median(deviation)
    scale = np.where(alive, 1 / np.maximum(deviation, 1e-12), 0)
    residual = covariance * scale[:, None] * scale
    chosen: list[int] = []
    for _ in range(count):
        variance = np.diag(residual)
        gain = np.where(variance > 1e-4, (residual**2).sum(0) / np.maximum(variance, 1e-4), -1.0)
        gain[chosen] = -2.0
        best = int(np.argmax(gain))
        chosen.append(best)
        if variance[best] > 1e-4:
            residual = residual - np.outer(residual[best], residual[best]) / variance[best]
    return np.sort(np.array(chosen))


def choose_channels(teacher: InceptionV1, images: np.ndarray) -> dict[str, np.ndarray]:
    """For every convolution of the student, the teacher's channels that it stands for, and their deviations.

    Returns:
      "NAME/channels" and "NAME/scale" for every convolution and for every layer of `TARGETS`.
    """
    convs = [node for node in inception.graph(MINI) if node.op == "conv"]

    @jax.jit
    def moments(x: Array) -> dict[str, tuple[Array, ...]]:
        values = teacher(as_teacher_sees(x))
        out = {}
        for node in convs:
            before = values[node.name].reshape(-1, values[node.name].shape[-1])
            after = jnp.maximum(before, 0)
            out[node.name] = (after.mean(0), after.T @ after / len(after), before.mean(0), (before**2).mean(0))
        return out

    batches = [moments(images[i : i + 32]) for i in range(0, len(images), 32)]
    mean = jax.tree.map(lambda *values: np.mean([np.asarray(v, np.float64) for v in values], 0), *batches)
    plan: dict[str, np.ndarray] = {}
    for node in convs:
        after, second, before, square = mean[node.name]
        name = node.name.removesuffix("_pre_relu_conv")
        chosen = representatives(second - np.outer(after, after), node.channels)
        plan[f"{name}/channels"] = chosen
        plan[f"{name}/scale"] = np.sqrt(square - before**2)[chosen].astype(np.float32)
    teacher_nodes = {node.name: node for node in inception.graph(teacher.architecture)}
    for layer in TARGETS:
        offset, channels = 0, []
        branches = teacher_nodes[layer].inputs
        for branch in branches:
            channels.append(offset + plan[f"{branch}/channels"])
            offset += teacher_nodes[branch].channels
        plan[f"{layer}/channels"] = np.concatenate(channels)
        plan[f"{layer}/scale"] = np.concatenate([plan[f"{branch}/scale"] for branch in branches])
    return plan


def encode(x: Array) -> Array:
    """Non-negative activations in deviations, as the uint8 whose square is proportional to them."""
    return jnp.round(255 * jnp.sqrt(jnp.clip(x / CEILING, 0, 1))).astype(jnp.uint8)


def decode(x: Array) -> Array:
    """The inverse of `encode`."""
    return CEILING * (x.astype(jnp.float32) / 255) ** 2


def write_targets(teacher: InceptionV1, out: Path, batch: int = 64) -> None:
    """Write what the teacher computes for every training view: `LAYER.npy` for all of `TARGETS`, and `pooled.npy`."""
    images = np.load(out / "train_images.npy", mmap_mode="r")
    plan = dict(np.load(out / "plan.npz"))

    @jax.jit
    def answers(x: Array) -> dict[str, Array]:
        values = teacher(as_teacher_sees(x))
        maps = {
            layer: encode(values[layer][..., plan[f"{layer}/channels"]] / plan[f"{layer}/scale"]) for layer in TARGETS
        }
        return maps | {"pooled": values["avgpool0"].astype(jnp.float16)}

    done = out / "targets_done.txt"
    start = int(done.read_text()) if done.exists() else 0
    files = {}
    for name, value in jax.eval_shape(answers, images[:1]).items():
        shape = (len(images), *value.shape[1:])
        mode = "r+" if start else "w+"
        files[name] = np.lib.format.open_memmap(out / f"{name}.npy", mode, value.dtype, shape)
    for i in range(start, len(images), batch):
        rows = images[i : i + batch]
        padded = np.concatenate([rows, np.zeros((batch - len(rows), *rows.shape[1:]), np.uint8)])
        for name, value in answers(padded).items():
            files[name][i : i + len(rows)] = value[: len(rows)]
        if i // batch % 20 == 0:
            for file in files.values():
                file.flush()
            done.write_text(str(i))
            print(f"teacher: {i} of {len(images)}", flush=True)
    for file in files.values():
        file.flush()
    done.write_text(str(len(images)))


def probe(teacher: InceptionV1, out: Path, seed: int, steps: int = 1500) -> None:
    """Fit a linear classifier on the teacher's pooled features and write its logits, the student's soft labels."""
    features = np.load(out / "pooled.npy").astype(np.float32)
    labels = np.load(out / "train_labels.npy")
    scale = features.std(0) + 1e-3
    classes = int(labels.max()) + 1
    params = (jnp.zeros((features.shape[1], classes)), jnp.zeros(classes))
    optimizer = optax.adamw(optax.cosine_decay_schedule(3e-3, steps), weight_decay=1e-1)

    def loss(params: tuple[Array, Array], x: Array, y: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(x @ params[0] + params[1], y).mean()

    @jax.jit
    def step(params: tuple[Array, Array], state: optax.OptState, x: Array, y: Array):
        updates, state = optimizer.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    state, rng = optimizer.init(params), np.random.default_rng(seed)
    for _ in range(steps):
        rows = rng.integers(len(features), size=256)
        params, state = step(params, state, features[rows] / scale, labels[rows])
    np.save(out / "logits.npy", np.asarray(features / scale @ params[0] + params[1], np.float16))
    pool = jax.jit(lambda x: teacher(as_teacher_sees(x))["avgpool0"])
    images, truth = np.load(out / "val_images.npy"), np.load(out / "val_labels.npy")
    pooled = np.concatenate([pool(images[i : i + 64]) for i in range(0, len(images), 64)])
    accuracy = (np.argmax(pooled / scale @ params[0] + params[1], 1) == truth).mean()
    print(f"linear probe of the teacher: top-1 {accuracy:.3f} on the validation pictures", flush=True)


def main() -> None:
    """Read the command line and prepare what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of Caltech-101: CLASS/*.jpg")
    parser.add_argument("teacher", help="weights file of BVLC GoogLeNet, converted by `lightjax convert`")
    parser.add_argument("out", type=Path, help="folder for the prepared data, about 3.5 GB")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    write_views(args.data, args.out, args.seed)
    teacher = weights.load_model(args.teacher)
    if not (args.out / "plan.npz").exists():
        images = np.load(args.out / "train_images.npy", mmap_mode="r")
        rows = np.sort(np.random.default_rng(args.seed).choice(len(images), 256, replace=False))
        np.savez(args.out / "plan.npz", **choose_channels(teacher, images[rows]))
    write_targets(teacher, args.out)
    probe(teacher, args.out, args.seed)


if __name__ == "__main__":
    main()
