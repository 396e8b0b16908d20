"""A whole layer, on whatever device there is: `pytest benchmarks/test_layer.py`.

Channels of mixed4a of GoogLeNet at 224 pixels, as many at a time as memory allows, in float32 and in bfloat16: pictures
a second, and the share of the best rate of a large matrix product in the same numbers. On an accelerator it is the
whole layer and 64 steps; `$LIGHTJAX_JOBS` and `$LIGHTJAX_STEPS` say otherwise.
"""

import os

import jax
import pytest

import lightjax as lj
from benchmarks.profile import best_rate
from lightjax import batching

ON_CPU = jax.default_backend() == "cpu"
JOBS = int(os.environ.get("LIGHTJAX_JOBS", 16 if ON_CPU else 512))
STEPS = int(os.environ.get("LIGHTJAX_STEPS", 4 if ON_CPU else 64))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layer(benchmark, dtype):
    """Render the layer; compiled before the clock starts."""
    benchmark.group = "layer"
    model, objective = lj.load_model(dtype=dtype), lj.channel("mixed4a", jax.numpy.arange(JOBS))

    def render():
        for _ in lj.visualize_many(objective, model=model, steps=STEPS, progress=False):
            pass

    benchmark.pedantic(render, rounds=2, warmup_rounds=1)
    recipe, mesh = lj.Recipe.of(steps=STEPS, model=model), batching.mesh_of()
    setup, key, one = recipe.setup, jax.random.key(0), lj.channel("mixed4a", 0)
    step = lj.optimize.lower(lj.optimize.init(key, setup), setup, one, key).compile()
    benchmark.extra_info.update(
        device=jax.devices()[0].device_kind,
        jobs=JOBS,
        chunk=batching.fitting_chunk(recipe, batching.on_devices(setup, mesh), one, JOBS, mesh),
        operations=step.cost_analysis()["flops"] * JOBS * STEPS,
        best=best_rate(dtype),
    )
