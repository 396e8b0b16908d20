"""The rest of a network, its gradient through max pools, and forward mode by transposition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lightjax as lj
from lightjax import ops
from lightjax.analysis.rest import goal_of, images_of, pushed_forward, shapes_of, values_of

LOGITS = "softmax2_pre_activation_matmul"


def smooth(x, rule):
    """What the gradient of a window is that of, in NumPy's terms."""
    return x.mean() if rule == "mean" else (x * x).mean() / (0.01 + jnp.abs(x).mean())


@pytest.mark.parametrize("rule", ["relaxed", "mean"])
@pytest.mark.parametrize("padding", [((0, 1), (0, 1)), ((1, 1), (2, 0))])
def test_a_pool_keeps_its_maximum_and_gets_the_gradient_of_each_window(rule, padding):
    x = jax.random.normal(jax.random.key(0), (1, 5, 6, 2))
    pooled, back = jax.vjp(lambda x: ops.pooling(rule)(x, 2, padding), x)
    np.testing.assert_array_equal(pooled, ops.max_pool(x, 2, padding))
    cotangent = jax.random.normal(jax.random.key(1), pooled.shape)
    expected = np.zeros(x.shape)
    for i, j, c in np.ndindex(*pooled.shape[1:]):
        rows = slice(max(2 * i - padding[0][0], 0), min(2 * i - padding[0][0] + 3, 5))
        columns = slice(max(2 * j - padding[1][0], 0), min(2 * j - padding[1][0] + 3, 6))
        gradient = jax.grad(smooth)(np.asarray(x)[0, rows, columns, c], rule)
        expected[0, rows, columns, c] += cotangent[0, i, j, c] * gradient
    np.testing.assert_allclose(back(cotangent)[0], expected, atol=1e-6)


def three_layers(images, relu=jax.nn.relu):
    """A network with a branch: b is computed from a alone, d from b and beside it from the images."""
    a = relu(images * jnp.arange(1.0, 4) - 1)
    b = jax.lax.reduce_window(a, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
    d = {"c": b.mean((1, 2)) + images.mean((1, 2)), "d": b.sum((1, 2))}
    return {"a": a, "b": b, "deep": d}


def test_the_rest_of_a_function_equals_the_whole_and_its_pools_get_the_wanted_gradient():
    images = jax.random.uniform(jax.random.key(0), (2, 7, 7, 3))
    whole = three_layers(images)
    rest = lj.rest(three_layers, "a", size=7)
    with pytest.raises(ValueError, match="images must be given: 'a' is one of several branches"):
        rest(whole["a"])
    found = rest(whole["a"], images)
    for name in ("c", "d"):  # sums round by the version of JAX
        np.testing.assert_allclose(found[f"deep/{name}"], whole["deep"][name], rtol=1e-6)
    gradients = {}
    for rule in ("max", "relaxed", "mean"):
        one = lj.rest(three_layers, "a", size=7, pool=rule)
        gradients[rule] = jax.grad(lambda a, one=one: one(a, images)["deep/d"].sum())(whole["a"])
    assert (gradients["max"] == 0).any()
    windows = np.array([1, 1, 2, 1, 2, 1, 1])  # of the three windows along a side, those that hold each position
    np.testing.assert_allclose(gradients["mean"][0, :, :, 0], np.outer(windows, windows) / 9, rtol=1e-6)
    assert (gradients["relaxed"] != 0).sum() > 2 * (gradients["max"] != 0).sum()
    assert not np.allclose(gradients["relaxed"], gradients["mean"])


def test_a_traced_model_keeps_what_it_says_of_itself():
    def gray(images):
        a = images.repeat(2, -1)
        return {"a": a, "output": a.mean((1, 2))}

    gray.channels, gray.class_names, gray.logits = 1, ("off", "on"), "output"
    picture = np.full((8, 8, 1), 0.25, np.float32)
    attribution = lj.attribute("class_logit('on')", picture, layer="a", model=gray)
    np.testing.assert_allclose(attribution.channels, [0, 0.25])
    assert lj.rest(gray, "a", size=8).picture == (8, 8, 1)


def test_the_rest_of_googlenet_is_the_network_bit_for_bit(googlenet, dog_cat):
    images = images_of(dog_cat, googlenet)[:, 80:176, 60:156]
    whole = jax.jit(lambda network, images: network(images))(googlenet, images)
    for layer in ("mixed4d", "mixed4d_pre_relu"):
        rest = lj.rest(googlenet, layer, size=96)
        assert rest.alone
        np.testing.assert_array_equal(jax.jit(lambda r, v: r(v)[LOGITS])(rest, whole[layer]), whole[LOGITS])
    assert not lj.rest(googlenet, "mixed4d_3x3", size=96).alone


def test_forward_mode_by_transposition_equals_reverse_mode(googlenet):
    rest = lj.rest(googlenet, "mixed5a", size=96)
    value = jax.random.uniform(jax.random.key(0), (1, 3, 3, 832)) * 5
    change = jax.random.normal(jax.random.key(1), value.shape)
    (logits, forward), back = jax.jit(
        lambda rest, value, change: (
            pushed_forward(lambda v: rest(v)[LOGITS][0], value, change),
            jax.vmap(jax.vjp(lambda v: rest(v)[LOGITS][0, :3], value)[1])(jnp.eye(3))[0],
        )
    )(rest, value, change)
    assert logits.shape == forward.shape == (1000,)
    np.testing.assert_allclose(forward[:3], (back * change).sum((1, 2, 3, 4)), rtol=1e-4)


def test_dead_ends_and_objectives_before_the_layer_are_refused(googlenet):
    with pytest.raises(ValueError, match="given 'softmax2' leads nowhere"):
        lj.rest(googlenet, "softmax2")
    with pytest.raises(ValueError, match="unknown layer 'mixed4'"):
        lj.rest(googlenet, "mixed4")
    shapes = shapes_of(googlenet, (1, 64, 64, 3))
    later = {name: shapes[name] for name in ("mixed4d", "mixed5b", LOGITS)}
    with pytest.raises(ValueError, match="objective reads 'mixed3a', which is not computed from layer 'mixed4d'"):
        goal_of("mixed3a:5 + mixed5b:2", googlenet, later, "mixed4d")
    assert goal_of("class_logit('golden retriever')", googlenet, later, "mixed4d").leaves[0] == 207


def test_pictures_have_the_shape_and_range_that_the_network_takes(googlenet):
    assert images_of(np.zeros((8, 9, 3)), googlenet).shape == (1, 8, 9, 3)
    for wrong, message in (
        (np.zeros((8, 8)), r"picture must be a file, \[H, W, 3\] or \[N, H, W, 3\], got \[8, 8\]"),
        (np.full((8, 8, 3), 2.0), r"picture must have values in \[0, 1\], got 2 to 2"),
        (np.full((8, 8, 3), np.nan), "picture must"),
    ):
        with pytest.raises(ValueError, match=message):
            images_of(wrong, googlenet)


def test_an_objective_is_evaluated_for_each_picture_by_itself():
    activations = {"a": jnp.arange(24.0).reshape(2, 2, 2, 3)}
    found = values_of(lj.channel("a", 1) * 2, activations)
    np.testing.assert_array_equal(found, 2 * activations["a"][..., 1].mean((1, 2)))
