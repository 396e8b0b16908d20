"""The front door: what a user sees of a render."""

import copy
import inspect
import io
import json
import os
import pickle
import subprocess
import sys
import textwrap

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from PIL import Image

import lightjax as lj
from lightjax import optimize
from lightjax.images import NaturalImage, Pixels
from lightjax.pictures import read_settings
from lightjax.progress import Pacer
from tests.parity import reference

SIZE = 24


def conv(x, kernel, stride=2):
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


KERNELS = [np.random.default_rng(i).normal(0, 0.3, (3, 3, a, b)) for i, (a, b) in enumerate([(3, 8), (8, 12), (12, 4)])]


def plain(images):
    """Three layers as a plain function."""
    x, layers = images - 0.5, {}
    for i, kernel in enumerate(KERNELS):
        layers[f"layer{i}"] = x = jnp.tanh(conv(x, jnp.asarray(kernel, jnp.float32)))
    return layers


class Nnx(nnx.Module):
    """Three layers as an nnx module."""

    def __init__(self, rngs):
        self.a = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.b = nnx.Conv(8, 8, (3, 3), strides=2, rngs=rngs)
        self.c = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, images):
        a = jnp.tanh(self.a(images))
        b = jnp.tanh(self.b(a))
        return {"a": a, "b": b, "c": self.c(b.mean((1, 2)))}


class Linen(linen.Module):
    """Three layers in linen."""

    @linen.compact
    def __call__(self, images):
        a = jnp.tanh(linen.Conv(8, (3, 3))(images))
        b = jnp.tanh(linen.Conv(8, (3, 3), strides=2)(a))
        return {"a": a, "b": b, "c": linen.Dense(5)(b.mean((1, 2)))}


def linen_model():
    net = Linen()
    variables = net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return lambda images: net.apply(variables, images)


def render(objective="layer1:3", **settings):
    size = {} if "image" in settings else {"size": SIZE}
    return lj.visualize(objective, **{"steps": 12, "model": plain, "progress": False} | size | settings)


# Results


def test_a_result_has_the_shapes_and_ranges_it_promises():
    result = render(image=lj.image((20, 26), batch=2), snapshots=(0, 5))
    chex.assert_shape(result.images, (2, 20, 26, 3))
    chex.assert_type(result.images, np.float32)
    assert 0 <= result.images.min() < result.images.max() <= 1
    np.testing.assert_array_equal(result.image, result.images[0])
    assert list(result.snapshots) == [0, 5]
    assert result.values.shape == (12,)
    assert result.seed == 0
    assert not result.interrupted


@pytest.mark.parametrize(
    ("model", "spec"),
    [(plain, "layer2:1"), (Nnx(nnx.Rngs(0)), "b:3"), (Nnx(nnx.Rngs(0)), "c:4"), (linen_model(), "b:3")],
    ids=["function", "nnx", "nnx logits", "linen"],
)
def test_any_model_can_be_visualized_and_its_objective_rises(model, spec):
    result = render(spec, model=model, steps=40, transform=None)
    assert result.values[-1] > result.values[0] + 0.01


def test_each_layer_of_a_users_model_can_be_chosen():
    model = Nnx(nnx.Rngs(0))
    images = {name: render(f"{name}:0", model=model).image for name in "abc"}
    assert not np.array_equal(images["a"], images["b"])
    assert not np.array_equal(images["b"], images["c"])


def test_values_are_the_objective_before_each_update():
    result = render(transform=None, steps=3, snapshots=(0, 1, 2))
    for step, value in enumerate(result.values):
        activations = plain(jnp.asarray(result.snapshots[step]))
        np.testing.assert_allclose(value, activations["layer1"][..., 3].mean(), rtol=1e-4)


def test_a_snapshot_is_the_picture_of_a_shorter_render():
    long = render(snapshots=(4, 9))
    for step in (4, 9):
        np.testing.assert_array_equal(long.snapshots[step], render(steps=step).images)


def test_where_chunks_end_does_not_change_a_byte(monkeypatch):
    reference = render(steps=30)
    monkeypatch.setattr(Pacer, "next", lambda self, most: min(most, 7))
    again = render(steps=30)
    np.testing.assert_array_equal(reference.images, again.images)
    np.testing.assert_array_equal(reference.values, again.values)


# Callbacks


