"""The graph of a network that came from PyTorch: as a record, as JSON, and how it is computed.

A file with a graph may come from a stranger. `Graph.from_json` checks it whole, so that computing it does nothing but
call functions of `aten` with numbers and with values that stand earlier in the graph.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from lightjax import ops
from lightjax.networks import aten
from lightjax.networks.aten import Tensor

FORMAT = "lightjax graph"
"""What the metadata of a file with a graph has as its format."""

VERSION = 1
MOST_NODES = 20_000
DTYPES = ("bool", "int32", "int64", "float16", "bfloat16", "float32", "float64")


class GraphError(ValueError):
    """A graph is damaged, or holds what lightjax does not know."""


class Node(NamedTuple):
    """One operation.

    Attributes:
      name: Its name in the graph.
      op: Name of an operation in `aten.OPERATIONS`.
      module: Path of the PyTorch module that it stands in.
      arguments: By the names of PyTorch. `{"node": name}` is the value of an earlier node, `{"tensor": key}` a
        parameter, `{"dtype": name}` a type, `{"number": text}` a number that JSON lacks, such as "inf".
    """

    name: str
    op: str
    module: str
    arguments: Mapping[str, Any]


class Output(NamedTuple):
    """An activation that the network returns.

    Attributes:
      layer: Its name: the path of a module, with "/2" for the second call.
      node: The node whose value it is.
      order: PyTorch's axes in the order of the activation: (0, 2, 3, 1) gives `[N, h, w, C]`.
      part: Which of the tokens `[N, T, C]` it holds: "grid", "class", "registers", or "" for all of the value.
      channels: Length of the last axis.
      stride: Distance of neighboring positions in pixels of the image; None without positions.
      receptive_field: Side of the square that a position sees, in pixels; None for the whole image.
    """

    layer: str
    node: str
    order: tuple[int, ...]
    part: str = ""
    channels: int = 0
    stride: int | None = None
    receptive_field: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A network without its numbers. Two graphs are equal if their JSON is.

    Attributes:
      nodes: Operations in the order of computation.
      outputs: Activations in the order of computation.
      orders: For each parameter that does not lie as in PyTorch, PyTorch's axes in the order of the array.
      channels: Channels of the images.
      size: Height and width that the network was converted with.
      fixed: Whether it takes no other size.
      mean: Subtracted from `scale * image`, for each channel of the image.
      std: Divisor of the difference, for each channel of the image.
      scale: Factor of the image, whose values are in [0, 1].
      bgr: Whether the network reads blue, green, red.
      grid: Height and width of the grid of tokens; None for a network without tokens.
      prefix: Number of tokens before the grid: the class token, and registers.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    orders: Mapping[str, tuple[int, ...]]
    channels: int
    size: tuple[int, int]
    fixed: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    bgr: bool = False
    grid: tuple[int, int] | None = None
    prefix: int = 0

    def to_json(self) -> str:
        """The graph as JSON text."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return json.dumps({"version": VERSION, **fields}, separators=(",", ":"))

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the JSON text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @functools.cached_property
    def places(self) -> Mapping[str, int]:
        """Place of each node in the order of computation; the image, "input", is at -1."""
        return {"input": -1} | {node.name: place for place, node in enumerate(self.nodes)}

    @functools.cached_property
    def by_layer(self) -> Mapping[str, Output]:
        """Outputs by layer."""
        return {output.layer: output for output in self.outputs}

    @classmethod
    def from_json(cls, text: str, tensors: Mapping[str, Any]) -> "Graph":
        """Read a graph and check it.

        Args:
          text: From `to_json`.
          tensors: The parameters that it may name.

        Raises:
          GraphError: If the text is no graph, or holds what lightjax does not know.
        """
        try:
            fields = json.loads(text)
            if fields.pop("version") != VERSION:
                raise GraphError("the graph was written by a later version of lightjax")
            if len(fields["nodes"]) > MOST_NODES or len(fields["outputs"]) > MOST_NODES:
                raise GraphError(f"a graph has at most {MOST_NODES} nodes, got {len(fields['nodes'])}")
            fields["nodes"] = tuple(Node(*node) for node in fields["nodes"])
            fields["outputs"] = tuple(Output(o[0], o[1], tuple(o[2]), *o[3:]) for o in fields["outputs"])
            fields["orders"] = {key: tuple(order) for key, order in fields["orders"].items()}
            for name in ("size", "mean", "std", "grid"):
                fields[name] = None if fields[name] is None else tuple(fields[name])
            graph = cls(**fields)
        except GraphError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            raise GraphError("the graph is damaged, or was not written by lightjax") from None
        graph.check(tensors)
        return graph

    def check(self, tensors: Mapping[str, Any]) -> None:
        """Check everything that can be checked without computing.

        Raises:
          GraphError: If something is wrong.
        """
        numbers = [*self.mean, *self.std, self.scale]
        whole = [self.channels, *self.size, self.prefix, *(self.grid or ())]
        if not all(type(n) in (int, float) and math.isfinite(n) for n in numbers) or 0 in self.std:
            raise GraphError("the preprocessing of the graph must be finite numbers, and no std 0")
        if not all(type(n) is int and 0 <= n < 2**20 for n in whole) or len(self.size) != 2:
            raise GraphError("the sizes of the graph must be whole numbers")
        if not len(self.mean) == len(self.std) == self.channels or self.channels < 1:
            raise GraphError("the preprocessing of the graph must have a mean and a std for each channel")
        known = {"input"}
        for node in self.nodes:
            if not isinstance(node.name, str) or node.name in known:
                raise GraphError(f"the graph has two nodes {node.name!r}")
            function = aten.OPERATIONS.get(node.op) if isinstance(node.op, str) else None
            if function is None:
                raise GraphError(f"the operation {node.op!r} in module {node.module!r} is not known to lightjax")
            if not isinstance(node.arguments, dict):
                raise GraphError(f"node {node.name} must have named arguments")
            try:
                inspect.signature(function).bind(**node.arguments, **dict.fromkeys(aten.CHOICES.get(node.op, ())))
            except TypeError as error:
                raise GraphError(f"operation {node.op!r} in module {node.module!r}: {error}") from None
            for argument in node.arguments.values():
                _check_argument(argument, known, tensors, node)
            known.add(node.name)
        layers: set[str] = set()
        for output in self.outputs:
            if not isinstance(output.layer, str) or output.layer in layers or output.node not in known:
                raise GraphError(f"layer {output.layer!r} of the graph has no value of its own")
            if sorted(output.order) != list(range(len(output.order))):
                raise GraphError(f"layer {output.layer!r} of the graph has the axes {output.order}")
            if output.part not in ("", "grid", "class", "registers") or (output.part and self.grid is None):
                raise GraphError(f"layer {output.layer!r} of the graph is part {output.part!r} of its tokens")
            layers.add(output.layer)
        for key, order in self.orders.items():
            if key in tensors and sorted(order) != list(range(len(tensors[key].shape))):
                raise GraphError(f"parameter {key!r} of the graph has the axes {order}")


