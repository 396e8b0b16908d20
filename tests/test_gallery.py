"""Galleries: what is in the folder, and that no way of dying, sharing or starting again changes a byte of it."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import lightjax as lj
from lightjax import batching, cli, objectives, ops, optimize
from lightjax.gallery import beside, page
from lightjax.gallery import manifest as manifests
from lightjax.gallery import run as gallery
from lightjax.networks import weights
from lightjax.pictures import load_picture, read_settings, save, sheet

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--model", "bvlc_googlenet", "--size", "32", "--channels", "0-9", "--chunk", "4", "--steps", "12", "-q")
KERNELS = np.random.default_rng(0).normal(0, 0.1, (7, 7, 3, 24)).astype(np.float32)
PICTURES = [f"conv2d0/{channel:04d}.png" for channel in range(10)]


def small(images):
    """One convolution, as a network whose programs compile fast."""
    return {"conv": jax.nn.relu(ops.conv(images - 0.5, jnp.asarray(KERNELS), 2, ((3, 3), (3, 3))))}


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command run in this process."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A cache folder for all processes of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(cache, tmp_path):
    """Starts the command line as a process of its own, and ends it with the test."""
    processes = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen:
        here = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)} | environment
        program = [sys.executable, "-c", "from lightjax.cli import main; main()", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(program, env=here, cwd=tmp_path, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen) -> str:
    """Wait for a process that is to end well; what it printed."""
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return output


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a gallery, but for its locks, by its name."""
    return {
        str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file() and ".locks" not in f.parts
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished gallery of ten channels."""
    folder = tmp_path_factory.mktemp("whole") / "g"
    settings = {
        "channels": range(10),
        "steps": 12,
        "size": 32,
        "model": "bvlc_googlenet",
        "chunk": 4,
        "progress": False,
    }
    made = gallery.render(folder, ["conv2d0"], **settings)
    assert made == gallery.Gallery(folder, "bvlc_googlenet", 10, 10, [], [], 0)
    return folder


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    """A copy of the finished gallery, to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "g"))


@pytest.fixture
def chunks(monkeypatch) -> list[list[int]]:
    """The channels of each chunk that is rendered, as it is."""
    rendered = []
    render_chunk = batching.render_chunk

    def spy(recipe, setup, goals, *rest):
        rendered.append([int(goal.leaves[0]) for goal in goals])
        return render_chunk(recipe, setup, goals, *rest)

    monkeypatch.setattr(batching, "render_chunk", spy)
    return rendered


# What is in the folder


def test_every_picture_is_there_and_says_how_to_make_it_again(whole, capsys, tmp_path):
    assert sorted(name for name in contents(whole) if name.endswith(".png")) == PICTURES
    settings = read_settings(whole / PICTURES[7])
    assert (settings["layer"], settings["channel"], settings["kind"]) == ("conv2d0", 7, "positive")
    assert settings["objective"] == "channel('conv2d0', 7)"
    lone = lj.visualize("conv2d0:7", model="bvlc_googlenet", steps=12, size=32, progress=False)
    assert settings.items() >= lone.settings.items()
    np.testing.assert_allclose(settings["values"], lone.values, rtol=0.02)
    with Image.open(whole / PICTURES[7]) as picture:
        assert picture.size == (32, 32)
        assert np.abs(np.asarray(picture) / 255 - lone.image).mean() < 0.01
    again = str(tmp_path / "again.png")
    assert run(capsys, "render", "--like", str(whole / PICTURES[7]), "-o", again, "-q")[0] == 0
    assert read_settings(again) == lone.settings


