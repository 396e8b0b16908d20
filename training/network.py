"""`mini` as it is trained: lightjax's own graph, with a batch normalisation between each convolution and its ReLU.

Parameters are a flat dictionary: "NAME/kernel", "NAME/scale" and "NAME/bias" of every convolution, "NAME/kernel" and
"NAME/bias" of the classifier. Statistics are "NAME/mean" and "NAME/var".

References:
  Ioffe and Szegedy, "Batch Normalization", ICML 2015.
  He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017 (`transplant`).
"""

from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from prepare import as_teacher_sees

from lightjax import inception, ops
from lightjax.inception import MINI, InceptionV1, Node

EPSILON = 1e-3
INPUT_SCALE = 64.0
"""Divides the pixels in training, so that the first kernel has the size of the others; folded away on export."""

LOGITS = "softmax2_pre_activation_matmul"

Params = dict[str, Array]
Stats = dict[str, Array]


def conv(x: Array, kernel: Array, node: Node) -> Array:
    """The convolution of a node; 1x1 kernels as matrix products, whose gradients are fast on CPU."""
    if node.kernel == 1:
        return x @ kernel[0, 0]
    padding = [ops.same_padding(size, node.kernel, node.stride) for size in x.shape[1:3]]
    return lax.conv_general_dilated(x, kernel, (node.stride,) * 2, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def simple(node: Node, inputs: list[Array]) -> Array:
    """Every operation that has no parameters."""
    x = inputs[0]
    match node.op:
        case "relu":
            return jnp.maximum(x, 0)
        case "max_pool":
            height, width = (ops.same_padding(size, node.kernel, node.stride) for size in x.shape[1:3])
            return ops.max_pool(x, node.stride, (height, width))
        case "norm":
            return x
        case "concat":
            return jnp.concatenate(inputs, axis=-1)
        case "mean":
            return x.mean(axis=(1, 2))
        case "softmax":
            return jax.nn.softmax(x)
    raise ValueError(f"{node.op} has parameters")


def preprocess(images: Array) -> Array:
    """Pictures in [0, 1] as the first convolution reads them."""
    return (255 * images - jnp.array(MINI.mean)) / INPUT_SCALE


def forward(params: Params, images: Array, stats: Stats | None = None) -> tuple[dict[str, Array], Stats]:
    """Compute all named activations.

    Args:
      params: See above.
      images: `[N, H, W, 3]` in [0, 1].
      stats: Statistics to normalise by; without them those of the batch.

    Returns:
      The activations and the statistics that were used.
    """
    values, used = {"input": preprocess(images)}, {}
    for node in inception.graph(MINI):
        inputs = [values[name] for name in node.inputs]
        if node.op == "conv":
            name = node.name.removesuffix("_pre_relu_conv")
            x = conv(inputs[0], params[f"{name}/kernel"], node)
            if stats is None:
                mean = x.mean((0, 1, 2))
                used[f"{name}/mean"], used[f"{name}/var"] = mean, jnp.mean((x - mean) ** 2, (0, 1, 2))
            else:
                used[f"{name}/mean"], used[f"{name}/var"] = stats[f"{name}/mean"], stats[f"{name}/var"]
            gain = params[f"{name}/scale"] * lax.rsqrt(used[f"{name}/var"] + EPSILON)
            values[node.name] = x * gain + (params[f"{name}/bias"] - used[f"{name}/mean"] * gain)
        elif node.op == "linear":
            values[node.name] = inputs[0] @ params[f"{node.name}/kernel"] + params[f"{node.name}/bias"]
        else:
            values[node.name] = simple(node, inputs)
    return values, used


def fold(params: Params, stats: Stats) -> dict[str, np.ndarray]:
    """Fold normalisation and input scale into kernels and biases: the parameters of `inception.parameter_shapes`."""
    folded: dict[str, np.ndarray] = {}
    for key in inception.parameter_shapes(MINI):
        name, _, part = key.partition("/")
        value = np.asarray(params[key], np.float64)
        if name != LOGITS:
            gain = np.asarray(params[f"{name}/scale"]) / np.sqrt(np.asarray(stats[f"{name}/var"], np.float64) + EPSILON)
            value = value * gain if part == "kernel" else value - np.asarray(stats[f"{name}/mean"]) * gain
        if key == "conv2d0/kernel":
            value = value / INPUT_SCALE
        folded[key] = value.astype(np.float16)
    return folded


def initial(seed: int) -> Params:
    """Random parameters: He-normal kernels, unit scales, zero biases."""
    params: Params = {}
    key = jax.random.key(seed)
    for i, (name, shape) in enumerate(inception.parameter_shapes(MINI).items()):
        if name.endswith("bias"):
            params[name] = jnp.zeros(shape)
        else:
            deviation = 0.01 if name.startswith(LOGITS) else np.sqrt(2 / np.prod(shape[:-1]))
            params[name] = deviation * jax.random.normal(jax.random.fold_in(key, i), shape)
            if not name.startswith(LOGITS):
                params[name.replace("kernel", "scale")] = jnp.ones(shape[-1])
    return params


def patches(x: Array, node: Node) -> Array:
    """The windows that a convolution reads, `[positions, kernel * kernel * channels]`."""
    edges = [ops.same_padding(size, node.kernel, node.stride) for size in x.shape[1:3]]
    height, width = (-(-size // node.stride) for size in x.shape[1:3])
    x = jnp.pad(x, [(0, 0), *edges, (0, 0)])
    s = node.stride
    windows = [
        x[:, i : i + (height - 1) * s + 1 : s, j : j + (width - 1) * s + 1 : s]
        for i in range(node.kernel)
        for j in range(node.kernel)
    ]
    return jnp.concatenate(windows, axis=-1).reshape(-1, node.kernel**2 * x.shape[-1])


def transplant(teacher: InceptionV1, plan: Mapping[str, np.ndarray], images: np.ndarray, seed: int) -> Params:
    """Start the student from its teacher, one convolution after the other.

    Each convolution is the ridge regression from the student's own activations to the teacher's pre-activations of
    the channels it stands for, so that a layer corrects what the ones before it lost; the first kernel is copied.
    Regression shrinks, and rectified layers that shrink one after the other fall silent: scale and bias therefore give
    every channel the mean and the deviation that it has in the teacher.

    Args:
      teacher: The network to start from.
      plan: As `prepare.choose_channels` returns it.
      images: Some hundreds of training pictures, uint8.
      seed: Draws the classifier.
    """
    params = initial(seed)
    convs = {node.name: node.name.removesuffix("_pre_relu_conv") for node in inception.graph(MINI) if node.op == "conv"}

    @jax.jit
    def wanted(x: Array) -> dict[str, Array]:
        values = teacher(as_teacher_sees(x))
        return {
            node: (values[node][..., plan[f"{name}/channels"]] / plan[f"{name}/scale"]).astype(jnp.float16)
            for node, name in convs.items()
        }

    targets = _batched(wanted, images)
    values = {"input": _batched(jax.jit(lambda x: preprocess(x.astype(jnp.float32) / 255).astype(jnp.float16)), images)}
    for node in inception.graph(MINI):
        inputs = [values[name] for name in node.inputs]
        if node.op == "conv":
            name = convs[node.name]
            if name == "conv2d0":
                kernel = teacher.conv2d0.kernel[...][:, :, ::-1, plan[f"{name}/channels"]] / plan[f"{name}/scale"]
                kernel = kernel * INPUT_SCALE
            else:
                kernel = _regress(node, inputs[0], targets[node.name])
            out = jax.jit(lambda x, kernel, node=node: conv(x.astype(jnp.float32), kernel, node).astype(jnp.float16))
            y = _batched(lambda x, out=out, kernel=kernel: out(x, kernel), inputs[0])
            wide = y.astype(np.float32)
            mean, var = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
            params[f"{name}/kernel"] = kernel
            target = targets.pop(node.name).astype(np.float32)
            centre, deviation = target.mean((0, 1, 2)), target.std((0, 1, 2))
            params[f"{name}/scale"] = jnp.asarray(deviation)
            params[f"{name}/bias"] = jnp.asarray(centre)
            normal = (wide - mean) / np.sqrt(var + EPSILON)
            values[node.name] = (normal * deviation + centre).astype(np.float16)
            alike = np.mean(normal * (target - centre) / (deviation + EPSILON))
            print(f"{name}: correlation {alike:.2f}", flush=True)
        elif node.op == "linear":
            break
        else:
            apply = jax.jit(lambda *x, node=node: simple(node, [v.astype(jnp.float32) for v in x]).astype(jnp.float16))
            values[node.name] = _batched(apply, *inputs)
    return params


def _batched(function: Callable, *arrays: np.ndarray, size: int = 32):
    """Apply a function to rows of arrays, a few at a time, and join what it returns."""
    parts: Iterable = [function(*(a[i : i + size] for a in arrays)) for i in range(0, len(arrays[0]), size)]
    return jax.tree.map(lambda *values: np.concatenate([np.asarray(v) for v in values]), *parts)


def _regress(node: Node, x: np.ndarray, y: np.ndarray, ridge: float = 3e-3) -> Array:
    """The kernel that best predicts `y` from the windows of `x`, shrunk a little towards zero."""

    @jax.jit
    def moments(x: Array, y: Array) -> tuple[Array, ...]:
        windows, wanted = patches(x.astype(jnp.float32), node), y.astype(jnp.float32).reshape(-1, y.shape[-1])
        return windows.T @ windows, windows.T @ wanted, windows.sum(0), wanted.sum(0)

    totals = None
    for i in range(0, len(x), 32):
        part = [np.asarray(v, np.float64) for v in moments(x[i : i + 32], y[i : i + 32])]
        totals = part if totals is None else [a + b for a, b in zip(totals, part, strict=True)]
    assert totals is not None
    count = y.shape[0] * y.shape[1] * y.shape[2]
    square, cross, mean_x, mean_y = (total / count for total in totals)
    square, cross = square - np.outer(mean_x, mean_x), cross - np.outer(mean_x, mean_y)
    square += ridge * np.trace(square) / len(square) * np.eye(len(square))
    kernel = np.linalg.solve(square, cross).reshape(node.kernel, node.kernel, x.shape[-1], y.shape[-1])
    return jnp.asarray(kernel, jnp.float32)
