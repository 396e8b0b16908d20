"""Pictures in and out of files."""

import io

import numpy as np
import pytest
from PIL import Image

from lightjax.pictures import encode, find_pictures, load_picture, read_settings, sheet, to_bytes

LEVELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def test_load_picture_reads_the_pixels_of_a_file(tmp_path):
    Image.fromarray(LEVELS).save(tmp_path / "x.png")
    picture = load_picture(tmp_path / "x.png")
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture, LEVELS / 255, atol=1e-7)


def test_load_picture_is_upright_and_in_color(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: the picture is shown turned clockwise
    Image.fromarray(LEVELS).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_allclose(load_picture(tmp_path / "x.png") * 255, np.rot90(LEVELS, -1), atol=1e-4)
    Image.fromarray(LEVELS[..., 0]).save(tmp_path / "gray.png")
    np.testing.assert_allclose(load_picture(tmp_path / "gray.png")[..., 2] * 255, LEVELS[..., 0], atol=1e-4)


def test_load_picture_shows_transparent_parts_over_white(tmp_path):
    opacity = np.full((6, 8, 1), 255, np.uint8)
    opacity[:, 4:] = 0
    Image.fromarray(np.concatenate([LEVELS, opacity], -1)).save(tmp_path / "x.png")
    picture = load_picture(tmp_path / "x.png")
    np.testing.assert_allclose(picture[:, :4] * 255, LEVELS[:, :4], atol=1e-4)
    np.testing.assert_array_equal(picture[:, 4:], 1)


@pytest.mark.parametrize(("size", "shape"), [(50, (50, 50)), ((30, 90), (30, 90)), ((90, 30), (90, 30))])
def test_load_picture_scales_alike_in_both_directions_and_cuts_out_the_middle(tmp_path, size, shape):
    height, width = 120, 200
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([y / (height - 1), x / (width - 1), 0 * x], -1)
    Image.fromarray(np.round(255 * ramps).astype(np.uint8)).save(tmp_path / "x.png")
    picture = load_picture(tmp_path / "x.png", size)
    assert picture.shape == (*shape, 3)
    np.testing.assert_allclose(picture[..., :2].mean((0, 1)), 0.5, atol=0.02)
    scale = max(shape[0] / height, shape[1] / width)
    down, right = (picture[1:-1, :, 0].mean(1), picture[:, 1:-1, 1].mean(0))
    assert np.diff(down).mean() * (height - 1) * scale == pytest.approx(1, abs=0.05)
    assert np.diff(right).mean() * (width - 1) * scale == pytest.approx(1, abs=0.05)


def test_load_picture_refuses_what_it_cannot_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_picture(tmp_path / "x.png")
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(LEVELS.repeat(20, 0).repeat(20, 1)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    for name in ("text.png", "cut.png"):
        with pytest.raises(ValueError, match=f"{name} is not a readable picture"):
            load_picture(tmp_path / name)
    Image.fromarray(LEVELS).save(tmp_path / "x.png")
    for size, wrong in ((0, 0), ((3, -1), -1)):
        with pytest.raises(ValueError, match=f"size must be at least 1, got {wrong}"):
            load_picture(tmp_path / "x.png", size)
    for size in (1.5, "big", (3, 4.5)):
        with pytest.raises(TypeError, match="size must be a whole number"):
            load_picture(tmp_path / "x.png", size)
    with pytest.raises(ValueError, match=r"size must be one number of pixels or a pair \(height, width\)"):
        load_picture(tmp_path / "x.png", (3, 4, 5))


def test_settings_are_not_read_where_no_file_can_be_opened(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png is not a readable picture"):
        read_settings(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError):
        read_settings(tmp_path / "x.png")
    with pytest.raises(IsADirectoryError):
        read_settings(tmp_path)


def test_png_and_webp_keep_opacity_and_jpeg_shows_it_over_white():
    picture = np.ones((16, 16, 4), np.float32) * [0.8, 0.2, 0.2, 0.5]

    def read(format):
        return np.asarray(Image.open(io.BytesIO(encode(picture, format))))

    np.testing.assert_array_equal(read("PNG"), np.round(255 * picture))
    assert read("WEBP").shape == (16, 16, 4)
    np.testing.assert_allclose(read("JPEG") / 255, picture[..., :3] / 2 + 0.5, atol=0.02)


def test_a_sheet_of_transparent_pictures_is_transparent():
    pictures = np.random.default_rng(0).random((3, 4, 5, 4), np.float32)
    whole = sheet(pictures, columns=3, gap=2)
    assert whole.shape == (4, 19, 4)
    np.testing.assert_array_equal(whole[:, 7:12], pictures[1])


@pytest.mark.parametrize("arguments", [{"columns": 0}, {"gap": -1}])
def test_a_sheet_refuses_settings_out_of_range(arguments):
    with pytest.raises(ValueError, match=r"(columns|gap) must be at least [01], got"):
        sheet(np.ones((2, 4, 5, 3), np.float32), **arguments)


@pytest.mark.parametrize("shape", [(4, 5, 3), (0, 4, 5, 3), (2, 4, 5, 2)])
def test_a_sheet_refuses_arrays_that_are_not_pictures(shape):
    with pytest.raises(ValueError, match=r"must be \[N, H, W, 1, 3 or 4\], got|of 2 channels cannot be shown"):
        sheet(np.ones(shape, np.float32))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (1, 4, 5, 3)])
def test_arrays_of_other_shapes_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"a picture must be \[H, W, 3\], .* got|of 2 channels cannot be shown, \[4, 5, 2\]"
    ):
        to_bytes(np.zeros(shape))


