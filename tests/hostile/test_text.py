"""Objectives, files and command lines of strangers: each ends well or in one line, soon, and in little memory."""

# ruff: noqa: RUF001, SIM905

import contextlib
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from PIL import Image, PngImagePlugin

import lightjax as lj
from lightjax import cli, images, memory, networks, objectives, transforms
from lightjax.networks.architectures import Layer
from tests.hostile.guard import Attempt, mishandled


class Network:
    """A network as small as can be, which says what its layers see, as those with a name do."""

    source, class_names = "bvlc_googlenet@000000000000", ("cat", "dog")
    layers = (Layer("input", 3, 1, 1), Layer("mixed3a", 3, 8, 60))

    def __call__(self, images):
        return {"mixed3a": images[:, ::8, ::8] ** 2, "softmax2_pre_activation_matmul": images.mean((1, 2))}


MODEL = Network()
SHAPES = {
    "mixed3a": jax.ShapeDtypeStruct((1, 8, 8, 16), jnp.float32),
    "stage-4": jax.ShapeDtypeStruct((1, 16), jnp.float32),
    "input": jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32),
}


# Objectives

TERM = "mixed3a:1"
REPEATED = [*"-~*([{'\"<１09#;\\\n\0\ud800\u202e", "f'", 'f"{', "x(", "x[", "x.", "x/", "::", "x:=", "x:1-3,"]
REPEATED += ["not ", "lambda:", "await ", "x if x else ", "yield "]
TAILS = "+x|-x:1|*x|/x|**2|(1)|[0]|.x|:1| + 'x'|,1|=1|<x>|@x|//2| or x| in x".split("|")
GREEDY = (
    """
[0]*10**9|'a'*10**10|[1]*999999999|999999999*[1]|(1,)*999999999|('a','b')*9999999|'ab'*99999999|2**2**2**2**9|1/0*mixed3a
9**9**9*x|(9**9)**9*x|10**9*[0]|-[1]*9|[1]+[2]|'%9999999d'%1|[[0]*99999]*99999|mixed3a[[0]*10**9]|layer('x'*10**10)
channel('mixed3a', [0]*10**9)|class_logit('a'*10**10)|mixed3a:0-99999999999|mixed3a:0-99999 + mixed3a:0-99999
1e999*mixed3a|mixed3a**1e999|mixed3a*1e-999|mixed3a/0|0**mixed3a|(-1)**0.5*mixed3a|0**-1*mixed3a|nan*mixed3a
total_variation(power=1e400)|boundary_complexity(width=10**9)|boundary_complexity(width=999999999)
""".strip()
    .replace("\n", "|")
    .split("|")
)
GREEDY += [
    " + ".join(["mixed3a:0-9999"] * 50),
    *("mixed3a*" + "9" * n for n in (300, 4000, 5000)),
    "mixed3a:" + "9" * 5000,
]
GREEDY += [f"channel('mixed3a', {'[' * n}1{']' * n})" for n in (10, 31, 33, 48, 65, 190)]
GREEDY += [f"layer('mixed3a', rows={'[' * n}1{']' * n})" for n in (10, 33, 48)]
GREEDY += [f"class_logit({'x' * n!r})" for n in (300, 5000, 99_000, 200_000)]
LETTERS = (
    "ｍixed3a * 2|2 * mixed3ａ|mixed3a:１|mixed3a:1:１|𝐦𝐢𝐱𝐞𝐝3a + 1|ﬁ * 2|ªº|mixed3a:²|ｃhannel('mixed3a', 1)".split("|")
)
CALLS = [
    f"{name}({', '.join([argument] * number)})"
    for name in ("channel", "layer", "neuron", "direction", "class_logit", "diversity", "total_variation", "nothing")
    for argument in ("None", "1e9", "-1", "[]", "'mixed3a'", "[[1], [2, 3]]", "mixed3a", "()", "99999999999999999999")
    for number in (1, 2, 3)
]


def texts() -> Iterator[str]:
    for part in REPEATED:
        yield from (part * n + tail for n in (3, 250, 20_000) for tail in ("", TERM))
    for tail in TAILS:
        yield from (TERM + tail * n for n in (3, 60, 250, 20_000))
    yield from GREEDY
    yield from LETTERS
    yield from CALLS


