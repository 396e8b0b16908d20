"""Reading networks: what follows from a layer, and photographs that excite channels."""

from lightjax.analysis.factors import Factors, factor
from lightjax.analysis.group_results import Groups
from lightjax.analysis.groups import groups
from lightjax.analysis.reading import Reading
from lightjax.analysis.rest import Rest, rest

__all__ = ["Factors", "Groups", "Reading", "Rest", "factor", "groups", "rest"]
