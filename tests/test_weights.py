"""Converting, downloading and loading weights."""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import lightjax as lj
from lightjax import WeightsError, cli, load_model, load_picture
from lightjax.networks import ConversionError, architectures, checkpoints, inception_torch, torch_bridge, weights
from tests.parity import reference


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder, and no home."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LIGHTJAX_HOME", raising=False)
    return tmp_path / "cache" / "lightjax"


@functools.cache
def state_dict(record: str, seed: int = 0) -> dict[str, torch.Tensor]:
    return reference.random_state_dict(record, seed)


@pytest.fixture(scope="session")
def caffe_checkpoint(tmp_path_factory) -> Path:
    """A bvlc_googlenet.pth with random weights."""
    path = tmp_path_factory.mktemp("checkpoint") / "bvlc_googlenet.pth"
    torch.save(state_dict("bvlc_googlenet"), path)
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# Conversion


@pytest.mark.parametrize("record", ["inception5h", "bvlc_googlenet"])
def test_conversion_comes_back_bit_for_bit(record):
    original = {k: v.numpy() for k, v in state_dict(record, 1).items()}
    architecture, parameters = inception_torch.from_torch(original)
    assert architecture.name == record
    exported = inception_torch.to_torch(parameters, architecture, inception_torch.naming_of(original))
    assert exported.keys() == original.keys()
    for name, value in original.items():
        assert exported[name].shape == value.shape
        assert exported[name].tobytes() == value.tobytes()


def test_the_bridge_converts_any_state_dict_both_ways():
    targets = {
        "conv.weight": torch_bridge.Target("first/kernel", (3, 5, 2, 4)),
        "fc.weight": torch_bridge.Target("last/kernel", (6, 7)),
        "fc.bias": torch_bridge.Target("last/bias", (7,)),
    }
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (4, 2, 3, 5), "fc.weight": (7, 6), "fc.bias": (7,)}
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    parameters = torch_bridge.from_torch(tensors, targets, "a network")
    assert {name: value.shape for name, value in parameters.items()} == dict(targets.values())
    np.testing.assert_array_equal(parameters["first/kernel"], tensors["conv.weight"].transpose(2, 3, 1, 0))
    jax.tree.map(np.testing.assert_array_equal, torch_bridge.to_torch(parameters, targets), tensors)

    wrong = {"conv.weight": np.zeros((4, 2, 5, 3)), "fc.weight": tensors["fc.weight"], "more": np.zeros(1)}
    with pytest.raises(ConversionError, match=r"looks like a network but does not fit it \(3 problems\)") as error:
        torch_bridge.from_torch(wrong, targets, "a network")
    for problem in (
        "missing fc.bias",
        "unexpected more",
        "conv.weight must have shape (4, 2, 3, 5), got (4, 2, 5, 3)",
    ):
        assert problem in str(error.value)


def test_convolutions_become_height_width_in_out(checkpoint):
    tensors = checkpoints.read(checkpoint, inception_torch.KNOWN).tensors
    _, parameters = inception_torch.from_torch(tensors)
    np.testing.assert_array_equal(
        parameters["conv2d0/kernel"][2, 5, 1, 40], tensors["conv2d0_pre_relu_conv.weight"][40, 1, 2, 5]
    )


