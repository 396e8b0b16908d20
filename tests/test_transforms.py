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

from lightjax import ops, transforms
from lightjax.transforms import (
    Between,
    CollapseAlpha,
    ColorJitter,
    CropOrPad,
    GaussianBlur,
    Jitter,
    Noise,
    NormalizeGradient,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomRotate,
    RandomScale,
    SameForAll,
    at_step,
    compose,
)

KEY = jax.random.key(0)
GRAY = 0.5
SIZES = [(7, 7), (5, 8)]
ROBUST = compose(Pad(2), Jitter(2), RandomScale([0.8, 1, 1.25]), RandomRotate([-15, 0, 40]), Jitter(1))
MOVES = {
    "pad": Pad(2),
    "jitter": Jitter(3),
    "scale": RandomScale([0.7, 1.3]),
    "rotate": RandomRotate([-30, 20]),
    "composed": ROBUST,
}
DRAWN = {name: move for name, move in MOVES.items() if name != "pad"} | {
    "flip": RandomFlip(),
    "crop": RandomCrop(6, Between(0.3, 0.9)),
    "blur": GaussianBlur(Between(0.5, 1)),
    "random border": Pad(2, "random"),
    "noise": Noise(0.1, 0.2),
    "flat noise": Noise(0.1, flat=True),
    "colors": ColorJitter(),
}
SETS = {
    "LUCID": (224, 236),
    "LUCENT": (224, 248),
    "TORCHLIGHT": (224, 224),
    "LUCID_INVERSION": (224, 230),
    "LUCID_ATLAS": (224, 224),
    "MACO": (512, 224),
    "GHIASI": (224, 224),
}


def size_id(size):
    return f"{size[0]}x{size[1]}"


def random_images(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


@functools.cache
def compiled(*transforms):
    """One compilation is faster than several, and than the many small ones of a transform that runs eagerly."""
    return jax.jit(lambda key, images: [t(key, i) for t, i in zip(transforms, images, strict=True)])


def apply(transform, images, key=KEY):
    return apply_each([transform], [images], key)[0]


def apply_each(transforms, images, key=KEY):
    """Apply each transform to its own images, with one compilation."""
    return [np.asarray(result) for result in compiled(*transforms)(key, list(images))]


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


def sample(picture, sources, size, value=GRAY):
    """One bilinear sampling of `[H, W, C]`, in an infinite plane of gray, where a chain of sources leads."""
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


def frame(pixels):
    return [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)]


def test_pad_alone_is_numpys_pad_bit_for_bit():
    cases = [(random_images(2, *size, 3), *border) for size in SIZES for border in ((1, 0.5), (4, 0.25))]
    results = apply_each([Pad(pixels, value) for _, pixels, value in cases], [images for images, *_ in cases])
    for (images, pixels, value), result in zip(cases, results, strict=True):
        np.testing.assert_array_equal(result, np.pad(images, frame(pixels), constant_values=np.float32(value)))


@pytest.mark.parametrize(("size", "pixels"), [((6, 7), 3), ((5, 4), 1), ((4, 4), 0)], ids=str)
def test_jitter_is_a_crop_bit_for_bit_and_takes_every_offset_and_no_other(size, pixels):
    picture = np.arange(size[0] * size[1] * 2, dtype=np.float32).reshape(*size, 2)
    crops = apply(Jitter(pixels), np.repeat(picture[None], 500, axis=0))
    corner = crops[:, 0, 0, 0].astype(int) // 2
    offsets = list(zip(*np.divmod(corner, size[1]), strict=True))
    left = (size[0] - pixels, size[1] - pixels)
    np.testing.assert_array_equal(crops, np.stack([crop(picture, offset, left) for offset in offsets]))
    assert set(offsets) == set(itertools.product(range(pixels + 1), repeat=2))


def test_moves_by_nothing_are_the_identity_bit_for_bit():
    nothing = [
        RandomScale([1]),
        RandomRotate([0]),
        compose(RandomRotate([0]), RandomScale([1, 1.0]), Pad(0)),
        compose(),
    ]
    for size in SIZES:
        images = random_images(2, *size, 3)
        for result in apply_each(nothing, [images] * len(nothing)):
            np.testing.assert_array_equal(result, images)


def test_quarter_turns_are_numpys_rot90_counterclockwise():
    cases = [(random_images(2, side, side, 3), quarters) for side in (6, 7) for quarters in (1, 2, 3)]
    turns = [RandomRotate([90 * quarters]) for _, quarters in cases]
    for (images, quarters), result in zip(cases, apply_each(turns, [images for images, _ in cases]), strict=True):
        np.testing.assert_allclose(result, np.rot90(images, quarters, axes=(1, 2)), atol=5e-6)


@pytest.mark.parametrize(
    ("move", "source", "draws"),
    [
        pytest.param(RandomScale, scaled_from, [2, 0.5, 1.1], id="zoom"),
        pytest.param(RandomRotate, rotated_from, [10, -45], id="turn"),
    ],
)
def test_scale_and_rotation_are_bilinear_samplings_about_the_center(move, source, draws):
    cases = [(random_images(2, *size, 3), draw) for size in SIZES for draw in draws]
    results = apply_each([move([draw]) for _, draw in cases], [images for images, _ in cases])
    for (images, draw), result in zip(cases, results, strict=True):
        size = images.shape[1:3]
        expected = [sample(picture, [source(draw, size)], size) for picture in images]
        np.testing.assert_allclose(result, expected, atol=1e-5 if move is RandomRotate else 5e-6)


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
    corners = apply(compose(Jitter(1), Jitter(1)), np.repeat(picture, 300, axis=0))[:, 0, 0, 0]
    shifts = np.stack(np.divmod(corners.astype(int), 10))
    # Two equal draws would only give 0 and 2.
    for shift in shifts:
        np.testing.assert_allclose(np.bincount(shift) / 300, [1 / 4, 1 / 2, 1 / 4], atol=5 * np.sqrt(1 / 4 / 300))


