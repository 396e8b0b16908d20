"""Attribution: its formulas re-derived, its truths, and its agreement with ablation on the trained network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lightjax as lj
from lightjax.analysis import Attribution, Heatmap, Relation
from lightjax.analysis.at_layer import at_layer, baseline_of, mean_gradient
from lightjax.analysis.attribution import agreement
from lightjax.analysis.rest import images_of

RANDOM = np.random.default_rng(0)
KERNELS = {
    "a": RANDOM.standard_normal((3, 3, 3, 6)).astype(np.float32),
    "b": RANDOM.standard_normal((3, 3, 6, 5)).astype(np.float32),
    "logits": RANDOM.standard_normal((5, 4)).astype(np.float32),
}
BIAS = RANDOM.standard_normal(5).astype(np.float32)
PICTURE = RANDOM.uniform(size=(9, 8, 3)).astype(np.float32)
QUIET = {"progress": False}
DOG, CAT = "class_logit('golden retriever')", "class_logit('tiger cat')"


def conv(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def network(images):
    """Two convolutions, the mean over positions, a product; what is on has a margin, and a dead end beside it."""
    a = jax.nn.relu(conv(images, KERNELS["a"]))
    before = conv(a, KERNELS["b"]) + BIAS
    b = jax.nn.relu(before)
    mean = b.mean((1, 2))
    return {"a": a, "before": before, "b": b, "mean": mean, "logits": mean @ KERNELS["logits"] + 1, "end": b * 2}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scaled:
    """The same with a weight: the logits' scale."""

    scale: jax.Array

    def __call__(self, images):
        found = network(images)
        return {**found, "logits": self.scale * (found["logits"] - 1)}


def tokens(images):
    """A network with tokens."""
    t = jax.nn.relu(images.reshape(len(images), -1, 3) @ KERNELS["a"][0, 0])
    return {"t": t, "out": jnp.tanh(t).sum(1)}


@pytest.fixture(scope="module")
def activations():
    return {name: np.asarray(value[0]) for name, value in jax.jit(network)(PICTURE[None]).items()}


def small(objective, layer, **settings):
    return lj.attribute(objective, PICTURE, layer=layer, model=network, **QUIET, **settings)


@pytest.mark.parametrize("steps", [1, 5])
def test_through_a_mean_and_a_product_every_method_is_exact(activations, steps):
    shares = activations["b"] * KERNELS["logits"][:, 2] / 72
    for method in ("gradient", "integrated", "ablation"):
        found = small("logits:2", "b", method=method, steps=steps)
        np.testing.assert_allclose(found.channels, shares.sum((0, 1)), atol=1e-5)
        np.testing.assert_allclose(found.positions, shares.sum(-1), atol=1e-5)
        assert abs(found.gap) < 1e-5
        np.testing.assert_allclose([found.score, found.start], [activations["logits"][2], 1], rtol=1e-5)
        if method != "ablation":
            np.testing.assert_allclose(found.values, shares, atol=1e-5)


def test_within_one_linear_cell_the_gradient_is_complete(activations):
    near = activations["a"] * 0.998
    assert ((activations["before"] > 0) == (np.asarray(network_from_a(near)) > 0)).all()
    found = small("logits:1", "a", baseline=near)
    assert found.difference != 0
    np.testing.assert_allclose(found.total, found.difference, rtol=1e-3)  # a difference of almost equal floats
    far = small("logits:1", "a")
    assert abs(far.total / far.difference - 1) > 0.02


def network_from_a(a):
    return conv(a[None], KERNELS["b"])[0] + BIAS


def test_the_weights_of_the_path_sum_to_one_and_more_steps_close_the_gap():
    model = lambda images: {"a": images, "s": jnp.tanh(images).sum((1, 2))}
    gaps = []
    for steps in (1, 2, 4, 8):
        found = lj.attribute("s:0", PICTURE, layer="a", model=model, method="integrated", steps=steps, **QUIET)
        gaps.append(abs(found.gap))
    assert gaps[0] > 0.01
    assert gaps[3] < 1e-6
    np.testing.assert_array_less(gaps[1:], gaps[:-1])
    linear = small("logits:0", "mean", method="integrated", steps=7)  # a sum of weights other than 1 would show here
    np.testing.assert_allclose(linear.total, linear.difference, rtol=1e-6)


