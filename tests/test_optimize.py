"""The optimization loop: against a plain one, however it is cut, with every kind of model, and when it goes wrong."""

import dataclasses
import gc
import weakref

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import lightjax as lj
from lightjax import ops, optimize
from lightjax._structure import PROGRAMS, by_structure
from lightjax.images import image
from lightjax.objectives import channel, layer, neuron, objective
from lightjax.optimize import Setup
from lightjax.transforms import Jitter, Pad, compose

KEY = jax.random.key(7)
SHAPES = [(3, 3, 3, 4), (3, 3, 4, 20), (20, 5)]


def weights(seed=0):
    """Two convolutions of stride 2, and a dense layer."""
    random = np.random.default_rng(seed)
    return [random.normal(0, 0.3, shape).astype(np.float32) for shape in SHAPES]


# The same network, written in four ways.


def plain_model(first, second, last):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def model(images):
        a = jax.nn.relu(convolve(images, first))
        b = jax.nn.relu(convolve(a, second))
        return {"a": a, "b": b, "dense": b.mean((1, 2)) @ last}

    return model


class NnxNet(nnx.Module):
    def __init__(self, first, second, last):
        random = nnx.Rngs(0)
        self.first = nnx.Conv(3, 4, (3, 3), strides=2, use_bias=False, rngs=random)
        self.second = nnx.Conv(4, 20, (3, 3), strides=2, use_bias=False, rngs=random)
        self.last = nnx.Linear(20, 5, use_bias=False, rngs=random)
        for part, kernel in ((self.first, first), (self.second, second), (self.last, last)):
            part.kernel = nnx.Param(jnp.asarray(kernel))

    def __call__(self, images):
        a = jax.nn.relu(self.first(images))
        b = jax.nn.relu(self.second(a))
        return {"a": a, "b": b, "dense": self.last(b.mean((1, 2)))}


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, images):
        a = jax.nn.relu(linen.Conv(4, (3, 3), strides=2, use_bias=False)(images))
        b = jax.nn.relu(linen.Conv(20, (3, 3), strides=2, use_bias=False)(a))
        return {"a": a, "b": b, "dense": linen.Dense(5, use_bias=False)(b.mean((1, 2)))}


def linen_variables(first, second, last):
    return {"params": {"Conv_0": {"kernel": first}, "Conv_1": {"kernel": second}, "Dense_0": {"kernel": last}}}


LINEN = LinenNet()


def linen_model(*kernels):
    variables = linen_variables(*kernels)
    return lambda images: LINEN.apply(variables, images)


class EquinoxNet(eqx.Module):
    convolutions: list[jax.Array]
    dense: eqx.nn.Linear

    def __init__(self, first, second, last):
        self.convolutions = [jnp.asarray(first), jnp.asarray(second)]
        dense = eqx.nn.Linear(20, 5, use_bias=False, key=jax.random.key(0))
        self.dense = eqx.tree_at(lambda layer: layer.weight, dense, jnp.asarray(last.T))

    def __call__(self, images):
        layers = {}
        for name, kernel in zip("ab", self.convolutions, strict=True):
            images = jax.nn.relu(
                jax.lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            )
            layers[name] = images
        return {**layers, "dense": jax.vmap(self.dense)(images.mean((1, 2)))}


MODEL = plain_model(*weights())
IMAGE = image(16, batch=2)
TRANSFORM = compose(Pad(2), Jitter(2))
ADAM = optax.adam(0.05)
SGD = optax.sgd(1.0)
GOAL = channel("b", 3) - 0.5 * neuron("a", 2)[1]
decode = jax.jit(IMAGE.decode)
SETUP = Setup(MODEL, IMAGE, TRANSFORM, ADAM, None)


@pytest.fixture(scope="module")
def start():
    return optimize.init(jax.random.key(1), SETUP)