def test_the_pictures_of_a_folder_are_found_in_order_without_hidden_ones(tmp_path):
    for name in ("b.png", "a/c.JPG", "a/.hidden.png", ".cache/d.png", "e.txt", "f.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert find_pictures(tmp_path) == [tmp_path / name for name in ("a/c.JPG", "b.png", "f.webp")]
    with pytest.raises(ValueError, match="there are no pictures"):
        find_pictures(tmp_path / "folder.png")
    with pytest.raises(NotADirectoryError, match="there is no folder"):
        find_pictures(tmp_path / "nowhere")


GRAYS = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)


@pytest.mark.parametrize("name", ["x.png", "x.tiff", "x.pgm"])
def test_grays_of_16_bits_are_scaled_by_their_depth(name, tmp_path):
    Image.fromarray(GRAYS).save(tmp_path / name)
    picture = load_picture(tmp_path / name)
    np.testing.assert_allclose(picture, np.repeat(GRAYS[..., None] / 65535, 3, axis=-1), atol=1e-6)
    fitted = load_picture(tmp_path / name, (8, 12))
    assert fitted.shape == (8, 12, 3)
    assert 0.15 < fitted.min() < 0.2 < 0.8 < fitted.max() < 0.85  # the rows in the middle


def test_grays_in_floating_point_are_taken_as_they_are_and_need_a_known_scale(tmp_path):
    grays = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    Image.fromarray(grays).save(tmp_path / "x.tiff")
    np.testing.assert_array_equal(load_picture(tmp_path / "x.tiff")[..., 1], grays)
    for wrong, found in ((grays * 255, "0 to 255"), (grays - 0.5, "-0.5 to 0.5"), (grays * np.nan, "nan")):
        Image.fromarray(wrong).save(tmp_path / "y.tiff")
        with pytest.raises(ValueError, match=f"must have floats from 0 to 1, but has values from {found}"):
            load_picture(tmp_path / "y.tiff")
    Image.fromarray(np.full((2, 2), 70000, np.int32)).save(tmp_path / "z.tiff")
    with pytest.raises(ValueError, match="16-bit grays from 0 to 65535, but has values from 70000 to 70000"):
        load_picture(tmp_path / "z.tiff")


@pytest.mark.parametrize(
    ("mode", "ending"), [("1", "png"), ("LA", "png"), ("P", "png"), ("CMYK", "jpg"), ("YCbCr", "jpg")]
)
def test_other_modes_show_what_their_conversion_to_rgb_shows(mode, ending, tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    picture = Image.fromarray(random).convert("L" if mode in ("1", "LA") else "RGB").convert(mode)
    picture.save(tmp_path / f"x.{ending}")
    with Image.open(tmp_path / f"x.{ending}") as opened:
        expected = np.asarray(opened.convert("RGB")) / 255
    np.testing.assert_allclose(load_picture(tmp_path / f"x.{ending}"), expected, atol=1e-6)


RED_OR_BLACK = [0, 0, 0, 255, 0, 0]


@pytest.mark.parametrize(
    ("mode", "pixel", "shown"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 51, (51, 51, 51)),
        ("LA", (100, 51), (224, 224, 224)),  # a fifth of 100 and four fifths of white
        ("La", (20, 51), (224, 224, 224)),  # the same, multiplied by the opacity
        ("RGBa", (51, 0, 0, 51), (255, 204, 204)),
        ("P", 1, (255, 0, 0)),
        ("PA", (1, 51), (255, 204, 204)),
        ("HSV", (85, 255, 51), (0, 51, 0)),  # a third of the circle is green
        ("LAB", (138, 209, 198), (255, 0, 0)),
        ("YCbCr", (76, 85, 255), (255, 0, 0)),
        ("CMYK", (0, 255, 255, 51), (204, 0, 0)),
        ("I", 13107, (51, 51, 51)),  # 65535 / 5
        ("I;16", 13107, (51, 51, 51)),
        ("I;16B", 13107, (51, 51, 51)),
        ("F", 0.2, (51, 51, 51)),
    ],
)
def test_every_mode_shows_the_right_color(mode, pixel, shown, monkeypatch):
    picture = Image.new(mode, (2, 2), pixel)
    if mode in ("P", "PA"):
        picture.putpalette(RED_OR_BLACK)
    monkeypatch.setattr(Image, "open", lambda path: picture)
    np.testing.assert_allclose(load_picture("x")[1, 1] * 255, shown, atol=6 if mode in ("LAB", "YCbCr") else 0.01)
    gray = np.dot(shown, [0.299, 0.587, 0.114])
    np.testing.assert_allclose(load_picture("x", gray=True) * 255, np.full((2, 2, 1), gray), atol=3)


def test_pictures_of_one_channel_are_gray_in_files(tmp_path):
    pictures = LEVELS[None, ..., :1] / np.float32(255)
    np.testing.assert_array_equal(sheet(pictures), pictures[0])
    for format, mode in (("PNG", "L"), ("JPEG", "L"), ("WEBP", "RGB")):
        with Image.open(io.BytesIO(encode(pictures[0], format))) as opened:
            assert opened.mode == mode
    (tmp_path / "x.png").write_bytes(encode(pictures[0]))
    np.testing.assert_allclose(load_picture(tmp_path / "x.png", gray=True), pictures[0], atol=1e-6)


def test_a_picture_that_is_cut_short_or_too_large_says_so(tmp_path, monkeypatch):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "x.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"cut\.jpg is not a readable picture: it is cut short"):
        load_picture(tmp_path / "cut.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"x\.jpg has too many pixels to be opened safely"):
        load_picture(tmp_path / "x.jpg")
