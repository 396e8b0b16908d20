"""Expanded weights: against products of kernels, finite differences and true Jacobians, for all kinds of networks."""

import base64
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lightjax as lj
from lightjax.analysis import ExpandedWeights, Faithfulness, drawing, kernels
from tests.test_page import NASTY, chromium, visit

__all__ = ["chromium", "visit"]  # fixtures

RANDOM = np.random.default_rng(0)
FIRST, SECOND, THIRD = (
    RANDOM.standard_normal(shape).astype(np.float32) for shape in ((3, 3, 3, 4), (3, 3, 4, 5), (3, 3, 5, 6))
)


def conv(x, kernel, stride=1):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )


def pooled(pictures, relu=jax.nn.relu, bias=0.0, mean=False):
    """Two convolutions with a pool between them."""
    a = relu(conv(pictures, FIRST))
    b = relu(conv(a, SECOND) + bias)
    if mean:
        p = jax.lax.reduce_window(b, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "VALID") / 9
    else:
        p = jax.lax.reduce_window(b, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
    return {"a": a, "b": b, "p": p, "c": conv(p, THIRD)}


def biased(pictures):
    """The same with large biases and a ceiling."""
    return pooled(pictures, jax.nn.relu6, jnp.arange(5) * 4 - 4.0)


def two(pictures):
    """Two convolutions with a rectifier between them, and the sum of that with the first."""
    a = pictures @ FIRST[1, 1]
    b = conv(a, SECOND)
    c = conv(jax.nn.relu(b), THIRD)
    return {"a": a, "b": b, "c": c, "d": jax.nn.relu(c), "sum": jnp.concatenate([c, a], -1), "logits": c.mean((1, 2))}


def linear(pictures):
    """Two convolutions and nothing else."""
    a = pictures @ FIRST[1, 1]
    return {"a": a, "b": conv(conv(a, SECOND), THIRD)}


@pytest.fixture(scope="module")
def photographs():
    return [RANDOM.uniform(size=(20, 20, 3)).astype(np.float32) for _ in range(3)]


def weights_of(source, target, **settings):
    return lj.expanded_weights(source, target, progress=False, **settings)


@pytest.fixture(scope="module")
def mixed3b(googlenet):
    return weights_of("mixed3a", "mixed3b", model=googlenet)


@pytest.fixture(scope="module")
def through_pool():
    return weights_of("a", "c", model=pooled)


def test_weights_of_googlenet_are_the_products_of_its_kernels_and_0_where_it_sees_nothing(googlenet, mixed3b):
    kernel = lambda name: np.asarray(getattr(googlenet, f"mixed3b_{name}").kernel[...], np.float64)
    expected = np.zeros((5, 5, 256, 480))
    expected[2, 2, :, :128] = kernel("1x1")[0, 0]
    expected[1:4, 1:4, :, 128:320] = kernel("3x3_bottleneck")[0, 0] @ kernel("3x3")
    expected[..., 320:416] = kernel("5x5_bottleneck")[0, 0] @ kernel("5x5")
    expected[1:4, 1:4, :, 416:] = kernel("pool_reduce")[0, 0] / 9
    expected = expected.transpose(3, 2, 0, 1)
    assert mixed3b.weights.shape == (480, 256, 5, 5)
    np.testing.assert_allclose(mixed3b.weights, expected, atol=1e-6 * np.abs(expected).max())
    assert not mixed3b.weights[expected == 0].any()
    strengths = np.sqrt((expected[179] ** 2).sum((1, 2)))
    assert mixed3b.reads(179, 6).channels == np.argsort(-strengths)[:6].tolist()


def test_a_stem_with_response_norms_is_read_as_if_they_were_not_there(googlenet):
    found = weights_of("maxpool0", "conv2d1", model=googlenet, units=[3, 1])
    kernel = np.asarray(googlenet.conv2d1.kernel[...])[0, 0]
    assert found.units == [3, 1]
    np.testing.assert_allclose(found.weights[..., 0, 0], kernel.T[[3, 1]], rtol=1e-5, atol=1e-7)


def test_weights_through_a_pool_are_differences_of_the_network_with_means_in_its_place(through_pool):
    assert through_pool.weights.shape == (6, 4, 9, 9)  # 3 + (3 - 1) + 2 * (3 - 1)
    rest = lambda a: pooled_from(a)[0, 7, 7]
    base = RANDOM.standard_normal((1, 33, 33, 4))
    for channel, row, column in ((0, 4, 4), (1, 0, 0), (2, 8, 3), (3, 2, 8), (1, 5, 6)):
        step = np.zeros_like(base)
        step[0, 2 * 7 + 1 - 4 + row, 2 * 7 + 1 - 4 + column, channel] = 1
        difference = (rest(base + step) - rest(base - step)) / 2
        np.testing.assert_allclose(through_pool.weights[:, channel, row, column], difference, atol=1e-4)


def pooled_from(a):
    """`pooled` with means and no rectifiers, from its first layer on, in NumPy."""

    def convolved(x, kernel):
        around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = x.shape[1:3]
        return sum(around[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))

    b = convolved(a, SECOND.astype(np.float64))
    count = (b.shape[1] - 3) // 2 + 1
    taps = [b[:, i : i + 2 * count : 2, j : j + 2 * count : 2][:, :count, :count] for i in range(3) for j in range(3)]
    return convolved(sum(taps) / 9, THIRD.astype(np.float64))


def test_neither_biases_nor_ceilings_nor_the_place_on_the_map_matter(through_pool):
    other = weights_of("a", "c", model=biased)
    np.testing.assert_allclose(other.weights, through_pool.weights, atol=1e-5)
    larger = weights_of("a", "c", model=pooled, size=(44, 39))
    assert larger.size == [44, 39]
    assert larger.corner != through_pool.corner
    np.testing.assert_allclose(larger.weights, through_pool.weights, atol=1e-5)


def test_a_source_that_is_one_of_several_branches_has_the_weights_of_its_own_paths():
    found = weights_of("b", "sum", model=two)
    np.testing.assert_allclose(found.weights[:6], THIRD.transpose(3, 2, 0, 1), atol=1e-6)
    assert not found.weights[6:].any()


class Block(nnx.Module):
    """A residual block."""

    def __init__(self, rngs):
        self.inner = nnx.Conv(4, 4, (3, 3), rngs=rngs)
        self.outer = nnx.Conv(4, 4, (3, 3), rngs=rngs)

    def __call__(self, x):
        return x + self.outer(jax.nn.relu(self.inner(x)))


class Residual(nnx.Module):
    """A convolution and a residual block."""

    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)
        self.block = Block(rngs)

    def __call__(self, x):
        return self.block(self.stem(x))