def run(start, cuts, goal=GOAL, key=KEY, setup=SETUP, **changes):
    """Advance piece by piece; the last state, and the values of all steps."""
    state, values = start, []
    for steps in cuts:
        state = optimize.advance(state, setup._replace(**changes), goal, key, steps)
        values.append(np.asarray(state.values)[:steps])
    return state, np.concatenate(values)


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cuts", [[5] * 4, [1] * 20, [13, 0, 7]], ids=["4 x 5", "20 x 1", "13 + 0 + 7"])
def test_where_the_loop_is_cut_changes_no_bit(start, cuts):
    whole, whole_values = run(start, [20])
    parts, values = run(start, cuts)
    assert int(parts.step) == 20
    assert_same_bits(parts._replace(values=0), whole._replace(values=0))
    np.testing.assert_array_equal(values, whole_values)
    assert len(set(values.tolist())) == 20


def test_the_same_start_and_key_give_the_same_bits_and_another_key_does_not(start):
    once, again = run(start, [6])[0], run(start, [6])[0]
    other = run(start, [6], key=jax.random.key(8))[0]
    assert_same_bits(once, again)
    assert not np.array_equal(once.params, other.params)


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(optax.adam(0.05), id="adam"),
        pytest.param(optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(1.0, momentum=0.9)), id="clipped sgd"),
        pytest.param(optax.chain(optax.normalize_by_update_norm(), optax.sgd(2.0)), id="normalized sgd"),
        pytest.param(optax.nadam(optax.cosine_decay_schedule(0.1, 10)), id="scheduled nadam"),
        pytest.param(optax.chain(optax.adamw(0.05), optimize.clamp_params(-0.1, 0.2)), id="clamped adamw"),
    ],
)
def test_a_render_is_plain_gradient_ascent_with_optax(optimizer):
    start = optimize.init(jax.random.key(1), SETUP._replace(optimizer=optimizer))

    @jax.jit
    def ascend(params, key):
        def value(params):
            pictures = IMAGE.decode(params)
            return GOAL(dict(MODEL(TRANSFORM(key, pictures))))

        return jax.value_and_grad(value)(params)

    params, opt_state, values = start.params, optimizer.init(start.params), []
    for step in range(12):
        value, gradient = ascend(params, jax.random.fold_in(KEY, step))
        updates, opt_state = optimizer.update(-gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        values.append(value)

    state, found = run(start, [12], optimizer=optimizer)
    np.testing.assert_allclose(found, values, rtol=1e-4)
    np.testing.assert_allclose(decode(state.params), decode(params), atol=1e-4)


@pytest.mark.parametrize("views", [1, 4])
def test_the_gradient_is_the_mean_over_the_views_each_with_a_draw_of_its_own(start, views):
    @jax.jit
    def value_and_gradient(params, key):
        return jax.value_and_grad(lambda p: GOAL({**MODEL(TRANSFORM(key, IMAGE.decode(p)))}))(params)

    step = jax.random.fold_in(KEY, 0)
    keys = [step] if views == 1 else [jax.random.fold_in(step, view) for view in range(views)]
    values, gradients = zip(*(value_and_gradient(start.params, key) for key in keys), strict=True)
    assert len(set(map(float, values))) == views
    sgd_start = optimize.init(jax.random.key(1), SETUP._replace(optimizer=SGD))
    state, found = run(sgd_start, [1], optimizer=SGD, views=views)
    np.testing.assert_allclose(found[0], np.mean(values), rtol=1e-4)
    moved = state.params - sgd_start.params
    np.testing.assert_allclose(moved, np.mean(gradients, axis=0), rtol=1e-3, atol=1e-5 * np.abs(gradients).max())


def test_where_the_loop_is_cut_changes_no_bit_of_several_views(start):
    whole, parts = (run(start, cuts, views=2)[0]._replace(values=0) for cuts in ([6], [1, 5]))
    assert_same_bits(whole, parts)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(NnxNet(*weights()), id="nnx"),
        pytest.param(linen_model(*weights()), id="linen"),
        pytest.param(EquinoxNet(*weights()), id="equinox"),
    ],
)
def test_a_network_gives_the_same_render_in_every_framework(start, model):
    expected, expected_values = run(start, [8])
    found, values = run(start, [8], model=model)
    np.testing.assert_allclose(values, expected_values, rtol=1e-4)
    np.testing.assert_allclose(decode(found.params), decode(expected.params), atol=1e-3)