def test_ablation_is_what_a_loop_in_numpy_finds_for_any_baseline(activations):
    a, baseline = activations["a"], RANDOM.uniform(size=6).astype(np.float32)

    def score(a):
        b = np.zeros((9, 8, 5)) + BIAS
        padded = np.pad(a, ((1, 1), (1, 1), (0, 0)))
        for i, j in np.ndindex(3, 3):
            b += padded[i : i + 9, j : j + 8] @ KERNELS["b"][i, j]
        return (np.maximum(b, 0).mean((0, 1)) @ KERNELS["logits"] + 1)[3]

    found = small("logits:3", "a", method="ablation", baseline=baseline)
    assert found.values is None
    np.testing.assert_allclose([found.score, found.start], [score(a), score(0 * a + baseline)], rtol=1e-5)
    for c in range(6):
        without = a.copy()
        without[..., c] = baseline[c]
        np.testing.assert_allclose(found.channels[c], score(a) - score(without), atol=1e-4)
    for y, x in ((0, 0), (4, 5), (8, 7)):
        without = a.copy()
        without[y, x] = baseline
        np.testing.assert_allclose(found.positions[y, x], score(a) - score(without), atol=1e-4)


def test_a_branch_gets_the_others_from_the_picture_and_tokens_have_positions():
    model = lambda images: (lambda a, b: {"a": a, "b": b, "sum": (a * b).sum((1, 2))})(images * 2, images + 1)
    found = lj.attribute("sum:1", PICTURE, layer="a", model=model, **QUIET)
    np.testing.assert_allclose(found.values[..., 1], 2 * PICTURE[..., 1] * (PICTURE[..., 1] + 1), rtol=1e-5)
    of_tokens = lj.attribute("out:1", PICTURE, layer="t", model=tokens, method="integrated", **QUIET)
    assert of_tokens.positions.shape == (72,)
    t = np.asarray(tokens(PICTURE[None])["t"][0])
    np.testing.assert_allclose(of_tokens.positions, np.tanh(t)[:, 1], atol=1e-5)
    ablation = lj.attribute("out:1", PICTURE, layer="t", model=tokens, method="ablation", **QUIET)
    np.testing.assert_allclose(ablation.positions, of_tokens.positions, atol=1e-4)
    assert of_tokens.picture().shape[-1] == 3


def test_any_objective_can_be_attributed(activations):
    def squares(activations, weight):
        return weight * (activations["b"] ** 2).sum()

    for objective, score in (
        ("logits:2 - 0.5 * logits:1", activations["logits"][2] - 0.5 * activations["logits"][1]),
        (lj.neuron("b", 3, (4, 4)) + lj.channel("mean", 1), activations["b"][4, 4, 3] + activations["mean"][1]),
        (lj.direction("b", np.arange(5.0)), (activations["b"] @ np.arange(5)).mean()),
        (lj.objective(squares, 0.5), 0.5 * (activations["b"] ** 2).sum()),
        (lambda activations: activations["b"].max(), activations["b"].max()),
    ):
        found = small(objective, "a")
        np.testing.assert_allclose(found.score, score, rtol=1e-5)
        assert found.values.any()