def test_the_manifest_says_everything(whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    settings = manifest["settings"]
    assert settings["model"] == lj.load_model("bvlc_googlenet").source
    assert settings["channels"] == {"conv2d0": "0-9"}
    assert (settings["steps"], settings["size"], settings["seed"]) == (12, [32, 32], 0)
    assert manifest["versions"].keys() == {"lightjax", "jax", "jaxlib", "optax", "numpy", "pillow", "device"}
    assert [(batch.kind, batch.channels) for batch in manifests.batches_of(manifest)] == [
        ("positive", [0, 1, 2, 3]),
        ("positive", [4, 5, 6, 7]),
        ("positive", [8, 9]),
    ]


def test_entries_come_from_the_pictures_alone(copy):
    manifest = manifests.read(copy)
    (copy / PICTURES[3]).unlink()
    crops = [{"file": "examples/a.png", "value": 2.0}]
    entries = page.entries(copy, manifest, {"conv2d0:5": crops})
    assert [entry["channel"] for entry in entries] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert entries[4]["layer"] == "conv2d0"
    assert entries[4]["examples"] == crops
    assert entries[4]["pictures"] == [
        {
            "kind": "positive",
            "file": "conv2d0/0005.png",
            "values": read_settings(copy / PICTURES[5])["values"],
        }
    ]
    assert entries[4]["command"] == "lightjax render --like conv2d0/0005.png -o again.png"


def test_curves_keep_their_ends_and_are_short():
    values = np.linspace(0, 1, 1000, dtype=np.float32) ** 2
    result = lj.Result(np.zeros((1, 1, 1, 3)), {}, values, {})
    curve = gallery.curve(result)
    assert len(curve) == gallery.CURVE
    assert (curve[0], curve[-1]) == (0, 1)
    np.testing.assert_allclose(curve, np.interp(np.linspace(0, 999, 64).round(), np.arange(1000), values), rtol=1e-5)
    assert gallery.curve(lj.Result(np.zeros((1, 1, 1, 3)), {}, values[:0], {})) == []


def test_negative_pictures_quiet_what_positive_ones_excite(tmp_path):
    settings = {"channels": [8, 20], "steps": 60, "size": 32, "model": small, "progress": False}
    gallery.render(tmp_path, ["conv"], negative=True, **settings)
    for channel in (8, 20):
        up = read_settings(tmp_path / f"conv/{channel:04d}.png")["values"]
        down = read_settings(tmp_path / f"conv/{channel:04d}_negative.png")["values"]
        assert up[-1] > 2 * up[0]
        assert down[0] == -up[0]
        assert down[-1] > 0.5 * down[0]
    manifest = manifests.read(tmp_path)
    (entry, _) = page.entries(tmp_path, manifest, {})
    assert [picture["kind"] for picture in entry["pictures"]] == ["positive", "negative"]


def test_diverse_pictures_are_several_of_one_channel(tmp_path):
    settings = {"channels": [3, 17], "steps": 12, "size": 32, "model": small, "progress": False}
    gallery.render(tmp_path, ["conv"], positive=False, diverse=3, **settings)
    names = [f"conv/{channel:04d}_diverse_{i}.png" for channel in (3, 17) for i in (1, 2, 3)]
    assert sorted(name for name in contents(tmp_path) if name.endswith(".png")) == names
    manifest = manifests.read(tmp_path)
    (entry, _) = page.entries(tmp_path, manifest, {})
    assert [picture["file"] for picture in entry["pictures"]] == names[:3]
    objective = read_settings(tmp_path / names[0])["objective"]
    lone = lj.visualize(objective, model=small, image=lj.image(32, batch=3), steps=12, progress=False)
    for i, name in enumerate(names[:3]):
        with Image.open(tmp_path / name) as picture:
            assert np.abs(np.asarray(picture) / 255 - lone.images[i]).mean() < 0.02


def test_a_picture_that_fails_is_kept_and_told(tmp_path, monkeypatch, capsys):
    log = lambda kind, layer, channel: objectives.objective(flat, float(channel))
    monkeypatch.setattr(gallery, "_objective", log)
    monkeypatch.setattr(objectives, "check", lambda *a: None)
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(tmp_path / "g"), *SMALL, "--channels", "0,3")
    assert code == 0
    assert "1 pictures show the last good state" in errors
    assert "conv2d0/0003.png" in errors
    assert read_settings(tmp_path / "g/conv2d0/0003.png")["outcome"] == {"failed": 1}
    assert "outcome" not in read_settings(tmp_path / "g/conv2d0/0000.png")