# What is compiled once.


def counted(model):
    """A model, and a list that grows by one whenever Python runs it, which is once for each trace."""
    traces = []

    def wrapped(images):
        traces.append(images.shape)
        return model(images)

    return wrapped, traces


def test_twenty_channels_any_number_of_steps_and_equal_settings_share_one_compilation(start):
    model, traces = counted(MODEL)
    values = [run(start, [1], model=model, goal=channel("b", index))[1][0] for index in range(20)]
    assert len(traces) == 1
    pictures = jax.jit(TRANSFORM)(jax.random.fold_in(KEY, 0), decode(start.params))
    np.testing.assert_allclose(values, MODEL(pictures)["b"].mean((0, 1, 2)), rtol=1e-4, atol=1e-6)

    for steps in (0, 1, 7, optimize.STEPS_PER_CALL):
        assert int(run(start, [steps], model=model, goal=channel("b", 5))[0].step) == steps
    again = compose(Pad(2), Jitter(2))
    run(start, [2], model=model, goal=channel("b", 5), image=image((16, 16), batch=2), transform=again)
    assert len(traces) == 1


@pytest.mark.parametrize("index", [np.int64(4), jnp.int32(4), jnp.array(4)], ids=["NumPy", "JAX int32", "JAX"])
def test_a_channel_shares_the_compilation_however_its_number_is_written(start, index, shared_compilation):
    model, traces = shared_compilation
    _, expected = run(start, [1], model=model, goal=channel("b", 4))
    before = len(traces)
    _, value = run(start, [1], model=model, goal=channel("b", index))
    assert value == expected
    assert len(traces) == before


@pytest.fixture(scope="module")
def shared_compilation():
    return counted(MODEL)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(NnxNet, id="nnx"),
        pytest.param(EquinoxNet, id="equinox"),
        pytest.param(
            lambda *kernels: jax.tree_util.Partial(LINEN.apply, linen_variables(*kernels)),
            id="linen, as a Partial",
        ),
    ],
)
def test_weights_are_data_so_other_ones_do_not_compile_again(start, make):
    traces = []

    def first_channel(activations):
        traces.append(1)
        return activations["b"][..., 0].mean()

    goal = objective(first_channel)
    values = [run(start, [1], model=make(*weights(seed)), goal=goal, transform=None)[1][0] for seed in (0, 1)]
    assert len(traces) == 1
    pictures = decode(start.params)
    expected = [plain_model(*weights(seed))(pictures)["b"][..., 0].mean() for seed in (0, 1)]
    np.testing.assert_allclose(values, expected, rtol=1e-4)


# A picture of one grey, which is its only parameter: under `sgd(1)` and its own mean as objective, it counts steps.


@dataclasses.dataclass(frozen=True)
class Counter:
    def init(self, key):
        return jnp.zeros(())

    def decode(self, params):
        return jnp.full((1, 2, 2, 3), params)


def see(images):
    return {"seen": images}


COUNTING = Setup(see, Counter(), None, SGD, None)


def count(goal, cuts, **changes):
    setup = COUNTING._replace(**changes)
    return run(optimize.init(KEY, setup), cuts, goal=goal, setup=setup)


def test_values_are_the_objective_before_each_update_and_it_is_maximized():
    state, values = count(layer("seen"), [9])
    np.testing.assert_array_equal(values, np.arange(9))
    assert float(state.params) == 9
    assert int(state.step) == 9
    assert bool(state.finite)