def test_a_gradient_of_zero_and_values_that_are_not_finite_raise():
    off = lambda images: {"a": images, "b": jax.nn.relu(images - 2)}
    with pytest.raises(ValueError, match=r"gradient of objective channel\('b', 0\) is 0 at every entry of layer 'a'"):
        lj.attribute("b:0", PICTURE, layer="a", model=off, **QUIET)
    with pytest.raises(ValueError, match="'end' leads nowhere"):
        small("logits:1", "end")
    with pytest.raises(ValueError, match="objective reads 'a', which is not computed from layer 'b'"):
        small("a:1 + logits:0", "b")
    infinite = lambda images: {"a": images, "b": jnp.log(images - images)}
    with pytest.raises(ArithmeticError, match="infinite or not numbers"):
        lj.attribute("b:0", PICTURE, layer="a", model=infinite, **QUIET)
    with pytest.raises(ValueError, match=r"baseline must be a number, or an array that fits layer 'a', \[9, 8, 6\]"):
        small("logits:1", "a", baseline=np.zeros(5))
    with pytest.raises(ValueError, match="picture must be one picture, got 2"):
        lj.attribute("logits:1", np.stack([PICTURE] * 2), layer="a", model=network)
    with pytest.raises(ValueError, match="all gradients of layer 'b' by layer 'a' are 0"):
        lj.relate(PICTURE, "a", "b", model=off)


def test_agreement_has_the_numbers_of_scipy_and_counts_shared_entries():
    x, noise = RANDOM.standard_normal((2, 200))
    x[:40] = 0  # ties
    y = 3 * x + noise
    found = agreement(x, y)
    np.testing.assert_allclose(found.pearson, scipy.stats.pearsonr(x, y).statistic)
    np.testing.assert_allclose(found.spearman, scipy.stats.spearmanr(x, y).statistic)
    np.testing.assert_allclose(found.slope, scipy.stats.linregress(x, y).slope)
    top = [{*np.argsort(np.abs(a))[-20:]} for a in (x, y)]
    assert found.shared == len(top[0] & top[1]) / 20
    np.testing.assert_allclose(agreement(x, 2 * x), [1, 1, 2, 1])
    with pytest.raises(ValueError, match="all are equal"):
        agreement(x, np.ones(200))


def test_the_gap_stays_meaningful_where_the_objective_hardly_changes():
    parts = {"channels": np.array([0.5, -0.49]), "positions": None, "values": None}
    made = lambda score, start: Attribution({}, PICTURE, score=score, start=start, **parts)
    assert made(5.0, 5.0).gap == pytest.approx(0.001)
    assert made(0.0, 0.0).gap == np.inf
    assert made(0.01, 0.0).gap == pytest.approx(0)


def test_an_attribution_compares_itself_with_ablation_also_when_read_from_a_file(tmp_path):
    found, ablation = (small("logits:2", "a", method=method) for method in ("gradient", "ablation"))
    for by in ("channels", "positions"):
        assert found.agreement(by) == found.agreement(by, ablation)
    assert found.agreement().pearson > 0.9
    found.save(tmp_path / "found.safetensors")
    again = Attribution.read(tmp_path / "found.safetensors")
    np.testing.assert_array_equal(again.values, found.values)
    assert again.agreement(ablation=ablation) == found.agreement()
    with pytest.raises(ValueError, match=r"ablation must be given, .* this was read from a file"):
        again.agreement()
    with pytest.raises(TypeError, match="ablation must be made with method='ablation'"):
        again.agreement(ablation=found)
    with pytest.raises(ValueError, match="by must be 'channels': layer 'mean' has no positions"):
        small("logits:2", "mean").agreement("positions")
    with pytest.raises(ValueError, match="ablation must be of the same layer, 'mean'"):
        small("logits:2", "mean").agreement(ablation=ablation)


def test_an_attribution_shows_its_channels_with_their_pictures(tmp_path):
    found = small("logits:2", "a")
    strongest = found.strongest(2)
    assert found.channels[strongest[0]] == found.channels.max()
    assert found.channels[strongest[-1]] == found.channels.min()
    found.save(tmp_path / "found.png")
    settings = lj.pictures.read_settings(tmp_path / "found.png")
    assert (settings["objective"], settings["layer"]) == ("channel('logits', 2)", "a")
    plain, with_sprites = found.picture(), found.picture(dict.fromkeys(range(6), PICTURE))
    about = found.settings | {"model": f"{found.settings['model']}@0123456789ab, {'and more ' * 40}"}
    np.testing.assert_array_equal(dataclasses.replace(found, settings=about).picture(), plain)
    assert with_sprites.shape[0] > plain.shape[0] + 80
    red = lambda picture: ((picture[..., 0] > 0.7) & (picture[..., 1] < 0.1)).sum()
    blue = lambda picture: ((picture[..., 2] > 0.6) & (picture[..., 0] < 0.1)).sum()
    assert red(plain) > 100
    assert blue(plain) > 100


