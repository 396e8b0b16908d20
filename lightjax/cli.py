"""The command line: `lightjax render`, `lightjax gallery`, `lightjax layers`, `lightjax convert`.

Errors are one line on standard error and exit code 2. Arguments are read by Typer, which keeps help, types and
completion out of this file.
"""

import ast
import dataclasses
import os
import re
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

_CACHE_SIZE = 2**30
"""Most bytes of compiled programs to keep; those that were not used for longest go first."""

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
        code = command.main(
            list(sys.argv[1:] if arguments is None else arguments) or ["--help"],
            prog_name="lightjax",
            standalone_mode=False,
        )
    except (KeyboardInterrupt, typer.Abort):
        print("lightjax: interrupted", file=sys.stderr)
        code = 130
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        print(f"lightjax: error: {message}", file=sys.stderr)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _message(error: Exception) -> str | None:
    """What to say about an error that a user can mend; None for one that is our own."""
    from lightjax import WeightsError

    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if hasattr(error, "format_message"):  # Typer's own
        return " ".join(error.format_message().split())  # type: ignore[attr-defined]
    known = (ValueError, TypeError, IndexError, ImportError, OSError, ArithmeticError, WeightsError)
    return " ".join(str(error).split()) if isinstance(error, known) else None


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
CompilationCache = Annotated[
    bool, typer.Option("--compilation-cache/--no-compilation-cache", help="Keep compiled programs for the next time.")
]


@app.command(
    epilog="Examples:\n\n"
    "  lightjax render mixed4a:97\n\n"
    "  lightjax render mixed4a:97 -o dots.png --steps 512 --snapshots 64,256\n\n"
    "  lightjax render 'mixed4a:97 + mixed5a:143' --size 160x320 --seed 3\n\n"
    "  lightjax render mixed4a:97 --start photograph.jpg --steps 64\n\n"
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
    model: Annotated[
        str | None, typer.Option(help="Named network, or file of weights. [default: bvlc_googlenet]")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of Adam. [default: 0.05]")] = None,
    snapshots: Annotated[str | None, typer.Option(help="Also save after these numbers of steps: 64,256.")] = None,
    start: Annotated[Path | None, typer.Option(help="Picture to start from, scaled and cropped to the size.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures optimised together. [default: 1]")] = None,
    relu: Annotated[
        str | None, typer.Option(help="Gradient of the rectifiers: torchlight, lucid, plain. [default: torchlight]")
    ] = None,
    transforms: Annotated[
        bool | None, typer.Option("--transforms/--no-transforms", help="Random moves to survive. [default: yes]")
    ] = None,
    like: Annotated[Path | None, typer.Option(help="Make this PNG again; other options change what they name.")] = None,
    compilation_cache: CompilationCache = True,
    quiet: Quiet = False,
) -> int:
    """Render a picture that excites what OBJECTIVE names."""
    import lightjax
    from lightjax.networks import weights
    from lightjax.pictures import file_format, load_picture, read_settings

    if compilation_cache:
        _keep_compilations()
    made = {} if like is None else _settings_of(read_settings(like), like)
    if made.get("start") and start is None:
        raise ValueError(f"{like} was made from another picture; give it by --start")
    if objective is None and not made:
        raise ValueError("say what to render, such as mixed4a:97, or give --like FILE")
    defaults = {
        "steps": 2048,
        "snapshots": [],
        "seed": 0,
        "model": weights.DEFAULT,
        "lr": 0.05,
        "relu": None,
        "views": 1,
        "image": lightjax.fourier_image(),
        "transforms": lightjax.transforms.DEFAULT,
    }
    given = {
        "objective": objective,
        "steps": steps,
        "snapshots": None if snapshots is None else _numbers(snapshots, "--snapshots"),
        "seed": seed,
        "model": model,
        "lr": lr,
        "relu": relu,
    }
    chosen = defaults | made | {name: value for name, value in given.items() if value is not None}
    if snapshots is None:
        chosen["snapshots"] = [s for s in chosen["snapshots"] if s <= chosen["steps"]]
    if size is not None:
        height, width = lightjax.images.height_and_width(_size(size))
        chosen["image"] = dataclasses.replace(chosen["image"], height=height, width=width)
    if batch is not None:
        lightjax.fourier_image(batch=batch)  # checks it
        chosen["image"] = dataclasses.replace(chosen["image"], batch=batch)
    if transforms is not None:
        chosen["transforms"] = lightjax.transforms.DEFAULT if transforms else None

    output = output or Path(re.sub(r"[^\w.]+", "_", chosen["objective"]).strip("_")[:80] + ".png")
    file_format(output)
    if output.is_dir():
        raise IsADirectoryError(f"{output} is a folder, not a picture to write")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent} to write {output.name} to")
    network = lightjax.load_model(chosen["model"])
    if model is None and made and network.source != made["source"]:
        raise ValueError(f"{like} was made with {made['source']}, but here {chosen['model']} is {network.source}")
    try:
        result = lightjax.visualize(
            chosen["objective"],
            steps=chosen["steps"],
            model=network,
            image=chosen["image"],
            transforms=chosen["transforms"],
            optimizer=chosen["lr"],
            relu=chosen["relu"],
            views=chosen["views"],
            start=None if start is None else load_picture(start, (chosen["image"].height, chosen["image"].width)),
            snapshots=chosen["snapshots"],
            seed=chosen["seed"],
            progress=not quiet,
        )
    except lightjax.NonFiniteError as error:
        error.result.save(output)
        error.result.save_snapshots(output)
        raise ArithmeticError(f"{error} (saved as {output})") from error
    result.save(output)
    about = f"{result.settings['objective']} of {result.settings['model'].partition('@')[0]}"
    for file in [output, *result.save_snapshots(output)]:
        print(f"{file}: {about}")
    if result.interrupted:
        print(f"lightjax: interrupted after {len(result.values)} of {chosen['steps']} steps", file=sys.stderr)
        return 130
    return 0