def test_objectives_of_strangers():
    def attempt(text: str) -> None:
        objectives.check(objectives.parse(text, ("mixed3a", "stage-4")), SHAPES)

    number, wrong = mishandled((repr(text[:60]), lambda text=text: attempt(text)) for text in texts())
    print(f"{number} hostile objectives, {len(wrong)} mishandled")
    assert not wrong, "\n".join(wrong)
    assert number > 500


def test_a_long_sum_is_one_objective_of_many_terms():
    text = " - ".join(f"mixed3a:{i % 16}" for i in range(300))
    goal = objectives.parse(text)
    objectives.check(goal, SHAPES)
    assert str(objectives.parse(str(goal))) == str(goal) == str(sum([objectives.parse(text)]))
    values = jnp.arange(16.0)
    expected = values[0] - sum(values[i % 16] for i in range(1, 300))
    assert goal({"mixed3a": jnp.broadcast_to(values, (1, 8, 8, 16))}) == expected
    nest = objectives.parse("mixed3a:1")
    for _ in range(2000):
        nest = 2 * nest
    with pytest.raises(ValueError, match="nested at most 50 deep"):
        objectives.check(nest, SHAPES)
    assert "too deeply" in repr(nest)


# Files

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    10**9,
    10**5000,
    -1e308,
    1e-320,
    float("nan"),
    float("inf"),
    "",
    "x",
    "/dev/zero",
]
ODD += ["x" * 99_999, [], [1], [[1, 2]], [None] * 3, ["x"], [10**9, 10**9], [[1, 1]] * 5000, {}, {"kind": "Fourier"}]
ODD += [
    {"kind": "Pad", "pixels": 1},
    {"kind": "Between", "low": 1, "high": 2},
    {"kind": "Path"},
    {"kind": 3},
    {"python": ["x"]},
]
ODD += [{"kind": "Statistics", "color": [[1]], "spectrum": None}]
PARTS: list[Any] = [
    *(images.Pixels(), images.Fourier(), images.Laplacian(), images.Cppn(), images.FourierPhases(), images.Shared()),
    *(transforms.Pad(2), transforms.CropOrPad(16), transforms.Jitter(2), transforms.RandomScale([1, 2])),
    *(transforms.RandomRotate(transforms.Between(1, 2)), transforms.RandomFlip(), transforms.RandomCrop(16)),
    *(transforms.GaussianBlur(1), transforms.Noise(1), transforms.NormalizeGradient(), transforms.CollapseAlpha()),
    *(transforms.SameForAll(transforms.Pad(1)), transforms.compose(transforms.Pad(1), transforms.Jitter(2))),
]


def described(**settings) -> dict[str, Any]:
    settings = {"model": MODEL, "image": lj.image(16), "transform": None, "steps": 4, **settings}
    return json.loads(json.dumps(lj.Recipe.of("mixed3a:1", **settings).describe()))


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def same(depth: int) -> Any:
    value: Any = {"kind": "Pad", "pixels": 1}
    for _ in range(depth):
        value = {"kind": "SameForAll", "transform": value}
    return value


def shared(depth: int) -> Any:
    value: Any = {"kind": "Fourier"}
    for _ in range(depth):
        value = {"kind": "Shared", "basis": value}
    return value


