"""Own primitives, and objectives that are pickled and copied."""

import copy
import pickle
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lightjax import objectives as o
from lightjax.objectives import channel, check, objective, parse
from lightjax.objectives.arguments import Channel, Layer, primitive
from lightjax.objectives.base import PRIMITIVES
from tests.objectives.cases import ACTIVATIONS, CASES, NUMPY, SINGLE, STRUCTURE, counted

POSTPONED = '''
from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from lightjax.objectives import select
from lightjax.objectives.arguments import Channel, Layer, Number, primitive
from lightjax.objectives.select import Activations


@primitive
def spread(activations: Activations, layer: Layer, channel: Channel, *, weight: Number = 1) -> Array:
    """Standard deviation of a channel."""
    return weight * select.channels(select.read(activations, layer), layer, channel).std()
'''


@pytest.fixture
def own():
    """A module of a user, with annotations that are strings."""
    module = types.ModuleType("own_objectives")
    sys.modules["own_objectives"] = module
    known = dict(PRIMITIVES)
    exec(POSTPONED, module.__dict__)
    yield module
    del sys.modules["own_objectives"]
    for added in PRIMITIVES.keys() - known.keys():
        del PRIMITIVES[added]


def test_a_primitive_may_have_annotations_that_are_strings(own):
    made = own.spread("conv", 3, weight=2)
    np.testing.assert_allclose(made(ACTIVATIONS), 2 * NUMPY["conv"][..., 3].std(), rtol=1e-5)
    assert made.layers == ("conv",)
    assert own.spread.__doc__ == "Standard deviation of a channel."
    assert str(parse(f"{made} - conv:1")) == "spread('conv', 3, weight=2) - channel('conv', 1)"
    with pytest.raises(TypeError, match=r"channel must be a whole number or a list of them, got 0\.5"):
        own.spread("conv", 0.5)
    with pytest.raises(IndexError, match=r"channel 7 is out of range: conv has 7 channels \(0 to 6\)"):
        check(made - own.spread("conv", 7), STRUCTURE)


def test_an_own_primitive_is_pickled_like_any_other(own):
    made = own.spread("conv", 3)[1]
    again = pickle.loads(pickle.dumps(made))
    assert jax.tree.structure(again) == jax.tree.structure(made)


def test_an_argument_without_an_annotation_is_refused():
    with pytest.raises(TypeError, match=r"argument 'scale' of .*formula must be annotated with a type such as Layer"):

        @primitive
        def formula(activations, layer: Layer, channel: Channel, scale):
            pass


def contrast(activations, weight):
    return weight * activations["conv"].std()


class Library:
    @staticmethod
    def contrast(activations, weight):
        return weight * activations["conv"].std()


NAMED = [
    channel("conv", [0, 2])[1] ** 2 - 0.5 * o.l1("dense") / 3,
    -objective(contrast, 0.5)[[0, 2]] + 1,
    objective(Library.contrast, jnp.arange(3.0)[1]),
    objective(contrast, channel("conv", 3)(ACTIVATIONS)),
]


@pytest.mark.parametrize(
    "again", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, copy.copy], ids=["pickle", "deepcopy", "copy"]
)
def test_copies_of_objectives_have_the_same_structure_and_values(again):
    made = [one for one, _ in CASES.values()] + NAMED
    copies = again(made)
    assert [jax.tree.structure(one) for one in copies] == [jax.tree.structure(one) for one in made]
    assert list(map(str, copies)) == list(map(str, made))
    for one, other in zip(jax.tree.leaves(copies), jax.tree.leaves(made), strict=True):
        assert type(one) is type(other)
        np.testing.assert_array_equal(one, other)


def test_a_pickled_objective_is_not_compiled_anew():
    value, traces = counted()
    for one in (channel("conv", 3)[1] - o.diversity("conv"), o.direction("conv", np.arange(7.0), power=2)):
        again = pickle.loads(pickle.dumps(one))
        np.testing.assert_array_equal(value(again, SINGLE), value(one, SINGLE))
    assert len(traces) == 2


def test_an_objective_of_a_lambda_gives_the_error_of_pickle():
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"lambda"):
        pickle.dumps(objective(lambda activations: activations["conv"].mean())[0])
