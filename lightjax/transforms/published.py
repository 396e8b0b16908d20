"""Published sets of transforms. The docstring of `lightjax.transforms` lists their differences from the originals."""

from lightjax.transforms.base import Between, compose
from lightjax.transforms.moves import Jitter, Pad, RandomCrop, RandomRotate, RandomScale
from lightjax.transforms.pixels import ColorJitter, Noise

LUCID = compose(
    Pad(12),
    Jitter(8),
    RandomScale([1 + (i - 5) / 50 for i in range(11)]),
    RandomRotate([*range(-10, 11), 0, 0, 0, 0, 0]),
    Jitter(4),
)
"""The standard set of Lucid: 224 pixels become 236. Lucid's rotation takes the nearest pixel and shows black beyond."""

LUCENT = compose(Pad(16), *LUCID.transforms[1:4], Pad(2), Jitter(4))
"""The standard set of Lucent, the numbers of Lucid with jitter that keeps the size: 224 pixels become 248.

Lucent only shifts right and down, by up to 7 and 3 pixels, and shows black beyond; here shifts go both ways, by up to 4
and 2. Images that a scale above 1 makes larger than 248 pixels stay larger in Lucent, and are 248 pixels wide here.
"""

TORCHLIGHT = compose(Pad(32, 0), Jitter(32), RandomScale(Between(0.95, 1.05)), RandomRotate(Between(-5, 5)), Jitter(32))
"""The default set of TorchLight: a black border of 32 pixels, and two crops of 32 rows and columns at random offsets.

Each crop is a shift of up to 16 pixels either way, and the size stays. TorchLight takes the nearest pixel at each move,
and crops the last 16 pixels at the top and on the left only, so that its network gets 240 x 240 pixels, off center, for
a picture of 224 x 224; here the network gets the central 224 x 224.
"""

LUCID_INVERSION = compose(
    Pad(8),
    Jitter(8),
    RandomScale([0.9, 0.95, 1.05, 1.1, 1, 1, 1, 1]),
    RandomRotate([*range(-5, 5), 0, 0, 0, 0, 0]),
    Jitter(2),
)
"""The set of Lucid's notebook on feature inversion: 224 pixels become 230."""

LUCID_ATLAS = compose(
    Pad(16),
    Jitter(4),
    Jitter(4),
    Jitter(8),
    Jitter(8),
    Jitter(8),
    RandomScale([0.998**n for n in range(20, 40)]),
    RandomRotate([*range(-20, 20), *range(-10, 10), *range(-5, 5), 0, 0, 0, 0, 0]),
    Jitter(2),
    Pad(1),
)
"""The set of Lucid's activation atlas (`recipes/activation_atlas/render.py`); the last pad restores the size."""

MACO = compose(RandomCrop(224), Noise(normal=0.08, uniform=0.04))
"""Crops and noise of MACO at the size of the default network; numbers as in Xplique. Use many views of each step."""

GHIASI = compose(ColorJitter(), Noise(normal=0.5, flat=True, until=400), Pad(32, "wrap"), Jitter(64))
"""The set of Ghiasi et al. for vision transformers, with the numbers of their code; the size stays.

Use 8 views of each step and 400 steps, as they do. Shifts go round the picture, by up to 32 pixels either way. See
`docs/transformers.md` for the rest of the recipe.
"""

DEFAULT = LUCID
"""The default of `visualize`: the robust set of Lucid, as one resampling; 224 pixels become 236."""