def forged() -> Iterator[tuple[str, Any]]:
    plain = described()
    for name in plain:
        yield from ((f"{name}={odd!r:.60}" if odd != 10**5000 else name, plain | {name: odd}) for odd in ODD)
        yield f"without {name}", {key: value for key, value in plain.items() if key != name}
    for field in plain["image"]:
        for odd in ODD:
            yield f"image.{field}={type(odd)}", plain | {"image": plain["image"] | {field: odd}}
    for part in PARTS:
        basis = hasattr(part, "init")
        image = lj.image(16, basis=part) if basis else lj.image(16, alpha=isinstance(part, transforms.CollapseAlpha))
        whole = described(image=image, transform=None if basis else part)
        own = whole["image"]["basis"] if basis else whole["transform"]
        for place, field in enumerate((*own, "another")):
            for odd in ODD[place % 2 :: 2]:  # half of them: all of them come in both halves of the fields
                other = own | {field: odd}
                change = {"image": whole["image"] | {"basis": other}} if basis else {"transform": other}
                yield f"{type(part).__name__}.{field}={type(odd)}", whole | change
    pad = {"kind": "Pad", "pixels": 1}
    for transform in (
        *(nested(n) for n in (5, 500, 50_000)),
        *(same(n) for n in (5, 500, 50_000)),
        *({"kind": "Compose", "transforms": [pad] * n} for n in (3, 300, 30_000)),
        {"kind": "Compose", "transforms": [{"kind": "GaussianBlur", "sigmas": 1e9}] * 30},
        {"kind": "Compose", "transforms": [{"kind": "CropOrPad", "size": [9999, 10**9]}] * 3},
        {"kind": "Compose", "transforms": [{"kind": "Pad", "pixels": 9999, "value": "reflect"}] * 2},
    ):
        yield "transform", plain | {"transform": transform}
    for change in (
        *({"height": 10**n, "width": 10**n} for n in range(3, 12)),
        *({"batch": 10**n} for n in range(3, 12)),
        *({"basis": shared(n)} for n in (3, 300, 30_000)),
        *({"channels": n, "color": color} for n in (4, 5, 99, 9999, 10**9) for color in ("gray", "bands", "rgb")),
        {"color": [[1] * 500] * 500, "channels": 500},
        {"basis": {"kind": "Laplacian", "levels": 10**9}},
        {"basis": {"kind": "Cppn", "layers": 10**9}},
        {"basis": {"kind": "Cppn", "layers": 200, "channels": 60_000}},
        {"basis": {"kind": "FourierPhases", "statistics": "/etc/passwd"}},
    ):
        yield f"image {list(change)}", plain | {"image": plain["image"] | change}
    for text in (
        "[0]*10**9",
        "'a'*10**10",
        "(" * 9999,
        " + ".join(["mixed3a:1"] * 5000),
        "mixed3a:0-99999999",
        "\x1b[2J",
    ):
        yield text[:20], plain | {"objective": text}
    for name in (
        "/dev/zero@0",
        "../x@0",
        "@",
        "x" * 9999 + "@0",
        "bvlc_googlenet@",
        "bvlc_googlenet@1\n2\x1b[2J",
        "inception5h",
    ):
        yield f"model {name[:20]}", plain | {"model": name}
    for steps in (10**6, 10**8, 2**31 - 1, 2**31, 10**20):
        yield f"steps {steps}", plain | {"steps": steps}
        yield f"views {steps}", plain | {"views": steps, "transform": pad}
        yield f"outcome {steps}", plain | {"outcome": {"stopped": steps}}
        yield f"snapshots {steps}", plain | {"steps": steps, "snapshots": list(range(0, min(steps, 10**7), 100))}


@pytest.mark.slow
def test_settings_of_strangers(monkeypatch):
    monkeypatch.setattr(networks, "load_model", lambda *_: MODEL)
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    number, wrong = mishandled((name, lambda one=one: lj.Recipe.read(one)) for name, one in forged())
    print(f"{number} forged settings, {len(wrong)} mishandled")
    assert not wrong, "\n".join(wrong)
    assert number > 1500


def test_what_takes_ages_is_made_only_if_its_steps_are_given_again():
    settings = described() | {"steps": 2 * 10**9}
    with pytest.raises(ValueError, match=r"times the work of a usual picture; give steps= \(--steps\)"):
        lj.Recipe.read(settings, model=MODEL)
    assert lj.Recipe.read(settings, model=MODEL, steps=10**8).steps == 10**8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"size": 999_999},
            r"a picture of 999999x999999 needs about [\d,]+ GB of memory, and there are 16 GB",
        ),
        ({"image": lj.image(64, batch=10**9)}, r"1000000000 pictures of 64x64 needs about"),
        ({"views": 10**9}, r"this render of a picture of 224x224 needs about .* number of views"),
        ({"steps": 10**20}, "steps must be at most 2147483647"),
        ({"size": 7}, "a picture of 7x7 pixels shows nothing of mixed3a, which looks at 8 pixels or more at a time"),
        ({"size": (1, 10**6)}, "a picture of 1x1000000 pixels shows nothing of mixed3a"),
    ],
    ids=str,
)
def test_sizes_beyond_reason_say_what_they_need(monkeypatch, settings, words):
    monkeypatch.setattr(memory, "available", lambda: 16 * 10**9)
    with pytest.raises(ValueError, match=words):
        lj.Recipe.of("mixed3a:1", model=MODEL, **settings)


