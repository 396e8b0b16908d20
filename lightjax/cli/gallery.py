"""`lightjax gallery`: whole layers in a folder."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from lightjax.cli.options import (
    CompilationCache,
    LearningRate,
    Model,
    Quiet,
    Relu,
    keep_compilations,
    size_of,
    whole,
)

EPILOG = (
    "Examples:\n\n"
    "  lightjax gallery mixed3a mixed4a -o inception --size 128 --steps 128\n\n"
    "  lightjax gallery mixed4a -o few --channels 0-15,97 --negative --diverse 4\n\n"
    "  srun lightjax gallery mixed4a mixed4b -o /shared/inception --distributed\n\n"
    "The same command again continues an interrupted gallery. Several processes may share a folder."
)


def gallery(
    layers: Annotated[list[str], typer.Argument(help="Names of layers.", metavar="LAYER...", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to fill.", show_default=False)],
    channels: Annotated[str | None, typer.Option(help="Channels of each: 0-63,97. [default: all]")] = None,
    steps: Annotated[int, whole("Number of updates.")] = 512,
    size: Annotated[str, typer.Option(help="Pixels: N or HEIGHTxWIDTH.")] = "224",
    positive: Annotated[
        bool, typer.Option("--positive/--no-positive", help="Render a picture that excites each channel.")
    ] = True,
    negative: Annotated[
        bool, typer.Option("--negative/--no-negative", help="Render a picture that inhibits each channel.")
    ] = False,
    diverse: Annotated[
        int,
        whole("Different pictures of each channel, made together."),
    ] = 0,
    seed: Annotated[int, whole("Same seed, same pictures.")] = 0,
    model: Model = None,
    lr: LearningRate = None,
    relu: Relu = None,
    transform: Annotated[bool, typer.Option("--transform/--no-transform", help="Random transform per step.")] = True,
    chunk: Annotated[
        int | None,
        whole("Pictures rendered together. [default: as many as fit; at most 8 on a CPU]"),
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Folder of photographs: show those that excite a channel most.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Measure the pictures; the page shows the figures and sorts by them.")
    ] = False,
    eye: Annotated[
        str | None,
        typer.Option(help="Another network that judges: name or weights file. Implies --evaluate.", show_default=False),
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

    keep_compilations(compilation_cache)
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
                size=size_of(size),
                model=model,
                transform=transforms.DEFAULT if transform else None,
                relu=relu,
                seed=seed,
                chunk=chunk,
                share=cluster.this_process() if distributed else cluster.Rank(0, 1),
                examples=examples,
                evaluate=evaluate,
                eye=eye,
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