def test_other_numbers_pictures_and_functions_with_other_weights_share_a_compilation(compiled):
    picture = RANDOM.uniform(size=(7, 6, 3))
    for objective, seen, scale in (("logits:1", picture, 1), ("logits:3", 1 - picture, 1), ("logits:2", picture, 2)):
        found = lj.attribute(objective, seen, layer="b", model=Scaled(jnp.array(scale)), **QUIET)
        expected = scale * (jax.jit(network)(np.float32(seen)[None])["logits"][0, int(objective[-1])] - 1)
        np.testing.assert_allclose([found.score, found.total], expected, rtol=1e-4)
    assert compiled.count("jit(_along)") == 1


def test_shares_of_an_earlier_layer_and_of_the_bias_sum_to_the_activation(activations):
    relation = lj.relate(PICTURE, "a", "b", model=network, **QUIET)
    assert relation.values.shape == (5, 6)
    on = activations["b"] > 0
    np.testing.assert_allclose(relation.bias, (on * BIAS).sum((0, 1)), atol=1e-2)
    np.testing.assert_allclose(relation.outputs, activations["b"].sum((0, 1)), rtol=1e-5)
    padded = np.pad(activations["a"], ((1, 1), (1, 1), (0, 0)))
    expected = np.zeros((5, 6))
    for i, j in np.ndindex(3, 3):
        expected += np.einsum("yxo,yxi,io->oi", on, padded[i : i + 9, j : j + 8], KERNELS["b"][i, j])
    np.testing.assert_allclose(relation.values, expected, rtol=1e-5, atol=1e-4)


def test_shares_by_positions_sum_to_the_length_where_no_bias_and_reach_as_far_as_the_kernel(tmp_path):
    model = lambda images: (lambda a: {"a": a, "b": conv(a, KERNELS["b"][:, :, :3])})(images * 2)
    relation = lj.relate(PICTURE, "a", "b", by="positions", model=model, **QUIET)
    assert relation.values.shape == (9, 8, 9, 8)
    a, b = (np.asarray(x[0]) for x in model(PICTURE[None]).values())
    np.testing.assert_allclose(relation.outputs, np.linalg.norm(b, axis=-1), rtol=1e-4)
    np.testing.assert_allclose(relation.bias, 0, atol=1e-3)
    away = relation.values[4, 4].copy()
    away[3:6, 3:6] = 0
    assert not away.any()
    share = a[3, 5] @ KERNELS["b"][0, 2, :3] @ b[4, 4] / np.linalg.norm(b[4, 4])
    np.testing.assert_allclose(relation.values[4, 4, 3, 5], share, rtol=1e-3)
    relation.save(tmp_path / "relation.safetensors")
    again = Relation.read(tmp_path / "relation.safetensors")
    np.testing.assert_array_equal(again.picture(), relation.picture())
    with pytest.raises(ValueError, match="by must be 'channels': layer 'mean' has no positions"):
        lj.relate(PICTURE, "a", "mean", by="positions", model=network)
    with pytest.raises(ValueError, match=r"unknown second layer after 'b': 'a'"):
        lj.relate(PICTURE, "b", "a", model=network)


