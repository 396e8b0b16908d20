"""How cost grows: time over batch, jobs and pixels, memory over batch: `pytest benchmarks/test_scaling.py`.

All on channel 97 of mixed4a. Rounds of the sizes follow each other closely; read ratios within one run.
"""

import subprocess
import sys
import textwrap

import jax
import pytest

import lightjax as lj
from benchmarks.test_speed import lightjax_steps

STEPS = 4
JOB_STEPS = 32


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16])
def test_batch(benchmark, batch):
    """Time of one step of a batch that is optimized together, per picture."""
    benchmark.group = "scaling"
    benchmark.extra_info["per"] = STEPS * batch
    steps = lightjax_steps("mixed4a", 97, image=lj.image(batch=batch), steps=STEPS)
    benchmark.pedantic(steps, rounds=7, warmup_rounds=1)


@pytest.mark.parametrize("size", [128, 176, 224, 320, 512])
def test_pixels(benchmark, size):
    """Time of one step of one picture, per pixel that the network sees (12 more along each side than `size`)."""
    benchmark.group = "scaling"
    benchmark.extra_info["per"] = STEPS * (size + 12) ** 2 / 236**2
    steps = lightjax_steps("mixed4a", 97, image=lj.image(size), steps=STEPS)
    benchmark.pedantic(steps, rounds=7, warmup_rounds=1)


@pytest.mark.parametrize("jobs", [1, 8, 16])
def test_jobs(benchmark, jobs):
    """Time of independent jobs in one program from start to end, per job and step; the first is a lone render."""
    benchmark.group = "scaling"
    benchmark.extra_info["per"] = JOB_STEPS * jobs
    model, objective = lj.load_model(), lj.channel("mixed4a", jax.numpy.arange(jobs))

    def render():
        for _ in lj.visualize_many(objective, model=model, steps=JOB_STEPS, progress=False):
            pass

    def alone():
        lj.visualize("mixed4a:0", model=model, steps=JOB_STEPS, progress=False)

    benchmark.pedantic(alone if jobs == 1 else render, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_memory(benchmark, batch):
    """Largest resident memory of a process that renders a batch at 224 pixels, in megabytes; needs Linux's /proc."""
    benchmark.group = "memory"
    code = f"""
        import re, lightjax as lj
        image = lj.image(batch={batch})
        lj.visualize("mixed4a:97", image=image, steps=4, progress=False)
        print(int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) / 1000)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    found = []

    def render():
        found.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))

    benchmark.pedantic(render, rounds=1, warmup_rounds=1)
    benchmark.extra_info["megabytes"] = found[-1]
