"""Reading networks: what follows from a layer, attribution, and photographs that excite channels."""

from lightjax.analysis.attribution import Agreement, Attribution, attribute
from lightjax.analysis.reading import Reading
from lightjax.analysis.relations import Relation, class_attribution, relate
from lightjax.analysis.rest import Rest, rest
from lightjax.analysis.saliency import Heatmap, grad_cam, saliency

__all__ = [
    "Agreement",
    "Attribution",
    "Heatmap",
    "Reading",
    "Relation",
    "Rest",
    "attribute",
    "class_attribution",
    "grad_cam",
    "relate",
    "rest",
    "saliency",
]