@pytest.mark.parametrize(
    ("every", "steps", "expected"),
    [(5, 12, [5, 10, 12]), (6, 12, [6, 12]), (50, 12, [12]), ((7, 0, 3, 7), 12, [0, 3, 7]), ((), 12, []), (1, 0, [0])],
    ids=str,
)
def test_a_callback_sees_what_a_shorter_render_returns(every, steps, expected):
    seen = []
    final = render(steps=steps, snapshots=(2,) if steps else (), callback=seen.append, every=every)
    assert [len(result.values) for result in seen] == expected
    for result in seen:
        alone = render(steps=len(result.values), snapshots=[s for s in (2,) if s <= len(result.values)])
        np.testing.assert_array_equal(result.images, alone.images)
        np.testing.assert_array_equal(result.values, alone.values)
        assert result.settings == alone.settings
        assert list(result.snapshots) == list(alone.snapshots)
    assert not final.stopped
    assert final.settings["steps"] == steps


def test_callbacks_change_no_byte_and_compile_nothing():
    traces = []

    def counted(images):
        traces.append(images.shape)
        return plain(images)

    quiet = render(model=counted, steps=30, snapshots=(4,))
    before = len(traces)
    for every in (1, 7, (3, 4, 29)):
        loud = render(model=counted, steps=30, snapshots=(4,), callback=lambda result: None, every=every)
        np.testing.assert_array_equal(loud.images, quiet.images)
        np.testing.assert_array_equal(loud.values, quiet.values)
        np.testing.assert_array_equal(loud.snapshots[4], quiet.snapshots[4])
        assert loud.settings == quiet.settings
    assert len(traces) == before


def test_a_callback_stops_a_render_by_a_true_answer():
    result = render(steps=40, snapshots=(3, 30), callback=lambda result: result.values[-1] > result.values[0], every=4)
    made = len(result.values)
    assert made in range(4, 40, 4)
    assert result.stopped
    assert not result.interrupted
    assert result.record["outcome"] == {"stopped": made}
    assert list(result.snapshots) == [3]
    assert "(stopped)" in repr(result)
    np.testing.assert_array_equal(result.images, render(steps=made).images)
    last = render(steps=8, callback=lambda result: len(result.values) == 8, every=4)
    assert not last.stopped
    assert "outcome" not in last.record


def test_what_a_callback_raises_comes_out_and_ctrl_c_in_it_is_ctrl_c():
    def fails(result):
        raise ZeroDivisionError(f"after {len(result.values)}")

    with pytest.raises(ZeroDivisionError, match="after 3"):
        render(callback=fails, every=3)

    def interrupts(result):
        raise KeyboardInterrupt

    result = render(callback=interrupts, every=(5,))
    assert result.interrupted
    assert len(result.values) == result.record["outcome"]["interrupted"] == 5
    np.testing.assert_array_equal(result.images, render(steps=5).images)


def test_several_views_of_each_step_are_as_good_and_are_recorded():
    many = render(views=3, steps=40)
    assert many.settings["views"] == 3
    assert many.values[-1] > many.values[0] + 0.01
    assert np.abs(many.images - render(steps=40).images).max() > 0.01


def test_same_seed_same_picture_and_another_seed_another():
    np.testing.assert_array_equal(render(seed=3).images, render(seed=3).images)
    assert np.abs(render(seed=3).images - render(seed=4).images).max() > 0.01


def test_twenty_channels_share_one_compilation():
    traces = []

    def counted(images):
        traces.append(images.shape)
        return plain(images)

    channels = [*range(12), *range(8)]
    render("layer1:0", model=counted)
    before = len(traces)
    for channel in channels:
        render(lj.channel("layer1", channel), model=counted)
    assert len(traces) == before


def test_a_learning_rate_stands_for_adam():
    np.testing.assert_array_equal(render(optimizer=0.02).images, render(optimizer=optax.adam(0.02)).images)
    assert np.abs(render(optimizer=0.02).images - render().images).max() > 0.001


@pytest.mark.parametrize("rate", [np.float32(0.25), jnp.float32(0.25), 0.25], ids=["numpy", "jax", "python"])
def test_a_learning_rate_may_be_any_number(rate):
    assert render(steps=1, optimizer=rate).settings["optimizer"] == 0.25


def test_optimizers_that_want_the_value_get_it():
    result = render(optimizer=optax.lbfgs(), steps=10, transform=None)
    assert result.values[-1] > result.values[0] + 0.01


def test_snapshots_may_come_from_a_generator():
    assert list(render(snapshots=(s for s in (2, 1))).snapshots) == [1, 2]