# Command lines

NINES = "9" * 5000
VALUES = {
    "--size": "1 2 7 8x7 1x1000000 999999 999999x999999 4294967296 0 -1 1.5 x 2x x2 2x2x2 ２２４ 1e3 0x10",
    "--batch": "0 -1 1.0 1000000000 2147483648 one",
    "--steps": "-1 1.0 99999999999999999999 2147483648 1e3",
    "--seed": "-1 1.0 4294967296 x １",
    "--lr": "0 -1 nan inf 1e39 1e308 1e999 1e-400 x",
    "--snapshots": "1.5 -1 1,,2 , 1;2 １",
    "--relu": "x plain",
    "--model": "/dev/null /dev/zero . .. nothing.safetensors a/b/../c",
    "-o": ". / /dev/null x x.gif no/x.png \udcff.gif",
    "--start": "/dev/null . nothing.png",
    "--nothing": "1",
}
LIKE = "/dev/null . nothing deep text list number long huge many big escape objective plain".split()
LINES = [f"{TERM} {option} {value}" for option, values in VALUES.items() for value in [*values.split(" "), "", NINES]]
LINES += [f"--like {name}{'' if '/' in name or name == '.' else '.png'}" for name in LIKE]
LINES += ["[0]*10**9", "'a'*10**10", "(" * 150, "+".join([TERM] * 5000), "mixed3a:999", "ｍixed3a*2", "", NINES]
LINES += [f"{TERM} {TERM}", "--size", "--like", f"{TERM} --transform --no-transform --size 1", "-q -q"]


def files(folder) -> None:
    """Pictures with forged settings."""
    plain = described()
    texts = {
        "deep": "[" * 500_000,
        "text": "not JSON",
        "list": "[1, 2, 3]",
        "number": "9" * 10_000,
        "long": json.dumps(plain | {"more": "x" * 1_100_000}),
        "huge": json.dumps(plain | {"image": plain["image"] | {"height": 10**6, "width": 10**6}}),
        "many": json.dumps(plain | {"image": plain["image"] | {"batch": 10**9}}),
        "big": json.dumps(plain | {"steps": 10**9}),
        "escape": json.dumps(plain | {"objective": "\x1b[2J", "model": "\x1b[2J@\n"}),
        "objective": json.dumps(plain | {"objective": ["mixed3a:1"]}),
    }
    for name, text in texts.items():
        info = PngImagePlugin.PngInfo()
        info.add_itxt("lightjax", text)
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png", pnginfo=info)
    Image.new("RGB", (8, 8)).save(folder / "plain.png")


def lines() -> Iterator[Attempt]:
    for line in LINES:
        arguments = ["render", *line.split(" ")] if line else ["render", ""]

        def attempt(arguments=arguments) -> None:
            out, errors = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as end:
                cli.main([*arguments, "--no-compilation-cache"])
            error = errors.getvalue()
            assert end.value.code == 2
            assert re.fullmatch(r"lightjax: error: [^\n]{1,1000}\n", error), error[:3000]
            assert error[:-1].isprintable()
            assert out.getvalue() == ""

        yield line[:60], attempt


def test_command_lines_of_strangers(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    real = networks.load_model
    monkeypatch.setattr(networks, "load_model", lambda *name: real(*name) if name and "@" not in name else MODEL)
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    files(tmp_path)
    before = sorted(tmp_path.iterdir())
    number, wrong = mishandled(lines())
    print(f"{number} hostile command lines, {len(wrong)} mishandled")
    assert not wrong, "\n".join(wrong)
    assert number > 100
    assert sorted(tmp_path.iterdir()) == before
