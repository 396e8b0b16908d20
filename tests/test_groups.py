"""Factors of activations, total Sobol indices, and neuron groups of pictures and folders."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import NMF

import lightjax as lj
from lightjax.analysis.groups import images_of
from lightjax.analysis.sobol import total_indices

DRAW = np.random.default_rng(0)
PARTS = np.maximum(DRAW.standard_normal((40, 3)), 0), np.maximum(DRAW.standard_normal((3, 12)), 0)
NOISY = (PARTS[0] @ PARTS[1] + 0.3 * DRAW.random((40, 12))).astype(np.float32).reshape(5, 8, 12)


def kept(found, path: Path) -> bytes:
    found.save(path)
    return path.read_bytes()


def test_the_parts_and_the_residual_are_the_activations_in_rows_of_length_1_and_shares_that_sum_to_1():
    found = lj.factor(NOISY, 3)
    assert found.weights.shape == (5, 8, 3)
    assert found.residual.shape == NOISY.shape
    assert found.weights.min() >= 0
    assert found.directions.min() >= 0
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found.weights @ found.directions + found.residual, NOISY, atol=1e-5)
    assert found.error == pytest.approx(np.linalg.norm(found.residual) / np.linalg.norm(NOISY), rel=1e-5)
    for i in range(3):
        part = found.weights[..., i : i + 1] * found.directions[i]
        assert found.shares[i] == pytest.approx((part * NOISY).sum() / np.square(NOISY).sum(), rel=1e-4)
    assert found.shares.sum() == pytest.approx(1, abs=1e-12)
    assert found.shares[3] == pytest.approx(found.error**2, rel=0.01)


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")  # by scikit-learn's own number of sweeps
def test_the_error_is_that_of_scikit_learns_defaults_or_less_and_falls_with_the_number():
    rows = NOISY.reshape(-1, 12)
    errors = [lj.factor(NOISY, number).error for number in range(1, 7)]
    for number, error in enumerate(errors, 1):
        usual = NMF(number, random_state=0)
        left = rows - usual.fit_transform(rows) @ usual.components_
        assert error <= np.linalg.norm(left) / np.linalg.norm(rows) + 1e-4
    assert errors == sorted(errors, reverse=True)
    assert lj.factor(PARTS[0] @ PARTS[1], 3).error < 0.005


def test_the_same_activations_give_the_same_bytes_and_their_scale_does_not_matter(tmp_path):
    one, other = (lj.factor(NOISY, 3) for _ in range(2))
    assert kept(one, tmp_path / "one.safetensors") == kept(other, tmp_path / "other.safetensors")
    read = lj.analysis.Factors.read(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(read.directions, one.directions)
    assert read.error == one.error
    small = lj.factor(NOISY * 1e-9, 3)
    np.testing.assert_allclose(small.directions, one.directions, atol=1e-4)
    np.testing.assert_allclose(small.weights * 1e9, one.weights, atol=1e-3)


def test_one_sided_factors_find_directions_with_both_signs_and_negative_numbers_need_them():
    directions = np.zeros((3, 12), np.float32)
    for i in range(3):
        directions[i, 4 * i : 4 * i + 4] = [1, -2, 3, -1]
    weights = np.maximum(DRAW.standard_normal((60, 3)), 0)
    found = lj.factor(weights @ directions, 3, signed=True)
    likeness = found.directions @ directions.T / np.linalg.norm(directions, axis=1)
    np.testing.assert_allclose(np.sort(likeness.max(1)), 1, atol=1e-4)
    assert found.error < 0.01
    with pytest.raises(ValueError, match="activations must be 0 or more without signed=True, got -"):
        lj.factor(weights @ directions, 3)


def test_wrong_activations_and_numbers_are_refused():
    for values, number, message in (
        (NOISY, 13, "number must be at most 12, the number of channels, got 13"),
        (NOISY[0, :2], 3, "number must be at most 2, the number of positions, got 3; give more pictures"),
        (0 * NOISY, 2, "activations must not be 0 everywhere"),
        (NOISY[0, 0], 1, "activations must be .*, at least two axes"),
        (np.full((4, 4), np.nan), 1, "activations must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            lj.factor(values, number)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    for attempt in (lambda: lj.factor(NOISY, 2), lambda: lj.groups(PICTURE, "a", model=network)):
        with pytest.raises(ImportError, match=r'needs scikit-learn: pip install "lightjax\[analysis\]"'):
            attempt()


def test_total_indices_are_the_shares_of_the_variance():
    sizes = np.array([3, -2, 1, 0])
    found = total_indices(lambda x: x @ sizes, 4, 4096)
    np.testing.assert_allclose(found, sizes**2 / (sizes**2).sum(), atol=0.01)
    # var(xy) = 1/9 - 1/16, and the part that x takes away is E[y^2] var(x) = 1/36: together the two have more than 1
    np.testing.assert_allclose(total_indices(lambda x: x[:, 0] * x[:, 1], 2, 4096), 4 / 7, atol=0.02)
    np.testing.assert_array_equal(total_indices(lambda x: np.ones(len(x)), 2, 32), 0)


SIZE = 24
PICTURE = DRAW.random((SIZE, SIZE, 3)).astype(np.float32)


def network(images):
    """Four channels at 6 x 6 positions, tokens and a row of them, and a sum that is linear in each."""
    pooled = images.reshape(len(images), 6, 4, 6, 4, 3).mean((2, 4))
    a = jax.nn.relu(jnp.concatenate([pooled - 0.2, 1 - pooled[..., :1]], -1))
    tokens = a.reshape(len(a), -1, 4)
    rows = tokens.mean(1)
    logits = rows @ jnp.array([[3.0, 0], [-1, 1], [0.5, 0], [2, 0]])
    return {"a": a, "b": a - 0.3, "tokens": tokens, "rows": rows, "logits": logits, "beside": logits + pooled.mean()}


network.size = (SIZE, SIZE)
GOAL = lj.channel("logits", 0)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten pictures in red, green and blue, and one file that is no picture."""
    draw = np.random.default_rng(1)
    for i in range(10):
        picture = draw.integers(0, 90, (SIZE, SIZE, 3), np.uint8)
        picture[..., i % 3] += 120
        path = tmp_path / "photographs" / ("inner" if i % 2 else ".") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return tmp_path / "photographs"


