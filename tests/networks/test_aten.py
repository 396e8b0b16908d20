"""PyTorch's operations in JAX: a row for each, with PyTorch's values and PyTorch's gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightjax import ops
from lightjax.networks import aten, torch_network
from lightjax.networks.aten import Tensor
from lightjax.networks.graph import evaluate, needed
from lightjax.networks.torch_export import recorded

SHAPE = (2, 4, 9, 10)


def parameter(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


K3, K5, ONE, SPREAD = parameter(6, 4, 3, 3), parameter(4, 1, 5, 3), parameter(6, 4, 1, 1), parameter(6, 2, 3, 3)
DEPTH, STRETCH = parameter(8, 1, 3, 3), parameter(4, 3, 3, 2)
LINE, MATRIX, VECTOR, CHANNELS = parameter(5, 4, 3), parameter(7, 10), parameter(7), parameter(4)
MASK, FLAGS = parameter(9, 9), parameter(10) > 0
PLACES = torch.tensor([2, 0, 2, 1])


def tokens(x: torch.Tensor) -> torch.Tensor:
    """`[N, 90, 4]`, as a vision transformer has them."""
    return x.flatten(2).transpose(1, 2)


def heads(x: torch.Tensor) -> torch.Tensor:
    return tokens(x).reshape(-1, 90, 2, 2).permute(0, 2, 1, 3)


def norm_layer(layer: nn.Module) -> nn.Module:
    for name, value in [*layer.named_parameters(), *layer.named_buffers()]:
        if value.dtype.is_floating_point:
            value.data = parameter(*value.shape).abs() + 0.5 if "var" in name else parameter(*value.shape)
    return layer


NORMS = {
    "batch_norm": norm_layer(nn.BatchNorm2d(4)),
    "batch_norm without parameters": norm_layer(nn.BatchNorm2d(4, affine=False)),
    "group_norm": norm_layer(nn.GroupNorm(2, 4)),
    "instance_norm": norm_layer(nn.InstanceNorm2d(4, affine=True)),
    "layer_norm over the last axis": norm_layer(nn.LayerNorm(10)),
    "layer_norm over three axes": norm_layer(nn.LayerNorm((4, 9, 10))),
    "local_response_norm": nn.LocalResponseNorm(3, alpha=0.1, k=2.0),
    "local_response_norm of an even size": nn.LocalResponseNorm(2, alpha=0.1, k=2.0),
    "local_response_norm by another power": nn.LocalResponseNorm(3, alpha=0.1, beta=0.6),
    "prelu": nn.PReLU(4),
    "rms_norm": norm_layer(nn.RMSNorm(10, eps=1e-5)),
}
ROWS = {
    # elementwise
    "abs": torch.abs,
    "relu": F.relu,
    "relu in place on a copy": lambda x: F.relu_(x * 2),
    "relu6": lambda x: F.relu6(4 * x),
    "hardtanh": F.hardtanh,
    "clamp": lambda x: x.clamp(-0.5, 0.7),
    "clamp from above": lambda x: torch.clamp_max(x, 0.1),
    "clamp from below": lambda x: x.clamp(min=0.1),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": lambda x: F.elu(x, 0.7),
    "celu": lambda x: F.celu(x, 0.7),
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": lambda x: F.softplus(3 * x, 2, 4),
    "hardswish": lambda x: F.hardswish(3 * x),
    "hardsigmoid": lambda x: F.hardsigmoid(3 * x),
    "sigmoid": torch.sigmoid,
    "log_sigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "glu": lambda x: F.glu(x, 1),
    "exp, log, sqrt": lambda x: (x.abs() + 1).log().exp().sqrt().rsqrt().reciprocal(),
    "pow": lambda x: (x.abs() + 1) ** 1.7 + (x.abs() + 0.1) ** 0.75 + x**2 + 2**x,
    "rounded": lambda x: x * (3 * x).round() - x.floor() * x.sign() + -x + x.detach() // 0.3,
    "sin, cos": lambda x: x.sin() * x.cos(),
    "numbers on both sides": lambda x: 1 - (2 * x + 3) / 4 - 1 / (x.abs() + 1),
    "alpha": lambda x: torch.add(x, x.exp(), alpha=0.3) - torch.sub(x, 2, alpha=3) + torch.rsub(x, 2, alpha=0.5),
    "broadcast over layouts": lambda x: F.conv2d(x, ONE) * x[:, :1] + VECTOR[:6, None, None],
    "minimum, maximum": lambda x: torch.minimum(x, x.flip(2)) + torch.maximum(x, x * x),
    "where": lambda x: torch.where(x > 0.2, x, x * x),
    "masked_fill": lambda x: x.masked_fill(FLAGS, 0.3),
    "logic": lambda x: x * ((x > 0) & (x <= 1) | ~(x >= -1)).float() + x * (x != 0) + x * (x == x) + x * (x < 0.1),
    "logical": lambda x: x * torch.logical_or(torch.logical_and(x > 0, x < 1), torch.logical_not(x > -1)),
    "bits": lambda x: x * ((x > 0) ^ (x < 1)),
    "remainder": lambda x: x - torch.div(x, 0.3, rounding_mode="floor") - torch.remainder(x, 0.5),
    "addcmul, lerp": lambda x: torch.addcmul(x, x, x.exp(), value=0.2) + torch.lerp(x, x.exp(), 0.3),
    "to": lambda x: x.to(torch.float64).to(torch.float32).contiguous(),
    # convolutions and pools
    "conv2d": lambda x: F.conv2d(x, K3, VECTOR[:6], 1, 1),
    "conv2d, stride 2": lambda x: F.conv2d(x, K3, None, 2, 1),
    "conv2d, unequal strides and padding": lambda x: F.conv2d(x, K3, None, (2, 1), (0, 2)),
    "conv2d, same": lambda x: F.conv2d(x, K3, padding="same"),
    "conv2d, dilated": lambda x: F.conv2d(x, K3, None, 1, 2, 2),
    "conv2d, grouped": lambda x: F.conv2d(x, SPREAD, None, 2, 1, 1, 2),
    "conv2d, depthwise": lambda x: F.conv2d(x, K5, None, 1, (2, 1), 1, 4),
    "conv2d, depthwise, two a channel, stride 2": lambda x: F.conv2d(x, DEPTH, None, 2, 1, 1, 4),
    "conv2d, 1x1": lambda x: F.conv2d(x, ONE),
    "conv2d, 1x1, stride 2": lambda x: F.conv2d(x, ONE, None, 2),
    "conv2d, patches": lambda x: F.conv2d(x, K3, VECTOR[:6], 3),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, STRETCH, None, 2, 1, 1),
    "conv_transpose2d, grouped": lambda x: F.conv_transpose2d(x, STRETCH, None, (1, 2), 0, 0, 2, (2, 1)),
    "conv1d": lambda x: F.conv1d(x.flatten(2), LINE, None, 2, 1),
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2),
    "max_pool2d, ties": lambda x: F.max_pool2d(F.relu(x - 0.5), 3, 2, 1),
    "max_pool2d, 2x2": lambda x: F.max_pool2d(x, 2),
    "max_pool2d, ceil": lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True) + F.max_pool2d(x, 3, 2, 1)[..., :5],
    "max_pool2d, wide": lambda x: F.max_pool2d(x, (5, 3), (1, 2), (2, 1)),
    "max_pool2d, dilated": lambda x: F.max_pool2d(x, 3, 1, 1, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "avg_pool2d without the margin": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_pool2d, ceil": lambda x: F.avg_pool2d(x, 2, ceil_mode=True),
    "avg_pool2d, own divisor": lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    "adaptive_avg_pool2d to one": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (4, 3)),
    "nearest": lambda x: F.interpolate(x, (13, 5)),
    "nearest by a factor": lambda x: F.interpolate(x, scale_factor=1.7),
    "bilinear": lambda x: F.interpolate(x, (13, 5), mode="bilinear"),
    "bilinear, corners": lambda x: F.interpolate(x, (13, 5), mode="bilinear", align_corners=True),
    "bicubic": lambda x: F.interpolate(x, (13, 7), mode="bicubic"),
    # products, attention
    "linear": lambda x: F.linear(x, MATRIX, VECTOR),
    "linear, channels last": lambda x: F.linear(x.permute(0, 2, 3, 1), ONE[:, :, 0, 0]).permute(0, 3, 1, 2),
    "linear along another axis": lambda x: F.linear(F.conv2d(x, ONE), MATRIX),
    "matmul": lambda x: x @ MATRIX.T,
    "matmul of batches": lambda x: tokens(x) @ x.flatten(2),
    "bmm, baddbmm": lambda x: torch.baddbmm(tokens(x) @ tokens(x).transpose(1, 2), tokens(x), x.flatten(2), alpha=0.1),
    "mm, bmm": lambda x: torch.mm(x[0, 0], MATRIX.T)[:2] + torch.bmm(tokens(x), x.flatten(2))[:1, :2, :7],
    "addmm": lambda x: torch.addmm(VECTOR, x.mean((1, 2)), MATRIX.T, beta=0.5),
    "einsum": lambda x: torch.einsum("nchw,ok->nchok", x[..., :7], MATRIX.T[:, :3])[..., 0],
    "attention": lambda x: F.scaled_dot_product_attention(heads(x), heads(x).flip(1), heads(x)),
    "attention, causal, scaled": lambda x: F.scaled_dot_product_attention(
        heads(x), heads(x), heads(x), is_causal=True, scale=0.3
    ),
    "attention with a mask": lambda x: F.scaled_dot_product_attention(
        x[..., :9], x[..., :9], x[..., :9], attn_mask=MASK
    ),
    "softmax": lambda x: x.softmax(1) + x.log_softmax(-1),
    "normalize": lambda x: F.normalize(x, dim=1),
    # shapes
    "flatten": lambda x: x.flatten(1),
    "flatten positions": lambda x: F.conv2d(x, ONE).flatten(2),
    "view in groups": lambda x: F.conv2d(x, ONE).view(-1, 2, 3, 9, 10).transpose(1, 2).reshape(-1, 6, 9, 10),
    "windows": lambda x: x.view(-1, 4, 3, 3, 5, 2).permute(0, 2, 4, 3, 5, 1).reshape(x.shape[0], -1, 4),
    "unflatten": lambda x: x.unflatten(2, (3, -1)),
    "squeeze, unsqueeze": lambda x: x.unsqueeze(2).squeeze() + x[:, :1].squeeze(1).unsqueeze(1),
    "permute": lambda x: F.conv2d(x, ONE).permute(0, 3, 1, 2),
    "transpose, movedim": lambda x: x.transpose(1, 3).movedim((1, 2), (3, 1)),
    "expand": lambda x: x[:, :1].expand(-1, 5, -1, -1) + CHANNELS[:1].expand(x.shape[0], 5, 9, 10),
    "repeat": lambda x: x.repeat(1, 2, 1, 2),
    "select, slice": lambda x: x[:, 1] + x[:, -2:, :, :].sum(1) + x[:, ::2].sum(1),
    "split, chunk": lambda x: x.split(4, 3)[1] * x.split((3, 4, 3), 3)[1] + x.chunk(3, 3)[0],
    "unbind, stack": lambda x: torch.stack(x.unbind(1)[::-1], 2),
    "cat": lambda x: torch.cat([x, F.conv2d(x, ONE), x * 2], 1),
    "roll": lambda x: torch.roll(x, (1, -2), (2, 3)),
    "flip": lambda x: x.flip((1, 3)),
    "index": lambda x: x[:, :, PLACES] + x[:, PLACES, :4],
    "index_select": lambda x: x.index_select(2, PLACES),
    "gather": lambda x: x.gather(3, x.argmax(3, keepdim=True)),
    "pad": lambda x: F.pad(x, (1, 2, 0, -3), value=0.5),
    "pad, reflect": lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"),
    "pad, replicate": lambda x: F.pad(x, (1, 2, 3, 0), mode="replicate"),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[:, :, :8], 2),
    "written to": lambda x: _written(x),
    # reductions and constants
    "mean, sum": lambda x: x.mean((2, 3), keepdim=True) + x.sum(1, keepdim=True) + x.mean() + x.sum(-1, keepdim=True),
    "amax, amin, max": lambda x: x.amax((1, 2)) - x.amin((1, 2)) + x.max(1)[0].max(1).values,
    "var, std": lambda x: x.var(1) + x.std((1,), unbiased=False),
    "var_mean": lambda x: torch.var_mean(x, 1, correction=0)[0] + torch.var_mean(x, 1)[1],
    "length": lambda x: x.norm(dim=1) + torch.linalg.vector_norm(x, dim=1),
    "cumsum": lambda x: x.cumsum(2),
    "topk": lambda x: x.topk(3, 1).values,
    "prod, any, all": lambda x: x.prod(1) * (x > 1).any(1) + x.mean(1) * (x > -1).all(1),
    "sizes": lambda x: x.reshape((x.shape[0] * 6 - x.shape[0] - 1 + 1) // 5 * 2, -1, x.shape[3]).mean(1)[::2],
    "made of numbers": lambda x: (
        x * torch.arange(10) + torch.ones_like(x) - torch.zeros_like(x) + x.new_full((9, 10), 2)
    ),
    "as many as pictures": lambda x: _as_many(x, x.shape[0]),
    "filled": lambda x: x * torch.full_like(x, 2).fill_(3),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x.flatten(2), 7),
}


def _written(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[:, 1:3] = x[:, :2] * 2
    y[:, 0, 2] += 1
    return y


def _as_many(x: torch.Tensor, n: int) -> torch.Tensor:
    for size in (n + 3, n * 4 - 3, n * 3 // 2, n % 3 + 1):
        x = x + torch.ones(size).mean()
    x = x + torch.zeros(n, 1, 1, 1) + torch.full((n, 1, 1, 1), 2.0) + x.new_zeros(n, 1, 1, 1)
    return x + x.new_full((n, 1, 1, 1), 3) + x.new_ones(n, 4, 1, 1) + torch.arange(n)[:, None, None, None]


class Row(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        named = {name: Row(function) for name, function in ROWS.items()} | NORMS
        self.rows = nn.ModuleDict({f"{name},": row for name, row in named.items()})

    def forward(self, x):
        return [row(x) for row in self.rows.values()]


@pytest.fixture(scope="module")
def rows():
    """All rows as one network, and its conversion."""
    module = Rows()
    network = torch_network.from_torch(module, size=SHAPE[2:], mean=(0,) * 4, std=(1,) * 4, check=False)
    return module.eval(), network


def test_every_operation_has_pytorchs_value(rows):
    module, network = rows
    differences = torch_network.compare(network, module)
    differences = {name.removeprefix("rows."): value for name, value in differences.items() if "rows." in name}
    assert differences.keys() == module.rows.keys()
    assert max(differences.values()) < 2e-5


def test_every_operation_has_pytorchs_gradient(rows):
    module, network = rows
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    pictures = torch.tensor(x, requires_grad=True)
    outputs = {name: y for name, y in recorded(module, pictures).items() if name.startswith("rows.")}
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(size=y.shape).astype(np.float32) for name, y in outputs.items()}
    nodes = {output.layer: output.node for output in network.graph.outputs}

    def gradient(x, name):
        def value(x):
            images = {"input": Tensor(x, (0, 1, 2, 3), 1)}
            found = evaluate(
                network.graph, network.parameters, images, ops.relu, needed(network.graph.nodes, [nodes[name]])
            )
            return found[nodes[name]].home

        return jax.vjp(value, x)[1](jnp.asarray(weights[name]))[0]

    gradients = jax.jit(lambda x: {name: gradient(x, name) for name in weights})(x)
    for name, found in gradients.items():
        (expected,) = torch.autograd.grad(outputs[name], pictures, torch.tensor(weights[name]), retain_graph=True)
        expected = expected.numpy()
        assert np.abs(found - expected).max() < 1e-5 * (np.abs(expected).max() or 1), name


def test_every_operation_of_the_table_is_in_a_row(rows):
    used = {node.op for node in rows[1].graph.nodes}
    assert sorted(aten.OPERATIONS.keys() - used) == []


def test_a_permutation_moves_nothing():
    value = Tensor(jnp.zeros((2, 9, 10, 4)), aten.CHANNELS_LAST, 1)
    moved = aten.OPERATIONS["permute"](value, (0, 2, 3, 1))
    assert moved.array is value.array
    assert moved.order == (0, 1, 2, 3)
    assert (moved.channel, moved.shape) == (3, (2, 9, 10, 4))
    joined = aten.OPERATIONS["view"](value, (2, 4, 90))
    assert (joined.order, joined.array.shape, joined.channel) == ((0, 2, 1), (2, 90, 4), 1)
    assert dataclasses.replace(joined, order=(0, 1, 2)).shape == (2, 90, 4)
