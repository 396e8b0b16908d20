"""Every objective beside a formula in NumPy, and the activations that the tests of objectives share."""

import jax
import jax.numpy as jnp
import numpy as np

from lightjax import objectives as o

SHAPES = {"conv": (3, 5, 4, 7), "even.0.conv": (3, 4, 6, 7), "dense": (3, 6)}
NUMPY = {name: np.random.default_rng(i).standard_normal(shape) for i, (name, shape) in enumerate(SHAPES.items())}
ACTIVATIONS = {name: jnp.asarray(x, jnp.float32) for name, x in NUMPY.items()}
STRUCTURE = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in SHAPES.items()}


def values(objectives, activations=ACTIVATIONS):
    """The values of several objectives, whose numbers are known when the one program is compiled."""
    return np.array(jax.jit(lambda activations: [one(activations) for one in objectives])(activations))


def traced_values(objectives, activations=ACTIVATIONS):
    """The same by one program to which the numbers of the objectives are arguments."""
    evaluate = jax.jit(lambda objectives, activations: [one(activations) for one in objectives])
    return np.array(evaluate(list(objectives), activations))


def counted():
    """A jitted evaluation, and a list that grows by one with each compilation."""
    traces = []

    @jax.jit
    def value(objective, activations):
        traces.append(objective)
        return objective(activations)

    return value, traces


def mean_over(x, *entries):
    """Mean over chosen entries along each axis; None takes all of them."""
    entries = [np.arange(n) if e is None else np.atleast_1d(e) for e, n in zip(entries, x.shape, strict=True)]
    return x[np.ix_(*entries)].mean()


# Every objective, by a formula written out in NumPy.

RNG = np.random.default_rng(7)
EVERY = {
    **{name: x + 0.2 for name, x in NUMPY.items()},
    "input": RNG.uniform(size=(3, 8, 7, 4)),  # with opacity
    "logits": RNG.standard_normal((3, 5)),
}
VECTOR, CENTRED, TALL = (RNG.standard_normal(shape) for shape in ((7,), (3, 2), (7, 4)))
TARGET, LARGE = RNG.standard_normal((5, 4, 7)), RNG.standard_normal((3, 8, 6, 7))
PHOTO = RNG.uniform(size=(8, 7, 3))


def crop(x, height, width):
    """The middle of `[..., h, w, C]`."""
    top, left = (x.shape[-3] - height) // 2, (x.shape[-2] - width) // 2
    return x[..., top : top + height, left : left + width, :]


def pull(pairs, power=0.0, cosine=False, epsilon=1e-4):
    """Mean over pairs of vectors of what `direction` says."""
    values = []
    for a, b in pairs:
        dot = sum(a * b)
        angle = dot / (epsilon + np.sqrt(sum(a**2))) / (epsilon + np.sqrt(sum(b**2)))
        values.append((angle if cosine else dot) * max(0.1, angle) ** power)
    return np.mean(values)


def positions(x):
    return x.reshape(-1, x.shape[-1])


def blurred(x, width):
    """Each pixel of `[H, W, C]` as the weighted mean of those around it."""
    reach, out = width // 2, np.zeros_like(x)
    for row, column in np.ndindex(x.shape[:2]):
        weights, total = 0.0, np.zeros(x.shape[2])
        for y in range(max(0, row - reach), min(len(x), row + reach + 1)):
            for z in range(max(0, column - reach), min(x.shape[1], column + reach + 1)):
                weight = 0.5 if max(abs(y - row), abs(z - column)) == reach else 1.0
                weights, total = weights + weight, total + weight * x[y, z]
        out[row, column] = total / weights
    return out


def from_blur(x):
    return np.mean([((picture - blurred(picture, 3)) ** 2).sum() / 2 for picture in x])


def border(x, width, constant):
    total = 0.0
    for picture in x:
        detail = (picture - blurred(picture, 5)) ** 2 + 0.8 * (picture - constant) ** 2
        detail[width : len(picture) - width, width : picture.shape[1] - width] = 0
        total += detail.sum()
    return total / len(x)


def gram(x):
    return np.mean([np.outer(row, row) for row in positions(x)], axis=0)


def likeness(x):
    grams = [gram(picture) / np.linalg.norm(gram(picture)) for picture in x]
    return sum((a * b).sum() for i, a in enumerate(grams) for j, b in enumerate(grams) if i != j) / len(x)


def drift(x, ratio):
    pairs = [(i, j) for i in range(len(x)) for j in range(i + 1, len(x)) if j - i <= 4]
    return sum(((x[i] - x[j]) ** 2).mean() / ratio ** (j - i) for i, j in pairs)


def variation(x):
    return np.mean([sum(np.abs(np.diff(picture, axis=axis)).sum() for axis in (0, 1)) for picture in x])


def largest_and_smallest(x):
    return x.max() - x.min()


