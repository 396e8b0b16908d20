"""Measures of renders: formulas against plain loops, and the table by the user's path."""

import csv
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lightjax as lj
from lightjax.analysis import Evaluation, measures

RANDOM = np.random.default_rng(0)


def model(images):
    a = images * 2 - 1
    return {"a": a, "b": a.mean((1, 2))}


def other(images):
    return {"c": images[..., ::-1], "d": jnp.square(images).mean((1, 2))}


def classifier(images):
    """Three classes, of which the first has the largest logit for most pictures."""
    red, green, blue = jnp.moveaxis(images, -1, 0)
    layer = jnp.stack([3 + red, green, blue + green], -1)
    return {"layer": layer, "logits": layer.mean((1, 2)) - jnp.array([3.1, 0, 0.6])}


classifier.class_names = ["cat, puss", "dog", "bird"]
classifier.logits = "logits"


def stranger(images):
    """Other classes in another order, of which one has another name of the same animal."""
    red, green, blue = jnp.moveaxis(images.mean((1, 2)), -1, 0)
    return {"last": jnp.stack([blue, green, 2 * red - 0.3, 1 - red], -1)}


stranger.class_names = ["bird", "dog", "puss", "stone"]
stranger.logits = "last"


def rendered(objective, color, model=classifier):
    """A render of one color, as if it had been made for the objective."""
    made = lj.visualize(objective, model=model, size=16, steps=1, transform=None, progress=False)
    return dataclasses.replace(made, images=np.broadcast_to(np.float32(color), (1, 16, 16, 3)))


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_monosemanticity_in_one_pass_is_that_of_all_pairs():
    a, e = RANDOM.uniform(size=20), measures.judged(RANDOM.normal(size=(20, 5)))
    b = (a - a.min()) / (a.max() - a.min())
    pairs = [(b[i] * b[j], b[i] * b[j] * (e[i] @ e[j])) for i in range(20) for j in range(20) if i != j]
    np.testing.assert_allclose(measures.monosemanticity(a, e), sum(p[1] for p in pairs) / sum(p[0] for p in pairs))


def test_a_random_unit_is_told_by_chance_and_a_feature_always():
    e = measures.judged(RANDOM.normal(size=(400, 8)))
    shares = [measures.interpretability(RANDOM.normal(size=400), e, np.random.default_rng(i))[0] for i in range(40)]
    assert abs(np.mean(shares) - 0.5) < 0.06
    assert measures.interpretability(e[:, 0], e, np.random.default_rng(0))[0] > 0.9


def test_trials_are_those_of_the_formula():
    values, e = RANDOM.normal(size=48), RANDOM.normal(size=(48, 5))
    generator = np.random.default_rng(3)
    order = np.lexsort((generator.permutation(48), values))
    s = lambda query, references: np.mean([cosine(e[query], e[other]) for other in references])
    gaps = []
    for _ in range(20):
        (p, *plus), (m, *minus) = (generator.choice(part, 10, replace=False) for part in (order[-12:], order[:12]))
        gaps.append(s(p, plus) - s(p, minus) - s(m, plus) + s(m, minus))
    expected = np.mean(np.array(gaps) > 0), np.mean([1 / (1 + np.exp(-gap / 0.16)) for gap in gaps])
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    np.testing.assert_allclose(measures.interpretability(values, unit, np.random.default_rng(3)), expected, rtol=1e-6)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_the_slope_of_noise_is_minus_twice_the_exponent_of_its_amplitude(power):
    f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    f[0, 0] = 1
    noise = np.fft.ifft2(
        np.fft.fft2(RANDOM.normal(size=(128, 128, 3)), axes=(0, 1)) / f[..., None] ** power, axes=(0, 1)
    )
    assert abs(measures.spectrum_slope(noise.real) + 2 * power) < 0.2


def test_path_likeness_leaves_out_pairs_of_a_photograph_with_itself():
    one, same, other = RANDOM.normal(size=6), RANDOM.normal(size=(3, 6)), RANDOM.normal(size=(2, 6))
    own = np.mean([cosine(one, x) for x in same])
    within = np.mean([cosine(same[i], same[j]) for i, j in ((0, 1), (0, 2), (1, 2))])
    across = np.mean([cosine(a, b) for a in same for b in other])
    np.testing.assert_allclose(measures.path_likeness(one, same, other), (own - across) / (within - across))


def test_a_photograph_of_the_class_goes_along_its_path_and_one_of_another_does_not():
    same, across = RANDOM.normal(size=(40, 6)) + 3 * np.eye(6)[0], RANDOM.normal(size=(40, 6)) + 3 * np.eye(6)[1]
    found = np.mean([measures.path_likeness(x, same[20:], across) for x in same[:20]])
    wrong = np.mean([measures.path_likeness(x, same[20:], across[20:]) for x in across[:20]])
    assert abs(found - 1) < 0.25
    assert abs(wrong) < 0.25


