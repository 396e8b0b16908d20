"""The activations of a network written in JAX: `capture` names the output of each of its submodules."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lightjax import _activations, _checks, ops
from lightjax._structure import partition, restore
from lightjax.networks import cuts
from lightjax.networks.architectures import Layer
from lightjax.networks.cuts import Given
from lightjax.networks.program import Program, named

_CHANGED = "this model changes its own state when it is called: call its eval() first"


def capture(
    network: Any,
    variables: Any = None,
    *,
    call: Callable[[Any, Array], Any] | None = None,
    one_picture: bool | None = None,
    channels: Literal["first", "last"] | None = None,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
    fast: bool = True,
    size: int | tuple[int, int] | None = None,
) -> "Captured":
    """Make a model of a network that was not written for lightjax.

    The output of each submodule has the path of the submodule as its name, such as "layers.3.conv"; a second call is
    "layers.3.conv/2", and several outputs are "layers.3.conv.0" and "layers.3.conv.1". What the network returns is
    "output". A plain function that returns named activations keeps its names. Put a network into inference mode first.

    The model lets its caller choose the rectifier, and run on from given activations; see `Captured.__call__`.

    Examples:
      >>> lj.visualize("layer2.0.conv1:7", model=lj.capture(my_network))

    Args:
      network: An `nnx`, Equinox or linen module, or any function of images.
      variables: Of a linen module, such as `{"params": ..., "batch_stats": ...}`.
      call: How to call the network with images; by default `network(images)`. A linen module comes bound to its
        variables: `call=lambda network, images: network(images, train=False)`. Define it once: a function that is
        made anew is compiled anew.
      one_picture: Whether the network takes one picture instead of a batch. By default Equinox modules do.
      channels: "first" if the network takes `[N, 3, H, W]` and computes `[N, C, h, w]`. By default Equinox modules do.
        The activations of the model are `[N, h, w, C]` in any case.
      mean: Subtracted from the images, which are in [0, 1]; a number, or one for red, green and blue.
      std: Divides the images after that.
      fast: Whether convolutions and max pools are computed by `ops.conv` and `ops.max_pool` where these apply. Their
        gradients are fast inside of loops, and they have reverse-mode derivatives only.
      size: Height and width of the pictures, in pixels, if the network takes one size only.

    Returns:
      A function from images `[N, H, W, 3]` in [0, 1] to named activations.

    Raises:
      TypeError: If the network is a class or cannot be called, or an argument has a wrong type.
      ValueError: If an argument has a wrong value.
    """
    if isinstance(network, type):
        raise TypeError(f"network must be an instance, got the class {network.__name__}: call it first")
    if not callable(network) and call is None:
        raise TypeError(f"network must be a module or a function of images, got {_checks.shown(network)}; or give call")
    linen = _is(network, "flax.linen")
    if linen and variables is None:
        raise TypeError("a linen module needs its variables: capture(module, variables)")
    if not linen and variables is not None:
        raise TypeError(f"variables must be None for a network that is no linen module, got {_checks.shown(variables)}")
    equinox = _is(network, "equinox")
    return Captured(
        network=variables if linen else network,
        module=network if linen else None,
        call=call,
        one_picture=equinox if one_picture is None else _checks.flag(one_picture, "one_picture"),
        channels=_checks.one_of(
            ("first" if equinox else "last") if channels is None else channels, ("first", "last"), "place of channels"
        ),
        mean=None if mean is None else _per_channel(mean, "mean"),
        std=None if std is None else _per_channel(std, "std", above=0),
        fast=_checks.flag(fast, "fast"),
        size=None if size is None else _checks.height_and_width(size),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Captured:
    """A network as a function from images to named activations, as `capture` makes it.

    Attributes:
      network: The network, or the variables of a linen module. Its arrays are data.
      module: The linen module, or None.
      call: How the network is called, or None.
      one_picture: Whether the network takes one picture.
      channels: Where the network has its channels.
      mean: Subtracted from the images, or None.
      std: Divides the images after that, or None.
      fast: Whether convolutions and max pools are lightjax's.
      size: Height and width of the only pictures that the network takes; None if it takes any.
    """

    network: Any
    module: Any = dataclasses.field(metadata={"static": True})
    call: Callable[[Any, Array], Any] | None = dataclasses.field(metadata={"static": True})
    one_picture: bool = dataclasses.field(metadata={"static": True})
    channels: str = dataclasses.field(metadata={"static": True})
    mean: tuple[float, ...] | None = dataclasses.field(metadata={"static": True})
    std: tuple[float, ...] | None = dataclasses.field(metadata={"static": True})
    fast: bool = dataclasses.field(metadata={"static": True})
    size: tuple[int, int] | None = dataclasses.field(metadata={"static": True})

    @property
    def source(self) -> str:
        """The name of the network's class, or of the function. Renders record it."""
        network = self.network if self.module is None else self.module
        return getattr(network, "__name__", type(network).__name__)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Name and channels of each activation, in the order of computation."""
        program, _ = self._program(
            jax.eval_shape(self._view, jax.ShapeDtypeStruct((1, *(self.size or (224, 224)), 3), jnp.float32))
        )
        return tuple(Layer(name, shape.shape[-1], None, None) for name, shape in self._shapes(program, 1).items())

    def __repr__(self) -> str:
        return f"capture({self.source})"

    def __call__(
        self,
        images: Array,
        *,
        relu: ops.Relu | None = None,
        pool: ops.Pool | None = None,
        given: Given | None = None,
    ) -> dict[str, Array]:
        """Compute all named activations.

        Under `jit`, only the activations that the caller uses are computed, and the layers before them.

        Args:
          images: `[N, H, W, 3]` in [0, 1].
          relu: Replaces the rectifiers of the network: `jax.nn.relu`, `jax.nn.relu6`, and clamps of activations at 0.
            By default they stay as they are.
          pool: Replaces the max pools of the network: `flax.linen.max_pool`, `jax.lax.reduce_window` with `max`, and
            what is made of them. By default they stay as they are.
          given: Activations to run on from, by name, such as `{"layer3": a}`. They replace those of the network, and
            what lies before them is not computed.

        Returns:
          Activations by name: `[N, h, w, C]`, `[N, T, C]` or `[N, C]`. With `given`, those that depend on it.

        Raises:
          TypeError: If the network returns something else than arrays, or `given` is no mapping.
          ValueError: If `given` has an unknown name or another shape, or if nothing is computed from it.
        """
        x = self._view(images)
        program, arrays = self._program(x)
        shapes = self._shapes(program, len(x))
        first = self._channels_first(program)
        arrays_given = cuts.check_given(given or {}, shapes)
        inner = {name: jnp.moveaxis(a, -1, 1) if name in first else a for name, a in arrays_given.items()}
        if not self.one_picture:
            found = program(x, *arrays, relu=relu, pool=pool, given=inner, fast=self.fast)
        else:
            single = None if relu is None else lambda a: relu(a[None])[0]  # a rectifier expects an axis of pictures
            run = lambda picture, given: program(picture, *arrays, relu=single, pool=pool, given=given, fast=self.fast)
            found = jax.vmap(run)(x, inner)
        moved = {name: jnp.moveaxis(found[name], 1, -1) for name in first.intersection(found)}
        return {name: moved.get(name, found[name]) for name in program.names if name in found}

    def _view(self, images: Array) -> Array:
        """The images as the network takes them."""
        x = images if self.mean is None else images - jnp.array(self.mean, images.dtype)
        x = x if self.std is None else x / jnp.array(self.std, images.dtype)
        return jnp.moveaxis(x, -1, 1) if self.channels == "first" else x

    def _channels_first(self, program: Program) -> set[str]:
        """Names of the activations that come out of the network as `[N, C, h, w]`."""
        axes = 3 if self.one_picture else 4
        named = {name for name, kind in program.shapes.items() if len(kind.shape) == axes}
        return named - program.vectors if self.channels == "first" else set()

    def _shapes(self, program: Program, pictures: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of the activations that the model returns."""
        shapes, first = {}, self._channels_first(program)
        for name, kind in program.shapes.items():
            shape = (pictures, *kind.shape) if self.one_picture else kind.shape
            shape = (shape[0], *shape[2:], shape[1]) if name in first else shape
            shapes[name] = jax.ShapeDtypeStruct(shape, kind.dtype)
        return shapes

    def _program(self, images: Array | jax.ShapeDtypeStruct) -> tuple[Program, list[Array]]:
        """The network as a program of images (or of one picture) and of its own arrays, and these arrays."""
        arrays, structure = partition(self.network)
        names: list[str] = []

        def run(x: Array, arrays: list[Array]) -> tuple[list[Array], list[Array]]:
            network = restore(arrays, structure)  # a copy
            modules = self.module is not None or _name_submodules(network)
            result = self._call(network, x) if self.module is None else self._run_linen(network, x)
            if modules or not isinstance(result, Mapping):
                _name(result, "output")
                return [], partition(network)[0]
            activations = _activations.named(result)
            names.extend(activations)
            return list(activations.values()), partition(network)[0]

        shape = images.shape[1:] if self.one_picture else images.shape
        try:
            program = Program(jax.make_jaxpr(run)(jax.ShapeDtypeStruct(shape, images.dtype), arrays), names)
        except flax.errors.TraceContextError as error:
            raise TypeError(_CHANGED) from error
        if program.results[len(names) :] != program.inputs[1:]:
            raise TypeError(_CHANGED)
        if not program.names:
            raise TypeError("network must return activations, but this one returns no array of floats")
        return program, arrays

    def _call(self, network: Any, images: Array) -> Any:
        return network(images) if self.call is None else self.call(network, images)

    def _run_linen(self, variables: Any, images: Array) -> Any:
        def intercept(following: Callable, args: tuple, kwargs: Mapping, context: Any) -> Any:
            result, path = following(*args, **kwargs), context.module.path
            return _name(result, ".".join(path)) if path and context.method_name == "__call__" else result

        with sys.modules["flax.linen"].intercept_methods(intercept):
            return self._call(self.module.bind(variables), images)


