"""Image parameterizations: from parameters to pictures, against NumPy and PyTorch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lightjax as lj
from lightjax import images, ops
from lightjax.images import (
    COLOR_CORRELATION,
    SQUASHES,
    Cppn,
    Fourier,
    FourierPhases,
    Laplacian,
    NaturalImage,
    Pixels,
    Shared,
    Statistics,
    image,
    load_statistics,
)
from lightjax.pictures import load_picture

# Lucid's square root of the covariance of ImageNet's colors, over the norm of its largest column.
COLORS = [
    [0.56282854, 0.19482528, 0.04329450],
    [0.58447580, 0.00000000, -0.10823626],
    [0.58447580, -0.19482528, 0.06494176],
]


def over(make):
    """A function that makes an image over a basis, from settings of both."""

    @functools.wraps(make)
    def factory(size=224, *, batch=1, color=None, squash="sigmoid", alpha=False, **settings):
        return image(size, basis=make(**settings), batch=batch, color=color, squash=squash, alpha=alpha)

    return factory


fourier_image, pixel_image, laplacian_image = over(Fourier), over(Pixels), over(Laplacian)
maco_image, cppn_image = over(FourierPhases), over(Cppn)


@over
def shared_image(sd=0.01):
    """A common part of all pictures, and two coarser ones."""
    return Shared(Fourier(sd), [(1, 2), (1, 4), (1, 16)], sd=sd)


@over
def small_cppn(layers=2, channels=5):
    """A network that compiles quickly."""
    return Cppn(layers=layers, channels=channels)


WITH_SD = [pytest.param(f, id=f.__name__) for f in (fourier_image, pixel_image, laplacian_image, shared_image)]
FACTORIES = [*WITH_SD, *(pytest.param(f, id=f.__name__) for f in (small_cppn, maco_image))]
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
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: (sd * random.standard_normal(leaf.shape)).astype(np.float32), jax.eval_shape(image.init, KEY)
    )


def decode(image, params):
    return np.asarray(jax.jit(image.decode)(params))


def uncolored(image, params):
    """What goes into the sigmoid of an image without color correlation, float64."""
    rgb = decode(image, params).astype(np.float64)
    return np.log(rgb / (1 - rgb))


def test_the_matrix_of_an_unknown_color_is_an_error_with_the_nearest_name():
    with pytest.raises(ValueError, match="unknown color 'lucidd'; did you mean 'lucid'"):
        images.color_matrix("lucidd")
    with pytest.raises(TypeError, match="color must be a name or a matrix"):
        images.color_matrix(3)


def test_color_matrix_has_lucids_constants():
    np.testing.assert_allclose(COLOR_CORRELATION, COLORS, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("size", "color", "decay"),
    [*((size, "lucid", 1.0) for size in SIZES), ((7, 9), "rgb", 1.0), ((8, 9), "rgb", 0.5), ((9, 6), "lucid", 1.5)],
    ids=str,
)
def test_fourier_image_is_the_recolored_inverse_transform_of_scaled_coefficients(size, color, decay):
    image = fourier_image(size, batch=2, decay=decay, color=color)
    params = some_params(image)
    real, imaginary = params.astype(np.float64)
    spectrum = (real + 1j * imaginary) * scale(*size, decay)
    waves = np.fft.irfft2(spectrum, s=size, norm="ortho") / 4
    colors = np.einsum("rc,nchw->nhwr", COLORS if color == "lucid" else np.eye(3), waves)
    np.testing.assert_allclose(decode(image, params), sigmoid(colors), atol=3e-6)


@pytest.mark.parametrize(("row", "column"), [(0, 1), (3, 0), (2, 3), (7, 5)])
def test_one_fourier_coefficient_is_one_wave(row, column):
    height, width = 10, 13
    image = fourier_image((height, width), color="rgb")
    shape = (2, 1, 3, height, width // 2 + 1)
    real, imaginary = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    real[0, 0, 1, row, column] = imaginary[1, 0, 1, row, column] = 1
    phase = 2 * np.pi * (row * np.arange(height)[:, None] / height + column * np.arange(width) / width)
    # A wave stands for itself and its complex conjugate, except in column 0, where both have a coefficient.
    amplitude = (1 if column == 0 else 2) * scale(height, width)[row, column] / np.sqrt(height * width) / 4
    np.testing.assert_allclose(uncolored(image, real)[0, ..., 1], amplitude * np.cos(phase), atol=1e-5)
    np.testing.assert_allclose(uncolored(image, imaginary)[0, ..., 1], -amplitude * np.sin(phase), atol=1e-5)
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
    expected = torch.sigmoid(waves.permute(0, 2, 3, 1) @ torch.tensor(COLORS).T)
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
    image = fourier_image(size, batch=8, color="rgb")
    waves = uncolored(image, image.init(KEY))
    # Each coefficient stands for two waves, but for the first and last column, which hold both.
    times = np.full(size // 2 + 1, 2)
    times[[0, -1]] = 1
    expected = 0.01 * np.sqrt(((times * scale(size, size)) ** 2).sum()) / size / 4
    # The lowest frequencies dominate: the contrast of one channel varies by 5 %, that of 24 by 1 %. Lucid's is of one.
    rms = np.sqrt((waves**2).mean())
    assert rms == pytest.approx(expected, rel=0.03)
    assert rms == pytest.approx(lucid, rel=0.05)


@pytest.mark.parametrize("color", ["lucid", "rgb"])
def test_pixel_image_is_the_sigmoid_of_recolored_parameters(color):
    image = pixel_image((5, 4), batch=2, color=color)
    params = some_params(image, sd=2.0)
    matrix = np.array(COLORS) if color == "lucid" else np.eye(3)
    expected = sigmoid(params.astype(np.float64) @ matrix.T)
    np.testing.assert_allclose(decode(image, params), expected, atol=1e-6)


def test_gradient_reaches_every_pixel():
    image = pixel_image((5, 4), batch=2)
    gradient = jax.grad(lambda params: image.decode(params)[..., 0].sum())(some_params(image))
    # Red is made of all three decorrelated colors.
    assert (np.abs(gradient) > 1e-3).all()


@pytest.mark.parametrize("factory", WITH_SD)
@pytest.mark.parametrize("sd", [0.01, 0.5])
def test_first_parameters_are_normal_with_the_given_deviation(factory, sd):
    params = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(factory(48, batch=2, sd=sd).init(KEY))])
    assert np.abs(params.mean()) < 5 * sd / np.sqrt(params.size)
    assert params.std() == pytest.approx(sd, rel=5 / np.sqrt(2 * params.size))
    assert (np.abs(params) < sd).mean() == pytest.approx(0.6827, abs=0.02)


def test_real_and_imaginary_parts_pictures_and_colors_start_independent():
    params = np.asarray(fourier_image(48, batch=2).init(KEY))
    rows = params.reshape(2 * 2 * 3, -1)
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 5 / np.sqrt(rows.shape[1])


@pytest.mark.parametrize("factory", FACTORIES)
@settings(max_examples=5, deadline=None, derandomize=True, database=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    batch=st.integers(1, 3),
    color=st.sampled_from(["lucid", "caltech101", "rgb", "gray"]),
    alpha=st.booleans(),
)
def test_any_size_and_batch_decodes_into_the_open_unit_interval(factory, height, width, batch, color, alpha):
    image = dataclasses.replace(factory((height, width), batch=batch, alpha=alpha), color=color)
    # Equal phases would be one bright point.
    pictures = decode(image, some_params(image, sd=9 if factory is maco_image else 0.01))
    assert pictures.shape == (batch, height, width, 4 if alpha else 3)
    assert pictures.dtype == np.float32
    assert ((pictures > 0) & (pictures < 1)).all()
    if color == "gray":
        assert (pictures[..., 0] == pictures[..., 1]).all()
        assert (pictures[..., 0] == pictures[..., 2]).all()


@pytest.mark.parametrize(
    ("factory", "size", "squash"),
    [
        *((f, (6, 5), "sigmoid") for f in (fourier_image, pixel_image, laplacian_image, shared_image, small_cppn)),
        (maco_image, (6, 5), "norm"),
        *((fourier_image, (1, 1), squash) for squash in SQUASHES),
    ],
)
def test_huge_parameters_saturate_but_stay_in_range_with_finite_gradients(factory, size, squash):
    image = factory(size, squash=squash, alpha=True)
    params = some_params(image, sd=1e6)
    pictures = decode(image, params)
    assert ((pictures >= 0) & (pictures <= 1)).all()
    gradient = jax.jit(jax.grad(lambda params: image.decode(params).sum()))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


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
    jax.tree.map(np.testing.assert_array_equal, params, image.init(KEY))


@pytest.mark.parametrize("factory", FACTORIES)
def test_init_and_decode_map_over_keys_and_parameters(factory):
    image = factory(6, batch=2)
    keys = jax.random.split(KEY)
    params = jax.vmap(image.init)(keys)
    pictures = jax.jit(jax.vmap(image.decode))(params)
    for i, (key, picture) in enumerate(zip(keys, pictures, strict=True)):
        param = jax.tree.map(lambda leaf: leaf[i], params)  # noqa: B023
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), param, image.init(key))
        np.testing.assert_allclose(picture, image.decode(param), atol=1e-5)


@pytest.mark.parametrize("factory", WITH_SD)
def test_equal_settings_are_equal_and_hash_equal(factory):
    one = factory((6, 6), batch=2, sd=1)
    for other in (
        factory(6, batch=2, sd=1.0),
        factory([6, 6], batch=np.int64(2), sd=np.float64(1)),
        factory(np.int32(6), batch=2, sd=1),
    ):
        assert one == other
        assert hash(one) == hash(other)


@pytest.mark.parametrize("factory", WITH_SD)
@pytest.mark.parametrize(
    "settings",
    [
        {"size": (6, 7)},
        {"size": (7, 6)},
        {"batch": 2},
        {"sd": 0.02},
        {"color": "rgb"},
        {"squash": "norm"},
        {"alpha": True},
    ],
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
    made = image(size)
    assert (made.height, made.width) == pair


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"size": (3, 0)}, ValueError, "size must be at least 1, got 0"),
        ({"size": (3,)}, ValueError, r"one number of pixels or a pair \(height, width\), got \(3,\)"),
        ({"size": (3, 4, 5)}, ValueError, "one number of pixels or a pair"),
        ({"size": 3.5}, TypeError, "size must be a whole number, got 3.5"),
        ({"size": True}, TypeError, "size must be a whole number, got True"),
        ({"size": "224"}, TypeError, "size must be a whole number, got '224'"),
        ({"size": None}, TypeError, "size must be a whole number, got None"),
        ({"size": np.zeros(2, int)}, ValueError, "size must be at least 1, got 0"),
        ({"batch": 0}, ValueError, "batch must be at least 1, got 0"),
        ({"batch": 1.5}, TypeError, "batch must be a whole number, got 1.5"),
        ({"batch": None}, TypeError, "batch must be a whole number, got None"),
        ({"alpha": 1}, TypeError, "alpha must be True or False, got 1"),
        ({"basis": 3}, TypeError, "basis must have functions init and decode"),
        ({"squash": "tanh"}, ValueError, "unknown squash 'tanh'; known are 'sigmoid'"),
        ({"squash": "sigmoit"}, ValueError, "unknown squash 'sigmoit'; did you mean 'sigmoid'"),
        ({"color": "lab"}, ValueError, "unknown color 'lab'; known are 'lucid'"),
        ({"color": np.eye(4)}, ValueError, r"matrix \[3, planes\]"),
        ({"color": np.full((3, 3), np.nan)}, ValueError, r"matrix \[3, planes\]"),
        ({"color": 3}, TypeError, r"matrix \[3, planes\]"),
        ({"color": [[1], [2, 3]]}, ValueError, r"matrix \[3, planes\]"),
    ],
    ids=str,
)
def test_wrong_settings_of_an_image_are_refused_and_named(settings, error, match):
    with pytest.raises(error, match=match):
        image(**settings)


@pytest.mark.parametrize(
    ("make", "settings", "error", "match"),
    [
        *((basis, {"sd": 0}, ValueError, "sd must be greater than 0, got 0") for basis in (Fourier, Pixels, Laplacian)),
        (Shared, {"sd": -0.01}, ValueError, "sd must be greater than 0, got -0.01"),
        (Fourier, {"sd": np.nan}, ValueError, "sd must be finite, got nan"),
        (Pixels, {"sd": "1"}, TypeError, "sd must be a number, got '1'"),
        (Fourier, {"decay": np.inf}, ValueError, "decay must be finite, got inf"),
        (Laplacian, {"levels": 0}, ValueError, "levels must be at least 1, got 0"),
        (Laplacian, {"levels": 1.5}, TypeError, "levels must be a whole number, got 1.5"),
        (Shared, {"parts": []}, ValueError, "parts must be at least one pair"),
        (Shared, {"parts": [3]}, ValueError, "parts must be at least one pair"),
        (Shared, {"parts": [(0, 2)]}, ValueError, "number of pictures of a part must be at least 1, got 0"),
        (Shared, {"parts": [(1, 0)]}, ValueError, "divisor of a part must be at least 1, got 0"),
        (Cppn, {"layers": 0}, ValueError, "layers must be at least 1, got 0"),
        (Cppn, {"channels": 2.5}, TypeError, "channels must be a whole number, got 2.5"),
        (Cppn, {"activation": "tanh"}, ValueError, "unknown activation 'tanh'; known are 'composite'"),
        (Cppn, {"bias_sd": -1}, ValueError, "bias_sd must be at least 0, got -1"),
        (Cppn, {"normalize": 1}, TypeError, "normalize must be True or False"),
        (FourierPhases, {"contrast": 0}, ValueError, "contrast must be greater than 0, got 0"),
        (
            FourierPhases,
            {"statistics": "caltech102"},
            ValueError,
            "unknown statistics 'caltech102'; did you mean 'caltech101'",
        ),
        (FourierPhases, {"statistics": "nowhere.safetensors"}, FileNotFoundError, "give a file, or 'caltech101'"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_wrong_settings_of_a_basis_are_refused_and_named(make, settings, error, match):
    with pytest.raises(error, match=match):
        make(**settings)


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_image_reads_back_from_its_printed_form(factory):
    made = factory((4, 5), batch=2, squash="norm", alpha=True)
    assert eval(repr(made), vars(images)) == made


# The other parameterizations, against NumPy


def enlarged(t, shape):
    """Linear interpolation along every axis between the centers of pixels, the outermost ones repeated."""
    for axis, (old, new) in enumerate(zip(t.shape, shape, strict=True)):
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        t = np.apply_along_axis(lambda row, at=at, old=old: np.interp(at, np.arange(old), row), axis, t)
    return t


@pytest.mark.parametrize("size", [(16, 12), (7, 9), (1, 6)], ids=size_id)
def test_laplacian_image_is_the_sum_of_its_enlarged_levels(size):
    image = laplacian_image(size, batch=2, levels=3, color="rgb")
    params = some_params(image)
    sizes = [(2, max(1, size[0] // n), max(1, size[1] // n), 3) for n in (1, 2, 4)]
    assert [level.shape for level in params] == sizes
    expected = sum(enlarged(level.astype(np.float64), sizes[0]) for level in params)
    np.testing.assert_allclose(uncolored(image, params), expected, atol=1e-4)


def test_shared_parts_are_added_to_the_own_picture_and_interpolated_over_the_batch():
    own = fourier_image((9, 10), batch=5, color="rgb")
    image = dataclasses.replace(own, basis=Shared(own.basis, [(1, 2), (2, 4), (7, 3)]))
    params = some_params(image, sd=0.5)
    assert [part.shape for part in params[1]] == [(1, 4, 5, 3), (2, 2, 2, 3), (5, 3, 3, 3)]
    parts = sum(enlarged(part.astype(np.float64), (5, 9, 10, 3)) for part in params[1])
    np.testing.assert_allclose(uncolored(image, params), uncolored(own, params[0]) + parts, atol=1e-4)


def test_a_gradient_on_one_picture_moves_the_others_through_the_shared_part_only():
    parts = Shared(Pixels(), [(1, 4)])
    image = images.image(8, basis=parts, batch=3)
    own, parts = jax.grad(lambda params: image.decode(params)[0].sum())(some_params(image))
    assert (own[1:] == 0).all()
    assert (np.abs(own[0]) > 0).all()
    assert (np.abs(parts[0]) > 0).all()


def test_any_basis_can_share_parts_and_keeps_its_colors():
    for basis in (Cppn(layers=2, channels=5), FourierPhases(), Laplacian()):
        both = image(8, basis=Shared(basis), batch=2, alpha=True)
        assert jax.eval_shape(lambda both=both: both.decode(both.init(KEY))).shape == (2, 8, 8, 4)
        assert both.color == image(8, basis=basis).color
    assert (image(8, basis=Cppn()).color, image(8, basis=FourierPhases()).color) == ("rgb", "caltech101")


def natural_amplitude(height, width):
    """Mean magnitude of every wave in Caltech-101, up to a factor, interpolated in frequency."""
    table = np.asarray(load_statistics("caltech101").spectrum, np.float64)
    vertical, horizontal = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    rows, columns = np.linspace(-0.5, 0.5, table.shape[1]), np.linspace(0, 0.5, table.shape[2])
    along = np.stack([[np.interp(horizontal, columns, row) for row in plane] for plane in table])
    flat = np.stack([[np.interp(vertical, rows, column) for column in plane.T] for plane in along]).swapaxes(1, 2)
    frequency = np.hypot(vertical[:, None], horizontal)
    frequency[0, 0] = np.inf
    return flat / frequency


@pytest.mark.parametrize("size", [(32, 32), (33, 20), (20, 33), (7, 7), (300, 40), (1, 6)], ids=size_id)
def test_maco_keeps_the_natural_magnitude_of_every_wave_whatever_the_phases(size):
    image = maco_image(size, batch=2, contrast=1.5)
    phases = some_params(image, sd=3)
    planes = np.asarray(image.basis.decode(phases, (2, *size, 3)), np.float64)
    assert planes.mean((1, 2)) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(planes.std((1, 2)), 1.5, rtol=1e-4)
    magnitude = np.abs(np.fft.rfft2(planes, axes=(1, 2)))
    expected = np.moveaxis(natural_amplitude(*size), 0, -1)
    ratio = np.linalg.norm(magnitude[0], axis=(0, 1)) / np.linalg.norm(expected, axis=(0, 1))
    np.testing.assert_allclose(magnitude, np.stack([expected * ratio] * 2), atol=1e-4 * magnitude.max())
    # The phases are those of the parameters, where a wave has a parameter of its own.
    spectrum = np.moveaxis(np.fft.rfft2(planes, axes=(1, 2)), -1, 1)[..., 1 : (size[1] + 1) // 2]
    turned = spectrum * np.exp(-1j * phases[..., 1 : (size[1] + 1) // 2])
    np.testing.assert_allclose(turned.imag, 0, atol=2e-4 * magnitude.max())
    assert (turned.real >= 0).all()


def renders_of_one_structure(*pictures):
    """Pictures after 3 steps, of images that must differ in nothing but arrays; checks that one compilation does."""
    traces, shown = [], []

    def see(x):
        traces.append(x.shape)
        return {"a": x}

    for picture in pictures:
        before = len(traces)
        shown.append(lj.visualize("a:1", model=see, image=picture, transform=None, steps=3, progress=False).image)
    assert len(traces) == before
    return shown


def test_maco_shows_the_statistics_it_is_given_and_other_ones_share_the_compilation():
    color = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    natural_ones, coarse = (
        maco_image(16, statistics=Statistics(color, np.stack([spectrum] * 3).astype(np.float32)))
        for spectrum in (np.ones((9, 5)), np.outer(np.eye(9)[4], np.eye(5)[0]))
    )
    first, second = renders_of_one_structure(natural_ones, coarse)
    roughness = [np.abs(np.diff(x, axis=0)).mean() / x.std() for x in (first, second)]
    assert roughness[1] < 0.7 * roughness[0]


def activation(x, name):
    a = np.arctan(x)
    match name:
        case "composite":
            return np.concatenate([a / 0.67, a**2 / 0.6], -1)
        case "unbiased":
            return np.concatenate([a / 0.67, (a**2 - 0.45) / 0.396], -1)
    return (np.maximum(x, 0) - 0.4) / 0.58


@pytest.mark.parametrize("normalize", [False, True], ids=["plain", "normalized"])
@pytest.mark.parametrize("name", ["composite", "unbiased", "relu"])
def test_cppn_is_its_formula_at_the_coordinates_of_every_pixel(name, normalize):
    image = cppn_image((5, 9), batch=2, layers=2, channels=4, activation=name, normalize=normalize)
    params = some_params(image)
    unit = np.sqrt(3) / 4
    x, y = np.meshgrid(unit * (np.arange(9) - 4), unit * (np.arange(5) - 2))
    assert np.ptp(x) == pytest.approx(2 * np.sqrt(3))
    for i, planes in enumerate(image.basis.decode(params, (2, 5, 9, 3))):
        out = np.stack([x, y], -1)
        for layer in params:
            out = out @ layer["kernel"][i].astype(np.float64) + layer["bias"][i]
            if normalize:
                out = (out - out.mean((0, 1))) / np.sqrt(out.var((0, 1)) + 1e-5)
            out = activation(out, name) if layer is not params[-1] else out
        np.testing.assert_allclose(planes, out, rtol=1e-4, atol=1e-4)


def test_the_first_activations_of_a_cppn_have_unit_scale_and_its_first_picture_is_one_gray():
    # Lucid's constants: means and deviations for normal inputs.
    x = np.random.default_rng(0).standard_normal((10**6, 1))
    np.testing.assert_allclose(np.sqrt((activation(x, "composite") ** 2).mean(0)), 1, atol=0.02)
    for name in ("unbiased", "relu"):
        np.testing.assert_allclose(activation(x, name).mean(0), 0, atol=0.01)
        np.testing.assert_allclose(activation(x, name).std(0), 1, atol=0.01)
    image = cppn_image(8, batch=2)
    first, second = decode(image, image.init(KEY))
    assert np.ptp(first, axis=(0, 1)) == pytest.approx(0, abs=1e-6)
    assert (first != second).any()
    torchlight = cppn_image(8, layers=7, normalize=True, bias_sd=0)
    np.testing.assert_array_equal(decode(torchlight, torchlight.init(KEY)), 0.5)


def test_a_cppn_can_be_painted_at_another_size():
    image = small_cppn(9)
    params = some_params(image)
    large = decode(dataclasses.replace(image, height=17, width=17), params)
    np.testing.assert_allclose(large[:, ::2, ::2], decode(image, params), atol=1e-5)


# Color and squash


@pytest.mark.parametrize("squash", SQUASHES)
def test_squashes_are_their_formulas_for_each_picture_by_itself(squash):
    image = pixel_image((4, 5), batch=3, color="rgb", squash=squash)
    t = some_params(image) * np.array([0.2, 1, 5], np.float32)[:, None, None, None]
    own = (1, 2, 3)
    expected = {
        "sigmoid": lambda: sigmoid(t),
        "clamp": lambda: np.clip(t + 0.5, 0, 1),
        "min_max": lambda: (t - t.min(own, keepdims=True)) / np.ptp(t, own, keepdims=True),
        "norm": lambda: (t / np.maximum(np.abs(t).max(own, keepdims=True), 1) + 1) / 2,
    }[squash]()
    np.testing.assert_allclose(decode(image, t), expected, atol=1e-6)
    alone = dataclasses.replace(image, batch=1)
    np.testing.assert_allclose(decode(alone, t[1:2]), expected[1:2], atol=1e-6)


def test_clamp_stops_only_what_would_push_a_value_further_out():
    x = jnp.array([-0.5, -0.5, 0.0, 0.5, 0.5, 1.0, 1.5, 1.5])
    g = jnp.array([-1.0, 2.0, -1.0, -1.0, 2.0, 2.0, -1.0, 2.0])
    value, pull = jax.vjp(ops.clamp, x)
    np.testing.assert_array_equal(value, [0, 0, 0, 0.5, 0.5, 1, 1, 1])
    np.testing.assert_array_equal(pull(g)[0], [0, 2, -1, -1, 2, 2, -1, 0])


def test_a_saturated_pixel_comes_back_when_the_objective_wants_it_to():
    image = pixel_image(2, color="rgb", squash="clamp")
    goal = lj.objective(lambda a: -((a["input"] - 0.7) ** 2).sum())
    start = np.full((2, 2, 3), [0, 1, 0.2])
    made = lj.visualize(
        goal, model=lambda x: {"a": x}, image=image, start=start, transform=None, steps=200, progress=False
    )
    np.testing.assert_allclose(made.image, 0.7, atol=0.02)


def test_a_picture_without_any_contrast_survives_min_max():
    image = pixel_image(3, squash="min_max")
    pictures, pull = jax.vjp(image.decode, jnp.zeros((1, 3, 3, 3)))
    np.testing.assert_array_equal(pictures, 0)
    assert np.isfinite(pull(pictures + 1)[0]).all()


def test_a_matrix_of_ones_color_is_used_as_it_is():
    matrix = [[1, 0.5], [0.25, -1], [0, 2]]
    image = pixel_image((2, 3), color=matrix, squash="norm")
    params = 0.1 * some_params(image)
    assert params.shape == (1, 2, 3, 2)
    np.testing.assert_allclose(decode(image, params), (params @ np.array(matrix).T + 1) / 2, atol=1e-6)
    assert image == pixel_image((2, 3), color=np.array(matrix), squash="norm")


def test_opacity_is_the_sigmoid_of_the_last_plane_and_leaves_the_colors_alone():
    image, opaque = pixel_image((4, 5), alpha=True), pixel_image((4, 5))
    params = some_params(image)
    pictures = decode(image, params)
    np.testing.assert_allclose(pictures[..., 3], sigmoid(params[..., 3]), atol=1e-6)
    np.testing.assert_allclose(pictures[..., :3], decode(opaque, params[..., :3]), rtol=0, atol=2e-7)


# Starting from a picture


@pytest.mark.parametrize("factory", WITH_SD)
@settings(max_examples=5, deadline=None, derandomize=True, database=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    color=st.sampled_from(["lucid", "caltech101", "rgb"]),
    squash=st.sampled_from(SQUASHES),
    alpha=st.booleans(),
    seed=st.integers(0, 99),
)
def test_encode_is_the_inverse_of_decode_to_one_gray_level(factory, height, width, color, squash, alpha, seed):
    image = factory((height, width), batch=2, color=color, squash=squash, alpha=alpha)
    levels = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3 + alpha))
    levels[:, 0, 0, :2] = 0, 255  # black and white, without which min_max cannot show a picture
    levels[1, :, 0] = [255] * 3 + [0] * alpha
    levels[1, 0, 0, 0] = 0
    pictures = (levels / 255).astype(np.float32)
    again = np.asarray(jax.jit(lambda pictures: image.decode(image.encode(pictures)))(pictures))
    assert np.abs(again * 255 - levels).max() <= 1
    assert (np.round(again * 255) == levels).all()


def test_a_render_of_no_steps_shows_the_picture_or_the_file_it_starts_from(dog_cat):
    picture = load_picture(dog_cat, (40, 60))
    settings = {"model": lambda x: {"a": x[..., :3]}, "transform": lambda key, x: x[..., :3]}
    for made, start in (
        (fourier_image((40, 60), batch=2), picture),
        (shared_image((40, 60)), picture),
        (laplacian_image((40, 60), alpha=True), dog_cat),
        (pixel_image((40, 60), squash="clamp"), str(dog_cat)),
    ):
        result = lj.visualize("a:0", **settings, image=made, start=start, steps=0, progress=False)
        assert np.abs(result.images[..., :3] - picture).max() <= 1 / 255
        if made.alpha:
            np.testing.assert_array_equal(np.round(255 * result.images[..., 3]), 255)


@pytest.mark.parametrize(
    ("image", "start", "match"),
    [
        (
            pixel_image(8),
            np.zeros((8, 9, 3)),
            r"must be 8x8 pixels like the image, got 8x9: load_picture\(file, size=\(8, 8\)\)",
        ),
        (pixel_image(8), np.zeros((8, 8)), r"must be \[H, W, 3\] or \[N, H, W, 3\], got \[8, 8\]"),
        (pixel_image(8), np.zeros((2, 8, 8, 3)), "must be 1 picture or 1 like the image, got 2"),
        (pixel_image(8), np.full((8, 8, 3), 1.01), r"values in \[0, 1\]"),
        (pixel_image(8), np.full((8, 8, 3), np.nan), r"values in \[0, 1\]"),
        (pixel_image(8), np.zeros((8, 8, 3), np.uint8), "divide those of files by 255"),
        (pixel_image(8), np.zeros((8, 8, 4)), "use alpha=True"),
        (pixel_image(8, color="gray"), np.eye(3)[np.zeros((8, 8), int)], "a gray image has no colors"),
        (image(8, channels=1), np.eye(3)[np.zeros((8, 8), int)], r"has one channel: load_picture\(file, gray=True\)"),
        (image(8, channels=5), np.zeros((8, 8, 3)), r"must be \[H, W, 5\] or \[N, H, W, 5\], got \[8, 8, 3\]"),
        (pixel_image(8, squash="min_max"), np.full((8, 8, 3), 0.5), "min_max always reaches black and white"),
        (maco_image(8), np.zeros((8, 8, 3)), "FourierPhases cannot start from a picture"),
        (cppn_image(8), np.zeros((8, 8, 3)), "Cppn cannot start from a picture"),
        (image(8, basis=Shared(FourierPhases())), np.zeros((8, 8, 3)), "FourierPhases cannot start from a picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pictures_that_an_image_cannot_start_from_are_refused_before_anything_is_compiled(image, start, match):
    with pytest.raises(ValueError, match=match):
        lj.visualize("a:0", model=lambda x: {"a": x}, image=image, start=start, transform=None, progress=False)


# Other numbers of channels


CHANNELS = {
    image(6, channels=1): (1, 6, 6, 1),
    image(6, color="grey", channels=1, batch=2): (2, 6, 6, 1),
    image((1, 9), channels=5): (1, 1, 9, 5),
    image((1, 9), channels=2, basis=Laplacian()): (1, 1, 9, 2),
    image((1, 9), channels=5, basis=Cppn(layers=1), squash="min_max"): (1, 1, 9, 5),
    image((9, 1), channels=7, basis=FourierPhases()): (1, 9, 1, 7),
    image(6, channels=2, color=((1, 0), (0.5, 2)), basis=Pixels()): (1, 6, 6, 2),
}


def test_an_image_has_as_many_channels_as_asked():
    draw = np.random.default_rng(0)
    given = [draw.uniform(0.1, 0.9, shape).astype(np.float32) for shape in CHANNELS.values()]
    invertible = [one for one in CHANNELS if hasattr(one.basis, "encode")]

    @jax.jit
    def run(key):
        made = [one.decode(one.init(key)) for one in CHANNELS]
        return made, [one.decode(one.encode(x)) for one, x in zip(CHANNELS, given, strict=True) if one in invertible]

    made, again = run(jax.random.key(0))
    assert [pictures.shape for pictures in made] == list(CHANNELS.values())
    assert all(((pictures >= 0) & (pictures <= 1)).all() for pictures in made)
    expected = [x for one, x in zip(CHANNELS, given, strict=True) if one in invertible]
    for x, y in zip(expected, again, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-3)


def test_bands_are_planes_and_gray_is_one_of_them():
    planes = np.random.default_rng(0).normal(size=(1, 4, 4, 6)).astype(np.float32)
    bands = image(4, channels=6, basis=Pixels())
    np.testing.assert_allclose(bands.decode(planes), jax.nn.sigmoid(planes), rtol=1e-6)
    assert image(4, color="grey") == image(4, color="gray")
    assert image(4, channels=1) == image(4, color="gray", channels=1)
    one, three = image(4, channels=1, basis=Pixels()), image(4, color="gray", basis=Pixels())
    assert (np.asarray(one.decode(planes[..., :1])) == np.asarray(three.decode(planes[..., :1]))).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 4}, "channels must not be 4, which stands for colors and opacity: use channels=5"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"channels": 2, "alpha": True}, "alpha must be False for an image of 2 channels"),
        ({"channels": 5, "color": "lucid"}, "'lucid' has 3 channels: use 'gray' or 'bands' for an image of 5"),
        ({"channels": 5, "color": np.eye(3)}, r"a matrix \[5, planes\] of finite numbers with 1 to 5 planes"),
        ({"size": (8, 8, 8)}, "volumes are not supported"),
    ],
)
def test_channels_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        image(**{"size": 8} | settings)


# In a render


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tinted:
    """A user's own image, with an array."""

    tint: jax.Array
    image: NaturalImage

    def init(self, key):
        return self.image.init(key)

    def decode(self, params):
        return self.image.decode(params) * self.tint


