"""Operations that PyTorch writes as several: they become one again, with the derivative that `ops` has for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightjax.networks.graph import Node

_NORM = ("div", "pow", "add", "mul", "view", "squeeze", "avg_pool3d", "pad", "view", "mul")
"""`torch.nn.functional.local_response_norm`, from its result back to the square of its input."""


def joined(nodes: Sequence[Node]) -> list[Node]:
    """The same nodes, with one operation in place of the last of each pattern; the others of it may be unused now."""
    by_name = {node.name: node for node in nodes}
    return [_response_norm(node, by_name) or node for node in nodes]


def _response_norm(node: Node, by_name: Mapping[str, Node]) -> Node | None:
    """A local response normalization that ends in this node, if `ops` can compute it."""
    chain = [node]
    while len(chain) < len(_NORM):
        last = chain[-1]
        before = _node(last.arguments.get("other" if last is node else "input"), by_name)
        if last.op != _NORM[len(chain) - 1] or before is None:
            return None
        chain.append(before)
    _, power, biased, scaled, whole, squeeze, pool, pad, planes, square = chain
    source, size, beta = node.arguments["input"], pool.arguments["kernel_size"][0], power.arguments["exponent"]
    alpha, k = scaled.arguments.get("other"), biased.arguments.get("other")
    back, forth = whole.arguments["size"], planes.arguments["size"]  # [N, C, H, W], [N, 1, C, H, W]
    expected = [
        (square, {"input": source, "other": source}),
        (planes, {"size": [forth[0], 1, *back[1:3], -1]}),
        (pad, {"pad": [0, 0, 0, 0, size // 2, size // 2]}),
        (pool, {"kernel_size": [size, 1, 1], "stride": [1, 1, 1]}),
        (squeeze, {"dim": 1}),
        (whole, {"size": back[:4]}),
        (scaled, {"other": alpha}),
        (biased, {"other": k}),
        (power, {"exponent": beta}),
        (node, {"other": node.arguments["other"]}),
    ]
    as_expected = all({"input": one.arguments["input"], **others} == one.arguments for one, others in expected)
    numbers = all(type(number) in (int, float) for number in (alpha, k, beta))
    if not (as_expected and numbers and size % 2 and beta in (0.5, 0.75)):
        return None
    arguments = {"input": source, "size": size, "alpha": alpha, "beta": beta, "k": k}
    return node._replace(op="local_response_norm", arguments=arguments)


def _node(argument: Any, by_name: Mapping[str, Node]) -> Node | None:
    return by_name.get(argument["node"]) if isinstance(argument, dict) and "node" in argument else None
