"""The command line: `lightjax render`, `lightjax layers`, `lightjax convert`.

Errors are one line on standard error and exit code 2. Arguments are read by Typer, which keeps help, types and
completion out of this file.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    name="lightjax",
    help="Feature visualization: pictures of what a neural network has learned.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: with 0, with 2 after an error, with 130 after Ctrl-C."""
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments or sys.argv[1:]) or ["--help"], prog_name="lightjax", standalone_mode=False)
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        print(f"lightjax: error: {message}", file=sys.stderr)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _message(error: Exception) -> str | None:
    """What to say about an error that a user can mend; None for one that is our own."""
    from lightjax import NonFiniteError, WeightsError

    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if hasattr(error, "format_message"):  # Typer's own
        return " ".join(error.format_message().split())  # type: ignore[attr-defined]
    known = (ValueError, TypeError, IndexError, ImportError, OSError, NonFiniteError, WeightsError)
    return " ".join(str(error).split()) if isinstance(error, known) else None


@app.command(
    epilog="Examples:\n\n"
    "  lightjax render mixed4a:97\n\n"
    "  lightjax render mixed4a:97 -o dots.png --steps 512 --snapshots 64,256\n\n"
    "  lightjax render 'mixed4a:97 + mixed5a:143' --size 160x320 --seed 3\n\n"
    '  lightjax render \'channel("mixed4b", 154, batch=0) - channel("mixed4b", 154, batch=1)\' --batch 2\n\n'
    "  lightjax render --like dots.png --seed 4 -o other_dots.png"
)
def render(
    objective: Annotated[
        str | None,
        typer.Argument(help="Layer, layer:channel, layer:channel:position, or arithmetic of them.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture to write. [default: named after the objective]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of updates. [default: 2048]")] = None,
    size: Annotated[str | None, typer.Option(help="Pixels: N or HEIGHTxWIDTH. [default: 224]")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture. [default: 0]")] = None,
    model: Annotated[str | None, typer.Option(help="Named network, or file of weights. [default: inception5h]")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of Adam. [default: 0.05]")] = None,
    snapshots: Annotated[str | None, typer.Option(help="Also save after these numbers of steps: 64,256.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures optimised together. [default: 1]")] = None,
    relu: Annotated[
        str | None, typer.Option(help="Gradient of the rectifiers: torchlight, lucid, plain. [default: torchlight]")
    ] = None,
    transforms: Annotated[
        bool | None, typer.Option("--transforms/--no-transforms", help="Random moves to survive. [default: yes]")
    ] = None,
    like: Annotated[Path | None, typer.Option(help="Make this PNG again; other options change what they name.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> int:
    """Render a picture that excites what OBJECTIVE names."""
    import lightjax
    from lightjax import imageio

    made = {} if like is None else _settings_of(imageio.read_settings(like), like)
    if objective is None and like is None:
        raise ValueError("say what to render, such as mixed4a:97, or give --like FILE")
    given = {
        "objective": objective,
        "steps": steps,
        "size": None if size is None else _size(size),
        "seed": seed,
        "model": model,
        "lr": lr,
        "snapshots": None if snapshots is None else _numbers(snapshots, "--snapshots"),
        "batch": batch,
        "relu": relu,
        "transforms": transforms,
    }
    defaults = {"steps": 2048, "size": (224, 224), "seed": 0, "lr": 0.05, "snapshots": [], "batch": 1}
    chosen = defaults | {"model": None, "relu": None, "transforms": True} | made
    chosen |= {name: value for name, value in given.items() if value is not None}

    output = output or Path(re.sub(r"[^\w.]+", "_", chosen["objective"]).strip("_") + ".png")
    imageio.file_format(output)
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent} to write {output.name} to")
    network = lightjax.load_model(chosen["model"]) if chosen["model"] else lightjax.load_model()
    if model is None and made and network.source != made["source"]:
        raise ValueError(f"{like} was made with {made['source']}, but here {chosen['model']} is {network.source}")
    try:
        result = lightjax.visualize(
            chosen["objective"],
            steps=chosen["steps"],
            model=network,
            image=lightjax.fourier_image(chosen["size"], batch=chosen["batch"]),
            transforms=lightjax.transforms.DEFAULT if chosen["transforms"] else None,
            optimizer=chosen["lr"],
            relu=chosen["relu"],
            snapshots=chosen["snapshots"],
            seed=chosen["seed"],
            progress=not quiet,
        )
    except lightjax.NonFiniteError as error:
        error.result.save(output)
        raise ArithmeticError(f"{error}, saved as {output}") from error
    result.save(output)
    for file in [output, *result.save_snapshots(output)]:
        print(file)
    if result.interrupted:
        print(f"lightjax: interrupted after {len(result.values)} of {chosen['steps']} steps", file=sys.stderr)
        return 130
    return 0


@app.command(
    epilog="Examples:\n\n  lightjax layers\n\n  lightjax layers --model bvlc_googlenet\n\n  lightjax layers --all"
)
def layers(
    model: Annotated[str, typer.Option(help="Named network, or file of weights.")] = "inception5h",
    everything: Annotated[
        bool, typer.Option("--all", help="Also the insides of blocks, before and after their rectifiers.")
    ] = False,
) -> None:
    """List the layers of a network: channels, stride and receptive field in pixels."""
    import rich.box
    import rich.console
    import rich.table

    from lightjax import inception, load_model

    named = inception.ARCHITECTURES.get(model)
    table = rich.table.Table("layer", box=rich.box.SIMPLE_HEAD)
    for heading in ("channels", "stride", "receptive field"):
        table.add_column(heading, justify="right")
    for layer in inception.layers(named) if named else load_model(model).layers:
        inside = (layer.name.startswith("mixed") and "_" in layer.name) or layer.name.endswith("_pre_relu_conv")
        if everything or not inside:
            numbers = (layer.channels, layer.stride or "-", layer.receptive_field or "whole image")
            table.add_row(layer.name, *map(str, numbers))
    rich.console.Console().print(table)


@app.command(
    epilog="Examples:\n\n"
    "  lightjax convert inception5h.pth -o inception5h.safetensors\n\n"
    "  lightjax convert bvlc_googlenet.pth --verify"
)
def convert(
    source: Annotated[Path, typer.Argument(help="PyTorch state dict (.pth).", metavar="SRC", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Weights file to write. [default: SRC with .safetensors]")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Export the result again and compare it bit for bit with SRC.")
    ] = False,
) -> None:
    """Convert PyTorch weights of InceptionV1 into a lightjax weights file."""
    from lightjax import weights

    output = output or source.with_suffix(".safetensors")
    architecture, skipped = weights.convert(source, output)
    print(f"{output}: {architecture.name}, {architecture.classes or 'no'} classes")
    if skipped:
        print(f"left out {len(skipped)} tensors of auxiliary classifiers: {', '.join(skipped)}")
    if verify:
        print(f"verified: all {weights.verify(source, output)} tensors come back bit for bit")


def _settings_of(settings: dict, file: Path) -> dict:
    """The options that make a picture again, from the settings that it carries."""
    import lightjax

    size, transforms = tuple(settings["size"]), settings["transforms"]
    batch = int(re.search(r"batch=(\d+)|$", settings["image"])[1] or 1)  # type: ignore[index]
    optimizer = re.fullmatch(r"adam\((.+)\)", settings["optimizer"])
    foreign = [
        f"{name}={settings[name]}"
        for name, known in (
            ("objective", not settings["objective"].startswith("objective(")),
            ("image", settings["image"] == repr(lightjax.fourier_image(size, batch=batch))),
            ("transforms", transforms in (repr(lightjax.transforms.DEFAULT), "None")),
            ("optimizer", optimizer is not None),
            ("model", "@" in settings["model"]),
        )
        if not known
    ]
    if foreign or optimizer is None:
        raise ValueError(f"{file} was made from Python with {', '.join(foreign)}, which the command line cannot repeat")
    return {
        "objective": settings["objective"],
        "steps": settings.get("interrupted", settings["steps"]),
        "snapshots": [s for s in settings["snapshots"] if s <= settings.get("interrupted", s)],
        "size": size,
        "seed": settings["seed"],
        "model": settings["model"].partition("@")[0],
        "source": settings["model"],
        "lr": float(optimizer[1]),
        "batch": batch,
        "relu": settings["relu"],
        "transforms": transforms != "None",
    }


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise ValueError(f"--size is N or HEIGHTxWIDTH, such as 224 or 160x320, not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _numbers(text: str, option: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise ValueError(f"{option} takes numbers with commas between them, such as 64,256, not {text!r}")
    return [int(n) for n in text.split(",")]
