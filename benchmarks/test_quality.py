"""Quality per second: `pytest benchmarks/test_quality.py` (about ten minutes on two cores).

For twelve channels: the objective that Lucent's loop reaches after 512 steps, and after how many steps, and in what
share of its time, lightjax with its defaults reaches the same. Both are judged by PyTorch, on the finished picture
without transforms. `$LIGHTJAX_SHEET`, if set, names a PNG for the pictures side by side.
"""

import os
import time

import numpy as np
import pytest
import torch

import lightjax as lj
from benchmarks import torch_loops

UNITS = [(layer, channel) for layer, channels in {
    "mixed3b": (100, 200, 300), "mixed4a": (97, 211, 300), "mixed4d": (40, 200, 330), "mixed5a": (9, 300, 500),
}.items() for channel in channels]  # fmt: skip
LUCENT_STEPS = 512
LOOKS = (32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Numbers of steps after which lightjax's picture is judged."""

pictures: dict[str, tuple[np.ndarray, np.ndarray]] = {}


@pytest.fixture(scope="module", autouse=True)
def contact_sheet():
    """The contact sheet: one column for each unit, Lucent's picture above, lightjax's at equal value below."""
    yield
    if os.environ.get("LIGHTJAX_SHEET") and pictures:
        rows = [pair[i] for i in (0, 1) for pair in pictures.values()]
        lj.pictures.save(os.environ["LIGHTJAX_SHEET"], lj.pictures.sheet(np.stack(rows), columns=len(pictures)))


def judge(network: torch_loops.GoogLeNet, picture: np.ndarray, layer: str, channel: int) -> float:
    """Mean activation of a channel for `[H, W, 3]`, by PyTorch."""
    with torch.no_grad():
        rgb = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
        return float(network(torch_loops.preprocess(rgb), until=layer)[0, channel].mean())


@pytest.mark.parametrize(("layer", "channel"), UNITS)
def test_quality(benchmark, network, layer, channel):
    """Seconds until the value of Lucent's loop after 512 steps; both loops are compiled or warm before the clock."""
    benchmark.group = "quality"
    step, image = torch_loops.lucent_loop(network, layer, channel)
    for _ in range(3):
        step()
    step, image = torch_loops.lucent_loop(network, layer, channel)
    start = time.perf_counter()
    for _ in range(LUCENT_STEPS):
        step()
    lucent_seconds = time.perf_counter() - start
    with torch.no_grad():
        theirs = image()[0].permute(1, 2, 0).numpy()
    goal = judge(network, theirs, layer, channel)

    model, objective = lj.load_model(), lj.channel(layer, channel)
    lj.visualize(objective, model=model, steps=2, progress=False)
    found = []

    def render():
        found.append(lj.visualize(objective, model=model, steps=LOOKS[-1], snapshots=LOOKS, progress=False))

    benchmark.pedantic(render, rounds=1)
    seconds = benchmark.stats.stats.min
    values = {step: judge(network, picture[0], layer, channel) for step, picture in found[0].snapshots.items()}
    reached = next((step for step in LOOKS if values[step] >= goal), None)
    pictures[f"{layer}:{channel}"] = (theirs, found[0].snapshots[reached or LOOKS[-1]][0])
    share = None if reached is None else seconds * reached / LOOKS[-1] / lucent_seconds
    benchmark.extra_info.update(goal=goal, values=values, reached=reached, share=share, lucent_seconds=lucent_seconds)