def test_a_captured_module_adds_its_skip_at_the_center():
    network = Residual(nnx.Rngs(0))
    found = weights_of("stem", "block", model=lj.capture(network))
    inner, outer = (np.asarray(c.kernel[...]) for c in (network.block.inner, network.block.outer))
    expected = np.zeros((5, 5, 4, 4))
    for i, j, k, l in np.ndindex(3, 3, 3, 3):
        expected[i + k, j + l] += inner[k, l] @ outer[i, j]
    expected[2, 2] += np.eye(4)
    np.testing.assert_allclose(found.weights, expected.transpose(3, 2, 0, 1), atol=1e-5)


def test_a_converted_network_of_one_size_gives_the_weights_that_pytorch_has():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 5, 3, 1, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(5, 2, 1),
        torch.nn.Flatten(),
        torch.nn.Linear(2 * 16 * 16, 3),
    )
    network = lj.from_torch(layers.eval(), size=32, mean=(0, 0, 0), std=(1, 1, 1), check=False)
    assert network.size == (32, 32)
    first, *_, last = [line.name for line in network.layers if line.channels in (4, 2)]
    found = weights_of(first, last, model=network)
    expected = torch.einsum("oi,icyx->ocyx", layers[4].weight[:, :, 0, 0], layers[2].weight)
    np.testing.assert_allclose(found.weights, expected.detach().numpy(), atol=1e-6)