def _name_submodules(network: Any) -> bool:
    """Let each submodule name its output, in place; False if there is no module.

    The submodules get subclasses of their classes, which stay with them when JAX takes them apart and puts them
    together again, as for a nested `jit`. Nobody else sees these classes.
    """
    modules = list(_submodules(network))
    for path, module in modules:
        if path and callable(module):
            object.__setattr__(module, "__class__", _naming(type(module), ".".join(map(str, path))))
    return bool(modules)


@functools.cache
def _naming(kind: type, path: str) -> type:
    """A subclass whose instances name what they return when they are called."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _name(super(named_kind, self).__call__(*args, **kwargs), path)  # type: ignore[misc]

    functools.update_wrapper(call, kind.__call__)
    body = {"__call__": call, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    named_kind = type(kind)(kind.__name__, (kind,), body)
    return named_kind


def _submodules(network: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """The modules in a network with their paths, the network itself included."""
    if _is(network, "flax.nnx"):
        for inner, module in sys.modules["flax.nnx"].iter_modules(network):
            yield (*path, *inner), module
        return
    if _is(network, "equinox"):
        yield path, network
        fields = [field.name for field in dataclasses.fields(network) if not field.metadata.get("static")]
        children = [(name, getattr(network, name)) for name in fields]
    elif isinstance(network, Mapping):
        children = network.items()
    else:
        children = enumerate(network) if isinstance(network, list | tuple) else ()
    for name, child in children:
        yield from _submodules(child, (*path, name))


def _is(network: Any, library: str) -> bool:
    """Whether something is a module of a library. The library is not imported: whoever has a module has it."""
    return library in sys.modules and isinstance(network, sys.modules[library].Module)


def _name(result: Any, path: str) -> Any:
    """The output of a module, with a name for each activation in it."""
    leaves, tree = jax.tree.flatten_with_path(result, is_leaf=lambda x: not isinstance(x, tuple | list | dict))
    activations = [isinstance(x, Array) and x.ndim > 0 and jnp.issubdtype(x.dtype, jnp.floating) for _, x in leaves]
    named_leaves = []
    for (keys, leaf), activation in zip(leaves, activations, strict=True):
        within = "." + jax.tree_util.keystr(keys, simple=True, separator=".") if sum(activations) > 1 else ""
        named_leaves.append(named(leaf, path + within) if activation else leaf)
    return jax.tree.unflatten(tree, named_leaves)


def _per_channel(value: ArrayLike, what: str, above: float | None = None) -> tuple[float, ...]:
    """One number, or one for each color."""
    numbers = np.ravel(_checks.numbers(value, what, above=above))
    if numbers.size not in (1, 3):
        raise ValueError(f"{what} must be one number, or one for red, green and blue, got {_checks.shown(value)}")
    return tuple(float(number) for number in numbers)
