"""The command line: `lightjax render`, `gallery`, `layers`, `convert` and `statistics`.

Typer reads the arguments. Errors are one line on standard error and exit code 2.
"""

import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

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
    """The message of an error that the user can correct; None for an error of lightjax itself."""
    from lightjax import WeightsError

    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if hasattr(error, "format_message"):  # Typer's own
        return " ".join(error.format_message().split())  # type: ignore[attr-defined]
    known = (ValueError, TypeError, IndexError, ImportError, OSError, ArithmeticError, WeightsError)
    return " ".join(str(error).split()) if isinstance(error, known) else None


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Model = Annotated[str | None, typer.Option(help="Named network, or file of weights. [default: bvlc_googlenet]")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate of Adam. [default: 0.05]")]
Relu = Annotated[
    str | None, typer.Option(help="Gradient of the rectifiers: torchlight, lucid, plain. [default: torchlight]")
]
CompilationCache = Annotated[
    bool, typer.Option("--compilation-cache/--no-compilation-cache", help="Keep compiled programs for the next time.")
]


@app.command(
    epilog="Examples:\n\n"
    "  lightjax render mixed4a:97\n\n"
    "  lightjax render mixed4a:97 -o dots.png --steps 512 --snapshots 64,256\n\n"
    "  lightjax render 'mixed4a:97 + mixed5a:143' --size 160x320 --seed 3\n\n"
    "  lightjax render mixed4a:97 --start photograph.jpg --steps 64\n\n"
    "  lightjax render 'mixed4b:154[0] - mixed4b:154[1]' --batch 2\n\n"
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
    model: Model = None,
    lr: LearningRate = None,
    snapshots: Annotated[str | None, typer.Option(help="Also save after these numbers of steps: 64,256.")] = None,
    start: Annotated[Path | None, typer.Option(help="Picture to start from, scaled and cropped to the size.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures optimized together. [default: 1]")] = None,
    relu: Relu = None,
    transform: Annotated[
        bool | None, typer.Option("--transform/--no-transform", help="Random transform per step. [default: yes]")
    ] = None,
    like: Annotated[Path | None, typer.Option(help="Render this PNG again. Options replace its settings.")] = None,
    compilation_cache: CompilationCache = True,
    quiet: Quiet = False,
) -> int:
    """Render a picture that maximizes OBJECTIVE."""
    import lightjax
    from lightjax.pictures import file_format, load_picture, read_settings

    _keep_compilations(compilation_cache)
    if objective is None and like is None:
        raise ValueError("say what to render, such as mixed4a:97, or give --like FILE")
    written = {} if like is None else read_settings(like)
    wanted = {
        "steps": steps,
        "size": None if size is None else _size(size),
        "seed": seed,
        "model": model,
        "optimizer": lr,
        "relu": relu,
        "snapshots": None if snapshots is None else _numbers(snapshots, "--snapshots"),
    }
    settings: Any = {name: value for name, value in wanted.items() if value is not None}
    if transform is not None:
        settings["transform"] = lightjax.transforms.DEFAULT if transform else None
    if start is not None:
        settings["start"] = load_picture(start, settings.get("size", tuple(written.get("size", (224, 224)))))
    title = objective or written.get("objective", "picture")
    output = output or Path(re.sub(r"[^\w.]+", "_", title).strip("_")[:80] + ".png")
    file_format(output)
    _check_output(output)
    if like is not None:
        recipe = lightjax.Recipe.read(like, objective, batch=batch, **settings)
    else:
        settings["image"] = lightjax.image(settings.pop("size", 224), batch=1 if batch is None else batch)
        recipe = lightjax.Recipe.of(objective, **settings)
    try:
        result = lightjax.render(recipe, progress=not quiet)
    except lightjax.NonFiniteError as error:
        error.result.save(output)
        error.result.save_snapshots(output)
        raise ArithmeticError(f"{error} (saved as {output})") from None
    result.save(output)
    for file in [output, *result.save_snapshots(output)]:
        print(f"{file}: {result.settings['objective']} of {result.model}")
    if result.interrupted:
        print(f"lightjax: interrupted after {len(result.values)} of {recipe.steps} steps", file=sys.stderr)
        return 130
    return 0


@app.command(
    epilog="Examples:\n\n"
    "  lightjax gallery mixed3a mixed4a -o inception --size 128 --steps 128\n\n"
    "  lightjax gallery mixed4a -o few --channels 0-15,97 --negative --diverse 4\n\n"
    "  srun lightjax gallery mixed4a mixed4b -o /shared/inception --distributed\n\n"
    "The same command again continues an interrupted gallery. Several processes may share a folder."
)
def gallery(
    layers: Annotated[list[str], typer.Argument(help="Names of layers.", metavar="LAYER...", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to fill.", show_default=False)],
    channels: Annotated[str | None, typer.Option(help="Channels of each: 0-63,97. [default: all]")] = None,
    steps: Annotated[int, typer.Option(help="Number of updates.")] = 512,
    size: Annotated[str, typer.Option(help="Pixels: N or HEIGHTxWIDTH.")] = "224",
    positive: Annotated[
        bool, typer.Option("--positive/--no-positive", help="Render a picture that excites each channel.")
    ] = True,
    negative: Annotated[
        bool, typer.Option("--negative/--no-negative", help="Render a picture that inhibits each channel.")
    ] = False,
    diverse: Annotated[int, typer.Option(help="Different pictures of each channel, made together.")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, same pictures.")] = 0,
    model: Model = None,
    lr: LearningRate = None,
    relu: Relu = None,
    transform: Annotated[bool, typer.Option("--transform/--no-transform", help="Random transform per step.")] = True,
    chunk: Annotated[
        int | None, typer.Option(help="Pictures rendered together. [default: as many as fit; at most 8 on a CPU]")
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
    from lightjax import transforms
    from lightjax.gallery import cluster, manifest
    from lightjax.gallery import run as galleries

    _keep_compilations(compilation_cache)
    if examples is not None and not examples.is_dir():
        raise NotADirectoryError(f"there is no folder {examples} to take --examples from")
    settings: Any = {} if lr is None else {"optimizer": lr}
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"lightjax: note: {message}", file=sys.stderr)
            made = galleries.render(
                output,
                layers,
                channels=None if channels is None else manifest.parse_channels(channels),
                positive=positive,
                negative=negative,
                diverse=diverse,
                steps=steps,
                size=_size(size),
                model=model,
                transform=transforms.DEFAULT if transform else None,
                relu=relu,
                seed=seed,
                chunk=chunk,
                share=cluster.this_process() if distributed else cluster.Rank(0, 1),
                examples=examples,
                progress=not quiet,
                **settings,
            )
    except KeyboardInterrupt:
        print("lightjax: interrupted; the same command continues from here", file=sys.stderr)
        return 130
    last_good = "show the last good state, because their objective stopped being finite"
    for reason, files in ((last_good, made.failed), ("never changed, because their gradient is 0", made.unresponsive)):
        if files:
            print(f"lightjax: note: {len(files)} pictures {reason}: {', '.join(files)}", file=sys.stderr)
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
        bool, typer.Option("--all", help="Also the layers inside of blocks, and every layer before its rectifier.")
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
    try:
        count = weights.verify(source, output) if verify else 0
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
    credit: Annotated[str, typer.Option(help="Source and license of the pictures, stored in the file.")] = "",
) -> None:
    """Measure the colors and the spectrum of a folder of pictures, for MACO images and for colors."""
    from lightjax.images import statistics
    from lightjax.pictures import find_pictures

    _check_output(output)
    pictures = find_pictures(folder)
    measured = statistics.measure(pictures, size)
    notes = {"pictures": str(len(pictures)), "size": str(size), "credit": credit}
    statistics.write(output, measured, notes)
    print(f"{output}: {len(pictures)} pictures")


def _keep_compilations(wanted: bool) -> None:
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
    jax.config.update("jax_compilation_cache_max_size", _CACHE_SIZE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _check_output(file: Path) -> None:
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder, not a file to write")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {file.parent} to write {file.name} to")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise ValueError(f"--size must be N or HEIGHTxWIDTH, such as 224 or 160x320, got {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _numbers(text: str, option: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise ValueError(f"{option} must be numbers with commas between them, such as 64,256, got {text!r}")
    return [int(n) for n in text.split(",")]
