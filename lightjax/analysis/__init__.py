"""Reading networks: what follows from a layer, and photographs that excite channels."""

from lightjax.analysis.reading import Reading
from lightjax.analysis.rest import Rest, rest

__all__ = ["Reading", "Rest", "rest"]