def test_a_run_sees_what_an_earlier_crop_left_out():
    # A crop is not a cut: the zoom brings back what lies beyond the frame, and gray only shows beyond the picture.
    picture = np.ones((20, 9, 9, 1), np.float32)
    result = apply(compose(Jitter(4), RandomScale([0.5])), picture)[..., 0]
    # Of 5 pixels, a zoom by a half of what a cut left would show 2 or 3; the picture's 9 show 4 or 5.
    assert ((result == 1).sum(axis=1).max(axis=1) >= 4).any()


def double(key, images):
    return 2 * images


def test_a_transform_that_is_not_a_move_keeps_its_place_between_moves():
    images = random_images(2, 4, 5, 3)
    inner = 2 * np.pad(images, frame(1), constant_values=GRAY)
    expected = np.pad(inner, frame(1), constant_values=GRAY)
    np.testing.assert_array_equal(apply(compose(Pad(1), double, Pad(1)), images), expected)


@dataclasses.dataclass(frozen=True)
class Add:
    def __call__(self, key, images):
        return images + jax.random.normal(key, images.shape)


def test_two_equal_transforms_in_a_row_draw_for_themselves():
    images = np.zeros((1, 4, 4, 1), np.float32)
    first, both = apply_each([compose(Add()), compose(Add(), Add())], [images] * 2)
    assert np.abs(np.corrcoef(first.ravel(), (both - first).ravel())[0, 1]) < 0.9


def test_pads_of_two_grays_each_keep_their_own():
    images = random_images(1, 3, 3, 1)
    expected = images
    for value in (0.0, 1.0):
        expected = np.pad(expected, frame(1), constant_values=value)
    np.testing.assert_array_equal(apply(compose(Pad(1, 0.0), Pad(1, 1.0)), images), expected)


