"""Reading networks: what follows from a layer, photographs that excite channels, and weights between layers."""

from lightjax.analysis.circuits import ExpandedWeights, expanded_weights
from lightjax.analysis.faithfulness import Faithfulness
from lightjax.analysis.kernels import Families, Kernels
from lightjax.analysis.reading import Reading
from lightjax.analysis.rest import Rest, rest

__all__ = [
    "ExpandedWeights",
    "Faithfulness",
    "Families",
    "Kernels",
    "Reading",
    "Rest",
    "expanded_weights",
    "rest",
]
