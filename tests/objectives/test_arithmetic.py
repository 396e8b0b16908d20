"""Arithmetic of objectives is arithmetic on their values."""

import operator

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightjax.objectives import Objective, channel, layer, neuron, parse
from tests.objectives.cases import ACTIVATIONS, SHAPES

A, B = channel("conv", 1), neuron("conv", 2, (1, 1))
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]
NUMBERS = [3, -0.75, np.float32(1.5), np.float64(0.25), np.int64(2), np.array(1.5, np.float32), jnp.float32(2.5)]
NUMBERS = [*NUMBERS, jnp.array(2)]


def value_of(term):
    return term(ACTIVATIONS) if isinstance(term, Objective) else term


def assert_arithmetic(operation, *terms):
    result = operation(*terms)
    assert isinstance(result, Objective)
    np.testing.assert_allclose(result(ACTIVATIONS), operation(*map(value_of, terms)), rtol=1e-6)


@pytest.mark.parametrize("operation", BINARY, ids=lambda op: op.__name__)
def test_arithmetic_with_a_number_is_arithmetic_on_values(operation):
    assert_arithmetic(operation, A, 3)
    assert_arithmetic(operation, -0.75, A)
    assert_arithmetic(operation, A, B)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{type(number).__name__} {number}")
def test_a_number_may_come_from_python_numpy_or_jax(number):
    assert_arithmetic(operator.mul, A, number)
    assert_arithmetic(operator.sub, number, A)
    weighted = 1 - number * A / number
    np.testing.assert_allclose(parse(str(weighted))(ACTIVATIONS), weighted(ACTIVATIONS), rtol=1e-6)


def test_powers_are_those_of_the_values():
    for exponent in (2, -1, 3.0, np.float32(2), jnp.array(2)):
        assert_arithmetic(operator.pow, A, exponent)
    for base in (2, 0.5, np.float32(1.5), jnp.array(3.0)):
        assert_arithmetic(operator.pow, base, A)
    assert_arithmetic(operator.pow, A * A, B)


def test_negation_and_sum_are_those_of_the_values():
    a, b = A(ACTIVATIONS), B(ACTIVATIONS)
    np.testing.assert_allclose((-A)(ACTIVATIONS), -a)
    np.testing.assert_allclose(sum([A, B, A])(ACTIVATIONS), a + b + a, rtol=1e-6)
    np.testing.assert_allclose(sum([A, B], start=-B)(ACTIVATIONS), a, rtol=1e-5)


@pytest.mark.parametrize("other", ["conv:3", None, True, 1j, [1.0], {}], ids=repr)
def test_arithmetic_with_anything_else_is_a_type_error(other):
    for operation in (*BINARY, operator.pow):
        with pytest.raises(TypeError, match=r"unsupported operand|can only concatenate|can't multiply"):
            operation(A, other)


@pytest.mark.parametrize("number", [np.nan, float("inf"), np.float32("nan")])
def test_a_number_that_is_not_finite_is_refused(number):
    with pytest.raises(ValueError, match=r"a number combined with an objective must be finite, got (nan|inf)"):
        number * A


terms = st.one_of(
    st.builds(channel, st.just("conv"), st.integers(0, 6)),
    st.builds(channel, st.just("dense"), st.lists(st.integers(0, 5), min_size=1, max_size=3)),
    st.builds(neuron, st.just("conv"), st.integers(0, 6), st.sampled_from([None, 7, (4, 3)])),
    st.builds(layer, st.sampled_from(sorted(SHAPES))),
    st.builds(operator.getitem, st.builds(channel, st.just("conv"), st.integers(0, 6)), st.sampled_from([0, [0, 2]])),
)
numbers = st.one_of(
    st.integers(-4, 4),
    st.floats(-4, 4, width=32),
    st.floats(-4, 4, width=32).map(np.float32),
    st.sampled_from([jnp.float32(0.3), jnp.float32(-1.7)]),
)
arithmetic = st.sampled_from(BINARY)


def grow(trees):
    """Larger expressions; at least one side of each operation holds an objective."""
    return st.one_of(
        st.tuples(arithmetic, trees, trees),
        st.tuples(arithmetic, trees, numbers),
        st.tuples(arithmetic, numbers, trees),
        st.tuples(st.just(operator.pow), trees, st.one_of(trees, st.sampled_from([2, 3, -1, 0.5]))),
        st.tuples(st.just(operator.neg), trees),
    )


def build(tree, leaf):
    if not isinstance(tree, tuple):
        return leaf(tree)
    operation, *operands = tree
    return operation(*(build(operand, leaf) for operand in operands))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(tree=st.recursive(terms, grow, max_leaves=8))
def test_any_expression_has_the_value_of_its_formula_and_its_string_reads_back(tree):
    combined = build(tree, lambda leaf: leaf)
    expected = build(tree, value_of)
    np.testing.assert_array_equal(combined(ACTIVATIONS), expected)
    np.testing.assert_array_equal(parse(str(combined))(ACTIVATIONS), expected)
