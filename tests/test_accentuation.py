"""Accentuation: one draw for a photograph and for what is made of it, and the distance that was asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lightjax as lj
from lightjax import images, transforms

RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.standard_normal((3, 3, 3, 6)).astype(np.float32)
PICTURE = RANDOM.uniform(0.2, 0.8, (6, 6, 3)).repeat(4, 0).repeat(4, 1).astype(np.float32)
MOVES = transforms.compose(transforms.Pad(2), transforms.Jitter(3), transforms.RandomRotate([-5, 0, 5]))
SETTINGS = {"transform": MOVES, "steps": 48, "progress": False}


def network(images):
    a = jax.nn.relu(
        jax.lax.conv_general_dilated(images, KERNEL, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    return {"a": a, "b": jax.nn.relu(a @ KERNEL[1, 1].T)}


def test_one_draw_moves_the_picture_and_the_fixed_one_beside_it():
    image = images.beside(lj.image(24), PICTURE)
    params = image.encode(jnp.stack([PICTURE, PICTURE]))
    both = transforms.SameForAll(MOVES)(jax.random.key(1), image.decode(params))
    assert both.shape[0] == 2
    np.testing.assert_allclose(both[0], both[1], atol=2e-3)
    np.testing.assert_array_equal(image.decode(jax.tree.map(jnp.zeros_like, params))[1], PICTURE)


@pytest.mark.parametrize("wanted", [0.1, 0.2])
def test_the_finished_picture_has_the_distance_that_was_wanted_and_excites_more(wanted):
    made = lj.accentuate(PICTURE, "b:1", hold="a", distance=wanted, model=network, **SETTINGS)
    assert made.images.shape == (1, 24, 24, 3)
    one, other = (np.asarray(network(jnp.asarray(x)[None])["a"]) for x in (made.image, PICTURE))
    measured = np.linalg.norm(one - other) / np.linalg.norm(other)
    np.testing.assert_allclose(made.distance, measured, rtol=1e-4)
    assert abs(measured / wanted - 1) < 0.3
    assert made.after > 1.02 * made.before
    np.testing.assert_allclose(made.before, network(jnp.asarray(PICTURE)[None])["b"][..., 1].mean(), rtol=1e-4)
    assert made._repr_png_().startswith(b"\x89PNG")


def test_without_a_distance_and_a_transform_it_is_the_render_that_starts_from_the_photograph():
    settings = SETTINGS | {"transform": None, "steps": 5}
    made = lj.accentuate(PICTURE, "b:1", hold="a", distance=None, model=network, **settings)
    usual = lj.visualize("b:1", start=PICTURE, size=24, optimizer=0.02, model=network, **settings)
    np.testing.assert_allclose(made.image, usual.image, atol=1e-5)


def test_without_a_target_pictures_are_compared_with_the_last_of_the_batch():
    found = {"a": jnp.asarray(RANDOM.standard_normal((3, 4, 4, 5)).astype(np.float32))}
    first = {"a": found["a"][:2]}
    for kind in (lj.objectives.caricature, lj.objectives.activation_difference):
        np.testing.assert_allclose(kind("a")(found), kind("a", found["a"][2])(first), rtol=1e-6)
    with pytest.raises(ValueError, match="a comparison without a target"):
        lj.objectives.check(lj.objectives.caricature("a"), {"a": jax.ShapeDtypeStruct((1, 4, 4, 5), jnp.float32)})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hold": "c"}, ValueError, "unknown layer in hold 'c'"),
        ({"distance": 0}, ValueError, "distance must be greater than 0"),
        ({"picture": PICTURE[0]}, ValueError, r"picture must be a file or \[H, W, C\]"),
        ({"size": 12}, ValueError, "size must be None or that of the picture"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    given = {"picture": PICTURE, "objective": "b:1", "hold": "a", "model": network, **SETTINGS} | change
    with pytest.raises(error, match=message):
        lj.accentuate(given.pop("picture"), given.pop("objective"), **given)
