"""Operations against NumPy, PyTorch, and automatic differentiation."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from lightjax import ops
from tests.parity.reference import RedirectedReLU


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_close(actual, expected, tolerance: float = 1e-5):
    """Equal up to `tolerance` times the largest expected value."""
    scale = max(float(np.abs(expected).max()), 1e-30)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


# Convolution


def plain_conv(x, kernel, stride, padding):
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


CONVS = {
    "1x1": (1, 1, ((0, 0), (0, 0))),
    "1x1_stride2": (1, 2, ((0, 0), (0, 0))),
    "1x1_padded": (1, 1, ((1, 2), (0, 3))),
    "2x2_uneven": (2, 1, ((0, 1), (1, 0))),
    "3x3": (3, 1, ((1, 1), (1, 1))),
    "3x3_valid_stride2": (3, 2, ((0, 0), (0, 0))),
    "3x3_uneven_stride2": (3, 2, ((0, 1), (2, 0))),
    "3x3_wide_padding": (3, 1, ((4, 0), (0, 5))),
    "5x5": (5, 1, ((2, 2), (2, 2))),
    "7x7_uneven_stride2": (7, 2, ((2, 3), (3, 2))),
    "7x7_stride2": (7, 2, ((3, 3), (3, 3))),
    "5x5_uneven_stride3": (5, 3, ((1, 2), (3, 0))),
    "2x2_stride4": (2, 4, ((0, 1), (1, 0))),
}
convs = pytest.mark.parametrize(("size", "stride", "padding"), CONVS.values(), ids=CONVS)


def conv_and_gradients(conv, x, kernel, weights, stride, padding):
    value, pullback = jax.vjp(lambda x, kernel: conv(x, kernel, stride, padding), x, kernel)
    return value, *pullback(weights[:, : value.shape[1], : value.shape[2]])


@convs
def test_conv_and_both_gradients_are_those_of_automatic_differentiation(size, stride, padding):
    x, kernel, weights = normal(2, 11, 14, 3), normal(size, size, 3, 5, seed=1), normal(2, 20, 20, 5, seed=2)
    actual = conv_and_gradients(ops.conv, x, kernel, weights, stride, padding)
    expected = conv_and_gradients(plain_conv, x, kernel, weights, stride, padding)
    jax.tree.map(assert_close, actual, expected)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=["images", "kernels", "both"])
def test_conv_and_both_gradients_under_vmap(axes):
    x, kernel = normal(3, 2, 9, 8, 3), normal(3, 3, 3, 3, 4, seed=1)
    x, kernel = (array if axis == 0 else array[0] for array, axis in zip((x, kernel), axes, strict=True))
    weights = normal(2, 9, 8, 4, seed=2)

    def both(conv):
        return jax.vmap(lambda x, k: conv_and_gradients(conv, x, k, weights, 2, ((0, 1), (1, 1))), axes)(x, kernel)

    jax.tree.map(assert_close, both(ops.conv), both(plain_conv))


def test_conv_gradients_inside_a_loop():
    x, kernel = normal(1, 10, 13, 3), 0.1 * normal(7, 7, 3, 4, seed=1)

    def ascend(conv, carry):
        def objective(x, kernel):
            return jnp.tanh(conv(x, kernel, 2, ((2, 3), (2, 3)))).sum()

        return jax.tree.map(lambda value, slope: value + 0.01 * slope, carry, jax.grad(objective, (0, 1))(*carry))

    looped = jax.jit(lambda carry: lax.fori_loop(0, 5, lambda _, carry: ascend(ops.conv, carry), carry))
    expected = functools.reduce(lambda carry, _: ascend(plain_conv, carry), range(5), (x, kernel))
    jax.tree.map(assert_close, looped((x, kernel)), expected)


@pytest.mark.parametrize(
    "padding", [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 0), (0, 1))], ids=["same", "valid", "odd"]
)
def test_conv_of_many_channels_in_tiles_is_as_precise_as_xlas(padding):
    x, kernel, weights = normal(2, 22, 25, 64), normal(3, 3, 64, 68, seed=1), normal(2, 22, 25, 68, seed=2)
    run = jax.jit(conv_and_gradients, static_argnums=(0, 4, 5))
    actual, text = (of(ops.conv, x, kernel, weights, 1, padding) for of in (run, lambda *a: run.lower(*a).as_text()))
    assert re.search("16x[0-9]{3}x64x", text)  # tiles of 4 x 4 entries
    with jax.enable_x64(True):
        exact = jax.tree.map(
            np.asarray, run(plain_conv, *(a.astype(np.float64) for a in (x, kernel, weights)), 1, padding)
        )

    def error(found):
        pairs = zip(map(np.asarray, found), exact, strict=True)
        return max(np.abs(one - other).max() / np.abs(other).max() for one, other in pairs)

    usual = error(run(plain_conv, x, kernel, weights, 1, padding))
    assert error(actual) < min(2e-6, 4 * usual)


DEPTHWISE = {
    "3x3": (3, 1, (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "5x5_unequal_strides": (5, 1, (2, 1), ((2, 1), (0, 3)), (1, 1)),
    "3x3_dilated_stride2": (3, 2, (2, 2), ((2, 2), (1, 0)), (2, 1)),
    "2x2_stride3_valid": (2, 3, (3, 3), ((0, 0), (0, 0)), (1, 1)),
    "3x3_wide_padding": (3, 1, (1, 2), ((4, 0), (0, 5)), (1, 1)),
}


@pytest.mark.parametrize(("size", "each", "strides", "padding", "dilation"), DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise_conv_and_both_gradients_are_those_of_automatic_differentiation(
    size, each, strides, padding, dilation
):
    x, kernel = normal(2, 9, 12, 4), normal(size, size, 1, 4 * each, seed=1)

    def plain(x, kernel):
        layout = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 4}
        return lax.conv_general_dilated(x, kernel, strides, padding, rhs_dilation=dilation, **layout)

    def both(conv):
        value, pullback = jax.vjp(conv, x, kernel)
        return value, *pullback(jnp.cos(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape))

    found = both(lambda x, kernel: ops.conv(x, kernel, strides, padding, dilation=dilation, groups=4))
    jax.tree.map(assert_close, found, both(plain))


# Max pool

POOLS = {
    "stride1": (1, ((1, 1), (1, 1))),
    "stride2_after": (2, ((0, 1), (0, 1))),
    "stride2_uneven": (2, ((1, 1), (0, 1))),
    "stride2_valid": (2, ((0, 0), (0, 0))),
}
INPUTS = {
    "random": normal(2, 9, 12, 4),
    "negative": normal(2, 9, 12, 4) - 10,
    "ties": np.random.default_rng(0).integers(-1, 2, (2, 9, 12, 4)).astype(np.float32),
    "constant": np.full((2, 9, 12, 4), -1, np.float32),
}


def torch_max_pool(x: torch.Tensor, stride: int, padding) -> torch.Tensor:
    (top, bottom), (left, right) = padding
    padded = F.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom), value=-math.inf)
    return F.max_pool2d(padded, 3, stride).permute(0, 2, 3, 1)


@pytest.mark.parametrize(("stride", "padding"), POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
def test_max_pool_and_gradient_are_pytorch_s_even_on_ties(x, stride, padding):
    source = torch.tensor(x, requires_grad=True)
    expected = torch_max_pool(source, stride, padding)
    weights = normal(*expected.shape, seed=1)
    expected.backward(torch.tensor(weights))

    value, pullback = jax.vjp(lambda x: ops.max_pool(x, stride, padding), x)
    np.testing.assert_array_equal(value, expected.detach().numpy())
    assert_close(pullback(weights)[0], source.grad.numpy(), 1e-6)


def test_max_pool_sends_the_gradient_of_equal_entries_to_the_first_in_reading_order():
    window = np.array([[0, 1, 0], [2, 1, 2], [2, 0, 0]], np.float32).reshape(1, 3, 3, 1)
    gradient = jax.grad(lambda x: ops.max_pool(x, 1, ((0, 0), (0, 0))).sum())(window)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 0, 0], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(("stride", "padding"), POOLS.values(), ids=POOLS)
def test_max_pool_shows_nan_in_every_window_that_holds_one(stride, padding):
    x = normal(1, 9, 12, 1)
    x[0, 4, 5] = x[0, 0, 0] = np.nan
    expected = torch_max_pool(torch.tensor(x), stride, padding).numpy()
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(ops.max_pool(x, stride, padding), expected)


def test_max_pool_refuses_a_stride_of_0():
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        ops.max_pool(jnp.zeros((1, 5, 5, 3)), 0, ((0, 0), (0, 0)))


def test_max_pool_refuses_activations_smaller_than_a_window():
    with pytest.raises(ValueError, match="1x5 are too small"):
        ops.max_pool(jnp.zeros((1, 1, 5, 3)), 2, ((0, 1), (0, 1)))


# Attention


def test_softmax_product_and_gradients_are_those_of_the_softmax_and_the_product():
    scores, values, weights = 5 * normal(2, 3, 7, 6), normal(2, 3, 6, 5, seed=1), normal(2, 3, 7, 5, seed=2)
    scores[..., 2:4] = -np.inf

    def both(function):
        value, pullback = jax.vjp(function, scores, values)
        return value, *pullback(weights)

    jax.tree.map(assert_close, both(ops.softmax_product), both(lambda s, v: jax.nn.softmax(s, axis=-1) @ v))


# Local response normalization

NORMS = {
    "inception5h": (5, 2.0, 1e-4, 0.5),
    "torchlight": (4, 1.0, 1e-4 / 9, 0.5),
    "caffe": (2, 1.0, 1e-4 / 5, 0.75),
}
norms = pytest.mark.parametrize(("radius", "bias", "alpha", "beta"), NORMS.values(), ids=NORMS)


@norms
@pytest.mark.parametrize("channels", [16, 3])
def test_local_response_norm_divides_by_the_neighboring_channels(channels, radius, bias, alpha, beta):
    x = 200 * normal(2, 3, 4, channels)
    expected = np.empty_like(x)
    for channel in range(channels):
        neighbors = x[..., max(channel - radius, 0) : channel + radius + 1].astype(np.float64)
        expected[..., channel] = x[..., channel] / (bias + alpha * (neighbors**2).sum(-1)) ** beta
    assert_close(ops.local_response_norm(x, radius, bias, alpha, beta), expected)


@norms
def test_local_response_norm_has_pytorch_s_gradient(radius, bias, alpha, beta):
    x, weights = 200 * normal(2, 3, 4, 16), normal(2, 3, 4, 16, seed=1)
    source = torch.tensor(x, requires_grad=True)
    size = 2 * radius + 1
    normalized = F.local_response_norm(source.permute(0, 3, 1, 2), size, alpha * size, beta, bias)
    normalized.backward(torch.tensor(weights).permute(0, 3, 1, 2))
    _, pullback = jax.vjp(lambda x: ops.local_response_norm(x, radius, bias, alpha, beta), x)
    assert_close(pullback(weights)[0], source.grad.numpy())


def test_local_response_norm_refuses_other_exponents():
    with pytest.raises(ValueError, match=r"beta must be 0\.5 or 0\.75, got 1\.0"):
        ops.local_response_norm(jnp.ones((1, 1, 1, 4)), 2, 1.0, 1e-4, 1.0)


# Rectifiers, against tables of their gradients

#  x     g  plain  torchlight  lucid, other gradients alive  lucid, none alive
TABLE = [
    (-2.0, -3.0, 0.0, -0.3, 0.0, 0.0),
    (-2.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (-2.0, 3.0, 0.0, 0.3, 0.0, 3.0),
    (0.0, -3.0, 0.0, -3.0, -3.0, -3.0),
    (0.0, 3.0, 0.0, 3.0, 3.0, 3.0),
    (2.0, -3.0, -3.0, -3.0, -3.0, -3.0),
    (2.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (2.0, 3.0, 3.0, 3.0, 3.0, 3.0),
]
X, G, PLAIN, TORCHLIGHT, LUCID_ALIVE, LUCID_VANISHED = np.array(TABLE, np.float32).T


def gradient(relu, x, g):
    """Gradient by `x`, if the gradient by the output is `g`."""
    return jax.grad(lambda x: (g * relu(x)).sum())(jnp.asarray(x))


@pytest.mark.parametrize("relu", [ops.relu, ops.leaky_gradient_relu, ops.lucid_relu])
def test_rectifiers_are_the_larger_of_the_input_and_zero(relu):
    np.testing.assert_array_equal(relu(X[:, None]), np.where(X > 0, X, 0)[:, None])


def test_plain_gradient_table():
    np.testing.assert_array_equal(gradient(ops.relu, X, G), PLAIN)


def test_torchlight_gradient_table():
    np.testing.assert_allclose(gradient(ops.leaky_gradient_relu, X, G), TORCHLIGHT, rtol=1e-6)


def test_lucid_gradient_table_of_examples_that_vanish():
    """Each row of the table is an example of the batch."""
    np.testing.assert_array_equal(gradient(ops.lucid_relu, X[:, None], G[:, None])[:, 0], LUCID_VANISHED)


def test_lucid_gradient_table_of_examples_kept_alive_by_another_unit():
    x, g = np.stack([X, np.ones_like(X)], 1), np.stack([G, np.ones_like(G)], 1)
    np.testing.assert_array_equal(gradient(ops.lucid_relu, x, g)[:, 0], LUCID_ALIVE)


def test_torchlight_gradient_is_that_of_its_pytorch_function():
    x, g = normal(3, 5, 5, 7), normal(3, 5, 5, 7, seed=1)
    x[0, 0] = 0
    source = torch.tensor(x, requires_grad=True)
    RedirectedReLU.apply(source).backward(torch.tensor(g))
    assert_close(gradient(ops.leaky_gradient_relu, x, g), source.grad.numpy(), 1e-6)


def half_vanished():
    """Activations of two examples, the gradient by their rectified values, and the gradient by Lucid's rule.

    Both examples have the same negative units. In the first, only negative units have a gradient.
    """
    x, g = normal(2, 4, 4, 3), normal(2, 4, 4, 3, seed=1)
    x[1] = x[0]
    g[1] = g[0]
    g[0][x[0] >= 0] = 0
    expected = np.stack([np.where((x[0] < 0) & (g[0] > 0), g[0], 0), np.where(x[1] >= 0, g[1], 0)])
    assert expected[0].any()
    assert expected[1].any()
    return x, g, expected


def test_lucid_redirects_each_example_by_itself():
    x, g, expected = half_vanished()
    np.testing.assert_array_equal(gradient(ops.lucid_relu, x, g), expected)
    np.testing.assert_array_equal(jax.jit(functools.partial(gradient, ops.lucid_relu))(x, g), expected)


def test_lucid_redirects_each_example_by_itself_under_vmap():
    x, g, expected = half_vanished()
    one = functools.partial(gradient, ops.lucid_relu)
    np.testing.assert_array_equal(jax.vmap(one)(x[:, None], g[:, None])[:, 0], expected)
    swapped = jax.vmap(one)(np.stack([x, x[::-1]]), np.stack([g, g[::-1]]))
    np.testing.assert_array_equal(swapped, np.stack([expected, expected[::-1]]))


def test_lucid_redirects_only_during_its_first_steps():
    x, g, redirected = half_vanished()
    plain = np.where(x >= 0, g, 0)

    def at(step):
        return gradient(ops.rectifier("lucid", step), x, g)

    steps = [0, 1, ops.LUCID_STEPS - 1, ops.LUCID_STEPS, 10 * ops.LUCID_STEPS]
    expected = [redirected, redirected, redirected, plain, plain]
    traced = jax.jit(at)
    for step, gradients in zip(steps, expected, strict=True):
        np.testing.assert_array_equal(at(step), gradients)
        np.testing.assert_array_equal(traced(step), gradients)
    np.testing.assert_array_equal(jax.vmap(at)(jnp.array(steps)), expected)


@pytest.mark.parametrize(("rule", "relu"), [("plain", ops.relu), ("torchlight", ops.leaky_gradient_relu)])
def test_rules_without_memory_are_the_same_at_every_step(rule, relu):
    assert ops.rectifier(rule) is ops.rectifier(rule, 1000) is relu


def test_an_unknown_rule_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown ReLU rule 'torchligth'; did you mean 'torchlight'"):
        ops.rectifier("torchligth")
    with pytest.raises(ValueError, match="known are 'torchlight', 'lucid', 'plain'"):
        ops.rectifier("xyz")
    with pytest.raises(TypeError, match="ReLU rule must be a string, got 3"):
        ops.rectifier(3)


# Padding

lengths = st.integers(1, 1000), st.integers(1, 11), st.integers(1, 5)


@settings(deadline=None)
@given(*lengths)
def test_same_padding_gives_one_output_per_stride_begun(size, kernel, stride):
    padded = size + sum(ops.same_padding(size, kernel, stride))
    assert (padded - kernel) // stride + 1 == math.ceil(size / stride)


@settings(deadline=None)
@given(*lengths)
def test_same_padding_is_tensorflow_s_rule(size, kernel, stride):
    """The form in TensorFlow's documentation, and XLA's."""
    total = max(kernel - (size % stride or stride), 0)
    assert ops.same_padding(size, kernel, stride) == (total // 2, total - total // 2)
    assert [ops.same_padding(size, kernel, stride)] == lax.padtype_to_pads((size,), (kernel,), (stride,), "SAME")


# Resampling


def affine(degrees: float, scales: tuple[float, float], shift: tuple[float, float]) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    linear = np.diag(1 / np.array(scales)) @ [[cos, sin], [-sin, cos]]
    return np.vstack([np.column_stack([linear, shift]), [0, 0, 1]])


@functools.partial(jax.jit, static_argnames="stretch")
def resample_gradient(matrix, stretch):
    rng = np.random.default_rng(0)
    image, beyond, weights = rng.random((7, 9, 3)), rng.random(3), rng.standard_normal((8, 6, 3))
    return jax.grad(lambda image: (ops.resample(image, beyond, matrix, (8, 6), stretch) * weights).sum())(image)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-180, 180),
    st.tuples(st.floats(0.5, 1.5), st.floats(0.5, 1.5)),
    st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
)
def test_gathered_gradient_of_a_resample_is_that_of_automatic_differentiation(degrees, scales, shift):
    with jax.enable_x64(True):
        matrix = affine(degrees, scales, shift)
        stretch = np.abs(np.linalg.inv(matrix[:2, :2])).sum(1).max()
        steps = math.ceil(2 * stretch) / 2  # few values, so few programs; the gradient is the same between them
        np.testing.assert_allclose(
            resample_gradient(matrix, stretch=steps), resample_gradient(matrix, stretch=math.inf), atol=1e-9
        )


def test_a_resample_has_the_same_values_however_its_gradient_is_made():
    matrix, image = affine(12, (1.1, 0.9), (2, -1)), np.random.default_rng(0).random((7, 9, 3), np.float32)
    gathered, scattered = (
        ops.resample(image, np.zeros(3, np.float32), matrix, (8, 6), stretch) for stretch in (1.4, np.inf)
    )
    np.testing.assert_array_equal(gathered, scattered)
