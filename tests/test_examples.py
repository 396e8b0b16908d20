"""Photographs as examples of anything, against plain computations with NumPy over all photographs."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import lightjax as lj
from lightjax.analysis import folder as folders
from lightjax.analysis import measure
from lightjax.networks.inception import Layer

SIZE, PATCH, NUMBER = 24, 4, 40
VECTOR = np.array([0.5, -1.0, 2.0], np.float32)


class Patches:
    """The mean red, green and blue of each patch less 0.5, as a map and as tokens, and of the whole picture."""

    layers = (Layer("patch", 3, PATCH, 10), Layer("whole", 3, None, None))
    class_names = ("ruby", "emerald", "sapphire")
    logits = "whole"

    def __call__(self, images):
        n, height, width, _ = images.shape
        patches = images.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, 3).mean(axis=(2, 4)) - 0.5
        return {"patch": patches, "whole": images.mean((1, 2)), "token": patches.reshape(n, -1, 3)}


NETWORK = Patches()


def contrast(activations):
    return activations["input"].std() + activations["patch"][0, 0, 0, 0]


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Forty pictures of noise in three classes, two of which are folders."""
    home = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for i in reversed(range(NUMBER)):
        picture = draw.integers(0, 256, (SIZE, SIZE, 3)) * draw.uniform(0.3, 1)
        save(home / (".", "a", "b/c")[i % 3] / f"{i:02d}.png", picture.astype(np.uint8))
    return home


@pytest.fixture(scope="module")
def maps(folder) -> np.ndarray:
    """The patches of all photographs in the order of their paths, `[N, 6, 6, 3]`."""
    pictures = np.stack([np.asarray(Image.open(file), np.float32) / 255 for file in sorted(folder.rglob("*.png"))])
    return pictures.reshape(NUMBER, 6, PATCH, 6, PATCH, 3).mean((2, 4)) - 0.5


def look(folder, objectives, **options) -> lj.analysis.Examples:
    return lj.examples(objectives, folder, **({"model": NETWORK, "size": SIZE, "progress": False} | options))


def agreement(maps, power):
    dot, length = maps @ VECTOR, np.linalg.norm(maps, axis=-1)
    cosine = dot / ((1e-4 + length) * (1e-4 + np.linalg.norm(VECTOR)))
    return dot * np.maximum(0.1, cosine) ** power


GOALS = {
    "channel": ("patch:2", lambda m: m[..., 2]),
    "several": (lj.channel("patch", [0, 2]), lambda m: m[..., [0, 2]].mean(-1)),
    "tokens": ("token:1", lambda m: m[..., 1]),
    "direction": (lj.direction("patch", VECTOR), lambda m: m @ VECTOR),
    "cosine": (lj.direction("patch", VECTOR, power=2), lambda m: agreement(m, 2)),
    "arithmetic": ("2 * patch:0 - patch:1 ** 2", lambda m: 2 * m[..., 0] - m[..., 1] ** 2),
    "layer": ("patch", lambda m: m.mean(-1)),
}
"""Objectives with positions, and their values there."""
WHOLE = {
    "class": ("class_logit('Emerald')", lambda m: m[..., 1].mean((1, 2)) + 0.5),
    "neuron": ("patch:1:7", lambda m: m[:, 1, 1, 1]),
    "window": (lj.channel("patch", 0, rows=[1, 2]), lambda m: m[:, 1:3, :, 0].mean((1, 2))),
    "sum": (lj.channel("patch", 0, reduce="sum"), lambda m: m[..., 0].sum((1, 2))),
    "layers": ("patch:0 + token:1", lambda m: m[..., 0].mean((1, 2)) + m[..., 1].mean((1, 2))),
}
"""Objectives of whole photographs, and their values."""


@pytest.fixture(scope="module")
def found(folder) -> lj.analysis.Examples:
    """Objectives of every kind in one pass, with up to two patches of a photograph."""
    goals = [goal for goal, _ in (GOALS | WHOLE).values()] + [contrast]
    return look(folder, goals, per_picture=2, quantiles=3)