def test_a_channel_without_a_gradient_is_told_and_labeled(tmp_path):
    def model(images):
        return {"units": jnp.stack([images.mean(-1), jax.nn.relu(images.mean(-1) - 10)], axis=-1)}

    made = gallery.render(tmp_path, ["units"], steps=2, size=8, model=model, transform=None, progress=False)
    assert made.unresponsive == ["units/0001.png"]
    on, off = page.entries(tmp_path, manifests.read(tmp_path), {})
    assert "label" not in on
    assert off["label"] == "never responded"
    assert "never responded" in (tmp_path / "index.html").read_text()


def flat(activations, channel):
    """Not finite for channel 3."""
    return activations["input"].mean() / (3 - channel) * (3 - channel)


# Starting again


def test_a_second_run_renders_nothing(copy, chunks, capsys):
    before = contents(copy)
    code, output, _ = run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL)
    assert (code, output) == (0, f"{copy}: 10 pictures of bvlc_googlenet, 0 of them new\n")
    assert chunks == []
    assert contents(copy) == before


def test_a_missing_file_has_its_whole_chunk_rendered_and_nothing_else(copy, whole, chunks):
    for name in (PICTURES[5], PICTURES[9], PICTURES[8]):
        (copy / name).unlink()
    (copy / "conv2d0/.0005.png.0123").write_bytes(b"half a pict")  # of a process that was killed as it wrote
    kept = {name: (copy / name).stat().st_mtime_ns for name in PICTURES if (copy / name).exists()}
    settings = {"channels": range(10), "steps": 12, "size": 32, "model": "bvlc_googlenet", "progress": False}
    made = gallery.render(copy, ["conv2d0"], **settings)
    assert made.rendered == 3
    assert chunks == [[4, 5, 6, 7], [8, 9]]
    assert contents(copy) == contents(whole)
    assert {name: (copy / name).stat().st_mtime_ns for name in kept} == kept


def test_a_kill_loses_a_chunk_at_most_and_changes_no_byte(start, tmp_path, capsys):
    options = (*SMALL, "--steps", "60", "--channels", "0-19")
    command = ("gallery", "conv2d0", "-o", "g", *options)
    folder = tmp_path / "g"
    seen: dict[str, int] = {}
    for kill_after in (1, 9):
        process = start(*command)
        while len(found := list(folder.glob("*/*.png"))) < kill_after:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = {str(f): f.stat().st_mtime_ns for f in folder.glob("*/*.png")}
        assert kill_after <= len(found) < 20
        assert seen.items() <= found.items()  # nothing was rendered twice
        seen = found
    # This process makes the rest, and all of another gallery without being killed.
    for name in ("g", "other"):
        code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(tmp_path / name), *options)
        assert code == 0, errors
    assert seen.items() <= {str(f): f.stat().st_mtime_ns for f in folder.glob("*/*.png")}.items()
    assert contents(folder) == contents(tmp_path / "other")
    assert len(contents(folder)) >= 21


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--steps", "13"), "steps was 12 and is now 13"),
        (("--size", "40"), "size was [32, 32] and is now [40, 40]"),
        (("--seed", "1"), "seed was 0 and is now 1"),
        (("--lr", "0.1"), "optimizer was 0.05 and is now 0.1"),
        (("--channels", "0-10"), 'channels of conv2d0 was "0-9" and is now "0-10"'),
        (("conv2d1",), 'channels of conv2d1 was absent and is now "0-9"'),
        (("--negative",), 'kinds was ["positive"] and is now ["positive", "negative"]'),
        (("--chunk", "5"), "chunk was 4 and is now 5"),
        (("--no-transform",), "and is now null"),
        (("--steps", "13", "--seed", "1"), "steps was 12 and is now 13; seed was 0 and is now 1"),
    ],
)
def test_another_setting_in_the_same_folder_is_an_error_that_names_it(copy, chunks, capsys, options, told):
    before = contents(copy)
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL, *options)
    assert code == 2
    assert told in errors
    assert errors.count("\n") == 1
    assert chunks == []
    assert contents(copy) == before