def test_metadata_say_what_the_file_is_and_where_it_comes_from(checkpoint, converted):
    file = weights.read(converted)
    assert file.architecture == architectures.INCEPTION5H
    assert file.metadata["source"] == "inception5h.pth"
    assert file.metadata["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert file.metadata["lightjax"]


def test_auxiliary_classifiers_are_left_out_and_named(tmp_path):
    state = state_dict("bvlc_googlenet") | {
        "loss1_conv.weight": torch.ones(128, 512, 1, 1),
        "loss2_fc.bias": torch.ones(1024),
    }
    torch.save(state, tmp_path / "a.pth")
    result = weights.convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert result.skipped == ["loss1_conv.weight", "loss2_fc.bias"]
    assert weights.verify(tmp_path / "a.pth", tmp_path / "a.safetensors") == 116


def test_without_the_last_classifier_there_are_no_softmax_layers(tmp_path):
    state = {k: v for k, v in state_dict("bvlc_googlenet").items() if "loss3" not in k}
    torch.save(state, tmp_path / "headless.pth")
    weights.convert(tmp_path / "headless.pth", tmp_path / "headless.safetensors")
    model = load_model(tmp_path / "headless.safetensors")
    names = {layer.name for layer in model.layers}
    assert "avgpool0" in names
    assert not {name for name in names if name.startswith("softmax2")}


class Stranger:
    """An object for which pickle would execute code."""

    def __reduce__(self):
        return (os.system, ("touch executed",))


def _save(content):
    return lambda path: torch.save(content, path)


def _edited(**changes):
    def write(path):
        state = dict(state_dict("bvlc_googlenet"))
        for key, value in changes.items():
            key = key.replace("__", ".")
            state.pop(key, None)
            if value is not None:
                state[key] = value
        torch.save(state, path)

    return write


def _cut(path):
    torch.save(state_dict("inception5h"), path)
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        pytest.param(lambda path: path.write_bytes(b""), ["damaged"], id="empty"),
        pytest.param(lambda path: path.write_text("hello."), ["cannot read"], id="text"),
        pytest.param(_cut, ["damaged", "cut short"], id="truncated"),
        pytest.param(_save({"a": Stranger()}), ["objects other than tensors"], id="code"),
        pytest.param(_save(torch.nn.Linear(2, 2)), ["objects other than tensors", "state_dict"], id="module"),
        pytest.param(_save([torch.ones(1)]), ["list", "state dict"], id="list"),
        pytest.param(_save({"a": torch.ones(1), "b": 3}), ["another network", "its keys are a,"], id="number"),
        pytest.param(_save({"fc.weight": torch.ones(1)}), ["fc.weight", "conv1_7x7_s2"], id="other network"),
        pytest.param(
            _edited(conv2_3x3__weight=None, conv1_7x7_s2__bias=torch.ones(3), more__weight=torch.ones(1)),
            ["3 problems", "missing conv2_3x3.weight", "unexpected more.weight", "conv1_7x7_s2.bias", "(3,)", "(64,)"],
            id="keys and shapes",
        ),
        pytest.param(
            _edited(conv1_7x7_s2__weight=torch.ones(7, 7, 3, 64)), ["(7, 7, 3, 64)", "(64, 3, 7, 7)"], id="layout"
        ),
        pytest.param(_edited(conv1_7x7_s2__bias=torch.full((64,), float("nan"))), ["NaN, infinite"], id="nan"),
        pytest.param(_edited(conv1_7x7_s2__bias=torch.ones(64).int()), ["floating-point", "int32"], id="integers"),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_name_and_writes_nothing(write, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "wrong.pth")
    with pytest.raises(ConversionError) as error:
        weights.convert("wrong.pth", "out.safetensors")
    for word in words:
        assert word in str(error.value)
    assert files_in(tmp_path) == ["wrong.pth"]


def test_verification_finds_one_changed_bit(checkpoint, converted, tmp_path):
    parameters = safetensors.numpy.load_file(converted)
    assert weights.verify(checkpoint, converted) == 116
    parameters["conv2d1/bias"] = np.nextafter(parameters["conv2d1/bias"], np.float32(1))
    changed = tmp_path / "changed.safetensors"
    weights.write(changed, architectures.INCEPTION5H, parameters, source="", sha256="")
    with pytest.raises(ConversionError, match=r"differs from .* in conv2d1_pre_relu_conv\.bias"):
        weights.verify(checkpoint, changed)


# Checkpoints as people have them

FIRST = {"conv1_7x7_s2.weight": torch.nn.Parameter(torch.full((2, 3), 0.1)), "conv1_7x7_s2.bias": torch.ones(2) / 3}
OTHER = {name: torch.zeros(2) for name in FIRST}
AVERAGE = "an average over training, and not from"


def prefixed(prefix: str, state: dict = FIRST) -> dict:
    return {prefix + name: value for name, value in state.items()}


def cast(dtype: torch.dtype) -> dict:
    return {name: value.detach().to(dtype) for name, value in FIRST.items()}


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (FIRST, []),
        (prefixed("module."), ["prefix 'module.'"]),
        (prefixed("_orig_mod.net.backbone."), ["prefix '_orig_mod.net.backbone.'"]),
        (
            prefixed("model.") | {"loss.weight": torch.ones(3)},
            ["'model.'", "1 tensor without this prefix: loss"],
        ),
        (prefixed("a.") | prefixed("b."), "several copies of the weights, below a., b.;"),
        (
            prefixed("model_ema.") | prefixed("model.", OTHER),
            ["'model_ema.' away from the names, below which are averages", "2 tensors without"],
        ),
        ({"state_dict": FIRST, "best_accuracy": torch.tensor(76.0), "epoch": 3}, ["from 'state_dict'"]),
        ({"model": prefixed("module."), "optimizer": {"state": {0: OTHER}}, "args": None}, ["'model'", "'module.'"]),
        ({"model_state_dict": FIRST, "ema": 0.999, "model": None}, ["from 'model_state_dict'"]),
        ({"state_dict": OTHER, "state_dict_ema": FIRST}, [f"from 'state_dict_ema', {AVERAGE} state_dict"]),
        (
            {"model": OTHER, "model_ema": prefixed("module.") | {"n_averaged": torch.tensor(9)}},
            [AVERAGE, "'module.'", "1 tensor without this prefix: n_averaged"],
        ),
        ({"ema": {"decay": 0.9, "shadow": FIRST}}, ["from 'ema'", "from 'shadow'"]),
        ({"state_dict": prefixed("net."), "pytorch-lightning_version": "2.5", "loops": {}}, ["'state_dict'", "'net.'"]),
        (cast(torch.float64), ["2 tensors from float64 to float32"]),
        (cast(torch.bfloat16), ["2 tensors from bfloat16 to float32"]),
        (FIRST | {"conv1_7x7_s2.bias": (torch.ones(2) / 3).half()}, ["1 tensor from float16 to float32"]),
        (
            FIRST | {"bn.num_batches_tracked": torch.tensor(7)},
            ["of floating-point numbers: bn.num_batches_tracked"],
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else "".join(value)[:40],
)
def test_the_weights_are_found_in_a_checkpoint_and_the_way_is_said(content, notes, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    if isinstance(notes, str):
        with pytest.raises(ConversionError, match=notes):
            checkpoints.read(tmp_path / "a.pth", inception_torch.KNOWN)
        return
    state = checkpoints.read(tmp_path / "a.pth", inception_torch.KNOWN)
    assert len(state.notes) == len({note for note in state.notes for words in notes if words in note})
    for words in notes:
        assert words in "; ".join(state.notes)
    tolerance = 4e-3 if "bfloat16" in "".join(notes) else 1e-3 if "float16" in "".join(notes) else 0
    for name, value in FIRST.items():
        assert state.tensors[name].dtype == np.float32
        np.testing.assert_allclose(state.tensors[name], value.detach(), rtol=tolerance)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory) -> Path:
    """A GoogLeNet with five classes of its own, as a safetensors file in bfloat16 with a prefix."""
    state = state_dict("bvlc_googlenet") | {"loss3_classifier.weight": torch.ones(5, 1024)}
    state |= {"loss3_classifier.bias": torch.arange(5.0)}
    path = tmp_path_factory.mktemp("finetuned") / "birds.safetensors"
    safetensors.torch.save_file({f"module.{name}": value.bfloat16() for name, value in state.items()}, path)
    return path


def test_a_finetuned_network_converts_without_pytorch_and_knows_its_classes(finetuned, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.chdir(finetuned.parent)
    birds = ["robin", "blue tit", "stork, white stork", "wren", "kite"]
    Path("birds.txt").write_text("\ufeff" + "\r\n".join(birds) + "\r\n", encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        cli.main(["convert", "birds.safetensors", "--classes", "birds.txt", "--verify"])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "birds.lightjax.safetensors: bvlc_googlenet, 5 classes",
        "took the prefix 'module.' away from the names",
        "cast 116 tensors from bfloat16 to float32",
        "verified: all 116 tensors come back bit for bit",
    ]
    model = load_model("birds.lightjax.safetensors")
    assert model.class_names == tuple(birds)
    np.testing.assert_array_equal(model.softmax2_pre_activation_matmul.bias[...], np.arange(5))
    with pytest.raises(WeightsError, match="is not a weights file of this version of lightjax"):
        load_model(finetuned)
    with pytest.raises(ConversionError, match="is a weights file of lightjax already"):
        weights.convert("birds.lightjax.safetensors", "again.safetensors")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (b"robin\nwren\n", "has 5 classes, so there must be as many names, got 2"),
        (b"\n", "one name in each line, names.txt is empty"),
        (b"\xff\xfe", "must be text in UTF-8"),
        (None, "names.txt: No such file or directory"),
    ],
    ids=["two", "none", "bytes", "missing"],
)
def test_wrong_names_of_classes_are_refused_and_write_nothing(names, words, finetuned, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if names is not None:
        Path("names.txt").write_bytes(names)
    with pytest.raises(SystemExit) as end:
        cli.main(["convert", str(finetuned), "-o", "out.safetensors", "--classes", "names.txt"])
    errors = capsys.readouterr().err
    assert end.value.code == 2
    assert words in errors
    assert errors.count("\n") == 1
    assert files_in(tmp_path) in ([], ["names.txt"])


def test_without_names_other_classes_have_none_and_the_published_have_theirs(finetuned, tmp_path):
    weights.convert(finetuned, tmp_path / "a.safetensors")
    assert weights.read(tmp_path / "a.safetensors").class_names == ()
    assert len(weights.read(weights.EMBEDDED["bvlc_googlenet"]).class_names) == 1000


def test_a_checkpoint_of_another_network_says_so_in_one_line(shared, tmp_path):
    torch.save({"inception3a.branch1.conv.weight": torch.ones(1)}, tmp_path / "torchvision.pth")
    for path, words in (
        (
            shared / "weights" / "squeezenet1_0.pth",
            "of another network: its keys are features.0.weight, features.0.bias",
        ),
        (tmp_path / "torchvision.pth", "of the GoogLeNet of torchvision, which has other layers"),
    ):
        with pytest.raises(ConversionError, match=f"cannot convert {path}: this is a checkpoint {words}") as error:
            weights.convert(path, tmp_path / "a.safetensors")
        assert len(str(error.value)) < 400


def test_a_checkpoint_at_home_that_had_to_be_unwrapped_warns(checkpoint, cache, tmp_path, monkeypatch):
    torch.save({"state_dict": torch.load(checkpoint)}, tmp_path / "inception5h.pth")
    monkeypatch.setenv("LIGHTJAX_HOME", str(tmp_path))
    with pytest.warns(UserWarning, match=r"inception5h\.pth was converted: took the weights from 'state_dict'"):
        load_model("inception5h")


# Loading


def test_a_weights_file_loads_by_its_path(converted):
    model = load_model(converted)
    assert model.architecture == architectures.INCEPTION5H
    np.testing.assert_array_equal(model.conv2d0.kernel[...], safetensors.numpy.load_file(converted)["conv2d0/kernel"])


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", "cut"], ids=["empty", "text", "cut"])
def test_a_damaged_weights_file_is_refused(content, converted, tmp_path):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(converted.read_bytes()[:-10] if content == "cut" else content)
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        load_model(path)


SHIPPED = "bd68c6a9fb9c0bb0b5fc9a84f1c145d89ccd0a4157d5c5cbd57c7a8e6f53745a"


def test_googlenet_comes_with_lightjax_and_knows_its_classes(googlenet, cache):
    path = weights.EMBEDDED["bvlc_googlenet"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHIPPED
    assert f"`{SHIPPED}`" in path.with_suffix(".md").read_text()
    assert googlenet.source == "bvlc_googlenet@e87c85cf2e01, float16 weights"
    assert googlenet.architecture == architectures.BVLC_GOOGLENET
    assert len(googlenet.class_names) == 1000
    assert "golden retriever" in googlenet.class_names
    assert googlenet.conv2d0.kernel.dtype == np.float32
    assert not cache.exists()


def test_the_shipped_weights_are_the_original_rounded_to_float16(googlenet_file):
    shipped = weights.read(weights.EMBEDDED["bvlc_googlenet"])
    assert shipped.metadata["sha256"] == hashlib.sha256(googlenet_file.read_bytes()).hexdigest()
    _, original = inception_torch.from_torch(checkpoints.read(googlenet_file, ()).tensors)
    assert shipped.parameters.keys() == original.keys()
    for name, value in original.items():
        assert shipped.parameters[name].dtype == np.float16
        np.testing.assert_array_equal(shipped.parameters[name], value.astype(np.float16), err_msg=name)


def test_in_float16_the_classes_of_photographs_stay_the_same(googlenet, googlenet_float32, shared):
    files = sorted((shared / "datasets" / "caltech101").glob("*/*.jpg"))[::800]
    photographs = np.stack([load_picture(file, 112) for file in files])
    logits = jax.jit(lambda model: model(photographs)["softmax2_pre_activation_matmul"])
    half, full = logits(googlenet), logits(googlenet_float32)
    assert len(files) > 10
    assert abs(half - full).max() < 1e-3 * abs(full).max()
    assert (half.argmax(-1) == full.argmax(-1)).all()


def test_files_in_home_or_cache_do_not_change_the_default(converted, googlenet, cache, monkeypatch):
    cache.mkdir(parents=True)
    shutil.copy(converted, cache / "bvlc_googlenet.safetensors")
    monkeypatch.setenv("LIGHTJAX_HOME", str(cache))
    for model in (load_model(), load_model("bvlc_googlenet")):
        assert model.source == googlenet.source
        np.testing.assert_array_equal(model.conv2d0.kernel[...], googlenet.conv2d0.kernel[...])


@pytest.mark.parametrize("name", ["checkpoint", "caffe_checkpoint"])
def test_half_precision_works_for_any_checkpoint(name, request, tmp_path):
    path = request.getfixturevalue(name)
    weights.convert(path, tmp_path / "full.safetensors")
    weights.convert(path, tmp_path / "half.safetensors", half=True)
    full, half = (weights.read(tmp_path / f"{name}.safetensors") for name in ("full", "half"))
    assert (tmp_path / "half.safetensors").stat().st_size < 0.51 * (tmp_path / "full.safetensors").stat().st_size
    for name, value in full.parameters.items():
        np.testing.assert_array_equal(half.parameters[name], value.astype(np.float16))
    assert weights.verify(path, tmp_path / "half.safetensors") == 116
    assert load_model(tmp_path / "half.safetensors").source == f"{full.source}, float16 weights"


def test_values_that_float16_cannot_hold_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _edited(conv1_7x7_s2__bias=torch.full((64,), 7e4))(tmp_path / "large.pth")
    with pytest.raises(ConversionError, match="above 65504, the largest number in float16, in conv2d0/bias"):
        weights.convert("large.pth", "out.safetensors", half=True)
    assert files_in(tmp_path) == ["large.pth"]


def test_a_network_in_bfloat16_says_so_and_is_the_same_to_two_digits(googlenet):
    coarse = weights.load_model("bvlc_googlenet", dtype="bfloat16")
    assert coarse.source == f"{googlenet.source}, computed in bfloat16"
    images = jax.random.uniform(jax.random.key(0), (1, 64, 64, 3))
    activations = jax.jit(lambda model: {name: model(images)[name] for name in ("input", "conv2d2", "mixed4a")})
    fine, rough = activations(googlenet), activations(coarse)
    np.testing.assert_array_equal(rough.pop("input"), fine.pop("input"))
    for name, value in fine.items():
        assert rough[name].dtype == value.dtype == np.float32
        assert 0 < abs(rough[name] - value).max() <= 0.05 * abs(value).max(), name


@pytest.mark.parametrize("dtype", ["int8", "complex64", "flote32"])
def test_a_dtype_that_is_not_a_floating_point_type_is_refused(dtype):
    with pytest.raises(ValueError, match=f"must be a floating-point type such as float32 or bfloat16, got '{dtype}'"):
        weights.load_model("bvlc_googlenet", dtype=dtype)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path):
    safetensors.numpy.save_file({"a": np.ones(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="lightjax convert"):
        load_model(tmp_path / "other.safetensors")


def test_a_pytorch_file_given_as_model_says_how_to_convert_it(checkpoint):
    with pytest.raises(WeightsError, match="lightjax convert"):
        load_model(checkpoint)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"^unknown model 'bvlc_googlnet'; did you mean 'bvlc_googlenet'\?$"):
        load_model("bvlc_googlnet")


@pytest.mark.parametrize("model", ["bvlc_googlnet.safetensors", "nowhere/bvlc_googlnet", Path("bvlc_googlnet")])
def test_a_path_without_a_file_says_so(model):
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_model(model)


def test_home_comes_before_the_cache_and_is_never_written(checkpoint, converted, cache, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(checkpoint, home)
    monkeypatch.setenv("LIGHTJAX_HOME", str(home))
    first = load_model("inception5h")
    assert files_in(home) == ["inception5h.pth"]
    assert len(files_in(cache)) == 1
    assert first.source.startswith("inception5h@")
    before = (cache / files_in(cache)[0]).stat().st_mtime_ns
    load_model("inception5h")
    assert (cache / files_in(cache)[0]).stat().st_mtime_ns == before, "converted twice"
    file = weights.read(converted)
    changed = file.metadata["sha256"][::-1]
    weights.write(home / "inception5h.safetensors", file.architecture, file.parameters, source="", sha256=changed)
    assert load_model("inception5h").source == f"inception5h@{changed[:12]}", "the converted file comes first"


def test_converted_weights_at_home_need_no_cache(converted, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTJAX_HOME", str(converted.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert load_model("inception5h").source.startswith("inception5h@")


def test_a_home_that_is_not_there_is_an_error(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTJAX_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match=r"LIGHTJAX_HOME must name a folder, got .*nowhere"):
        load_model("inception5h")


def test_a_checkpoint_is_never_overwritten_by_its_conversion(checkpoint, tmp_path):
    shutil.copy(checkpoint, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"NAME\.safetensors"):
        weights.convert(tmp_path / "x.pth", tmp_path / "x.pth")
    assert (tmp_path / "x.pth").read_bytes() == checkpoint.read_bytes()


def test_torchlights_variant_reads_the_same_file_with_its_own_rules(converted, cache):
    cache.mkdir(parents=True)
    shutil.copy(converted, cache)
    model = load_model("inception5h_torchlight")
    assert model.architecture == architectures.INCEPTION5H_TORCHLIGHT
    x = jax.random.uniform(jax.random.key(0), (1, 64, 64, 3))
    own, other = (jax.jit(lambda m, x: m(x)["localresponsenorm0"])(m, x) for m in (model, load_model("inception5h")))
    ratio = (own / other)[other > 1e-3]  # sqrt(2) for small activations, more for large ones
    assert 1.41 < float(ratio.min()) < float(ratio.max()) < 5


# Downloading


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, whole, cut short, with a flipped bit, or not at all."""

    daemon_threads = True

    def __init__(self, data: bytes):
        self.data, self.mode, self.requests = data, "whole", 0
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/inception5h.pth"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        data, mode = self.server.data, self.server.mode
        self.server.requests += 1
        if mode == "missing":
            return self.send_error(404)
        if mode == "tampered":
            data = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if mode in ("cut", "silently cut"):
            data = data[: len(data) // 2]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(checkpoint, monkeypatch):
    data = checkpoint.read_bytes()
    server = Server(data)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    public = weights.Checkpoint("inception5h", server.url, weights.blob_id(data))
    monkeypatch.setitem(weights.CHECKPOINTS, "inception5h", public)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_blob_id_is_gits():
    assert weights.blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_download_is_converted_once_and_kept(server, cache, checkpoint):
    model = load_model("inception5h")
    assert files_in(cache) == ["inception5h.safetensors"]
    assert weights.verify(checkpoint, cache / "inception5h.safetensors") == 116
    assert weights.read(cache / "inception5h.safetensors").metadata["source"] == server.url
    assert load_model("inception5h").source == model.source
    assert server.requests == 1


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("missing", ["cannot download", "HTTP status 404", "LIGHTJAX_HOME"]),
        ("cut", ["cannot download", "the connection broke", "LIGHTJAX_HOME"]),
        ("tampered", ["does not match its pinned hash", "is not used"]),
    ],
)
def test_a_bad_download_is_an_error_and_leaves_nothing(server, cache, mode, words):
    server.mode = mode
    with pytest.raises(WeightsError) as error:
        load_model("inception5h")
    for word in [*words, server.url, "'bvlc_googlenet' comes with lightjax"]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    shown = error.value.__suppress_context__ or error.value.__context__ is None
    assert shown, "the traceback must not show the errors of the libraries"
    assert files_in(cache) == []
    server.mode = "whole"
    assert load_model("inception5h").architecture == architectures.INCEPTION5H


def test_without_a_server_the_error_says_where_to_put_the_file(server, cache):
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match=r"cannot download inception5h: there is no connection .*LIGHTJAX_HOME"):
        load_model("inception5h")
    assert files_in(cache) == []


def test_a_proxy_that_is_not_there_is_named(cache, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="cannot download inception5h: the proxy in HTTPS_PROXY"):
        load_model("inception5h")


def _run(code: str, server: Server, cache: Path, **kwargs) -> subprocess.Popen:
    """A process of its own, whose inception5h is the file of this server."""
    prelude = f"""
        from lightjax.networks import weights
        weights.CHECKPOINTS["inception5h"] = weights.Checkpoint(
            "inception5h", {server.url!r}, {weights.blob_id(server.data)!r})
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code)],
        env=os.environ | {"XDG_CACHE_HOME": str(cache.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def test_two_processes_at_once_both_get_the_network(server, cache):
    code = "print(weights.load_model('inception5h').source)"
    outputs = [p.communicate(timeout=120) for p in [_run(code, server, cache) for _ in range(2)]]
    assert outputs[0][0] == outputs[1][0] != "", outputs
    assert files_in(cache) == ["inception5h.safetensors"]


def test_a_full_disk_is_an_error_and_leaves_nothing(server, cache):
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, 10_000_000))
        try:
            weights.load_model("inception5h")
        except weights.WeightsError as error:
            print(error)
    """
    output, errors = _run(code, server, cache).communicate(timeout=120)
    assert "cannot write inception5h to the cache folder" in output, errors
    assert "(File too large); make room there" in output
    assert files_in(cache) == []


def test_without_pytorch_nothing_is_downloaded_and_the_error_says_what_to_install(server, cache):
    code = """
        import sys
        sys.modules["torch"] = None
        try:
            weights.load_model("inception5h")
        except ImportError as error:
            print(error)
    """
    output, errors = _run(code, server, cache).communicate(timeout=120)
    assert 'pip install -e ".[convert]"' in output, errors
    assert "'bvlc_googlenet' comes with lightjax" in output
    assert "Traceback" not in output
    assert server.requests == 0


def test_importing_lightjax_and_loading_weights_need_no_pytorch(converted):
    code = f"""
        import sys, lightjax
        lightjax.load_model({str(converted)!r})
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)


def test_importing_lightjax_leaves_out_what_takes_long_and_all_names_are_there():
    code = """
        import sys, lightjax
        assert not {"flax.nnx", "torch", "jinja2", "typer"} & set(sys.modules), set(sys.modules)
        import lightjax.networks
        assert not {"flax.nnx", "torch"} & set(sys.modules), set(sys.modules)
        assert {"InceptionV1", "load_model", "weights"} <= set(dir(lightjax.networks))
        assert all(getattr(lightjax.networks, name) is not None for name in lightjax.networks.__all__)
        assert all(getattr(lightjax, name) is not None for name in lightjax.__all__)
        assert lightjax.networks.weights.load_model is lightjax.load_model
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="'lightjax' has no attribute 'visualise'"):
        lj.visualise  # noqa: B018
    with pytest.raises(AttributeError, match=r"'lightjax\.networks' has no attribute 'load_modle'"):
        lj.networks.load_modle  # noqa: B018


def test_the_classes_of_a_file_are_checked_against_its_parameters(converted, tmp_path):
    parameters = safetensors.numpy.load_file(converted)
    del parameters["conv2d1/bias"]
    metadata = {"format": "lightjax", "architecture": "inception5h", "classes": json.dumps(1008)}
    safetensors.numpy.save_file(parameters, tmp_path / "less.safetensors", metadata)
    with pytest.raises(WeightsError, match="conv2d1/bias is missing"):
        load_model(tmp_path / "less.safetensors")