def test_a_network_changed_by_one_user_is_whole_for_the_next(googlenet):
    changed = lj.load_model("bvlc_googlenet")
    changed.conv2d0.kernel[...] = changed.conv2d0.kernel[...] * 0
    again = lj.load_model("bvlc_googlenet")
    np.testing.assert_array_equal(again.conv2d0.kernel[...], googlenet.conv2d0.kernel[...])


def test_two_pictures_are_optimized_together():
    unit = lj.channel("layer1", 3)
    difference = unit[0] - unit[1]
    result = render(difference, image=lj.image(SIZE, batch=2), steps=60)
    first, second = plain(jnp.asarray(result.images))["layer1"][..., 3].mean(axis=(1, 2))
    assert first > second + 0.1


def test_a_result_shows_itself_in_a_notebook_as_png():
    result = render(snapshots=(2, 4))
    picture = Image.open(io.BytesIO(result._repr_png_()))
    assert picture.size == (3 * SIZE + 2 * 4, SIZE)
    assert "channel('layer1', 3)" in repr(result)


# The network's rectifiers


def test_rectifiers_can_be_chosen_where_the_model_lets_them():
    def model(images, relu=jax.nn.relu):
        return {"off": relu(images.mean(axis=-1, keepdims=True) - 10)}

    with pytest.warns(UserWarning, match="did not change"):
        dead = render("off:0", model=model, relu="plain", snapshots=(0,), transform=None)
    alive = render("off:0", model=model, snapshots=(0,), transform=None)
    np.testing.assert_array_equal(dead.images, dead.snapshots[0])
    assert alive.images.mean() > alive.snapshots[0].mean() + 0.01
    assert (dead.settings["relu"], alive.settings["relu"]) == ("plain", "torchlight")


# Things that go wrong


def test_ctrl_c_returns_what_there_is(monkeypatch):
    advance, calls = optimize.advance, []

    def interrupted(*args, **kwargs):
        calls.append(args[4])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return advance(*args, **kwargs)

    monkeypatch.setattr(optimize, "advance", interrupted)
    monkeypatch.setattr(Pacer, "next", lambda self, most: min(most, 3))
    result = render(steps=50, snapshots=(2,))
    monkeypatch.undo()
    made = sum(calls[:3])
    assert result.interrupted
    assert result.record["outcome"]["interrupted"] == made == len(result.values)
    assert list(result.snapshots) == [2]
    np.testing.assert_array_equal(result.images, render(steps=made).images)


def grows_undefined(activations):
    mean = activations["layer1"][..., 3].mean()
    return jnp.where(mean > 0.3, jnp.nan, mean)


def undefined_gradient(activations):
    mean = activations["layer1"][..., 3].mean()
    return mean + jnp.sqrt(jnp.where(mean > 0.3, 0.0, 1.0) * mean**2)


@pytest.mark.parametrize("fn", [grows_undefined, undefined_gradient], ids=["value", "gradient"])
def test_what_is_not_finite_stops_the_render_and_keeps_the_last_good_picture(fn):
    with pytest.raises(lj.NonFiniteError, match=r"not finite at step \d+") as error:
        render(lj.objective(fn), steps=400, transform=None)
    step, result = error.value.step, error.value.result
    assert 1 < step < 400
    assert np.isfinite(result.images).all()
    assert len(result.values) == step - 1
    assert np.isfinite(result.values).all()


def test_an_exploding_picture_is_caught_before_it_is_lost():
    with pytest.raises(lj.NonFiniteError) as error:
        render(optimizer=1e38, steps=50)
    assert np.isfinite(error.value.result.images).all()


class TooBright(NaturalImage):
    """An image that leaves its range."""

    def decode(self, params):
        return super().decode(params) + 1


class Unhashable:
    """A model that JAX cannot compare."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, images):
        return plain(images)


class InTraining(nnx.Module):
    """A model that changes when it is called."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)

    def __call__(self, images):
        return {"layer1": self.norm(images)}


def raises(exception, match, objective="layer1:3", **settings):
    return pytest.param(exception, match, objective, settings, id=match[:40])


