"""How much work a render is, counted and not timed: `python -m benchmarks.operations > benchmarks/operations.json`.

Floating-point operations and bytes accessed of one compiled step of GoogLeNet at 96 pixels, by XLA's own count, and the
programs that a fresh process compiles for a whole render. `tests/test_operations.py` compares them with the accepted
ones.
"""

import json

import jax
import jax.monitoring
import optax

import lightjax as lj
from lightjax import optimize

LAYERS = ("conv2d2", "mixed3a", "mixed4a", "mixed4d", "mixed5a", "softmax2_pre_activation_matmul")


def main() -> None:
    """Count, and print as JSON."""
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **rest: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    model = lj.load_model()
    lj.visualize("mixed4a:97", model=model, size=96, steps=3, snapshots=(1, 2), progress=False)
    counts: dict = {"programs compiled for a render": len(compiled)}
    image, optimizer, key = lj.fourier_image(96), optax.adam(0.05), jax.random.key(0)
    for layer in LAYERS:
        settings = {"image": image, "transform": lj.transforms.DEFAULT, "optimizer": optimizer, "relu": "torchlight"}
        state = optimize.init(key, image, optimizer)
        costs = optimize.compile(state, model, lj.channel(layer, 0), key, **settings).cost_analysis()
        counts[layer] = {"operations": round(costs["flops"]), "bytes": round(costs["bytes accessed"])}
    print(json.dumps({"backend": jax.default_backend(), "jax": jax.__version__, **counts}, indent=1))


if __name__ == "__main__":
    main()
