"""Reading networks: what follows from a layer, and photographs that excite channels."""

from lightjax.analysis.attribution import Agreement, Attribution, attribute
from lightjax.analysis.evaluated import MEANINGS, Evaluation
from lightjax.analysis.evaluation import evaluate
from lightjax.analysis.examples import examples
from lightjax.analysis.factors import Factors, factor
from lightjax.analysis.found import ClassShare, Example, Examples
from lightjax.analysis.group_results import Groups
from lightjax.analysis.groups import groups
from lightjax.analysis.reading import Reading
from lightjax.analysis.relations import Relation, class_attribution, relate
from lightjax.analysis.rest import Rest, rest
from lightjax.analysis.saliency import Heatmap, grad_cam, saliency

__all__ = [
    "MEANINGS",
    "Agreement",
    "Attribution",
    "ClassShare",
    "Evaluation",
    "Example",
    "Examples",
    "Factors",
    "Groups",
    "Heatmap",
    "Reading",
    "Relation",
    "Rest",
    "attribute",
    "class_attribution",
    "evaluate",
    "examples",
    "factor",
    "grad_cam",
    "groups",
    "relate",
    "rest",
    "saliency",
]