def test_clamped_parameters_stop_at_their_limits():
    climbing = optax.chain(SGD, optimize.clamp_params(-2.5, 3.5))
    assert float(count(layer("seen"), [9], optimizer=climbing)[0].params) == 3.5
    np.testing.assert_array_equal(count(-layer("seen"), [5], optimizer=climbing)[1], [0, 1, 2, 2.5, 2.5])
    with pytest.raises(ValueError, match="low must be below high, got 1 and 1"):
        optimize.clamp_params(1, 1)
    with pytest.raises(ValueError, match="needs the parameters"):
        climbing.update(jnp.ones(2), climbing.init(jnp.ones(2)))


def negative(key, images):
    return -images


def test_input_is_the_picture_before_transforms_and_the_model_sees_the_one_after():
    _, of_picture = count(layer("input"), [3], transform=negative)
    _, of_view = count(layer("seen"), [3], transform=negative)
    np.testing.assert_array_equal(of_picture, [0, 1, 2])
    np.testing.assert_array_equal(of_view, [0, 1, 2])  # by counting downwards
    _, of_both = count(2 * layer("input") + layer("seen"), [3], transform=negative)
    np.testing.assert_array_equal(of_both, [0, 1, 2])


@dataclasses.dataclass(frozen=True)
class AddStep:
    def __call__(self, key, images):
        return images

    def at_step(self, step):
        return lambda key, images: images + 10 * step


@pytest.mark.parametrize("views", [1, 2])
def test_a_transform_learns_the_number_of_the_step_however_the_loop_is_cut(views):
    _, values = count(layer("seen"), [2, 3], transform=compose(AddStep()), views=views)
    np.testing.assert_array_equal(values, 11 * np.arange(5))


def far_below(images, relu):
    """Pre-activations that a rectifier turns off."""
    return {"on": relu(images - 100)}


@pytest.mark.parametrize(
    ("rule", "expected"), [("plain", 0), ("torchlight", 20 * ops.LEAK), ("lucid", ops.LUCID_STEPS)]
)
def test_a_relu_rule_governs_the_gradient_and_lucids_knows_the_step(rule, expected):
    state, _ = count(layer("on"), [5, 15], model=far_below, relu=rule)
    np.testing.assert_allclose(state.params, expected, rtol=1e-5)


# What is not finite.


def value_breaks(activations, limit):
    t = activations["input"].mean()
    return t + jnp.where(t >= limit, jnp.nan, 0)


def value_overflows(activations, limit):
    t = activations["input"].mean()
    return t + jnp.where(t >= limit, jnp.inf, 0)


def gradient_breaks(activations, limit):
    t = activations["input"].mean()
    root = jnp.sqrt(jnp.where(t == limit, t - limit, 1))  # infinitely steep at 0
    return t + jnp.where(t == limit, root, 0)


