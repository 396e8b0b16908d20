"""How much work a render is, counted and not timed: `python -m benchmarks.operations > benchmarks/operations.json`.

Floating-point operations and bytes accessed of one compiled step of GoogLeNet at 96 pixels, by XLA's own count, and the
programs that a fresh process compiles for a whole render. `tests/test_operations.py` compares them with the accepted
ones. `python -m benchmarks.operations mixed3a mixed4a` counts for these layers only.
"""

import json
import sys

import jax
import jax.monitoring

import lightjax as lj

LAYERS = ("conv2d2", "mixed3a", "mixed4a", "mixed4d", "mixed5a", "softmax2_pre_activation_matmul")


def main() -> None:
    """Count, and print as JSON."""
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **rest: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    model = lj.load_model()
    lj.visualize("mixed3a:97", model=model, size=96, steps=3, snapshots=(1, 2), progress=False)
    counts: dict = {"programs compiled for a render": len(compiled)}
    setup, key = lj.Recipe.of(model=model, size=96).setup, jax.random.key(0)
    for layer in sys.argv[1:] or LAYERS:
        step = lj.optimize.lower(lj.optimize.init(key, setup), setup, lj.channel(layer, 0), key)
        costs = step.compile().cost_analysis()
        counts[layer] = {"operations": round(costs["flops"]), "bytes": round(costs["bytes accessed"])}
    print(json.dumps({"backend": jax.default_backend(), "jax": jax.__version__, **counts}, indent=1))


if __name__ == "__main__":
    main()
