"""Where the time of a step goes: `python -m benchmarks.profile mixed4a 97`.

Prints a table of the milliseconds that XLA's own profiler gives to each stage, forward and backward, and how far a
step is from the arithmetic limit: its floating-point operations over the best rate of a matrix product here. Stages
are told apart by the `jax.named_scope`s of the network and the loop. On several cores stages overlap, so that their
sum may exceed the time of a step.
"""

import collections
import glob
import gzip
import json
import re
import sys
import tempfile
import time

import jax
import numpy as np

import lightjax as lj

STEPS = 32
STAGES = {
    "decode": "Fourier image and colors",
    "transforms": "transforms",
    "conv2d0": "first convolution (7x7)",
    "conv2d1": "1x1 convolutions",
    "conv2d2": "3x3 convolution of the stem",
    "localresponsenorm": "response normalization",
    "maxpool": "pools of stride 2",
    "_pool$": "pools of stride 1",
    "_3x3_pre|_5x5_pre": "3x3 and 5x5 convolutions of blocks",
    "_1x1|bottleneck|pool_reduce": "1x1 convolutions",
    "mixed": "concatenations",
    "input": "preprocessing",
}


def stage(scope: str) -> str:
    """What a table calls an operation of this scope."""
    return next((title for pattern, title in STAGES.items() if re.search(pattern, scope)), "optimizer and loop")


def main(layer: str, channel: int) -> None:
    """Profile one step and print the table."""
    setup, key, objective = lj.Recipe.of().setup, jax.random.key(0), lj.channel(layer, channel)
    state = lj.optimize.init(key, setup)

    def run(steps: int = STEPS) -> float:
        start = time.perf_counter()
        jax.block_until_ready(lj.optimize.advance(state, setup, objective, key, steps))
        return (time.perf_counter() - start) / steps

    run()
    step = min(run() for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            run()
        (file,) = glob.glob(f"{folder}/**/perfetto_trace.json.gz", recursive=True)
        with gzip.open(file) as trace:
            events = json.load(trace)["traceEvents"]

    compiled = lj.optimize.lower(state, setup, objective, key).compile()
    scopes = dict(re.findall(r'^\s*(?:ROOT )?%([\w.\-]+) = .*op_name="([^"]*)"', compiled.as_text(), re.MULTILINE))
    spent: dict[tuple[str, bool], float] = collections.Counter()
    for event in events:
        name = event.get("name")
        if event.get("ph") == "X" and name in scopes and not name.startswith("while"):
            scope = re.search(r"jvp\((\w*)\)", scopes[name])
            spent[stage(scope[1] if scope else ""), "transpose(" in scopes[name]] += event["dur"] / 1000 / STEPS

    print(f"| {layer}:{channel} | forward, ms | backward, ms |\n|---|---|---|")
    for title in sorted({title for title, _ in spent}, key=lambda t: -spent[t, False] - spent[t, True]):
        print(f"| {title} | {spent[title, False]:.2f} | {spent[title, True]:.2f} |")
    print(f"| sum | {sum(spent[k] for k in spent if not k[1]):.1f} | {sum(spent[k] for k in spent if k[1]):.1f} |")
    operations = compiled.cost_analysis()["flops"]
    best = best_rate()
    print(
        f"\nOne step takes {1000 * step:.1f} ms for {operations / 1e9:.2f} GFLOP: {operations / step / 1e9:.0f} "
        f"GFLOP/s, {operations / step / best:.0%} of the {best / 1e9:.0f} GFLOP/s of a matrix product of 1024x1024."
    )


def best_rate(dtype: str = "float32") -> float:
    """Floating-point operations per second of a large matrix product."""
    side = 1024 if jax.default_backend() == "cpu" else 8192
    a = jax.numpy.asarray(np.random.default_rng(0).standard_normal((side, side)), dtype)
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    times = []
    for _ in range(50):
        start = time.perf_counter()
        product(a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