def _check_argument(argument: Any, known: set[str], tensors: Mapping[str, Any], node: Node, depth: int = 0) -> None:
    match argument:
        case None | bool() | int() | float() | str():
            if isinstance(argument, str) and len(argument) > 100:
                raise GraphError(f"node {node.name} has a text of {len(argument)} characters")
            if type(argument) is int and abs(argument) >= 2**63:
                raise GraphError(f"node {node.name} has the number {argument:.2e}")
        case list() if depth < 3 and len(argument) <= 10_000:
            for item in argument:
                _check_argument(item, known, tensors, node, depth + 1)
        case {"node": str(name), **rest} if not rest:
            if name not in known:
                raise GraphError(f"node {node.name} reads {name!r}, which does not stand before it")
        case {"tensor": str(key), **rest} if not rest:
            if key not in tensors:
                raise GraphError(f"node {node.name} reads the parameter {key!r}, which is not there")
        case {"dtype": str(name), **rest} if not rest and name in DTYPES:
            pass
        case {"number": "inf" | "-inf", **rest} if not rest:
            pass
        case _:
            raise GraphError(f"node {node.name} has an argument that is not known to lightjax")


def nodes_in(argument: Any) -> list[str]:
    """The nodes that an argument reads."""
    match argument:
        case list():
            return [name for item in argument for name in nodes_in(item)]
        case {"node": name}:
            return [name]
    return []


def needed(nodes: Sequence[Node], wanted: Iterable[str], known: Collection[str] = ()) -> set[str]:
    """The wanted nodes and all that must be computed for them, if the values of some are known."""
    found = set(wanted)
    for node in reversed(nodes):
        if node.name in found and node.name not in known:
            found |= {name for argument in node.arguments.values() for name in nodes_in(argument)}
    return found.difference(known)


def evaluate(
    graph: Graph,
    parameters: Mapping[str, Array],
    values: dict[str, Any],
    relu: ops.Relu,
    wanted: Collection[str] | None = None,
    pool: ops.Pool = ops.max_pool,
) -> dict[str, Any]:
    """Values of all nodes, or of some.

    Args:
      graph: The network.
      parameters: Arrays by key, which lie as `graph.orders` says.
      values: Values that are known, such as "input". These are not computed.
      relu: The rectifier.
      wanted: Nodes to compute.
      pool: The max pool.

    Raises:
      ValueError: If an operation fails; the message names its module.
    """
    dtype = next((p.dtype for p in parameters.values() if jnp.issubdtype(p.dtype, jnp.floating)), jnp.float32)
    values = dict(values)
    choices: dict[str, Any] = {"relu": relu, "pool": pool}

    def value_of(argument: Any) -> Any:
        match argument:
            case list():
                return [value_of(item) for item in argument]
            case {"node": name}:
                return values[name]
            case {"tensor": key}:
                array = parameters[key]
                return Tensor(array, graph.orders.get(key, tuple(range(array.ndim))))
            case {"dtype": name}:
                # The network computes in one type; the types of integers depend on a setting of JAX.
                return dtype if jnp.issubdtype(name, jnp.floating) else jax.dtypes.canonicalize_dtype(name)
            case {"number": text}:
                return float(text)
        return argument

    for node in graph.nodes:
        if node.name in values or (wanted is not None and node.name not in wanted):
            continue
        arguments = {name: value_of(argument) for name, argument in node.arguments.items()}
        arguments |= {name: choices[name] for name in aten.CHOICES.get(node.op, ())}
        with jax.named_scope(node.module or node.op):  # shown by profilers and in compiled programs
            try:
                values[node.name] = aten.OPERATIONS[node.op](**arguments)
            except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
                reason = str(error).partition("\n")[0]
                raise ValueError(f"{node.op} in module {node.module!r} of the network: {reason}") from error
    return values