def bursting_sgd(limit):
    """Gradient descent whose update is infinite once the parameter has reached a limit."""

    def update(updates, state, params):
        return jax.tree.map(lambda u, p: jnp.where(p >= limit, jnp.inf, -u), updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


BURSTING = bursting_sgd(7)
FAILURES = [
    # At the seventh update, the objective has been seen to be finite for a parameter of 0 to `good`.
    pytest.param(objective(value_breaks, 7.0), SGD, 6, 7, id="objective is NaN"),
    pytest.param(objective(value_overflows, 7.0), SGD, 6, 7, id="objective is infinite"),
    pytest.param(objective(gradient_breaks, 7.0), SGD, 7, 7, id="gradient is infinite"),
    pytest.param(layer("input"), BURSTING, 7, 8, id="update is infinite"),
]


@pytest.mark.parametrize("cuts", [[40], [7, 20], [8, 20], [1] * 9], ids=["in one go", "7 first", "8 first", "singly"])
@pytest.mark.parametrize(("goal", "optimizer", "good", "step"), FAILURES)
def test_the_state_stands_still_where_something_is_not_finite_and_keeps_the_last_good_parameters(
    goal, optimizer, good, step, cuts
):
    setup = COUNTING._replace(optimizer=optimizer)
    state, values = optimize.init(KEY, setup), []
    for steps in cuts:  # also past the failure, where nothing may change
        before = int(state.step)
        state = optimize.advance(state, setup, goal, KEY, steps)
        values.extend(np.asarray(state.values)[: int(state.step) - before])
    assert not bool(state.finite)
    assert float(state.params) == good
    assert int(state.step) == step
    np.testing.assert_array_equal(values, np.arange(step))


@pytest.mark.parametrize(("goal", "optimizer", "good", "step"), FAILURES)
def test_all_is_well_up_to_the_step_that_fails(goal, optimizer, good, step):
    state, values = count(goal, [min(step, 7)], optimizer=optimizer)
    assert bool(state.finite)
    assert float(state.params) == 7
    np.testing.assert_array_equal(values, np.arange(7))


# Batches of renders.


def test_each_lane_of_vmap_is_its_lone_render():
    goals = channel("b", jnp.array([3, 0, 11])) - 0.5 * neuron("a", 2)[1]
    axes = jax.tree.map(lambda leaf: 0 if np.ndim(leaf) else None, goals)
    keys = jax.random.split(KEY, 3)
    states = jax.vmap(lambda key: optimize.init(key, SETUP))(keys)

    def render(state, goal, key):
        return optimize.advance(state, SETUP, goal, key, 10)

    lanes = jax.vmap(render, in_axes=(0, axes, 0))(states, goals, keys)
    for i, index in enumerate((3, 0, 11)):
        state, lane = jax.tree.map(lambda leaf, i=i: leaf[i], (states, lanes))
        lone, values = run(state, [10], goal=channel("b", index) - 0.5 * neuron("a", 2)[1], key=keys[i])
        assert int(lane.step) == 10
        np.testing.assert_allclose(lane.values[:10], values, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(decode(lane.params), decode(lone.params), atol=1e-3)


def test_a_lane_that_fails_ends_alone():
    limits = jnp.array([3.0, 100.0, 7.0])
    state = optimize.init(KEY, COUNTING)

    def render(limit):
        return optimize.advance(state, COUNTING, objective(value_breaks, limit), KEY, 10)

    lanes = jax.vmap(render)(limits)
    np.testing.assert_array_equal(lanes.finite, [False, True, False])
    np.testing.assert_array_equal(lanes.step, [3, 10, 7])
    np.testing.assert_array_equal(lanes.params, [2, 10, 6])
    for course, steps in zip(lanes.values, (3, 10, 7), strict=True):
        np.testing.assert_array_equal(course[:steps], np.arange(steps))


def test_an_objective_that_reads_nothing_can_be_advanced():
    state, values = count(objective(lambda activations: 1.5), [2])
    np.testing.assert_array_equal(values, [1.5, 1.5])
    assert float(state.params) == 0


def test_programs_of_functions_that_are_made_anew_are_released():
    call = by_structure(lambda function, x: function(x))
    made = []
    for i in range(PROGRAMS + 1):
        function = lambda x, i=i: x + i
        assert call(function, jnp.ones(())) == 1 + i
        made.append(weakref.ref(function))
    del function
    gc.collect()
    assert [one() is None for one in made] == [True] + PROGRAMS * [False]


def test_the_third_copy_of_a_function_warns_once_and_says_what_to_do():
    def render(goal):
        lj.visualize(goal, model=MODEL, image=image(8), transform=None, steps=0, progress=False)

    def size(activations, unit):
        return activations["b"][..., unit].std()

    for unit in range(4):
        render(objective(size, unit))
    goals = [lambda a, unit=unit: a["b"][..., unit].mean() for unit in range(4)]
    for goal in (*goals[:2], *goals[:2]):
        render(goal)
    with pytest.warns(UserWarning, match=r"<lambda>.* compiled for the third time.*lj.objective\(function, number\)"):
        render(goals[2])
    render(goals[3])