def test_arrays_of_an_image_are_data():
    tints = jnp.array([[1.0, 0.5, 0.0], [0.0, 0.3, 1.0]])
    for tint, picture in zip(tints, renders_of_one_structure(*(Tinted(t, pixel_image(8)) for t in tints)), strict=True):
        assert (picture <= tint).all()
        np.testing.assert_array_equal(picture.max((0, 1)) > 0, tint > 0)


def test_a_network_never_sees_opacity_and_objectives_do():
    image = pixel_image(8, alpha=True)
    seen = []

    def see(pictures):
        seen.append(pictures.shape)
        return {"a": pictures}

    with pytest.raises(ValueError, match=r"add lj\.transforms\.CollapseAlpha"):
        lj.visualize("a:0", model=see, image=image, transform=None, progress=False)
    assert not seen

    def over_black(key, pictures):
        return pictures[..., :3] * pictures[..., 3:]

    goal = lj.objective(lambda a: a["a"].mean() + a["input"][..., 3].mean())
    result = lj.visualize(goal, model=see, image=image, transform=over_black, steps=20, progress=False)
    assert set(seen) == {(1, 8, 8, 3)}
    assert result.images.shape == (1, 8, 8, 4)
    assert result.image[..., 3].mean() > 0.6


RENDERS = {
    "fourier": (fourier_image(64), {}),
    "maco": (maco_image(64), {}),
    "cppn": (cppn_image(64), {"optimizer": 0.005, "steps": 48}),
    "alpha": (fourier_image(64, alpha=True), {"transform": lambda key, x: x[..., :3] * x[..., 3:]}),
}


def patches(images):
    """A small network: the contrast of neighboring pixels."""
    return {"edges": jnp.abs(images[:, 1:, 1:] - images[:, :-1, :-1])}


@pytest.mark.slow
@pytest.mark.parametrize(
    "picture",
    [
        pixel_image(24),
        laplacian_image(24),
        shared_image(24),
        cppn_image(24, layers=7, normalize=True, bias_sd=0),
        *(fourier_image(24, squash=squash) for squash in SQUASHES[1:]),
        fourier_image(24, color="gray"),
        fourier_image(24, color="caltech101"),
    ],
    ids=str,
)
def test_an_objective_rises_in_every_parameterization(picture):
    result = lj.visualize("edges", model=patches, image=picture, steps=40, progress=False, optimizer=0.02)
    assert result.values[-3:].mean() > 1.2 * result.values[:3].mean() + 0.005


@pytest.mark.slow
@pytest.mark.parametrize("name", RENDERS)
def test_a_channel_of_the_real_googlenet_rises(googlenet, name):
    image, settings = RENDERS[name]
    result = lj.visualize("mixed3b:100", model=googlenet, image=image, progress=False, **{"steps": 24, **settings})
    assert result.values[-3:].mean() > 20 + 1.5 * result.values[:3].mean()