def test_values_and_patches_of_every_kind_of_objective_are_what_numpy_finds_in_all_photographs(found, maps, folder):
    assert found.photographs == [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*.png"))]
    assert len(found.objectives) == len(GOALS) + len(WHOLE) + 1
    for j, (name, (_, formula)) in enumerate(GOALS.items()):
        expected = formula(maps).reshape(NUMBER, -1)
        np.testing.assert_allclose(found.values[j], expected.max(1), atol=2e-6, err_msg=name)
        np.testing.assert_array_equal(found.positions[j, :, 0], expected.argmax(1), err_msg=name)
        assert found.grids[j] == ([1, 1, SIZE] if name == "tokens" else [6, 6, 10])
        order = np.argsort(-expected.max(1), kind="stable")
        best = {number: found.photographs[number] for number in order[:4].tolist()}
        firsts = dict.fromkeys(example.source for example in found.best(j, 8))
        assert [source for source in firsts if source in best.values()] == [*best.values()][: len(firsts)]
    for j, (name, (_, formula)) in enumerate(WHOLE.items(), len(GOALS)):
        np.testing.assert_allclose(found.values[j], formula(maps), atol=1e-5, err_msg=name)
        assert found.grids[j] == [1, 1, SIZE]
        assert (found.peaks[j, :, 1] == -np.inf).all()
        assert [e.number for e in found.best(j, 9)] == np.argsort(-formula(maps), kind="stable")[:9].tolist()
        assert [e.number for e in found.least(j, 5)] == np.argsort(formula(maps), kind="stable")[:5].tolist()
    pictures = [np.asarray(Image.open(folder / name), np.float32) / 255 for name in found.photographs]
    expected = [x.std() + m[0, 0, 0] for x, m in zip(pictures, maps, strict=True)]
    np.testing.assert_allclose(found.values[found.objectives.index("contrast")], expected, atol=1e-5)


def test_further_patches_of_a_photograph_are_peaks_of_the_map_and_each_is_cut_out_where_it_is(found, maps, folder):
    row = maps[..., 2]
    beyond = np.pad(row, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    around = np.max([beyond[:, i : i + 6, k : k + 6] for i in range(3) for k in range(3)], axis=0)
    peaks = np.sort(np.where(row == around, row, -np.inf).reshape(NUMBER, -1), axis=1)[:, ::-1]
    np.testing.assert_allclose(found.peaks[0], peaks[:, :2], atol=2e-6)
    ordered = np.sort(peaks[:, :2].ravel())[::-1]
    best = found.best("patch:2", 12)
    np.testing.assert_allclose([example.value for example in best], ordered[:12], atol=2e-6)
    numbers = [example.number for example in best]
    assert max(map(numbers.count, numbers)) == 2
    for example, patch in zip(best, found.patches(best), strict=True):
        top, left, side = example.window
        picture = np.asarray(Image.open(folder / example.source), np.float32) / 255
        np.testing.assert_array_equal(patch, picture[top : top + side, left : left + side])
        values = row[example.number]
        i, k = np.argwhere(np.isclose(values, example.value, atol=2e-6))[0]
        for place, start in ((i, top), (k, left)):
            assert start == min(max(place * PATCH + PATCH // 2 - 5, 0), SIZE - side)


def test_the_spread_covers_the_range_in_equal_parts_and_shares_count_photographs_and_classes(found, maps):
    values = maps[..., 2].max((1, 2))
    order = np.argsort(-values, kind="stable")
    parts = found.spread(0, count=4)
    assert len(parts) == 3
    assert sorted({example.number for part in parts for example in part}, key=order.tolist().index) == [
        example.number for part in parts for example in part
    ]
    for part, expected in zip(parts, np.array_split(order, 3), strict=True):
        assert [example.number for example in part] == [expected[int((i + 0.5) * len(expected) / 4)] for i in range(4)]
    everything = [example.number for part in found.spread(0, 7, 100) for example in part]
    assert everything == order.tolist()
    np.testing.assert_allclose(found.frequency(0.1)[0], (values > 0.1).mean())
    classes = np.array([name.rpartition("/")[0] or "." for name in found.photographs])
    assert {*classes} == {".", "a", "b/c"}
    for options, chosen in (({"best": 11}, order[:11]), ({"above": 0.1}, np.flatnonzero(values > 0.1))):
        shares = found.classes(0, **options)
        assert {one.name: one.chosen for one in shares} == {
            n: c for n in {*classes} if (c := (classes[chosen] == n).sum())
        }
        assert [one.chosen for one in shares] == sorted((one.chosen for one in shares), reverse=True)
        for one in shares:
            assert one.share == one.chosen / len(chosen)
            assert one.rate == one.chosen / (classes == one.name).sum()


def test_the_mean_is_the_objective_as_it_is_and_shows_whole_photographs(folder, maps):
    found = look(folder, ["patch:2", lj.direction("patch", VECTOR)], at="mean")
    np.testing.assert_allclose(found.values[0], maps[..., 2].mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(found.values[1], (maps @ VECTOR).mean((1, 2)), atol=1e-5)
    assert found.best(0, 1)[0].window == (0, 0, SIZE)
    assert look(folder, "patch:2", expand=0.4).grids == [[6, 6, 4]]


def test_neither_the_size_of_a_batch_nor_the_order_in_which_a_disk_lists_files_changes_anything(
    folder, found, monkeypatch
):
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed([*listed(self, pattern)]))
    monkeypatch.setattr(folders, "BATCH", 7)
    again = look(folder, [goal for goal, _ in (GOALS | WHOLE).values()] + [contrast], per_picture=2)
    assert again.photographs == found.photographs
    np.testing.assert_allclose(again.peaks, found.peaks, atol=1e-5)
    np.testing.assert_array_equal(again.positions, found.positions)


# Interrupted passes


@pytest.fixture
def few(monkeypatch):
    """Batches of four, written after each."""
    monkeypatch.setattr(folders, "BATCH", 4)
    monkeypatch.setattr(lj.analysis.reading, "SECONDS", 0.0)


def test_a_pass_that_was_interrupted_goes_on_to_the_same_bytes_and_what_is_finished_is_not_measured_again(
    folder, few, tmp_path, monkeypatch
):
    (folder / "a" / "00-broken.png").write_bytes(b"no picture")
    goals = ["patch:2", lj.direction("patch", VECTOR), contrast]
    read, seen = folders.Photographs.read, []
    try:
        with pytest.warns(UserWarning, match=r"cannot be read as a picture: a/00-broken\.png$"):
            whole = look(folder, goals, resume=tmp_path / "whole.safetensors")

        def fails(self, number):
            seen.append(number)
            if number == 17:
                raise KeyboardInterrupt
            return read(self, number)

        monkeypatch.setattr(folders.Photographs, "read", fails)
        with pytest.raises(KeyboardInterrupt):
            look(folder, goals, resume=tmp_path / "part.safetensors")
        part = lj.analysis.Examples.read(tmp_path / "part.safetensors")
        assert part.seen in (4, 8, 12, 16)
        np.testing.assert_array_equal(part.values, whole.values[:, : len(part.photographs)])
        assert part.best(0, 3)

        def notes(self, number):
            seen.append(number)
            return read(self, number)

        monkeypatch.setattr(folders.Photographs, "read", notes)
        seen.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the broken file, unless it was seen before
            look(folder, goals, resume=tmp_path / "part.safetensors")
        assert {*seen} == {*range(8), *range(part.seen, NUMBER + 1)}  # the first batch, and the one read ahead
        bytes_of = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("whole", "part")]
        assert bytes_of[0] == bytes_of[1]
        seen.clear()
        again = look(folder, goals, resume=tmp_path / "part.safetensors")
        assert {*seen} <= {*range(8)}
        np.testing.assert_array_equal(again.peaks, whole.peaks)
        assert (tmp_path / "part.safetensors").read_bytes() == bytes_of[0]
    finally:
        (folder / "a" / "00-broken.png").unlink()


KILLED = """
import sys, time
sys.path.insert(0, {root!r})
from tests import test_examples as here
here.folders.BATCH, here.lj.analysis.reading.SECONDS = 4, 0.0
read = here.folders.Photographs.read
here.folders.Photographs.read = lambda self, number: time.sleep(0.2 * (number > 11)) or read(self, number)
here.look({folder!r}, ["patch:2", here.contrast], resume={file!r})
"""


def test_a_process_that_was_killed_leaves_a_whole_file_from_which_another_goes_on_to_the_same_bytes(
    folder, few, tmp_path, compilations
):
    file = tmp_path / "killed.safetensors"
    code = KILLED.format(root=str(Path(__file__).parents[1]), folder=str(folder), file=str(file))
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | compilations)
    try:
        deadline = time.monotonic() + 120
        while not file.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < lj.analysis.Examples.read(file).seen < NUMBER
    (tmp_path / f".{file.name}.{'0' * 32}").write_bytes(b"half a file")
    look(folder, ["patch:2", contrast], resume=file)
    look(folder, ["patch:2", contrast], resume=tmp_path / "whole.safetensors")
    assert file.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert len([*tmp_path.iterdir()]) == 2


def test_a_file_of_other_arguments_networks_or_functions_is_not_gone_on_with(folder, tmp_path):
    file = tmp_path / "a.safetensors"
    look(folder, [lj.direction("patch", np.arange(3.0)), contrast], resume=file)
    kept = file.read_bytes()

    class Darker(Patches):
        def __call__(self, images):
            return super().__call__(images * 0.9)

    def other(activations):
        return 2 * contrast(activations)

    other.__name__ = "contrast"
    Darker.__name__ = "Patches"
    same = [lj.direction("patch", np.arange(3.0)), contrast]
    for goals, options, message in (
        (["patch:2", contrast], {}, r"has another arrays|has another objectives"),
        ([lj.direction("patch", np.arange(3.0) + 1e-6), contrast], {}, "has another arrays"),
        (same, {"at": "mean"}, "has another at: 'maximum'; choose another file, or delete it"),
        (same, {"per_picture": 2}, "has another per_picture: 1"),
        (same, {"model": Darker()}, "has other values for the first photographs"),
        ([same[0], other], {}, "has other values for the first photographs"),
    ):
        with pytest.raises(ValueError, match=message):
            look(folder, goals, resume=file, **options)
    assert file.read_bytes() == kept
    assert look(folder, same, resume=file, count=2, expand=2).count == 2  # only shown otherwise
    file.write_bytes(kept[:100])
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read"):
        look(folder, same, resume=file)


# What it shows and writes


def test_it_shows_a_sheet_and_writes_patches_and_is_the_same_when_read(folder, tmp_path):
    found = look(folder, ["patch:2", contrast], quantiles=2, count=3)
    found.save(tmp_path / "sheet.png")
    assert lj.load_picture(tmp_path / "sheet.png").shape[1] > 3 * 112
    assert lj.pictures.read_settings(tmp_path / "sheet.png")["files"] == NUMBER
    found.save(tmp_path / "found.safetensors")
    again = lj.analysis.Examples.read(tmp_path / "found.safetensors")
    assert again.best("patch:2") == found.best("patch:2")
    assert again._repr_png_() == found._repr_png_()
    written = found.write(tmp_path / "crops")
    assert [*written] == found.objectives
    assert [one["source"] for one in written["patch:2"]] == [example.source for example in found.best(0)]
    files = [one["file"] for several in written.values() for one in several]
    assert sorted(files) == sorted(file.name for file in (tmp_path / "crops").iterdir())
    shown = lj.load_picture(tmp_path / "crops" / files[0])
    assert shown.shape == (10, 10, 3)
    np.testing.assert_allclose(shown.mean(), found.patches(found.best(0, 1))[0].mean(), atol=0.02)
    with pytest.raises(ValueError, match="folder must lie outside of the photographs"):
        found.write(folder / "crops")


def test_objectives_that_print_alike_are_told_apart(folder):
    vectors = np.eye(3, 528, dtype=np.float32)
    model = lambda images: {"wide": images.mean((1, 2)) @ np.ones((3, 528), np.float32)}
    found = look(folder, [lj.direction("wide", v) for v in vectors], model=model, count=1)
    assert found.objectives == [f"direction('wide', <[528] array>){end}" for end in ("", " #2", " #3")]
    assert found.best(found.objectives[2])


def test_among_equals_the_first_path_comes_first_and_a_small_folder_gives_fewer(tmp_path):
    for name in ("b.png", "a.png", "c/a.png"):
        save(tmp_path / name, np.full((SIZE, SIZE, 3), 128, np.uint8))
    found = look(tmp_path, "patch:0", quantiles=5, per_picture=100)
    assert [example.source for example in found.best(count=3)] == ["a.png"] * 3  # a flat map has peaks everywhere
    assert [example.source for example in found.least()] == ["a.png", "b.png", "c/a.png"]
    assert [len(part) for part in found.spread()] == [1, 1, 1]
    assert found.picture().shape[-1] == 3


def test_a_network_of_grays_and_of_one_size_gets_them(folder, maps):
    class Gray:
        size, channels = (SIZE, SIZE), 1

        def __call__(self, images):
            return {"mean": images[:, :SIZE, :, 0].reshape(len(images), SIZE * SIZE) @ jnp.ones((SIZE * SIZE, 1))}

    found = lj.examples("mean:0", folder, model=Gray(), progress=False)
    expected = (maps + 0.5).mean((1, 2)) @ [0.299, 0.587, 0.114] * SIZE**2
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-4)
    assert found.patches(found.best(0, 1))[0].shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"objectives": []}, ValueError, "objectives must be at least one"),
        ({"objectives": ["patch:0", "patches:1"]}, ValueError, "did you mean 'patch'"),
        ({"objectives": "patch:3"}, IndexError, "channel 3 is out of range"),
        ({"objectives": "class_logit('opal')"}, ValueError, "no class is called 'opal'"),
        ({"at": "top"}, ValueError, "unknown at 'top'; known are 'maximum', 'mean'"),
        ({"per_picture": 0}, ValueError, "per_picture must be at least 1, got 0"),
        ({"resume": "a.json"}, ValueError, "resume must be a file that ends in .safetensors, got 'a.json'"),
        ({"resume": "nowhere/a.safetensors"}, NotADirectoryError, "there is no folder nowhere for resume"),
        ({"folder": "nowhere"}, NotADirectoryError, "there is no folder nowhere"),
    ],
)
def test_wrong_arguments_are_errors_before_a_photograph_is_read(folder, arguments, error, message, monkeypatch):
    monkeypatch.setattr(folders.Photographs, "read", lambda *_: pytest.fail("a photograph was read"))
    with pytest.raises(error, match=message):
        look(**({"folder": folder, "objectives": "patch:0"} | arguments))


