"""From a PyTorch module to a graph: trace it with torch.export, and write its operations down.

`torch.export` with no decompositions keeps convolutions, normalizations and attention whole. The module is wrapped, so
that the traced function returns the output of every submodule.
"""

import collections
import contextlib
import io
import logging
import math
import operator
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightjax.networks import aten, patterns
from lightjax.networks.aten.convolutions import KERNEL
from lightjax.networks.graph import Node, needed
from lightjax.networks.torch_bridge import ConversionError

if TYPE_CHECKING:
    import torch

WHOLE = "output"
"""Layer that holds what the network itself returns."""

_IGNORED = {"device", "layout", "pin_memory", "memory_format", "generator", "non_blocking", "copy", "cudnn_enabled"}
_RENAMED = {"self": "input"}
_SAME = {"alias", "clone", "contiguous", "detach", "dropout", "feature_dropout", "lift_fresh_copy"}
_INTEGERS = {
    operator.add: "int_add",
    operator.floordiv: "int_floordiv",
    operator.mod: "int_mod",
    operator.mul: "int_mul",
    operator.sub: "int_sub",
}
_ORDERS = {
    ("conv2d", "weight"): KERNEL,
    ("conv1d", "weight"): (2, 1, 0),
    ("conv_transpose2d", "weight"): (2, 3, 0, 1),
    ("linear", "weight"): (1, 0),
}
"""Orders of axes in which operations take their parameters without moving a number."""


class Trace(NamedTuple):
    """The operations of a module.

    Attributes:
      nodes: In the order of computation.
      layers: Names of the activations and the node of each, in the order of computation.
      tensors: Parameters by key, in PyTorch's order of axes.
      orders: For parameters that should lie in another order, that order.
    """

    nodes: tuple[Node, ...]
    layers: dict[str, str]
    tensors: dict[str, np.ndarray]
    orders: dict[str, tuple[int, ...]]