def test_other_weights_are_an_error_and_other_versions_a_note(copy, capsys):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["versions"]["jax"] = "0.0.1"
    path.write_text(json.dumps(manifest))
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL)
    assert code == 0
    assert 'note: jax was "0.0.1" and is now' in errors
    manifest["settings"]["model"] = "bvlc_googlenet@000000000000"
    manifest["versions"]["lightjax"] = "0.0.1"
    path.write_text(json.dumps(manifest))
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL)
    assert code == 2
    assert 'model was "bvlc_googlenet@000000000000" and is now "bvlc_googlenet@' in errors
    assert 'lightjax was "0.0.1" and is now' in errors


def weights_file(path: Path, factor: float) -> Path:
    """The weights of GoogLeNet, all of them times a factor, with the metadata of the original."""
    source = weights.EMBEDDED["bvlc_googlenet"]
    with safetensors.safe_open(source, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {name: factor * file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    safetensors.numpy.save_file(tensors, path, metadata)
    return path


def test_a_path_of_weights_is_loaded_and_named_in_the_manifest(tmp_path):
    path = weights_file(tmp_path / "own.safetensors", 1)
    settings = {"channels": [3], "steps": 1, "size": 32, "model": path, "progress": False}
    assert gallery.render(tmp_path / "g", ["conv2d0"], **settings).rendered == 1
    assert manifests.read(tmp_path / "g")["model"] == str(path)


def test_snapshots_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"snapshots must be empty for a gallery, got \(3,\)"):
        gallery.render(tmp_path / "g", ["conv2d0"], snapshots=(3,))


def test_pictures_that_files_cannot_show_are_refused_before_anything_is_rendered(tmp_path):
    with pytest.raises(ValueError, match=r"pictures of 5 channels cannot be shown, \[1, 8, 8, 5\]"):
        gallery.render(tmp_path / "g", ["a/b"], model=lambda x: {"a": {"b": x}}, image=lj.image(8, channels=5))
    assert not (tmp_path / "g").exists()


def test_arrays_that_changed_under_the_same_name_are_an_error(tmp_path, capsys):
    path = weights_file(tmp_path / "tuned.safetensors", 1)
    command = ("gallery", "conv2d0", "-o", str(tmp_path / "g"), "--model", str(path), "--channels", "0-1")
    options = ("--steps", "1", "--size", "32", "-q")
    assert run(capsys, *command, *options)[0] == 0
    weights_file(path, 1.5)
    code, _, errors = run(capsys, *command, *options)
    assert code == 2
    assert re.search(r'weights was "\w{12}" and is now "\w{12}"', errors)


@pytest.mark.parametrize("path", [None, "tuned.safetensors"])
def test_the_commands_of_the_page_make_each_picture_again(path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = "bvlc_googlenet" if path is None else str(weights_file(tmp_path / path, 1.25))
    gallery.render(
        tmp_path / "g",
        ["conv2d1"],
        channels=[3],
        negative=path is not None,
        diverse=0 if path is None else 2,
        steps=3,
        size=32,
        model=model,
        progress=False,
    )
    monkeypatch.chdir(tmp_path / "g")
    manifest = manifests.read(Path())
    (entry,) = page.entries(Path(), manifest, {})
    commands = entry["command"].split("\n")
    kinds = ("positive",) if path is None else ("positive", "negative", "diverse")
    for command, kind in zip(commands, kinds, strict=True):
        pictures = [picture["file"] for picture in entry["pictures"] if picture["kind"] == kind]
        assert run(capsys, *shlex.split(command)[1:], "-q")[0] == 0
        expected = sheet(np.stack([load_picture(file) for file in pictures]))
        assert np.abs(load_picture("again.png") - expected).mean() < 0.01


def test_pictures_without_a_manifest_are_not_taken_for_finished(copy, capsys, chunks):
    (copy / "manifest.json").unlink()
    before = contents(copy)
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL)
    assert code == 2
    assert "holds pictures, such as conv2d0/0000.png, but no manifest.json; choose another folder" in errors
    assert chunks == []
    assert contents(copy) == before


def test_a_damaged_picture_is_named_with_what_to_do(copy, capsys):
    (copy / PICTURES[2]).write_bytes((copy / PICTURES[2]).read_bytes()[:200])
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL)
    assert code == 2
    assert "0002.png is not a readable picture; delete it, and the same command makes it again" in errors


