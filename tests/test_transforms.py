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

from lightjax import transforms
from lightjax.transforms import compose, jitter, pad, random_rotate, random_scale

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


def size_id(size):
    return f"{size[0]}x{size[1]}"


def noise(*shape):
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
    images = noise(2, *size, 3)
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
    images = noise(2, *size, 3)
    np.testing.assert_array_equal(apply(transform, images), images)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("side", [6, 7])
def test_quarter_turns_are_numpys_rot90_anticlockwise(side, quarters):
    images = noise(2, side, side, 3)
    expected = np.rot90(images, quarters, axes=(1, 2))
    np.testing.assert_allclose(apply(random_rotate([90 * quarters]), images), expected, atol=5e-6)


@pytest.mark.parametrize("size", SIZES, ids=size_id)
@pytest.mark.parametrize("scale", [2, 0.5, 1.1])
def test_scale_is_a_bilinear_zoom_about_the_centre(size, scale):
    images = noise(2, *size, 3)
    expected = [sample(picture, [scaled_from(scale, size)], size) for picture in images]
    np.testing.assert_allclose(apply(random_scale([scale]), images), expected, atol=5e-6)


@pytest.mark.parametrize("size", SIZES, ids=size_id)
@pytest.mark.parametrize("degrees", [10, -45])
def test_rotation_is_a_bilinear_turn_about_the_centre(size, degrees):
    images = noise(2, *size, 3)
    expected = [sample(picture, [rotated_from(degrees, size)], size) for picture in images]
    np.testing.assert_allclose(apply(random_rotate([degrees]), images), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(7, 9), (8, 8)], ids=size_id)
def test_a_composed_run_is_one_bilinear_sampling_of_the_composed_map(size):
    images = noise(6, *size, 2)
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
    images = noise(2, 4, 5, 3)
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
    images = noise(1, 3, 3, 1)
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


@pytest.mark.parametrize("transform", [EVERY[2], EVERY[4]])
def test_gradient_is_the_adjoint_of_the_linear_map_that_finite_differences_find(transform):
    shape = (2, 5, 4, 1)
    with jax.enable_x64(True):
        key = jax.random.key(2)
        images = noise(*shape).astype(np.float64)
        # The map is affine, so a difference over a whole unit is exact.
        units = np.eye(images.size).reshape(-1, *shape)
        moved = jax.jit(jax.vmap(functools.partial(transform, key)))(np.concatenate([images[None], images + units]))
        forward = (moved[1:] - moved[0]).reshape(images.size, -1)
        backward = jax.jit(jax.jacrev(functools.partial(transform, key)))(images).reshape(-1, images.size)
    assert forward.dtype == backward.dtype == np.float64
    np.testing.assert_allclose(forward, backward.T, atol=1e-12)
    assert np.abs(forward).max() > 0.1


@pytest.mark.parametrize("transform", EVERY[1:])
def test_images_of_a_batch_draw_for_themselves(transform):
    results = apply(transform, np.repeat(noise(1, 8, 7, 2), 12, axis=0))
    assert len(np.unique(results, axis=0)) > 1


@pytest.mark.parametrize("transform", [EVERY[1], EVERY[4]])
def test_draw_of_an_image_does_not_depend_on_the_batch(transform):
    images = noise(12, 8, 7, 2)
    np.testing.assert_allclose(apply(transform, images)[:2], apply(transform, images[:2]), atol=1e-6)


@pytest.mark.parametrize("transform", EVERY)
def test_same_key_same_result(transform):
    images = noise(12, 8, 7, 2)
    np.testing.assert_array_equal(apply(transform, images), apply(transform, images))


@pytest.mark.parametrize("transform", EVERY[1:])
def test_different_keys_differ(transform):
    images = noise(12, 8, 7, 2)
    assert not np.array_equal(apply(transform, images), apply(transform, images, jax.random.key(1)))


TURN = random_rotate([-30, 20])


def test_vmap_gives_what_a_loop_gives():
    images = noise(3, 2, 8, 7, 2)
    keys = jax.random.split(KEY, 3)
    expected = [apply(TURN, batch, key) for key, batch in zip(keys, images, strict=True)]
    np.testing.assert_allclose(jax.jit(jax.vmap(TURN))(keys, images), expected, atol=1e-5)


def test_jit_gives_what_eager_evaluation_gives():
    images = noise(2, 8, 7, 2)
    np.testing.assert_allclose(apply(TURN, images), TURN(KEY, jnp.asarray(images)), atol=1e-5)


def shape_after(transform, size, batch=1, channels=3):
    images = jax.ShapeDtypeStruct((batch, *size, channels), jnp.float32)
    result = jax.eval_shape(transform, KEY, images)
    assert result.dtype == jnp.float32
    return result.shape


def test_default_turns_224_pixels_into_236():
    assert shape_after(transforms.DEFAULT, (224, 224)) == (1, 236, 236, 3)


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
    ],
)
def test_wrong_choices_are_refused_and_named(factory, choices, message):
    with pytest.raises(ValueError, match=message) as error:
        factory(choices)
    assert repr(tuple(float(c) for c in choices)) in str(error.value)
