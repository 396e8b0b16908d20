"""Reading networks: what follows from a layer, and photographs that excite channels."""

from lightjax.analysis.atlas import atlas
from lightjax.analysis.atlas_result import Atlas, Home, Photograph
from lightjax.analysis.atlases import aligned, compare
from lightjax.analysis.attribution import Agreement, Attribution, attribute
from lightjax.analysis.circuits import ExpandedWeights, expanded_weights
from lightjax.analysis.dictionary import Dictionary
from lightjax.analysis.dictionary_training import Fit, fit_dictionary
from lightjax.analysis.evaluated import MEANINGS, Evaluation
from lightjax.analysis.evaluation import evaluate
from lightjax.analysis.examples import examples
from lightjax.analysis.factors import Factors, factor
from lightjax.analysis.faithfulness import Faithfulness
from lightjax.analysis.found import ClassShare, Example, Examples
from lightjax.analysis.grid import Grid, activation_grid
from lightjax.analysis.group_results import Groups
from lightjax.analysis.groups import groups
from lightjax.analysis.kernels import Families, Kernels
from lightjax.analysis.reading import Reading
from lightjax.analysis.relations import Relation, class_attribution, relate
from lightjax.analysis.rest import Rest, rest
from lightjax.analysis.saliency import Heatmap, grad_cam, saliency
from lightjax.analysis.sample import Sample, sample

__all__ = [
    "MEANINGS",
    "Agreement",
    "Atlas",
    "Attribution",
    "ClassShare",
    "Dictionary",
    "Evaluation",
    "Example",
    "Examples",
    "ExpandedWeights",
    "Factors",
    "Faithfulness",
    "Families",
    "Fit",
    "Grid",
    "Groups",
    "Heatmap",
    "Home",
    "Kernels",
    "Photograph",
    "Reading",
    "Relation",
    "Rest",
    "Sample",
    "activation_grid",
    "aligned",
    "atlas",
    "attribute",
    "class_attribution",
    "compare",
    "evaluate",
    "examples",
    "expanded_weights",
    "factor",
    "fit_dictionary",
    "grad_cam",
    "groups",
    "relate",
    "rest",
    "saliency",
    "sample",
]