def test_leftovers_of_a_killed_process_are_cleared_away(copy, whole):
    for name in ("manifest.json", "index.html"):
        (copy / f".{name}.0123").write_bytes(b"half a fi")
    (copy / PICTURES[0]).unlink()
    settings = {"channels": range(10), "steps": 12, "size": 32, "model": "bvlc_googlenet", "progress": False}
    gallery.render(copy, ["conv2d0"], **settings)
    assert contents(copy) == contents(whole)


@pytest.mark.parametrize("layer", ["../up", "..", "/absolute", "a/b", "examples", ".hidden", "a b%41", "é"])
def test_no_name_of_a_layer_leads_out_of_the_folder(layer, tmp_path):
    def model(images):
        return {layer: images}

    folder = tmp_path / "g"
    gallery.render(folder, [layer], channels=[1], steps=1, size=8, model=model, transform=None, progress=False)
    (picture,) = folder.glob("*/*.png")
    assert picture.parent.parent == folder
    assert picture.parent.name not in ("examples", "..")
    assert not picture.parent.name.startswith(".")
    assert set(tmp_path.iterdir()) == {folder}
    manifest = manifests.read(folder)
    (entry,) = page.entries(folder, manifest, {})
    assert (entry["layer"], entry["pictures"][0]["file"]) == (layer, f"{picture.parent.name}/0001.png")
    assert "no command" in entry["command"]


def test_a_gallery_compiles_one_program_for_each_layer_and_kind(tmp_path, compiled):
    def model(images):
        first = jnp.concatenate([images, images[..., ::-1] ** 2], axis=-1)
        return {"first": first, "second": jax.nn.relu(first[:, ::2, ::2] - 0.2)}

    settings = {"channels": range(6), "steps": 2, "size": 20, "model": model, "transform": None, "progress": False}
    gallery.render(tmp_path / "g", ["second"], **settings)
    assert compiled.count("jit(_advance)") == 1
    compiled.clear()
    gallery.render(tmp_path / "h", ["first", "second"], negative=True, chunk=2, **settings)
    assert compiled.count("jit(_advance)") == 4


def test_examples_are_found_once_and_anew_when_the_folder_changes(tmp_path, monkeypatch):
    folder = tmp_path / "photographs"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(2):
        save(folder / f"{i}.png", draw.random((40, 40, 3)))
    settings = {
        "channels": [0],
        "steps": 1,
        "size": 32,
        "model": "bvlc_googlenet",
        "examples": folder,
        "progress": False,
    }
    looked = []
    find = beside.dataset_examples.find
    monkeypatch.setattr(beside.dataset_examples, "find", lambda *a, **k: looked.append(1) or find(*a, **k))
    for expected in (2, 2):
        gallery.render(tmp_path / "g", ["conv2d0"], **settings)
        assert len(json.loads((tmp_path / "g" / "examples.json").read_text())["examples"]["conv2d0:0"]) == expected
    assert len(looked) == 1
    save(folder / "2.png", draw.random((40, 40, 3)))
    gallery.render(tmp_path / "g", ["conv2d0"], **settings)
    assert len(json.loads((tmp_path / "g" / "examples.json").read_text())["examples"]["conv2d0:0"]) == 3
    assert "examples/conv2d0-0000-3.jpg" in (tmp_path / "g" / "index.html").read_text()


