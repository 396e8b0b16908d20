"""Galleries that were changed on purpose, and kills at every file operation; nothing may be mishandled."""

import copy
import json
import os
import shutil
import socket
import struct
import zlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from lightjax.gallery import run
from lightjax.pictures import save

ODD = (None, True, -1, 10**30, 1.5, "", "../..", "/etc/passwd", [], {}, [[]], {"../..": "0-999999"})


def model(images):
    """A network of one layer, with two channels."""
    return {"a": jnp.stack([images[..., 0] * 2, images[..., 1] - images[..., 2]], axis=-1)}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    save(folder / "one.png", np.full((32, 32, 3), 0.5, np.float32))
    return folder


@pytest.fixture(scope="module")
def again(photographs):
    def render(folder: Path):
        settings = {"model": model, "size": 32, "steps": 1, "transform": None, "progress": False, "chunk": 1}
        return run.render(folder, ["a"], examples=photographs, evaluate=True, **settings)

    return render


@pytest.fixture(scope="module")
def whole(again, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("galleries") / "whole"
    again(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def complaint(again, folder: Path) -> str:
    """What is wrong with the way a changed gallery is treated; empty if nothing is."""
    try:
        again(folder)
    except (ValueError, OSError) as error:
        text = str(error)
        return "" if "\n" not in text and len(text) < 1500 else f"long: {text[:80]}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def edits(value):
    """All versions of a JSON value with one place replaced or left out."""
    places = []

    def walk(inner, path):
        items = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else ()
        for key, below in items:
            places.append((*path, key))
            walk(below, (*path, key))

    walk(value, ())
    for number, place in enumerate(places):
        for odd in [ODD[number % len(ODD)]] + [...] * (number % 2):
            edited = copy.deepcopy(value)
            at = edited
            for key in place[:-1]:
                at = at[key]
            if odd is ...:
                del at[place[-1]]
            else:
                at[place[-1]] = odd
            yield edited


@pytest.mark.parametrize("name", ["manifest.json", "examples.json", "evaluation.json"])
def test_edited_files_are_refused_in_one_line(name, again, whole, tmp_path):
    texts = ["", "null", "[]", "[" * 100_000, '{"a":' * 100_000, "\xff", "NaN"]
    texts += [json.dumps(edited) for edited in edits(json.loads((whole / name).read_text()))]
    bad = []
    folder = shutil.copytree(whole, tmp_path / "g")
    outside = sorted(os.listdir(tmp_path))
    for text in texts:
        (folder / name).write_text(text)
        if told := complaint(again, folder):
            bad.append((text[:80], told))
    print(f"{name}: {len(texts)} attempts, {len(bad)} mishandled")
    assert len(texts) > 20
    assert bad == []
    assert sorted(os.listdir(tmp_path)) == outside


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)
        one.bind(path.name)
        os.chdir(here)


def bomb(path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(start + struct.pack(">I", 9) + b"IDAT")


def other(path: Path) -> None:
    save(path.with_suffix(".png"), np.zeros((32, 32, 3), np.float32), {"layer": "b"})
    path.with_suffix(".png").rename(path)


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def test_replaced_files_are_made_again_or_refused(again, whole, tmp_path):
    kinds = [fifo, bound_socket, bomb, other, link, Path.mkdir, Path.touch]
    names = ["a/0000.png", "manifest.json", "index.html", "examples.json", "examples/a-0000-1.jpg", "evaluation.json"]
    bad = []
    for kind in kinds:
        for name in names:
            folder = shutil.copytree(whole, tmp_path / "g")
            (folder / name).unlink()
            kind(folder / name)
            told = complaint(again, folder)
            if told:
                bad.append((kind.__name__, name, told))
            shutil.rmtree(folder)
    print(f"replaced: {len(kinds) * len(names)} attempts, {len(bad)} mishandled")
    assert bad == []


class Killed(BaseException):
    """A kill: nothing cleans up after it."""


@pytest.mark.parametrize("operation", ["replace", "fsync"])
def test_a_kill_at_any_operation_leaves_nothing(operation, again, whole, tmp_path, monkeypatch):
    real = getattr(os, operation)
    bad, number = [], 0
    while True:
        calls = []

        def die(*arguments, calls=calls, number=number):
            calls.append(0)
            if len(calls) > number:
                raise Killed
            return real(*arguments)

        folder = tmp_path / str(number)
        with monkeypatch.context() as patch:
            patch.setattr(os, operation, die)
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            try:
                again(folder)
                break
            except Killed:
                pass
        again(folder)
        if contents(folder) != contents(whole):
            bad.append(number)
        number += 1
    print(f"kills at {operation}: {number} attempts, {len(bad)} mishandled")
    assert number >= 6
    assert bad == []
