"""What a layer of a graph sees: the order of its axes, its stride, its receptive field, its tokens."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lightjax import ops
from lightjax.networks.aten import CHANNELS_LAST, Tensor
from lightjax.networks.aten.convolutions import pair
from lightjax.networks.graph import Graph, Node, Output, evaluate, nodes_in


class View(NamedTuple):
    """What one position of a value sees.

    Attributes:
      stride: Distance of neighboring positions in pixels.
      field: Side of the square that a position sees, in pixels; None for the whole image.
    """

    stride: int
    field: int | None


_WINDOWS = {"conv2d": "weight", "max_pool2d": "kernel_size", "avg_pool2d": "kernel_size"}
_EVERYWHERE = {"matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "scaled_dot_product_attention", "cumsum", "topk"}
_EVERYWHERE |= {
    "group_norm",
    "instance_norm",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "conv_transpose2d",
    "conv1d",
}
_EVERYWHERE |= {"upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "gather", "index", "flip"}
_OVER_AXES = {
    "mean",
    "sum",
    "amax",
    "amin",
    "var",
    "var_mean",
    "std",
    "linalg_vector_norm",
    "max",
    "softmax",
    "_softmax",
}


def describe(graph: Graph, tensors: Mapping[str, np.ndarray]) -> Graph:
    """A graph whose outputs know their axes, channels, strides and receptive fields, and whose tokens have a grid."""
    values = _shapes(graph, tensors)
    views = _views(graph, values, tensors)
    first = next(
        (node for node in graph.nodes if node.op == "conv2d" and nodes_in(node.arguments["input"]) == ["input"]), None
    )
    grid, prefix = None, 0
    if first is not None and (patches := _patches(first, values)):
        lengths = [values[o.node].shape[1] for o in graph.outputs if _is_tokens(values[o.node])]
        extra = {length - patches[0] * patches[1] for length in lengths} - {0}
        if lengths and len(extra) <= 1 and all(0 <= n <= 16 for n in extra):
            grid, prefix = patches, next(iter(extra), 0)
    outputs = []
    for output in graph.outputs:
        value = values[output.node]
        if not isinstance(value, Tensor) or not jnp.issubdtype(value.array.dtype, jnp.floating) or value.ndim < 2:
            continue
        outputs += _described(output, value, views[output.node], grid, prefix)
    return dataclasses.replace(graph, outputs=tuple(outputs), grid=grid, prefix=prefix)


def _described(output: Output, value: Tensor, view: View, grid: tuple[int, int] | None, prefix: int) -> list[Output]:
    channel = value.channel or (1 if value.ndim == 4 else value.ndim - 1)  # axis 0 holds the pictures
    order = (0, *(axis for axis in range(1, value.ndim) if axis != channel), channel)
    channels = value.shape[channel]
    if value.ndim == 4:
        return [output._replace(order=order, channels=channels, stride=view.stride, receptive_field=view.field)]
    whole = output._replace(order=order, channels=channels)
    count = value.shape[order[1]] if value.ndim == 3 else 0
    if grid is None or count not in (grid[0] * grid[1], grid[0] * grid[1] + prefix):
        return [whole]
    tokens = [whole._replace(part="grid", stride=view.stride, receptive_field=view.field)]
    if prefix and count != grid[0] * grid[1]:
        tokens.append(whole._replace(layer=f"{output.layer}.cls", part="class"))
        if prefix > 1:
            tokens.append(whole._replace(layer=f"{output.layer}.registers", part="registers"))
    return tokens


def _is_tokens(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 3 and value.channel == 2


def _patches(first: Node, values: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """The grid of a convolution that cuts the image into patches."""
    shape, stride = values[first.name].shape, pair(first.arguments.get("stride", 1))
    return (shape[2], shape[3]) if min(stride) >= 4 else None


def _shapes(graph: Graph, tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The values of all nodes for one picture, without their numbers."""
    kept: dict[str, Any] = {}

    def run(parameters: Any, images: Any) -> None:
        kept.update(evaluate(graph, parameters, {"input": Tensor(images, CHANNELS_LAST, 1)}, ops.relu))

    images = jax.ShapeDtypeStruct((2, *graph.size, graph.channels), jnp.float32)
    jax.eval_shape(run, {key: jax.ShapeDtypeStruct(t.shape, t.dtype) for key, t in tensors.items()}, images)
    return kept


def _views(graph: Graph, values: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, View]:
    """What a position of each node sees."""
    views: dict[str, View] = {"input": View(1, 1)}
    for node in graph.nodes:
        sources = [name for argument in node.arguments.values() for name in nodes_in(argument) if name in views]
        if not sources:
            continue
        source = values[sources[0]]
        stride = max(views[name].stride for name in sources)
        fields = [views[name].field for name in sources]
        field = None if None in fields else max(fields)  # type: ignore[type-var]
        if node.op in _WINDOWS:
            strides = pair(node.arguments.get("stride") or node.arguments.get("kernel_size", 1))
            kernel = node.arguments[_WINDOWS[node.op]]
            sides = pair(kernel) if not isinstance(kernel, dict) else tensors[kernel["tensor"]].shape[:2]
            dilation = max(pair(node.arguments.get("dilation", 1)))
            field = None if field is None else field + (max(sides) - 1) * dilation * stride
            stride *= max(strides)
        elif node.op in _EVERYWHERE or (
            node.op == "linear" and isinstance(source, Tensor) and source.channel not in (None, source.ndim - 1)
        ):
            field = None
        elif node.op in _OVER_AXES and isinstance(source, Tensor):
            dims = node.arguments.get("dim")
            dims = range(source.ndim) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
            if any(dim % source.ndim != source.channel for dim in dims):
                field = None
        views[node.name] = View(stride, field)
    return views
