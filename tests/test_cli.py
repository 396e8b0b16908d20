"""The command line, in this process where that shows the same, and as a process of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from PIL import Image

import lightjax as lj
from lightjax import cli, pictures
from lightjax.networks import weights
from tests.parity import reference
from tests.stand_in import stand_in

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def home(converted) -> Path:
    """A folder with converted weights, to be LIGHTJAX_HOME."""
    return converted.parent


@pytest.fixture
def folder(home, tmp_path, monkeypatch) -> Path:
    """An empty working folder, with weights to be found and nothing in the cache."""
    monkeypatch.setenv("LIGHTJAX_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command run in this process."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_the_version_is_printed(capsys):
    assert run(capsys, "--version") == (0, f"lightjax {lj.__version__}\n", "")


SMALL = ("--size", "40x32", "--steps", "6", "-q")


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_render_writes_a_picture_named_after_the_objective(capsys, folder):
    code, output, _ = run(capsys, "render", "mixed3a:5", *SMALL)
    assert (code, output) == (0, "mixed3a_5.png: channel('mixed3a', 5) of bvlc_googlenet\n")
    assert pixels("mixed3a_5.png").shape == (40, 32, 3)
    settings = pictures.read_settings("mixed3a_5.png")
    assert settings["objective"] == "channel('mixed3a', 5)"
    assert settings["model"].startswith("bvlc_googlenet@")
    assert (settings["steps"], settings["size"], settings["seed"]) == (6, [40, 32], 0)


def test_snapshots_are_saved_beside_the_picture(capsys, folder):
    code, output, _ = run(capsys, "render", "mixed3a:5", *SMALL, "--snapshots", "2,4", "-o", "x.png")
    assert code == 0
    assert [line.partition(":")[0] for line in output.splitlines()] == ["x.png", "x_2.png", "x_4.png"]
    run(capsys, "render", "mixed3a:5", *SMALL, "--steps", "4", "-o", "y.png")
    np.testing.assert_array_equal(pixels("x_4.png"), pixels("y.png"))


def test_like_makes_the_same_picture_again_and_options_change_what_they_name(capsys, folder):
    options = ("--seed", "7", "--lr", "0.1", "--relu", "lucid", "--batch", "2", "--no-transform", "--snapshots", "3")
    run(capsys, "render", "mixed3a:5 - 0.5*mixed3a:9", *SMALL, *options, "-o", "x.png")
    assert run(capsys, "render", "--like", "x.png", "-o", "again.png", "-q")[0] == 0
    np.testing.assert_array_equal(pixels("x.png"), pixels("again.png"))
    assert pictures.read_settings("x.png") == pictures.read_settings("again.png")
    run(capsys, "render", "--like", "x.png", "-o", "other.png", "--seed", "8", "-q")
    assert pictures.read_settings("other.png") == pictures.read_settings("x.png") | {"seed": 8}
    assert (pixels("other.png") != pixels("x.png")).any()
    assert run(capsys, "render", "--like", "x_3.png", "-o", "third.png", "-q")[0] == 0
    np.testing.assert_array_equal(pixels("x_3.png"), pixels("third.png"))


def test_a_published_set_of_transforms_is_chosen_by_its_name(capsys, folder):
    named = ("--transform", "ghiasi", "--views", "2", "--steps", "1", "-o", "x.png")
    assert run(capsys, "render", "mixed3a:5", *SMALL, *named)[0] == 0
    settings = pictures.read_settings("x.png")
    assert settings["views"] == 2
    assert (
        settings["transform"]
        == lj.Recipe.of("mixed3a:5", size=32, transform=lj.transforms.GHIASI).describe()["transform"]
    )
    code, _, error = run(capsys, "render", "mixed3a:5", "--transform", "ghisai")
    assert (code != 0, "did you mean 'ghiasi'" in error) == (True, True)
    code, _, error = run(capsys, "render", "mixed3a:5", "--transform", "maco", "--no-transform")
    assert (code != 0, "not both" in error) == (True, True)


def test_like_repeats_every_image_and_transform_of_the_library(capsys, folder):
    kinds = lj.transforms
    colors = (kinds.ColorJitter(0.1, 0.2), kinds.Noise(0.1, until=2))
    moves = kinds.compose(kinds.Pad(3, 0.2), kinds.RandomScale([0.9, 1.2]), *colors)
    image = lj.image((40, 32), basis=lj.images.Pixels(sd=0.1), batch=2, color="rgb")
    lj.visualize("mixed3a:5", image=image, transform=moves, steps=3, snapshots=(2,), progress=False).save("x.png")
    assert run(capsys, "render", "--like", "x.png", "-o", "again.png", "-q")[0] == 0
    np.testing.assert_array_equal(pixels("x.png"), pixels("again.png"))
    assert run(capsys, "render", "--like", "x.png", "--steps", "1", "-o", "short.png", "-q")[0] == 0
    assert pictures.read_settings("short.png")["snapshots"] == []


def test_a_render_starts_from_a_picture_and_is_repeated_from_it_only(capsys, folder):
    picture = np.random.default_rng(0).integers(0, 256, (40, 32, 3), np.uint8)
    Image.fromarray(picture).save("start.png")
    start = ("--start", "start.png", "-q")
    assert run(capsys, "render", "mixed3a:5", "--size", "40x32", "--steps", "0", "-o", "x.png", *start)[0] == 0
    np.testing.assert_array_equal(pixels("x.png"), picture)
    code, _, errors = run(capsys, "render", "--like", "x.png", "-o", "y.png", "-q")
    assert code == 2
    assert "was made from another picture; give it again as start" in errors
    assert run(capsys, "render", "--like", "x.png", "-o", "y.png", *start)[0] == 0
    np.testing.assert_array_equal(pixels("x.png"), pixels("y.png"))


def test_an_objective_that_stops_being_finite_keeps_the_last_good_picture(capsys, folder):
    code, _, errors = run(capsys, "render", "mixed3a:5 / (0 * mixed3a:5)", *SMALL, "-o", "x.png")
    assert code == 2
    assert re.fullmatch(r"lightjax: error: [^\n]+ step 1[^\n]+ \(saved as x.png\)\n", errors)
    assert pixels("x.png").shape == (40, 32, 3)


def test_a_long_objective_has_a_short_file_name(capsys, folder):
    assert run(capsys, "render", "mixed3a:0-200", *SMALL, "--steps", "1")[0] == 0
    (picture,) = folder.iterdir()
    assert len(picture.name) < 100
    assert run(capsys, "render", "--like", picture.name, "-q")[0] == 0


def test_like_refuses_other_weights_and_pictures_made_from_python(capsys, folder, tmp_path, monkeypatch):

    run(capsys, "render", "mixed3a:5", *SMALL, "--model", "inception5h", "-o", "x.png")
    lj.visualize(lambda a: a["mixed3a"].std(), steps=1, size=32, progress=False).save("python.png")
    code, _, errors = run(capsys, "render", "--like", "python.png")
    assert code == 2
    assert "made from Python with objective=objective(<lambda>), which a file cannot hold" in errors
    torch.save(reference.random_state_dict("inception5h", 1), tmp_path / "inception5h.pth")
    monkeypatch.setenv("LIGHTJAX_HOME", str(tmp_path))
    code, _, errors = run(capsys, "render", "--like", "x.png", "-o", "y.png")
    assert code == 2
    assert "was made with inception5h@" in errors
    assert not Path("y.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("render", "say what to render"),
        ("render mixed3z:5", "did you mean 'mixed3a'"),
        ("render mixed3a:256", "out of range"),
        ("render mixed3a:5 -o x.gif", ".png"),
        ("render mixed3a:5 -o nowhere/x.png", "there is no folder nowhere"),
        ("render mixed3a:5 -o ../cache.png/..", "cannot tell the format"),
        ("render mixed3a:5 --size 0", "at least 1"),
        ("render mixed3a:5 --size big", "HEIGHTxWIDTH"),
        ("render mixed3a:5 --steps -1", "steps must be at least 0"),
        ("render mixed3a:5 --steps many", "--steps"),
        ("render mixed3a:5 --snapshots 1;2", "--snapshots"),
        ("render mixed3a:5 --snapshots 9999", "snapshots must be at most 2048"),
        ("render mixed3a:5 --lr 0", "the learning rate must be greater than 0"),
        ("render mixed3a:5 --relu soft", "unknown ReLU rule"),
        ("render mixed3a:5 --batch 0", "batch must be at least 1"),
        ("render mixed3a:5 --seed -2", "seed must be between 0 and 4294967295"),
        ("render mixed3a:5 --model nowhere", "unknown model 'nowhere'"),
        ("render --like nothing.png", "nothing.png"),
        ("layers --model nothing", "unknown model 'nothing'"),
        ("convert nothing.pth", "no file nothing.pth"),
        ("convert", "SRC"),
        ("paint", "paint"),
        ("render mixed3a:5 --color", "--color"),
        ("render mixed3a:5 --start nothing.png", "nothing.png"),
        ("statistics nowhere -o x.safetensors", "there is no folder nowhere"),
        ("statistics . -o x.safetensors", "there are no pictures"),
        ("statistics . -o nowhere/x.safetensors", "there is no folder nowhere"),
    ],
)
def test_errors_are_one_line_with_exit_code_2_and_write_nothing(capsys, folder, arguments, words):
    code, output, errors = run(capsys, *arguments.split())
    assert code == 2
    assert output == ""
    assert re.fullmatch(r"lightjax: error: [^\n]+\n", errors), errors
    assert words.lower() in errors.lower()
    assert list(folder.iterdir()) == []


def test_devices_that_are_not_here_are_one_line(folder, capsys, monkeypatch):
    command = [str(Path(sys.executable).parent / "lightjax"), "render", "mixed3a:5"]
    environment = os.environ | {"JAX_PLATFORMS": "abacus"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 2
    assert re.fullmatch(r"lightjax: error: JAX_PLATFORMS is 'abacus', but [^\n]+ set it to cpu\n", done.stderr)

    def no_cuda():
        raise AssertionError

    monkeypatch.setattr(jax, "local_devices", no_cuda)
    code, _, errors = run(capsys, "gallery", "mixed3a", "-o", "g")
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("lightjax: error: JAX_PLATFORMS is")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["render", "layers", "convert"])
def test_help_has_examples_and_its_examples_are_real_options(capsys, command):
    code, output, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"lightjax {command}" in output.partition("Examples")[2]
    options = set(re.findall(r"--[a-z-]+", output.partition("Examples")[2]))
    assert options <= set(re.findall(r"--[a-z-]+", output.partition("Examples")[0]))


def test_without_arguments_it_shows_what_there_is(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lightjax"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "render" in capsys.readouterr().out


def test_layers_prints_channels_strides_and_receptive_fields(capsys):
    code, output, _ = run(capsys, "layers")
    assert code == 0
    assert "layers of bvlc_googlenet" in output
    rows = [line.split() for line in output.splitlines()]
    assert ["mixed4a", "512", "16", "171"] in rows
    assert ["softmax2", "1000", "-", "whole", "image"] in rows
    everything = run(capsys, "layers", "--all")[1]
    assert "mixed4b_3x3_bottleneck_pre_relu_conv" in everything
    assert "mixed4b_3x3_bottleneck" not in output


def test_layers_reads_a_weights_file(capsys, home):
    file = str(home / "inception5h.safetensors")
    outputs = [run(capsys, "layers", "--model", model)[1].splitlines() for model in (file, "inception5h")]
    rows = [[line.split() for line in output if line.startswith("  ")] for output in outputs]
    assert rows[0][-15:] == rows[1][-15:]
    assert ["mixed4a", "508", "16", "171"] in rows[0]


@pytest.mark.parametrize(
    "program", [["-m", "lightjax.cli"], ["-m", "convert"]], ids=["lightjax convert", "python -m convert"]
)
def test_convert_as_a_process_writes_and_verifies(program, checkpoint, tmp_path):
    command = [str(Path(sys.executable).parent / "lightjax"), "convert"]
    command = [sys.executable, *program] if "convert" in program else command
    out = tmp_path / "out.safetensors"
    done = subprocess.run(
        [*command, str(checkpoint), "-o", str(out), "--verify"], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "inception5h, 1008 classes" in done.stdout
    assert "all 116 tensors come back bit for bit" in done.stdout
    assert weights.verify(checkpoint, out) == 116


def test_convert_to_a_full_disk_leaves_nothing(checkpoint, tmp_path):
    convert = f"'{sys.executable}' -m convert '{checkpoint}' -o '{tmp_path}/out.safetensors'"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1000 && {convert}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr == f"lightjax: error: {tmp_path}/out.safetensors: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def ctrl_c():
    """Ctrl-C reaches processes started now, also if it does not reach this one, a job in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_saves_what_there_is(folder, ctrl_c):
    command = [str(Path(sys.executable).parent / "lightjax"), "render", "mixed3a:5", "--size", "32", "-o", "x.png"]
    process = subprocess.Popen(
        [*command, "--steps", "1000000"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stderr is not None
    seen = b""
    try:
        while b"objective=" not in seen:  # the progress bar has moved
            seen += os.read(process.stderr.fileno(), 4096)
            assert process.poll() is None, seen
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert output.startswith(b"x.png: ")
    assert b"interrupted after" in errors
    made = pictures.read_settings("x.png")["outcome"]["interrupted"]
    assert 0 < made < 1000000
    assert f"interrupted after {made} of".encode() in errors
    assert [p.name for p in folder.iterdir()] == ["x.png"]


def test_explain_writes_its_pictures_and_a_page_that_a_browser_could_open(capsys, folder, monkeypatch):
    monkeypatch.setattr(lj.networks, "load_model", lambda *given: stand_in())
    pictures.save("photo.jpg", np.random.default_rng(0).uniform(size=(64, 96, 3)))
    command = ("explain", "photo.jpg", "--class", "golden retriever", "-o", "why")
    code, _, errors = run(capsys, *command)
    assert (code, errors) == (
        2,
        "lightjax: error: --layer must be given for this network: lightjax layers --model FILE lists them\n",
    )
    command += ("--against", "282", "--layer", "mixed4d", "--groups", "2", "--steps", "1", "-q")
    code, output, errors = run(capsys, *command)
    assert (code, errors) == (0, "")
    goal = "class_logit('golden retriever') - class_logit(282)"
    assert output == f"why: attribution, groups, grid of mixed4d for {goal}\n"
    for kind in (lj.analysis.Attribution, lj.analysis.Groups, lj.analysis.Grid):
        name = kind.__name__.lower()
        found = kind.read(f"why/{name}.safetensors")
        assert found.settings["layer"] == "mixed4d"
        assert pixels(f"why/{name}.png").ndim == 3
    page = Path("why/index.html").read_text()
    assert "<h1>photo.jpg: golden retriever and not 282</h1>" in page
    assert page.count("<h2>") == 3
    code, _, errors = run(capsys, *command[:3], "no such class", *command[4:])
    assert code == 2
    assert "no class is called 'no such class'" in errors


def neighbors(images):
    """Two layers, of which the second reads the first."""
    a = images[:, ::4, ::4] @ np.eye(3, 2, dtype=np.float32)
    return {"a": a, "b": jax.nn.relu(a) @ np.array([[1, 2, -1], [0, 1, 1]], np.float32)}


def test_circuits_makes_pictures_and_a_page_and_takes_those_of_a_gallery(capsys, folder, monkeypatch):
    neighbors.source = "neighbors"
    monkeypatch.setattr(lj.networks, "load_model", lambda *given: neighbors)
    assert run(capsys, "circuits", "a", "-o", "out") == (
        2,
        "",
        "lightjax: error: name two layers at least, the first of which the second reads: mixed3a mixed3b\n",
    )
    code, output, errors = run(capsys, "circuits", "a", "b", "-o", "out", "--size", "32", "--steps", "1", "-q")
    assert (code, errors) == (0, "")
    assert output == f"{Path('out', 'index.html')}: a to b of neighbors\n"
    assert len([*Path("out/gallery").rglob("*.png")]) == 2 + 3
    page = Path("out/index.html").read_bytes()
    assert b'"b:2"' in page
    code, _, errors = run(capsys, "circuits", "a", "b", "-o", "other", "--gallery", "out/gallery", "-q")
    assert (code, errors) == (0, "")
    assert Path("other/index.html").read_bytes() == page
    assert [path.name for path in Path("other").iterdir()] == ["index.html"]
