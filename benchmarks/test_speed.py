"""Time of one step at 224 pixels, against PyTorch: `pytest benchmarks --benchmark-json=FILE`.

PyTorch's weights are `bvlc_googlenet.pth` in `$LIGHTJAX_HOME`; without that file, only lightjax is measured. Rounds of
the contenders follow each other closely, layer by layer, because machines are noisy: read ratios within one run.
"""

from collections.abc import Callable

import jax
import pytest

import lightjax as lj
from benchmarks import torch_loops

UNITS = {"mixed3a": 30, "mixed4a": 97, "mixed4d": 40, "mixed5a": 9}
STEPS = 8
"""Steps in one call of lightjax's loop; times are divided by it."""


def lightjax_steps(
    layer: str, channel: int, image: lj.images.Image | None = None, steps: int = STEPS
) -> Callable[[], None]:
    """Some steps of `lightjax.visualize`'s own loop, by default for one picture of 224 pixels."""
    setup, key, objective = lj.Recipe.of(image=image).setup, jax.random.key(0), lj.channel(layer, channel)
    state = lj.optimize.init(key, setup)
    return lambda: jax.block_until_ready(lj.optimize.advance(state, setup, objective, key, steps)) and None


def lightjax_forward(layer: str) -> Callable[[], None]:
    """The forward pass alone, cut at the layer, at the 236 pixels that the network sees."""
    model = lj.load_model()
    forward = jax.jit(lambda model, images: model(images)[layer])
    images = jax.random.uniform(jax.random.key(0), (1, 236, 236, 3))
    return lambda: jax.block_until_ready(forward(model, images))


@pytest.mark.parametrize("contender", ["lightjax", "forward", "torch cut", "lucent"])
@pytest.mark.parametrize("layer", UNITS)
def test_step(benchmark, request, layer, contender):
    """One step (for "forward": one forward pass) of each contender for one channel of each layer."""
    benchmark.group = f"speed {layer}"
    run = {
        "lightjax": lambda: lightjax_steps(layer, UNITS[layer]),
        "forward": lambda: lightjax_forward(layer),
        "torch cut": lambda: torch_loops.cut_step(request.getfixturevalue("network"), layer, UNITS[layer]),
        "lucent": lambda: torch_loops.lucent_loop(request.getfixturevalue("network"), layer, UNITS[layer])[0],
    }[contender]()
    benchmark.extra_info["steps"] = STEPS if contender == "lightjax" else 1
    benchmark.pedantic(run, rounds=25, warmup_rounds=3)
