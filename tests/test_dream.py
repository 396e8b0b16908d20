"""DeepDream: over octaves, against what its steps must add up to, with one compilation for each size."""

import numpy as np
import pytest

import lightjax as lj
from lightjax.dream import _resized

GRAY = np.full((36, 48, 3), 0.5, np.float32)
RATE = 0.01


def model(pictures):
    return {"a": pictures, "dots": pictures[:, ::4, ::4]}


def dream(picture=GRAY, objective="a", **settings):
    settings = {"octaves": 2, "scale": 1.5, "steps": 3, "rate": RATE, "jitter": 4, "model": model} | settings
    return lj.dream(picture, objective, **settings, progress=False)


def test_every_step_of_every_octave_adds_its_rate_and_the_changes_are_carried_on():
    """All pixels have the same gradient here, so that they all rise by the rate in each step."""
    result = dream(objective=lj.layer("a"), jitter=0)
    np.testing.assert_allclose(result.image, GRAY + 6 * RATE, atol=1e-4)
    np.testing.assert_allclose(result.values, 0.5 + RATE * np.arange(6), atol=1e-4)


def test_without_steps_the_photograph_comes_back(dog_cat, tmp_path):
    photograph = lj.load_picture(dog_cat, (36, 48))
    result = dream(dog_cat, size=(36, 48), steps=0)
    np.testing.assert_allclose(result.image, photograph, atol=1e-6)
    result.save(tmp_path / "x.png")
    with pytest.raises(
        ValueError, match=r"optimizer=dream\(octaves=2, scale=1.5, rate=0.01, jitter=4\), model=model, which"
    ):
        lj.Recipe.read(tmp_path / "x.png")


def test_a_layer_gets_its_mean_square_and_each_size_is_compiled_once(compiled):
    random = np.random.default_rng(0).uniform(0.2, 0.8, GRAY.shape)
    result = dream(random, "dots", steps=4, jitter=0)
    assert result.settings["objective"] == "deepdream('dots')"
    assert result.values[3] > result.values[0]
    assert result.values[7] > result.values[4]
    assert compiled.count("jit(_advance)") == 2
    dream(1 - random, "dots", steps=5, jitter=0)
    assert compiled.count("jit(_advance)") == 2


def test_a_resized_picture_keeps_its_mean_and_may_be_negative():
    waves = np.sin(np.linspace(0, 9, 36 * 48 * 3)).reshape(GRAY.shape).astype(np.float32)
    assert _resized(waves, 18, 24).shape == (18, 24, 3)
    np.testing.assert_allclose(_resized(waves, 18, 24).mean(), waves.mean(), atol=5e-3)
    np.testing.assert_array_equal(_resized(waves, 36, 48), waves)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"octaves": 0}, "octaves must be at least 1, got 0"),
        ({"octaves": 9}, "the smallest octave, 1x2 pixels, got 4: use fewer octaves"),
        ({"scale": 1}, "scale must be greater than 1, got 1"),
        ({"jitter": -1}, "jitter must be at least 0, got -1"),
        ({"rate": 0}, "rate must be greater than 0, got 0"),
        ({"steps": -1}, "steps must be at least 0, got -1"),
        ({"picture": GRAY[..., 0]}, r"must be a file, or \[H, W, 3\] with values in \[0, 1\], got \[36, 48\]"),
        ({"picture": 2 * GRAY + 1}, r"with values in \[0, 1\]"),
        ({"objective": "b"}, "unknown layer 'b'"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        dream(**settings)
