"""What several commands share: options, and checks of their values."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from lightjax import _checks

CACHE_SIZE = 2**30
"""Most bytes of compiled programs to keep; those that were not used for longest go first."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Model = Annotated[str | None, typer.Option(help="Named network, or file of weights. [default: bvlc_googlenet]")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate of Adam. [default: 0.05]")]
Relu = Annotated[
    str | None, typer.Option(help="Gradient of the rectifiers: torchlight, lucid, plain. [default: torchlight]")
]
CompilationCache = Annotated[
    bool, typer.Option("--compilation-cache/--no-compilation-cache", help="Keep compiled programs for the next time.")
]


def whole_number(text: str | int) -> int:
    """The whole number that was typed: 2048, but not 1.0. Typer also sends the default through here."""
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", str(text)):
        raise typer.BadParameter(f"{_checks.shown(text)} is not a whole number")
    return int(text)


def whole(help: str) -> Any:
    """An option that takes a whole number."""
    return typer.Option(parser=whole_number, metavar="INTEGER", help=help)


def keep_compilations(wanted: bool) -> None:
    """Keep compiled programs in the user's cache folder, unless another is set or it cannot be written."""
    import jax

    from lightjax.networks.weights import cache_folder

    folder = cache_folder() / "compiled"
    if not wanted or jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            return
    except OSError:  # a render can do without
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHE_SIZE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def check_output(file: Path) -> None:
    """Refuse a file that cannot be written because of its folder."""
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder, not a file to write")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {file.parent} to write {file.name} to")


def size_of(text: str) -> tuple[int, int]:
    """Height and width of "224" or "160x320"."""
    match = re.fullmatch(r"([0-9]{1,20})(?:x([0-9]{1,20}))?", text)
    if not match:
        raise ValueError(f"--size must be N or HEIGHTxWIDTH, such as 224 or 160x320, got {_checks.shown(text)}")
    return int(match[1]), int(match[2] or match[1])


def transform_of(name: str) -> Any:
    """The set of `lightjax.transforms` with this name, such as "ghiasi"."""
    from lightjax import transforms

    names = [name.lower() for name in transforms.__all__ if name.isupper()]
    return getattr(transforms, _checks.one_of(name, names, "transform").upper())


def numbers_of(text: str, option: str) -> list[int]:
    """The numbers of "64,256"."""
    if not re.fullmatch(r"[0-9]{1,20}(,[0-9]{1,20})*", text):
        raise ValueError(
            f"{option} must be numbers with commas between them, such as 64,256, got {_checks.shown(text)}"
        )
    return [int(n) for n in text.split(",")]


def decimals_of(text: str, option: str) -> list[float]:
    """The numbers of "0.485,0.456,0.406"."""
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} must be numbers with commas between them, got {text!r}") from None
