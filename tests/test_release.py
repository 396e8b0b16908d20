"""The packages of a release: built, checked, and used in an environment of their own (`pytest -m release`)."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

import lightjax as lj

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, **options) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_version_stands_in_one_place_and_the_citation_agrees():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert lj.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Path]:
    """The wheel and the source distribution, built from a copy of the files that git knows."""
    folder = tmp_path_factory.mktemp("packages")
    copy = folder / "copy"
    for name in run("git", "ls-files", cwd=ROOT).splitlines():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", copy)
    run(sys.executable, "-m", "twine", "check", "--strict", *(folder / "dist").iterdir())
    return {path.suffix: path for path in (folder / "dist").iterdir()}


@pytest.mark.release
@pytest.mark.parametrize("kind", [".whl", ".gz"])
def test_a_package_renders_in_a_fresh_environment_without_pytorch_and_network(packages, kind, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", packages[kind])
    assert "torch" not in run(python, "-m", "pip", "list").lower().split()
    offline = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    offline |= {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    offline.pop("PYTHONPATH", None)
    command = [tmp_path / "env" / "bin" / "lightjax", "render", "mixed4a:97", "--steps", "16", "-q"]
    run(*command, cwd=tmp_path, env=offline)
    assert lj.pictures.read_settings(tmp_path / "mixed4a_97.png")["steps"] == 16


@pytest.mark.release
def test_the_source_distribution_holds_what_its_tests_need(packages, tmp_path):
    shutil.unpack_archive(packages[".gz"], tmp_path)
    (folder,) = tmp_path.iterdir()
    tests = ["tests/test_house.py", "tests/test_names.py", "tests/test_pictures.py", "tests/test_release.py"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=folder, env=environment)
    assert " passed" in done
    assert " failed" not in done