def test_reads_and_feeds_look_at_the_weights_from_both_ends(through_pool):
    reads, feeds = through_pool.reads(2, 3), through_pool.feeds(1, 99)
    strengths = np.sqrt((through_pool.weights.astype(np.float64) ** 2).sum((2, 3)))
    np.testing.assert_allclose(through_pool.strengths, strengths)
    assert reads.channels == np.argsort(-strengths[2])[:3].tolist()
    assert reads.names[0] == f"a:{reads.channels[0]}"
    np.testing.assert_array_equal(reads.kernels, through_pool.weights[2, reads.channels])
    assert reads.share == pytest.approx((np.sort(strengths[2])[1:] ** 2).sum() / (strengths[2] ** 2).sum())
    assert sorted(feeds.channels) == [0, 1, 2, 3, 4, 5]
    assert feeds.share == pytest.approx(1)
    np.testing.assert_array_equal(feeds.kernels, through_pool.weights[feeds.channels, 1])
    few = weights_of("a", "c", model=pooled, units=[4, 2])
    np.testing.assert_allclose(few.reads(2, 3).kernels, reads.kernels, atol=1e-6)
    assert set(few.feeds(1).channels) == {2, 4}
    with pytest.raises(ValueError, match="unit must be one of those with weights here, got 3"):
        few.reads(3)
    with pytest.raises(IndexError, match="channel must be one of 'a', from 0 to 3, got 4"):
        few.feeds(4)


def test_kernels_share_one_scale_on_which_opposite_weights_have_opposite_colors(through_pool):
    kernel = np.zeros((2, 3, 3), np.float32)
    kernel[0, 1, 1], kernel[1, 1, 1] = 1, -2
    one = kernels.Kernels({}, "unit reads layer", "layer", [0, 1], kernel, 0.5)
    seen = one.picture()
    full, half, white = (drawing.colored(np.array([[x]]), 2)[0, 0] for x in (-2, 1, 0))
    for color in (full, half, white):
        assert (np.abs(seen - color).max(-1) < 1e-3).sum() >= 400
    assert full[2] > full[0]
    assert half[0] > half[2]
    icons = [np.full((8, 8, 3), 0.25), np.full((8, 8, 1), 0.75)]
    assert one.picture(icons).shape[0] > seen.shape[0]
    with pytest.raises(ValueError, match="pictures must be 2, one for each channel, got 1"):
        one.picture(icons[:1])
    whole = through_pool.picture()
    assert whole.min() >= 0
    assert whole.max() <= 1


def test_families_find_the_opposite_signs_with_which_units_read_one_direction():
    pytest.importorskip("sklearn")
    directions = np.array([[3, 4, 0, 0, 0], [0, 0, 0, 0, 2.0]])
    maps = RANDOM.standard_normal((3, 2, 3, 3))
    maps[1] = -maps[0]
    weights = np.einsum("ukhw,kc->uchw", maps, directions).astype(np.float32)
    one = ExpandedWeights({"model": "x"}, weights, "a", "b", [7, 8, 9], [8, 8], [0, 0])
    found = one.families([7, 8, 9], 2)
    assert found.units == ["b:7", "b:8", "b:9"]
    assert found.error < 1e-2
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found.directions, [[0.6, 0.8, 0, 0, 0], [0, 0, 0, 0, 1]], atol=0.02)
    np.testing.assert_allclose(found.maps[1], -found.maps[0], atol=0.1)
    np.testing.assert_allclose(found.maps, maps * np.array([5, 2.0])[:, None, None], atol=0.1)
    assert found.picture().ndim == 3
    with pytest.raises(ValueError, match="number must be at most 5"):
        one.families(7, 6)


