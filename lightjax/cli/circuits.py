"""`lightjax circuits`: what the units of a layer read, and what they feed, as a page."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from lightjax.cli.options import CompilationCache, Model, Quiet, keep_compilations, whole

EPILOG = (
    "Examples:\n\n"
    "  lightjax circuits mixed3a mixed3b -o circuits\n\n"
    "  lightjax circuits mixed4a mixed4b mixed4c -o circuits --gallery inception\n\n"
    "The same command again continues one that was interrupted or killed."
)


def circuits(
    layers: Annotated[
        list[str],
        typer.Argument(help="Names of layers, each read by the next.", metavar="LAYER...", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to fill.", show_default=False)],
    gallery: Annotated[
        Path | None, typer.Option(help="Gallery with pictures of the layers. [default: one is made in the folder]")
    ] = None,
    number: Annotated[int, whole("Kernels of each sign that a unit shows.")] = 8,
    size: Annotated[int, whole("Pixels of each picture.")] = 96,
    steps: Annotated[int, whole("Number of updates.")] = 64,
    seed: Annotated[int, whole("Same seed, same pictures.")] = 0,
    model: Model = None,
    compilation_cache: CompilationCache = True,
    quiet: Quiet = False,
) -> int:
    """Show what each unit of LAYERs reads from the layer before, and what it feeds, with a page to explore it."""
    import lightjax as lj
    from lightjax.gallery import run as galleries

    if len(layers) < 2:
        raise ValueError("name two layers at least, the first of which the second reads: mixed3a mixed3b")
    keep_compilations(compilation_cache)
    network = lj.load_model(*() if model is None else (model,))
    first, *more = [lj.expanded_weights(*pair, model=network, progress=not quiet) for pair in pairwise(layers)]
    output.mkdir(exist_ok=True)
    if gallery is None:
        gallery = output / "gallery"
        try:
            galleries.render(gallery, layers, model=model, size=size, steps=steps, seed=seed, progress=not quiet)
        except KeyboardInterrupt:
            print("lightjax: interrupted; the same command continues from here", file=sys.stderr)
            return 130
    page = first.save_page(output, also=more, number=number, sprites=gallery)
    print(f"{page}: {', '.join(f'{one.source} to {one.target}' for one in (first, *more))} of {network.source}")
    return 0
