"""`lightjax explain`: what a network sees in a photograph, and why it chooses a class."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lightjax.cli.options import CompilationCache, Model, Quiet, keep_compilations, whole

EPILOG = (
    "Examples:\n\n"
    "  lightjax explain photograph.jpg --class 'golden retriever' -o why\n\n"
    "  lightjax explain photograph.jpg --class 'golden retriever' --against 'tiger cat' -o why\n\n"
    "  lightjax explain photograph.jpg --class 207 --model resnet50.safetensors --layer layer3.5 -o why"
)


def explain(
    photograph: Annotated[Path, typer.Argument(help="Picture, scaled and cropped to what the network takes.")],
    label: Annotated[str, typer.Option("--class", help="Class to explain: its name, or the number of its logit.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    against: Annotated[str | None, typer.Option(help="Class to compare it with.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer to look at. [default: mixed4d, of GoogLeNet]")] = None,
    model: Model = None,
    groups: Annotated[int, whole("Number of neuron groups; 0 for none.")] = 6,
    steps: Annotated[int, whole("Updates of each picture.")] = 64,
    seed: Annotated[int, whole("Same seed, same pictures.")] = 0,
    compilation_cache: CompilationCache = True,
    quiet: Quiet = False,
) -> None:
    """Show which channels and positions of PHOTOGRAPH add to a class, its groups of neurons, and its grid."""
    import lightjax
    from lightjax import _files
    from lightjax.analysis import page

    keep_compilations(compilation_cache)
    network = lightjax.load_model(*() if model is None else (model,))
    if layer is None:
        if not isinstance(network, lightjax.networks.InceptionV1):
            raise ValueError("--layer must be given for this network: lightjax layers --model FILE lists them")
        layer = "mixed4d"
    goal = _logit(label) if against is None else _logit(label) - _logit(against)
    progress = not quiet
    _files.make_folder(output)

    found = None
    if groups:  # first, because it needs scikit-learn
        found = lightjax.groups(photograph, layer, groups, model=network, objective=goal, designs=0, progress=progress)
    attribution = lightjax.attribute(goal, photograph, layer=layer, model=network, progress=progress)
    settings = {"model": network, "steps": steps, "seed": seed, "progress": progress}
    channels = attribution.strongest()
    pictures = lightjax.visualize_many([f"{layer}:{channel}" for channel in channels], size=96, **settings).in_order()
    sprites = {channel: result.image for channel, result in zip(channels, pictures, strict=True)}
    drawn = attribution.picture(sprites)
    lightjax.pictures.save(output / "attribution.png", drawn, attribution.settings)
    readings: dict[str, lightjax.analysis.Reading] = {"attribution": attribution}
    sections = [page.picture("Channels and positions for it (red), and against it (blue)", drawn)]
    if found is not None:
        found = found.render(steps=steps, seed=seed, progress=progress)
        readings["groups"] = found
        sections.append(page.picture("Groups of neurons", found.picture()))
    grid = lightjax.activation_grid(photograph, layer, **settings)
    readings["grid"] = grid
    sections.append(grid.section())
    for name, reading in readings.items():
        reading.save(output / f"{name}.safetensors")
        if name != "attribution":
            reading.save(output / f"{name}.png")
    title = f"{photograph.name}: {label}" + (f" and not {against}" if against is not None else "")
    shown = {"layer": layer, "model": network.source, "steps": steps, "seed": seed}
    page.write(output / "index.html", title=title, sections=sections, settings=shown)
    print(f"{output}: {', '.join(readings)} of {layer} for {attribution.settings['objective']}")


def _logit(label: str) -> Any:
    """The objective of a class, by its name or the number of its logit."""
    import lightjax

    return lightjax.class_logit(int(label) if label.isdigit() else label)