def test_what_lies_outside_is_exactly_the_gray():
    grays = {RandomScale([0.25]): GRAY, RandomRotate([45]): GRAY, Pad(1): GRAY, Pad(1, 0.125): 0.125}
    results = apply_each(grays, [np.ones((1, 9, 9, 1), np.float32)] * len(grays))
    for gray, result in zip(grays.values(), results, strict=True):
        result = result[0, ..., 0]
        assert (result[[0, 0, -1, -1], [0, -1, 0, -1]] == gray).all()
        assert result[result.shape[0] // 2, result.shape[1] // 2] == 1
        assert ((result >= gray) & (result <= 1)).all()


def test_only_the_last_of_four_channels_is_opacity():
    made = (Pad(1, 0.25), Noise(uniform=0.5), Pad(1, "random"))
    corners = jax.jit(lambda key, image: jnp.stack([one(key, image)[0, 0, 0] for one in made]))
    for channels in (4, 5):
        beyond, noisy, framed = corners(jax.random.key(0), jnp.ones((1, 2, 2, channels)))
        colors = np.arange(channels) < (3 if channels == 4 else channels)
        np.testing.assert_array_equal(beyond, 0.25 * colors)
        np.testing.assert_array_equal(noisy != 1, colors)
        np.testing.assert_array_equal(framed > 0, colors)


def test_constant_gray_stays_constant():
    for result in apply_each(MOVES.values(), [np.full((12, 8, 7, 2), GRAY, np.float32)] * len(MOVES)):
        np.testing.assert_allclose(result, GRAY, rtol=0, atol=1e-6)


def test_gradient_is_the_adjoint_of_the_linear_map_that_finite_differences_find():
    linear = {
        "scale": MOVES["scale"],
        "composed": ROBUST,
        "flip and crop": compose(RandomFlip(1), RandomCrop((3, 6), Between(0.5, 1))),
        "reflect and blur": compose(Pad(1, "reflect"), GaussianBlur(0.7)),
    }
    shape = (2, 5, 4, 1)

    def results(images):
        return {name: transform(jax.random.key(2), images) for name, transform in linear.items()}

    with jax.enable_x64(True):
        images = random_images(*shape).astype(np.float64)
        # The map is affine, so a difference over a whole unit is exact.
        units = np.eye(images.size).reshape(-1, *shape)
        moved = jax.jit(jax.vmap(results))(np.concatenate([images[None], images + units]))
        gradients = jax.jit(jax.jacrev(results))(images)
    for name in linear:
        forward = (moved[name][1:] - moved[name][0]).reshape(images.size, -1)
        backward = gradients[name].reshape(-1, images.size)
        assert forward.dtype == backward.dtype == np.float64
        np.testing.assert_allclose(forward, backward.T, atol=1e-12, err_msg=name)
        assert np.abs(forward).max() > 0.1


def test_no_draw_stretches_more_than_a_move_says():
    moves = [
        Pad(2),
        Jitter(3),
        CropOrPad(5),
        RandomFlip(),
        RandomScale([0.7, 1.3]),
        RandomScale(Between(0.9, 1.2)),
        RandomRotate([-30, 20, 170]),
        RandomRotate(Between(30, 60)),
        RandomRotate(Between(-5, 4)),
        RandomCrop(6, Between(0.3, 0.9)),
    ]
    draw = jax.jit(jax.vmap(lambda key: [move.matrix(key, (20, 24)) for move in moves]))
    for move, draws in zip(moves, draw(jax.random.split(KEY, 200)), strict=True):
        stretches = np.abs(np.linalg.inv(np.asarray(draws, np.float64)[:, :2, :2])).sum(2).max(1)
        assert stretches.max() <= move.stretch() + 1e-6, move
        assert stretches.max() >= 0.95 * min(move.stretch(), 1e6) or np.isinf(move.stretch()), move


@pytest.fixture(scope="module")
def draws():
    """Results of all transforms that draw: of a batch, again, of its first two, of another key, of equal pictures."""
    batch = random_images(12, 8, 7, 2)

    def apply_all(images, key=KEY):
        return dict(zip(DRAWN, apply_each(DRAWN.values(), [images] * len(DRAWN), key), strict=True))

    return {
        "batch": apply_all(batch),
        "again": apply_all(batch),
        "two": apply_all(batch[:2]),
        "other": apply_all(batch, jax.random.key(1)),
        "equal": apply_all(np.repeat(batch[:1], 12, axis=0)),
    }


@pytest.mark.parametrize("name", DRAWN)
def test_each_image_draws_for_itself_and_its_draw_depends_on_the_key_alone(name, draws):
    assert len(np.unique(draws["equal"][name], axis=0)) > 1
    np.testing.assert_array_equal(draws["again"][name], draws["batch"][name])
    np.testing.assert_allclose(draws["batch"][name][:2], draws["two"][name], atol=1e-6)
    assert not np.array_equal(draws["batch"][name], draws["other"][name])


TURN = RandomRotate([-30, 20])


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

    assert shape(Pad(pixels)) == (height + 2 * pixels, width + 2 * pixels)
    assert shape(RandomScale([0.5, 2])) == size
    assert shape(RandomRotate([30])) == size
    assert shape(transforms.DEFAULT) == (height + 12, width + 12)
    if pixels < min(size):
        assert shape(Jitter(pixels)) == (height - pixels, width - pixels)
        assert shape(compose(Jitter(pixels), RandomScale([2]), Pad(1))) == (height - pixels + 2, width - pixels + 2)


@pytest.mark.parametrize("size", [(4, 9), (9, 4), (3, 3)], ids=size_id)
def test_an_image_too_small_to_jitter_is_refused_and_both_sizes_named(size):
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels is too small to jitter by 4"):
        shape_after(Jitter(4), size)


def test_jitter_counts_the_border_that_was_added_before():
    assert shape_after(compose(Pad(2), Jitter(4)), (1, 3)) == (1, 1, 3, 3)
    with pytest.raises(ValueError, match="5x7 pixels is too small to jitter by 5"):
        shape_after(compose(Pad(2), Jitter(5)), (1, 3))


def drawn(transform, draws, side):
    """The linear part of drawn maps, `[draws, 2, 2]`, and where the center comes from, `[draws, 2]`.

    Bilinear sampling reproduces a picture of its own coordinates, so the result tells where each pixel came from. Only
    the middle of the result is sampled.
    """
    images = coordinates(draws // 4, side, side)
    middle = compose(transform, CropOrPad(7))
    result = np.concatenate([apply(middle, images, key) for key in jax.random.split(KEY, 4)])
    down, right = result[:, 6, 3] - result[:, 0, 3], result[:, 3, 6] - result[:, 3, 0]
    return np.stack([down, right], axis=-1) / 6, result[:, 3, 3]


def assert_odds(counts, odds):
    """Counts are within five standard deviations of what independent draws of these odds give."""
    counts, odds = np.asarray(counts), np.asarray(odds)
    draws = counts.sum()
    np.testing.assert_array_less(np.abs(counts - draws * odds), 5 * np.sqrt(draws * odds * (1 - odds)))


def test_default_draws_the_scales_and_angles_of_lucid_with_their_odds():
    assert transforms.DEFAULT is transforms.LUCID
    linear, center = drawn(transforms.DEFAULT, 10_400, side=33)
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
    together = np.corrcoef(np.stack([at, angle, *center.T]))
    assert np.abs(together - np.eye(4)).max() < 5 / np.sqrt(len(at))


def scales_and_angles(transform, draws, side=97):
    linear, _ = drawn(transform, draws, side)
    return 1 / np.sqrt(np.linalg.det(linear)), np.rad2deg(np.arctan2(linear[:, 0, 1], linear[:, 0, 0]))


def test_torchlight_draws_its_ranges_evenly_and_shifts_by_up_to_16_pixels_twice():
    scale, angle = scales_and_angles(transforms.TORCHLIGHT, 1000)
    for values, end in ((scale - 1, 0.05), (angle, 5)):
        assert np.abs(values).max() <= end * 1.001
        assert_odds(np.histogram(values, 5, (-1.001 * end, 1.001 * end))[0], np.full(5, 0.2))
    shifts = compose(*(t for t in transforms.TORCHLIGHT.transforms if t in (Pad(32, 0), Jitter(32))))
    _, center = drawn(shifts, 2000, side=97)
    odds = np.convolve(np.ones(33), np.ones(33)) / 33**2
    found = np.bincount((center - 48 + 32).astype(int).ravel(), minlength=65)
    assert_odds(found.reshape(5, 13).sum(1), odds.reshape(5, 13).sum(1))
    corners = apply(transforms.TORCHLIGHT, np.ones((200, 40, 40, 1), np.float32))[:, 0, 0, 0]
    assert (corners == 0).any()
    assert ((corners >= 0) & (corners <= 1)).all()


def test_lucent_draws_as_lucid_and_only_keeps_the_size():
    assert transforms.LUCENT.transforms[1:4] == transforms.LUCID.transforms[1:4]
    _, center = drawn(compose(Pad(16), Jitter(8), Pad(2), Jitter(4)), 1000, side=33)
    assert shape_after(transforms.LUCENT, (100, 60)) == (1, 124, 84, 3)
    # Without scale and rotation the center moves by up to 4 and 2 pixels either way, and not on average.
    assert np.abs(center - 16).max() == 6
    assert np.abs((center - 16).mean()) < 5 * np.sqrt((80 + 24) / 12 / 2000)


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
    assert (crop.size, crop.sides, crop.spread) == ((224, 224), Between(0.05, 0.5), 0.15)
    assert perturb == Noise(normal=0.08, uniform=0.04)


def test_ghiasi_has_the_numbers_of_their_code():
    colors, noise, *shift = transforms.GHIASI.transforms
    assert colors == ColorJitter(mean=1, std=1)
    assert noise == Noise(normal=0.5, flat=True, until=400)
    assert shift == [Pad(32, "wrap"), Jitter(64)]


def test_two_jitters_of_the_default_shift_by_0_to_12_pixels():
    steps = transforms.DEFAULT.transforms
    moves = compose(*(step for step in steps if step in (Pad(12), Jitter(8), Jitter(4))))
    linear, center = drawn(moves, 1000, side=33)
    np.testing.assert_array_equal(linear, np.broadcast_to(np.eye(2), linear.shape))
    shift = center - 22 + 12  # The center of 45 pixels is 22, which the border moves to 10.
    odds = np.convolve(np.ones(9), np.ones(5)) / 45
    for axis in (0, 1):
        assert_odds(np.bincount(shift[:, axis].astype(int), minlength=13), odds)


@pytest.mark.parametrize(
    ("transform", "linear"),
    [
        pytest.param(RandomScale([0.5, 2, 2, 2]), {2: 1 / 4, 0.5: 3 / 4}, id="scale"),
        pytest.param(RandomRotate([60, 60, 0]), {0.5: 2 / 3, 1: 1 / 3}, id="rotate"),
    ],
)
def test_a_repeated_choice_is_more_likely(transform, linear):
    found = drawn(transform, 600, side=15)[0][:, 0, 0]
    assert_odds([np.isclose(found, value, atol=1e-4).sum() for value in linear], list(linear.values()))


# Borders


def test_a_reflected_border_is_numpys_and_mirrors_opacity_too():
    images = random_images(2, 5, 7, 4)
    widths = (0, 2, 6)
    for width, result in zip(widths, apply_each([Pad(n, "reflect") for n in widths], [images] * 3), strict=True):
        np.testing.assert_array_equal(result, np.pad(images, frame(width), mode="reflect"))


def test_a_border_from_the_opposite_side_and_a_jitter_shift_pictures_round():
    images = random_images(60, 5, 7, 4)
    wide, shifted = apply_each([Pad(2, "wrap"), compose(Pad(2, "wrap"), Jitter(4))], [images] * 2)
    np.testing.assert_array_equal(wide, np.pad(images, frame(2), mode="wrap"))
    shifts = list(itertools.product(range(-2, 3), repeat=2))
    found = set()
    for image, result in zip(images, shifted, strict=True):
        (own,) = [by for by in shifts if np.allclose(np.roll(image, by, (0, 1)), result, atol=1e-6)]
        found.add(own)
    assert {row for row, _ in found} == {column for _, column in found} == set(range(-2, 3))


def test_a_random_border_has_one_gray_for_each_picture_and_draw():
    images = random_images(50, 4, 5, 3)
    result = apply(Pad(2, "random"), images)
    np.testing.assert_array_equal(result[:, 2:-2, 2:-2], images)
    outside = np.ones((8, 9), bool)
    outside[2:-2, 2:-2] = False
    grays = result[:, outside].reshape(50, -1)
    np.testing.assert_array_equal(grays, np.repeat(grays[:, :1], grays.shape[1], axis=1))
    assert len(np.unique(grays[:, 0])) == 50
    assert 0 <= grays.min() < 0.2 < 0.8 < grays.max() < 1


def test_moves_show_the_gray_of_the_last_pad():
    grays = {}
    for other in (RandomRotate([45]), RandomScale([0.3]), CropOrPad(15)):
        grays[compose(Pad(1, 0.25), other)] = 0.25
        grays[compose(Pad(1, 0.25), double, other)] = 0.25
        grays[compose(Pad(1, 0.25), Pad(1, "random"), other)] = 0.25
        grays[compose(Pad(1, 0.25), Pad(1, 0.0), other)] = 0.0
    results = apply_each(grays, [np.ones((1, 9, 9, 1), np.float32)] * len(grays))
    for (transform, gray), result in zip(grays.items(), results, strict=True):
        assert result[0, 0, 0, 0] == gray, transform


def test_crop_or_pad_keeps_the_middle_and_an_odd_pixel_goes_at_the_end():
    sizes, before = [(9, 4), (5, 5), (4, 9), (6, 7)], (6, 7)
    images = random_images(2, *before, 3)
    plane = np.full((2, 40, 40, 3), GRAY, np.float32)
    plane[:, 10 : 10 + before[0], 10 : 10 + before[1]] = images
    for size, result in zip(sizes, apply_each([CropOrPad(size) for size in sizes], [images] * 4), strict=True):
        # As tf.image.resize_with_crop_or_pad: half the difference, rounded towards zero.
        corner = [10 + int((b - a) / 2) for b, a in zip(before, size, strict=True)]
        expected = plane[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
        np.testing.assert_array_equal(result, expected)


# Flips and crops


def test_a_flip_exchanges_left_and_right_bit_for_bit_with_its_probability():
    images, flip = random_images(2, 5, 8, 3), RandomFlip(1)
    flips = [flip, RandomFlip(0), compose(flip, flip), compose(Pad(1), flip), compose(flip, Pad(1)), RandomFlip(0.3)]
    same = np.repeat(images[:1], 1000, axis=0)
    once, never, twice, after, before, sometimes = apply_each(flips, [images] * 5 + [same])
    np.testing.assert_array_equal(once, images[:, :, ::-1])
    np.testing.assert_array_equal(never, images)
    np.testing.assert_array_equal(twice, images)
    np.testing.assert_array_equal(after, before)
    flipped = sometimes[:, 0, 0, 0] != images[0, 0, 0, 0]
    assert_odds([flipped.sum(), (~flipped).sum()], [0.3, 0.7])


def coordinates(number, height, width):
    """Images of their own (row, column), so that samples tell where they were taken."""
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    return np.broadcast_to(grid.astype(np.float32), (number, height, width, 2))


@pytest.mark.parametrize(("picture", "size"), [((31, 50), (8, 8)), ((60, 30), (11, 21))], ids=str)
def test_crops_are_boxes_of_the_shape_of_the_result_and_lie_inside(picture, size):
    results = apply(RandomCrop(size, Between(0.2, 0.7), spread=0.3), coordinates(400, *picture))
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


def test_centers_of_crops_are_normal_about_the_middle():
    crops = [RandomCrop(3, 0.1, spread=0.1), RandomCrop(3, 0.5, spread=0)]
    results, middle = apply_each(crops, [coordinates(1000, 41, 81), coordinates(1, 41, 81)])
    center = results[:, 1, 1] / np.array([40, 80])
    np.testing.assert_allclose(center.mean(0), 0.5, atol=5 * 0.1 / np.sqrt(1000))
    np.testing.assert_allclose(center.std(0), 0.1, atol=5 * 0.1 / np.sqrt(2000))
    assert np.abs(np.corrcoef(center.T)[0, 1]) < 5 / np.sqrt(1000)
    np.testing.assert_allclose(middle[0, :, 1], [[10, 40], [20, 40], [30, 40]], atol=1e-4)


def test_the_largest_crop_is_the_picture_and_a_crop_joins_a_run():
    images = random_images(2, 6, 7, 3)
    crops = [RandomCrop((6, 7), 1), compose(RandomFlip(1), RandomCrop((3, 4), 1))]
    whole, thinned = apply_each(crops, [images, images[:, :5]])
    np.testing.assert_array_equal(whole, images)
    np.testing.assert_allclose(thinned, images[:, :5:2, ::-2], atol=1e-6)  # every second pixel


# Blur and noise


def gaussian(sigma, radius):
    weights = np.exp(-(np.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def test_blur_is_numpys_convolution_with_repeated_edges():
    images = random_images(2, 6, 9, 4)
    radii = {0.4: 2, 1.2: 4}
    results = apply_each([GaussianBlur(sigma) for sigma in radii], [images] * 2)
    for (sigma, radius), result in zip(radii.items(), results, strict=True):
        wide = np.pad(images.astype(float), frame(radius), mode="edge")
        for axis in (1, 2):
            wide = np.apply_along_axis(np.convolve, axis, wide, gaussian(sigma, radius), "valid")
        np.testing.assert_allclose(result, wide, atol=1e-6)


def test_blur_of_an_impulse_is_a_kernel_of_a_drawn_width():
    impulse = np.zeros((60, 13, 13, 1), np.float32)
    impulse[:, 6, 6] = 1
    kernels = apply(GaussianBlur(Between(0.8, 2)), impulse)[..., 0]
    # The ratio of neighbors at the peak tells the width; the kernel is as wide as the widest needs.
    sigmas = np.sqrt(1 / (2 * np.log(kernels[:, 6, 6] / kernels[:, 6, 7])))
    for kernel, sigma in zip(kernels, sigmas, strict=True):
        np.testing.assert_allclose(kernel, np.outer(*[gaussian(sigma, 6)] * 2), atol=1e-5)
    assert 0.8 <= sigmas.min() < 0.95
    assert 1.85 < sigmas.max() <= 2


def test_blur_keeps_a_constant():
    images = np.full((2, 5, 7, 2), 0.7, np.float32)
    for result in apply_each([GaussianBlur(0.3), GaussianBlur(Between(1, 3))], [images] * 2):
        np.testing.assert_allclose(result, 0.7, atol=1e-6)


def test_noise_has_the_amounts_it_says_and_leaves_opacity_alone():
    images = random_images(4, 40, 50, 4)
    noises = [Noise(normal=0.2), Noise(uniform=0.3), Noise(normal=0.2, uniform=0.3), Noise(normal=0.2, flat=True)]
    many = random_images(2000, 2, 2, 4)
    results = apply_each(noises, [*[images] * 3, many])
    normal, uniform, both = ((result - images)[..., :3] for result in results[:3])
    count = normal.size
    np.testing.assert_allclose([normal.mean(), uniform.mean()], 0, atol=5 * 0.2 / np.sqrt(count))
    np.testing.assert_allclose(normal.std(), 0.2, rtol=5 / np.sqrt(2 * count))
    np.testing.assert_allclose((normal**4).mean() / 0.2**4, 3, atol=0.15)
    assert 0.299 < np.abs(uniform).max() < 0.3 + 1e-6
    np.testing.assert_allclose(uniform.std(), 0.3 / np.sqrt(3), rtol=0.02)
    np.testing.assert_allclose(both, normal + uniform, atol=1e-6)
    assert np.abs(np.corrcoef(normal.reshape(4, -1)) - np.eye(4)).max() < 5 / np.sqrt(count / 4)
    flat = (results[3] - many)[..., :3].reshape(2000, 4, 3)
    np.testing.assert_allclose(flat, np.repeat(flat[:, :1], 4, axis=1), atol=1e-6)
    np.testing.assert_allclose(flat[:, 0].std(0), 0.2, rtol=5 / np.sqrt(2 * 2000))
    assert np.abs(np.corrcoef(flat[:, 0].T) - np.eye(3)).max() < 5 / np.sqrt(2000)
    for result, before in zip(results, [*[images] * 3, many], strict=True):
        np.testing.assert_array_equal(result[..., 3], before[..., 3])


def test_noise_falls_to_nothing_by_the_step_it_says_also_within_other_transforms():
    images, constant = random_images(3, 4, 5, 3), Noise(0.2, 0.1)
    falling = Noise(0.2, 0.1, until=8)
    kinds = [constant, falling, compose(RandomFlip(0), falling), SameForAll(compose(falling, double))]

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def at(step, images):
        return [at_step(kind, step)(KEY, images) for kind in kinds]

    steps = np.array([0, 2, 7, 8, 100])
    always, alone, composed, same = at(steps, images)
    first = apply_each(kinds, [images] * 4)
    for results, whole, picture in zip((alone, composed, same), first[1:], (images, images, 2 * images), strict=True):
        for result, part in zip(results, [1, 6 / 8, 1 / 8, 0, 0], strict=True):
            np.testing.assert_allclose(result - picture, part * (whole - picture), atol=1e-6)
        np.testing.assert_array_equal(results[3:], np.stack([picture, picture]))
    np.testing.assert_allclose(always, np.stack([first[0]] * len(steps)), atol=1e-6)
    np.testing.assert_allclose(first[0], first[1], atol=1e-6)


def test_colors_get_a_shift_and_a_contrast_drawn_for_each_picture_and_color():
    number = 2000
    images = np.repeat(random_images(1, 3, 2, 4), number, axis=0)
    both, shifted, stretched = apply_each([ColorJitter(0.7, 1.5), ColorJitter(2, 0), ColorJitter(0, 0.5)], [images] * 3)
    for result, mean, std in ((both, 0.7, 1.5), (shifted, 2, 0), (stretched, 0, 0.5)):
        np.testing.assert_array_equal(result[..., 3], images[..., 3])
        colors, before = (x[..., :3].reshape(number, 6, 3).astype(float) for x in (result, images))
        spread = -np.log(colors.std(1) / before.std(1))
        shift = before.mean(1) - colors.mean(1) * np.exp(spread)
        np.testing.assert_allclose((before - shift[:, None]) / np.exp(spread[:, None]), colors, atol=1e-4)
        for found, most in ((shift, mean), (spread, std)):
            # Uniform: a mean of 0, and a standard deviation of the largest value / sqrt(3).
            assert 0.99 * most - 1e-4 < np.abs(found).max() < most + 1e-4
            np.testing.assert_allclose(found.mean(0), 0, atol=5 * most / np.sqrt(3 * number) + 1e-5)
            np.testing.assert_allclose(found.std(0), most / np.sqrt(3), rtol=0.05, atol=1e-4)
        if mean and std:
            drawn = np.concatenate([shift, spread], axis=1)
            assert np.abs(np.corrcoef(drawn.T) - np.eye(6)).max() < 5 / np.sqrt(number)


# Gradients and opacity


def test_normalized_gradients_keep_their_direction_and_have_their_length():
    images, slope = random_images(3, 4, 5, 2), random_images(3, 4, 5, 2) - 0.3
    slope[1] = 0
    cases = {NormalizeGradient(): [1, 1, 1], NormalizeGradient([2, 3, -0.5]): [2, 3, -0.5]}

    @jax.jit
    def values_and_gradients(images):
        def one(transform, images):
            return jax.value_and_grad(lambda images: (transform(KEY, images) * slope).sum())(images)

        lanes = jax.vmap(one, in_axes=(None, 0))
        return [(*one(transform, images), lanes(transform, images[None])[1][0]) for transform in cases]

    for lengths, (value, gradient, lane) in zip(cases.values(), values_and_gradients(images), strict=True):
        np.testing.assert_allclose(value, (images * slope).sum(), rtol=1e-5)
        assert not np.asarray(gradient[1]).any()
        for i in (0, 2):
            np.testing.assert_allclose(gradient[i], lengths[i] * slope[i] / np.linalg.norm(slope[i]), atol=1e-6)
        np.testing.assert_allclose(lane, gradient, atol=1e-6)
    with pytest.raises(ValueError, match="scales must be one number or one for each of 3 images, got 2"):
        shape_after(NormalizeGradient([1, 2]), (4, 4), batch=3)


def test_a_picture_over_a_color_is_mixed_by_its_opacity():
    images = random_images(2, 4, 5, 4)
    alpha = images[..., 3:].astype(float)
    for color in (0.25, (0.1, 0.5, 0.9)):
        expected = alpha * images[..., :3] + (1 - alpha) * np.asarray(color)
        np.testing.assert_allclose(apply(CollapseAlpha(color), images), expected, atol=1e-6)


def test_random_backgrounds_are_smooth_and_each_picture_has_its_own():
    images = np.repeat(random_images(1, 32, 30, 4), 6, axis=0)
    backgrounds = [CollapseAlpha(), CollapseAlpha(decay=2), CollapseAlpha(sd=0.1), CollapseAlpha()]

    def over(alpha, key=KEY):
        images[..., 3] = alpha
        return apply_each(backgrounds, [images] * 3 + [images[:2]], key)

    behind, smoother, fainter, two = over(0)
    np.testing.assert_array_equal(over(1)[0], images[..., :3])
    np.testing.assert_allclose(over(0.25)[0], 0.25 * images[..., :3] + 0.75 * behind, atol=1e-6)
    assert 0 <= behind.min() < behind.max() <= 1
    assert len(np.unique(behind, axis=0)) == 6
    assert np.abs(behind - over(0, jax.random.key(1))[0]).max() > 0.1
    np.testing.assert_allclose(two, behind[:2], atol=1e-6)

    # Neighbors are alike in natural images, more so with more decay, and differ less with a smaller deviation.
    def neighbors(images):
        return np.corrcoef(images[:, :, 1:].ravel(), images[:, :, :-1].ravel())[0, 1]

    assert 0.5 < neighbors(behind) < neighbors(smoother) < 1
    assert fainter.std() < 0.5 * behind.std()


def test_opacity_moves_with_the_colors_and_is_nothing_beyond_the_edge():
    over_black = {
        ROBUST: compose(Pad(2, 0), *ROBUST.transforms[1:]),
        RandomScale(0.5): compose(Pad(0, 0), RandomScale(0.5)),
        Pad(2, 0.75): Pad(2, 0),
    }
    images = random_images(3, 7, 8, 4)
    together = apply_each(over_black, [images] * 3)
    colors = apply_each(over_black, [images[..., :3]] * 3)
    opacity = apply_each(over_black.values(), [images[..., 3:]] * 3)
    for result, color, alpha in zip(together, colors, opacity, strict=True):
        np.testing.assert_allclose(result[..., :3], color, atol=1e-6)
        np.testing.assert_allclose(result[..., 3:], alpha, atol=1e-6)


# One draw for a batch


def test_the_same_draw_for_all_is_that_of_the_first():
    image = random_images(1, 7, 8, 4)
    images = np.repeat(image, 5, axis=0)
    single = [ROBUST, Noise(1), Pad(1, "random"), CollapseAlpha()]
    shared = [SameForAll(transform) for transform in single]
    results = apply_each(shared, [images] * 4)
    others = apply_each(shared, [images] * 4, jax.random.key(1))
    for alone, result, other in zip(apply_each(single, [image] * 4), results, others, strict=True):
        np.testing.assert_allclose(result, np.repeat(alone, 5, axis=0), atol=1e-5)
        assert not np.array_equal(result, other)


# Settings


NEW = [
    Pad(2, "reflect"),
    CropOrPad((5, 6)),
    RandomFlip(0.25),
    RandomCrop((8, 9), [0.25, 0.5]),
    RandomScale(Between(0.5, 2)),
    GaussianBlur(Between(1, 2)),
    Noise(0.1, 0.2),
    Noise(0.1, 0.2, flat=True, until=9),
    ColorJitter(0.5, 0.25),
    NormalizeGradient([1, 2]),
    CollapseAlpha(),
    CollapseAlpha((0, 0.5, 1)),
    SameForAll(compose(Jitter(2), RandomRotate(3))),
    *(getattr(transforms, name) for name in SETS),
]


@pytest.mark.parametrize("transform", [*NEW, *MOVES.values(), *DRAWN.values()], ids=str)
def test_transforms_can_be_read_back_from_what_they_print(transform):
    again = eval(repr(transform), dict(vars(transforms)))
    assert again == transform
    assert hash(again) == hash(transform)


def test_every_transform_is_among_those_that_are_read_back():
    kinds = {name for name in transforms.__all__ if dataclasses.is_dataclass(getattr(transforms, name))}
    printed = repr([*NEW, *MOVES.values(), *DRAWN.values()])
    assert [kind for kind in kinds if f"{kind}(" not in printed and isinstance(getattr(transforms, kind), type)] == []


def test_settings_are_stored_as_tuples_of_floats():
    for transform, fields in (
        (RandomScale(2), {"scales": (2.0,)}),
        (RandomScale(np.array(2)), {"scales": (2.0,)}),
        (RandomRotate(jnp.array([1.0, 2.0])), {"degrees": (1.0, 2.0)}),
        (RandomCrop(8), {"size": (8, 8), "sides": Between(0.05, 0.5), "spread": 0.15}),
        (CropOrPad([8, 9]), {"size": (8, 9)}),
        (CropOrPad(np.array([8, 9])), {"size": (8, 9)}),
        (CollapseAlpha(1), {"color": (1.0, 1.0, 1.0), "sd": 0.5, "decay": 1.0}),
        (NormalizeGradient([1, -1]), {"scales": (1.0, -1.0)}),
        (Between(np.float32(1), 2), {"low": 1.0, "high": 2.0}),
        (Noise(1, until=np.int64(4)), {"normal": 1.0, "uniform": 0.0, "flat": False, "until": 4}),
        (ColorJitter(np.float32(2)), {"mean": 2.0, "std": 1.0}),
    ):
        assert vars(transform) == fields
        for value in fields.values():
            for item in value if isinstance(value, tuple) else (value,):
                assert type(item) in (int, float, bool, Between)


def test_equal_settings_are_equal_and_hash_equal():
    for one, other in (
        (Pad(2), Pad(np.int64(2), 0.5)),
        (Jitter(3), Jitter(np.int32(3))),
        (RandomScale([1, 2]), RandomScale(np.array([1.0, 2.0]))),
        (RandomRotate(range(3)), RandomRotate((0.0, 1.0, 2.0))),
        (compose(Pad(2), Jitter(3), Pad(1)), compose(compose(Pad(2), Jitter(3)), compose(Pad(1)))),
        (compose(Pad(2), compose(Jitter(3), Pad(1))), transforms.Compose([Pad(2), Jitter(3), Pad(1)])),
        (RandomCrop(8), RandomCrop((8, 8), Between(0.05, 0.5), 0.15)),
        (CollapseAlpha(0), CollapseAlpha([0, 0, 0])),
        (compose(double), compose(double)),
    ):
        assert one == other
        assert hash(one) == hash(other)


def test_different_settings_and_orders_are_unequal():
    different = [
        Pad(2),
        Pad(3),
        Pad(2, 0.25),
        Jitter(2),
        Jitter(3),
        RandomScale([1, 2]),
        RandomScale([2, 1]),
        RandomRotate([1, 2]),
        compose(Pad(2), Jitter(2)),
        compose(Jitter(2), Pad(2)),
        compose(),
        *NEW,
        RandomScale(Between(1, 2)),
        Pad(2, "random"),
    ]
    assert len(set(different)) == len(different)


def refused(kind, message, *args, error=ValueError, **settings):
    given = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in settings.items()]
    return pytest.param(kind, args, settings, error, message, id=f"{kind.__name__}({', '.join(given)})")


@pytest.mark.parametrize(
    ("kind", "args", "settings", "error", "message"),
    [
        refused(Between, "high must be at least 2.0, got 1", 2, 1),
        refused(Between, "high must be finite, got inf", 0, np.inf),
        refused(Between, "low must be a number, got 'a'", "a", 1, error=TypeError),
        refused(Pad, "pixels must be at least 0, got -1", -1),
        refused(Pad, "pixels must be a whole number, got 1.5", 1.5, error=TypeError),
        refused(Pad, "value must be between 0 and 1, got -0.1", 1, -0.1),
        refused(Pad, "value must be between 0 and 1, got 1.1", 1, 1.1),
        refused(Pad, "value must be finite, got nan", 1, np.nan),
        refused(Pad, "value must be a number, got None", 1, None, error=TypeError),
        refused(Pad, "unknown border 'mirror'; known are 'reflect', 'wrap', 'random'", 2, "mirror"),
        refused(Pad, "unknown border 'reflekt'; did you mean 'reflect'?", 2, "reflekt"),
        refused(Jitter, "pixels must be at least 0, got -1", -1),
        refused(Jitter, "pixels must be a whole number, got True", True, error=TypeError),
        refused(Jitter, "pixels must be a whole number, got '2'", "2", error=TypeError),
        refused(Jitter, "pixels must be a whole number, got None", None, error=TypeError),
        refused(CropOrPad, "size must be a whole number, got '4'", "4", error=TypeError),
        refused(CropOrPad, "size must be at least 1, got 0", (0, 4)),
        refused(CropOrPad, "size must be one number of pixels or a pair (height, width), got (1, 2, 3)", (1, 2, 3)),
        refused(RandomScale, "scales must contain at least one number, got []", []),
        refused(RandomScale, "scales must be greater than 0, got 0", [1, 0]),
        refused(RandomScale, "scales must be greater than 0, got -1", -1),
        refused(RandomScale, "scales must be finite, got nan", [np.nan]),
        refused(RandomScale, "scales must be finite, got inf", [np.inf]),
        refused(RandomScale, "scales must be greater than 0, got -1.0", Between(-1, 1)),
        refused(RandomScale, "scales must be a number, got 'large'", "large", error=TypeError),
        refused(RandomScale, "scales must be a number, got [1.0, 2.0]", np.array([[1.0, 2.0]]), error=TypeError),
        refused(RandomRotate, "degrees must contain at least one number, got []", []),
        refused(RandomRotate, "degrees must be finite, got inf", [0, np.inf]),
        refused(RandomFlip, "probability must be between 0 and 1, got 1.5", 1.5),
        refused(RandomFlip, "probability must be finite, got nan", np.nan),
        refused(RandomCrop, "size must be at least 2, got 1", 1),
        refused(RandomCrop, "sides must contain at least one number, got []", 4, []),
        refused(RandomCrop, "sides must be greater than 0 and at most 1, got 1.1", 4, [0.5, 1.1]),
        refused(RandomCrop, "sides must be greater than 0 and at most 1, got 0.0", 4, Between(0, 0.5)),
        refused(RandomCrop, "spread must be at least 0, got -1", 4, spread=-1),
        refused(GaussianBlur, "sigmas must contain at least one number, got []", []),
        refused(GaussianBlur, "sigmas must be greater than 0, got 0", [0]),
        refused(Noise, "normal or uniform must be greater than 0, got 0 for both"),
        refused(Noise, "normal must be at least 0, got -0.1", -0.1),
        refused(Noise, "uniform must be finite, got inf", uniform=np.inf),
        refused(Noise, "until must be at least 1, got 0", 1, until=0),
        refused(Noise, "until must be a whole number, got 2.5", 1, until=2.5, error=TypeError),
        refused(Noise, "flat must be True or False, got 1", 1, flat=1, error=TypeError),
        refused(ColorJitter, "mean must be at least 0, got -1", -1),
        refused(ColorJitter, "std must be finite, got nan", 1, np.nan),
        refused(ColorJitter, "mean or std must be greater than 0, got 0 for both", 0, 0),
        refused(NormalizeGradient, "scales must contain at least one number, got []", []),
        refused(NormalizeGradient, "scales must be finite, got nan", [1, np.nan]),
        refused(NormalizeGradient, "scales must be a number, got Between(low=", Between(0, 1), error=TypeError),
        refused(CollapseAlpha, "color must be between 0 and 1, got 1.5", 1.5),
        refused(CollapseAlpha, "color must be a gray or (red, green, blue), got (1, 0)", (1, 0)),
        refused(CollapseAlpha, "sd must be greater than 0, got 0", sd=0),
        refused(CollapseAlpha, "decay must be finite, got inf", decay=np.inf),
        refused(compose, "a transform must be a function of a key and images, got 3", 3, error=TypeError),
        refused(SameForAll, "a transform must be a function of a key and images, got 3", 3, error=TypeError),
    ],
)
def test_wrong_settings_are_refused_and_named(kind, args, settings, error, message):
    with pytest.raises(error) as refusal:
        kind(*args, **settings)
    assert message in str(refusal.value)


def test_a_background_is_only_for_pictures_with_opacity():
    with pytest.raises(ValueError, match="images must have 4 channels, colors and opacity, got 3"):
        shape_after(CollapseAlpha(), (4, 4))
