"""`lightjax layers` and `lightjax convert`: networks and their weights."""

from pathlib import Path
from typing import Annotated

import typer

LAYERS_EPILOG = "Examples:\n\n  lightjax layers\n\n  lightjax layers --model inception5h\n\n  lightjax layers --all"


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


CONVERT_EPILOG = (
    "Examples:\n\n"
    "  lightjax convert inception5h.pth -o inception5h.safetensors\n\n"
    "  lightjax convert bvlc_googlenet.pth --half --verify\n\n"
    "  lightjax convert finetuned.ckpt --classes birds.txt"
)


def convert(
    source: Annotated[
        Path, typer.Argument(help="PyTorch checkpoint, or .safetensors.", metavar="SRC", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Weights file to write. [default: SRC with .safetensors]")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Text file with the names of the classes, one in each line.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Round to float16, which halves the file.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Export the result again and compare it bit for bit with SRC, in float32.")
    ] = False,
) -> None:
    """Convert PyTorch weights of InceptionV1 into a lightjax weights file."""
    from lightjax import labels
    from lightjax.networks import tensor_files, weights

    names = labels.read(classes) if classes else ()
    output = output or source.with_suffix(
        ".lightjax.safetensors" if source.suffix == ".safetensors" else ".safetensors"
    )
    architecture, skipped, notes = weights.convert(source, output, half=half, class_names=names)
    try:
        count = weights.verify(source, output) if verify else 0
    except Exception:
        output.unlink()
        raise
    print(f"{output}: {architecture.name}, {architecture.classes or 'no'} classes" + ", float16 weights" * half)
    for note in notes:
        print(note)
    if skipped:
        print(f"left out {len(skipped)} tensors of auxiliary classifiers: {tensor_files.listed(skipped)}")
    if verify:
        print(f"verified: all {count} tensors come back bit for bit" + ", rounded to float16" * half)