def test_families_say_what_to_install(through_pool, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(ImportError, match=r'pip install "lightjax\[analysis\]"'):
        through_pool.families([0, 1])


def test_weights_of_a_linear_network_are_faithful_to_all_digits(photographs):
    found = weights_of("a", "b", model=linear)
    agreement = found.faithfulness(photographs, positions=3, model=linear, progress=False)
    assert agreement.overall == pytest.approx(1, abs=1e-6)
    assert agreement.strengths == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(agreement.jacobian, found.weights, atol=1e-4)
    assert agreement.quartiles == pytest.approx((1, 1), abs=1e-6)
    assert agreement.settings["photographs"] == 3


def test_faithfulness_averages_the_jacobian_over_the_places_inside_of_photographs_that_excite_a_unit(photographs):
    found = weights_of("a", "d", units=[5, 0], model=two)
    agreement = found.faithfulness(photographs[:2], positions=10**6, model=two, progress=False)
    assert agreement.settings["positions"] == 16 * 16

    def inside(a):
        return conv(jax.nn.relu(conv(a, SECOND)), THIRD)[0][2:-2, 2:-2][..., jnp.array([5, 0])]

    jacobians, opened = [], []
    for picture in photographs[:2]:
        a = two(picture[None])["a"]
        whole, excited = jax.jacrev(inside)(a)[..., 0, :, :, :], inside(a) > 0
        for i, j in np.ndindex(16, 16):
            jacobians.append(whole[i, j, :, i : i + 5, j : j + 5].transpose(0, 3, 1, 2))
            opened.append(excited[i, j])
    opened = np.array(opened)
    np.testing.assert_allclose(agreement.active, opened.mean(0))
    expected = (opened[..., None, None, None] * np.array(jacobians)).sum(0) / opened.sum(0)[:, None, None, None]
    correlation = lambda a, b: np.corrcoef(a.ravel(), b.ravel())[0, 1]
    np.testing.assert_allclose(agreement.jacobian, expected, atol=1e-4)
    length = lambda x: np.sqrt((np.asarray(x, np.float64) ** 2).sum((1, 2, 3), keepdims=True))
    scaled = expected / length(expected) * length(found.weights)
    assert agreement.overall == pytest.approx(correlation(scaled, found.weights), abs=1e-5)
    strengths = [np.sqrt((x.astype(np.float64) ** 2).sum((2, 3))) for x in (scaled, found.weights)]
    assert agreement.strengths == pytest.approx(correlation(*strengths), abs=1e-5)
    assert agreement.by_unit[1] == pytest.approx(correlation(expected[1], found.weights[1]), abs=1e-5)
    assert 0.5 < agreement.overall < 0.999
    some = [
        found.faithfulness(photographs, number=2, positions=4, seed=s, model=two, progress=False) for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(some[0].jacobian, some[1].jacobian)
    assert (some[0].jacobian != some[2].jacobian).any()


def test_faithfulness_of_weights_through_a_pool_is_positive_and_needs_the_right_network(through_pool, photographs):
    agreement = through_pool.faithfulness(photographs, positions=4, model=pooled, progress=False)
    assert 0.3 < agreement.overall < 1
    assert agreement.picture().max() <= 1
    with pytest.raises(ValueError, match="model must be the one of these weights, 'pooled', got 'two': give model="):
        through_pool.faithfulness(photographs, model=two)
    branch = weights_of("b", "sum", model=two)
    with pytest.raises(ValueError, match="'sum' is not computed from 'b' alone"):
        branch.faithfulness(photographs, model=two, progress=False)
    with pytest.raises(ValueError, match="photographs must be at least"):
        through_pool.faithfulness([np.zeros((8, 8, 3))], model=pooled, progress=False)
    with pytest.raises(ValueError, match="photographs must excite a unit of 'c'"):
        through_pool.faithfulness([np.zeros((20, 20, 3))], model=pooled, progress=False)


def test_readings_come_back_from_files(through_pool, photographs, tmp_path):
    through_pool.save(tmp_path / "weights.safetensors")
    again = ExpandedWeights.read(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(again.weights, through_pool.weights)
    assert (again.source, again.target, again.units) == ("a", "c", list(range(6)))
    agreement = again.faithfulness(photographs, number=1, positions=1, model=pooled, progress=False)
    agreement.save(tmp_path / "agreement.safetensors")
    assert Faithfulness.read(tmp_path / "agreement.safetensors").overall == agreement.overall
    again.reads(0).save(tmp_path / "reads.png")
    assert lj.load_picture(tmp_path / "reads.png").ndim == 3


def smooth(pictures):
    """A smooth rectifier, a gate, and layers that are nowhere on the way."""
    a = pictures @ FIRST[1, 1]
    b = jax.nn.gelu(conv(a, SECOND))
    gate = jax.nn.sigmoid(a.mean((1, 2), keepdims=True))
    return {"a": a, "gelu": b, "gated": a * gate, "side": pictures * 2, "mean": a.mean((1, 2)), "global": a + gate}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a", "gelu", "must have nothing but linear operations, rectifiers and max pools"),
        ("a", "gated", "must have nothing but linear operations, rectifiers and max pools"),
        ("a", "side", "target 'side' is not computed from source 'a': choose an earlier source"),
        ("a", "mean", r"target must be a layer of maps \[N, h, w, c\], but 'mean' is \[1, 4\]"),
        ("a", "a", "source must be a layer between the picture and the target 'a', got 'a'"),
        ("input", "a", "source must be a layer between the picture and the target 'a', got 'input'"),
        ("b", "gelu", "unknown source layer 'b'"),
        ("a", "glu", "unknown target layer 'glu'; did you mean 'gelu'"),
    ],
)
def test_what_has_no_expanded_weights_says_why(source, target, message):
    with pytest.raises(ValueError, match=message):
        weights_of(source, target, model=smooth, size=16)


def test_a_map_that_is_too_small_and_units_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"size must be larger, or source nearer to target: what 'c' sees of 'a'"):
        weights_of("a", "c", model=two, size=5)
    with pytest.raises(IndexError, match="units must be channels of 'c', from 0 to 5, got 6"):
        weights_of("a", "c", model=two, size=9, units=6)


