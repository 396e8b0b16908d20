"""`lightjax layers` and `lightjax convert`: networks and their weights."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lightjax.cli.options import check_output, decimals_of, size_of

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
    "  lightjax convert finetuned.ckpt --classes birds.txt\n\n"
    "  lightjax convert torchvision:resnet50 -o resnet50.safetensors\n\n"
    "  lightjax convert timm:vit_small_patch16_224 --checkpoint vit.pth -o vit.safetensors\n\n"
    "  lightjax convert my_package.models:make_net --checkpoint net.pth --mean 0,0,0 --std 1,1,1 -o net.safetensors"
)


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="Checkpoint of an InceptionV1 (PyTorch or .safetensors); or a network: torchvision:NAME, timm:NAME, "
            "package.module:function, a program of torch.export (.pt2).",
            metavar="SRC",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Weights file to write. [default: named after SRC]")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Text file with the names of the classes, one in each line.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Round to float16, which halves the file.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Export the result again and compare it bit for bit with SRC, in float32.")
    ] = False,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights of the network.")] = None,
    size: Annotated[str | None, typer.Option(help="Pixels of its images: N or HEIGHTxWIDTH.")] = None,
    mean: Annotated[str | None, typer.Option(help="Subtracted from scale * image: 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Divisor of the difference: 0.229,0.224,0.225.")] = None,
    scale: Annotated[float | None, typer.Option(help="Factor of images in [0, 1]. [default: 1]")] = None,
    bgr: Annotated[bool, typer.Option("--bgr", help="The network takes blue, green, red.")] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Compare every layer with PyTorch.")] = True,
) -> None:
    """Convert PyTorch weights of InceptionV1, or any PyTorch network, into a weights file."""
    from lightjax import labels

    names = labels.read(classes) if classes else ()
    if source.endswith(".pt2") or (":" in source and not Path(source).exists()):
        if verify:
            raise ValueError("--verify is for checkpoints of an InceptionV1; networks are compared by --check")
        settings = {
            "size": None if size is None else size_of(size),
            "mean": None if mean is None else decimals_of(mean, "--mean"),
            "std": None if std is None else decimals_of(std, "--std"),
            "scale": 1.0 if scale is None else scale,
            "bgr": bgr,
            "check": check,
        }
        _convert_network(source, output, checkpoint, names, half, settings)
        return
    given = {"--checkpoint": checkpoint, "--size": size, "--mean": mean, "--std": std, "--scale": scale, "--bgr": bgr}
    wrong = [option for option, value in given.items() if value not in (None, False)]
    if wrong:
        raise ValueError(f"{wrong[0]} is for networks such as torchvision:resnet50, not for a checkpoint alone")
    _convert_checkpoint(Path(source), output, names, half, verify)


def _convert_network(
    text: str, output: Path | None, checkpoint: Path | None, names: tuple[str, ...], half: bool, settings: Any
) -> None:
    """Convert a network that PyTorch runs."""
    import sys

    from lightjax.networks import from_torch, torch_sources

    output = output or Path(Path(text).stem if text.endswith(".pt2") else text.partition(":")[2]).with_suffix(
        ".safetensors"
    )
    check_output(output)
    sys.path.insert(0, "")  # as with python -m: a package in this folder is found
    source = torch_sources.find(text, checkpoint)
    network = from_torch(
        source.module,
        preprocess=source.preprocess,
        source=source.name,
        class_names=names or source.class_names,
        **settings,
    )
    network.save(output, half=half)
    for note in source.notes:
        print(note)
    sizes = f"only for images of {network.size[0]}x{network.size[1]}" if network.size else "for images of any size"
    print(f"{output}: {network.source}, {len(network.layers)} layers, {sizes}" + ", float16 weights" * half)


def _convert_checkpoint(source: Path, output: Path | None, names: tuple[str, ...], half: bool, verify: bool) -> None:
    """Convert a checkpoint of an InceptionV1."""
    from lightjax.networks import tensor_files, weights

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
