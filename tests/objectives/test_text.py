"""The string form: what it reads, what it writes, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lightjax import objectives as o
from lightjax.objectives import as_objective, channel, layer, neuron, objective, parse
from tests.objectives.cases import ACTIVATIONS, NUMPY, TARGET, VECTOR, largest_and_smallest, values

READ = [
    ("conv", layer("conv")),
    ("even.0.conv", layer("even.0.conv")),
    ("conv:3", channel("conv", 3)),
    ("even.0.conv:3", channel("even.0.conv", 3)),
    ("conv:0,6,2", channel("conv", [0, 6, 2])),
    ("conv:2-5", channel("conv", [2, 3, 4, 5])),
    ("conv:4-4", channel("conv", [4])),
    ("conv:3:13", neuron("conv", 3, 13)),
    ("conv:0,6:13", neuron("conv", [0, 6], 13)),
    ("even.0.conv:1-3:0", neuron("even.0.conv", [1, 2, 3], 0)),
    ("conv:1 - 0.5*dense:3", channel("conv", 1) - 0.5 * channel("dense", 3)),
    ("conv:1+dense:3", channel("conv", 1) + channel("dense", 3)),
    ("even.0.conv:3:4 - 2", neuron("even.0.conv", 3, 4) - 2),
    ("-conv:1 / (2 - dense:2)", -channel("conv", 1) / (2 - channel("dense", 2))),
    ("(conv:1 + 1)**2 * 1e-1", (channel("conv", 1) + 1) ** 2 * 0.1),
    ("2 * conv - dense", 2 * layer("conv") - layer("dense")),
    ("conv:1-3 - conv:4,5", channel("conv", [1, 2, 3]) - channel("conv", [4, 5])),
    ("conv:1[0] - conv:1[1]", channel("conv", 1)[0] - channel("conv", 1)[1]),
    ("conv[1]", layer("conv")[1]),
    ("even.0.conv[1] + 1", layer("even.0.conv")[1] + 1),
    ("2 * even.0.conv[[0, 1]] - conv[2]", 2 * layer("even.0.conv")[[0, 1]] - layer("conv")[2]),
    ("channel('conv', 4)[[0, 2]]", channel("conv", 4)[[0, 2]]),
    ("conv:0,6[[0, 2]][1]", channel("conv", [0, 6])[[0, 2]][1]),
    ("conv:2-5[0]", channel("conv", [2, 3, 4, 5])[0]),
    ("conv:3:13[1]", neuron("conv", 3, 13)[1]),
    ("(conv:1 + conv:2)[0]", (channel("conv", 1) + channel("conv", 2))[0]),
    ("-conv:1[0] ** 2", -(channel("conv", 1)[0] ** 2)),
    ("neuron('conv', [1, 2], (3, 1))", neuron("conv", [1, 2], (3, 1))),
    ('layer("dense", rows=None)', layer("dense")),
    ("channel('even.0.conv', channel=3) + dense:1", channel("even.0.conv", 3) + channel("dense", 1)),
]


def test_a_string_reads_as_the_objective_it_spells():
    found = [parse(text) for text, _ in READ]
    assert list(map(str, found)) == [str(expected) for _, expected in READ]
    np.testing.assert_array_equal(values(found), values([expected for _, expected in READ]))
    assert list(map(str, found)) == [str(parse(str(one))) for one in found]


NAMES = ("stage-4", "stage", "layer3", "layer3.5", "block 1", "0", "1/a", "3x3", "a:b", "conv", "é(x)[0]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stage-4:3", channel("stage-4", 3)),
        ("layer3.5:97", channel("layer3.5", 97)),
        ("stage-4 - 0.5*layer3.5", layer("stage-4") - 0.5 * layer("layer3.5")),
        ("stage - 4", layer("stage") - 4),
        ("block 1:3:7[0] / 2", neuron("block 1", 3, 7)[0] / 2),
        ("0:3", channel("0", 3)),
        ("0", layer("0")),
        ("0.5 * 0:3 - 0", 0.5 * channel("0", 3) - 0),
        ("2*3x3:1-2 + 1/a:0,4", 2 * channel("3x3", [1, 2]) + channel("1/a", [0, 4])),
        ("a:b", layer("a:b")),
        ("a:b:3 - conv:1[0]", channel("a:b", 3) - channel("conv", 1)[0]),
        ("é(x)[0]:3", channel("é(x)[0]", 3)),
        ("channel('stage-4', 3) + layer('0')", channel("stage-4", 3) + layer("0")),
    ],
)
def test_a_string_knows_the_names_of_the_model_first(text, expected):
    assert str(parse(text, NAMES)) == str(expected)
    assert str(parse(str(expected))) == str(expected)


def test_a_name_that_cannot_be_read_is_explained_and_no_error_is_long():
    with pytest.raises(
        ValueError, match=r"'stage-4' goes as channel\('stage-4', 3\), in Python lj.channel\('stage-4', 3\)"
    ):
        parse("stage-4:3")
    with pytest.raises(ValueError, match="did you mean 'stage-4'"):
        parse("stage-5:3", NAMES)
    for text in (
        "x" * 9999 + "!",
        "(" * 99 + "conv" * 999,
        "conv:3" * 999,
        "conv:" + "9" * 9999 + "x",
        "<" + "a" * 9999 + ">",
    ):
        with pytest.raises(ValueError, match=r"objective|channel") as caught:
            parse(text, [f"layer {i}" for i in range(999)])
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["conv", "conv:3", "even.0.conv", "even.0.conv:3"])
def test_space_around_a_string_does_not_matter(text):
    assert str(parse(f"  {text} ")) == str(parse(text))


NO_OBJECTIVE = [
    ("", "cannot read the objective ''"),
    ("3", "it names no layer"),
    ("2 * 3", "it names no layer"),
    ("'conv'", "it names no layer"),
    ("conv:", "cannot read"),
    ("conv:3:", "cannot read"),
    ("conv: 3", "cannot read"),
    ("conv :3", "cannot read"),
    (":3", "cannot read"),
    ("conv dense", "cannot read"),
    ("conv:3:4:5", "cannot read"),
    ("conv:3 +", "cannot read"),
    ("(conv:3", "cannot read"),
    ("conv:3\ndense:3", "cannot read"),
    ("\0", "cannot read"),
    ("(" * 300 + "conv:3", "cannot read"),
    ("conv:x", "channel of 'conv' must be a number, a list such as 97,143 or a range such as 90-99, got 'x'"),
    ("conv:-1", "got '-1'"),
    ("conv:1.5", "got '1.5'"),
    ("conv:3,", "got '3,'"),
    ("conv:1,,2", "got '1,,2'"),
    ("conv:1-3,5", "got '1-3,5'"),
    ("conv:1-2-3", "got '1-2-3'"),
    ("even.0.conv:x", "channel of 'even.0.conv' must be"),
    ("conv:9-2", "the range '9-2' runs backwards; write 2-9"),
    ("conv:3:x", "position in 'conv' must be one number, counted along the rows, got 'x'"),
    ("conv:3:1,2", "got '1,2'"),
    ("conv:3:-1", "got '-1'"),
    ("conv:99999999999999999999", "channel must be a whole number"),
    ("conv:3 % 2", "is not understood"),
    ("conv:3 // 2", "is not understood"),
    ("conv:3 @ dense:3", "is not understood"),
    ("conv:3 > 2", "is not understood"),
    ("conv:3 and dense:3", "is not understood"),
    ("conv:3 if 1 else dense:3", "is not understood"),
    ("lambda: 0", "is not understood"),
    ("[conv for conv in 'x']", "is not understood"),
    ("(x := 3) * conv", "is not understood"),
    ("f'{1}' * conv", "is not understood"),
    ("conv + conv.mean", "is not understood"),
    ("conv + [1, 2][0]", "is not understood"),
    ("2[0] * conv", "is not understood"),
    ("'x'[0] * conv", "is not understood"),
    ("conv[0:2]", "is not understood"),
    ("conv:3[]", "cannot read"),
    ("conv:[3]", "cannot read"),
    ("conv[0.5]", "picture must be a whole number"),
    ("conv[0, 1]", "picture must be a whole number"),
    ("conv[conv]", "picture must be a whole number"),
    ("(1 + 2)[0]", "is not understood"),
    ("channel('conv', 3, batch=1)", "unexpected keyword argument 'batch'"),
    ("sum([conv, dense])", "is not understood"),
    ("objective(conv)", "is not understood"),
    ("conv:3 + 'x'", "unsupported operand"),
    ("conv:3 + None", "unsupported operand"),
    ("True * conv:3", "unsupported operand"),
    ("1j * conv:3", "is not understood"),
    ("(-1) ** 0.5 * conv:3", "not understood"),
    ("1 / 0 * conv:3", "cannot read"),
    ("2.0 ** 10000 * conv:3", "cannot read"),
    ("channel('conv')", "channel(): missing a required argument: 'channel'"),
    ("channel(conv, 3)", "layer must be a string"),
    ("channel('conv', [])", "channel must contain at least one number, got []"),
    ("channel('conv', 1.5)", "channel must be a whole number"),
    ("channel('conv', True)", "channel must be a whole number"),
    ("channel('conv', None)", "channel must be a whole number"),
    ("channel('conv', 3, picture=1)", "unexpected keyword argument 'picture'"),
    ("channel('conv', 3, **{'rows': 1})", "cannot read"),
    ("channel(*['conv', 3])", "is not understood"),
    ("neuron('conv', 1, (1, 2, 3))", "position must be"),
    ("neuron('conv', 1, 'center')", "position must be"),
]


@pytest.mark.parametrize(("text", "reason"), NO_OBJECTIVE, ids=[repr(text[:40]) for text, _ in NO_OBJECTIVE])
def test_a_malformed_string_is_a_value_error_that_says_why(text, reason):
    with pytest.raises(ValueError, match=r".") as error:
        parse(text)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('pathlib').Path({!r}).touch()",
        "layer(__import__('pathlib').Path({!r}).touch())",
        "conv:3 + open({!r}, 'w')",
        "eval(\"open({!r}, 'w')\")",
        "exec(\"open({!r}, 'w')\") or conv:3",
        "(lambda: open({!r}, 'w'))()",
        "[open({!r}, 'w') for x in [1]]",
        "layer.__globals__['__builtins__']['open']({!r}, 'w')",
    ],
)
def test_a_string_is_never_executed(text, tmp_path):
    path = tmp_path / "touched"
    with pytest.raises(ValueError, match=r"cannot read|must be"):
        parse(text.format(str(path)))
    assert not path.exists()


def test_only_a_string_is_parsed():
    with pytest.raises(TypeError, match="text must be a string such as 'mixed4a:97', got 97"):
        parse(97)


def test_the_string_of_a_selection_reads_back():
    written = [
        channel("conv", [1, 2])[0],
        neuron("conv", 1, (3, 2))[[0, 1]],
        neuron("conv", 1, 7),
        neuron("conv", 1)[1],
        layer("conv", rows=[1])[[1]],
    ]
    arrays = [jax.tree.map(jnp.asarray, one) for one in written]
    expected = values(written)
    np.testing.assert_array_equal(values([parse(str(one)) for one in written]), expected)
    np.testing.assert_array_equal(values([parse(str(one)) for one in arrays]), expected)


def test_a_string_keeps_the_brackets_that_matter_and_no_others():
    a, b = channel("conv", 1), channel("conv", 2)
    for text in (
        "channel('conv', 1) - 0.5 * channel('conv', 2)",
        "(channel('conv', 1) - 0.5) * channel('conv', 2)",
        "channel('conv', 1) - (channel('conv', 2) - 3)",
        "-channel('conv', 1) ** 2",
        "(-channel('conv', 1)) ** 2",
        "channel('conv', 1) / (2 * channel('conv', 2))",
    ):
        assert str(parse(text)) == text
    assert str(a + b - 3) == "channel('conv', 1) + channel('conv', 2) - 3"


def test_as_objective_takes_objectives_strings_and_functions():
    a = channel("conv", 1)
    assert as_objective(a) is a
    assert str(as_objective("conv:1")) == str(channel("conv", 1))
    np.testing.assert_allclose(as_objective(lambda a: a["conv"].max())(ACTIVATIONS), NUMPY["conv"].max(), rtol=1e-6)


def test_strings_say_what_was_given_and_leave_out_the_defaults():
    made = o.direction("conv", VECTOR[:2], power=2) - o.channel("conv", 1, rows=range(2), reduce="norm")[0]
    assert str(made) == (
        f"direction('conv', {VECTOR[:2].tolist()}, power=2) - channel('conv', 1, rows=[0, 1], reduce='norm')[0]"
    )
    assert str(o.direction_neuron("conv", TARGET[0, :3], (1, 2))) == "direction_neuron('conv', <[3, 7] array>, (1, 2))"
    assert str(2 * objective(largest_and_smallest)) == "2 * objective(<largest_and_smallest>)"
    assert str(o.class_logit("jack-o'-lantern")) == 'class_logit("jack-o\'-lantern")'


@pytest.mark.parametrize("given", [["mixed4a:97"], None, 3])
def test_something_else_than_an_objective_is_refused_with_a_hint(given):
    with pytest.raises(TypeError, match="objective must be a string such as 'mixed4a:97'") as error:
        o.as_objective(given)
    assert ("visualize_many" in str(error.value)) == isinstance(given, list)
