"""Random transforms: geometry against NumPy, and the odds of their draws."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightjax import cli, ops, transforms
from lightjax.transforms import (
    between,
    collapse_alpha,
    compose,
    crop_or_pad,
    gaussian_blur,
    jitter,
    noise,
    normalize_gradient,
    pad,
    random_crop,
    random_flip,
    random_rotate,
    random_scale,
    same_for_all,
)

KEY = jax.random.key(0)
GREY = 0.5
SIZES = [(7, 7), (5, 8)]
ROBUST = compose(pad(2), jitter(2), random_scale([0.8, 1, 1.25]), random_rotate([-15, 0, 40]), jitter(1))
EVERY = [
    pytest.param(pad(2), id="pad"),
    pytest.param(jitter(3), id="jitter"),
    pytest.param(random_scale([0.7, 1.3]), id="scale"),
    pytest.param(random_rotate([-30, 20]), id="rotate"),
    pytest.param(ROBUST, id="composed"),
]
OTHERS = [
    pytest.param(random_flip(), id="flip"),
    pytest.param(random_crop(6, between(0.3, 0.9)), id="crop"),
    pytest.param(gaussian_blur(between(0.5, 1)), id="blur"),
    pytest.param(pad(2, "random"), id="random border"),
    pytest.param(noise(0.1, 0.2), id="noise"),
]
SETS = {
    "LUCID": (224, 236),
    "LUCENT": (224, 248),
    "TORCHLIGHT": (224, 224),
    "LUCID_INVERSION": (224, 230),
    "LUCID_ATLAS": (224, 224),
    "MACO": (512, 224),
}


def size_id(size):
    return f"{size[0]}x{size[1]}"


def random_images(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


@functools.cache
def compiled(transform):
    """One compilation is faster than the many small ones of a transform that runs eagerly."""
    return jax.jit(transform)


def apply(transform, images, key=KEY):
    return np.asarray(compiled(transform)(key, images))


def crop(picture, offset, size):
    return picture[offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]]


# A restatement in NumPy, float64. Each source says where in the picture before a move a pixel after it comes from.


def padded_from(pixels, size):
    return lambda row, column: (row - pixels, column - pixels)


def jittered_from(offset, size):
    return lambda row, column: (row + offset[0], column + offset[1])


def scaled_from(scale, size):
    y, x = (size[0] - 1) / 2, (size[1] - 1) / 2
    return lambda row, column: (y + (row - y) / scale, x + (column - x) / scale)


def rotated_from(degrees, size):
    y, x = (size[0] - 1) / 2, (size[1] - 1) / 2
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))

    def source(row, column):
        # Back by the angle, in axes to the right and up.
        right, up = column - x, y - row
        return y - (cos * up - sin * right), x + (cos * right + sin * up)

    return source


def sample(picture, sources, size, value=GREY):
    """One bilinear sampling of `[H, W, C]`, in an infinite plane of grey, where a chain of sources leads."""
    position = np.meshgrid(*(np.arange(n, dtype=float) for n in size), indexing="ij")
    for source in reversed(sources):
        position = source(*position)
    margin = 50
    plane = np.pad(picture.astype(float), [(margin, margin)] * 2 + [(0, 0)], constant_values=value)
    (row, down), (column, right) = ((np.floor(p).astype(int), (p - np.floor(p))[..., None]) for p in position)
    row, column = row + margin, column + margin
    above = plane[row, column] * (1 - right) + plane[row, column + 1] * right
    below = plane[row + 1, column] * (1 - right) + plane[row + 1, column + 1] * right
    return above * (1 - down) + below * down


@pytest.mark.parametrize("size", SIZES, ids=size_id)
@pytest.mark.parametrize(("pixels", "value"), [(1, 0.5), (4, 0.25)])
def test_pad_alone_is_numpys_pad_bit_for_bit(size, pixels, value):
    images = random_images(2, *size, 3)
    border = [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)]
    expected = np.pad(images, border, constant_values=np.float32(value))
    np.testing.assert_array_equal(apply(pad(pixels, value), images), expected)


@pytest.mark.parametrize(("size", "pixels"), [((6, 7), 3), ((5, 4), 1), ((4, 4), 0)], ids=str)
def test_jitter_is_a_crop_bit_for_bit_and_takes_every_offset_and_no_other(size, pixels):
    picture = np.arange(size[0] * size[1] * 2, dtype=np.float32).reshape(*size, 2)
    crops = apply(jitter(pixels), np.repeat(picture[None], 500, axis=0))
    corner = crops[:, 0, 0, 0].astype(int) // 2
    offsets = list(zip(*np.divmod(corner, size[1]), strict=True))
    left = (size[0] - pixels, size[1] - pixels)
    np.testing.assert_array_equal(crops, np.stack([crop(picture, offset, left) for offset in offsets]))
    assert set(offsets) == set(itertools.product(range(pixels + 1), repeat=2))


@pytest.mark.parametrize("size", SIZES, ids=size_id)
@pytest.mark.parametrize(
    "transform",
    [
        pytest.param(random_scale([1]), id="scale by 1"),
        pytest.param(random_rotate([0]), id="rotate by 0"),
        pytest.param(compose(random_rotate([0]), random_scale([1, 1.0]), pad(0)), id="all of them"),
        pytest.param(compose(), id="nothing"),
    ],
)
def test_moves_by_nothing_are_the_identity_bit_for_bit(size, transform):
    images = random_images(2, *size, 3)
    np.testing.assert_array_equal(apply(transform, images), images)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("side", [6, 7])
def test_quarter_turns_are_numpys_rot90_anticlockwise(side, quarters):
    images = random_images(2, side, side, 3)
    expected = np.rot90(images, quarters, axes=(1, 2))
    np.testing.assert_allclose(apply(random_rotate([90 * quarters]), images), expected, atol=5e-6)


@pytest.mark.parametrize("size", SIZES, ids=size_id)
@pytest.mark.parametrize("scale", [2, 0.5, 1.1])
def test_scale_is_a_bilinear_zoom_about_the_centre(size, scale):
    images = random_images(2, *size, 3)
    expected = [sample(picture, [scaled_from(scale, size)], size) for picture in images]
    np.testing.assert_allclose(apply(random_scale([scale]), images), expected, atol=5e-6)


@pytest.mark.parametrize("size", SIZES, ids=size_id)
@pytest.mark.parametrize("degrees", [10, -45])
def test_rotation_is_a_bilinear_turn_about_the_centre(size, degrees):
    images = random_images(2, *size, 3)
    expected = [sample(picture, [rotated_from(degrees, size)], size) for picture in images]
    np.testing.assert_allclose(apply(random_rotate([degrees]), images), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(7, 9), (8, 8)], ids=size_id)
def test_a_composed_run_is_one_bilinear_sampling_of_the_composed_map(size):
    images = random_images(6, *size, 2)
    large = (size[0] + 4, size[1] + 4)
    middle = (size[0] + 2, size[1] + 2)
    last = (size[0] + 1, size[1] + 1)
    # The draws are not told, but there are only so many of them.
    draws = itertools.product(
        itertools.product(range(3), repeat=2), (0.8, 1, 1.25), (-15, 0, 40), itertools.product(range(2), repeat=2)
    )
    chains = [
        [
            padded_from(2, size),
            jittered_from(first, large),
            scaled_from(scale, middle),
            rotated_from(degrees, middle),
            jittered_from(second, middle),
        ]
        for first, scale, degrees, second in draws
    ]
    found = set()
    for picture, result in zip(images, apply(ROBUST, images), strict=True):
        errors = [np.abs(sample(picture, chain, last) - result).max() for chain in chains]
        assert min(errors) < 1e-5
        found.add(int(np.argmin(errors)))
    assert len(found) > 1


def test_each_step_of_a_run_draws_for_itself():
    picture = np.arange(10 * 10, dtype=np.float32).reshape(1, 10, 10, 1)
    corners = apply(compose(jitter(1), jitter(1)), np.repeat(picture, 300, axis=0))[:, 0, 0, 0]
    shifts = np.stack(np.divmod(corners.astype(int), 10))
    # Two equal draws would only give 0 and 2.
    for shift in shifts:
        np.testing.assert_allclose(np.bincount(shift) / 300, [1 / 4, 1 / 2, 1 / 4], atol=5 * np.sqrt(1 / 4 / 300))


def test_a_run_sees_what_an_earlier_crop_left_out():
    # A crop is not a cut: the zoom brings back what lies beyond the frame, and grey only shows beyond the picture.
    picture = np.ones((20, 9, 9, 1), np.float32)
    result = apply(compose(jitter(4), random_scale([0.5])), picture)[..., 0]
    # Of 5 pixels, a zoom by a half of what a cut left would show 2 or 3; the picture's 9 show 4 or 5.
    assert ((result == 1).sum(axis=1).max(axis=1) >= 4).any()


def double(key, images):
    return 2 * images


def test_a_transform_that_is_no_move_keeps_its_place_between_moves():
    images = random_images(2, 4, 5, 3)
    border = [(0, 0), (1, 1), (1, 1), (0, 0)]
    inner = 2 * np.pad(images, border, constant_values=GREY)
    expected = np.pad(inner, border, constant_values=GREY)
    np.testing.assert_array_equal(apply(compose(pad(1), double, pad(1)), images), expected)


@dataclasses.dataclass(frozen=True)
class Noise:
    def __call__(self, key, images):
        return images + jax.random.normal(key, images.shape)


def test_two_equal_transforms_in_a_row_draw_for_themselves():
    images = np.zeros((1, 4, 4, 1), np.float32)
    first = apply(compose(Noise()), images)
    second = apply(compose(Noise(), Noise()), images) - first
    assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.9


def test_pads_of_two_greys_each_keep_their_own():
    images = random_images(1, 3, 3, 1)
    expected = images
    for value in (0.0, 1.0):
        expected = np.pad(expected, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=value)
    np.testing.assert_array_equal(apply(compose(pad(1, 0.0), pad(1, 1.0)), images), expected)


@pytest.mark.parametrize(
    ("transform", "value"),
    [
        pytest.param(random_scale([0.25]), GREY, id="scale"),
        pytest.param(random_rotate([45]), GREY, id="rotate"),
        pytest.param(pad(1), GREY, id="pad"),
        pytest.param(pad(1, 0.125), 0.125, id="pad of another grey"),
    ],
)
def test_what_lies_outside_is_exactly_the_grey(transform, value):
    result = apply(transform, np.ones((1, 9, 9, 1), np.float32))[0, ..., 0]
    assert (result[[0, 0, -1, -1], [0, -1, 0, -1]] == value).all()
    assert result[result.shape[0] // 2, result.shape[1] // 2] == 1
    assert ((result >= value) & (result <= 1)).all()


@pytest.mark.parametrize("transform", EVERY)
def test_constant_grey_stays_constant(transform):
    result = apply(transform, np.full((12, 8, 7, 2), GREY, np.float32))
    np.testing.assert_allclose(result, GREY, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "transform",
    [
        EVERY[2],
        EVERY[4],
        pytest.param(compose(random_flip(1), random_crop((3, 6), between(0.5, 1))), id="flip and crop"),
        pytest.param(compose(pad(1, "reflect"), gaussian_blur(0.7)), id="reflect and blur"),
    ],
)
def test_gradient_is_the_adjoint_of_the_linear_map_that_finite_differences_find(transform):
    shape = (2, 5, 4, 1)
    with jax.enable_x64(True):
        key = jax.random.key(2)
        images = random_images(*shape).astype(np.float64)
        # The map is affine, so a difference over a whole unit is exact.
        units = np.eye(images.size).reshape(-1, *shape)
        moved = jax.jit(jax.vmap(functools.partial(transform, key)))(np.concatenate([images[None], images + units]))
        forward = (moved[1:] - moved[0]).reshape(images.size, -1)
        backward = jax.jit(jax.jacrev(functools.partial(transform, key)))(images).reshape(-1, images.size)
    assert forward.dtype == backward.dtype == np.float64
    np.testing.assert_allclose(forward, backward.T, atol=1e-12)
    assert np.abs(forward).max() > 0.1


@pytest.mark.parametrize(
    "move",
    [
        pad(2),
        jitter(3),
        crop_or_pad(5),
        random_flip(),
        random_scale([0.7, 1.3]),
        random_scale(between(0.9, 1.2)),
        random_rotate([-30, 20, 170]),
        random_rotate(between(30, 60)),
        random_rotate(between(-5, 4)),
        random_crop(6, between(0.3, 0.9)),
    ],
    ids=repr,
)
def test_no_draw_stretches_more_than_a_move_says(move):
    draws = jax.vmap(lambda key: move.matrix(key, (20, 24)))(jax.random.split(KEY, 200))
    stretches = np.abs(np.linalg.inv(np.asarray(draws, np.float64)[:, :2, :2])).sum(2).max(1)
    assert stretches.max() <= move.stretch() + 1e-6
    assert stretches.max() >= 0.95 * min(move.stretch(), 1e6) or np.isinf(move.stretch())


@pytest.mark.parametrize("transform", [*EVERY[1:], *OTHERS])
def test_images_of_a_batch_draw_for_themselves(transform):
    results = apply(transform, np.repeat(random_images(1, 8, 7, 2), 12, axis=0))
    assert len(np.unique(results, axis=0)) > 1


@pytest.mark.parametrize("transform", [EVERY[1], EVERY[4], *OTHERS])
def test_draw_of_an_image_does_not_depend_on_the_batch(transform):
    images = random_images(12, 8, 7, 2)
    np.testing.assert_allclose(apply(transform, images)[:2], apply(transform, images[:2]), atol=1e-6)


@pytest.mark.parametrize("transform", EVERY)
def test_same_key_same_result(transform):
    images = random_images(12, 8, 7, 2)
    np.testing.assert_array_equal(apply(transform, images), apply(transform, images))


@pytest.mark.parametrize("transform", [*EVERY[1:], *OTHERS])
def test_different_keys_differ(transform):
    images = random_images(12, 8, 7, 2)
    assert not np.array_equal(apply(transform, images), apply(transform, images, jax.random.key(1)))


TURN = random_rotate([-30, 20])


def test_vmap_gives_what_a_loop_gives():
    images = random_images(3, 2, 8, 7, 2)
    keys = jax.random.split(KEY, 3)
    expected = [apply(TURN, batch, key) for key, batch in zip(keys, images, strict=True)]
    np.testing.assert_allclose(jax.jit(jax.vmap(TURN))(keys, images), expected, atol=1e-5)


def test_jit_gives_what_eager_evaluation_gives():
    images = random_images(2, 8, 7, 2)
    np.testing.assert_allclose(apply(TURN, images), TURN(KEY, jnp.asarray(images)), atol=1e-5)


def shape_after(transform, size, batch=1, channels=3):
    images = jax.ShapeDtypeStruct((batch, *size, channels), jnp.float32)
    result = jax.eval_shape(transform, KEY, images)
    assert result.dtype == jnp.float32
    return result.shape


@pytest.mark.parametrize("name", SETS)
def test_published_sets_turn_pixels_into_pixels_by_one_resampling(name, monkeypatch):
    before, after = SETS[name]
    calls, resample = [], ops.resample
    monkeypatch.setattr(ops, "resample", lambda *args: calls.append(1) or resample(*args))
    assert shape_after(getattr(transforms, name), (before, before), batch=2) == (2, after, after, 3)
    assert len(calls) == 1


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    pixels=st.integers(0, 9),
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
)
def test_sizes_after_each_transform(size, pixels, batch, channels):
    height, width = size

    def shape(transform):
        after = shape_after(transform, size, batch, channels)
        assert after[::3] == (batch, channels)
        return after[1:3]

    assert shape(pad(pixels)) == (height + 2 * pixels, width + 2 * pixels)
    assert shape(random_scale([0.5, 2])) == size
    assert shape(random_rotate([30])) == size
    assert shape(transforms.DEFAULT) == (height + 12, width + 12)
    if pixels < min(size):
        assert shape(jitter(pixels)) == (height - pixels, width - pixels)
        assert shape(compose(jitter(pixels), random_scale([2]), pad(1))) == (height - pixels + 2, width - pixels + 2)


@pytest.mark.parametrize("size", [(4, 9), (9, 4), (3, 3)], ids=size_id)
def test_an_image_too_small_to_jitter_is_refused_and_both_sizes_named(size):
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels is too small to jitter by 4"):
        shape_after(jitter(4), size)


def test_jitter_counts_the_border_that_was_added_before():
    assert shape_after(compose(pad(2), jitter(4)), (1, 3)) == (1, 1, 3, 3)
    with pytest.raises(ValueError, match="5x7 pixels is too small to jitter by 5"):
        shape_after(compose(pad(2), jitter(5)), (1, 3))


def drawn(transform, draws, side):
    """The linear part of drawn maps, `[draws, 2, 2]`, and where the centre comes from, `[draws, 2]`.

    Bilinear sampling reproduces a picture of its own coordinates, so the result tells where each pixel came from.
    """
    coordinates = np.stack(np.meshgrid(*[np.arange(side, dtype=np.float32)] * 2, indexing="ij"), axis=-1)
    images = np.broadcast_to(coordinates, (draws // 4, side, side, 2))
    result = np.concatenate([apply(transform, images, key) for key in jax.random.split(KEY, 4)])
    centre, step = result.shape[1] // 2, 3
    down = result[:, centre + step, centre] - result[:, centre - step, centre]
    right = result[:, centre, centre + step] - result[:, centre, centre - step]
    return np.stack([down, right], axis=-1) / (2 * step), result[:, centre, centre]


def assert_odds(counts, odds):
    """Counts are within five standard deviations of what independent draws of these odds give."""
    counts, odds = np.asarray(counts), np.asarray(odds)
    draws = counts.sum()
    np.testing.assert_array_less(np.abs(counts - draws * odds), 5 * np.sqrt(draws * odds * (1 - odds)))


def test_default_draws_the_scales_and_angles_of_lucid_with_their_odds():
    assert transforms.DEFAULT is transforms.LUCID
    linear, centre = drawn(transforms.DEFAULT, 10_400, side=33)
    scale = 1 / np.sqrt(np.linalg.det(linear))
    angle = np.rad2deg(np.arctan2(linear[:, 0, 1], linear[:, 0, 0]))
    # Eleven scales from 0.90 to 1.10, and each angle from -10 to 10 once, with five more zeros.
    at = (scale - 0.9) / 0.02
    np.testing.assert_allclose(at, np.round(at), atol=1e-2)
    np.testing.assert_allclose(angle, np.round(angle), atol=1e-2)
    assert_odds(np.bincount(np.round(at).astype(int), minlength=11), np.full(11, 1 / 11))
    weights = np.ones(21)
    weights[10] = 6
    assert_odds(np.bincount(np.round(angle).astype(int) + 10, minlength=21), weights / 26)
    # A draw of one tells nothing of the others.
    together = np.corrcoef(np.stack([at, angle, *centre.T]))
    assert np.abs(together - np.eye(4)).max() < 5 / np.sqrt(len(at))


def scales_and_angles(transform, draws, side=97):
    linear, _ = drawn(transform, draws, side)
    return 1 / np.sqrt(np.linalg.det(linear)), np.rad2deg(np.arctan2(linear[:, 0, 1], linear[:, 0, 0]))


def test_torchlight_draws_its_ranges_evenly_and_shifts_by_up_to_16_pixels_twice():
    scale, angle = scales_and_angles(transforms.TORCHLIGHT, 1000)
    for values, end in ((scale - 1, 0.05), (angle, 5)):
        assert np.abs(values).max() <= end * 1.001
        assert_odds(np.histogram(values, 5, (-1.001 * end, 1.001 * end))[0], np.full(5, 0.2))
    shifts = compose(*(t for t in transforms.TORCHLIGHT.transforms if t in (pad(32, 0), jitter(32))))
    _, centre = drawn(shifts, 2000, side=97)
    odds = np.convolve(np.ones(33), np.ones(33)) / 33**2
    found = np.bincount((centre - 48 + 32).astype(int).ravel(), minlength=65)
    assert_odds(found.reshape(5, 13).sum(1), odds.reshape(5, 13).sum(1))
    corners = apply(transforms.TORCHLIGHT, np.ones((200, 40, 40, 1), np.float32))[:, 0, 0, 0]
    assert (corners == 0).any()
    assert ((corners >= 0) & (corners <= 1)).all()


def test_lucent_draws_as_lucid_and_only_keeps_the_size():
    assert transforms.LUCENT.transforms[1:4] == transforms.LUCID.transforms[1:4]
    _, centre = drawn(compose(pad(16), jitter(8), pad(2), jitter(4)), 1000, side=33)
    assert shape_after(transforms.LUCENT, (100, 60)) == (1, 124, 84, 3)
    # Without scale and rotation the centre moves by up to 4 and 2 pixels either way, and not on average.
    assert np.abs(centre - 16).max() == 6
    assert np.abs((centre - 16).mean()) < 5 * np.sqrt((80 + 24) / 12 / 2000)


def test_inversion_and_atlas_sets_have_the_choices_of_lucid():
    scales, angles = transforms.LUCID_INVERSION.transforms[2:4]
    assert sorted(scales.scales) == [0.9, 0.95, 1, 1, 1, 1, 1.05, 1.1]
    assert sorted(angles.degrees) == sorted([*range(-5, 5), *[0] * 5])
    assert [t.pixels for t in transforms.LUCID_INVERSION.transforms if hasattr(t, "pixels")] == [8, 8, 2]
    scales, angles = transforms.LUCID_ATLAS.transforms[6:8]
    np.testing.assert_allclose(scales.scales, 0.998 ** np.arange(20, 40))
    assert min(scales.scales) > 0.924
    counts = np.bincount(np.array(angles.degrees, int) + 20, minlength=41)
    np.testing.assert_array_equal(counts[[0, 9, 10, 14, 15, 20, 24, 25, 29, 30, 39]], [1, 1, 2, 2, 3, 8, 3, 2, 2, 1, 1])
    assert counts.sum() == 40 + 20 + 10 + 5
    assert [t.pixels for t in transforms.LUCID_ATLAS.transforms if hasattr(t, "pixels")] == [16, 4, 4, 8, 8, 8, 2, 1]


def test_maco_has_the_numbers_of_xplique():
    crop, perturb = transforms.MACO.transforms
    assert (crop.height, crop.width, crop.sides, crop.spread) == (224, 224, between(0.05, 0.5), 0.15)
    assert perturb == noise(normal=0.08, uniform=0.04)


def test_two_jitters_of_the_default_shift_by_0_to_12_pixels():
    steps = transforms.DEFAULT.transforms
    moves = compose(*(step for step in steps if step in (pad(12), jitter(8), jitter(4))))
    linear, centre = drawn(moves, 1000, side=33)
    np.testing.assert_array_equal(linear, np.broadcast_to(np.eye(2), linear.shape))
    shift = centre - 22 + 12  # The centre of 45 pixels is 22, which the border moves to 10.
    odds = np.convolve(np.ones(9), np.ones(5)) / 45
    for axis in (0, 1):
        assert_odds(np.bincount(shift[:, axis].astype(int), minlength=13), odds)


@pytest.mark.parametrize(
    ("transform", "linear"),
    [
        pytest.param(random_scale([0.5, 2, 2, 2]), {2: 1 / 4, 0.5: 3 / 4}, id="scale"),
        pytest.param(random_rotate([60, 60, 0]), {0.5: 2 / 3, 1: 1 / 3}, id="rotate"),
    ],
)
def test_a_repeated_choice_is_more_likely(transform, linear):
    found = drawn(transform, 600, side=15)[0][:, 0, 0]
    assert_odds([np.isclose(found, value, atol=1e-4).sum() for value in linear], list(linear.values()))


# Borders


@pytest.mark.parametrize("pixels", [0, 2, 6])
def test_a_reflected_border_is_numpys_and_mirrors_opacity_too(pixels):
    images = random_images(2, 5, 7, 4)
    border = [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)]
    np.testing.assert_array_equal(apply(pad(pixels, "reflect"), images), np.pad(images, border, mode="reflect"))


def test_a_random_border_has_one_grey_for_each_picture_and_draw():
    images = random_images(50, 4, 5, 3)
    result = apply(pad(2, "random"), images)
    np.testing.assert_array_equal(result[:, 2:-2, 2:-2], images)
    outside = np.ones((8, 9), bool)
    outside[2:-2, 2:-2] = False
    greys = result[:, outside].reshape(50, -1)
    np.testing.assert_array_equal(greys, np.repeat(greys[:, :1], greys.shape[1], axis=1))
    assert len(np.unique(greys[:, 0])) == 50
    assert 0 <= greys.min() < 0.2 < 0.8 < greys.max() < 1


@pytest.mark.parametrize("other", [random_rotate([45]), random_scale([0.3]), crop_or_pad(15)], ids=str)
def test_moves_show_the_grey_of_the_last_pad(other):
    images = np.ones((1, 9, 9, 1), np.float32)
    for transform, grey in (
        (compose(pad(1, 0.25), other), 0.25),
        (compose(pad(1, 0.25), double, other), 0.25),
        (compose(pad(1, 0.25), pad(1, 0.0), other), 0.0),
    ):
        assert apply(transform, images)[0, 0, 0, 0] == grey


@pytest.mark.parametrize("size", [(9, 4), (5, 5), (4, 9), (6, 7)], ids=size_id)
def test_crop_or_pad_keeps_the_middle_and_an_odd_pixel_goes_at_the_end(size):
    before = (6, 7)
    images = random_images(2, *before, 3)
    plane = np.full((2, 40, 40, 3), GREY, np.float32)
    plane[:, 10 : 10 + before[0], 10 : 10 + before[1]] = images
    # As tf.image.resize_with_crop_or_pad: half the difference, rounded towards zero.
    corner = [10 + int((b - a) / 2) for b, a in zip(before, size, strict=True)]
    expected = plane[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    np.testing.assert_array_equal(apply(crop_or_pad(size), images), expected)


# Flips and crops


def test_a_flip_exchanges_left_and_right_bit_for_bit_with_its_probability():
    images = random_images(2, 5, 8, 3)
    np.testing.assert_array_equal(apply(random_flip(1), images), images[:, :, ::-1])
    np.testing.assert_array_equal(apply(random_flip(0), images), images)
    np.testing.assert_array_equal(apply(compose(random_flip(1), random_flip(1)), images), images)
    np.testing.assert_array_equal(
        apply(compose(pad(1), random_flip(1)), images), apply(compose(random_flip(1), pad(1)), images)
    )
    flipped = apply(random_flip(0.3), np.repeat(images[:1], 1000, axis=0))[:, 0, 0, 0] != images[0, 0, 0, 0]
    assert_odds([flipped.sum(), (~flipped).sum()], [0.3, 0.7])


def coordinates(number, height, width):
    """Images of their own (row, column), so that samples tell where they were taken."""
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    return np.broadcast_to(grid.astype(np.float32), (number, height, width, 2))


@pytest.mark.parametrize(("picture", "size"), [((31, 50), (8, 8)), ((60, 30), (11, 21))], ids=str)
def test_crops_are_boxes_of_the_shape_of_the_result_and_lie_inside(picture, size):
    results = apply(random_crop(size, between(0.2, 0.7), spread=0.3), coordinates(400, *picture))
    first, last = results[:, 0, 0], results[:, -1, -1]
    # Evenly spaced samples, as far apart along rows as along columns.
    for axis, other in ((0, 1), (1, 0)):
        along = np.moveaxis(results[..., axis], 1 + axis, 1)[:, :, 0]
        steps = (last - first)[:, axis] / (size[axis] - 1)
        np.testing.assert_allclose(np.diff(along, axis=1), np.repeat(steps[:, None], size[axis] - 1, axis=1), atol=1e-4)
        np.testing.assert_allclose(steps, (last - first)[:, other] / (size[other] - 1), atol=1e-4)
    assert first.min() > -1e-4
    assert (last.max(0) < np.array(picture) - 1 + 1e-4).all()
    sides = ((last - first) / (np.array(picture) - 1)).max(1)
    assert 0.2 - 1e-5 <= sides.min() < 0.25
    assert 0.65 < sides.max() <= 0.7 + 1e-5


def test_centres_of_crops_are_normal_about_the_middle():
    results = apply(random_crop(3, 0.1, spread=0.1), coordinates(1000, 41, 81))
    centre = results[:, 1, 1] / np.array([40, 80])
    np.testing.assert_allclose(centre.mean(0), 0.5, atol=5 * 0.1 / np.sqrt(1000))
    np.testing.assert_allclose(centre.std(0), 0.1, atol=5 * 0.1 / np.sqrt(2000))
    assert np.abs(np.corrcoef(centre.T)[0, 1]) < 5 / np.sqrt(1000)
    middle = apply(random_crop(3, 0.5, spread=0), coordinates(1, 41, 81))[0]
    np.testing.assert_allclose(middle[:, 1], [[10, 40], [20, 40], [30, 40]], atol=1e-4)


def test_the_largest_crop_is_the_picture_and_a_crop_joins_a_run():
    images = random_images(2, 6, 7, 3)
    np.testing.assert_array_equal(apply(random_crop((6, 7), 1), images), images)
    # Of every second pixel, after a border that the crop takes off again.
    thinned = apply(compose(random_flip(1), random_crop((3, 4), 1)), images[:, :5])
    np.testing.assert_allclose(thinned, images[:, :5:2, ::-2], atol=1e-6)


# Blur and noise


def gaussian(sigma, radius):
    weights = np.exp(-(np.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


@pytest.mark.parametrize(("sigma", "radius"), [(0.4, 2), (1.2, 4)])
def test_blur_is_numpys_convolution_with_repeated_edges(sigma, radius):
    images = random_images(2, 6, 9, 4)
    wide = np.pad(images.astype(float), [(0, 0), (radius, radius), (radius, radius), (0, 0)], mode="edge")
    for axis in (1, 2):
        wide = np.apply_along_axis(np.convolve, axis, wide, gaussian(sigma, radius), "valid")
    np.testing.assert_allclose(apply(gaussian_blur(sigma), images), wide, atol=1e-6)


def test_blur_of_an_impulse_is_a_kernel_of_a_drawn_width():
    impulse = np.zeros((60, 13, 13, 1), np.float32)
    impulse[:, 6, 6] = 1
    kernels = apply(gaussian_blur(between(0.8, 2)), impulse)[..., 0]
    # The ratio of neighbours at the peak tells the width; the kernel is as wide as the widest needs.
    sigmas = np.sqrt(1 / (2 * np.log(kernels[:, 6, 6] / kernels[:, 6, 7])))
    for kernel, sigma in zip(kernels, sigmas, strict=True):
        np.testing.assert_allclose(kernel, np.outer(*[gaussian(sigma, 6)] * 2), atol=1e-5)
    assert 0.8 <= sigmas.min() < 0.95
    assert 1.85 < sigmas.max() <= 2


@pytest.mark.parametrize("sigma", [0.3, between(1, 3)], ids=str)
def test_blur_keeps_a_constant(sigma):
    np.testing.assert_allclose(apply(gaussian_blur(sigma), np.full((2, 5, 7, 2), 0.7, np.float32)), 0.7, atol=1e-6)


def test_noise_has_the_amounts_it_says_and_leaves_opacity_alone():
    images = random_images(4, 40, 50, 4)
    normal = (apply(noise(normal=0.2), images) - images)[..., :3]
    uniform = (apply(noise(uniform=0.3), images) - images)[..., :3]
    both = apply(noise(normal=0.2, uniform=0.3), images)
    count = normal.size
    np.testing.assert_allclose([normal.mean(), uniform.mean()], 0, atol=5 * 0.2 / np.sqrt(count))
    np.testing.assert_allclose(normal.std(), 0.2, rtol=5 / np.sqrt(2 * count))
    np.testing.assert_allclose((normal**4).mean() / 0.2**4, 3, atol=0.15)
    assert 0.299 < np.abs(uniform).max() < 0.3 + 1e-6
    np.testing.assert_allclose(uniform.std(), 0.3 / np.sqrt(3), rtol=0.02)
    np.testing.assert_allclose((both - images)[..., :3], normal + uniform, atol=1e-6)
    assert np.abs(np.corrcoef(normal.reshape(4, -1)) - np.eye(4)).max() < 5 / np.sqrt(count / 4)
    np.testing.assert_array_equal(both[..., 3], images[..., 3])


# Gradients and opacity


def test_normalized_gradients_keep_their_direction_and_have_their_length():
    images, slope = random_images(3, 4, 5, 2), random_images(3, 4, 5, 2) - 0.3
    slope[1] = 0

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradient(transform, images):
        return jax.value_and_grad(lambda images: (transform(KEY, images) * slope).sum())(images)

    for transform, lengths in ((normalize_gradient(), [1, 1, 1]), (normalize_gradient([2, 3, -0.5]), [2, 3, -0.5])):
        value, gradient = value_and_gradient(transform, images)
        np.testing.assert_allclose(value, (images * slope).sum(), rtol=1e-5)
        assert not np.asarray(gradient[1]).any()
        for i in (0, 2):
            np.testing.assert_allclose(gradient[i], lengths[i] * slope[i] / np.linalg.norm(slope[i]), atol=1e-6)
        lanes = jax.vmap(value_and_gradient, in_axes=(None, 0))(transform, images[None])[1]
        np.testing.assert_allclose(lanes[0], gradient, atol=1e-6)
    with pytest.raises(ValueError, match="2 lengths of a gradient do not go with 3 images"):
        shape_after(normalize_gradient([1, 2]), (4, 4), batch=3)


def test_a_picture_over_a_colour_is_mixed_by_its_opacity():
    images = random_images(2, 4, 5, 4)
    alpha = images[..., 3:].astype(float)
    for colour in (0.25, (0.1, 0.5, 0.9)):
        expected = alpha * images[..., :3] + (1 - alpha) * np.asarray(colour)
        np.testing.assert_allclose(apply(collapse_alpha(colour), images), expected, atol=1e-6)


OVER_NOISE = collapse_alpha()


def test_random_backgrounds_are_smooth_and_each_picture_has_its_own():
    images = np.repeat(random_images(1, 32, 30, 4), 6, axis=0)

    def over(alpha, transform=OVER_NOISE, key=KEY):
        images[..., 3] = alpha
        return apply(transform, images, key)

    behind = over(0)
    np.testing.assert_array_equal(over(1), images[..., :3])
    np.testing.assert_allclose(over(0.25), 0.25 * images[..., :3] + 0.75 * behind, atol=1e-6)
    assert 0 <= behind.min() < behind.max() <= 1
    assert len(np.unique(behind, axis=0)) == 6
    assert np.abs(behind - over(0, key=jax.random.key(1))).max() > 0.1
    np.testing.assert_allclose(apply(OVER_NOISE, images[:2]), behind[:2], atol=1e-6)

    # Neighbours are alike in natural images, more so with more decay, and differ less with a smaller deviation.
    def neighbours(images):
        return np.corrcoef(images[:, :, 1:].ravel(), images[:, :, :-1].ravel())[0, 1]

    assert 0.5 < neighbours(behind) < neighbours(over(0, collapse_alpha(decay=2))) < 1
    assert over(0, collapse_alpha(sd=0.1)).std() < 0.5 * behind.std()


@pytest.mark.parametrize(
    ("transform", "over_black"),
    [
        pytest.param(ROBUST, compose(pad(2, 0), *ROBUST.transforms[1:]), id="composed"),
        pytest.param(random_scale(0.5), compose(pad(0, 0), random_scale(0.5)), id="scale"),
        pytest.param(pad(2, 0.75), pad(2, 0), id="pad"),
    ],
)
def test_opacity_moves_with_the_colours_and_is_nothing_beyond_the_edge(transform, over_black):
    images = random_images(3, 7, 8, 4)
    result = apply(transform, images)
    np.testing.assert_allclose(result[..., :3], apply(transform, images[..., :3]), atol=1e-6)
    np.testing.assert_allclose(result[..., 3:], apply(over_black, images[..., 3:]), atol=1e-6)


# One draw for a batch


@pytest.mark.parametrize("transform", [ROBUST, noise(1), pad(1, "random"), collapse_alpha()], ids=str)
def test_the_same_draw_for_all_is_that_of_the_first(transform):
    images = np.repeat(random_images(1, 7, 8, 4), 5, axis=0)
    results = apply(same_for_all(transform), images)
    alone = apply(transform, images[:1])
    np.testing.assert_allclose(results, np.repeat(alone, 5, axis=0), atol=1e-5)
    assert not np.array_equal(results, apply(same_for_all(transform), images, jax.random.key(1)))


NEW = [
    pad(2, "reflect"),
    crop_or_pad((5, 6)),
    random_flip(0.25),
    random_crop((8, 9), [0.25, 0.5]),
    random_scale(between(0.5, 2)),
    gaussian_blur(between(1, 2)),
    noise(0.1, 0.2),
    normalize_gradient([1, 2]),
    collapse_alpha(),
    collapse_alpha((0, 0.5, 1)),
    same_for_all(compose(jitter(2), random_rotate(3))),
    *(getattr(transforms, name) for name in SETS),
]


@pytest.mark.parametrize("transform", NEW, ids=str)
def test_transforms_can_be_read_back_from_what_they_print(transform):
    again = cli._rebuild(repr(transform), transforms)
    assert again == transform
    assert hash(again) == hash(transform)


def test_equal_settings_are_equal_and_hash_equal():
    for one, other in (
        (pad(2), pad(np.int64(2), 0.5)),
        (jitter(3), jitter(np.int32(3))),
        (random_scale([1, 2]), random_scale(np.array([1.0, 2.0]))),
        (random_rotate(range(3)), random_rotate((0.0, 1.0, 2.0))),
        (compose(pad(2), jitter(3), pad(1)), compose(compose(pad(2), jitter(3)), compose(pad(1)))),
        (compose(double), compose(double)),
    ):
        assert one == other
        assert hash(one) == hash(other)


def test_different_settings_and_orders_are_unequal():
    different = [
        pad(2),
        pad(3),
        pad(2, 0.25),
        jitter(2),
        jitter(3),
        random_scale([1, 2]),
        random_scale([2, 1]),
        random_rotate([1, 2]),
        compose(pad(2), jitter(2)),
        compose(jitter(2), pad(2)),
        compose(),
        *NEW,
        random_scale(between(1, 2)),
        pad(2, "random"),
    ]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize("factory", [pad, jitter], ids=["pad", "jitter"])
@pytest.mark.parametrize("pixels", [-1, 1.5, True, "2", None], ids=repr)
def test_wrong_width_is_refused_and_named(factory, pixels):
    with pytest.raises(ValueError, match="a width in pixels is a whole number from 0 on") as error:
        factory(pixels)
    assert repr(pixels) in str(error.value)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan], ids=repr)
def test_wrong_grey_is_refused_and_named(value):
    with pytest.raises(ValueError, match=r"the value of a border is in \[0, 1\]") as error:
        pad(1, value)
    assert repr(value) in str(error.value)


@pytest.mark.parametrize(
    ("factory", "choices", "message"),
    [
        pytest.param(random_scale, [], "scales are positive factors, at least one", id="no scale"),
        pytest.param(random_scale, [1, 0], "scales are positive factors", id="scale 0"),
        pytest.param(random_scale, [-1], "scales are positive factors", id="scale -1"),
        pytest.param(random_scale, [np.nan], "scales are positive factors", id="scale nan"),
        pytest.param(random_scale, [np.inf], "scales are positive factors", id="scale inf"),
        pytest.param(random_rotate, [], "degrees are finite angles, at least one", id="no angle"),
        pytest.param(random_rotate, [np.nan], "degrees are finite angles", id="angle nan"),
        pytest.param(random_rotate, [0, np.inf], "degrees are finite angles", id="angle inf"),
        pytest.param(gaussian_blur, [], "sigmas are positive, at least one", id="no sigma"),
        pytest.param(gaussian_blur, [0], "sigmas are positive", id="sigma 0"),
        pytest.param(normalize_gradient, [], "lengths of a gradient are finite numbers", id="no length"),
        pytest.param(normalize_gradient, [1, np.nan], "lengths of a gradient are finite numbers", id="length nan"),
        pytest.param(functools.partial(random_crop, 4), [], "sides of a box are fractions", id="no side"),
        pytest.param(functools.partial(random_crop, 4), [0.5, 1.1], "sides of a box are fractions", id="side 1.1"),
    ],
)
def test_wrong_choices_are_refused_and_named(factory, choices, message):
    with pytest.raises(ValueError, match=message) as error:
        factory(choices)
    assert repr(tuple(float(c) for c in choices)) in str(error.value)


def refused(factory, message, *args, **kwargs):
    return pytest.param(factory, args, kwargs, message, id=message)


@pytest.mark.parametrize(
    ("factory", "args", "kwargs", "message"),
    [
        refused(between, "lower and an upper finite end, not 2 and 1", 2, 1),
        refused(between, "lower and an upper finite end, not 0 and inf", 0, np.inf),
        refused(random_scale, r"scales are positive factors.*Between\(low=-1.0, high=1.0\)", between(-1, 1)),
        refused(random_crop, r"sides of a box .* Between\(low=0.0, high=0.5\)", 8, between(0, 0.5)),
        refused(random_crop, "at least 2 pixels .* not 1 and 0.15", 1),
        refused(random_crop, "spread from 0 on, not 4 and -1", 4, spread=-1),
        refused(random_crop, r"size is a positive number", (0, 4)),
        refused(crop_or_pad, r"size is a positive number", "4"),
        refused(pad, "'reflect' or 'random', not 'mirror'", 2, "mirror"),
        refused(random_flip, r"a probability is in \[0, 1\], not 1.5", 1.5),
        refused(random_flip, r"a probability is in \[0, 1\], not nan", np.nan),
        refused(noise, "noise is from 0 on, normal or uniform or both, not 0.0 and 0.0"),
        refused(noise, "noise is from 0 on.* not -0.1 and 0.0", -0.1),
        refused(collapse_alpha, r"a colour is .* not 1.5", 1.5),
        refused(collapse_alpha, r"a colour is .* not \(1, 0\)", (1, 0)),
        refused(collapse_alpha, "sd is a positive number, not 0", sd=0),
        refused(collapse_alpha, "decay is a finite number, not inf", decay=np.inf),
    ],
)
def test_wrong_settings_are_refused_and_named(factory, args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        factory(*args, **kwargs)


def test_what_is_no_transform_or_has_no_opacity_is_refused():
    for combine in (compose, same_for_all):
        with pytest.raises(TypeError, match="a transform is a function of a key and images, not 3"):
            combine(3)
    with pytest.raises(ValueError, match="opacity is the fourth channel of images, but these have 3"):
        shape_after(collapse_alpha(), (4, 4))
