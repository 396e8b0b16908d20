"""A network with the latents of a dictionary as two more activations."""

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lightjax import _checks, ops
from lightjax._activations import named
from lightjax._structure import Model, Note
from lightjax.analysis.rest import SIZE, opened, running_on, shapes_of
from lightjax.contracts import own_channels, own_size
from lightjax.networks import Layer, cuts
from lightjax.objectives.units import LOGITS

if TYPE_CHECKING:
    from lightjax.analysis.dictionary import Dictionary


def with_latents(dictionary: "Dictionary", model: Model | str | os.PathLike, replace: bool, size: Any) -> "WithLatents":
    """The network that `Dictionary.on` returns, checked."""
    model = opened(model)
    inner = running_on(model)
    height, width = own_size(model) or (SIZE, SIZE) if size is None else _checks.height_and_width(size)
    images = jax.ShapeDtypeStruct((1, height, width, own_channels(model)), jnp.float32)
    shapes = shapes_of(inner, images.shape)
    layer = _checks.one_of(dictionary.layer, shapes, "layer of the model")
    if shapes[layer].shape[-1] != dictionary.channels:
        raise ValueError(
            f"model must have {dictionary.channels} channels in layer {layer!r} for this dictionary, got "
            f"{shapes[layer].shape[-1]}"
        )
    for name in (f"{layer}/latents", f"{layer}/latents_pre"):
        if name in shapes:
            raise ValueError(f"model must not have a layer {name!r} already")
    try:
        jax.eval_shape(lambda x, a: inner(x, given={layer: a}), images, shapes[layer])
    except ValueError as error:
        raise ValueError(f"model cannot run on from layer {layer!r} ({_checks.in_a_line(error, 300)})") from error
    table = getattr(model, "layers", None)
    if not (isinstance(table, tuple) and all(isinstance(row, Layer) for row in table)):
        table = tuple(Layer(name, shape.shape[-1], None, None) for name, shape in shapes.items())
    rows: list[Layer] = []
    for row in table:
        rows.append(row)
        if row.name == layer:
            more = (f"{layer}/latents_pre", f"{layer}/latents")
            rows += [Layer(name, dictionary.latents, row.stride, row.receptive_field) for name in more]
    about: dict[str, Any] = {"layers": tuple(rows), "class_names": tuple(getattr(model, "class_names", ()))}
    about["source"] = getattr(model, "source", "") or getattr(model, "__name__", type(model).__name__)
    about["logits"] = getattr(model, "logits", LOGITS)
    return WithLatents(inner, dictionary, replace, own_size(model), own_channels(model), Note(about))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class WithLatents:
    """A network with two more activations, as `Dictionary.on` makes it: a function from images to activations.

    Attributes:
      model: The network, which has the keywords `relu`, `pool` and `given`.
      dictionary: The dictionary.
      replace: Whether the network runs on from the reconstruction of the layer.
      size: Height and width of the only pictures that the network takes; None if it takes any.
      channels: Channels of the pictures that the network takes.
      about: Its table of layers, its source and the names of its classes.
    """

    model: Any
    dictionary: "Dictionary"
    replace: bool = dataclasses.field(metadata={"static": True})
    size: tuple[int, int] | None = dataclasses.field(metadata={"static": True})
    channels: int = dataclasses.field(metadata={"static": True})
    about: Note[dict[str, Any]] = dataclasses.field(metadata={"static": True})

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Name, channels, stride and receptive field of each activation; the latents follow their layer."""
        return self.about.content["layers"]

    @property
    def source(self) -> str:
        """Where the network and the dictionary come from. Renders record it."""
        own = self.dictionary.source or f"{self.dictionary.latents} latents"
        return f"{self.about.content['source']}, {self.dictionary.layer}: {own}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits; empty if unknown."""
        return self.about.content["class_names"]

    @property
    def logits(self) -> str:
        """The layer of the logits, if the network has classes."""
        return self.about.content["logits"]

    def __repr__(self) -> str:
        return f"{self.dictionary!r}.on({self.about.content['source']})"

    def __call__(
        self,
        images: Array,
        *,
        relu: ops.Relu | None = None,
        pool: ops.Pool | None = None,
        given: Mapping[str, ArrayLike] | None = None,
    ) -> dict[str, Array]:
        """Compute all named activations.

        Under `jit`, only the activations that the caller uses are computed, and what they need.

        Args:
          images: `[N, H, W, C]` in [0, 1].
          relu: The rectifier of the network; None for its own. That of the latents stays as it is.
          pool: The max pool of the network; None for its own.
          given: Activations to run on from, by name. From latents the network runs on by way of the decoder. If the
            layer itself is given beside them, what the dictionary does not explain of it is added, so that only the
            latents that were changed make a difference. If both kinds of latents are given, "latents" count.

        Returns:
          Activations by name. With `given`, those that depend on it.

        Raises:
          TypeError: If `given` is no mapping.
          ValueError: If `given` has an unknown name or another shape, or if nothing is computed from it.
        """
        layer, dictionary = self.dictionary.layer, self.dictionary
        chosen = {name: value for name, value in (("relu", relu), ("pool", pool)) if value is not None}
        run = lambda given: named(self.model(images, **chosen, **({"given": given} if given else {})))
        inner: dict[str, Array] = {}
        if given:
            shapes = jax.eval_shape(self, images)
            shapes.pop("input", None)
            inner = cuts.check_given(given, shapes)
        pre, latents = inner.pop(f"{layer}/latents_pre", None), inner.pop(f"{layer}/latents", None)

        if latents is None and pre is not None:
            latents = dictionary.activate(pre)
        if latents is not None:
            whole = inner.get(layer)
            if whole is None and dictionary.normalize != "none":
                before = run(inner)
                whole = before[layer] if layer in before else run({})[layer]
                value = dictionary.decode(latents, whole)
            elif whole is None:
                value = dictionary.decode(latents)
            else:
                value = dictionary.decode(latents, whole) + whole - dictionary.reconstruct(whole)
            found = run({**inner, layer: value.astype(latents.dtype)})
        else:
            found = run(inner)
            if layer in found:
                pre = dictionary.latents_pre(found[layer])
                latents = dictionary.activate(pre)
            if self.replace:
                whole = found[layer] if layer in found else run({})[layer]
                later = run({**inner, layer: dictionary.reconstruct(whole)})
                found = {name: later.get(name, value) for name, value in found.items()}

        more = {f"{layer}/latents_pre": pre, f"{layer}/latents": latents}
        more = {name: value for name, value in more.items() if value is not None}
        together: dict[str, Array] = {}
        for name, value in found.items():
            together[name] = value
            if name == layer:
                together |= more
        return together | more
