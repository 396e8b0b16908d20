"""Random transforms of pictures: pure functions `(key, images) -> images` whose results have a static shape.

Images are `[N, H, W, C]`. Each image of a batch gets its own draw, from its own key. Lucid, Lucent and TorchLight draw
once for the whole batch; `SameForAll` does so here. Transforms are frozen dataclasses: two with the same settings are
equal and share one compilation. A setting that is drawn is one number, several numbers that are equally likely, or
`Between(low, high)`.

Pad, jitter, scale, rotation, flip and crop are moves: they move coordinates and leave the values of pixels alone.
`compose` turns neighboring moves into one affine map and resamples the image once, bilinearly. Lucid resamples after
each move, and the size of its image follows the scale; here a scale zooms within the frame, and the size stays. Beyond
the edge lies the gray of the last `Pad`, or 0.5 if there was no `Pad`. `Pad` with a word is not a move,
because its border depends on the picture or on the draw.

A transform may change in the course of a render, as `Noise` does that ends at a step: see `Transform` and `at_step`.

Images have any number of channels. Those of four are colors and opacity, alpha. Moves and blur apply to opacity too,
and beyond the edge the image is transparent. Noise and `ColorJitter` leave opacity alone. `CollapseAlpha` puts the
colors over a background.
"""

from lightjax.transforms.base import Between, Compose, Move, Transform, at_step, compose
from lightjax.transforms.moves import CropOrPad, Jitter, Pad, RandomCrop, RandomFlip, RandomRotate, RandomScale
from lightjax.transforms.pixels import CollapseAlpha, ColorJitter, GaussianBlur, Noise, NormalizeGradient, SameForAll
from lightjax.transforms.published import DEFAULT, GHIASI, LUCENT, LUCID, LUCID_ATLAS, LUCID_INVERSION, MACO, TORCHLIGHT

__all__ = [
    "DEFAULT",
    "GHIASI",
    "LUCENT",
    "LUCID",
    "LUCID_ATLAS",
    "LUCID_INVERSION",
    "MACO",
    "TORCHLIGHT",
    "Between",
    "CollapseAlpha",
    "ColorJitter",
    "Compose",
    "CropOrPad",
    "GaussianBlur",
    "Jitter",
    "Move",
    "Noise",
    "NormalizeGradient",
    "Pad",
    "RandomCrop",
    "RandomFlip",
    "RandomRotate",
    "RandomScale",
    "SameForAll",
    "Transform",
    "at_step",
    "compose",
]
