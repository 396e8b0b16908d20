"""Measures of renders: formulas against plain loops, and the table by the user's path."""

import csv

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


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_the_slope_of_noise_is_minus_twice_the_exponent_of_its_amplitude(power):
    f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    f[0, 0] = 1
    noise = np.fft.ifft2(
        np.fft.fft2(RANDOM.normal(size=(128, 128, 3)), axes=(0, 1)) / f[..., None] ** power, axes=(0, 1)
    )
    assert abs(measures.spectrum_slope(noise.real) + 2 * power) < 0.2


def test_a_photograph_of_the_class_goes_along_its_path_and_one_of_another_does_not():
    same, across = RANDOM.normal(size=(40, 6)) + 3 * np.eye(6)[0], RANDOM.normal(size=(40, 6)) + 3 * np.eye(6)[1]
    found = np.mean([measures.path_likeness(x, same[20:], across) for x in same[:20]])
    wrong = np.mean([measures.path_likeness(x, same[20:], across[20:]) for x in across[:20]])
    assert abs(found - 1) < 0.25
    assert abs(wrong) < 0.25


def test_the_table_ranks_shows_and_saves_itself_and_refuses_the_own_eye(tmp_path):
    image = lj.image(16, color="rgb")
    result = lj.visualize("a:1", model=model, image=image, steps=32, transform=None, progress=False)
    result.save(tmp_path / "unit.png")
    table = lj.evaluate([result, tmp_path / "unit.png"], model=model, draws=2, progress=False)
    table_value = table.column("value")[0]
    np.testing.assert_allclose(table_value, (result.image * 2 - 1).mean((0, 1))[1], rtol=1e-4, atol=1e-5)
    assert table.column("rank").tolist() == [0, 0]
    assert "unit" in table._repr_html_()
    table.save(tmp_path / "t.csv")
    table.save(tmp_path / "t.safetensors")
    table.save(tmp_path / "t.json")
    table.save(tmp_path / "t.png")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [float(row["value"]) for row in rows] == table.column("value").tolist()
    np.testing.assert_array_equal(Evaluation.read(tmp_path / "t.safetensors").values, table.values)
    with pytest.raises(ValueError, match="another network than the one under study"):
        lj.evaluate(result, model=model, eye=model, progress=False)


def test_photographs_are_judged_by_the_eye(tmp_path):
    for i in range(44):
        lj.pictures.save(
            tmp_path / f"p{i:02}.png", np.full((16, 16, 3), i / 44, np.float32) * RANDOM.uniform(0.5, 1, 3)
        )
    model.size = other.size = (16, 16)
    result = lj.visualize("a:1", model=model, size=16, steps=2, transform=None, progress=False)
    table = lj.evaluate(result, model=model, eye=other, photographs=tmp_path, draws=2, progress=False)
    assert table.eye == "other"
    assert table.column("told")[0] > 0.8
    assert -1 <= table.column("alike")[0] <= 1
