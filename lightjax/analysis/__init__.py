"""Reading networks: what follows from a layer, what it sees in a photograph, and photographs that excite channels."""

from lightjax.analysis.attribution import Agreement, Attribution, attribute
from lightjax.analysis.examples import examples
from lightjax.analysis.factors import Factors, factor
from lightjax.analysis.found import ClassShare, Example, Examples
from lightjax.analysis.grid import Grid, activation_grid
from lightjax.analysis.group_results import Groups
from lightjax.analysis.groups import groups
from lightjax.analysis.reading import Reading
from lightjax.analysis.relations import Relation, class_attribution, relate
from lightjax.analysis.rest import Rest, rest
from lightjax.analysis.saliency import Heatmap, grad_cam, saliency

__all__ = [
    "Agreement",
    "Attribution",
    "ClassShare",
    "Example",
    "Examples",
    "Factors",
    "Grid",
    "Groups",
    "Heatmap",
    "Reading",
    "Relation",
    "Rest",
    "activation_grid",
    "attribute",
    "class_attribution",
    "examples",
    "factor",
    "grad_cam",
    "groups",
    "relate",
    "rest",
    "saliency",
]