CONV, DENSE, LOGITS, RGB, OPACITY = (
    EVERY["conv"],
    EVERY["dense"],
    EVERY["logits"],
    EVERY["input"][..., :3],
    EVERY["input"][..., 3:],
)
CASES = {
    "window of a channel": (
        o.channel("conv", 2, rows=range(1, 4), columns=[0, 3]),
        CONV[:, 1:4][:, :, [0, 3], 2].mean(),
    ),
    "sum of channels": (
        o.channel("conv", [2, 5], reduce="sum")[[0, 2]],
        CONV[[0, 2]][..., [2, 5]].sum((1, 2, 3)).mean(),
    ),
    "norm of a channel": (o.channel("conv", 2, reduce="norm"), np.mean([np.linalg.norm(x) for x in CONV[..., 2]])),
    "row of a layer": (o.layer("conv", rows=2), CONV[:, 2].mean()),
    "norm of a layer": (o.layer("dense", reduce="norm"), np.linalg.norm(DENSE, axis=1).mean()),
    "largest of a layer": (o.layer("conv", reduce="max")[1], CONV[1].max()),
    "smallest of a layer": (o.layer("dense", reduce="min"), DENSE.min(1).mean()),
    "mean size of a layer": (o.layer("dense", reduce="mean_abs"), np.abs(DENSE).mean()),
    "function of a layer": (
        o.layer("conv", reduce=largest_and_smallest),
        np.mean([x.max() - x.min() for x in CONV]),
    ),
    "deepdream": (o.deepdream("conv")[[0, 2]], (CONV[[0, 2]] ** 2).mean()),
    "class": (o.class_logit(3, layer="logits"), LOGITS[:, 3].mean()),
    "classes of one picture": (o.class_logit([3, 1], layer="logits")[1], LOGITS[1, [3, 1]].mean()),
    "direction divided by its channels, which is Lucent's channel_weight": (
        o.direction("conv", VECTOR / 7),
        np.mean([VECTOR * row for row in positions(CONV)]),
    ),
    "direction in a window, which is Lucent's localgroup_weight": (
        o.direction("conv", VECTOR / 7, rows=[1, 2], columns=3)[0],
        (CONV[0, 1:3, 3] * VECTOR).mean(),
    ),
    "direction at a position, which is Lucent's neuron_weight": (
        o.direction_neuron("conv", VECTOR / 7, (1, 3)),
        (CONV[:, 1, 3] * VECTOR).mean(),
    ),
    "pattern divided by its positions, a weighted map": (
        o.direction_channel("conv", [2, 5], TARGET[..., 0] / 20),
        (CONV[..., [2, 5]] * TARGET[..., :1]).mean(),
    ),
    "pattern in a window": (
        o.direction_channel("conv", 4, CENTRED, rows=range(1, 4), columns=[0, 2]),
        (CONV[:, 1:4][:, :, [0, 2], 4] * CENTRED).sum((1, 2)).mean(),
    ),
    "directions in a window": (
        o.tensor_direction("conv", TARGET[:2, :1], rows=[3, 4], columns=1),
        pull(zip(positions(CONV[:, 3:, 1:2]), np.tile(positions(TARGET[:2, :1]), (3, 1)), strict=True)),
    ),
    "deepdream in a window": (o.deepdream("conv", rows=2, columns=[0, 1]), (CONV[:, 2, :2] ** 2).mean()),
    "neuron": (o.neuron("conv", [3, 0], (4, 1)), CONV[:, 4, 1][:, [3, 0]].mean()),
    "channel of one picture": (o.channel("conv", 3)[1], CONV[1, ..., 3].mean()),
    "pictures of pictures": (o.neuron("conv", 3, 13)[[2, 0]][0], CONV[2, 3, 1, 3]),
    "difference of pictures": (
        (o.channel("conv", 3)[0] - 2 * o.total_variation()[1])[0],
        CONV[0, ..., 3].mean() - 2 * variation(RGB[1:2]),
    ),
    "direction": (o.direction("conv", VECTOR), pull((a, VECTOR) for a in positions(CONV))),
    "direction and angle": (
        o.direction("conv", VECTOR, power=2.5)[1],
        pull(((a, VECTOR) for a in positions(CONV[1])), 2.5),
    ),
    "pure cosine": (
        o.direction("conv", VECTOR, similarity="cosine"),
        pull(((a, VECTOR) for a in positions(CONV)), cosine=True),
    ),
    "direction without positions": (o.direction("dense", VECTOR[:6]), pull((a, VECTOR[:6]) for a in DENSE)),
    "direction in the centre": (
        o.direction_neuron("conv", VECTOR, power=4),
        pull(((a, VECTOR) for a in CONV[:, 2, 2]), 4),
    ),
    "cosine at a position": (
        o.direction_neuron("conv", VECTOR, 7, similarity="cosine")[[2, 0]],
        pull(((a, VECTOR) for a in CONV[[2, 0], 1, 3]), cosine=True),
    ),
    "direction in a channel": (
        o.direction_channel("conv", 4, TARGET[..., 1], power=1),
        pull(((a, TARGET[..., 1].ravel()) for a in CONV[..., 4].reshape(3, -1)), 1),
    ),
    "smaller pattern in two channels": (
        o.direction_channel("conv", [4, 0], CENTRED, similarity="cosine"),
        pull(
            ((crop(CONV, 3, 2)[n, ..., c].ravel(), CENTRED.ravel()) for n in range(3) for c in (4, 0)),
            cosine=True,
        ),
    ),
    "tensor direction": (
        o.tensor_direction("conv", TARGET, power=1),
        pull(zip(positions(CONV), np.tile(positions(TARGET), (3, 1)), strict=True), 1),
    ),
    "smaller tensor direction": (
        o.tensor_direction("conv", TARGET[:2, :2])[1],
        pull(zip(positions(crop(CONV[1], 2, 2)), positions(TARGET[:2, :2]), strict=True)),
    ),
    "caricature": (
        o.caricature("conv", TARGET, power=2),
        pull(((a.ravel(), TARGET.ravel()) for a in CONV), 2, epsilon=1e-6),
    ),
    "caricatures of larger pictures": (
        o.caricature("conv", LARGE),
        pull((a.ravel(), b.ravel()) for a, b in zip(CONV, crop(LARGE, 5, 4), strict=True)),
    ),
    "activation difference": (o.activation_difference("conv", TARGET), np.abs(CONV - TARGET).mean()),
    "square of the difference": (
        o.activation_difference("conv", LARGE[:1], reduce="mean_square")[[0, 1]],
        ((CONV[:2] - crop(LARGE[:1], 5, 4)) ** 2).mean(),
    ),
    "norm of the difference": (
        o.activation_difference("dense", VECTOR[:6], reduce="norm"),
        np.linalg.norm(DENSE - VECTOR[:6], axis=1).mean(),
    ),
    "style": (o.style("conv", gram(TARGET)), np.mean([np.abs(gram(x) - gram(TARGET)).mean() for x in CONV])),
    "style of activations": (
        o.style("conv", LARGE, reduce="mean_square")[2],
        ((gram(CONV[2]) - gram(LARGE)) ** 2).mean(),
    ),
    "diversity": (o.diversity("conv"), likeness(CONV)),
    "diversity of two": (o.diversity("conv")[[2, 0]], likeness(CONV[[2, 0]])),
    "alignment": (o.alignment("conv"), drift(CONV, 2)),
    "alignment in an order": (o.alignment("dense", decay_ratio=3)[[2, 0, 1]], drift(DENSE[[2, 0, 1]], 3)),
    "interpolation": (
        o.channel_interpolate("conv", 3, "dense", [1, 2]),
        CONV[0, ..., 3].mean() + (CONV[1, ..., 3].mean() + DENSE[1, 1:3].mean()) / 2 + DENSE[2, 1:3].mean(),
    ),
    "interpolation over two": (
        o.channel_interpolate("conv", 3, "conv", 4)[[2, 1]],
        CONV[2, ..., 3].mean() + CONV[1, ..., 4].mean(),
    ),
    "input difference": (o.input_diff(PHOTO), np.mean([np.sqrt(((x - PHOTO) ** 2).mean()) for x in RGB])),
    "input differences": (
        o.input_diff(EVERY["input"][[1, 2, 0]]),
        np.mean([np.sqrt(((x - y) ** 2).mean()) for x, y in zip(RGB, RGB[[1, 2, 0]], strict=True)]),
    ),
    "l1": (o.l1(constant=0.5), np.abs(RGB - 0.5).sum() / 3),
    "l1 of a layer": (o.l1("dense")[0], np.abs(DENSE[0]).sum()),
    "l2": (o.l2(constant=0.3), np.mean([np.sqrt(1e-6 + ((x - 0.3) ** 2).sum()) for x in RGB])),
    "total variation": (o.total_variation(), variation(RGB)),
    "total variation of a layer": (o.total_variation("conv")[1], variation(CONV[1:2])),
    "blur input": (o.blur_input_each_step()[[0, 2]], from_blur(RGB[[0, 2]])),
    "blur alpha": (o.blur_input_each_step(alpha=True), from_blur(OPACITY)),
    "mean alpha": (o.mean_alpha()[1], OPACITY[1].mean()),
    "border": (o.boundary_complexity(width=2), border(RGB, 2, 0.5)),
    "border of alpha": (o.boundary_complexity(width=1, constant=0, alpha=True)[0], border(OPACITY[:1], 1, 0)),
}
SINGLE = {name: jnp.asarray(x, jnp.float32) for name, x in EVERY.items()}
