"""Reading networks: what follows from a layer, dictionaries of a layer, and photographs that excite channels."""

from lightjax.analysis.dictionary import Dictionary
from lightjax.analysis.dictionary_training import Fit, fit_dictionary
from lightjax.analysis.reading import Reading
from lightjax.analysis.rest import Rest, rest

__all__ = ["Dictionary", "Fit", "Reading", "Rest", "fit_dictionary", "rest"]
