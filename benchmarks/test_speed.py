"""Time of one step at 224 pixels, against PyTorch: `pytest benchmarks --benchmark-json=FILE`.

The weights are `bvlc_googlenet.pth` in `$LIGHTJAX_HOME`. Rounds of the contenders follow each other closely, layer by
layer, because machines are noisy: read ratios within one run.
"""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import optax
import pytest
import torch

import lightjax as lj
from benchmarks import torch_loops
from lightjax import optimize

UNITS = {"mixed3a": 30, "mixed4a": 97, "mixed4d": 40, "mixed5a": 9}
STEPS = 8
"""Steps in one call of lightjax's loop; times are divided by it."""


@pytest.fixture(scope="session")
def network() -> torch_loops.GoogLeNet:
    """The PyTorch network."""
    home = os.environ.get("LIGHTJAX_HOME")
    if not home or not (Path(home) / "bvlc_googlenet.pth").exists():
        pytest.skip("there is no bvlc_googlenet.pth in $LIGHTJAX_HOME")
    state = torch.load(Path(home) / "bvlc_googlenet.pth", weights_only=True)
    return torch_loops.GoogLeNet({name: value.clone() for name, value in state.items()})


def lightjax_steps(layer: str, channel: int) -> Callable[[], None]:
    """`STEPS` steps of `lightjax.visualize`'s own loop."""
    model, image = lj.load_model("bvlc_googlenet"), lj.fourier_image(224)
    optimizer, key = optax.adam(0.05), jax.random.key(0)
    state, objective = optimize.init(key, image, optimizer), lj.channel(layer, channel)

    def steps() -> None:
        settings = {"image": image, "transform": lj.transforms.DEFAULT, "optimizer": optimizer, "relu": "torchlight"}
        jax.block_until_ready(optimize.advance(state, model, objective, key, STEPS, **settings))

    return steps


def lightjax_forward(layer: str) -> Callable[[], None]:
    """The forward pass alone, cut at the layer, at the 236 pixels that the network sees."""
    model = lj.load_model("bvlc_googlenet")
    forward = jax.jit(lambda model, images: model(images)[layer])
    images = jax.random.uniform(jax.random.key(0), (1, 236, 236, 3))
    return lambda: jax.block_until_ready(forward(model, images))


@pytest.mark.parametrize("contender", ["lightjax", "forward", "torch cut", "lucent"])
@pytest.mark.parametrize("layer", UNITS)
def test_step(benchmark, network, layer, contender):
    """One step (for "forward": one forward pass) of each contender for one channel of each layer."""
    benchmark.group = layer
    run = {
        "lightjax": lambda: lightjax_steps(layer, UNITS[layer]),
        "forward": lambda: lightjax_forward(layer),
        "torch cut": lambda: torch_loops.cut_step(network, layer, UNITS[layer]),
        "lucent": lambda: torch_loops.lucent_step(network, layer, UNITS[layer]),
    }[contender]()
    benchmark.extra_info["steps"] = STEPS if contender == "lightjax" else 1
    benchmark.pedantic(run, rounds=25, warmup_rounds=3)
