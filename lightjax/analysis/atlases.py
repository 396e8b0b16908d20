"""Atlases with other axes: between two classes, and of two layers in one layout."""

from typing import Any

import numpy as np

from lightjax import _checks
from lightjax.analysis import layout as layouts
from lightjax.analysis.atlas import atlas
from lightjax.analysis.atlas_result import Atlas
from lightjax.analysis.sample import Sample

RIDGE = 1.0
"""What is added to the second moments of a layer that is mapped to another, in parts of its mean variance."""


def compare(
    sample: Sample,
    first: str | int,
    second: str | int,
    *,
    layer: str | None = None,
    largest: int = 2000,
    seed: int = 0,
    **settings: Any,
) -> Atlas:
    """The atlas between two classes: vectors that add to the first are left, vectors that add to the second right.

    It has the vectors of `Sample.only`. The place of a vector from left to right is the difference of what it adds to
    the two classes, divided by the 99th percentile of the sizes; 0 is in the middle. From top to bottom, a t-SNE with
    one axis puts similar directions near each other.

    Examples:
      >>> lj.compare(sample, "snorkel", "scuba diver", cells=10, least=4).save_page("divers")

    Args:
      sample: Activations, as `lj.sample` takes them with classes.
      first: A class, by name or number.
      second: Another class.
      layer: A layer of the sample; by default its first one.
      largest: How many of the vectors that add most to each class are taken (see `Sample.only`).
      seed: Seed of the layout and of all pictures.
      **settings: Other keywords of `lj.atlas`, without `layout`.

    Raises:
      TypeError, ValueError, IndexError: If an argument is wrong, or too few vectors add to the classes.
      ImportError: If scikit-learn is not installed.

    References:
      Carter et al., "Activation Atlas", Distill, 2019.
    """
    seed = _seed(sample, seed)
    layer = sample.layers[0] if layer is None else _checks.one_of(layer, sample.layers, "layer")
    if "layout" in settings:
        raise TypeError("layout must not be given: the two classes are the layout")
    numbers = [sample.class_number(name) for name in (first, second)]
    if numbers[0] == numbers[1]:
        raise ValueError(f"second must be another class than first, got {_checks.shown(second)} twice")
    chosen = sample.only(first, second, layer=layer, largest=largest)
    if len(chosen.sources) < 4:
        raise ValueError(f"first and second must be classes that at least 4 vectors add to, got {len(chosen.sources)}")
    found = chosen.for_classes(layer)
    difference = found[:, numbers[1]] - found[:, numbers[0]]
    scale = np.percentile(np.abs(difference), 99)
    x = (np.clip(difference / (scale or 1), -1, 1) + 1) / 2
    y = layouts.tsne(chosen.of(layer), seed, axes=1)
    points = np.stack([x, layouts.normalized(y)[:, 0]], 1)
    return atlas(chosen, layer, layout=points, seed=seed, **settings)


def aligned(
    sample: Sample, first: str, second: str, *, layout: str = "tsne", seed: int = 0, **settings: Any
) -> tuple[Atlas, Atlas]:
    """The atlases of two layers in one layout: vectors of the same places in photographs are near each other.

    Vectors of the two layers are at the same places of the same photographs. By their correlations, a linear map of
    each layer to the other is found (uncentered, with a ridge of the mean variance, without which it would follow
    noise). Each vector is put beside what it is mapped to, and one layout places all vectors of both layers.

    Examples:
      >>> sample = lj.sample("photographs", ["mixed4c", "mixed4d"])
      >>> before, after = lj.aligned(sample, "mixed4c", "mixed4d")

    Args:
      sample: Activations of both layers, as `lj.sample` takes them.
      first: A layer of the sample.
      second: Another layer of the sample.
      layout: "tsne" or "umap".
      seed: Seed of the layout and of all pictures.
      **settings: Other keywords of `lj.atlas`, without `resume`.

    Returns:
      The atlas of each layer.

    Raises:
      TypeError, ValueError: If an argument is wrong.
      ImportError: If the library of the layout is not installed.

    References:
      Lucid, `aligned_activation_atlas`.
    """
    seed = _seed(sample, seed)
    names = [_checks.one_of(name, sample.layers, what) for name, what in ((first, "first"), (second, "second"))]
    layout = _checks.one_of(layout, layouts.LAYOUTS, "layout")
    if names[0] == names[1]:
        raise ValueError(f"second must be another layer than first, got {_checks.shown(second)} twice")
    if settings.get("resume") is not None:
        raise ValueError("resume must be None for two atlases, which would share the file")
    a, b = (sample.of(name) for name in names)
    both = np.concatenate([np.concatenate([a, a @ pushed(a, b)], 1), np.concatenate([b @ pushed(b, a), b], 1)])
    points = np.split(layouts.placed(both, layout, seed), 2)
    before, after = (
        atlas(sample, name, layout=own, seed=seed, **settings) for name, own in zip(names, points, strict=True)
    )
    return before, after


def pushed(a: np.ndarray, b: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """The linear map from one layer's vectors `[N, c]` to another's `[N, d]` at the same places, `[c, d]`.

    It is (A'A / N + ridge)^-1 A'B / N, with a ridge in parts of the mean variance.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    moments = x.T @ x / len(x) + ridge * x.var(0).mean() * np.eye(x.shape[1])
    return np.linalg.solve(moments, x.T @ y / len(x))


def _seed(sample: Sample, seed: int) -> int:
    """The seed, checked as the sample is."""
    if not isinstance(sample, Sample):
        raise TypeError(f"sample must be a Sample, as lj.sample returns it, got {_checks.shown(sample)}")
    return _checks.whole(seed, "seed", least=0, most=2**32 - 1)
