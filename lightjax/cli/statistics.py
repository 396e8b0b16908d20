"""`lightjax statistics`: colors and spectrum of a folder of pictures."""

from pathlib import Path
from typing import Annotated

import typer

from lightjax.cli.options import check_output, whole

EPILOG = "Example:\n\n  lightjax statistics photographs -o photographs.safetensors"


def statistics(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, with folders in it.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (.safetensors).", show_default=False)],
    size: Annotated[
        int,
        whole("Side of the square that each picture is cut to, in pixels."),
    ] = 128,
    credit: Annotated[str, typer.Option(help="Source and license of the pictures, stored in the file.")] = "",
) -> None:
    """Measure the colors and the spectrum of a folder of pictures, for MACO images and for colors."""
    from lightjax.images import statistics
    from lightjax.pictures import find_pictures

    check_output(output)
    pictures = find_pictures(folder)
    measured = statistics.measure(pictures, size)
    notes = {"pictures": str(len(pictures)), "size": str(size), "credit": credit}
    statistics.write(output, measured, notes)
    print(f"{output}: {len(pictures)} pictures")