def test_groups_are_factors_of_the_layer_with_attributions_and_importances_of_a_linear_rest():
    found = lj.groups(PICTURE, "a", 3, model=network, objective=GOAL, designs=1024)
    a = np.asarray(network(PICTURE[None])["a"])
    np.testing.assert_allclose(found.weights @ found.directions + found.residual, a, atol=1e-5)
    assert found.error == pytest.approx(lj.factor(a, 3).error, rel=1e-5)
    assert (np.diff(found.shares[:-1]) <= 0).all()
    gradient = np.array([3, -1, 0.5, 2]) / 36
    each = [(found.weights[..., i : i + 1] * found.directions[i] * gradient).sum() for i in range(3)]
    np.testing.assert_allclose(found.attribution, [*each, (found.residual * gradient).sum()], atol=1e-5)
    assert found.attribution.sum() == pytest.approx(float(network(PICTURE[None])["logits"][0, 0]), rel=1e-4)
    np.testing.assert_allclose(found.importance, np.square(each) / np.square(each).sum(), atol=0.03)
    masked = lj.groups(PICTURE, "a", 3, model=network, objective=GOAL)  # CRAFT's 32 designs
    np.testing.assert_allclose(masked.importance, found.importance, atol=0.25)


def test_attributions_are_factored_one_sided_and_sum_to_the_same():
    found = lj.groups(PICTURE, "a", 3, model=network, objective=GOAL, of="attribution")
    plain = lj.groups(PICTURE, "a", 3, model=network, objective=GOAL, designs=0)
    assert found.attribution.sum() == pytest.approx(plain.attribution.sum(), rel=1e-4)
    assert (found.directions < 0).any()
    assert (found.directions > 0).any()
    whole = found.weights @ found.directions + found.residual
    np.testing.assert_allclose(whole, network(PICTURE[None])["a"] * np.array([3, -1, 0.5, 2]) / 36, atol=1e-6)
    for one in (found, plain):
        with pytest.raises(ValueError, match="there is no importance"):
            _ = one.importance


def test_an_objective_may_read_the_picture_beside_the_layer():
    found = lj.groups(PICTURE, "a", 2, model=network, objective=lj.channel("beside", 0), designs=4)
    plain = lj.groups(PICTURE, "a", 2, model=network, objective=GOAL, designs=4)
    np.testing.assert_allclose(found.attribution, plain.attribution, atol=1e-5)
    np.testing.assert_allclose(found.importance, plain.importance, atol=1e-3)


def test_a_folder_gives_the_photographs_in_which_each_group_is_strongest(folder, tmp_path):
    (folder / "broken.jpg").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="skipped what cannot be read as a picture: broken.jpg"):
        found = lj.groups(folder, "a", 4, model=network, objective=GOAL, designs=2, progress=False)
    assert found.weights.shape == (10, 6, 6, 4)
    assert found.names == sorted(found.names)
    assert "inner/1.png" in found.names
    colors = [int(Path(name).stem) % 3 for name in found.names]
    for i, row in enumerate(found.directions):
        brightest = int(row.argmax())
        assert brightest == 3 or {colors[n] for n in found.top(3)[i]} == {brightest}
    assert set(found.kept) == set(found.top().ravel())
    assert found.attributions.shape == (10, 5)
    np.testing.assert_allclose(found.attribution, found.attributions.mean(0))
    files = [folder / name for name in found.names]
    listed = lj.groups(files, "a", 4, model=network, progress=False)
    np.testing.assert_array_equal(listed.weights, found.weights)
    picture = found.picture()
    assert picture.min() >= 0
    assert picture.max() <= 1
    found.save(tmp_path / "groups.png")
    assert lj.pictures.read_settings(tmp_path / "groups.png")["layer"] == "a"


