"""Reading networks: what follows from a layer, and photographs as examples of anything."""

from lightjax.analysis.examples import examples
from lightjax.analysis.found import ClassShare, Example, Examples
from lightjax.analysis.reading import Reading
from lightjax.analysis.rest import Rest, rest

__all__ = ["ClassShare", "Example", "Examples", "Reading", "Rest", "examples", "rest"]
