"""Accentuation: one draw for both pictures, the wanted distance is reached, and no limit is a usual render."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lightjax as lj

PICTURE = np.random.default_rng(0).uniform(0.2, 0.8, (24, 24, 3)).astype(np.float32)


def model(images):
    return {"a": images * 2, "b": jnp.tanh(images).mean((1, 2))}


def test_one_draw_moves_the_picture_and_the_fixed_one_beside_it():
    image = lj.images.beside(lj.image(24), PICTURE)
    pictures = image.decode(image.encode(jnp.stack([PICTURE, PICTURE])))
    assert pictures.shape == (2, 24, 24, 3)
    shared = lj.transforms.SameForAll(lj.transforms.DEFAULT)
    away = lj.objectives.activation_difference("a")
    apart = [float(away(model(f(jax.random.key(1), pictures)))) for f in (shared, lj.transforms.DEFAULT)]
    assert apart[0] < 1e-3 < 0.05 < apart[1]


def test_without_a_target_pictures_are_compared_with_the_last_one():
    x = np.random.default_rng(1).normal(size=(2, 3, 3, 4)).astype(np.float32)
    for kind in (lj.objectives.activation_difference, lj.objectives.caricature):
        np.testing.assert_allclose(kind("a")({"a": x}), kind("a", x[1])({"a": x[:1]}), rtol=1e-6)
    with pytest.raises(ValueError, match="compares several pictures"):
        lj.objectives.caricature("a")({"a": x[:1]})


def test_the_wanted_distance_is_reached_and_measured():
    result = lj.accentuate(PICTURE, "b:1", hold="a", distance=0.1, model=model, progress=False)
    away = np.linalg.norm(result.image - result.photograph) / np.linalg.norm(result.photograph)
    np.testing.assert_allclose(result.distance, away, rtol=1e-4)
    assert 0.08 < result.distance < 0.115
    assert result.after > result.before
    np.testing.assert_allclose(result.after, np.tanh(result.image).mean((0, 1))[1], rtol=1e-4)


def test_without_a_limit_the_picture_is_that_of_visualize():
    settings = {"model": model, "steps": 8, "progress": False}
    free = lj.accentuate(PICTURE, "b:1", hold="a", distance=None, **settings)
    usual = lj.visualize("b:1", image=lj.image(24), start=PICTURE, optimizer=0.02, **settings)
    np.testing.assert_allclose(free.image, usual.image, atol=1e-5)


def test_wrong_arguments_are_refused():
    for settings, match in (({"hold": "c"}, "layer in hold"), ({"distance": 0}, "distance must be greater than 0")):
        with pytest.raises(ValueError, match=match):
            lj.accentuate(PICTURE, "b:1", **{"hold": "a", "model": model, "progress": False} | settings)
