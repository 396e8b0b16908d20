"""Reading networks: what follows from a layer, what it sees in a photograph, and photographs that excite channels."""

from lightjax.analysis.grid import Grid, activation_grid
from lightjax.analysis.reading import Reading
from lightjax.analysis.rest import Rest, rest

__all__ = ["Grid", "Reading", "Rest", "activation_grid", "rest"]
