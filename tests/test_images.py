"""Image parameterisations: from parameters to pictures, against NumPy and PyTorch."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightjax.images import COLOUR_CORRELATION, fourier_image, height_and_width, pixel_image

# Lucid's square root of the covariance of ImageNet's colours, over the norm of its largest column.
COLOURS = [
    [0.56282854, 0.19482528, 0.04329450],
    [0.58447580, 0.00000000, -0.10823626],
    [0.58447580, -0.19482528, 0.06494176],
]
FACTORIES = [pytest.param(fourier_image, id="fourier"), pytest.param(pixel_image, id="pixel")]
SIZES = [(8, 8), (7, 9), (8, 9), (9, 6), (1, 1), (1, 6), (5, 1)]
KEY = jax.random.key(0)


def size_id(size):
    return f"{size[0]}x{size[1]}"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def scale(height, width, decay=1.0):
    """One over the frequency of every coefficient, the lowest one standing in for zero."""
    frequency = np.sqrt(np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None, :] ** 2)
    return 1 / np.maximum(frequency, 1 / max(height, width)) ** decay


def some_params(image, sd=1.0):
    """Normal parameters of the right shape, faster than `init` draws them."""
    shape = jax.eval_shape(image.init, KEY).shape
    return (sd * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def decode(image, params):
    return np.asarray(jax.jit(image.decode)(params))


def uncoloured(image, params):
    """What goes into the sigmoid of an image without colour correlation, float64."""
    rgb = decode(image, params).astype(np.float64)
    return np.log(rgb / (1 - rgb))


def test_colour_matrix_has_lucids_constants():
    np.testing.assert_allclose(COLOUR_CORRELATION, COLOURS, rtol=0, atol=1e-7)


@pytest.mark.parametrize("decay", [1.0, 0.5, 1.5], ids="decay {}".format)
@pytest.mark.parametrize("decorrelate", [True, False], ids=["decorrelated", "rgb"])
@pytest.mark.parametrize("size", SIZES, ids=size_id)
def test_fourier_image_is_the_recoloured_inverse_transform_of_scaled_coefficients(size, decorrelate, decay):
    image = fourier_image(size, batch=2, decay=decay, decorrelate=decorrelate)
    params = some_params(image)
    real, imaginary = params.astype(np.float64)
    spectrum = (real + 1j * imaginary) * scale(*size, decay)
    waves = np.fft.irfft2(spectrum, s=size, norm="ortho") / 4
    colours = np.einsum("rc,nchw->nhwr", COLOURS if decorrelate else np.eye(3), waves)
    np.testing.assert_allclose(decode(image, params), sigmoid(colours), atol=3e-6)


@pytest.mark.parametrize(("row", "column"), [(0, 1), (3, 0), (2, 3), (7, 5)])
def test_one_fourier_coefficient_is_one_wave(row, column):
    height, width = 10, 13
    image = fourier_image((height, width), decorrelate=False)
    shape = (2, 1, 3, height, width // 2 + 1)
    real, imaginary = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    real[0, 0, 1, row, column] = imaginary[1, 0, 1, row, column] = 1
    phase = 2 * np.pi * (row * np.arange(height)[:, None] / height + column * np.arange(width) / width)
    # A wave stands for itself and its complex conjugate, except in column 0, where both have a coefficient.
    amplitude = (1 if column == 0 else 2) * scale(height, width)[row, column] / np.sqrt(height * width) / 4
    np.testing.assert_allclose(uncoloured(image, real)[0, ..., 1], amplitude * np.cos(phase), atol=1e-5)
    np.testing.assert_allclose(uncoloured(image, imaginary)[0, ..., 1], -amplitude * np.sin(phase), atol=1e-5)
    assert (decode(image, real)[..., [0, 2]] == 0.5).all()


@pytest.mark.parametrize("size", SIZES, ids=size_id)
def test_fourier_image_and_its_gradient_agree_with_torch(size):
    torch = pytest.importorskip("torch")
    image = fourier_image(size, batch=2)
    params = some_params(image, sd=0.3)
    cotangent = np.random.default_rng(1).standard_normal((2, *size, 3)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda p: (image.decode(p) * cotangent).sum()))(params)

    theirs = torch.tensor(params, requires_grad=True)
    spectrum = torch.complex(theirs[0], theirs[1]) * torch.tensor(scale(*size), dtype=torch.float32)
    waves = torch.fft.irfftn(spectrum, s=size, dim=(-2, -1), norm="ortho") / 4
    expected = torch.sigmoid(waves.permute(0, 2, 3, 1) @ torch.tensor(COLOURS).T)
    expected.backward(torch.tensor(cotangent))

    np.testing.assert_allclose(decode(image, params), expected.detach().numpy(), atol=1e-6)
    wanted = theirs.grad.numpy()
    np.testing.assert_allclose(gradient, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("size", SIZES, ids=size_id)
def test_gradient_reaches_every_fourier_coefficient_but_the_inert_ones(size):
    height, width = size
    image = fourier_image(size)
    params = some_params(image, sd=0.01)
    cotangents = np.random.default_rng(1).standard_normal((4, 1, height, width, 3))
    gradients = jax.jit(jax.jacrev(lambda p: (image.decode(p) * cotangents).sum(axis=(1, 2, 3, 4))))(params)
    reach = np.abs(gradients).max(axis=0) / scale(height, width)

    # The imaginary part of a wave that is its own complex conjugate does nothing.
    own_row = np.arange(height)[:, None] * 2 % height == 0
    own_column = np.arange(width // 2 + 1) * 2 % width == 0
    inert = np.zeros(params.shape, bool)
    inert[1] = own_row & own_column
    assert (reach[inert] < 1e-6).all()
    assert (reach[~inert] > 1e-4).all()


@pytest.mark.parametrize(("size", "lucid"), [(128, 0.0184), (224, 0.0205), (512, 0.0217)])
def test_fourier_image_starts_with_lucids_contrast(size, lucid):
    image = fourier_image(size, batch=8, decorrelate=False)
    waves = uncoloured(image, image.init(KEY))
    # Each coefficient stands for two waves, but for the first and last column, which hold both.
    times = np.full(size // 2 + 1, 2)
    times[[0, -1]] = 1
    expected = 0.01 * np.sqrt(((times * scale(size, size)) ** 2).sum()) / size / 4
    # The lowest frequencies dominate: the contrast of one channel varies by 5 %, that of 24 by 1 %. Lucid's is of one.
    rms = np.sqrt((waves**2).mean())
    assert rms == pytest.approx(expected, rel=0.03)
    assert rms == pytest.approx(lucid, rel=0.05)


@pytest.mark.parametrize("decorrelate", [True, False], ids=["decorrelated", "rgb"])
def test_pixel_image_is_the_sigmoid_of_recoloured_parameters(decorrelate):
    image = pixel_image((5, 4), batch=2, decorrelate=decorrelate)
    params = some_params(image, sd=2.0)
    matrix = np.array(COLOURS) if decorrelate else np.eye(3)
    expected = sigmoid(params.astype(np.float64) @ matrix.T)
    np.testing.assert_allclose(decode(image, params), expected, atol=1e-6)


def test_gradient_reaches_every_pixel():
    image = pixel_image((5, 4), batch=2)
    gradient = jax.grad(lambda params: image.decode(params)[..., 0].sum())(some_params(image))
    # Red is made of all three decorrelated colours.
    assert (np.abs(gradient) > 1e-3).all()


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("sd", [0.01, 0.5])
def test_first_parameters_are_normal_with_the_given_deviation(factory, sd):
    params = np.asarray(factory(48, batch=2, sd=sd).init(KEY)).ravel()
    assert np.abs(params.mean()) < 5 * sd / np.sqrt(params.size)
    assert params.std() == pytest.approx(sd, rel=5 / np.sqrt(2 * params.size))
    assert (np.abs(params) < sd).mean() == pytest.approx(0.6827, abs=0.02)


def test_real_and_imaginary_parts_pictures_and_colours_start_independent():
    params = np.asarray(fourier_image(48, batch=2).init(KEY))
    rows = params.reshape(2 * 2 * 3, -1)
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 5 / np.sqrt(rows.shape[1])


@pytest.mark.parametrize("factory", FACTORIES)
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), batch=st.integers(1, 3))
def test_any_size_and_batch_decodes_into_the_open_unit_interval(factory, height, width, batch):
    image = factory((height, width), batch=batch)
    pictures = decode(image, some_params(image, sd=0.01))
    assert pictures.shape == (batch, height, width, 3)
    assert pictures.dtype == np.float32
    assert ((pictures > 0) & (pictures < 1)).all()


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("size", [(6, 5), (7, 8)], ids=size_id)
def test_huge_parameters_saturate_but_stay_in_range(factory, size):
    image = factory(size)
    pictures = decode(image, some_params(image, sd=1e6))
    assert ((pictures >= 0) & (pictures <= 1)).all()


@pytest.mark.parametrize("factory", FACTORIES)
def test_picture_starts_the_same_whatever_the_batch(factory):
    few, many = (factory(6, batch=batch) for batch in (2, 5))
    few, many = (decode(image, image.init(KEY)) for image in (few, many))
    np.testing.assert_array_equal(few, many[:2])


@pytest.mark.parametrize("factory", FACTORIES)
def test_pictures_of_a_batch_and_of_different_keys_differ_and_one_key_repeats(factory):
    image = factory(6, batch=2)
    params = image.init(KEY)
    first, second = decode(image, params)
    other = decode(image, image.init(jax.random.key(1)))[0]
    assert not np.isclose(first, second, atol=1e-6).all()
    assert not np.isclose(first, other, atol=1e-6).all()
    np.testing.assert_array_equal(params, image.init(KEY))


@pytest.mark.parametrize("factory", FACTORIES)
def test_init_and_decode_map_over_keys_and_parameters(factory):
    image = factory(6, batch=2)
    keys = jax.random.split(KEY)
    params = jax.vmap(image.init)(keys)
    pictures = jax.jit(jax.vmap(image.decode))(params)
    for key, param, picture in zip(keys, params, pictures, strict=True):
        np.testing.assert_array_equal(param, image.init(key))
        np.testing.assert_allclose(picture, image.decode(param), atol=1e-6)


@pytest.mark.parametrize("factory", FACTORIES)
def test_equal_settings_are_equal_and_hash_equal(factory):
    one = factory((6, 6), batch=2, sd=1)
    for other in (
        factory(6, batch=2, sd=1.0),
        factory([6, 6], batch=np.int64(2), sd=np.float64(1)),
        factory(np.int32(6), batch=2, sd=1),
    ):
        assert one == other
        assert hash(one) == hash(other)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize(
    "settings",
    [{"size": (6, 7)}, {"size": (7, 6)}, {"batch": 2}, {"sd": 0.02}, {"decorrelate": False}],
    ids=lambda settings: next(iter(settings)),
)
def test_different_settings_are_unequal(factory, settings):
    assert factory(**{"size": 6, **settings}) != factory(6)


def test_different_decay_is_unequal_and_so_are_the_two_kinds_of_image():
    assert fourier_image(6, decay=1.5) != fourier_image(6)
    assert pixel_image(6) != fourier_image(6)


@pytest.mark.parametrize(
    ("size", "pair"), [(3, (3, 3)), ((3, 4), (3, 4)), ([3, 4], (3, 4)), (np.int64(5), (5, 5))], ids=str
)
def test_size_is_one_number_or_a_pair(size, pair):
    assert height_and_width(size) == pair


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize(
    "size", [0, -1, (3, 0), (3,), (3, 4, 5), 3.5, (3, 4.0), True, "224", None, np.zeros(2, int)], ids=repr
)
def test_wrong_size_is_refused_and_named(factory, size):
    with pytest.raises(ValueError, match="size is a positive number of pixels or a pair") as error:
        factory(size)
    assert repr(size) in str(error.value)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("batch", [0, -1, 1.5, True, "2", None], ids=repr)
def test_wrong_batch_is_refused_and_named(factory, batch):
    with pytest.raises(ValueError, match="batch is a whole number from 1 on") as error:
        factory(8, batch=batch)
    assert repr(batch) in str(error.value)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("sd", [0, -0.01, np.nan, np.inf], ids=repr)
def test_wrong_deviation_is_refused_and_named(factory, sd):
    with pytest.raises(ValueError, match="sd is a positive number") as error:
        factory(8, sd=sd)
    assert repr(sd) in str(error.value)


@pytest.mark.parametrize("decay", [np.nan, np.inf], ids=repr)
def test_wrong_decay_is_refused_and_named(decay):
    with pytest.raises(ValueError, match="decay") as error:
        fourier_image(8, decay=decay)
    assert repr(decay) in str(error.value)
