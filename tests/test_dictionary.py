"""Dictionaries: latents as activations, reconstructions in place of layers, other tools' files, and training."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import lightjax as lj
from lightjax.analysis import dictionary_training
from lightjax.analysis.rest import pushed_forward

CHANNELS, LATENTS = 5, 12


def weights(channels=CHANNELS, latents=LATENTS, seed=0):
    """Encoder, bias, decoder and center."""
    g = np.random.default_rng(seed)
    shapes = ((channels, latents), (latents,), (latents, channels), (channels,))
    return tuple(g.standard_normal(shape).astype(np.float32) for shape in shapes)


def vectors(n=40, channels=CHANNELS, seed=1):
    return np.random.default_rng(seed).standard_normal((n, channels)).astype(np.float32) * 3


def network(images, relu=jax.nn.relu):
    """A layer of five channels, "logits" from it, and a branch beside it."""
    kernel = jnp.sin(jnp.arange(15.0).reshape(3, 5))
    a = relu(images @ kernel + 0.1)
    b = a.mean((1, 2)) @ jnp.cos(jnp.arange(20.0).reshape(5, 4)) * 5
    return {"block/a": a, "beside": images.mean((1, 2)), "logits": b}


def pictures(n=3):
    return np.random.default_rng(2).uniform(size=(n, 6, 7, 3)).astype(np.float32)


def topk(pre, k):
    order = np.argsort(-pre, axis=-1)[..., :k]
    kept = np.zeros_like(pre)
    np.put_along_axis(kept, order, np.maximum(np.take_along_axis(pre, order, -1), 0), -1)
    return kept


def encoded(x, encoder, bias, center):
    return (x - center) @ encoder + bias


def test_latents_are_computed_as_numpy_does_and_the_three_kinds_differ():
    encoder, bias, decoder, center = weights()
    x = vectors()
    pre = encoded(x, encoder, bias, center)
    threshold = np.linspace(-1, 3, LATENTS).astype(np.float32)
    expected = {
        "relu": ({}, np.maximum(pre, 0)),
        "topk": ({"k": 3}, topk(pre, 3)),
        "jumprelu": ({"threshold": threshold}, np.maximum(pre, 0) * (pre > threshold)),
    }
    for kind, (settings, latents) in expected.items():
        one = lj.Dictionary("a", encoder, bias, decoder, center, **settings)
        assert one.kind == kind
        np.testing.assert_allclose(one.latents_pre(x), pre, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.encode(x), latents, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.decode(latents), latents @ decoder + center, rtol=1e-4, atol=1e-4)
        made = latents @ decoder + center
        explained = 1 - np.square(x - made).sum() / np.square(x - x.mean(0)).sum()
        assert one.variance_explained(x) == pytest.approx(explained, rel=1e-4)


def test_a_network_with_latents_is_the_network_and_runs_on_from_them_by_way_of_the_decoder():
    one = lj.Dictionary("block/a", *weights(), k=4)
    model, images = one.on(network), jnp.asarray(pictures())
    own, both = network(images), model(images)
    assert list(both) == ["block/a", "block/a/latents_pre", "block/a/latents", "beside", "logits"]
    for name in own:
        np.testing.assert_array_equal(both[name], own[name])
    np.testing.assert_array_equal(both["block/a/latents"], one.encode(own["block/a"]))
    z = both["block/a/latents"] * 2
    forward = lambda value: network_from(value)["logits"]
    np.testing.assert_allclose(model(images, given={"block/a/latents": z})["logits"], forward(one.decode(z)), rtol=1e-5)
    found = model(images, given={"block/a/latents_pre": both["block/a/latents_pre"]})
    np.testing.assert_allclose(found["logits"], forward(one.reconstruct(own["block/a"])), rtol=1e-5)
    assert "beside" not in found
    found = model(images, given={"block/a": own["block/a"] * 2})
    np.testing.assert_allclose(found["logits"], forward(own["block/a"] * 2), rtol=1e-5)
    np.testing.assert_array_equal(found["block/a/latents"], one.encode(own["block/a"] * 2))
    kept = model(images, given={"block/a": own["block/a"], "block/a/latents": both["block/a/latents"]})
    np.testing.assert_allclose(kept["logits"], own["logits"], rtol=1e-4)  # what is not explained stays
    with pytest.raises(
        ValueError, match=r"given 'block/a/latents' must have shape \[3, 6, 7, 12\], got \[3, 6, 7, 5\]"
    ):
        model(images, given={"block/a/latents": own["block/a"]})
    with pytest.raises(ValueError, match="did you mean 'block/a/latents"):
        model(images, given={"block/a/latent": z})


def network_from(a):
    """What follows from the layer in `network`."""
    return {"logits": a.mean((1, 2)) @ jnp.cos(jnp.arange(20.0).reshape(5, 4)) * 5}


def test_with_replace_the_network_runs_on_from_the_reconstruction_and_an_exact_one_changes_nothing():
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS)))[0].astype(np.float32)
    encoder = np.concatenate([basis, -basis], 1)  # both signs, so that nothing is rectified away
    center = np.full(CHANNELS, 0.3, np.float32)
    exact = lj.Dictionary("block/a", encoder, np.zeros(10), encoder.T, center, k=10)
    images = jnp.asarray(pictures())
    own, replaced = network(images), exact.on(network, replace=True)(images)
    np.testing.assert_allclose(replaced["block/a"], own["block/a"], atol=1e-5)
    np.testing.assert_allclose(replaced["logits"], own["logits"], rtol=1e-4, atol=1e-4)
    poor = lj.Dictionary("block/a", *weights(), k=2)
    replaced = poor.on(network, replace=True)(images)
    np.testing.assert_allclose(replaced["logits"], network_from(poor.reconstruct(own["block/a"]))["logits"], rtol=1e-4)
    np.testing.assert_array_equal(replaced["beside"], own["beside"])
    assert not np.allclose(replaced["logits"], own["logits"], rtol=1e-2)


def test_what_lies_before_or_after_the_layer_can_be_given_too():
    def chain(images):
        a = images * 2
        b = jnp.tanh(a @ jnp.sin(jnp.arange(15.0).reshape(3, 5)))
        return {"a": a, "b": b, "c": b.sum((1, 2)) + a.sum((1, 2, 3))[:, None]}

    one = lj.Dictionary("b", *weights(), k=3)
    images = jnp.asarray(pictures())
    a = images + 1
    b = jnp.tanh(a @ jnp.sin(jnp.arange(15.0).reshape(3, 5)))
    for replace in (False, True):
        found = one.on(chain, replace=replace)(images, given={"a": a})
        np.testing.assert_allclose(found["b/latents"], one.encode(b), rtol=1e-5, atol=1e-5)
        used = one.reconstruct(b) if replace else b
        np.testing.assert_allclose(found["c"], used.sum((1, 2)) + a.sum((1, 2, 3))[:, None], rtol=1e-4)


def test_a_network_from_pytorch_runs_on_from_a_layer_whose_only_reader_is_given_too():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1), torch.nn.ReLU(), torch.nn.Conv2d(5, 2, 1))
    model = lj.from_torch(net, size=8, mean=(0, 0, 0), std=(1, 1, 1))
    before, layer, last = [row.name for row in model.layers][1:4]
    one = lj.Dictionary(layer, *weights(), k=3)
    images = jnp.full((1, 8, 8, 3), 0.5)
    a = jnp.asarray(np.random.default_rng(0).standard_normal((1, 8, 8, 5)), jnp.float32)
    found = one.on(model, replace=True)(images, given={before: a})
    expected = model(images, given={layer: one.reconstruct(jax.nn.relu(a))})[last]
    np.testing.assert_allclose(found[last], expected, rtol=1e-4, atol=1e-5)


def test_attributions_lead_through_latents_and_equal_the_gradient_by_hand():
    one = lj.Dictionary("block/a", *weights(), k=4)
    model, images = one.on(network), jnp.asarray(pictures(1))
    rest = lj.rest(model, "block/a/latents", size=(6, 7))
    z = model(images)["block/a/latents"]
    gradient = jax.grad(lambda z: rest(z)["logits"][0, 2])(z)
    by_hand = np.cos(np.arange(20.0).reshape(5, 4))[:, 2] * 5 / 42
    np.testing.assert_allclose(gradient[0, 3, 3], np.asarray(one.decoder) @ by_hand, rtol=1e-4)
    _, forward = pushed_forward(lambda z: rest(z)["logits"], z, jnp.ones_like(z))
    np.testing.assert_allclose(forward[0, 2], gradient.sum(), rtol=1e-4)
    to_latent = jax.grad(lambda a: lj.rest(model, "block/a", size=(6, 7))(a)["block/a/latents_pre"][0, 2, 2, 7])
    np.testing.assert_allclose(to_latent(model(images)["block/a"])[0, 2, 2], one.encoder[:, 7], rtol=1e-5)


def test_dictionaries_of_one_shape_share_a_program(compiled):
    run = lj.analysis.dictionary.by_structure(lambda model, images: model(images)["block/a/latents"])
    images = pictures()
    for seed in (0, 1):
        model = lj.Dictionary("block/a", *weights(seed=seed), k=4, source=f"number {seed}").on(network)
        before = len(compiled)
        run(model, images)
        made = compiled[before:]
    assert made == []


def test_latents_are_named_in_strings_and_rendered_and_a_latent_that_is_off_is_hinted_at():
    encoder, bias, decoder, center = weights()
    bias[3] = -100  # never selected
    model = lj.Dictionary("block/a", encoder, bias, decoder, center, k=4).on(network)
    result = lj.visualize("block/a/latents_pre:3", model=model, size=12, steps=4, transform=None, progress=False)
    assert result.values[-1] > result.values[0]
    assert result.settings["model"] == "network, block/a: 12 latents"
    with pytest.warns(UserWarning, match="latents of a dictionary that are not selected have no gradient: render"):
        lj.visualize("block/a/latents:3", model=model, size=12, steps=2, transform=None, progress=False)


def test_the_table_of_layers_has_the_latents_after_their_layer(googlenet):
    model = lj.Dictionary("mixed4c", *weights(512, 20)).on(googlenet)
    names = [row.name for row in model.layers]
    place = names.index("mixed4c")
    assert names[place + 1 : place + 3] == ["mixed4c/latents_pre", "mixed4c/latents"]
    rows = model.layers[place : place + 3]
    assert [row.channels for row in rows] == [512, 20, 20]
    assert len({(row.stride, row.receptive_field) for row in rows}) == 1
    assert model.class_names == googlenet.class_names
    assert model.source.startswith("bvlc_googlenet@")
    assert model.size is None
    goal = lj.objectives.resolve(lj.class_logit("golden retriever"), model)
    assert goal.layers == ("softmax2_pre_activation_matmul",)
    assert goal.leaves[0] == 207


def test_tokens_have_latents_too_under_strict_promotion_and_the_end_of_a_network_is_refused():
    def tokens(images):
        x = images.reshape(len(images), -1, 3)
        return {"t": x, "v": x.sum(1) * jnp.arange(1.0, 4)[None]}

    images = jnp.asarray(pictures())
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        one = lj.Dictionary("t", *weights(3, 7), threshold=0.2)
        assert one.on(tokens)(images)["t/latents"].shape == (3, 42, 7)
        assert one.encode(images.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="model cannot run on from layer 'v'"):
        lj.Dictionary("v", *weights(3, 7)).on(tokens)


@pytest.mark.parametrize("normalize", ["layer_norm", "length"])
def test_normalized_vectors_are_scaled_back_by_their_own_numbers(normalize):
    encoder, bias, decoder, center = weights()
    one = lj.Dictionary("block/a", encoder, bias, decoder, center, k=4, normalize=normalize)
    x = vectors() + 2
    mean = x.mean(1, keepdims=True) if normalize == "layer_norm" else 0
    scale = (
        x.std(1, keepdims=True, ddof=1) if normalize == "layer_norm" else np.linalg.norm(x, axis=1)[:, None] / 5**0.5
    )
    inside = (x - mean) / (scale + 1e-5 * (normalize == "layer_norm"))
    latents = topk(encoded(inside, encoder, bias, center), 4)
    np.testing.assert_allclose(one.encode(x), latents, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(one.reconstruct(x), (latents @ decoder + center) * scale + mean, rtol=1e-3, atol=1e-3)
    assert np.isfinite(one.reconstruct(np.zeros((2, 5)))).all()
    with pytest.raises(ValueError, match="like must be the activations that the latents were made of"):
        one.decode(latents)
    model, images = one.on(network), jnp.asarray(pictures())
    whole = model(images)
    found = model(images, given={"block/a/latents": whole["block/a/latents"]})
    np.testing.assert_allclose(found["block/a"], one.reconstruct(whole["block/a"]), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="images must be given"):
        lj.rest(model, "block/a/latents", size=(6, 7))(whole["block/a/latents"])


def test_a_dictionary_that_does_not_fit_the_network_is_refused():
    one = lj.Dictionary("block/a", *weights(6))
    with pytest.raises(ValueError, match="must have 6 channels in layer 'block/a' for this dictionary, got 5"):
        one.on(network)
    with pytest.raises(ValueError, match=r"unknown layer of the model 'block/b'; did you mean 'block/a'\?"):
        lj.Dictionary("block/b", *weights()).on(network)
    encoder, bias, decoder, center = weights()
    with pytest.raises(ValueError, match=r"decoder must have shape \[12, 5\], got \[5, 12\]"):
        lj.Dictionary("a", encoder, bias, decoder.T, center)
    with pytest.raises(ValueError, match="k must be between 1 and 12, got 13"):
        lj.Dictionary("a", *weights(), k=13)


def test_a_saved_dictionary_is_the_same(tmp_path):
    one = lj.Dictionary("a/b", *weights(), threshold=0.5, normalize="length", source="here")
    one.save(tmp_path / "one.safetensors")
    two = lj.Dictionary.read(tmp_path / "one.safetensors")
    for first, second in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (two.layer, two.kind, two.normalize, two.source) == ("a/b", "jumprelu", "length", "here")
    assert lj.Dictionary.read(tmp_path / "one.safetensors", "c").layer == "c"
    with pytest.raises(ValueError, match="k must be None for a file that says itself which latents stay"):
        lj.Dictionary.read(tmp_path / "one.safetensors", k=3)


def lens(**extra):
    """Tensors in the layout of SAELens and Prisma, and in NumPy's names."""
    encoder, bias, decoder, center = weights()
    return {"W_enc": encoder, "b_enc": bias, "W_dec": decoder, "b_dec": center} | extra


