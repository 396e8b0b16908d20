"""Objectives of activations in half precision agree with those in float32, to half precision."""

import jax.numpy as jnp
import numpy as np
import pytest

from lightjax import objectives as lj

RANDOM = np.random.default_rng(0)
LARGE = (RANDOM.random((2, 6, 6, 32)) * 200).astype(np.float16).astype(np.float32)
"""Activations whose sums and squares are too large for float16, and which float16 holds exactly."""
TARGET = LARGE[:, ::-1].copy()

OBJECTIVES = [
    lj.diversity("a"),
    lj.caricature("a", TARGET, power=2),
    lj.style("a", TARGET),
    lj.activation_difference("a", TARGET, reduce="mean_square"),
    lj.total_variation("a"),
    lj.l1("a"),
    lj.l2("a"),
    lj.alignment("a"),
    lj.deepdream("a"),
    lj.direction("a", np.ones(32), power=1),
    *(lj.channel("a", 3, reduce=reduce) for reduce in lj.REDUCTIONS),
    *(lj.layer("a", reduce=reduce) for reduce in lj.REDUCTIONS),
]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: repr(objective)[:50])
def test_half_precision_loses_nothing_but_digits(objective, dtype):
    exact = float(objective({"a": jnp.asarray(LARGE)}))
    found = objective({"a": jnp.asarray(LARGE, dtype)})
    assert found.dtype == jnp.float32
    assert np.isfinite(found)
    assert abs(float(found) - exact) <= (1e-4 if dtype == jnp.float16 else 2e-2) * abs(exact) + 1e-6