@app.command(
    epilog="Examples:\n\n"
    "  lightjax gallery mixed3a mixed4a -o inception --size 128 --steps 128\n\n"
    "  lightjax gallery mixed4a -o few --channels 0-15,97 --negative --diverse 4\n\n"
    "  srun lightjax gallery mixed4a mixed4b -o /shared/inception --distributed\n\n"
    "The same command again goes on where it was interrupted. Several may share a folder."
)
def gallery(
    layers: Annotated[list[str], typer.Argument(help="Names of layers.", metavar="LAYER...", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to fill.", show_default=False)],
    channels: Annotated[str | None, typer.Option(help="Channels of each: 0-63,97. [default: all]")] = None,
    steps: Annotated[int, typer.Option(help="Number of updates.")] = 512,
    size: Annotated[str, typer.Option(help="Pixels: N or HEIGHTxWIDTH.")] = "224",
    positive: Annotated[
        bool, typer.Option("--positive/--no-positive", help="Render what excites a channel most.")
    ] = True,
    negative: Annotated[
        bool, typer.Option("--negative/--no-negative", help="Render what quiets a channel most.")
    ] = False,
    diverse: Annotated[int, typer.Option(help="Different pictures of each channel, made together.")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, same pictures.")] = 0,
    model: Annotated[
        str | None, typer.Option(help="Named network, or file of weights. [default: bvlc_googlenet]")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of Adam. [default: 0.05]")] = None,
    relu: Annotated[
        str | None, typer.Option(help="Gradient of the rectifiers: torchlight, lucid, plain. [default: torchlight]")
    ] = None,
    transforms: Annotated[bool, typer.Option("--transforms/--no-transforms", help="Random moves to survive.")] = True,
    chunk: Annotated[
        int | None, typer.Option(help="Pictures rendered together. [default: what fits; at most 8 on a CPU]")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Folder of photographs: show those that excite a channel most.")
    ] = None,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Render the share of this process of a cluster.")
    ] = False,
    compilation_cache: CompilationCache = True,
    quiet: Quiet = False,
) -> int:
    """Render every channel of LAYERs into a folder, with a page that shows them."""
    from lightjax import transforms as moves
    from lightjax.gallery import cluster
    from lightjax.gallery import run as galleries

    if compilation_cache:
        _keep_compilations()
    if examples is not None and not examples.is_dir():
        raise NotADirectoryError(f"--examples names {examples}, which is no folder")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"lightjax: note: {message}", file=sys.stderr)
            made = galleries.render(
                output,
                layers,
                channels=None if channels is None else galleries.parse_channels(channels),
                positive=positive,
                negative=negative,
                diverse=diverse,
                steps=steps,
                size=_size(size),
                model=model,
                transforms=moves.DEFAULT if transforms else None,
                optimizer=lr,
                relu=relu,
                seed=seed,
                chunk=chunk,
                share=cluster.find() if distributed else cluster.Place(0, 1),
                examples=examples,
                progress=not quiet,
            )
    except KeyboardInterrupt:
        print("lightjax: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    if made.failed:
        print(
            f"lightjax: note: {len(made.failed)} pictures show the last good state, for their objective stopped being "
            f"finite: {', '.join(made.failed)}",
            file=sys.stderr,
        )
    if made.missing:
        print(f"lightjax: note: {made.missing} pictures are missing; the same command makes them", file=sys.stderr)
    pictures = f"{made.pictures - made.missing} of {made.pictures}" if made.missing else f"{made.pictures}"
    print(f"{output}: {pictures} pictures of {made.model}, {made.rendered} of them new")
    return 0


@app.command(
    epilog="Examples:\n\n  lightjax layers\n\n  lightjax layers --model inception5h\n\n  lightjax layers --all"
)
def layers(
    model: Annotated[str, typer.Option(help="Named network, or file of weights.")] = "bvlc_googlenet",
    everything: Annotated[
        bool, typer.Option("--all", help="Also the insides of blocks, before and after their rectifiers.")
    ] = False,
) -> None:
    """List the layers of a network: channels, stride and receptive field in pixels."""
    import rich.box
    import rich.console
    import rich.table

    from lightjax import load_model
    from lightjax.networks import architectures

    named = architectures.ARCHITECTURES.get(model)
    table = rich.table.Table("layer", title=f"layers of {model}", box=rich.box.SIMPLE_HEAD)
    for heading in ("channels", "stride", "receptive field"):
        table.add_column(heading, justify="right")
    for layer in architectures.layers(named) if named else load_model(model).layers:
        inside = (layer.name.startswith("mixed") and "_" in layer.name) or layer.name.endswith("_pre_relu_conv")
        if everything or not inside:
            numbers = (layer.channels, layer.stride or "-", layer.receptive_field or "whole image")
            table.add_row(layer.name, *map(str, numbers))
    rich.console.Console().print(table)


@app.command(
    epilog="Examples:\n\n"
    "  lightjax convert inception5h.pth -o inception5h.safetensors\n\n"
    "  lightjax convert bvlc_googlenet.pth --half --verify"
)
def convert(
    source: Annotated[Path, typer.Argument(help="PyTorch state dict (.pth).", metavar="SRC", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Weights file to write. [default: SRC with .safetensors]")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Round to float16, which halves the file.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Export the result again and compare it bit for bit with SRC.")
    ] = False,
) -> None:
    """Convert PyTorch weights of InceptionV1 into a lightjax weights file."""
    from lightjax.networks import weights

    output = output or source.with_suffix(".safetensors")
    architecture, skipped = weights.convert(source, output, half=half)
    count = 0
    if verify:
        try:
            count = weights.verify(source, output)
        except Exception:
            output.unlink()
            raise
    print(f"{output}: {architecture.name}, {architecture.classes or 'no'} classes" + ", float16 weights" * half)
    if skipped:
        print(f"left out {len(skipped)} tensors of auxiliary classifiers: {', '.join(skipped)}")
    if verify:
        print(f"verified: all {count} tensors come back bit for bit" + ", rounded to float16" * half)


@app.command(epilog="Example:\n\n  lightjax statistics photographs -o photographs.safetensors")
def statistics(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, with folders in it.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (.safetensors).", show_default=False)],
    size: Annotated[int, typer.Option(help="Side of the square that each picture is cut to, in pixels.")] = 128,
    credit: Annotated[str, typer.Option(help="Source and licence of the pictures, kept in the file.")] = "",
) -> None:
    """Measure the colours and the spectrum of a folder of pictures, for maco_image and for colour=..."""
    from lightjax.images import statistics

    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent} to write {output.name} to")
    pictures = statistics.find_pictures(folder)
    measured = statistics.measure(pictures, size)
    notes = {"pictures": str(len(pictures)), "size": str(size), "credit": credit}
    statistics.write(output, measured, notes)
    print(f"{output}: {len(pictures)} pictures")


def _settings_of(settings: dict, file: Path) -> dict:
    """The options that make a picture again, from the settings that it carries."""
    from lightjax import images, transforms

    try:
        image = _rebuild(settings["image"], images)
        moves = None if settings["transforms"] == "None" else _rebuild(settings["transforms"], transforms)
        optimizer = re.fullmatch(r"adam\((.+)\)", settings["optimizer"])
        parts = {
            "objective": _readable(settings["objective"]),
            "image": image is not None,
            "transforms": moves is not None or settings["transforms"] == "None",
            "optimizer": optimizer is not None,
            "model": "@" in settings["model"],
        }
        foreign = [f"{name}={settings[name]}" for name, known in parts.items() if not known]
        if foreign or optimizer is None:
            raise ValueError(
                f"{file} was made from Python with {', '.join(foreign)}, which the command line cannot repeat"
            )
        return {
            "objective": settings["objective"],
            "steps": settings.get("interrupted", settings.get("stopped", settings["steps"])),
            "snapshots": settings["snapshots"],
            "seed": settings["seed"],
            "model": settings["model"].partition("@")[0],
            "source": settings["model"],
            "lr": float(optimizer[1]),
            "relu": settings["relu"],
            "views": settings.get("views", 1),
            "start": settings["start"],
            "image": image,
            "transforms": moves,
        }
    except KeyError as error:
        raise ValueError(f"{file} was made by another version of lightjax: its settings lack {error}") from error


def _readable(objective: str) -> bool:
    """Whether an objective was written out whole, without functions or long arrays."""
    from lightjax import parse

    try:
        return bool(parse(objective))
    except ValueError:
        return False


def _rebuild(text: str, module: types.ModuleType):
    """Read back the printed form of one of a module's frozen dataclasses; None if it is something else."""

    def build(node: ast.expr):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
                kind = getattr(module, name)
                if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
                    raise AttributeError(name)
                return kind(**{str(keyword.arg): build(keyword.value) for keyword in keywords})
            case ast.Tuple(elts=items):
                return tuple(build(item) for item in items)
            case _:
                return ast.literal_eval(node)

    try:
        return build(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, AttributeError):
        return None


def _keep_compilations() -> None:
    """Keep compiled programs in the user's cache folder, unless another is set or it cannot be written."""
    import jax

    from lightjax.networks import weights

    folder = weights.cache_folder() / "compiled"
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            return
    except OSError:  # a render can do without
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", _CACHE_SIZE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise ValueError(f"--size is N or HEIGHTxWIDTH, such as 224 or 160x320, not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _numbers(text: str, option: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise ValueError(f"{option} takes numbers with commas between them, such as 64,256, not {text!r}")
    return [int(n) for n in text.split(",")]
