"""How much of a function's variance is due to each of its inputs: total Sobol indices."""

from collections.abc import Callable

import numpy as np


def total_indices(function: Callable[[np.ndarray], np.ndarray], number: int, designs: int) -> np.ndarray:
    """The share of the variance of a function that is due to each input, alone or together with others.

    The inputs are uniform in [0, 1]. A and B are Halton points (scrambled, seed 0), and C_i is A with the input i of B.
    The index is Jansen's: `mean((f(A) - f(C_i))^2) / (2 var f(A))`. For a sum of functions of one input each, the
    indices are the shares of the variance and sum to 1; otherwise they sum to more.

    Args:
      function: From inputs `[designs, number]` to values `[designs]`.
      number: Number of inputs.
      designs: Number of points, at least 2. The function is called `number + 1` times with so many.

    Returns:
      The indices, `[number]`; all 0 if the function has the same value everywhere.

    References:
      Jansen, "Analysis of variance designs for model output", 1999. Fel et al., "CRAFT: Concept Recursive Activation
      FacTorization for Explainability", 2023, which uses them for directions of a layer.
    """
    from scipy.stats import qmc  # takes a while to import

    points = qmc.Halton(2 * number, rng=np.random.default_rng(0)).random(designs).astype(np.float32)
    first, second = points[:, :number], points[:, number:]
    values = np.asarray(function(first), np.float64)
    effects = []
    for i in range(number):
        changed = first.copy()
        changed[:, i] = second[:, i]
        effects.append(np.square(values - function(changed)).mean() / 2)
    variance = values.var(ddof=1)
    return np.array(effects) / variance if variance else np.zeros(number)
