"""The README: its examples run, with fewer steps, and its pictures were made by its commands."""

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from lightjax import pictures

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
READING = re.search(r"^## Reading a network\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)[1]  # run by test_docs.py
PYTHON = re.findall(r"```python\n(.*?)```", README.replace(READING, ""), re.DOTALL)
COMMANDS = re.findall(r"^\$ (lightjax .+)$", README, re.MULTILINE)


@pytest.fixture
def offline(tmp_path, compilations, monkeypatch) -> Path:
    """An empty folder to work in, without weights and without a connection; compiled programs are shared."""
    monkeypatch.delenv("LIGHTJAX_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in compilations.items():
        monkeypatch.setenv(name, value)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_examples_in_python_run_one_after_the_other(offline):
    """In one process, with at most one step and 64 pixels each."""
    cut = """
        import lightjax
        def cut(full):
            def less(objective, steps=2048, **rest):
                size = {} if "image" in rest or "model" in rest else {"size": 64}
                return full(objective, steps=min(steps, 1), progress=False, **rest | size)
            return less
        lightjax.visualize, lightjax.visualize_many = cut(lightjax.visualize), cut(lightjax.visualize_many)
        dream = lightjax.dream
        lightjax.dream = lambda file, layer, size: dream(file, layer, size=64, octaves=1, steps=1, progress=False)
    """
    code = "\n".join([textwrap.dedent(cut), *PYTHON])
    pictures.save("photograph.jpg", np.full((64, 64, 3), 0.5))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (offline / "mixed4a_97.png").exists()
    assert (offline / "pair.png").exists()
    assert (offline / "dream.png").exists()
    assert len(list(offline.glob("mixed4a_?.png"))) == 4


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run_without_a_connection(command, offline, request):
    arguments = shlex.split(command)
    program = [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]]
    if "convert" in program:
        program[2] = str(request.getfixturevalue("googlenet_file"))
    if "render" in program or "gallery" in program:
        program = [re.sub(r"^32,128$", "1,2", p) for p in program] + ["--steps", "2", "-q"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600)
    wrong = "mixed4z" in command
    assert done.returncode == (2 if wrong else 0), done.stderr
    if wrong:
        assert done.stderr in README


def test_every_picture_is_in_the_repository_and_small():
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", README)
    assert len(pictures) >= 4
    for picture in pictures:
        assert (ROOT / picture).stat().st_size < 500_000


@pytest.mark.parametrize("steps", [32, 128, 512])
def test_the_pictures_of_the_command_were_made_by_it(steps):
    name = "mixed4a_97.png" if steps == 512 else f"mixed4a_97_{steps}.png"
    settings = pictures.read_settings(ROOT / "docs" / name)
    assert settings["objective"] == "channel('mixed4a', 97)"
    assert settings["steps"] == steps
    assert settings["model"].startswith("bvlc_googlenet@")
