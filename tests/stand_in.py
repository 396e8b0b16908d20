"""A small network with the names of GoogLeNet's layers and classes, for examples whose numbers do not matter."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lightjax import labels
from lightjax.networks.architectures import Layer

CHANNELS = {"conv2d2": 192, "mixed3a": 256, "mixed3b": 480, "mixed4a": 512, "mixed4b": 512}
CHANNELS |= {"mixed4b_3x3_pre_relu_conv": 224, "mixed4c": 512, "mixed4d": 528, "mixed4e": 528}
CHANNELS |= {"mixed5a": 832, "mixed5b": 1024}
"""Channels of the layers, which are in alphabetic order, as JAX sorts dictionaries."""
LOGITS = "softmax2_pre_activation_matmul"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class StandIn:
    """Square patches of the picture go through one matrix after the other."""

    matrices: dict[str, Array]
    patch: int = dataclasses.field(default=32, metadata={"static": True})
    """Side of a patch, in pixels."""

    source = "bvlc_googlenet@0"
    class_names = labels.imagenet("bvlc_googlenet")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The table of layers."""
        return tuple(Layer(name, number, self.patch, self.patch) for name, number in CHANNELS.items())

    def __call__(self, images: Array, relu=jax.nn.relu) -> dict[str, Array]:
        """Named activations."""
        number, height, width, _ = images.shape
        rows, columns = height // self.patch, width // self.patch
        x = images[:, : rows * self.patch, : columns * self.patch]
        x = x.reshape(number, rows, self.patch, columns, self.patch, 3).mean((2, 4)) - 0.5
        found = {}
        for name, matrix in self.matrices.items():
            x = x.mean((1, 2)) @ matrix if name == LOGITS else relu(x @ matrix)
            found[name] = x
        return found


def stand_in(patch: int = 32) -> StandIn:
    """The network, the same each time."""
    draw, before, matrices = np.random.default_rng(0), 3, {}
    for name, number in {**CHANNELS, LOGITS: 1000}.items():
        matrices[name] = jnp.asarray(draw.normal(0, before**-0.5, (before, number)), jnp.float32)
        before = number
    return StandIn(matrices, patch)


def stand_for_googlenet(patch: int = 16) -> None:
    """Let this network be the default one."""
    import lightjax

    model = stand_in(patch)
    lightjax.load_model = lightjax.networks.load_model = lambda *given, **more: model


def convert_to(file: str) -> None:
    """Let a network of PyTorch become the one of a file, without a conversion."""
    import lightjax
    from lightjax.networks import weights

    converted = weights.load_model(file)
    lightjax.from_torch = lambda net, **given: converted


def quicken() -> None:
    """Let renders make no step, and this network be the default one."""
    import lightjax
    from lightjax.analysis import grid as grids
    from lightjax.analysis import group_results

    stand_for_googlenet(patch=32)
    visualize, many = lightjax.visualize, lightjax.visualize_many
    render, dream = lightjax.render, lightjax.dream
    quick = {"steps": 0, "progress": False}
    quick_many = lambda objectives, **given: many(objectives, **given | quick)
    lightjax.visualize = lambda objective, **given: visualize(objective, **given | quick | {"callback": None})
    lightjax.visualize_many = grids.visualize_many = group_results.visualize_many = quick_many
    accentuate, fit = lightjax.accentuate, lightjax.fit_dictionary
    lightjax.accentuate = lambda *given, **more: accentuate(*given, **more | {"steps": 4, "progress": False})
    few = {"steps": 1, "batch": 8, "progress": False}
    lightjax.fit_dictionary = lambda *given, **settings: fit(*given, **settings | few)
    lightjax.render = lambda recipe: render(dataclasses.replace(recipe, steps=0, snapshots=()), progress=False)
    lightjax.dream = lambda *given, **more: dream(*given, **more | quick | {"size": 64, "octaves": 1})


def write_files() -> None:
    """Write the photographs and the autoencoder of the examples into the working folder."""
    import lightjax as lj

    draw = np.random.default_rng(1)
    names = ["dog_cat.jpg", "photograph.jpg", "dalmatians/3.jpg"]
    names += [f"photographs/{kind}/{number}.jpg" for kind in ("dog", "cat") for number in range(3)]
    names += [f"{kind}/{number}.jpg" for kind in ("faces", "others") for number in range(2)]
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        lj.pictures.save(name, draw.uniform(size=(7, 7, 3)).repeat(32, 0).repeat(32, 1))
    decoder = draw.normal(size=(1024, 512)).astype(np.float32)
    sae = lj.Dictionary("mixed4c", decoder.T, np.zeros(1024), decoder, np.zeros(512))
    Path("sae_folder").mkdir()
    for name in ("sae.safetensors", "sae_folder/sae.safetensors"):
        sae.save(name)
