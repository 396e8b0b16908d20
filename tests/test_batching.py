"""Many jobs in one program: each as it would be alone, however they are grouped, cut, spread and spoilt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lightjax as lj
from lightjax import batching, ops, optimize
from lightjax.images import Pixels
from lightjax.progress import Pacer
from lightjax.transforms import Jitter, Noise, Pad, RandomRotate, compose

ROOT = Path(__file__).resolve().parents[1]
RANDOM = np.random.default_rng(0)
FIRST, SECOND = (RANDOM.normal(0, 0.3, shape).astype(np.float32) for shape in ((3, 3, 3, 8), (3, 3, 8, 20)))


def model(images, *, relu=jax.nn.relu):
    """Two convolutions and a pool."""
    a = relu(ops.conv(images, jnp.asarray(FIRST), 2, ((1, 1), (1, 1))))
    pooled = ops.max_pool(a, 2, ((0, 1), (0, 1)))
    return {"a": a, "b": relu(ops.conv(pooled, jnp.asarray(SECOND), 1, ((1, 1), (1, 1))))}


# Adam divides each gradient by its own size, so that its first steps turn the rounding of tiny gradients into whole
# steps, which is chaos of the optimizer and says nothing about us. Plain gradient ascent passes rounding on as it is.
ASCENT = optax.sgd(3.0)
SMALL = {
    "model": model,
    "image": lj.image((24, 20), basis=Pixels()),
    "transform": compose(Pad(2), Jitter(3), RandomRotate((-5, 0, 5)), Noise(0.1, until=9)),
    "optimizer": ASCENT,
    "steps": 12,
    "progress": False,
}
CHANNELS = [3, 7, 1, 0, 19, 7, 12]


@pytest.fixture(scope="module")
def alone():
    """What each channel gives alone."""
    return {channel: lj.visualize(lj.channel("b", channel), seed=5, **SMALL) for channel in CHANNELS}


def same(a: lj.Result, b: lj.Result) -> None:
    """Equal to within rounding, and told in the same words."""
    np.testing.assert_allclose(a.images, b.images, rtol=0, atol=2e-6)
    np.testing.assert_allclose(a.values, b.values, rtol=1e-5, atol=1e-6)
    assert a.settings == b.settings
    assert a.seed == b.seed
    assert a.snapshots.keys() == b.snapshots.keys()
    for step, pictures in a.snapshots.items():
        np.testing.assert_allclose(pictures, b.snapshots[step], rtol=0, atol=2e-6)


@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_a_job_gives_the_picture_it_gives_alone_first_last_and_in_any_chunk(alone, chunk):
    jobs = lj.visualize_many(lj.channel("b", jnp.array(CHANNELS)), seed=5, chunk=chunk, **SMALL).in_order()
    assert len(jobs) == len(CHANNELS)
    assert np.abs(alone[3].image - alone[7].image).max() > 0.01  # or all of this says nothing
    for channel, result in zip(CHANNELS, jobs, strict=True):
        same(result, alone[channel])


def test_the_place_in_a_chunk_changes_nothing(alone):
    backwards = lj.visualize_many(lj.channel("b", CHANNELS[::-1]), seed=5, chunk=4, **SMALL).in_order()
    for channel, result in zip(CHANNELS[::-1], backwards, strict=True):
        same(result, alone[channel])


def test_a_real_network_gives_what_it_gives_alone(googlenet):
    settings = {"model": googlenet, "size": 48, "steps": 3, "optimizer": optax.sgd(1.0), "progress": False}
    for channel, result in lj.visualize_many("conv2d2:0-2", chunk=2, **settings):
        lone = lj.visualize(f"conv2d2:{channel}", **settings)
        np.testing.assert_allclose(result.image, lone.image, rtol=0, atol=2e-6)
        np.testing.assert_allclose(result.values, lone.values, rtol=1e-5)


def test_each_job_may_have_a_seed_of_its_own():
    seeds = [0, 7, 2**31, 2**32 - 1]
    jobs = lj.visualize_many(lj.channel("b", [3] * 4), seed=seeds, chunk=3, **SMALL).in_order()
    for seed, result in zip(seeds, jobs, strict=True):
        same(result, lj.visualize("b:3", seed=seed, **SMALL))
    assert np.abs(jobs[0].image - jobs[1].image).max() > 0.01


def test_the_default_optimizer_starts_alike(alone):
    # Before Adam's first update nothing has been amplified, and after it only what was tiny.
    settings = SMALL | {"optimizer": 0.05, "steps": 2}
    (job, *_) = lj.visualize_many(lj.channel("b", [3, 4]), seed=5, **settings).in_order()
    lone = lj.visualize("b:3", seed=5, **settings)
    np.testing.assert_allclose(job.values[0], lone.values[0], rtol=1e-6)
    assert np.mean(np.abs(job.images - lone.images) > 1e-4) < 0.01


def test_numbers_are_shared_and_arrays_are_not():
    weighted = 0.5 * lj.channel("b", [3, 7]) - lj.neuron("a", [1, 2], (np.array([0, 5]), np.array([2, 6])))
    jobs = lj.visualize_many(weighted, **SMALL).in_order()
    assert json.loads(json.dumps(jobs[0].settings)) == jobs[0].settings
    ones = [
        0.5 * lj.channel("b", 3) - lj.neuron("a", 1, (0, 2)),
        0.5 * lj.channel("b", 7) - lj.neuron("a", 2, (5, 6)),
    ]
    for result, objective in zip(jobs, ones, strict=True):
        same(result, lj.visualize(objective, **SMALL))


def test_a_list_is_grouped_by_structure_and_compiled_once_for_each(compiled):
    goals = ["b:3", "b:3,7", lj.channel("b", 7), lj.channel("b", 1), "b:5,6"]
    jobs = dict(lj.visualize_many(goals, chunk=2, **SMALL))
    assert list(jobs) == [0, 2, 3, 1, 4]  # as they finish
    assert compiled.count("jit(_advance)") == 2
    for i, goal in enumerate(goals):
        same(jobs[i], lj.visualize(goal, **SMALL))


def test_a_layer_costs_one_compilation_and_nothing_the_second_time(compiled):
    settings = SMALL | {"steps": 3, "image": lj.image(26, basis=Pixels())}
    lj.visualize_many(lj.channel("b", np.arange(20)), chunk=8, **settings).in_order()
    assert compiled.count("jit(_advance)") == 1
    compiled.clear()
    lj.visualize_many(lj.channel("a", np.arange(8)), chunk=8, **settings).in_order()
    assert compiled == ["jit(_advance)"]
    compiled.clear()
    lj.visualize_many(lj.channel("b", np.arange(20)), chunk=8, **settings | {"steps": 5}, seed=3).in_order()
    assert compiled == []


def test_chunks_fit_the_memory_they_may_take(compiled, monkeypatch):
    monkeypatch.setattr(batching, "CPU_CHUNK", 4)
    given = {name: value for name, value in SMALL.items() if name != "progress"} | {"transform": None}
    recipe = lj.Recipe.of(None, **given)
    mesh = batching.mesh_of(jax.devices()[:1])
    setup = batching.on_devices(recipe.setup, mesh)
    goal = lj.channel("b", 0)

    def needed(chunk: int) -> int:
        state, objective, keys = batching.start(recipe, setup, [goal], [0], chunk, mesh)
        return batching.memory_of(optimize.lower(state, setup, objective, keys, mesh).compile())

    def fitting(*args) -> int:
        return batching.fitting_chunk(recipe, setup, goal, *args)

    assert fitting(20, mesh, 2**40) == 4
    before = compiled.count("jit(_advance)")
    most = needed(4)
    assert fitting(20, mesh, most) == 4
    assert compiled.count("jit(_advance)") == before  # what was guessed and compiled is what is used
    chunk = fitting(20, mesh, most - 1)
    assert chunk == 3
    assert needed(chunk) < most
    assert fitting(3, mesh) == 3
    assert fitting(20, mesh, 1) == 1  # the least there is, and tried all the same


def test_results_come_before_all_are_done(monkeypatch):
    started = []
    begin = optimize.init
    monkeypatch.setattr(optimize, "init", lambda *a: started.append(0) or begin(*a))
    stream = lj.visualize_many(lj.channel("b", np.arange(6)), chunk=2, **SMALL)
    assert started == []
    assert next(stream)[0] == 0
    assert next(stream)[0] == 1
    assert len(started) == 1
    assert next(stream)[0] == 2
    assert len(started) == 2
    assert [len(result.values) for result in stream.in_order()] == [12] * 3


def test_snapshots_are_those_of_a_lone_render():
    settings = SMALL | {"snapshots": (4, 0, 9)}
    for channel, result in lj.visualize_many(lj.channel("b", [0, 1]), **settings):
        assert list(result.snapshots) == [0, 4, 9]
        same(result, lj.visualize(lj.channel("b", channel), **settings))


def limited(activations, limit):
    """Not a number as soon as the mean of the picture has grown to a limit."""
    mean = activations["input"].mean()
    return jnp.log(limit - mean) * 0 + mean


def cornered(activations, limit):
    """Finite everywhere, with a gradient that is not, from a limit on."""
    mean = activations["input"].mean()
    return mean + 0 * jnp.sqrt(jnp.maximum(limit - mean, 0))


@pytest.mark.parametrize("fn", [limited, cornered])
def test_a_job_that_fails_keeps_its_last_good_picture_and_the_others_go_on(fn):
    settings = SMALL | {"optimizer": 0.05, "transform": None}
    limits = (0.55, 10.0, 0.5, 0.53)
    goals = [lj.objective(fn, limit) for limit in limits]
    jobs = lj.visualize_many(goals, **settings, snapshots=(2, 5)).in_order()
    whole = lj.visualize(goals[1], **settings)
    assert jobs[1].failed is None
    np.testing.assert_allclose(jobs[1].images, whole.images, atol=1e-4)
    for i in (0, 2, 3):
        with pytest.raises(lj.NonFiniteError) as error:
            lj.visualize(goals[i], **settings, snapshots=(2, 5))
        assert jobs[i].failed == error.value.step
        assert f"step {error.value.step}" in repr(jobs[i])
        expected = error.value.result
        assert len(jobs[i].values) == len(expected.values) < 12
        np.testing.assert_allclose(jobs[i].images, expected.images, atol=1e-4)
        assert jobs[i].snapshots.keys() == expected.snapshots.keys()
        assert jobs[i].settings == expected.settings
        assert jobs[i].record["outcome"] == {"failed": error.value.step}


def test_a_picture_spoiled_by_the_last_update_is_not_shown():
    steep = lj.objective(lambda activations, height: activations["input"].mean() * height, np.array([1.0, 1e38]))
    settings = SMALL | {"optimizer": optax.sgd(1e10), "transform": None, "steps": 1}
    good, spoiled = lj.visualize_many(steep, **settings).in_order()
    assert (good.failed, spoiled.failed) == (None, 1)
    assert np.isfinite(spoiled.images).all()
    before = lj.visualize("b:0", **settings | {"steps": 0})
    np.testing.assert_allclose(spoiled.images, before.images, rtol=0, atol=2e-6)


def test_ctrl_c_yields_the_jobs_under_way_as_interrupted(monkeypatch):
    advance = optimize.advance
    calls = []

    def once(*args, **settings):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return advance(*args, **settings)

    monkeypatch.setattr(optimize, "advance", once)
    monkeypatch.setattr(Pacer, "next", lambda self, most: min(most, 5))
    jobs = lj.visualize_many(lj.channel("b", np.arange(6)), chunk=2, **SMALL).in_order()
    assert [(job.interrupted, len(job.values)) for job in jobs] == [(True, 10)] * 2
    assert jobs[0].record["outcome"] == {"interrupted": 10}


@pytest.mark.parametrize(
    ("exception", "match", "objectives", "settings"),
    [
        (IndexError, "channel 20 is out of range", lj.channel("b", [3, 20]), {}),
        (IndexError, "channel 20 is out of range", ["b:3", "b:20"], {}),
        (ValueError, "did you mean 'input'", ["b:3", "inpu:20"], {}),
        (ValueError, "it has no arrays: channel", "b:3", {}),
        (ValueError, "its arrays have 2, 3 entries", lj.channel("b", [1, 2]) + lj.channel("b", [1, 2, 3]), {}),
        (ValueError, "no objectives were given", [], {}),
        (ValueError, "got 3 seeds for 2 jobs", "b:3,4", {"seed": [1, 2, 3]}),
        (ValueError, "seed must be between 0 and 4294967295, got -2", "b:3,4", {"seed": [1, -2]}),
        (ValueError, "chunk must be at least 1, got 0", "b:3,4", {"chunk": 0}),
        (TypeError, "memory must be a whole number, got 0.5", "b:3,4", {"memory": 0.5}),
        (ValueError, "steps must be at least 0, got -1", "b:3,4", {"steps": -1}),
        (TypeError, "unknown setting 'transforms'; did you mean 'transform'", "b:3,4", {"transforms": None}),
    ],
)
def test_wrong_arguments_are_refused_at_once(exception, match, objectives, settings, monkeypatch):
    monkeypatch.setattr(optimize, "_advance", None)
    with pytest.raises(exception, match=match):
        lj.visualize_many(objectives, **SMALL | settings)


def test_devices_share_the_jobs_and_never_speak(alone, tmp_path):
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import jax, numpy as np
import lightjax as lj
from lightjax import batching, optimize
from tests.test_batching import SMALL
assert len(jax.devices()) == 4
jobs = lj.visualize_many(lj.channel("b", {CHANNELS!r}), seed=5, chunk=6, **SMALL).in_order()
np.save({str(tmp_path / "four.npy")!r}, np.stack([job.image for job in jobs]))
given = {{k: v for k, v in SMALL.items() if k != "progress"}}
recipe = lj.Recipe.of(None, **given)
mesh = batching.mesh_of()
setup = batching.on_devices(recipe.setup, mesh)
state, objective, keys = batching.start(recipe, setup, [lj.channel("b", 0)], [0], 8, mesh)
assert len(state.params.sharding.device_set) == 4
program = optimize.lower(state, setup, objective, keys, mesh).compile().as_text()
for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
    assert word not in program, word
"""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    for channel, image in zip(CHANNELS, np.load(tmp_path / "four.npy"), strict=True):
        np.testing.assert_allclose(image, alone[channel].image, rtol=0, atol=2e-6)