def vector(seed, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(LATENTS) * scale).astype(np.float32)


def saelens(x, t, cfg):
    """The latents and the reconstruction as SAELens computes them."""
    inside = x - t["b_dec"] * cfg.get("apply_b_dec_to_input", True)
    if cfg["architecture"] == "gated":
        gate = inside @ t["W_enc"] + t["b_gate"] > 0
        z = gate * np.maximum(inside @ (t["W_enc"] * np.exp(t["r_mag"])) + t["b_mag"], 0)
    else:
        pre = inside @ t["W_enc"] + t["b_enc"]
        lengths = np.linalg.norm(t["W_dec"], axis=1) if cfg.get("rescale_acts_by_decoder_norm") else 1
        pre = pre * lengths
        z = topk(pre, cfg["k"]) if cfg["architecture"] == "topk" else np.maximum(pre, 0)
        if "threshold" in t:
            z = z * (pre > np.maximum(t["threshold"], 0))
        return z, (z / lengths) @ t["W_dec"] + t["b_dec"]
    return z, z @ t["W_dec"] + t["b_dec"]


@pytest.mark.parametrize(
    ("cfg", "extra"),
    [
        ({"architecture": "standard", "apply_b_dec_to_input": False}, {}),
        ({"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True, "normalize_activations": "none"}, {}),
        ({"architecture": "jumprelu", "metadata": {"hook_name": "blocks.3"}}, {"threshold": vector(5)}),
        ({"architecture": "gated"}, {"b_gate": vector(5), "r_mag": vector(6, 0.3), "b_mag": vector(7)}),
    ],
)
def test_folders_of_saelens_give_its_latents(tmp_path, cfg, extra):
    tensors = lens(**extra)
    if cfg["architecture"] == "gated":
        del tensors["b_enc"]
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": CHANNELS, "d_sae": LATENTS, "dtype": "float32", **cfg}))
    safetensors.numpy.save_file(tensors, tmp_path / "sae_weights.safetensors")
    one = lj.Dictionary.read(tmp_path, "a")
    x = vectors()
    latents, made = saelens(x, tensors, cfg)
    assert 0 < (latents > 0).mean() < 0.7
    np.testing.assert_allclose(one.encode(x), latents, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(one.reconstruct(x), made, rtol=1e-3, atol=1e-3)


def test_files_of_prisma_give_its_latents(tmp_path):
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(value) for name, value in lens().items()}
    settings = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}, "normalize_activations": "layer_norm"}
    (tmp_path / "config.json").write_text(json.dumps(settings | {"architecture": "standard"}))
    torch.save(state, tmp_path / "weights.pt")
    one = lj.Dictionary.read(tmp_path, "a")
    x = torch.tensor(vectors())
    inside = x - x.mean(-1, keepdim=True)
    std = inside.std(-1, keepdim=True)
    pre = (inside / (std + 1e-5) - state["b_dec"]) @ state["W_enc"] + state["b_enc"]
    best = torch.topk(pre, 4)
    latents = torch.zeros_like(pre).scatter(-1, best.indices, best.values.relu())
    made = (latents @ state["W_dec"] + state["b_dec"]) * std + x.mean(-1, keepdim=True)
    np.testing.assert_allclose(one.encode(x.numpy()), latents, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(one.reconstruct(x.numpy()), made, rtol=1e-3, atol=1e-3)
    torch.save({"cfg": settings, "state_dict": state}, tmp_path / "n_images_1.pt")
    (tmp_path / "config.json").unlink()
    again = lj.Dictionary.read(tmp_path / "n_images_1.pt", "a")  # settings inside of the file
    np.testing.assert_array_equal(again.encode(x.numpy()), one.encode(x.numpy()))


@pytest.mark.parametrize("kind", ["relu", "topk", "jump"])
def test_state_dicts_of_overcomplete_give_its_latents(tmp_path, kind):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    sae = torch.nn.Module()
    sae.encoder = torch.nn.Module()
    sae.encoder.final_block = torch.nn.Sequential(torch.nn.Linear(CHANNELS, LATENTS), torch.nn.BatchNorm1d(LATENTS))
    sae.dictionary = torch.nn.Module()
    sae.dictionary._weights = torch.nn.Parameter(torch.nn.functional.normalize(torch.randn(LATENTS, CHANNELS)))
    if kind == "jump":
        sae.thresholds = torch.nn.Parameter(torch.randn(LATENTS) * 0.3 - 1)
    x = torch.tensor(vectors(200))
    sae.encoder.final_block(x * 2 + 1)  # gives the normalization statistics
    torch.nn.init.uniform_(sae.encoder.final_block[1].weight)
    sae.eval()
    torch.save(sae.state_dict(), tmp_path / "sae.pth")
    one = lj.Dictionary.read(tmp_path / "sae.pth", "a", k=3 if kind == "topk" else None)
    with torch.no_grad():
        codes = sae.encoder.final_block(x).relu()
        if kind == "topk":
            best = torch.topk(codes, 3)
            codes = torch.zeros_like(codes).scatter(-1, best.indices, best.values)
        if kind == "jump":
            codes = torch.where(codes < torch.exp(sae.thresholds), 0, codes)
        made = codes @ sae.dictionary._weights
    np.testing.assert_allclose(one.encode(x.numpy()), codes, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(one.reconstruct(x.numpy()), made, rtol=1e-3, atol=1e-3)
    assert one.source == "sae.pth"


class Ran:
    """An object whose unpickling would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_hostile_files_are_refused_and_run_nothing(tmp_path):
    torch = pytest.importorskip("torch")
    mark = tmp_path / "mark"
    torch.save({"cfg": Ran(mark), "state_dict": {"W_enc": torch.zeros(2, 3)}}, tmp_path / "object.pt")
    with pytest.raises(ValueError, match="Python objects other than tensors"):
        lj.Dictionary.read(tmp_path / "object.pt", "a")
    assert not mark.exists()
    folder = tmp_path / "folder"
    folder.mkdir()

    def refused(match, cfg=None, **changed):
        tensors = {name: value for name, value in (lens() | changed).items() if value is not None}
        safetensors.numpy.save_file(tensors, folder / "sae_weights.safetensors")
        text = cfg if isinstance(cfg, str) else json.dumps(cfg or {})
        (folder / "cfg.json").write_text(text)
        with pytest.raises(ValueError, match=match) as caught:
            lj.Dictionary.read(folder, "a")
        assert len(str(caught.value)) < 400
        assert "\n" not in str(caught.value)

    refused("cfg.json beside it is no dictionary", "[" * 100_000)
    refused("cfg.json beside it is no dictionary", "[1]")
    refused("its architecture must be standard, topk, jumprelu or gated, got 'matching", {"architecture": "matching"})
    refused("must say k", {"architecture": "topk", "k": True})
    refused("k must be between 1 and 12, got 99", {"architecture": "topk", "k": 99})
    refused("normalized by 'expected_average", {"normalize_activations": "expected_average_only_in"})
    refused("normalized by ", {"normalize_activations": ["none"]})
    refused("activation function cannot be expressed", {"activation_fn_str": "tanh-relu"})
    refused("its setting architecture must be a str", {"architecture": 3})
    refused("must hold the threshold", {"architecture": "jumprelu"})
    refused("must hold b_gate", {"architecture": "gated"})
    refused("no row of 0", {"rescale_acts_by_decoder_norm": True}, W_dec=np.zeros((LATENTS, CHANNELS), np.float32))
    refused("encoder must be finite", W_enc=np.full((CHANNELS, LATENTS), np.nan, np.float32))
    refused(r"must be \[c, latents\] and \[latents, c\]", W_enc=np.zeros((4, 4), np.float32))
    refused(r"b_dec of shape \[5\], got \[2\]", b_dec=np.zeros(2, np.float32))
    refused("must hold W_enc and W_dec", W_enc=None, W_dec=None)
    refused("more than one layer", W_enc=None, **{"encoder.mlp_blocks.0.0.weight": np.zeros((2, 2), np.float32)})
    (folder / "sae_weights.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        lj.Dictionary.read(folder, "a")
    with pytest.raises(ValueError, match="the folder must hold one of"):
        lj.Dictionary.read(tmp_path, "a")
    safetensors.numpy.save_file(lens(), tmp_path / "own.safetensors", {"lightjax_dictionary": "{"})
    with pytest.raises(ValueError, match="its settings are damaged"):
        lj.Dictionary.read(tmp_path / "own.safetensors")


def planted(n=3000, channels=16, features=32, active=3, seed=0):
    """Vectors that are sums of a few directions, and the directions."""
    g = np.random.default_rng(seed)
    directions = g.standard_normal((features, channels))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    which = np.argsort(g.random((n, features)), 1)[:, :active]
    x = np.zeros((n, channels))
    for column in which.T:
        x += g.uniform(1, 2, n)[:, None] * directions[column]
    return (100 * x + 7).astype(np.float32), directions


@pytest.fixture(scope="module")
def fitted():
    x, directions = planted()
    return x, directions, lj.fit_dictionary(x, "a", 32, k=3, steps=600, batch=256, learning_rate=1e-2, progress=False)


def test_training_finds_planted_directions_and_explains_more_than_principal_components(fitted):
    x, directions, fit = fitted
    y, _ = planted(seed=0)[0][:500], None
    mean = x.mean(0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][:3]
    by_axes = np.square((y - mean) @ axes.T).sum() / np.square(y - mean).sum()
    assert fit.variance_explained > max(0.75, by_axes + 0.2)
    likeness = (directions @ np.asarray(fit.dictionary.decoder).T).max(1)
    assert np.median(likeness) > 0.95
    np.testing.assert_allclose(np.linalg.norm(fit.dictionary.decoder, axis=1), 1, rtol=1e-5)
    assert fit.losses[-20:].mean() < 0.4 * fit.losses[0]
    assert fit.dictionary.variance_explained(x) == pytest.approx(fit.variance_explained, abs=0.05)
    np.testing.assert_array_equal(fit.dead, np.flatnonzero(fit.frequency == 0))
    assert fit.frequency.sum() == pytest.approx(3, abs=0.1)


def test_training_that_was_killed_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    x, _ = planted(600)
    settings = {"k": 3, "steps": 24, "batch": 128, "dead_after": 2, "progress": False}

    def trained(**more):
        fit = lj.fit_dictionary(x, "a", 40, **settings, **more)
        fit.dictionary.save(tmp_path / "one.safetensors")
        return (tmp_path / "one.safetensors").read_bytes(), fit.losses.tobytes()

    whole = trained()
    assert whole == trained()
    assert whole != trained(seed=1)
    file = tmp_path / "state.safetensors"
    write, calls = dictionary_training.dictionary_state.write, []

    def killed(*args):
        write(*args)
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(dictionary_training.dictionary_state, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(checkpoint=file, every=5)
    assert len(calls[-1][-1]) == 10
    assert trained(checkpoint=file, every=5) == whole
    steps = len(calls)
    assert trained(checkpoint=file, every=5) == whole  # nothing is left to do
    assert len(calls) == steps
    with pytest.raises(ValueError, match="belongs to a training with other data; remove it, or give another name"):
        lj.fit_dictionary(x + 1, "a", 40, **settings, checkpoint=file)
    with pytest.raises(ValueError, match="belongs to a training with other dead_after, steps"):
        lj.fit_dictionary(x, "a", 40, **(settings | {"steps": 30, "dead_after": 3}), checkpoint=file)
    file.write_bytes(b"\0" * 99)
    with pytest.raises(ValueError, match=r"checkpoint .* cannot be read"):
        lj.fit_dictionary(x, "a", 40, **settings, checkpoint=file)


def test_the_loss_of_dead_latents_revives_them(monkeypatch):
    x, _ = planted(1500)
    started = dictionary_training._started

    def asleep(settings):
        state = started(settings)
        encoder = state.parameters["encoder"].at[:, :20].multiply(0.1)  # latents too weak to be among the largest
        return state._replace(parameters=state.parameters | {"encoder": encoder})

    monkeypatch.setattr(dictionary_training, "_started", asleep)
    settings = {"k": 2, "steps": 150, "batch": 256, "dead_after": 5, "learning_rate": 5e-3, "progress": False}
    dead = {weight: len(lj.fit_dictionary(x, "a", 40, aux_weight=weight, **settings).dead) for weight in (0, 1 / 32)}
    assert dead[0] > 5
    assert dead[1 / 32] < dead[0] / 2


def test_whole_pictures_are_held_out_and_the_median_is_less_drawn_by_outliers():
    x = np.repeat(np.arange(10.0)[:, None, None], 6, 1) + np.random.default_rng(0).standard_normal((10, 6, 2)) * 0.1
    settings = {"seed": 3, "held_out": 0.2, "batch": 1}
    held, trained = dictionary_training._split(x, settings)
    assert held.shape == (12, 2)
    assert not set(np.round(held.mean(1))) & set(np.round(trained.mean(1)))
    points = np.array([[0.0], [1.0], [2.0], [3.0], [1000.0]])
    assert 1.9 < dictionary_training._median(points, points.mean(0))[0] < 2.1
    rows = [dictionary_training._rows({"seed": 0, "batch": 4}, 10, step) for step in range(2)]
    assert len(set(np.concatenate(rows))) == 8  # no vector twice in a pass


def test_what_is_recovered_equals_the_formula_and_an_exact_dictionary_recovers_all():
    images = pictures(7)
    one = lj.Dictionary("block/a", *weights(), k=6)
    found = one.recovered(network, images, logits="logits", batch=3, progress=False)
    own = network(jnp.asarray(images))
    label = np.asarray(own["logits"]).argmax(1)

    def loss(a):
        return float(-jax.nn.log_softmax(network_from(a)["logits"])[np.arange(7), label].mean())

    clean, made, zero = (loss(a) for a in (own["block/a"], one.reconstruct(own["block/a"]), 0 * own["block/a"]))
    assert found.pictures == 7
    assert found.share == pytest.approx((zero - made) / (zero - clean), rel=1e-4)
    assert (found.clean, found.zeroed) == pytest.approx((clean, zero), rel=1e-4)
    assert found.top1_clean == 1
    assert found.variance_explained == pytest.approx(one.variance_explained(own["block/a"]), rel=1e-3)
    unit = np.eye(CHANNELS)
    exact = lj.Dictionary("block/a", unit, np.zeros(5), unit, np.zeros(5))
    assert exact.recovered(network, images, labels=label, logits="logits", progress=False).share == pytest.approx(1)
    with pytest.raises(ValueError, match="logits must follow from layer 'block/a', but 'beside' does not"):
        exact.recovered(network, images, logits="beside", progress=False)
    with pytest.raises(ValueError, match="labels must be 7 numbers of classes below 4"):
        exact.recovered(network, images, labels=[9] * 7, logits="logits", progress=False)


def test_photographs_may_be_a_folder_and_zeroed_layers_must_hurt(tmp_path):
    for i, picture in enumerate(np.random.default_rng(0).uniform(size=(3, 8, 8, 3))):
        lj.pictures.save(tmp_path / f"{i}.png", picture)
    unit = np.eye(CHANNELS)
    exact = lj.Dictionary("block/a", unit, np.zeros(5), unit, np.zeros(5))
    found = exact.recovered(network, tmp_path, logits="logits", progress=False)
    assert found.pictures == 3
    files = exact.recovered(network, sorted(tmp_path.iterdir()), logits="logits", progress=False)
    assert files == found
    worst = np.asarray(network(jnp.asarray(pictures(2)))["logits"]).argmin(1)
    with pytest.raises(ValueError, match="does not suffer without layer 'block/a'"):
        exact.recovered(network, pictures(2), labels=worst, logits="logits", progress=False)