def test_layers_without_rows_and_columns_have_groups_but_no_maps(folder):
    for layer, shape in (("tokens", (10, 36, 2)), ("rows", (10, 2))):
        found = lj.groups(folder, layer, 2, model=network, objective=GOAL, designs=2, progress=False)
        assert found.weights.shape == shape
        assert found.attribution.shape == (3,)
        assert found.picture().ndim == 3
    with pytest.raises(ValueError, match="number must be at most 1, the number of positions, got 2; give more"):
        lj.groups(PICTURE, "rows", 2, model=network)
    assert lj.groups(PICTURE, "tokens", 2, model=network).picture().ndim == 3


def test_groups_render_their_directions_from_one_seed_and_keep_them_in_a_file(tmp_path):
    found = lj.groups(PICTURE, "a", 2, model=network)
    row = found.directions[1]
    alone = lj.visualize(
        lj.direction("a", row, power=2), model=network, size=SIZE, steps=2, seed=3, transform=None, progress=False
    )
    options = {"steps": 2, "size": SIZE, "seed": 3, "transform": None, "progress": False}
    rendered = found.render(**options)
    np.testing.assert_allclose(rendered.icons[1], alone.image, atol=1e-4)
    assert rendered.picture().shape != found.picture().shape
    rendered.save(tmp_path / "groups.safetensors")
    read = lj.analysis.Groups.read(tmp_path / "groups.safetensors")
    np.testing.assert_array_equal(read.picture(), rendered.picture())
    with pytest.raises(ValueError, match="model must be given: groups that were read from a file"):
        read.render(**options)
    np.testing.assert_array_equal(read.render(model=network, **options).icons, rendered.icons)
    assert dataclasses.asdict(read)["settings"]["render"]["seed"] == 3


def test_captured_and_converted_networks_have_the_groups_of_the_function():
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    with torch.no_grad():
        net(torch.zeros(1, 3, SIZE, SIZE))
    converted = lj.from_torch(net.eval(), size=SIZE, mean=(0, 0, 0), std=(1, 1, 1))
    kernel = jnp.asarray(net[0].weight.detach().numpy().transpose(2, 3, 1, 0).reshape(48, 8))
    bias = jnp.asarray(net[0].bias.detach().numpy())

    def plain(images):
        patches = images.reshape(len(images), 6, 4, 6, 4, 3).swapaxes(2, 3).reshape(len(images), 6, 6, 48)
        return {"1": jax.nn.relu(patches @ kernel + bias)}

    expected = lj.groups(PICTURE, "1", 3, model=plain)
    captured = lj.groups(PICTURE, "1", 3, model=lj.capture(plain))
    np.testing.assert_allclose(captured.directions, expected.directions, atol=1e-5)
    found = lj.groups(PICTURE, "1", 3, model=converted, objective=lj.channel("3", 1), designs=2)
    np.testing.assert_allclose(found.directions, expected.directions, atol=1e-3)
    logits = net(torch.from_numpy(PICTURE.transpose(2, 0, 1)[None])).detach().numpy()[0, 1]
    assert found.attribution.sum() + net[3].bias[1].item() == pytest.approx(logits, abs=1e-4)


def test_groups_of_googlenet_are_the_same_twice_and_their_attributions_sum_to_the_logit(googlenet, dog_cat, tmp_path):
    picture = images_of(dog_cat, googlenet)[0, 80:176, 60:156]
    goal = "class_logit('golden retriever')"
    one, other = (lj.groups(picture, "mixed5b", 3, model=googlenet, objective=goal, designs=2) for _ in range(2))
    assert kept(one, tmp_path / "one.safetensors") == kept(other, tmp_path / "other.safetensors")
    assert one.settings["objective"] == goal
    rest = jax.jit(lambda rest, values: rest(values)["softmax2_pre_activation_matmul"][0, 207])
    values = one.weights @ one.directions + one.residual  # a mean and a linear layer follow
    cut = lj.rest(googlenet, "mixed5b", size=96)
    difference = rest(cut, values) - rest(cut, 0 * values)
    assert one.attribution.sum() == pytest.approx(float(difference), rel=1e-4)
    with pytest.raises(ValueError, match="activations of mixed5b_pre_relu must be 0 or more without signed=True"):
        lj.groups(picture, "mixed5b_pre_relu", 3, model=googlenet)


def test_arguments_that_do_not_fit_together_are_refused():
    for options, message in (
        ({"of": "attribution"}, "objective must be given for of='attribution'"),
        ({"designs": 1}, "designs must be 0 or at least 2, got 1"),
        ({"layer": "c"}, "unknown layer 'c'"),
        ({"layer": "logits", "objective": lj.channel("a", 1)}, "leads nowhere|not computed from layer"),
        ({"layer": "b", "number": 2}, "activations of b must be 0 or more without signed=True"),
    ):
        with pytest.raises(ValueError, match=message):
            lj.groups(PICTURE, **{"layer": "a", "model": network, "number": 2} | options)
    assert lj.groups(PICTURE, "b", 2, model=network, signed=True).error < 1
    with pytest.raises(ValueError, match="there is no attribution without an objective"):
        _ = lj.groups(PICTURE, "a", 2, model=network).attribution
    with pytest.raises(FileNotFoundError):
        lj.groups("missing.jpg", "a", 2, model=network)