def test_figures_of_an_evaluation_are_measured_once_and_anew_for_another_eye(tmp_path, monkeypatch):
    """Of pictures that excite channels, as `lj.evaluate` finds them; the page has them, and a later run keeps them."""
    (tmp_path / "photographs").mkdir()
    draw = np.random.default_rng(0)
    for i in range(40):
        save(tmp_path / "photographs" / f"{i}.png", draw.random((32, 32, 3)) * draw.random(3))
    settings = {"channels": [3, 5], "steps": 4, "size": 32, "model": small, "negative": True, "progress": False}
    measured = []
    evaluate = beside.evaluation.evaluate
    monkeypatch.setattr(beside.evaluation, "evaluate", lambda *a, **k: measured.append(1) or evaluate(*a, **k))
    render = lambda **more: gallery.render(tmp_path / "g", ["conv"], **settings, **more)
    read = lambda: json.loads((tmp_path / "g" / "evaluation.json").read_text())["figures"]
    for _ in range(2):
        render(evaluate=True)
    assert len(measured) == 1
    files = [tmp_path / "g" / "conv" / f"{channel:04}.png" for channel in (3, 5)]
    table = lj.evaluate(files, model=small, progress=False)
    assert read() == {
        f"conv:{channel}": dict(zip(table.columns, row.tolist(), strict=True))
        for channel, row in zip((3, 5), table.values, strict=True)
    }
    assert read()["conv:3"].keys() == {"value", "views", "rank", "slope"}
    render(eye=lambda images: {"seen": images}, examples=tmp_path / "photographs")
    assert read()["conv:3"].keys() == {"value", "views", "rank", "slope", "told", "sure", "alike"}
    render()
    assert len(measured) == 2
    text = (tmp_path / "g" / "index.html").read_text()
    shown = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])["3"]["figures"]
    assert shown == {name: float(f"{value:.4g}") for name, value in read()["conv:3"].items()}
    assert "told, smallest first" in text
    (tmp_path / "g" / "evaluation.json").write_text('{"eye": 3}')
    render(evaluate=True)
    assert read()["conv:3"].keys() == {"value", "views", "rank", "slope"}, "a file that is not ours is made anew"


def test_an_eye_that_has_nothing_to_judge_is_refused_before_anything_is_rendered(tmp_path):
    with pytest.raises(ValueError, match="nothing to judge: give examples as well, or a layer whose channels are"):
        gallery.render(tmp_path / "g", ["conv"], model=small, size=32, eye=lambda images: {"seen": images})
    (tmp_path / "photographs").mkdir()
    save(tmp_path / "photographs" / "one.png", np.zeros((32, 32, 3)))
    few = {"eye": lambda images: {"seen": images}, "examples": tmp_path / "photographs"}
    with pytest.raises(ValueError, match="photographs must be at least 40, got 1"):
        gallery.render(tmp_path / "g", ["conv"], model=small, size=32, **few)
    assert not (tmp_path / "g").exists()


def test_a_folder_without_photographs_is_refused_before_anything_is_rendered(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    command = ("gallery", "conv2d0", "-o", str(tmp_path / "g"), *SMALL, "--examples", str(tmp_path / "empty"))
    code, _, errors = run(capsys, *command)
    assert code == 2
    assert "there are no pictures" in errors
    assert not (tmp_path / "g").exists()


def test_what_is_no_manifest_is_not_touched(tmp_path, capsys):
    for text in ("half", "[]", '{"settings": {}}'):
        (tmp_path / "manifest.json").write_text(text)
        code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(tmp_path), *SMALL)
        assert code == 2
        assert "choose another folder" in errors
        assert (tmp_path / "manifest.json").read_text() == text


# Sharing


def test_two_processes_share_a_folder(start, whole, tmp_path):
    outputs = [finish(process) for process in [start("gallery", "conv2d0", "-o", "g", *SMALL) for _ in range(2)]]
    new = [int(re.fullmatch(r"g: 10 pictures of bvlc_googlenet, (\d+) of them new\n", output)[1]) for output in outputs]
    assert sum(new) == 10
    assert contents(tmp_path / "g") == contents(whole)