def test_the_rank_is_over_noise_and_the_choice_is_not_and_views_are_draws_of_the_transform():
    color = np.array([0.3, 0.9, 0.4])
    one, two = rendered("layer:1", color), rendered("class_logit('dog')", color)
    framed = dataclasses.replace(one, settings=one.settings | {"transform": {"kind": "Pad", "pixels": 4, "value": 0.0}})
    table = lj.evaluate([one, two, framed], model=classifier, draws=200, progress=False)
    above = color - 0.5  # noise has 0.5 in each color
    above = np.array([above[0], above[1], above[1] + above[2]])
    logits = np.array([3 + color[0], color[1], color[1] + color[2]]) - [3.1, 0, 0.6]
    assert (above > above[1]).sum() == 0 != (logits > logits[2]).sum()
    np.testing.assert_array_equal(table.column("rank"), [0, 0, 0])
    np.testing.assert_array_equal(table.column("choice"), [np.nan, (logits > logits[1]).sum(), np.nan])
    np.testing.assert_allclose(table.column("value"), [0.9, 0.9, 0.9], rtol=1e-5)
    np.testing.assert_allclose(table.column("views"), [0.9, 0.9, 0.9 * 16**2 / 24**2], rtol=1e-5)
    worst = lj.evaluate(rendered("layer:0", color), model=classifier, draws=200, progress=False)
    assert worst.column("rank") == (above > above[0]).sum() == 2, "though this channel is always the largest"


def test_all_units_share_the_programs(compiled):
    one = rendered("layer:1", [0.3, 0.9, 0.4])
    texts = [f"channel('layer', {i})" for i in range(3)] + [f"class_logit({i})" for i in range(3)]
    renders = [dataclasses.replace(one, settings=one.settings | {"objective": text}) for text in texts]
    compiled.clear()
    table = lj.evaluate(renders, model=classifier, draws=201, progress=False)
    assert table.column("rank").tolist() == [2, 0, 1] * 2
    assert 2 <= compiled.count("jit(_of_all_units)") <= 4, (
        "for noise, and for one picture, unless a test before did that"
    )


def test_the_eye_ranks_the_class_of_the_same_name_at_its_own_size():
    stranger.size = (8, 8)  # refuses others
    color = np.array([0.6, 0.7, 0.8])
    seen = np.array([0.8, 0.7, 2 * 0.6 - 0.3, 0.4])
    renders = [rendered(f"class_logit({i})", color) for i in range(3)] + [rendered("layer:0", color)]
    table = lj.evaluate(renders, model=classifier, eye=stranger, draws=1, progress=False)
    expected = [(seen > seen[stranger.class_names.index(name)]).sum() for name in ("puss", "dog", "bird")]
    assert expected == [0, 2, 1]
    np.testing.assert_array_equal(table.column("eye"), [*expected, np.nan])
    assert "seen by stranger" in repr(table)
    assert "seen by stranger" in table._repr_html_()


def test_path_likeness_is_that_of_all_pairs_with_the_photographs_of_the_class(tmp_path):
    colors = {"puss": (0.9, 0.2, 0.1), "dog": (0.2, 0.7, 0.3), "bird": (0.1, 0.3, 0.9), "dust": (0.5, 0.5, 0.5)}
    seen: dict[str, list[np.ndarray]] = {}
    for name, color in colors.items():
        for i in range(1 if name == "bird" else 14):
            picture = np.clip(color + RANDOM.normal(0, 0.15, (16, 16, 3)), 0, 1).astype(np.float32)
            (tmp_path / name).mkdir(exist_ok=True)
            lj.pictures.save(tmp_path / name / f"{i:02}.png", picture)
            seen.setdefault(name, []).append(np.round(picture * 255).mean((0, 1)) / 255)
    layer = lambda mean: np.array([3 + mean[0], mean[1], mean[1] + mean[2]])
    mean = np.array([0.7, 0.4, 0.2])
    cat = [layer(x) for x in seen["puss"]]
    others = [layer(x) for name in ("dog", "bird") for x in seen[name]]  # dust is no class
    own = np.mean([cosine(layer(mean), x) for x in cat])
    within = np.mean([cosine(cat[i], cat[j]) for i in range(14) for j in range(14) if i != j])
    across = np.mean([cosine(a, b) for a in cat for b in others])
    renders = [rendered(goal, mean) for goal in ("class_logit('cat')", "class_logit('bird')", "layer:0")]
    classifier.size = (16, 16)
    table = lj.evaluate(
        renders, model=classifier, photographs=tmp_path, layers=["layer"], draws=1, progress=False
    ).column("likeness layer")
    np.testing.assert_allclose(table[0], (own - across) / (within - across), rtol=1e-3)
    assert np.isnan(table[1:]).all(), "one photograph of a bird is too few, and a channel is no class"


