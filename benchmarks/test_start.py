"""How long a user waits at the start: `pytest benchmarks/test_start.py`. Each round is a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).parent / "lightjax")
IMPORTS = {"lightjax": "import lightjax", "its libraries": "import jax, flax, optax"}


@pytest.mark.parametrize("imported", IMPORTS)
def test_import(benchmark, imported):
    """A process that imports and ends."""
    benchmark.group = "start: import"
    command = [sys.executable, "-c", IMPORTS[imported]]
    benchmark.pedantic(lambda: subprocess.run(command, check=True), rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_first_step(benchmark, cache, tmp_path, monkeypatch):
    """`lightjax render mixed4a:97` with one step, from the start of the process to the picture on disk."""
    benchmark.group = "start: first step"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [PROGRAM, "render", "mixed4a:97", "--steps", "1", "-q", "-o", "a.png"]
    flags = [] if cache == "warm" else ["--no-compilation-cache"]

    def render():
        subprocess.run(command + flags, check=True, cwd=tmp_path, capture_output=True)

    benchmark.pedantic(render, rounds=5, warmup_rounds=2)