# The page


def chained(pictures):
    """Two convolutions and a product of channels, whose names are no good in an address."""
    a = pictures @ FIRST[1, 1]
    b = conv(a, SECOND)
    return {"a": a, NASTY[1]: b, "c": b @ THIRD[1, 1]}


@pytest.fixture(scope="module")
def chain():
    """The weights from each layer of `chained` to the next."""
    return [weights_of(*pair, model=chained) for pair in (("a", NASTY[1]), (NASTY[1], "c"))]


def data_of(path):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', path.read_text(), re.DOTALL)[1])


def test_the_page_has_the_strongest_kernels_of_each_sign_of_every_unit_from_both_ends(chain, tmp_path):
    path = chain[0].save_page(tmp_path / "page", also=chain[1:], number=2)
    assert [*path.parent.iterdir()] == [path]
    assert chain[0].save_page(tmp_path / "again.html", also=chain[1:], number=2).read_bytes() == path.read_bytes()
    data = data_of(path)
    kernels_of = {(0, True): SECOND.transpose(3, 2, 0, 1), (1, True): THIRD[1, 1].T[..., None, None]}
    kernels_of |= {(pair, False): own.swapaxes(0, 1) for (pair, _), own in kernels_of.items()}
    assert data["layers"] == {"a": [*range(4)], NASTY[1]: [*range(5)], "c": [*range(6)]}
    ends = {"a": [(0, False)], NASTY[1]: [(0, True), (1, False)], "c": [(1, True)]}
    for layer, units in data["layers"].items():
        for unit in units:
            found = {(one["pair"], one["reads"]): one for one in data["lists"][f"{layer}:{unit}"]}
            assert [*found] == ends[layer]
            for end, one in found.items():
                check_list(one, kernels_of[end][unit], data["pairs"][one["pair"]])


def check_list(one, own, pair):
    """One list of the page against all kernels `[N, h, w]` of the unit."""
    length = lambda x: float(np.sqrt((np.asarray(x, np.float64) ** 2).sum()))
    order = sorted(range(len(own)), key=lambda i: -length(own[i]))
    excites = [i for i in order if length(own[i][own[i] > 0]) >= length(own[i][own[i] < 0])]
    inhibits = [i for i in order if i not in excites]
    assert [i for i, _ in one["excites"]] == excites[:2]
    assert [i for i, _ in one["inhibits"]] == inhibits[:2]
    shown = excites[:2] + inhibits[:2]
    np.testing.assert_allclose(
        [value for _, value in one["excites"] + one["inhibits"]], [length(own[i]) for i in shown], rtol=1e-3
    )
    assert one["share"] == pytest.approx((length(own[shown]) / length(own)) ** 2, rel=1e-3)
    entries = np.frombuffer(base64.b64decode(one["kernels"]), np.int8).reshape(-1, *pair["sides"])
    np.testing.assert_allclose(entries * (one["largest"] / 127), own[shown], atol=one["largest"] / 250)