@pytest.mark.parametrize(
    ("exception", "match", "objective", "settings"),
    [
        raises(ValueError, "did you mean 'layer1'", "layr1:3"),
        raises(IndexError, r"layer1 has 12 channels \(0 to 11\)", "layer1:12"),
        raises(IndexError, "picture 1 is out of range", lj.channel("layer1", 0)[1]),
        raises(ValueError, "cannot read the objective", "layer1:"),
        raises(TypeError, "objective", 3),
        raises(ValueError, "one real number", lambda a: a["layer1"]),
        raises(ValueError, "steps must be at least 0, got -1", steps=-1),
        raises(TypeError, "steps must be a whole number, got 2.5", steps=2.5),
        raises(ValueError, "snapshots must be at most 12, the number of steps, got 13", snapshots=(13,)),
        raises(ValueError, "views must be at least 1, got 0", views=0),
        raises(TypeError, "views must be a whole number, got 2.0", views=2.0),
        raises(ValueError, "2 views of a picture are all the same", views=2, transform=None),
        raises(TypeError, "callback must be a function", callback=3),
        raises(ValueError, "every must be at least 1, got 0", callback=print, every=0),
        raises(TypeError, "every must be a whole number", callback=print, every=2.5),
        raises(ValueError, "every must be at most 12", callback=print, every=(1, 13)),
        raises(ValueError, "a number in every must be at least 0, got -1", callback=print, every=(-1,)),
        raises(
            TypeError, r"put a schedule into .* optax.adam\(schedule\)", optimizer=optax.cosine_decay_schedule(1, 9)
        ),
        raises(ValueError, "seed must be between 0 and 4294967295", seed=-1),
        raises(ValueError, "at least 1, got 0", size=0),
        raises(ValueError, "size", size=(3, 4, 5)),
        raises(ValueError, "size must be None if image is given: set the size of the image", image=lj.image(8), size=8),
        raises(ValueError, "learning rate must be greater than 0", optimizer=-1.0),
        raises(ValueError, "relu must be None for a model without a keyword `relu`, got 'plain'", relu="plain"),
        raises(ValueError, "unknown ReLU rule", relu="leaky"),
        raises(TypeError, "must return a mapping", model=lambda images: images.mean()),
        raises(TypeError, "model must be a function of images", model=3),
        raises(TypeError, "learning rate must be a number, got 'adam'", optimizer="adam"),
        raises(TypeError, "learning rate must be a number, got True", optimizer=True),
        raises(TypeError, "snapshots must be several numbers", snapshots=3),
        raises(TypeError, "image must have functions init and decode", image=3),
        raises(TypeError, "transform must be a function", transform=3),
        raises(
            ValueError,
            r"values in \[0, 1\]",
            image=TooBright(SIZE, SIZE, 1, Pixels(), "rgb", "sigmoid", False),
        ),
        raises(TypeError, "model must be hashable", model=Unhashable()),
        raises(TypeError, r"call its eval\(\) first", model=InTraining(nnx.Rngs(0))),
        raises(lj.WeightsError, "there is no weights file", model="googlenet.safetensors"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_compiled(exception, match, objective, settings, monkeypatch):
    monkeypatch.setattr(optimize, "advance", lambda *_, **__: pytest.fail("went on to compile"))
    with pytest.raises(exception, match=match):
        render(objective, **settings)


# Networks as people have them


def sized(images):
    """A network of one size and one channel, with nested activations and a layer whose name is no word."""
    x = images[:, ::2, ::2] - 0.5
    return {
        "stage-4": (jnp.concatenate([x, x * x], axis=-1), None),
        "head": [{"0": x.reshape(len(x), 36) @ jnp.ones(36)}],
    }


def test_a_network_of_one_size_and_one_channel_renders_and_its_png_gives_the_same_picture(tmp_path):
    result = lj.visualize("stage-4/0:1", image=lj.image(12, color="gray"), model=sized, steps=4, progress=False)
    assert result.images.shape == (1, 12, 12, 1)
    assert result.settings["transform"]["transforms"][-1] == {"kind": "CropOrPad", "size": [12, 12]}
    result.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as opened:
        assert opened.mode == "L"
    again = lj.render(lj.Recipe.read(tmp_path / "x.png", model=sized), progress=False)
    np.testing.assert_array_equal(again.images, result.images)
    start = lj.load_picture(tmp_path / "x.png")  # three equal channels
    settings = {"model": sized, "image": lj.image(12, channels=1), "steps": 0}
    started = lj.render(lj.Recipe.of("stage-4/0:1", start=start, **settings), progress=False)
    assert np.abs(started.images - result.images).max() <= 1.5 / 255
    jobs = lj.visualize_many(["stage-4/0:1", "stage-4/0:0[0]"], progress=False, chunk=2, **settings).in_order()
    assert [job.settings["objective"] for job in jobs] == ["channel('stage-4/0', 1)", "channel('stage-4/0', 0)[0]"]


def test_a_model_may_say_its_only_size():
    model = Sized()
    assert lj.Recipe.of("a:0", model=model).shapes["input"].shape == (1, 8, 10, 3)
    assert lj.Recipe.of("a:0", model=model, size=(8, 10), transform=None).transform is None
    with pytest.raises(ValueError, match=r"takes pictures of 8x10 pixels only, got 16x16: use size=\(8, 10\)"):
        lj.Recipe.of("a:0", model=model, size=16)


class Sized:
    """A network that says which size it takes."""

    size = (8, 10)

    def __call__(self, images):
        return {"a": images}


def test_pictures_of_many_bands_are_results_and_no_files(tmp_path):
    bands = lj.image((1, 20), channels=5)
    result = lj.visualize("a:4", model=Sized(), image=bands, transform=None, steps=2, progress=False)
    assert result.images.shape == (1, 1, 20, 5)
    assert result.images[..., 4].mean() > 0.5 > result.images[..., 3].mean() - 0.01
    assert result._repr_png_() is None
    with pytest.raises(ValueError, match=r"pictures of 5 channels cannot be shown, .*result.image\[..., \[2, 1, 0\]\]"):
        result.save(tmp_path / "x.png")
    lj.pictures.save(tmp_path / "x.png", result.image[..., [2, 1, 0]])


# Files


def test_a_png_carries_its_settings_and_rounds_to_the_nearest_gray(tmp_path):
    result = render()
    result.save(tmp_path / "x.png")
    assert read_settings(tmp_path / "x.png") == result.settings
    stored = np.asarray(Image.open(tmp_path / "x.png"))
    assert np.abs(stored / 255 - result.image).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("name", ["x.jpg", "x.webp", "x.jpeg", "X.PNG"])
def test_other_formats_are_saved_by_their_ending(tmp_path, name):
    render().save(tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.size == (SIZE, SIZE)


def test_a_batch_is_saved_as_one_sheet(tmp_path):
    result = render(image=lj.image((10, 14), batch=3))
    result.save(tmp_path / "sheet.png")
    stored = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert stored.shape == (2 * 10 + 4, 2 * 14 + 4, 3)
    np.testing.assert_array_equal(stored[14:, :14], np.round(result.images[2] * 255))
    assert (stored[14:, 18:] == 255).all()


def test_an_unknown_ending_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"\.png"):
        render().save(tmp_path / "x.tiff")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path):
    result = render()
    result.save(tmp_path / "x.png")
    before = (tmp_path / "x.png").read_bytes()
    broken = lj.Result(result.images * np.nan, {}, result.values, result.settings)
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        broken.save(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes() == before
    with pytest.raises(FileNotFoundError):
        result.save(tmp_path / "nowhere" / "x.png")
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_a_picture_of_another_program_has_no_settings(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="does not say how it was made"):
        read_settings(tmp_path / "x.png")
    (tmp_path / "y.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="not a readable picture"):
        read_settings(tmp_path / "y.png")


@pytest.mark.slow
def test_two_processes_make_the_same_bytes():
    code = """
        import hashlib, jax, jax.numpy as jnp, lightjax as lj
        model = lj.networks.InceptionV1(lj.networks.ARCHITECTURES["inception5h"], rngs=__import__("flax").nnx.Rngs(0))
        result = lj.visualize("mixed3a:5", model=model, steps=6, size=(48, 40), seed=11, progress=False)
        print(hashlib.sha256(result.images.tobytes()).hexdigest())
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    first, second = (subprocess.run(run, capture_output=True, text=True, check=True, timeout=300) for _ in range(2))
    assert first.stdout == second.stdout != ""


# The real network


@pytest.mark.slow
def test_a_dead_channel_of_googlenet_comes_alive(googlenet):
    settings = {"model": googlenet, "size": 64, "steps": 16, "progress": False, "snapshots": (0,)}
    with pytest.warns(UserWarning, match="did not change"):
        dead = lj.visualize("mixed3b:10", relu="plain", **settings)
    np.testing.assert_array_equal(dead.images, dead.snapshots[0])
    assert not dead.values.any()
    for relu in ("torchlight", "lucid"):
        alive = lj.visualize("mixed3b:10", relu=relu, **settings)
        assert alive.values[-5:].min() > 0


def noise_images(number, size, seed=0):
    return np.random.default_rng(seed).uniform(size=(number, size, size, 3)).astype(np.float32)


SIDE = 112
"""Pixels at which the next test counts, a quarter of the work of the default."""


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_a_render_excites_its_channel_by_pytorchs_count(googlenet, googlenet_file, tmp_path):
    """Tenfold over noise, and more than any other channel of the layer, each against its own spread over noise."""
    import torch

    lj.visualize("mixed4a:97", model=googlenet, size=SIDE, steps=256, progress=False).save(tmp_path / "x.png")
    picture = np.asarray(Image.open(tmp_path / "x.png"), np.float32)[None] / 255
    state = torch.load(googlenet_file, weights_only=True)

    def means(images):
        with torch.no_grad():
            x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
            activations = reference.activations("bvlc_googlenet", state, x)
        return {name: activations[name].mean((2, 3)).numpy() for name in ("mixed4a", "mixed4a_pre_relu")}

    noise = means(noise_images(16, SIDE))
    excited = {name: values[0] for name, values in means(picture).items()}
    assert excited["mixed4a"][97] > 10 * noise["mixed4a"][:, 97].mean()
    assert excited["mixed4a"].argmax() == 97
    # Before the rectifier: after it, most channels are off on all noise and have no spread.
    before = noise["mixed4a_pre_relu"]
    spread = (excited["mixed4a"] - before.mean(0)) / before.std(0)
    assert spread.argmax() == 97


def test_the_default_network_renders_and_says_so(googlenet):
    result = lj.visualize("mixed4a:97", steps=40, size=64, progress=False)
    assert result.values[-5:].mean() > 5 * max(result.values[0], 0.01)
    assert result.settings["model"] == googlenet.source
    assert "for channel('mixed4a', 97) of bvlc_googlenet," in repr(result)


def test_results_pickle_and_deep_copy():
    result = render(snapshots=(3,))
    for copied in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        np.testing.assert_array_equal(copied.images, result.images)
        np.testing.assert_array_equal(copied.snapshots[3], result.snapshots[3])
        assert copied.settings == result.settings
    error = pickle.loads(pickle.dumps(lj.NonFiniteError(3, result)))
    assert error.step == 3
    assert error.result.settings == result.settings


def test_the_defaults_of_visualize_are_those_of_a_recipe(googlenet):
    defaults = {name: p.default for name, p in inspect.signature(lj.visualize).parameters.items()}
    chosen = {name: defaults[name] for name in lj.recipe.Settings.__annotations__}
    assert lj.Recipe.of("mixed3a:1", model=googlenet).describe() == lj.Recipe.of("mixed3a:1", **chosen).describe()


def test_settings_are_plain_json():
    assert json.loads(json.dumps(render().settings)) == render().settings
    assert os.sep not in render().settings["model"]


def silent(images):
    """Units without a gradient: off everywhere, rounded, and a norm at 0."""
    x = images.mean(axis=-1, keepdims=True)
    return {"off": jax.nn.relu(x - 10), "rounded": jnp.round(x * 8), "zero": 0 * x}


@pytest.mark.parametrize(
    "objective", ["off:0", "rounded:0", lj.objectives.channel("zero", 0, reduce="norm")], ids=["off", "round", "norm"]
)
def test_a_picture_that_no_step_changes_is_a_warning_and_recorded(objective):
    with pytest.warns(UserWarning, match="did not change in 5 steps, because the gradient is 0. Usual causes"):
        result = render(objective, model=silent, steps=5)
    assert result.unresponsive
    assert result.record["outcome"] == {"unresponsive": 5}
    assert not render("layer1:3", steps=5).unresponsive
    assert not render("layer1:3", steps=0).unresponsive


def test_among_many_jobs_those_that_no_step_changes_are_named():
    jobs = ["off:0", lambda activations: activations["input"].mean()]
    with pytest.warns(UserWarning, match=r"the picture of channel\('off', 0\) did not change"):
        off, other = lj.visualize_many(jobs, model=silent, size=SIZE, steps=3, progress=False).in_order()
    assert (off.unresponsive, other.unresponsive) == (True, False)


def test_the_standard_deviation_of_a_dead_unit_has_a_finite_gradient():
    with pytest.warns(UserWarning, match="did not change"):
        result = render(lj.objectives.channel("off", 0, reduce="std"), model=silent, steps=3)
    np.testing.assert_array_equal(result.values, 0)
    with pytest.raises(lj.NonFiniteError, match="standard deviation at 0"):
        render(lambda activations: activations["zero"].std(), model=silent, steps=3)
