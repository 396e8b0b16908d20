"""Objectives: what a picture should excite, as pytrees that are pure functions of the activations.

An objective maps named activations, `[N, H, W, C]` or `[N, C]` each, to a scalar, which is *maximized*. Operators and
indices combine objectives:

    channel("mixed4a", 97) + 0.5 * channel("mixed4b", 3) - neuron("mixed5a", 12)
    channel("mixed4b", 154)[0] - channel("mixed4b", 154)[1]     # picture 0 up, picture 1 down

Each objective below is written as a function of the activations. `@primitive` turns it into a constructor with the same
arguments except `activations`: `channel("mixed4a", 97)` returns an `Objective`, which you call with activations.

Names of layers and reductions are static. Channels, positions, vectors, weights and numbers of pictures are traced, so
all channels of a layer and all pictures of a batch share one compilation, and `jax.vmap` over the leaves is a batch of
objectives.

Pictures: an objective is the mean over pictures, unless its docstring says otherwise, so a weight means the same for
any number of pictures. `objective[i]` looks at picture i alone, `objective[[0, 2]]` at some of them, in this order.

Errors: each constructor raises a TypeError for an argument of a wrong type and a ValueError for a wrong value. `check`,
which `visualize` calls before it compiles, raises a ValueError for an unknown layer or a wrong shape, and an IndexError
for a channel, position or picture that is out of range.

Signs: most objectives are added. These are 0 or more and are *subtracted*, as in
`channel("mixed4a", 97) - 0.25 * total_variation()`:

- distances: `activation_difference`, `style`, `alignment`
- similarity of pictures: `diversity`
- penalties: `input_diff`, `l1`, `l2`, `total_variation`, `blur_input_each_step`, `mean_alpha`, `boundary_complexity`
"""

from lightjax.objectives.arguments import primitive
from lightjax.objectives.base import Objective, check
from lightjax.objectives.comparisons import (
    activation_difference,
    alignment,
    caricature,
    channel_interpolate,
    diversity,
    gram_matrix,
    style,
)
from lightjax.objectives.directions import direction, direction_channel, direction_neuron, tensor_direction
from lightjax.objectives.parse import as_objective, objective, parse, resolve
from lightjax.objectives.penalties import (
    blur_input_each_step,
    boundary_complexity,
    input_diff,
    l1,
    l2,
    mean_alpha,
    total_variation,
)
from lightjax.objectives.select import REDUCTIONS, Activations
from lightjax.objectives.units import channel, class_logit, deepdream, layer, neuron

__all__ = [
    "REDUCTIONS",
    "Activations",
    "Objective",
    "activation_difference",
    "alignment",
    "as_objective",
    "blur_input_each_step",
    "boundary_complexity",
    "caricature",
    "channel",
    "channel_interpolate",
    "check",
    "class_logit",
    "deepdream",
    "direction",
    "direction_channel",
    "direction_neuron",
    "diversity",
    "gram_matrix",
    "input_diff",
    "l1",
    "l2",
    "layer",
    "mean_alpha",
    "neuron",
    "objective",
    "parse",
    "primitive",
    "resolve",
    "style",
    "tensor_direction",
    "total_variation",
]
