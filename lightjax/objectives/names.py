"""Names of layers: those of a model, and those that other programs give to the layers of GoogLeNet."""

import re
from collections.abc import Iterable

from lightjax import _checks

_ELSEWHERE = {
    r"conv1/7x7_s2": "conv2d0",
    r"pool1/3x3_s2": "maxpool0",
    r"pool1/norm1": "localresponsenorm0",
    r"conv2/3x3_reduce": "conv2d1",
    r"conv2/3x3": "conv2d2",
    r"conv2/norm2": "localresponsenorm1",
    r"pool2/3x3_s2": "maxpool1",
    r"inception_?(\d[a-e])(?:/output)?": r"mixed\1",
    r"inception_?(\d[a-e])/(1x1|3x3|5x5|pool)": r"mixed\1_\2",
    r"inception_?(\d[a-e])/(3x3|5x5)_reduce": r"mixed\1_\2_bottleneck",
    r"inception_?(\d[a-e])/pool_proj": r"mixed\1_pool_reduce",
    r"pool3/3x3_s2": "maxpool4",
    r"pool4/3x3_s2": "maxpool10",
    r"pool5(?:/7x7_s1)?": "avgpool0",
    r"loss3/classifier": "softmax2_pre_activation_matmul",
    r"prob": "softmax2",
}
"""Patterns of the names of Caffe and torchvision, and the names here."""


def known(layer: str, layers: Iterable[str]) -> str:
    """The name of a layer, which must be among those of a model.

    Raises:
      TypeError: If it is not a string.
      ValueError: If it is not there. The message has the nearest name, or the name here of a layer of Caffe.
    """
    layers = list(layers)
    if isinstance(layer, str) and layer not in layers:
        for pattern, name in _ELSEWHERE.items():
            match = re.fullmatch(pattern, layer)
            if match is not None and match.expand(name) in layers:
                raise ValueError(f"unknown layer {_checks.shown(layer)}; here it is called {match.expand(name)!r}")
    return _checks.one_of(layer, layers, "layer")
