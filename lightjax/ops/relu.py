"""Rectifiers, which differ only in their gradients, and a clamp for pixels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from lightjax import _checks

Relu = Callable[[Array], Array]
"""A rectifier: `max(x, 0)` with a gradient of its own."""

LEAK = 0.1
"""Factor of the gradient in TorchLight's rectifier where the input is negative."""

LUCID_STEPS = 16
"""Lucid's rule redirects gradients in steps 0 to 15. (Lucid itself also redirects in step 16.)"""

RULES = ("torchlight", "lucid", "plain")
"""Names of the gradient rules of `rectifier`."""


@jax.custom_vjp
def relu(x: Array) -> Array:
    """`max(x, 0)`, with its own gradient: it passes where `x > 0`."""
    return jnp.maximum(x, 0)


relu.defvjp(lambda x: (relu(x), x > 0), lambda passes, g: (jnp.where(passes, g, 0),))


@jax.custom_vjp
def leaky_gradient_relu(x: Array) -> Array:
    """TorchLight's redirected ReLU: `max(x, 0)`, with a tenth of the gradient where `x < 0`.

    A unit that is zero everywhere still has a gradient. The rule does not depend on the step, on the sign of the
    gradient, or on other units.

    References:
      TorchLight and Lucent, `RedirectedReLU`.
    """
    return jnp.maximum(x, 0)


leaky_gradient_relu.defvjp(
    lambda x: (leaky_gradient_relu(x), x < 0),
    lambda off, g: (jnp.where(off, LEAK * g, g),),
)


@jax.custom_vjp
def lucid_relu(x: Array, active: Array | bool = True) -> Array:
    """Lucid's redirected ReLU: `max(x, 0)`, with a gradient that does not vanish for a whole picture.

    The rule holds for the gradient of an objective to maximize, not of a loss to minimize. The gradient passes where
    `x >= 0`. If this blocks the whole gradient of a picture (an index of the first axis), the gradient passes instead
    wherever `x >= 0` or the gradient would increase `x`.

    Args:
      x: Pre-activations `[N, ...]`.
      active: Whether to redirect; a scalar that may be traced. Lucid redirects in the first steps of a render only
        (see `LUCID_STEPS`).

    References:
      Lucid, `misc/redirected_relu_grad.py`.
    """
    del active
    return jnp.maximum(x, 0)


def _lucid_backward(residuals, g: Array):
    x, active = residuals
    plain = jnp.where(x < 0, 0, g)
    redirected = jnp.where((x < 0) & (g < 0), 0, g)
    vanished = jnp.all(plain == 0, axis=tuple(range(1, x.ndim)), keepdims=True)
    return jnp.where(active & vanished, redirected, plain), None


lucid_relu.defvjp(lambda x, active=True: (lucid_relu(x, active), (x, active)), _lucid_backward)


@jax.custom_vjp
def clamp(x: Array) -> Array:
    """`min(max(x, 0), 1)`, with a gradient that is blocked only where it would move `x` further out of [0, 1].

    The rule holds for the gradient of an objective to maximize. The gradient of plain clamping is zero outside of
    [0, 1], so a value that leaves the range never comes back. Lucid's `constrain_L_inf` has the same purpose but the
    opposite sign: it blocks the gradient that would bring the value back.
    """
    return jnp.clip(x, 0, 1)


clamp.defvjp(
    lambda x: (clamp(x), x),
    lambda x, g: (jnp.where(((x < 0) & (g < 0)) | ((x > 1) & (g > 0)), 0, g),),
)


def rectifier(rule: str, step: Array | int = 0) -> Relu:
    """The rectifier of a gradient rule at one step of a render.

    TorchLight's rule is the default of a render. With plain gradients a unit that is zero everywhere stays zero. With
    Lucid's rule it becomes active if `LUCID_STEPS` steps are enough. TorchLight's rule works at every step, and
    reaches objectives at least as high.

    Args:
      rule: "torchlight" (`leaky_gradient_relu`), "lucid" (`lucid_relu`) or "plain" (`relu`).
      step: Updates made so far; Lucid's rule redirects during the first `LUCID_STEPS`.

    Returns:
      A function of activations.

    Raises:
      TypeError: If the rule is not a string.
      ValueError: If there is no such rule.
    """
    _checks.one_of(rule, RULES, "ReLU rule")
    if rule == "torchlight":
        return leaky_gradient_relu
    if rule == "lucid":
        return lambda x: lucid_relu(x, step < LUCID_STEPS)
    return relu
