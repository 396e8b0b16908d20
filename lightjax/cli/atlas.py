"""`lightjax atlas`: the directions that occur in a layer, as a map."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lightjax.cli.options import CompilationCache, Model, Quiet, keep_compilations, numbers_of, whole

EPILOG = (
    "Examples:\n\n"
    "  lightjax atlas mixed4d photographs -o atlas\n\n"
    "  lightjax atlas mixed4d photographs -o large --number 20000 --cells 10,20,40\n\n"
    "The same command again continues one that was interrupted or killed."
)


def atlas(
    layer: Annotated[str, typer.Argument(help="Name of a layer with positions.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Folder of photographs.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to fill.", show_default=False)],
    number: Annotated[int, whole("Number of vectors.")] = 2000,
    per_picture: Annotated[int, whole("Vectors of each photograph.")] = 1,
    classes: Annotated[
        bool, typer.Option("--classes/--no-classes", help="Find the classes that each vector adds to.")
    ] = True,
    layout: Annotated[str, typer.Option(help="tsne, or umap (needs umap-learn).")] = "tsne",
    cells: Annotated[str, typer.Option(help="Cells along each side; several zooms with commas.")] = "10,20",
    least: Annotated[int, whole("Least number of vectors in a cell.")] = 6,
    whiten: Annotated[bool, typer.Option("--whiten", help="Take out what all directions have in common.")] = False,
    size: Annotated[int, whole("Pixels of each picture.")] = 48,
    steps: Annotated[int, whole("Number of updates.")] = 64,
    seed: Annotated[int, whole("Same seed, same atlas.")] = 0,
    photographs: Annotated[int, whole("Photographs shown for each cell.")] = 6,
    model: Model = None,
    compilation_cache: CompilationCache = True,
    quiet: Quiet = False,
) -> int:
    """Lay out what a layer sees in the photographs of FOLDER as a map of pictures, with a page that shows it."""
    import lightjax as lj

    zooms = numbers_of(cells, "--cells")
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder} to take photographs from")
    if folder.resolve() in (output.resolve(), *output.resolve().parents):
        raise ValueError(f"--output must lie outside of {folder}, or its pictures would be taken for photographs")
    keep_compilations(compilation_cache)
    network = lj.load_model(*() if model is None else (model,))
    output.mkdir(exist_ok=True)
    try:
        sample = lj.sample(
            folder,
            layer,
            model=network,
            number=number,
            per_picture=per_picture,
            classes=classes,
            seed=seed,
            resume=output / "sample.safetensors",
            progress=not quiet,
        )
        made = lj.atlas(
            sample,
            layer,
            layout=layout,
            cells=zooms,
            least=least,
            whiten=whiten,
            size=size,
            steps=steps,
            model=network,
            seed=seed,
            resume=output / "atlas.safetensors",
            progress=not quiet,
        )
    except KeyboardInterrupt:
        print("lightjax: interrupted; the same command continues from here", file=sys.stderr)
        return 130
    page = made.save_page(output, photographs=photographs)
    home = f"{made.home.own:.0%} of them at home in their own cell"
    print(f"{page}: {len(made.cells)} pictures of {len(sample.sources)} vectors; {home}")
    return 0
