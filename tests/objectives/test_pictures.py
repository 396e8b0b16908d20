"""Pictures by index: `objective[i]` sees these pictures of every layer and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lightjax import objectives as o
from lightjax.objectives import channel, check, layer, neuron, objective
from tests.objectives.cases import ACTIVATIONS, EVERY, NUMPY, SINGLE, STRUCTURE, counted, traced_values, values

UP = channel("conv", 4)


def contrast(activations, weight):
    """A user's function: it reads two layers."""
    return weight * activations["conv"].std() - activations["dense"].max()


def means(*pictures):
    return NUMPY["conv"][list(pictures), ..., 4].mean()


def test_an_index_chooses_pictures():
    cases = [
        (UP, means(0, 1, 2)),
        (UP[0], means(0)),
        (UP[[0, 2]], means(0, 2)),
        (UP[range(1, 3)], means(1, 2)),
        (UP[np.array([2, 2, 1])], means(2, 2, 1)),
        (UP[0] - UP[1], means(0) - means(1)),
        ((UP + 2 * layer("dense"))[1], means(1) + 2 * NUMPY["dense"][1].mean()),
        ((1 - UP**2)[2], 1 - means(2) ** 2),
    ]
    objectives, expected = zip(*cases, strict=True)
    np.testing.assert_allclose(values(objectives), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traced_values(objectives), expected, rtol=1e-5, atol=1e-6)


def test_an_index_of_an_index_counts_the_chosen_pictures():
    cases = [
        (UP[[0, 2]][1], means(2)),
        (UP[[2, 0, 1]][[0, 2]], means(2, 1)),
        (UP[[2, 0, 1]][[0, 2]][1], means(1)),
        ((UP[[1, 2]] - UP)[0], means(1) - means(0)),
        ((UP[0] - UP[1])[0], means(0) - means(1)),
    ]
    objectives, expected = zip(*cases, strict=True)
    np.testing.assert_allclose(values(objectives), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traced_values(objectives), expected, rtol=1e-5, atol=1e-6)


def test_a_function_of_the_activations_sees_the_chosen_pictures_of_every_layer():
    seen = objective(lambda activations: sum(x.mean() for x in activations.values()))
    inner = objective(lambda activations, term: term(activations), UP[[0, 2]])
    default = objective(lambda activations: activations.get("conv", 0).mean() + activations.get("other", 0.0))
    cases = [
        (objective(contrast, 0.5)[1], 0.5 * NUMPY["conv"][1].std() - NUMPY["dense"][1].max()),
        (objective(contrast, 2)[[2, 0]], 2 * NUMPY["conv"][[2, 0]].std() - NUMPY["dense"][[2, 0]].max()),
        (seen[2], sum(x[2].mean() for x in NUMPY.values())),
        (inner[1], means(2)),
        (default[1], NUMPY["conv"][1].mean()),
        (
            objective(lambda a: a["conv"].mean() * len(a) * ("conv" in a) * ("x" not in a))[0],
            3 * NUMPY["conv"][0].mean(),
        ),
    ]
    objectives, expected = zip(*cases, strict=True)
    np.testing.assert_allclose(values(objectives), expected, rtol=1e-5, atol=1e-6)
    for one in objectives:
        check(one, STRUCTURE)


def test_objectives_of_several_pictures_and_of_the_input_see_the_chosen_ones():
    swapped = {name: jnp.asarray(x[[2, 0]], jnp.float32) for name, x in EVERY.items()}
    objectives = [o.diversity("conv"), o.alignment("dense"), o.total_variation(), o.mean_alpha()]
    np.testing.assert_allclose(
        values([one[[2, 0]] for one in objectives], SINGLE), values(objectives, swapped), rtol=1e-6
    )


def test_the_gradient_of_other_pictures_is_zero():
    gradient = jax.grad(lambda x: (2 * UP[1])(ACTIVATIONS | {"conv": x}))(ACTIVATIONS["conv"])
    assert np.abs(gradient[1]).max() > 0
    np.testing.assert_array_equal(gradient[np.array([0, 2])], 0)


def test_one_compilation_serves_all_channels_and_all_pictures():
    value, traces = counted()
    found = [float(value(channel("conv", i)[p], ACTIVATIONS)) for i in (0, 6) for p in range(3)]
    expected = [NUMPY["conv"][p, ..., i].mean() for i in (0, 6) for p in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (UP[3], "picture 3 is out of range: this image has 3 pictures (0 to 2); use batch=4 or more"),
        (UP[[0, 9]] - 1, "picture 9 is out of range: this image has 3 pictures (0 to 2); use batch=10 or more"),
        (UP[-1], "picture -1 is out of range: this image has 3 pictures (0 to 2)"),
        (layer("dense")[jnp.array([1, 3])], "picture 3 is out of range"),
        (objective(contrast, 1)[3], "picture 3 is out of range"),
        (UP[[0, 2]][2], "picture 2 is out of range: this selection has 2 pictures (0 to 1)"),
        (UP[[0, 2]][-1], "picture -1 is out of range"),
        (UP[1][1], "picture 1 is out of range: this selection has 1 picture (index 0)"),
        ((UP - UP[1])[1], "picture 1 is out of range: this selection has 1 picture (index 0)"),
    ],
    ids=str,
)
def test_a_picture_out_of_range_is_an_index_error(made, words):
    with pytest.raises(IndexError) as error:
        check(made, STRUCTURE)
    assert str(error.value) == words or str(error.value).startswith(f"{words}: ")


def test_the_error_for_a_single_picture_says_how_to_have_two():
    with pytest.raises(IndexError) as error:
        check(UP[1], {"conv": jax.ShapeDtypeStruct((1, 5, 4, 7), np.float32)})
    words = "picture 1 is out of range: this image has 1 picture (index 0); use batch=2 or more"
    assert str(error.value) == words


@pytest.mark.parametrize(
    "pictures", [slice(0, 2), (0, 1), 1.5, None, "0", True, [0, 1.5], [[0], [1, 2]], ...], ids=repr
)
def test_an_index_of_another_kind_is_a_type_error(pictures):
    with pytest.raises(TypeError, match="picture must be a whole number or a list of them, got "):
        UP[pictures]


def test_an_index_of_no_pictures_is_a_value_error():
    with pytest.raises(ValueError, match=r"picture must contain at least one number, got \[\]"):
        UP[[]]


def test_objectives_are_not_iterable():
    with pytest.raises(TypeError, match="not iterable"):
        iter(UP)
    with pytest.raises(TypeError):
        UP in UP  # noqa: B015


def test_an_activation_without_an_axis_of_pictures_is_refused():
    with pytest.raises(ValueError, match="loss has no axis of pictures"):
        check(objective(lambda a: a["loss"])[0], {"loss": jax.ShapeDtypeStruct((), np.float32)})


def test_strings_of_indexed_objectives_say_which_pictures():
    assert str(UP[0] - neuron("conv", 1)[[0, 2]]) == "channel('conv', 4)[0] - neuron('conv', 1)[[0, 2]]"
    assert str((UP + 1)[np.array([0, 1])][1]) == "(channel('conv', 4) + 1)[[0, 1]][1]"
    assert str((-UP)[0]) == "(-channel('conv', 4))[0]"
    assert str(-(UP[0] ** 2)) == "-channel('conv', 4)[0] ** 2"
    assert str(objective(contrast, 1)[0]) == "objective(<contrast>)[0]"