@contextlib.contextmanager
def evaluating(module: "torch.nn.Module") -> Iterator[None]:
    """Put a module and all of its parts into evaluation mode, and back afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def recorded(module: "torch.nn.Module", images: "torch.Tensor") -> dict[str, "torch.Tensor"]:
    """Outputs of all submodules, by path; "/2" is the second call, ".0" the first of several outputs."""
    import torch
    from torch.utils import _pytree

    found: dict[str, torch.Tensor] = {}
    calls: collections.Counter[str] = collections.Counter()

    def keep(path: str):
        path = f"{path}/1" if path == "input" else path  # "input" is the picture

        def hook(_module, _inputs, result) -> None:
            calls[path] += 1
            name = path if calls[path] == 1 else f"{path}/{calls[path]}"
            results = [r for r in _pytree.tree_leaves(result) if isinstance(r, torch.Tensor)]
            for number, tensor in enumerate(results):
                # A copy, because a rectifier that works in place would change what was recorded.
                found[name if len(results) == 1 else f"{name}.{number}"] = tensor.clone()

        return hook

    handles = [
        part.register_forward_hook(keep(path or WHOLE)) for path, part in module.named_modules(remove_duplicate=False)
    ]
    try:
        module(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def trace(module: "torch.nn.Module", channels: int, size: tuple[int, int]) -> Trace:
    """Write down what a module does with images of a size.

    Raises:
      ConversionError: If torch.export cannot trace the module, or it uses an operation that is not known to lightjax.
    """
    import torch

    names: list[str] = []

    class Recorder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = module

        def forward(self, images):
            found = recorded(self.net, images)
            names[:] = found
            return list(found.values())

    images = torch.zeros(2, channels, *size)
    batch = ({0: torch.export.Dim.AUTO},)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), _quiet(), torch.no_grad():
            warnings.simplefilter("ignore")
            exported = torch.export.export(Recorder(), (images,), dynamic_shapes=batch, strict=False)
            exported = exported.run_decompositions({})
    except Exception as error:  # torch.export lets the errors of the module and of a dozen of its own parts through
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConversionError(
            f"torch.export cannot trace {type(module).__name__} for {channels} channels of {size[0]}x{size[1]} "
            f"pixels: {reason}"
        ) from error
    (result,) = (node for node in exported.graph.nodes if node.op == "output")
    return _Writer(exported, "net.").write(names, list(result.args[0]))


def trace_program(program: Any) -> Trace:
    """Write down what a program of torch.export does. A layer is the last operation of its module.

    Raises:
      ConversionError: If the program takes one number of pictures only, or it uses an operation that is not known to
        lightjax.
    """
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        program = program.run_decompositions({})
    writer = _Writer(program, "")
    last = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and getattr(node.meta.get("val"), "ndim", 0) >= 2:
            for path, _ in node.meta.get("nn_module_stack", {}).values():
                last[path] = node
    (result,) = (node for node in program.graph.nodes if node.op == "output")
    results = [node for node in result.args[0] if node is not None]
    named = {path: node for path, node in last.items() if path}
    named |= {WHOLE if len(results) == 1 else f"{WHOLE}.{i}": node for i, node in enumerate(results)}
    return writer.write(list(named), list(named.values()))


def images_of(program: Any) -> tuple[int, tuple[int, int], bool]:
    """Channels and size of the images of a program of torch.export, and whether it takes that size only."""
    names = set(program.graph_signature.user_inputs)
    (images,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name in names)
    _, channels, *size = images.meta["val"].shape
    height, width = (n if isinstance(n, int) else int(n.node.hint) for n in size)
    return int(channels), (height, width), all(isinstance(n, int) for n in size)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch from writing a whole graph to the terminal when it fails."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class _Writer:
    """Writes the graph of an exported program down."""

    def __init__(self, exported: Any, prefix: str):
        self.prefix = prefix
        self.graph = exported.graph
        signature = exported.graph_signature
        sources = signature.inputs_to_parameters | signature.inputs_to_buffers
        sources |= signature.inputs_to_lifted_tensor_constants
        stored = {**exported.constants, **exported.state_dict}
        self.constants = {name: stored[key].detach() for name, key in sources.items()}
        self.keys = {name: key.removeprefix(prefix) for name, key in sources.items()}
        user = [node.name for node in self.graph.nodes if node.op == "placeholder" and node.name not in sources]
        if len(user) != 1:
            raise ConversionError(f"the network must take one argument, the images, got {len(user)}")
        (images,) = (node for node in self.graph.nodes if node.name == user[0])
        if str(images.meta["val"].shape[0]).isdigit():
            raise ConversionError(
                f"the network must take any number of pictures, but it takes {images.meta['val'].shape[0]} only: a "
                "number in it depends on the number of pictures"
            )
        self.same: dict[str, str] = {user[0]: "input"}  # nodes that have the value of another
        self.nodes: list[Node] = []

    def write(self, names: list[str], outputs: list[Any]) -> Trace:
        for node in self.graph.nodes:
            if node.op == "call_function":
                self._enter(node)
        layers: dict[str, str] = {
            name: str(self.same.get(node.name, node.name))
            for name, node in zip(names, outputs, strict=True)
            if node is not None and node.name not in self.constants
        }
        joined = patterns.joined(self.nodes)
        used = needed(joined, layers.values())
        nodes = tuple(node for node in joined if node.name in used)
        unknown = {node.op: node.module for node in reversed(nodes) if node.op not in aten.OPERATIONS}
        if unknown:
            told = ", ".join(f"{op} (in module {module!r})" for op, module in unknown.items())
            raise ConversionError(
                f"the network uses operations that lightjax does not know: {told}; they can be added in "
                "lightjax/networks/aten"
            )
        tensors, orders, uses = {}, {}, collections.defaultdict(set)
        for node in nodes:
            for name, argument in node.arguments.items():
                for key in _tensors(argument):
                    uses[key].add(_ORDERS.get((node.op, name)))
        values = {self.keys[name]: value for name, value in self.constants.items()}
        for key, wanted in uses.items():
            tensors[key] = _array(values[key])
            if len(wanted) == 1 and (order := next(iter(wanted))):
                orders[key] = order
        return Trace(nodes, layers, tensors, orders)

    def _enter(self, node: Any) -> None:
        import torch

        arguments: dict[str, Any] = {}
        if node.target is operator.getitem:
            op = "getitem"
            arguments = {"input": node.args[0], "index": node.args[1]}
        elif node.target in _INTEGERS:
            op = _INTEGERS[node.target]
            arguments = {"input": node.args[0], "other": node.args[1]}
        elif isinstance(node.target, torch._ops.OpOverload):
            op = node.target._schema.name.partition("::")[2]
            arguments = {
                argument.name: value for argument, value in zip(node.target._schema.arguments, node.args, strict=False)
            } | dict(node.kwargs)
        else:
            op = str(node.target)
        module = self._module(node)
        source = arguments.get("self", arguments.get("input"))
        if op in _SAME and isinstance(source, torch.fx.Node) and source.name not in self.constants:
            self.same[node.name] = self.same.get(source.name, source.name)
            return
        if self._fold(node, op):
            return
        written = {
            _RENAMED.get(name, name): self._written(value) for name, value in arguments.items() if name not in _IGNORED
        }
        self.nodes.append(Node(node.name, op, module, written))

    def _fold(self, node: Any, op: str) -> bool:
        """Compute a node that depends on nothing but parameters and numbers."""
        import torch
        from torch.fx.node import map_arg

        if not isinstance(node.target, torch._ops.OpOverload) or not isinstance(node.meta.get("val"), torch.Tensor):
            return False
        sources = list(node.all_input_nodes)
        if op in ("new_zeros", "new_ones", "new_full") and len(sources) == 1:
            # Only the type of the first argument counts.
            known = {sources[0]: torch.empty(0, dtype=sources[0].meta["val"].dtype)}
        elif all(source.name in self.constants for source in sources):
            known = {source: self.constants[source.name] for source in sources}
        else:
            return False
        args, kwargs = map_arg((node.args, node.kwargs), lambda source: known[source])
        self.constants[node.name] = node.target(*args, **kwargs)
        self.keys[node.name] = f"constant.{node.name}"
        return True

    def _written(self, value: Any) -> Any:
        """An argument as JSON."""
        import torch

        match value:
            case torch.fx.Node():
                if value.name in self.constants:
                    return {"tensor": self.keys[value.name]}
                return {"node": self.same.get(value.name, value.name)}
            case list() | tuple():
                return [self._written(item) for item in value]
            case torch.dtype():
                return {"dtype": str(value).removeprefix("torch.")}
            case float() if math.isinf(value):
                return {"number": "inf" if value > 0 else "-inf"}
        return value

    def _module(self, node: Any) -> str:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        return str(stack[-1][0]).removeprefix(self.prefix).removeprefix("net") if stack else ""


def _tensors(argument: Any) -> set[str]:
    match argument:
        case list():
            return {key for item in argument for key in _tensors(item)}
        case {"tensor": key}:
            return {key}
    return set()


def _array(tensor: "torch.Tensor") -> np.ndarray:
    """A tensor in NumPy; whole numbers as int32, which JAX computes with."""
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype in (torch.bfloat16, torch.float16, torch.float64):
        tensor = tensor.float()
    array = np.array(tensor.numpy())  # a copy: the network may train on
    return array.astype(np.int32) if array.dtype == np.int64 else array