def test_the_page_of_some_units_has_their_numbers_and_no_kernels_of_zeros(tmp_path):
    found = weights_of("b", "sum", model=two, units=[3, 8, 1])  # unit 8 is a channel of the other branch
    data = data_of(found.save_page(tmp_path / "page.html"))
    assert data["layers"]["sum"] == [1, 3, 8]
    assert data["start"] == "sum:3"
    empty = data["lists"]["sum:8"][0]
    assert (empty["excites"], empty["inhibits"], empty["kernels"], empty["share"]) == ([], [], "", 0)
    for channel in range(5):
        (one,) = data["lists"][f"b:{channel}"]
        assert {unit for unit, _ in one["excites"] + one["inhibits"]} == {1, 3}


def test_what_makes_no_page_of_weights_is_refused(chain, through_pool, tmp_path):
    with pytest.raises(TypeError, match=r"also must be weights that lj.expanded_weights gave, got 3"):
        chain[0].save_page(tmp_path / "page.html", also=[3])
    with pytest.raises(ValueError, match="also must be of the same network, 'chained', got another one"):
        chain[0].save_page(tmp_path / "page.html", also=[through_pool])
    with pytest.raises(ValueError, match=r"also must be between other layers, got 'a' to .* twice"):
        chain[0].save_page(tmp_path / "page.html", also=chain[:1])
    with pytest.raises(ValueError, match="sprites must have pictures of channels of a or c"):
        through_pool.save_page(tmp_path / "page.html", sprites={"b:0": np.zeros((4, 4, 3))})
    assert not [*tmp_path.iterdir()]


def test_a_reader_follows_links_from_unit_to_unit_and_sees_kernels_and_pictures(visit, chain, tmp_path):
    expect = pytest.importorskip("playwright.sync_api").expect  # waits for what follows a change of the address
    sprites = {"a:0": np.full((8, 8, 1), 0.5), "c:5": np.full((8, 8, 3), 0.25)}
    path = chain[0].save_page(tmp_path / "page.html", also=chain[1:], sprites=sprites)
    tab = visit(path, "#a:0")
    assert tab.locator("h2").inner_text() == "a:0"
    lengths = np.sqrt((SECOND[:, :, 0].astype(np.float64) ** 2).sum((0, 1)))
    shown = {int(n): float(x) for n, x in (text.split() for text in tab.locator(".row a").all_inner_texts())}
    assert shown == {i: pytest.approx(length, rel=0.01) for i, length in enumerate(lengths)}
    assert tab.locator(".own .sprite").bounding_box()["width"] > 100
    # Each kernel has the colors of a picture of it, on the scale of all.
    for i in range(5):
        canvas = tab.locator(f'.row a[title$=":{i}"] canvas')
        pixels = canvas.evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
        expected = drawing.colored(SECOND[:, :, 0, i], float(np.abs(SECOND[:, :, 0]).max()))
        np.testing.assert_allclose(np.reshape(pixels, (3, 3, 4))[..., :3], 255 * expected, atol=3)
    tab.locator(".row a").first.click()
    expect(tab.locator("h2")).not_to_have_text("a:0")
    name = tab.locator("h2").inner_text()
    assert name.startswith(NASTY[1])
    assert tab.locator(".lists h3").all_inner_texts()[0].startswith("Reads a ")
    assert tab.locator(".lists h3").all_inner_texts()[1].startswith("Feeds c ")
    assert not tab.locator(".own .sprite").is_visible()
    tab.locator('.row a[title="c:5"]').click()
    expect(tab.locator("h2")).to_have_text("c:5")
    assert tab.title().startswith("c:5 ")
    assert tab.locator('.tiles a[aria-current="true"]').get_attribute("title") == "c:5"
    tab.go_back()
    expect(tab.locator("h2")).to_have_text(name)
    tab.locator("input").fill("3")  # a number alone is of the same layer
    tab.keyboard.press("Enter")
    expect(tab.locator("h2")).to_have_text(f"{NASTY[1]}:3")
    tab.locator(".next").click()
    expect(tab.locator("h2")).to_have_text(f"{NASTY[1]}:4")
    tab.locator("input").fill("c:99")
    tab.keyboard.press("Enter")
    expect(tab.locator("output")).to_have_text("There is no c:99 here")
    phone = visit(path, "#%E0", width=360, height=740, phone=True)
    assert phone.locator("h2").inner_text() == f"{NASTY[1]}:0"
    assert phone.evaluate("document.documentElement.scrollWidth") == 360
