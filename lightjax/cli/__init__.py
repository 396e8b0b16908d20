"""The command line: `lightjax render`, `gallery`, `explain`, `atlas`, `circuits`, `layers`, `convert` and `statistics`.

Typer reads the arguments. Errors are one line on standard error and exit code 2.
"""

import importlib.metadata
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from lightjax._files import Forgiving
from lightjax.cli import atlas, circuits, explain, gallery, networks, render, statistics

app = typer.Typer(
    name="lightjax",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lightjax {importlib.metadata.version('lightjax')}")
        raise typer.Exit()


@app.callback()
def _lightjax(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Feature visualization: pictures of what a neural network has learned."""


app.command(epilog=render.EPILOG)(render.render)
app.command(epilog=gallery.EPILOG)(gallery.gallery)
app.command(epilog=explain.EPILOG)(explain.explain)
app.command(epilog=atlas.EPILOG)(atlas.atlas)
app.command(epilog=circuits.EPILOG)(circuits.circuits)
app.command(epilog=networks.LAYERS_EPILOG)(networks.layers)
app.command(epilog=networks.CONVERT_EPILOG)(networks.convert)
app.command(epilog=statistics.EPILOG)(statistics.statistics)

_LONGEST = 900
"""Most characters of an error."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: with 0, with 2 after an error, with 130 after Ctrl-C."""
    command = typer.main.get_command(app)
    _prepare_streams()
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: notes.append(" ".join(str(message).split()))
            code = command.main(
                list(sys.argv[1:] if arguments is None else arguments) or ["--help"],
                prog_name="lightjax",
                standalone_mode=False,
            )
        for note in notes:  # an error is one line, without the warnings before it
            print(f"lightjax: note: {note}", file=sys.stderr)
    except (KeyboardInterrupt, typer.Abort):
        print("lightjax: interrupted", file=sys.stderr)
        code = 130
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        print(f"lightjax: error: {message}", file=sys.stderr)
        code = 2
    _flush_output()
    sys.exit(code if isinstance(code, int) else 0)


def _prepare_streams() -> None:
    """Let names be printed in any encoding, and let notes be lost where standard error is closed or full."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stderr = Forgiving(sys.stderr)


def _flush_output() -> None:
    """Write what is left, and drop what cannot be written, so that Python does not complain when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _message(error: Exception) -> str | None:
    """The message of an error that the user can correct; None for an error of lightjax itself."""
    from lightjax import WeightsError

    known = (ValueError, TypeError, IndexError, ImportError, OSError, ArithmeticError, WeightsError)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        text = "there is not enough memory for this: use a smaller size or batch"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif hasattr(error, "format_message"):  # Typer's own
        text = error.format_message()  # type: ignore[attr-defined]
    elif isinstance(error, known):
        text = str(error)
    else:
        return None
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return text if len(text) < _LONGEST else f"{text[:_LONGEST]}..."