def test_what_another_holds_is_waited_for_and_taken_over(copy, whole, chunks, monkeypatch):
    (copy / PICTURES[0]).unlink()
    (copy / PICTURES[9]).unlink()
    manifest = manifests.read(copy)
    other = gallery.filelock.FileLock(copy / ".locks" / "00000.lock", is_singleton=False)
    other.acquire()
    naps = []

    def nap(seconds: float) -> None:
        naps.append(chunks[:])
        other.release()

    monkeypatch.setattr(gallery.time, "sleep", nap)
    settings = {"channels": range(10), "steps": 12, "size": 32, "model": "bvlc_googlenet", "progress": False}
    assert gallery.render(copy, ["conv2d0"], **settings).rendered == 2
    assert naps == [[[8, 9]]]
    assert chunks == [[8, 9], [0, 1, 2, 3]]
    assert contents(copy) == contents(whole)
    assert manifest is not None


# A cluster


def slurm(process: int, port: int) -> dict[str, str]:
    """What Slurm tells one of two tasks on one machine."""
    return {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process),
        "SLURM_STEP_NUM_NODES": "1",
        "JAX_COORDINATOR_PORT": str(port),
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def test_the_processes_of_a_cluster_share_the_work_and_survive_each_other(start, whole, tmp_path):
    command = ("gallery", "conv2d0", "-o", "g", *SMALL, "--distributed")
    folder = tmp_path / "g"
    port = free_port()
    # The second, which is to make the chunk in the middle, is held up there and killed.
    folder.mkdir()
    (folder / ".locks").mkdir()
    held = gallery.filelock.FileLock(folder / ".locks" / "00001.lock", is_singleton=False)
    held.acquire()
    first, second = (start(*command, **slurm(i, port)) for i in range(2))
    assert finish(first) == "g: 6 of 10 pictures of bvlc_googlenet, 6 of them new\n"
    assert second.poll() is None
    second.send_signal(signal.SIGKILL)
    second.wait()
    held.release()
    assert sorted(n for n in contents(folder) if n.endswith(".png")) == PICTURES[:4] + PICTURES[8:]
    port = free_port()
    outputs = [finish(process) for process in [start(*command, **slurm(i, port)) for i in range(2)]]
    assert "g: 10 pictures of bvlc_googlenet, 4 of them new\n" in outputs
    assert contents(folder) == contents(whole)


def test_distributed_without_a_cluster_is_an_error(tmp_path, capsys):
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(tmp_path / "g"), *SMALL, "--distributed")
    assert code == 2
    assert errors.startswith("lightjax: error: jax.distributed found no cluster")
    assert not (tmp_path / "g").exists()


# Things that go wrong


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("conv2dO",), "did you mean 'conv2d0'"),
        (("--channels", "0-999999"), "out of range"),
        (("--channels", "9-3"), "channels must be numbers and ranges, such as 0-63,97, got '9-3'"),
        (("--channels", ""), "channels must be numbers and ranges"),
        (("--no-positive",), "there is nothing to render"),
        (("--diverse", "1"), "diverse must be 0 or at least 2, got 1"),
        (("--chunk", "0"), "chunk must be at least 1, got 0"),
        (("--steps", "-1"), "steps"),
        (("--model", "bvlc_googlnet"), "did you mean 'bvlc_googlenet'"),
        (("--examples", "nowhere"), "there is no folder nowhere to take --examples from"),
        (("--eye", "bvlc_googlenet"), "eye must be another network than the one under study"),
        (("--no-positive", "--negative", "--evaluate"), "positive must be True to evaluate"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(tmp_path, capsys, options, told):
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(tmp_path / "g"), *SMALL, *options)
    assert code == 2
    assert told in errors
    assert not (tmp_path / "g").exists()


