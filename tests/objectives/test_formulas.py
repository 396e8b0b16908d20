"""Every objective of the table: its value, its gradient, its compilations, its string."""

import contextlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lightjax import objectives as o
from lightjax.objectives import channel, check, parse
from lightjax.objectives.base import PRIMITIVES, Objective
from tests.objectives.cases import CASES, EVERY, OPACITY, PHOTO, RGB, RNG, SINGLE, TARGET, VECTOR, blurred, counted

OBJECTIVES = [made for made, _ in CASES.values()]
EXPECTED = np.array([value for _, value in CASES.values()])


def primitives_of(objective):
    """Names of the primitives in an objective."""
    if objective.fn in PRIMITIVES:
        return {PRIMITIVES[objective.fn].constructor.__name__}
    return set().union(*(primitives_of(leaf) for leaf in objective.leaves if isinstance(leaf, Objective)))


def is_blur(objective):
    return "blur_input_each_step" in primitives_of(objective)


@contextlib.contextmanager
def double():
    """The activations in float64."""
    with jax.enable_x64(True):
        yield {name: jnp.asarray(x) for name, x in EVERY.items()}


def assert_each_close(found, expected, **tolerance):
    """Compare arrays with one row for each case; the error names the cases that differ."""
    close = np.isclose(found, expected, **tolerance)
    wrong = {n: (f, e) for n, f, e, ok in zip(CASES, found, expected, close, strict=True) if not np.all(ok)}
    assert not wrong


def test_the_table_has_every_objective():
    assert set().union(*map(primitives_of, OBJECTIVES)) == {one.constructor.__name__ for one in PRIMITIVES.values()}
    assert set().union(*map(primitives_of, OBJECTIVES)) <= {*o.__all__}


def test_every_value_is_that_of_its_formula():
    with double() as activations:
        known = jax.jit(lambda activations: [one(activations) for one in OBJECTIVES])(activations)
    assert_each_close(np.array(known), EXPECTED, rtol=1e-9)


def test_every_gradient_agrees_with_finite_differences():
    """Along one random change of all activations."""
    smooth = [one for one in OBJECTIVES if not is_blur(one)]  # the gradient of a blur is that of the next test
    with double() as activations:
        change = {name: jnp.asarray(RNG.standard_normal(x.shape)) for name, x in EVERY.items()}

        @jax.jit
        def slopes(activations, change):
            def along(gradient):
                return sum((gradient[name] * change[name]).sum() for name in gradient)

            return jnp.stack([along(jax.grad(one)(activations)) for one in smooth])

        @jax.jit
        def values(activations, change, step):
            moved = {name: x + step * change[name] for name, x in activations.items()}
            return jnp.stack([one(moved) for one in smooth])

        step = 1e-6
        found = np.array(slopes(activations, change))
        measured = np.array(values(activations, change, step) - values(activations, change, -step)) / (2 * step)
    np.testing.assert_allclose(found, measured, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [False, True])
def test_a_step_against_the_blur_blurs(alpha):
    planes = slice(3, 4) if alpha else slice(0, 3)
    gradient = jax.jit(jax.grad(lambda pictures: o.blur_input_each_step(alpha=alpha)({"input": pictures})))
    moved = EVERY["input"] - 3 * 0.4 * gradient(SINGLE["input"])  # the mean over 3 pictures
    expected = EVERY["input"].copy()
    before = OPACITY if alpha else RGB
    expected[..., planes] = 0.6 * before + 0.4 * np.stack([blurred(x, 3) for x in before])
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def variants(objective):
    """Three objectives of one structure: other numbers, other indices."""

    def vary(leaf, i):
        if np.issubdtype(np.asarray(leaf).dtype, np.integer):
            return np.maximum(np.asarray(leaf) - i, 0)
        return np.asarray(leaf) * (1, 0.5, 1.5)[i]

    return [jax.tree.map(lambda leaf, i=i: vary(leaf, i), objective) for i in range(3)]


def test_every_objective_compiles_once_for_all_its_numbers_and_maps_over_them():
    """One program for three variants of each; a batch by vmap; a term in a formula like any other."""
    several = [variants(one) for one in OBJECTIVES]
    known = np.array(jax.jit(lambda activations: [[one(activations) for one in group] for group in several])(SINGLE))
    traces = []

    @jax.jit
    def each(objectives, activations):
        traces.append(1)
        return jnp.stack([one(activations) for one in objectives])

    traced = np.array([each(list(group), SINGLE) for group in zip(*several, strict=True)])
    assert len(traces) == 1
    assert_each_close(traced.T, known, rtol=2e-5, atol=1e-6)

    stacked = [jax.tree.map(lambda *leaves: np.stack(leaves), *group) for group in several]
    mapped = jax.jit(lambda batch, activations: jax.vmap(lambda all: [one(activations) for one in all])(batch))
    assert_each_close(np.array(mapped(stacked, SINGLE)), known, rtol=2e-5, atol=1e-6)


def test_every_objective_is_a_term_that_passes_the_check():
    shapes = {name: jax.ShapeDtypeStruct(x.shape, jnp.float32) for name, x in EVERY.items()}
    terms = [2 - channel("dense", 1) * one / 4 for one in OBJECTIVES]
    for term in terms:
        check(term, shapes)
    found = np.array(jax.jit(lambda terms, activations: [one(activations) for one in terms])(terms, SINGLE))
    assert_each_close(found, 2 - EVERY["dense"][:, 1].mean() * EXPECTED / 4, rtol=2e-5, atol=1e-6)


