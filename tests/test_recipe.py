"""The recipe of a render: checked once, written as plain JSON, read back, and made again with changes."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import lightjax as lj
from lightjax import images, transforms
from lightjax.images import Cppn, Fourier, FourierPhases, Laplacian, Pixels, Shared
from lightjax.transforms import Between


def model(images):
    """One layer of three channels."""
    return {"layer": images[:, ::2, ::2] ** 2}


SMALL = {"model": model, "size": 16, "steps": 4}
IMAGES = [
    lj.image((30, 20), basis=Fourier(decay=1.5), batch=2, color=np.eye(3)[:, :2], squash="norm", alpha=True),
    lj.image(8, basis=Shared(Fourier(), [(1, 2), (2, 4)]), batch=2),
    lj.image(8, basis=Pixels(), color="gray"),
    lj.image(8, basis=Laplacian(levels=2)),
    lj.image(8, basis=FourierPhases(contrast=1.5)),
    lj.image(8, basis=Cppn(activation="relu", normalize=True)),
]
TRANSFORMS = [
    None,
    transforms.LUCID,
    transforms.LUCENT,
    transforms.TORCHLIGHT,
    transforms.MACO,
    transforms.GHIASI,
    transforms.compose(transforms.Pad(4, "reflect"), transforms.Pad(2, "random"), transforms.CropOrPad((9, 8))),
    transforms.RandomFlip(0.25),
    transforms.GaussianBlur(Between(0.5, 2)),
    transforms.Noise(uniform=0.1),
    transforms.NormalizeGradient([1, -1]),
    transforms.CollapseAlpha((0.1, 0.2, 0.3)),
    transforms.SameForAll(transforms.RandomRotate(90)),
]


def described(**settings):
    return json.loads(json.dumps(lj.Recipe.of("layer:1", **SMALL | settings).describe()))


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: type(image.basis).__name__)
def test_every_image_is_written_as_json_and_read_back(image):
    blend = transforms.CollapseAlpha() if image.alpha else None
    settings = described(image=image, size=None, transform=blend)
    recipe = lj.Recipe.read(settings, model=model)
    assert recipe.image == image
    assert recipe.transform == blend
    assert lj.Recipe.read(recipe.describe(), model=model).describe() == settings


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_every_transform_is_written_as_json_and_read_back(transform):
    batch = lj.image(64, batch=2, alpha=isinstance(transform, transforms.CollapseAlpha))
    recipe = lj.Recipe.read(described(transform=transform, image=batch, size=None), model=model)
    assert recipe.transform == transform
    assert hash(recipe.transform) == hash(transform)


def test_every_transform_of_the_library_is_in_the_table():
    known = {name for name, kind in vars(transforms).items() if isinstance(kind, type) and kind.__module__ != "typing"}
    known -= {"Transform", "Move", "Between"}
    used = {word for text in map(repr, TRANSFORMS) for word in known if f"{word}(" in text}
    assert known - used <= {"Compose"} | used


def test_a_picture_is_made_again_from_its_file_and_varied(tmp_path):
    first = lj.visualize("layer:1 - 0.5 * layer:2", **SMALL, snapshots=(2,), seed=3, optimizer=0.1, progress=False)
    first.save(tmp_path / "x.png")
    for source in (tmp_path / "x.png", str(tmp_path / "x.png"), first, first.settings):
        again = lj.render(lj.Recipe.read(source, model=model), progress=False)
        np.testing.assert_array_equal(again.images, first.images)
        assert again.settings == first.settings
        assert list(again.snapshots) == [2]
    other = lj.render(lj.Recipe.read(first, "layer:0", model=model, seed=4, size=(8, 12), batch=2), progress=False)
    assert other.images.shape == (2, 8, 12, 3)
    changed = {"objective", "seed", "size", "image"}
    assert {name for name in first.settings if other.settings[name] != first.settings[name]} == changed
    assert lj.Recipe.read(first, model=model, steps=1).snapshots == ()


def test_a_render_that_ended_early_is_made_again_as_far_as_it_went():
    stopped = lj.visualize(
        "layer:1", **SMALL | {"steps": 50}, callback=lambda r: len(r.values) == 6, every=3, progress=False
    )
    again = lj.render(lj.Recipe.read(stopped, model=model), progress=False)
    assert len(again.values) == 6
    np.testing.assert_array_equal(again.images, stopped.images)


@pytest.mark.parametrize(
    ("settings", "given", "words"),
    [
        ({}, {}, "made from Python with model=model, which a file cannot hold; give model=..."),
        ({"transform": lambda key, images: images}, {"model": model}, "with transform=<function"),
        ({"start": np.full((16, 16, 3), 0.5)}, {"model": model}, "made from another picture; give it again as start"),
    ],
    ids=["model", "transform", "start"],
)
def test_what_a_file_cannot_hold_is_named(settings, given, words):
    with pytest.raises(ValueError, match="this result was") as error:
        lj.Recipe.read(described(**settings), **given)
    assert words in str(error.value)
    value = {"model": model, **settings, **given}
    assert lj.Recipe.read(described(**settings), **value).steps == 4


def test_settings_of_another_version_and_strange_ones_are_refused():
    settings = described()
    del settings["views"]
    with pytest.raises(ValueError, match="another version of lightjax: its settings lack 'views'"):
        lj.Recipe.read(settings, model=model)
    strange = described() | {"image": {"kind": "Path", "args": ["/"]}}
    with pytest.raises(ValueError, match="a setting image that cannot be read: unknown kind 'Path'"):
        lj.Recipe.read(strange, model=model)
    with pytest.raises(TypeError, match="unknown setting 'transforms'; did you mean 'transform'"):
        lj.Recipe.of("layer:1", transforms=None)


def test_a_recipe_without_an_objective_is_not_rendered():
    with pytest.raises(ValueError, match="has no objective"):
        lj.render(lj.Recipe.of(None, **SMALL))


def test_own_statistics_are_described_and_have_to_be_given_again():
    own = images.load_statistics("caltech101")
    image = lj.image(16, basis=FourierPhases(statistics=own))
    settings = described(image=image, size=None)
    assert set(settings["image"]) == {"python"}
    with pytest.raises(ValueError, match=r"give image=\.\.\."):
        lj.Recipe.read(settings, model=model)
    assert lj.Recipe.read(settings, model=model, image=image).image is image


def test_other_weights_of_the_same_network_compile_nothing(compiled):
    from flax import nnx

    from lightjax.networks import InceptionV1
    from lightjax.networks.architectures import INCEPTION5H

    networks = [InceptionV1(INCEPTION5H, rngs=nnx.Rngs(i), source=f"own@{i}", class_names=(str(i),)) for i in range(2)]
    first = lj.visualize("conv2d0:1", model=networks[0], size=32, steps=2, progress=False)
    compiled.clear()
    second = lj.visualize("conv2d0:1", model=networks[1], size=32, steps=2, progress=False)
    assert compiled == []
    assert (first.settings["model"], second.settings["model"]) == ("own@0", "own@1")
    assert jnp.abs(first.images - second.images).max() > 0.01