def test_a_full_disk_is_one_line_and_nothing_is_half_written(copy, whole, capsys, monkeypatch):
    for name in PICTURES[4:8]:
        (copy / name).unlink()
    write, written = os.fsync, []

    def full(file: int) -> None:
        written.append(file)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file)

    monkeypatch.setattr("lightjax._files.os.fsync", full)
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL)
    monkeypatch.undo()
    assert code == 2
    assert errors == f"lightjax: error: {copy}/conv2d0/0006.png: No space left on device\n"
    assert contents(copy).items() <= contents(whole).items()
    assert run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL)[0] == 0
    assert contents(copy) == contents(whole)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(tmp_path / "file" / "g"), *SMALL)
    assert code == 2
    assert errors == f"lightjax: error: {tmp_path}/file/g: Not a directory\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    tmp_path.chmod(0o555)
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(tmp_path), *SMALL)
    assert code == 2
    assert "Permission denied" in errors
    assert errors.count("\n") == 1


def test_ctrl_c_loses_the_chunk_under_way_and_says_so(copy, whole, capsys, monkeypatch):
    for name in PICTURES[4:]:
        (copy / name).unlink()
    advance, calls = optimize.advance, []

    def once(*arguments, **settings):
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return advance(*arguments, **settings)

    monkeypatch.setattr(optimize, "advance", once)
    code, _, errors = run(capsys, "gallery", "conv2d0", "-o", str(copy), *SMALL)
    assert (code, errors) == (130, "lightjax: interrupted; the same command continues from here\n")
    assert contents(copy).keys() == contents(whole).keys() - set(PICTURES[4:])


@given(st.sets(st.integers(0, 5000), min_size=1, max_size=40))
def test_channels_are_written_as_they_are_read(channels):
    assert manifests.parse_channels(manifests.format_channels(sorted(channels))) == sorted(channels)


# Compiled programs that are kept

COUNT = """
import sys, jax
events = []
jax.monitoring.register_event_listener(lambda event, **about: events.append(event))
from lightjax.cli import main
try:
    main(sys.argv[1:])
finally:
    counts = [events.count("/jax/compilation_cache/cache_" + kind) for kind in ("hits", "misses")]
    print(*counts, file=sys.stderr)
"""


def hits_and_misses(folder: Path, cache: Path, *options: str) -> tuple[int, int]:
    """Programs that a render found in the cache, and those that it compiled and kept there."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    render = ("render", "conv2d0:3", "--model", "bvlc_googlenet", "--size", "32", "--steps", "2", "-o", "x.png", "-q")
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *render, *options], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "x.png: channel('conv2d0', 3) of bvlc_googlenet\n"
    hits, misses = done.stderr.splitlines()[-1].split()
    return int(hits), int(misses)


def test_programs_are_compiled_once_and_kept(tmp_path):
    cache = tmp_path / "cache"
    hits, misses = hits_and_misses(tmp_path, cache)
    assert misses > hits
    first = (tmp_path / "x.png").read_bytes()
    # What is kept may be damaged: it is compiled again.
    largest = max((cache / "lightjax" / "compiled").glob("*-cache"), key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    again, compiled = hits_and_misses(tmp_path, cache)
    assert again == hits + misses - 1
    assert compiled <= 1
    assert (tmp_path / "x.png").read_bytes() == first


@pytest.mark.parametrize("options", [(), ("--no-compilation-cache",)])
def test_nothing_is_kept_if_it_cannot_or_must_not_be(options, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    cache = tmp_path / ("cache" if options else "file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    folder = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    render = ("render", "conv2d0:3", "--model", "bvlc_googlenet", "--size", "32", "--steps", "1", "-q")
    code, _, errors = run(capsys, *render, "-o", str(tmp_path / "x.png"), *options)
    assert (code, errors) == (0, "")
    assert jax.config.values["jax_compilation_cache_dir"] is None
    assert not (tmp_path / "cache").exists()
    jax.config.update("jax_compilation_cache_dir", folder)
