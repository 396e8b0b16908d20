"""A network as a program: any traced function, with another rectifier, faster derivatives, or given activations.

JAX traces a function into a list of operations (a jaxpr). `Program` lists them with all calls of other functions
inlined, and runs them again. It replaces the operations that it knows, and leaves all others as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core
from jax.extend.core import primitives
from jax.interpreters import ad, batching, mlir

from lightjax import ops
from lightjax.networks import cuts, fast_operations
from lightjax.networks.cuts import Given

_LEFT_ALONE = ("hard_sigmoid", "hard_silu")
"""Functions whose clamps are no rectifiers."""

_SAME_NUMBER = ("broadcast_in_dim", "convert_element_type", "copy")
"""Operations that give a known number again, in another shape or type."""

_MIXING = ("conv_general_dilated", "dot_general")
"""Operations that make activations of statistics."""

# An operation that names its operand and does nothing else. Under `vmap` the new axis comes first.
_named = core.Primitive("lightjax_named")
_named.def_impl(lambda x, **_: x)
_named.def_abstract_eval(lambda x, **_: x)
mlir.register_lowering(_named, lambda context, x, **_: [x])


def named(x: Array, name: str, mapped: int = 0) -> Array:
    """The same array, which a `Program` traced from it finds by this name; `mapped` counts the axes from `vmap`."""
    return _named.bind(x, name=name, mapped=mapped)


def _named_gradient(primals: Sequence[Array], tangents: Sequence[Any], *, name: str, mapped: int) -> tuple[Array, Any]:
    return named(primals[0], name, mapped), tangents[0]


def _named_batch(inputs: Sequence[Array], axes: Sequence[int], *, name: str, mapped: int) -> tuple[Array, int]:
    return named(jnp.moveaxis(inputs[0], axes[0], 0), name, mapped + 1), 0


ad.primitive_jvps[_named] = _named_gradient
batching.primitive_batchers[_named] = _named_batch


class Step(NamedTuple):
    """One operation, and the numbers of the values that it reads and makes."""

    operation: core.JaxprEqn
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Program:
    """The operations of a traced function, in the order of computation.

    Attributes:
      steps: The operations. Calls by `jax.jit` and `jax.checkpoint` are inlined. Loops, conditions, and functions with
        derivatives of their own are single operations.
      inputs: The values of the arguments.
      results: The values of the results.
      names: The value of each activation. What `named` saw a second time is called "name/2".
      shapes: Shape and type of each activation.
      vectors: Names of what `vmap` made of vectors: their channels are last, whatever the network's layout.
    """

    def __init__(self, traced: core.ClosedJaxpr, outputs: Sequence[str] = (), varying: int = 1):
        """List the operations of a function.

        Args:
          traced: The function, as `jax.make_jaxpr` traces it.
          outputs: Names of its results.
          varying: Number of its arguments, from the first, that are images or depend on them.
        """
        self.steps: list[Step] = []
        self.names: dict[str, int] = {}
        self.vectors: set[str] = set()
        self._types: list[Any] = []
        self._constants: dict[int, Any] = {}
        self._numbers: dict[int, float] = {}  # constants that are one number, whatever their shape
        self.inputs = [self._value(variable.aval) for variable in traced.jaxpr.invars]
        self._varying = set(self.inputs[:varying])  # what depends on the images
        self._statistics: set[int] = set()  # what depends on sums and means of them only
        self.results = self._add(traced.jaxpr, traced.consts, self.inputs)
        self.names.update(zip(outputs, self.results, strict=False))
        self.shapes = {name: self._types[value] for name, value in self.names.items()}

    def __call__(
        self,
        *arguments: Array,
        relu: ops.Relu | None = None,
        pool: ops.Pool | None = None,
        given: Given | None = None,
        fast: bool = True,
    ) -> dict[str, Array]:
        """Run the program.

        Args:
          *arguments: The arguments of the function.
          relu: Replaces the rectifiers; None leaves them as they are.
          pool: Replaces the max pools; None leaves them as they are.
          given: Activations to run on from: they replace those of the program, and what lies before is not computed.
          fast: Whether convolutions and max pools are replaced by those of `ops`.

        Returns:
          Activations by name: all of them, or those that depend on the given ones.

        Raises:
          TypeError, ValueError: If `given` does not fit; see `cuts.check_given` and `cuts.check_leads_on`.
        """
        graph = [(step.inputs, step.outputs) for step in self.steps]
        known, names = {}, self.names
        if given:
            arrays = cuts.check_given(given, self.shapes)
            cuts.check_leads_on(self.names, graph, arrays)
            known = {self.names[name]: array for name, array in arrays.items()}
            later = cuts.after(graph, known)
            names = {name: value for name, value in self.names.items() if value in later}
        needed = cuts.needed(graph, known, names.values())
        values = self._constants | dict(zip(self.inputs, arguments, strict=True)) | known
        for step in self.steps:
            if needed.isdisjoint(step.outputs):
                continue
            inputs = [values[value] for value in step.inputs]
            replaced = self._replacement(step, relu, pool, fast)
            results = _run(step.operation, inputs) if replaced is None else [replaced(*inputs)]
            values.update((i, x) for i, x in zip(step.outputs, results, strict=True) if i not in known)
        return {name: jnp.asarray(values[value]) for name, value in names.items()}

    def _value(self, kind: Any) -> int:
        self._types.append(kind)
        return len(self._types) - 1

    def _constant(self, content: Any, kind: Any) -> int:
        value = self._value(kind)
        self._constants[value] = content
        return value

    def _literal(self, literal: core.Literal) -> int:
        """A number that stands in the program, in its own type."""
        content = np.asarray(literal.val, literal.aval.dtype)  # type: ignore[union-attr]
        value = self._constant(content, literal.aval)
        if np.isrealobj(content):
            self._numbers[value] = float(content)
        return value

    def _add(self, jaxpr: core.Jaxpr, constants: Sequence[Any], inputs: Sequence[int]) -> list[int]:
        """Append the operations of a function; return its results."""
        values = dict(zip(jaxpr.invars, inputs, strict=True))
        for variable, content in zip(jaxpr.constvars, constants, strict=True):
            values[variable] = self._constant(content, variable.aval)

        def read(atom: core.Var | core.Literal) -> int:
            return self._literal(atom) if isinstance(atom, core.Literal) else values[atom]

        for operation in jaxpr.eqns:
            read_here = tuple(read(atom) for atom in operation.invars)
            inner = _inlined(operation)
            if inner is None:
                made = tuple(self._value(variable.aval) for variable in operation.outvars)
                self._note(Step(operation, read_here, made))
            else:
                made = self._add(*inner, read_here)
            values.update(zip(operation.outvars, made, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _note(self, step: Step) -> None:
        """Append an operation, and note what is known of its results."""
        self.steps.append(step)
        kind = step.operation.primitive.name
        varying = self._varying.intersection(step.inputs)
        if kind in _SAME_NUMBER and step.inputs[0] in self._numbers:
            self._numbers[step.outputs[0]] = self._numbers[step.inputs[0]]
        if varying:
            self._varying.update(step.outputs)
        summed = kind.startswith("reduce_") and not kind.startswith(("reduce_window", "reduce_precision"))
        if varying and (summed or (kind not in _MIXING and varying <= self._statistics)):
            self._statistics.update(step.outputs)
        if step.operation.primitive is _named:
            name = step.operation.params["name"]
            calls = 1
            while (again := name if calls == 1 else f"{name}/{calls}") in self.names:
                calls += 1
            self.names[again] = step.outputs[0]
            mapped = step.operation.params["mapped"]
            if mapped and len(self._types[step.outputs[0]].shape) == mapped + 1:
                self.vectors.add(again)

    def _replacement(self, step: Step, relu: ops.Relu | None, pool: ops.Pool | None, fast: bool) -> Callable | None:
        """What to compute in place of an operation; None for the operation itself."""
        kind = step.operation.primitive
        if kind is _named:
            return lambda x: x
        faster = fast_operations.replacement(step.operation) if fast else None
        if pool is not None and kind is primitives.reduce_window_max_p:
            return fast_operations.max_pool(step.operation, pool)
        rectified = None if relu is None else self._rectified(step)
        if relu is None or rectified is None:
            return faster
        place, ceiling = rectified
        if ceiling is None:
            return lambda *inputs: relu(inputs[place])
        return lambda *inputs: jnp.minimum(relu(inputs[place]), ceiling)

    def _rectified(self, step: Step) -> tuple[int, float | None] | None:
        """The place of the operand of a rectifier, and its ceiling (6 in ReLU6); None for any other operation."""
        kind, inputs = step.operation.primitive, step.inputs
        numbers = [self._numbers.get(value) for value in inputs]
        if kind in (primitives.custom_jvp_call_p, primitives.custom_vjp_call_p) and len(step.outputs) == 1:
            body = Program(step.operation.params["call_jaxpr"], varying=len(inputs))
            found = body._as_rectifier()
            return found if found is not None and inputs[found[0]] in self._varying else None
        if kind is primitives.max_p and 0.0 in numbers:
            place, ceiling = 1 - numbers.index(0.0), None
        elif kind is primitives.clamp_p and numbers[0] == 0 and numbers[2] is not None:
            place, ceiling = 1, numbers[2]
        else:
            return None
        operand, result = self._types[inputs[place]], self._types[step.outputs[0]]
        rectifies = operand.shape == result.shape != () and jnp.issubdtype(operand.dtype, jnp.floating)
        # Normalizations clamp variances at 0.
        activation = inputs[place] in self._varying and inputs[place] not in self._statistics
        return (place, ceiling) if rectifies and activation else None

    def _as_rectifier(self) -> tuple[int, float | None] | None:
        """The place of the operand and the ceiling, if the whole program is one rectifier."""
        steps = [step for step in self.steps if step.outputs[0] not in self._numbers]
        found = self._rectified(steps[0]) if steps else None
        if found is None or steps[0].inputs[found[0]] not in self.inputs or len(steps) > 2:
            return None
        place, ceiling = self.inputs.index(steps[0].inputs[found[0]]), found[1]
        if len(steps) == 2:
            bounds = [self._numbers[value] for value in steps[1].inputs if value in self._numbers]
            if steps[1].operation.primitive is not primitives.min_p or steps[0].outputs[0] not in steps[1].inputs:
                return None
            if ceiling is not None or not bounds:
                return None
            ceiling = bounds[0]
        return (place, ceiling) if self.results == list(steps[-1].outputs) else None


def _inlined(operation: core.JaxprEqn) -> tuple[core.Jaxpr, Sequence[Any]] | None:
    """The function that an operation calls, if it does nothing else."""
    kind, params = operation.primitive, operation.params
    if kind is primitives.remat_p or (kind is primitives.jit_p and params["name"] not in _LEFT_ALONE):
        inner = params["jaxpr"]
    elif kind in (primitives.closed_call_p, primitives.call_p):
        inner = params["call_jaxpr"]
    else:
        return None
    return (inner.jaxpr, inner.consts) if isinstance(inner, core.ClosedJaxpr) else (inner, ())


def _run(operation: core.JaxprEqn, inputs: Sequence[Any]) -> list[Any]:
    """The results of an operation as it is, by JAX's own evaluation of a program of this one operation."""
    values: Mapping = {
        atom: value for atom, value in zip(operation.invars, inputs, strict=True) if not isinstance(atom, core.Literal)
    }
    results = [variable for variable in operation.outvars if not isinstance(variable, core.DropVar)]
    origin = core.DebugInfo("lightjax", operation.primitive.name, None, None)
    alone = core.Jaxpr((), list(values), results, [operation], operation.effects, origin)
    found = dict(zip(results, jax.core.eval_jaxpr(alone, (), *values.values()), strict=True))
    return [found.get(variable) for variable in operation.outvars]
