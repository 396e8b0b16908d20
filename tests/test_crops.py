"""Pictures of a data set that excite channels most, against plain searches with NumPy."""

import collections
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightjax import _files, labels
from lightjax.analysis import crops, measure
from lightjax.analysis import folder as photographs
from lightjax.networks.inception import Layer

SIZE, PATCH = 24, 4


class Patches:
    """The mean red, green and blue of each patch, and of the whole picture."""

    layers = (Layer("patch", 3, PATCH, 10), Layer("whole", 3, None, None), Layer("wide", 3, PATCH, 10 * SIZE))

    def __init__(self):
        self.traces = 0

    def __call__(self, images):
        self.traces += 1
        n, height, width, _ = images.shape
        patches = images.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, 3).mean(axis=(2, 4))
        return {"patch": patches, "whole": images.mean(axis=(1, 2)), "wide": patches}


def look(folder: Path, channels, model=None, output: str = "examples", **options):
    output = folder.parent / "gallery" / output
    return crops.find(model or Patches(), folder, channels, output, size=SIZE, progress=False, **options)


def crop(folder: Path, example: dict) -> np.ndarray:
    with Image.open(folder.parent / "gallery" / example["file"]) as picture:
        return np.asarray(picture)


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Forty pictures of noise, some in a folder within."""
    draw = np.random.default_rng(0)
    for i in range(40):
        picture = draw.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        save(tmp_path / "photos" / ("inner" if i % 3 else ".") / f"{i:02d}.png", picture)
    return tmp_path / "photos"


def plain(folder: Path) -> dict[str, np.ndarray]:
    """The mean of each patch of each picture, by its path."""
    means = {}
    for path in folder.rglob("*.png"):
        picture = np.asarray(Image.open(path), np.float64) / 255
        patches = picture.reshape(SIZE // PATCH, PATCH, SIZE // PATCH, PATCH, 3).mean(axis=(1, 3))
        means[path.relative_to(folder).as_posix()] = patches
    return means


@pytest.mark.parametrize("count", [1, 6])
def test_finds_what_a_plain_search_finds(folder, count):
    means = plain(folder)
    found = look(folder, {"patch": [2, 0], "whole": [1]}, count=count)
    assert list(found) == [("patch", 2), ("patch", 0), ("whole", 1)]
    for (layer, channel), given_examples in found.items():
        measure = np.max if layer == "patch" else np.mean
        values = {source: measure(patches[..., channel]) for source, patches in means.items()}
        expected = sorted(values, key=lambda source: -values[source])[:count]
        assert [example["source"] for example in given_examples] == expected
        np.testing.assert_allclose([e["value"] for e in given_examples], [values[s] for s in expected], rtol=1e-5)


def test_the_size_of_a_batch_changes_nothing_and_one_compilation_does_for_all(folder, monkeypatch):
    reference = look(folder, {"patch": [0, 1]}, output="a")
    monkeypatch.setattr(photographs, "BATCH", 7)
    model = Patches()
    again = look(folder, {"patch": [0, 1]}, model, output="b")
    assert model.traces == 2  # for the shapes, and for the compilation
    for key, given_examples in reference.items():
        assert [e["source"] for e in given_examples] == [e["source"] for e in again[key]]
        for one, other in zip(given_examples, again[key], strict=True):
            np.testing.assert_array_equal(crop(folder, one), crop(folder, other))


def test_a_crop_is_the_receptive_field_around_the_patch_and_stays_in_the_picture(tmp_path):
    folder = tmp_path / "photos"
    places = [(0, 0), (2, 3), (5, 5), (0, 4)]
    for i, (row, column) in enumerate(places):
        picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        picture[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = 255 - i
        save(folder / f"{i}.png", picture)
    for example, (row, column) in zip(look(folder, {"patch": [1]})["patch", 1], places, strict=True):
        shown = crop(folder, example)
        assert shown.shape == (10, 10, 3)
        bright = np.argwhere(shown[..., 0] > 200)
        assert len(bright) == PATCH**2
        for found, position in zip(bright.min(axis=0), (row, column), strict=True):
            start = min(max(position * PATCH + PATCH // 2 - 5, 0), SIZE - 10)
            assert found == position * PATCH - start


@pytest.mark.parametrize("layer", ["wide", "whole"])
def test_where_the_field_is_larger_than_the_picture_all_of_it_is_shown(folder, layer):
    assert crop(folder, look(folder, {layer: [0]})[layer, 0][0]).shape == (SIZE, SIZE, 3)


def test_a_model_without_a_table_of_layers_shows_whole_pictures(folder):
    model = Patches()
    found = look(folder, {"patch": [0]}, lambda images: model(images))
    assert crop(folder, found["patch", 0][0]).shape == (SIZE, SIZE, 3)


class Tokens:
    """A network of one size and one channel, whose activations are tokens, in a tuple."""

    layers = (Layer("token/0", 2, PATCH, 10),)

    def __call__(self, images):
        patches = images.reshape(len(images), SIZE // PATCH, PATCH, SIZE // PATCH, PATCH).mean(axis=(2, 4))
        tokens = patches.reshape(len(images), -1, 1)
        return {"token": (jnp.concatenate([tokens, -tokens], axis=-1), None), "dense": patches @ jnp.ones((6, 1))}


def test_a_network_of_one_channel_and_size_sees_grays_and_its_tokens_show_whole_pictures(folder):
    assert photographs.input_of(Tokens(), SIZE)[:2] == (SIZE, 1)
    found = look(folder, {"token/0": [0, 1]}, Tokens())
    assert crop(folder, found["token/0", 0][0]).shape == (SIZE, SIZE, 3)
    grays = {file: np.asarray(Image.open(file)) @ [0.299, 0.587, 0.114] / 255 for file in folder.rglob("*.png")}
    brightest = {file: x.reshape(6, PATCH, 6, PATCH).mean(axis=(1, 3)).max() for file, x in grays.items()}
    best = max(brightest, key=lambda file: brightest[file])
    assert found["token/0", 0][0]["source"] == best.relative_to(folder).as_posix()
    assert found["token/0", 0][0]["value"] == pytest.approx(brightest[best], abs=1e-5)
    with pytest.raises(ValueError, match=r"photographs of 224x224 or 30x30 pixels .* but the model fails for them \("):
        photographs.input_of(Tokens(), 30)


@given(st.integers(1, 60), st.integers(1, 300), st.data())
def test_a_window_is_as_large_as_asked_and_holds_the_centre_of_its_position(positions, size, data):
    position, side = data.draw(st.integers(0, positions - 1)), data.draw(st.integers(1, size))
    window = measure.span(position, positions, side, size)
    assert window.start >= 0
    assert window.stop - window.start == side
    assert window.stop <= size
    assert window.start - 0.5 <= (position + 0.5) * size / positions <= window.stop + 0.5


def test_among_equals_the_first_path_comes_first_and_a_small_folder_gives_fewer(tmp_path):
    for name in ("b.png", "a.png", "c/a.png"):
        save(tmp_path / "photos" / name, np.full((SIZE, SIZE, 3), 128, np.uint8))
    found = look(tmp_path / "photos", {"patch": [0]})["patch", 0]
    assert [example["source"] for example in found] == ["a.png", "b.png", "c/a.png"]


def test_pictures_of_any_kind_and_shape_are_seen_upright_in_their_middle(tmp_path):
    folder = tmp_path / "photos"
    wide = np.zeros((SIZE, 3 * SIZE), np.uint8)
    wide[:, SIZE : 2 * SIZE] = 200
    folder.mkdir()
    Image.fromarray(wide).save(folder / "gray.webp", lossless=True)
    Image.fromarray(np.zeros((50, 40, 4), np.uint8)).save(folder / "clear.png")
    turned = np.zeros((SIZE, SIZE, 3), np.uint8)
    turned[:PATCH] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(turned).save(folder / "TURNED.JPG", exif=exif, quality=100)
    first, white, second = look(folder, {"patch": [0]})["patch", 0]
    assert [first["source"], white["source"], second["source"]] == ["TURNED.JPG", "clear.png", "gray.webp"]
    assert white["value"] == 1  # what is transparent lies over white
    assert crop(folder, first)[-PATCH:].mean() > 250 > 5 > crop(folder, first)[:PATCH].mean()
    assert second["value"] == pytest.approx(200 / 255, abs=0.01)


def test_the_same_folder_gives_the_same_bytes_and_no_example_comes_from_the_output(folder):
    runs = []
    for _ in range(2):
        output = folder / "gallery" / "examples"
        found = crops.find(Patches(), folder, {"patch": [0, 1, 2]}, output, size=SIZE, progress=False)
        runs.append((found, {path.name: path.read_bytes() for path in output.iterdir()}))
    assert runs[0] == runs[1]
    named = [Path(example["file"]).name for given_examples in found.values() for example in given_examples]
    assert sorted(runs[0][1]) == sorted(named)


@pytest.mark.parametrize("layer", ["../up", "..", "a/b", '"><img onerror=alert(1)>'])
def test_whatever_a_layer_is_called_its_crops_stay_in_the_output(folder, layer):
    model = Patches()
    found = look(folder, {layer: [0]}, lambda images: {layer: model(images)["patch"]}, count=1)
    inside = [path.name for path in (folder.parent / "gallery" / "examples").iterdir()]
    assert inside == [Path(found[layer, 0][0]["file"]).name]


# What goes wrong


def test_files_that_are_no_pictures_are_skipped_and_named(folder):
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "inner" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "notes.txt").write_text("no picture either")
    expected = {k: [e["value"] for e in v] for k, v in _without(folder, "broken.png", "inner/cut.jpg").items()}
    with pytest.warns(UserWarning, match=r"cannot be read as a picture: broken\.png, inner/cut\.jpg$"):
        found = look(folder, {"patch": [0]})
    assert {k: [e["value"] for e in v] for k, v in found.items()} == expected


def _without(folder: Path, *names: str) -> dict:
    kept = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).unlink()
    found = look(folder, {"patch": [0]})
    for name, data in kept.items():
        (folder / name).write_bytes(data)
    return found


def test_folders_without_pictures_are_errors(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"there are no pictures .* in .*photos$"):
        look(tmp_path / "photos", {"patch": [0]})
    (tmp_path / "photos" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"none of the 1 pictures in .* can be read"):
        look(tmp_path / "photos", {"patch": [0]})
    with pytest.raises(ValueError, match=r"there are no pictures in .*photos except those in .*photos"):
        photographs.pictures_in(tmp_path / "photos", tmp_path / "photos")
    with pytest.raises(NotADirectoryError, match="there is no folder"):
        look(tmp_path / "nowhere", {"patch": [0]})


@pytest.mark.parametrize(
    ("channels", "options", "error", "message"),
    [
        ({"patches": [0]}, {}, ValueError, "did you mean 'patch'?"),
        ({"patch": [0, 3]}, {}, IndexError, "3"),
        ({"patch": [-1]}, {}, IndexError, "-1"),
        ({"patch": [0]}, {"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"patch": [0]}, {"count": 1.5}, TypeError, "count must be a whole number, got 1.5"),
    ],
)
def test_wrong_arguments_are_errors_before_anything_is_written(folder, channels, options, error, message):
    with pytest.raises(error, match=message.replace("?", r"\?")):
        look(folder, channels, **options)
    assert not (folder.parent / "gallery").exists()


def test_activations_that_are_not_numbers_are_an_error_that_names_the_picture(folder):
    model = lambda images: {"patch": jnp.log(images.mean(axis=(1, 2)) - 0.45)}
    save(folder / "inner" / "30.png", np.zeros((SIZE, SIZE, 3), np.uint8))
    with pytest.raises(ArithmeticError, match=r"30\.png gives patch values that are infinite or not numbers"):
        look(folder, {"patch": [0]}, model)


def test_a_full_disk_is_an_error_and_leaves_no_half_written_crop(folder, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(_files, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        look(folder, {"patch": [0]})
    assert not list((folder.parent / "gallery" / "examples").iterdir())


# Real networks and pictures


def test_the_network_finds_the_class_that_a_logit_stands_for(googlenet, shared, tmp_path):
    folder = tmp_path / "photos"
    names = {"pizza": "pizza", "Leopards": "leopard", "dalmatian": "dalmatian", "grand_piano": "grand piano"}
    for name in names:
        for path in sorted((shared / "datasets" / "caltech101" / name).glob("*.jpg"))[:6]:
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / path.name).symlink_to(path)
    logits = {labels.class_index(known, googlenet.class_names): name for name, known in names.items()}
    layer = "softmax2_pre_activation_matmul"
    found = crops.find(
        googlenet, folder, {layer: list(logits), "mixed3a": [0]}, tmp_path / "out", 4, 128, progress=False
    )
    for channel, name in logits.items():
        most = collections.Counter(example["source"].split("/")[0] for example in found[layer, channel])
        assert most[name] >= 3
    with Image.open(tmp_path / found["mixed3a", 0][0]["file"]) as picture:
        assert picture.size == (59, 59)  # the receptive field of mixed3a
