"""Networks that came from PyTorch, as functions of images."""

import dataclasses
import functools
import importlib.metadata
import json
import os
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import Array
from jax.typing import DTypeLike

from lightjax import _files, ops
from lightjax._structure import Note
from lightjax.networks.architectures import Layer
from lightjax.networks.aten import CHANNELS_LAST, Tensor
from lightjax.networks.graph import FORMAT, Graph, GraphError, Output, evaluate, needed, nodes_in


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["parameters"], meta_fields=["graph", "notes", "dtype"]
)
@dataclasses.dataclass(frozen=True, eq=False)
class ConvertedNetwork:
    """A network that `from_torch` made: a function from images to named activations.

    Attributes:
      parameters: Arrays by the keys of PyTorch's state dict.
      graph: The operations.
      notes: The source and the names of the classes.
      dtype: Floating-point type of the computation.
    """

    parameters: dict[str, Array]
    graph: Graph
    notes: Note[tuple[str, tuple[str, ...]]]
    dtype: str = "float32"

    @classmethod
    def of(
        cls,
        graph: Graph,
        parameters: Mapping[str, np.ndarray],
        *,
        source: str = "",
        class_names: tuple[str, ...] = (),
        dtype: DTypeLike = jnp.float32,
    ) -> "ConvertedNetwork":
        """A network from its graph and its parameters, which are cast to a floating-point type."""
        dtype = jnp.dtype(dtype)
        arrays = {
            key: jnp.asarray(value, dtype if jnp.issubdtype(value.dtype, jnp.floating) else None)
            for key, value in parameters.items()
        }
        return cls(arrays, graph, Note((source, tuple(class_names))), dtype.name)

    @classmethod
    def read(
        cls, metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray], dtype: DTypeLike = jnp.float32
    ) -> "ConvertedNetwork":
        """The network of a file.

        Args:
          metadata: What the file says about itself.
          tensors: Its arrays.
          dtype: Floating-point type to compute in.

        Raises:
          GraphError: If the graph is damaged, unknown, or does not fit the arrays.
        """
        graph = Graph.from_json(metadata.get("graph", ""), tensors)
        try:
            names = json.loads(metadata.get("class_names", "[]"))
        except (ValueError, RecursionError):
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise GraphError("the class names of the network must be a list of texts")
        source = metadata.get("source", "")
        half = any(value.dtype == np.float16 for value in tensors.values())
        if half and not source.endswith("float16 weights"):
            source += ", float16 weights"
        name = jnp.dtype(dtype).name
        source += f", computed in {name}" * (name != "float32")
        network = cls.of(graph, tensors, source=source, class_names=tuple(names), dtype=dtype)
        images = jax.ShapeDtypeStruct((1, *graph.size, graph.channels), jnp.float32)
        try:
            found = jax.eval_shape(network, images)
        except (ValueError, TypeError, IndexError, OverflowError, AttributeError, AssertionError) as error:
            raise GraphError(f"the network cannot be computed: {error}") from None
        for output in graph.outputs:
            if found[output.layer].shape[-1] != output.channels:
                raise GraphError(
                    f"layer {output.layer!r} has {found[output.layer].shape[-1]} channels, not {output.channels}"
                )
        return network

    @property
    def source(self) -> str:
        """Where the network comes from, such as "resnet50@1f3a5c7e9b2d"."""
        return self.notes.content[0]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits; empty if unknown."""
        return self.notes.content[1]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the only images that the network takes; None if it takes any."""
        return self.graph.size if self.graph.fixed else None

    @property
    def channels(self) -> int:
        """Channels of the images that the network takes."""
        return self.graph.channels

    @property
    def logits(self) -> str:
        """The layer of the logits, if the network has classes: what it returns."""
        return self.graph.outputs[-1].layer

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Name, channels, stride and receptive field of each activation, in the order of computation."""
        first = Layer("input", self.graph.channels, 1, 1)
        return (first, *(Layer(o.layer, o.channels, o.stride, o.receptive_field) for o in self.graph.outputs))

    def save(self, path: str | os.PathLike, *, half: bool = False) -> None:
        """Write the network into a file that `load_model` reads, without PyTorch.

        Args:
          path: The file, NAME.safetensors.
          half: Whether to round the parameters to float16, which halves the file.

        Raises:
          ValueError: If the name does not end in .safetensors, or `half` is true and a parameter exceeds the range of
            float16.
          OSError: If the file cannot be written.
        """
        if not str(path).endswith(".safetensors"):
            raise ValueError(f"the file of a network must be called NAME.safetensors, got {str(path)!r}")
        tensors = {}
        for key, value in self.parameters.items():
            array = np.asarray(value)
            if jnp.issubdtype(array.dtype, jnp.floating):
                array = array.astype(np.float32)
                if half:
                    if np.abs(array[np.isfinite(array)]).max(initial=0) > np.finfo(np.float16).max:
                        raise ValueError(f"parameter {key!r} has values above 65504, the largest number in float16")
                    array = array.astype(np.float16)
            tensors[key] = array
        metadata = {
            "format": FORMAT,
            "lightjax": importlib.metadata.version("lightjax"),
            "graph": self.graph.to_json(),
            "source": self.source,
            "class_names": json.dumps(self.class_names),
        }
        _files.write_atomically(path, safetensors.numpy.save(tensors, metadata))

    def __repr__(self) -> str:
        return f"ConvertedNetwork({self.source!r}, {len(self.graph.outputs)} layers)"

    def __call__(
        self,
        images: Array,
        *,
        relu: ops.Relu = ops.relu,
        pool: ops.Pool = ops.max_pool,
        given: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Compute all named activations.

        Under `jit`, only the activations that the caller uses are computed, and the layers before them.

        Args:
          images: `[N, H, W, C]` in [0, 1]; red, green, blue if C is 3.
          relu: The rectifier, such as `ops.relu`. Those in `ops` differ only in their gradients.
          pool: The max pool, such as `ops.max_pool`. Those in `ops` differ only in their gradients.
          given: Activations by layer, to go on from. Only the layers that depend on them are computed and returned.

        Returns:
          Activations by layer: `[N, h, w, C]`, tokens `[N, T, C]`, or `[N, C]`.

        Raises:
          ValueError: If the images have the wrong size or number of channels, or nothing reads a given layer.
        """
        if images.ndim != 4 or images.shape[-1] != self.graph.channels:
            raise ValueError(f"images must be [N, H, W, {self.graph.channels}], got {list(images.shape)}")
        if self.size not in (None, images.shape[1:3]):
            raise ValueError(
                f"this network takes images of {self.graph.size[0]}x{self.graph.size[1]} only, "
                f"got {images.shape[1]}x{images.shape[2]}"
            )
        with jax.named_scope("input"):
            known = {"input": self._preprocess(images)}
        outputs, wanted = self.graph.outputs, None
        if given:
            starts = self._given(given)
            wanted = self._after({self.graph.by_layer[layer].node: layer for layer in given})
            outputs = [output for output in outputs if output.node in wanted or output.layer in given]
            wanted = needed(self.graph.nodes, wanted, starts)
            known |= starts
        values = evaluate(self.graph, self.parameters, known, relu, wanted, pool)
        found = {o.layer: self._activation(values[o.node], o).astype(images.dtype) for o in outputs}
        return found if given else found | {"input": images}

    def _preprocess(self, images: Array) -> Tensor:
        graph = self.graph
        x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
        x = x if graph.scale == 1 else graph.scale * x
        x = (x - jnp.array(graph.mean, x.dtype)) / jnp.array(graph.std, x.dtype)
        x = (x[..., ::-1] if graph.bgr else x).astype(self.dtype)
        return Tensor(x, CHANNELS_LAST, 1)

    def _activation(self, value: Tensor, output: Output) -> Array:
        x = value.arranged(output.order)
        prefix = self.graph.prefix
        if output.part == "grid":
            assert self.graph.grid is not None
            return x[:, x.shape[1] - self.graph.grid[0] * self.graph.grid[1] :].reshape(
                x.shape[0], *self.graph.grid, x.shape[2]
            )
        return {"class": lambda: x[:, 0], "registers": lambda: x[:, 1:prefix], "": lambda: x}[output.part]()

    def _given(self, given: Mapping[str, Array]) -> dict[str, Tensor]:
        """The values of nodes that given activations stand for."""
        by_node: dict[str, dict[str, Array]] = {}
        for layer, value in given.items():
            if layer not in self.graph.by_layer:
                raise ValueError(f"given names the layer {layer!r}, which this network does not have")
            output = self.graph.by_layer[layer]
            by_node.setdefault(output.node, {})[output.part] = jnp.asarray(value, self.dtype)
        values = {}
        for name, parts in by_node.items():
            outputs = {o.part: o for o in self.graph.outputs if o.node == name}
            missing = [o.layer for part, o in outputs.items() if part not in parts]
            if missing:
                raise ValueError(f"given must hold all tokens of a layer: {', '.join(missing)} is missing")
            if "grid" in parts:
                grid = parts["grid"]
                tokens = [parts["class"][:, None]] if "class" in parts else []
                tokens += [parts["registers"]] if "registers" in parts else []
                x = jnp.concatenate([*tokens, grid.reshape(grid.shape[0], -1, grid.shape[-1])], axis=1)
            else:
                x = parts[""]
            order = next(iter(outputs.values())).order
            if x.ndim != len(order):
                raise ValueError(f"a given layer has the wrong number of axes: {list(x.shape)}")
            values[name] = Tensor(x, order, order[-1])
        return values

    def _after(self, starts: Mapping[str, str]) -> set[str]:
        """The nodes that depend on given nodes, which have the names of their layers.

        Raises:
          ValueError: If nothing depends on one of them.
        """
        after, read = set(starts), set()
        for node in self.graph.nodes:
            sources = {name for argument in node.arguments.values() for name in nodes_in(argument)}
            if sources & after:
                after.add(node.name)
                read |= sources & starts.keys()
        for node in starts.keys() - read:
            raise ValueError(f"nothing is computed from {starts[node]!r} alone: give another layer")
        return after
