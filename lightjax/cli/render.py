"""`lightjax render`: one picture."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lightjax.cli.options import (
    CompilationCache,
    LearningRate,
    Model,
    Quiet,
    Relu,
    check_output,
    keep_compilations,
    numbers_of,
    size_of,
    transform_of,
    whole,
)

EPILOG = (
    "Examples:\n\n"
    "  lightjax render mixed4a:97\n\n"
    "  lightjax render mixed4a:97 -o dots.png --steps 512 --snapshots 64,256\n\n"
    "  lightjax render 'mixed4a:97 + mixed5a:143' --size 160x320 --seed 3\n\n"
    "  lightjax render mixed4a:97 --start photograph.jpg --steps 64\n\n"
    "  lightjax render 'mixed4b:154[0] - mixed4b:154[1]' --batch 2\n\n"
    "  lightjax render blocks.8.mlp.act:97 --model vit.safetensors --transform ghiasi --views 8 --steps 400\n\n"
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
    steps: Annotated[int | None, whole("Number of updates. [default: 2048]")] = None,
    size: Annotated[str | None, typer.Option(help="Pixels: N or HEIGHTxWIDTH. [default: 224]")] = None,
    seed: Annotated[int | None, whole("Same seed, same picture. [default: 0]")] = None,
    model: Model = None,
    lr: LearningRate = None,
    snapshots: Annotated[str | None, typer.Option(help="Also save after these numbers of steps: 64,256.")] = None,
    start: Annotated[Path | None, typer.Option(help="Picture to start from, scaled and cropped to the size.")] = None,
    batch: Annotated[
        int | None,
        whole("Pictures optimized together. [default: 1]"),
    ] = None,
    relu: Relu = None,
    transform: Annotated[
        str | None,
        typer.Option(help="Set of random transforms: lucid, lucent, torchlight, maco, ghiasi. [default: lucid]"),
    ] = None,
    no_transform: Annotated[bool, typer.Option("--no-transform", help="No random transform.")] = False,
    views: Annotated[int | None, whole("Draws of the transform in each step. [default: 1]")] = None,
    like: Annotated[Path | None, typer.Option(help="Render this PNG again. Options replace its settings.")] = None,
    compilation_cache: CompilationCache = True,
    quiet: Quiet = False,
) -> int:
    """Render a picture that maximizes OBJECTIVE."""
    import lightjax
    from lightjax.pictures import file_format, read_settings

    keep_compilations(compilation_cache)
    if objective is None and like is None:
        raise ValueError("say what to render, such as mixed4a:97, or give --like FILE")
    written = {} if like is None else read_settings(like)
    wanted = {
        "steps": steps,
        "size": None if size is None else size_of(size),
        "seed": seed,
        "model": model,
        "optimizer": lr,
        "relu": relu,
        "start": start,
        "views": views,
        "snapshots": None if snapshots is None else numbers_of(snapshots, "--snapshots"),
    }
    settings: Any = {name: value for name, value in wanted.items() if value is not None}
    if transform is not None and no_transform:
        raise ValueError("give --transform NAME or --no-transform, not both")
    if transform is not None or no_transform:
        settings["transform"] = None if transform is None else transform_of(transform)
    title = objective or str(written.get("objective", "picture"))
    output = output or Path(re.sub(r"[^\w.]+", "_", title).strip("_")[:80] + ".png")
    file_format(output)
    check_output(output)
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