def test_wrong_questions_are_errors(found):
    for ask, error, message in (
        (lambda: found.best(99), IndexError, "objective 99 is out of range"),
        (lambda: found.best("patch:4"), ValueError, "did you mean 'patch:2'"),
        (lambda: found.best(0, 0), ValueError, "count must be at least 1"),
        (lambda: found.spread(0, 0), ValueError, "quantiles must be at least 1"),
        (lambda: found.classes(best=-1), ValueError, "best must be at least 1"),
        (lambda: found.frequency("x"), TypeError, "above must be a number"),
        (lambda: found.patches([1]), TypeError, "chosen must be examples"),
    ):
        with pytest.raises(error, match=message):
            ask()


def test_a_value_that_is_not_a_number_names_the_objective_and_the_photograph(folder):
    def bad(activations):
        return jnp.log(activations["whole"].mean() - 0.3)

    with pytest.raises(ArithmeticError, match=r"\.png gives bad values that are infinite or not numbers"):
        look(folder, ["patch:0", bad])


def test_an_objective_has_positions_if_all_of_its_terms_look_at_all_positions_of_one_layer():
    for goal, _ in GOALS.values():
        assert measure.layer_of(lj.objectives.as_objective(goal)) in ("patch", "token")
    for goal, _ in WHOLE.values():
        assert measure.layer_of(lj.objectives.as_objective(goal)) is None
    assert measure.layer_of(lj.channel("patch", 0) / lj.objective(contrast)) is None
    assert measure.layer_of(lj.channel("patch", 0)[0]) is None
