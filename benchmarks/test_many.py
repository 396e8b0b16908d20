"""Time of one picture in a chunk of many against a lone one, and of a start with compiled programs kept.

    LIGHTJAX_HOME=FOLDER pytest benchmarks/test_many.py

Rounds of the chunks follow each other closely, because machines are noisy: read ratios within one run.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

import lightjax as lj
from lightjax import many, optimize

STEPS, ROUNDS, SIZE, LAYER = 16, 9, 128, "mixed4a"
CHUNKS = (1, 2, 4, 8)


def test_a_picture_in_a_chunk_takes_as_long_as_alone():
    """Milliseconds of a step for each picture: alone, and in chunks of 1 to 8."""
    if not (Path(os.environ.get("LIGHTJAX_HOME", "")) / "bvlc_googlenet.pth").exists():
        pytest.skip("there is no bvlc_googlenet.pth in $LIGHTJAX_HOME")
    arguments = {"model": "bvlc_googlenet", "image": None, "transforms": lj.transforms.DEFAULT, "optimizer": None}
    plan = many.complete(**arguments, relu=None, steps=STEPS, snapshots=(), size=SIZE)
    mesh = many.mesh_of(jax.local_devices()[:1])
    goals = [lj.channel(LAYER, channel) for channel in range(max(CHUNKS))]
    key, state = jax.random.key(0), optimize.init(jax.random.key(0), plan.image, plan.optimizer)
    settings = {"image": plan.image, "transform": plan.transforms, "optimizer": plan.optimizer, "relu": plan.relu}
    starts = {chunk: many._start(plan, goals[:chunk], [0] * chunk, chunk, mesh) for chunk in CHUNKS}
    runs = {"alone": lambda: optimize.advance(state, plan.model, goals[0], key, STEPS, **settings).values}
    for chunk, (start, call) in starts.items():
        runs[f"chunk of {chunk}"] = lambda start=start, call=call: (
            optimize.advance_many(start, steps=STEPS, **call).values
        )
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            pictures = 1 if name == "alone" else int(name.split()[-1])
            times[name].append((time.perf_counter() - began) / STEPS / pictures * 1e3)
    best = {name: min(taken[1:]) for name, taken in times.items()}  # what the machine can do undisturbed
    print("", *(f"{name}: {taken:.2f} ms a step" for name, taken in best.items()), sep="\n")
    assert best[f"chunk of {many.CPU_CHUNK}"] < 1.1 * best["alone"]


@pytest.mark.parametrize("model", ["mini"])
def test_the_second_start_compiles_nothing(tmp_path, model):
    """Seconds from the start of the process to the end of the first step, for the first process and for the second."""
    render = ["render", "mixed4a:97", "--model", model, "--size", "224", "--steps", "1", "-q", "-o", "x.png"]
    program = [sys.executable, "-c", "from lightjax.cli import main; main()", *render]
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(program, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)}, cwd=tmp_path, check=True)
        taken.append(time.perf_counter() - began)
    print(f"\nfirst process: {taken[0]:.1f} s; second: {taken[1]:.1f} s; third: {taken[2]:.1f} s")
    assert min(taken[1:]) < taken[0]