def test_the_string_of_every_objective_reads_back_or_is_refused():
    written, read = [], []
    for one in OBJECTIVES:
        text = str(-one * 2)
        if "<" in text:
            with pytest.raises(ValueError, match=r"<(\[.* array|largest_and_smallest)> stands for an array or a func"):
                parse(text)
        else:
            assert str(parse(text)) == text
            written.append(-one * 2)
            read.append(parse(text))
    assert len(read) > 35
    values = jax.jit(lambda objectives, activations: [one(activations) for one in objectives])
    np.testing.assert_array_equal(values(written, SINGLE), values(read, SINGLE))


def test_objectives_that_differ_in_numbers_share_one_structure():
    value, traces = counted()
    for weight, label, picture in ((0.5, 1, 0), (-3, 2, 1), (7, 0, 2)):
        value(weight * o.layer("conv") - o.channel("dense", label)[picture], SINGLE)
    for one in (channel("conv", 1), channel("dense", 1), o.neuron("conv", 1), -channel("conv", 1)):
        value(one, SINGLE)
    assert len(traces) == 1 + 4


def test_objectives_may_be_built_from_traced_arrays():
    vectors = RNG.standard_normal((4, 7))

    def built(vector, power, picture):
        return o.direction("conv", vector, power=power)[picture] - 0.5 * o.l1()

    batch = jax.vmap(built)(vectors, jnp.arange(4.0), jnp.array([0, 1, 2, 0]))
    found = jax.jit(jax.vmap(lambda one: one(SINGLE)))(batch)
    known = [built(v, p, (0, 1, 2, 0)[p]) for p, v in enumerate(vectors)]
    np.testing.assert_allclose(found, jax.jit(lambda a: [one(a) for one in known])(SINGLE), rtol=1e-5)


def test_gradients_are_finite_where_roots_and_norms_are_zero():
    zeros = {name: jnp.zeros(x.shape) for name, x in EVERY.items()}
    objectives = [
        o.input_diff(np.zeros((8, 7, 3))),
        o.l2(),
        o.layer("conv", reduce="norm"),
        o.direction("conv", VECTOR, power=2, similarity="cosine"),
        o.caricature("conv", TARGET, power=2),
        o.diversity("conv"),
        o.activation_difference("conv", 0 * TARGET, reduce="norm"),
    ]
    gradients = jax.jit(lambda activations: [jax.grad(one)(activations) for one in objectives])(zeros)
    for one, gradient in zip(objectives, gradients, strict=True):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)), one


def test_diversity_is_highest_and_alignment_lowest_for_equal_pictures():
    same = {"conv": jnp.repeat(SINGLE["conv"][:1], 3, axis=0)}
    value = jax.jit(lambda activations: (o.diversity("conv")(activations), o.alignment("conv")(activations)))
    diversity, alignment = value(same)
    np.testing.assert_allclose(diversity, 2, rtol=1e-5)  # N - 1
    np.testing.assert_allclose(alignment, 0, atol=1e-6)
    diversity, alignment = value({"conv": SINGLE["conv"]})
    assert diversity < 2
    assert alignment > 0.1


def test_penalties_are_zero_at_best_and_positive_elsewhere():
    flat = jnp.full((1, 30, 50, 3), 0.5)
    penalties = [
        o.l1(constant=0.5),
        o.total_variation(),
        o.blur_input_each_step(),
        o.boundary_complexity(),
        o.input_diff(np.full((30, 50, 3), 0.5)),
    ]
    value = jax.jit(lambda pictures: jnp.stack([one({"input": pictures}) for one in penalties]))
    np.testing.assert_allclose(value(flat), 0, atol=1e-6)
    assert (value(flat.at[0, 1, 1, 0].set(1)) > 0.001).all()


def test_everything_to_be_subtracted_is_zero_or_more():
    """As the list in the docstring of the package says."""
    subtracted = {
        *("activation_difference", "style", "alignment", "diversity"),
        *("input_diff", "l1", "l2", "total_variation", "blur_input_each_step", "mean_alpha", "boundary_complexity"),
    }
    described = inspect.getdoc(o).partition("*subtracted*")[2]
    assert subtracted == {name for name in o.__all__ if f"`{name}`" in described}
    assert all(value >= 0 for made, value in CASES.values() if primitives_of(made) <= subtracted)


def test_a_penalty_on_blur_compiles_as_fast_as_any_other():
    """XLA would fold the blur of a picture of ones for seconds, and say so."""
    x = jax.ShapeDtypeStruct((8, 224, 224, 3), np.float32)
    text = jax.jit(lambda x: o.boundary_complexity()({"input": x})).lower(x).as_text()
    assert text.count("reduce_window") == 2  # of the picture alone


def test_a_picture_to_stay_close_to_is_in_the_range_of_pictures():
    with pytest.raises(ValueError, match="target must be between 0 and 1, got 200; divide the values of a file by 255"):
        o.input_diff(np.full((8, 8, 3), 200))
    with pytest.raises(ValueError, match=r"target must have the size of the picture, \[8, 7, 3\], got \[4, 7, 3\]"):
        o.input_diff(PHOTO[:4])(SINGLE)
