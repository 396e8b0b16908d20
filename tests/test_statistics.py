"""Colors and spectra of folders of pictures: against pictures whose statistics are known."""

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from lightjax import cli, images
from lightjax.images import load_statistics, statistics
from lightjax.pictures import find_pictures

SIZE = 32


def save(folder, pictures):
    for i, picture in enumerate(pictures):
        Image.fromarray(np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)).save(folder / f"{i:03}.png")
    return find_pictures(folder)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Pictures of white noise in correlated colors, and the covariance of these."""
    random = np.random.default_rng(0)
    root = 0.12 * images.COLOR_CORRELATION
    pictures = 0.5 + random.standard_normal((40, SIZE, SIZE, 3)) @ root.T
    return save(tmp_path_factory.mktemp("noise"), pictures), root @ root.T


def test_colors_are_a_square_root_of_the_covariance(noise):
    pictures, covariance = noise
    color = np.array(statistics.measure(pictures, SIZE).color)
    product = color @ color.T
    np.testing.assert_allclose(product / np.trace(product), covariance / np.trace(covariance), atol=0.01)
    assert np.linalg.norm(color, axis=0).max() == pytest.approx(1, abs=1e-6)
    columns = color.T @ color
    np.testing.assert_allclose(columns - np.diag(np.diag(columns)), 0, atol=1e-6)
    assert (color[0] > 0).all()


def test_white_noise_has_all_waves_in_equal_measure_in_every_decorrelated_color(noise):
    amplitude = np.asarray(statistics.measure(noise[0], SIZE).amplitude(SIZE, SIZE))
    assert (amplitude[:, 0, 0] == 0).all()
    # Below two waves to the picture, the window takes part of them away.
    high = amplitude[:, np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)) > 2.5 / SIZE]
    np.testing.assert_allclose(high, high.mean(), rtol=0.45)
    np.testing.assert_allclose(high.mean(axis=1), high.mean(), rtol=0.03)


@pytest.mark.parametrize(("row", "column"), [(0, 5), (7, 0), (3, 9), (-3, 9)])
def test_one_wave_lies_at_its_frequency_at_every_size_of_picture(tmp_path, row, column):
    place = np.arange(SIZE)
    wave = np.cos(2 * np.pi * (row * place[:, None] + column * place) / SIZE)
    faint = 0.02 * np.random.default_rng(0).standard_normal((SIZE, SIZE, 3))
    measured = statistics.measure(save(tmp_path, [0.5 + 0.4 * wave[..., None] + faint]), SIZE)
    for height, width in ((SIZE, SIZE), (3 * SIZE, 2 * SIZE)):
        brightness = np.asarray(measured.amplitude(height, width))[0]
        found = np.unravel_index(brightness.argmax(), brightness.shape)
        expected = (row * height // SIZE % height, column * width // SIZE)
        # In the first column a wave and its conjugate are one and the same.
        assert found in (expected, (-expected[0] % height, 0 if column == 0 else -1))


def test_a_file_gives_back_what_was_written(noise, tmp_path):
    measured = statistics.measure(noise[0], SIZE)
    statistics.write(tmp_path / "x.safetensors", measured, {"credit": "nobody"})
    again = load_statistics(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(again.spectrum, measured.spectrum)
    np.testing.assert_allclose(again.color, measured.color, atol=1e-6)
    assert images.image(8, basis=images.FourierPhases(tmp_path / "x.safetensors")).color == again.color


def test_a_file_with_the_older_spelling_of_color_is_read(noise, tmp_path):
    statistics.write(tmp_path / "new.safetensors", statistics.measure(noise[0], SIZE))
    tensors = safetensors.numpy.load_file(tmp_path / "new.safetensors")
    assert sorted(tensors) == ["color", "spectrum"]
    old = {"colour": tensors["color"], "spectrum": tensors["spectrum"]}
    safetensors.numpy.save_file(old, tmp_path / "old.safetensors")
    assert load_statistics(tmp_path / "old.safetensors").color == load_statistics(tmp_path / "new.safetensors").color


def test_the_statistics_that_come_with_lightjax_are_natural():
    shipped = load_statistics("caltech101")
    # Those of Caltech-101 and of ImageNet agree to a few hundredths.
    np.testing.assert_allclose(shipped.color, images.COLOR_CORRELATION, atol=0.03)
    frequency = np.fft.rfftfreq(256)[4:64]
    brightness = np.asarray(shipped.amplitude(256, 256))[0, 0, 4:64]
    slope = np.polyfit(np.log(frequency), np.log(brightness), 1)[0]
    assert -1.4 < slope < -0.9  # magnitudes of natural pictures fall about as 1 / frequency
    assert repr(shipped) == "Statistics(spectrum=<3x129x65>)"


def test_the_command_measures_a_folder(noise, tmp_path, capsys):
    folder, output = noise[0][0].parent, tmp_path / "x.safetensors"
    with pytest.raises(SystemExit) as end:
        cli.main(["statistics", str(folder), "-o", str(output), "--size", str(SIZE), "--credit", "made up"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{output}: 40 pictures\n"
    expected = statistics.measure(noise[0], SIZE)
    np.testing.assert_array_equal(load_statistics(output).spectrum, expected.spectrum)


def test_what_cannot_be_measured_is_refused(noise, tmp_path):
    with pytest.raises(ValueError, match="at least one picture"):
        statistics.measure([])
    for size, error in ((7, ValueError), (9, ValueError), (6, ValueError), (True, TypeError), (16.0, TypeError)):
        with pytest.raises(error, match=r"size must be (an even|at least 8|a whole)"):
            statistics.measure(noise[0], size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="are they all gray"):
        statistics.measure(save(tmp_path, [np.full((SIZE, SIZE, 3), np.linspace(0, 1, SIZE)[:, None])]), SIZE)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"bad\.jpg is not a readable picture"):
        statistics.measure(find_pictures(tmp_path), SIZE)
    with pytest.raises(ValueError, match="is not a file of statistics"):
        load_statistics(tmp_path / "bad.jpg")