def test_a_trained_efficientnet_is_the_eye(shared, efficientnet_file):
    """Photographs in place of renders: the eye knows what they show, and not what they do not show."""
    eye = lj.load_model(efficientnet_file)
    names = eye.class_names

    def studied(images):
        return {"logits": images.mean((1, 2)) @ jnp.ones((3, 1000))}

    studied.class_names, studied.logits = names, "logits"
    made, found = rendered("class_logit('dalmatian')", 0.5, studied), []
    for name in ("dalmatian", "accordion"):
        settings = made.settings | {"objective": f"class_logit({name!r})", "size": [160, 160]}
        for folder in ("dalmatian", "accordion"):
            file = shared / "datasets" / "caltech101" / folder / "image_0001.jpg"
            pictures = lj.pictures.load_picture(file, 160)[None]
            found.append(dataclasses.replace(made, images=pictures, settings=settings))
    table = lj.evaluate(found, model=studied, eye=eye, draws=1, progress=False)
    right, wrong = table.column("eye")[[0, 3]], table.column("eye")[[1, 2]]
    assert right.tolist() == [0, 0]
    assert wrong.min() > 10
    assert table.eye.startswith("efficientnet_lite0@")


def test_the_table_ranks_shows_and_saves_itself_and_refuses_the_own_eye(tmp_path):
    image = lj.image(16, color="rgb")
    result = lj.visualize("a:1", model=model, image=image, steps=32, transform=None, progress=False)
    result.save(tmp_path / "unit.png")
    (tmp_path / "other").mkdir()
    result.save(tmp_path / "other" / "unit.png")
    files = [tmp_path / "unit.png", tmp_path / "other"]
    assert lj.evaluate(files, model=model, draws=2, progress=False).names == [f"{tmp_path.name}/unit", "other/unit"]
    table = lj.evaluate([result, tmp_path / "unit.png"], model=model, draws=2, progress=False)
    table_value = table.column("value")[0]
    np.testing.assert_allclose(table_value, (result.image * 2 - 1).mean((0, 1))[1], rtol=1e-4, atol=1e-5)
    assert table.column("rank").tolist() == [0, 0]
    assert table.names == ["channel('a', 1)", "unit"]
    assert "unit" in table._repr_html_()
    table.save(tmp_path / "t.csv")
    table.save(tmp_path / "t.safetensors")
    table.save(tmp_path / "t.json")
    table.save(tmp_path / "t.png")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [float(row["value"]) for row in rows] == table.column("value").tolist()
    np.testing.assert_array_equal(Evaluation.read(tmp_path / "t.safetensors").values, table.values)


@pytest.mark.parametrize("disguise", ["itself", "a copy", "half"])
def test_the_network_under_study_is_no_eye(disguise):
    weights = np.linspace(0, 1, 9, dtype=np.float32).reshape(3, 3)
    own = jax.tree_util.Partial(lambda weights, images: {"a": images @ weights}, weights)
    other = own if disguise == "itself" else jax.tree_util.Partial(lambda w, x: {"b": x @ w}, weights.copy())
    if disguise == "half":
        other.args[0][:] += 1
        own.source, other.source = "mine@12", "mine@12, float16 weights"
    with pytest.raises(ValueError, match="another network than the one under study"):
        lj.evaluate(rendered("a:1", 0.5, own), model=own, eye=other, progress=False)


def test_photographs_are_judged_by_the_eye(tmp_path):
    for i in range(44):
        lj.pictures.save(
            tmp_path / f"p{i:02}.png", np.full((16, 16, 3), i / 44, np.float32) * RANDOM.uniform(0.5, 1, 3)
        )
    model.size = other.size = (16, 16)
    result = lj.visualize("a:1", model=model, size=16, steps=2, transform=None, progress=False)
    table = lj.evaluate(result, model=model, eye=other, photographs=tmp_path, draws=2, progress=False)
    assert table.eye == "other"
    means = np.array([lj.pictures.load_picture(path).mean((0, 1)) for path in sorted(Path(tmp_path).glob("*.png"))])
    values, features = 2 * means[:, 1] - 1, measures.judged(means[:, ::-1])
    told, sure = measures.interpretability(values, features, np.random.default_rng(0))
    assert table.column("told")[0] == told > 0.8
    np.testing.assert_allclose(table.column("sure")[0], sure, rtol=1e-3)
    np.testing.assert_allclose(table.column("alike")[0], measures.monosemanticity(values, features), rtol=1e-3)