def test_saliency_of_a_linear_network_is_the_size_of_its_weights_for_any_noise():
    weights = RANDOM.standard_normal(PICTURE.shape).astype(np.float32)
    linear = lambda images: {"out": (images * weights).sum((1, 2, 3))[:, None]}
    for noise in (0, 0.15):
        found = lj.saliency("out:0", PICTURE, model=linear, noise=noise, draws=3)
        np.testing.assert_allclose(found.values, np.abs(weights).max(-1), rtol=1e-5)
    square = lambda images: {"out": (images**2).sum((1, 2, 3))[:, None]}
    one, other, same = (lj.saliency("out:0", PICTURE, model=square, draws=2, seed=seed) for seed in (0, 1, 0))
    np.testing.assert_array_equal(one.values, same.values)
    off = one.values - 2 * PICTURE.max(-1)  # the noise of one pixel, mean of two draws
    assert 0.05 < off.std() < 0.4
    assert not np.array_equal(one.values, other.values)
    with pytest.raises(ValueError, match="is 0 at every entry of layer 'input'"):
        lj.saliency("a:0", PICTURE, model=lambda images: {"a": images * 0})


def test_grad_cam_weights_channels_by_their_mean_gradient(activations):
    cut = at_layer(PICTURE, "a", network, "max")
    gradient, _ = mean_gradient(cut, cut.goal("logits:2"), baseline_of(0.0, cut), np.ones(1), np.ones(1))
    expected = activations["a"] @ gradient.mean((0, 1))
    signed, plain = (lj.grad_cam("logits:2", PICTURE, layer="a", model=network, rectified=r) for r in (False, True))
    np.testing.assert_allclose(signed.values, expected, rtol=1e-5)
    np.testing.assert_array_equal(plain.values, np.maximum(signed.values, 0))
    assert isinstance(plain, Heatmap)
    assert plain.picture().shape[-1] == 3
    with pytest.raises(ValueError, match="layer must have rows and columns, got 'mean'"):
        lj.grad_cam("logits:2", PICTURE, layer="mean", model=network)


# The trained network.


@pytest.fixture(scope="module")
def seen(googlenet, dog_cat):
    return images_of(dog_cat, googlenet)[0, 56:152, 56:152]


def test_of_googlenets_last_layer_all_methods_and_forward_mode_for_all_classes_agree(googlenet, seen):
    common = {"layer": "mixed5b", "model": googlenet, **QUIET}
    gradient, path = (lj.attribute(DOG, seen, method=m, steps=3, **common) for m in ("gradient", "integrated"))
    np.testing.assert_allclose(gradient.values, path.values, atol=1e-4)
    assert abs(gradient.gap) < 1e-5
    other = lj.attribute(CAT, seen, **common)
    shares = lj.class_attribution(seen, "mixed5b", (1, 2), model=googlenet)
    assert shares.shape == (1000,)
    for index, one in ((207, gradient), (282, other)):
        np.testing.assert_allclose(shares[index], one.positions[1, 2], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(lj.class_attribution(seen, "mixed5b", 5, model=googlenet), shares, rtol=1e-4, atol=1e-5)
    with pytest.raises(IndexError, match="row 3 is out of range"):
        lj.class_attribution(seen, "mixed5b", (3, 2), model=googlenet)
    with pytest.raises(ValueError, match=r"layer 'softmax2_pre_activation_matmul' must come before the logits|leads"):
        lj.class_attribution(seen, "softmax2", 0, model=googlenet)
    both = lj.attribute(f"{DOG} - {CAT}", seen, **common)
    np.testing.assert_allclose(both.values, gradient.values - other.values, atol=1e-4)


def test_of_googlenets_middle_gradients_order_channels_and_paths_are_complete(googlenet, seen):
    common = {"layer": "mixed4d", "model": googlenet, **QUIET}
    gradient, path = (lj.attribute(DOG, seen, method=m, **common) for m in ("gradient", "integrated"))
    assert abs(path.gap) < 0.01
    assert abs(gradient.gap) > 0.2
    truth = lj.attribute(DOG, seen, method="ablation", **common)
    assert gradient.agreement(ablation=truth).pearson > 0.9
    assert gradient.agreement(ablation=truth).pearson > path.agreement(ablation=truth).pearson
    relaxed = lj.attribute(DOG, seen, pool="relaxed", **common)
    slopes = [one.agreement("positions", truth).slope for one in (gradient, relaxed)]
    assert abs(slopes[1] - 1) < abs(slopes[0] - 1)
