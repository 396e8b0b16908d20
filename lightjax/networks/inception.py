"""InceptionV1 (GoogLeNet) as a Flax module that runs the graph of an architecture record.

References:
  Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from lightjax import _checks, ops
from lightjax._structure import Note
from lightjax.networks import cuts
from lightjax.networks.architectures import Architecture, Layer, Node, graph, layers, parameter_shapes
from lightjax.networks.tensor_files import listed


class Affine(nnx.Module):
    """The kernel and the bias of a convolution or of a matrix product."""

    def __init__(self, kernel: Array, bias: Array):
        """Make the arrays parameters."""
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(bias)


class InceptionV1(nnx.Module):
    """InceptionV1 as a function from images to named activations.

    Attributes:
      architecture: The record that the network was built from.

    References:
      Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Mapping[str, Array | np.ndarray] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
        dtype: DTypeLike = jnp.float32,
        source: str = "",
        class_names: tuple[str, ...] = (),
    ):
        """Build a network from parameters, or with random parameters.

        Args:
          architecture: One of `ARCHITECTURES`, or a record of your own.
          parameters: Arrays by name, as in `parameter_shapes(architecture)`.
          rngs: Draws He-normal kernels and zero biases; give this or `parameters`.
          dtype: Floating-point type to compute in, such as float32 or bfloat16. The activations of a call have the
            type of its images in any case.
          source: Where the weights come from, such as "bvlc_googlenet@e87c85cf2e01". Renders record it.
          class_names: Names of the classes in the order of the logits; empty if unknown.

        Raises:
          TypeError: If not exactly one of `parameters` and `rngs` is given.
          ValueError: If a parameter is missing, unexpected or has another shape, or if the dtype is not a
            floating-point type.
        """
        dtype = check_dtype(dtype)
        shapes = parameter_shapes(architecture)
        if parameters is None and rngs is not None:
            parameters = _random_parameters(shapes, rngs)
        elif parameters is None or rngs is not None:
            raise TypeError("exactly one of parameters and rngs must be given")
        wrong = [f"{name} is missing" for name in shapes if name not in parameters]
        wrong += [f"{name} is unexpected" for name in parameters if name not in shapes]
        wrong += [
            f"{name} must have shape {shape}, got {tuple(parameters[name].shape)}"
            for name, shape in shapes.items()
            if name in parameters and tuple(parameters[name].shape) != shape
        ]
        if wrong:
            raise ValueError(f"the parameters do not fit {architecture.name}: {listed(wrong)}")
        self.architecture = architecture
        # As notes, because networks that differ only in these should share their compiled programs.
        self._source = Note(source)
        self._class_names = Note(tuple(class_names))
        for name in dict.fromkeys(name.partition("/")[0] for name in shapes):
            setattr(self, name, Affine(*(_cast(parameters[f"{name}/{part}"], dtype) for part in ("kernel", "bias"))))

    @property
    def source(self) -> str:
        """Where the weights come from, such as "bvlc_googlenet@e87c85cf2e01"; empty for random weights."""
        return self._source.content

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits; empty if unknown."""
        return self._class_names.content

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Name, channels, stride and receptive field of each activation, in the order of computation."""
        return layers(self.architecture)

    def __call__(
        self,
        images: Array,
        *,
        relu: ops.Relu = ops.relu,
        pool: ops.Pool = ops.max_pool,
        given: cuts.Given | None = None,
    ) -> dict[str, Array]:
        """Compute all named activations.

        Under `jit`, only the activations that the caller uses are computed, and the layers before them.

        Args:
          images: `[N, H, W, 3]` in [0, 1]; red, green, blue.
          relu: The rectifier, such as `ops.relu`. Those in `ops` differ only in their gradients.
          pool: The max pool, such as `ops.max_pool`. Those in `ops` differ only in their gradients.
          given: Activations to run on from, by name, such as `{"mixed4d": a}`. They replace those of the network, and
            what lies before them is not computed. What is given for "mixed4d_pre_relu" goes to its four branches.

        Returns:
          Activations by name: `[N, h, w, c]`, or `[N, c]` for "avgpool0" and the layers after it. With `given`, those
          that depend on it.

        Raises:
          TypeError: If `given` is no mapping.
          ValueError: If the images are too small for the network; if `given` has an unknown name or another shape, or
            if nothing is computed from it.
        """
        if given:
            return self._run_on(images, relu, pool, given)
        with jax.named_scope("input"):
            values = {"input": self._preprocess(images)}
        for node in graph(self.architecture):
            values[node.name] = self._apply(node, values, relu, pool)
        return {name: value.astype(images.dtype) for name, value in values.items()} | {"input": images}

    def _run_on(self, images: Array, relu: ops.Relu, pool: ops.Pool, given: cuts.Given) -> dict[str, Array]:
        nodes = graph(self.architecture)
        steps = [(node.inputs, (node.name,)) for node in nodes]
        shapes = jax.eval_shape(self, images)
        del shapes["input"]
        arrays = self._split(cuts.check_given(given, shapes))
        cuts.check_leads_on({name: name for name in shapes}, steps, arrays)
        later = cuts.after(steps, arrays)
        needed = cuts.needed(steps, arrays, later)
        values = {"input": self._preprocess(images)}
        values |= {name: array.astype(values["input"].dtype) for name, array in arrays.items()}
        for node in nodes:
            if node.name in needed:
                values[node.name] = self._apply(node, values, relu, pool)
        return {node.name: values[node.name].astype(images.dtype) for node in nodes if node.name in later}

    def _split(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Give what nothing reads, the concatenations "mixed4d_pre_relu", to the branches that they are made of."""
        nodes = {node.name: node for node in graph(self.architecture)}
        read = {name for node in nodes.values() for name in node.inputs}
        found = dict(given)
        for name in given:
            if nodes[name].op == "concat" and name not in read:
                ends = np.cumsum([nodes[branch].channels for branch in nodes[name].inputs])
                found |= zip(nodes[name].inputs, jnp.split(found.pop(name), ends[:-1], axis=-1), strict=True)
        return found

    def _preprocess(self, images: Array) -> Array:
        x = 255 * images - jnp.array(self.architecture.mean, images.dtype)[None, None, None]
        x = x[..., ::-1] if self.architecture.bgr else x
        first: Affine = getattr(self, graph(self.architecture)[0].name.removesuffix("_pre_relu_conv"))
        return x.astype(first.kernel[...].dtype)

    def _apply(self, node: Node, values: Mapping[str, Array], relu: ops.Relu, pool: ops.Pool) -> Array:
        with jax.named_scope(node.name):  # shown by profilers and in compiled programs
            return self._computed(node, [values[name] for name in node.inputs], relu, pool)

    def _computed(self, node: Node, inputs: list[Array], relu: ops.Relu, pool: ops.Pool) -> Array:
        x = inputs[0]
        match node.op:
            case "conv":
                affine = getattr(self, node.name.removesuffix("_pre_relu_conv"))
                x = ops.conv(x, affine.kernel[...], node.stride, self._padding(node, x))
                return x + affine.bias[...][None, None, None]
            case "relu":
                return relu(x)
            case "max_pool":
                return pool(x, node.stride, self._padding(node, x))
            case "norm":
                return ops.local_response_norm(x, *self.architecture.norm)
            case "concat":
                return jnp.concatenate(inputs, axis=-1)
            case "mean":
                return x.mean(axis=(1, 2))
            case "linear":
                affine = getattr(self, node.name)
                return x @ affine.kernel[...] + affine.bias[...][None]
            case "softmax":
                return jax.nn.softmax(x)

    def _padding(self, node: Node, x: Array) -> ops.Padding:
        padding = self.architecture.padding
        if node.stride == 1 or padding == "same":
            height, width = (ops.same_padding(size, node.kernel, node.stride) for size in x.shape[1:3])
            return (height, width)
        if node.op == "max_pool":
            return ((0, 1),) * 2
        return ((3, 3),) * 2 if padding == "caffe" else ((2, 3),) * 2


def check_dtype(dtype: DTypeLike) -> jnp.dtype:
    """The floating-point type that a network computes in.

    Raises:
      ValueError: If it is not a floating-point type.
    """
    try:
        known = jnp.dtype(bool if dtype is None else dtype)
    except Exception:  # of objects that only look like types
        known = jnp.dtype(bool)
    if not jnp.issubdtype(known, jnp.floating):
        raise ValueError(f"dtype must be a floating-point type such as float32 or bfloat16, got {_checks.shown(dtype)}")
    return known


def _cast(parameter: Array | np.ndarray, dtype: DTypeLike) -> Array:
    # NumPy arrays are converted by NumPy, because JAX would compile a program for each shape.
    return jnp.asarray(parameter.astype(dtype) if isinstance(parameter, np.ndarray) else parameter, dtype)


def _random_parameters(shapes: Mapping[str, tuple[int, ...]], rngs: nnx.Rngs) -> dict[str, np.ndarray]:
    """He-normal kernels and zero biases. NumPy draws them, because JAX would compile a program for each shape."""
    generator = np.random.default_rng(np.asarray(jax.random.bits(rngs.params(), (4,))))
    return {
        name: np.zeros(shape, np.float32)
        if name.endswith("bias")
        else generator.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[:-1])) ** 0.5)
        for name, shape in shapes.items()
    }
