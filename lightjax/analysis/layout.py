"""Where the vectors of an atlas lie: points in a plane, near each other where vectors point the same way."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from lightjax import _checks

LAYOUTS = ("tsne", "umap")

PERPLEXITY = 50
"""Neighbors that count for t-SNE; fewer than a third of the points."""

NEIGHBORS, DISTANCE = 20, 0.01
"""Neighbors and least distance of UMAP, those of the notebooks of the activation atlas."""

MARGIN = 0.1
"""What is left at each side, in parts of the range between the percentiles."""

Layout = str | ArrayLike | Callable[[np.ndarray], ArrayLike]
"""A name of `LAYOUTS`, points `[N, 2]`, or a function from vectors `[N, c]` to points."""


def placed(vectors: np.ndarray, layout: Layout, seed: int) -> np.ndarray:
    """The points of vectors `[N, c]` in the unit square, `[N, 2]` float64.

    Those of an array or a function stay as they are if they lie there; all others are moved there (`normalized`).

    Raises:
      TypeError, ValueError: If the layout is wrong, or gives other points than it should.
      ImportError: If the library that it needs is not installed.
    """
    if isinstance(layout, str):
        method = _checks.one_of(layout, LAYOUTS, "layout")
        if len(vectors) < 4:
            raise ValueError(f"layout needs at least 4 vectors, got {len(vectors)}")
        return normalized((tsne if method == "tsne" else umap)(vectors, seed))
    if callable(layout):
        layout = _checks.array(_checks.function(layout, "layout")(vectors), "what the layout returns")
    points = np.asarray(_checks.numbers(layout, "layout"), np.float64)
    if points.shape != (len(vectors), 2):
        raise ValueError(f"layout must be [{len(vectors)}, 2], a point for each vector, got {list(points.shape)}")
    return points if points.min() >= 0 and points.max() <= 1 else normalized(points)


def tsne(vectors: np.ndarray, seed: int = 0, axes: int = 2) -> np.ndarray:
    """scikit-learn's t-SNE of the directions of vectors `[N, c]`: points `[N, axes]`.

    The distance of two directions of length 1 grows with their angle. It starts from the two principal axes. One thread
    computes it, because sums of several threads are rounded in any order: the same vectors give the same bytes.

    Raises:
      ImportError: If scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ImportError('layout="tsne" needs scikit-learn: pip install "lightjax[analysis]"') from None
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    with threadpool_limits(1):
        method = TSNE(axes, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        return method.fit_transform(directions(vectors)).astype(np.float64)


def umap(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """umap-learn's UMAP by the angle between vectors `[N, c]`: points `[N, 2]`. With a seed it uses one thread.

    Raises:
      ImportError: If umap-learn is not installed.
    """
    try:
        from umap import UMAP  # type: ignore[import-not-found]
    except ImportError:
        raise ImportError('layout="umap" needs umap-learn: pip install "lightjax[umap]"') from None
    neighbors = min(NEIGHBORS, len(vectors) - 1)
    settings: dict[str, Any] = {"metric": "cosine", "random_state": seed, "n_jobs": 1}
    found = UMAP(n_neighbors=neighbors, min_dist=DISTANCE, n_components=2, **settings).fit_transform(vectors)
    return np.asarray(found, np.float64)


def directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[..., c]` of length 1; those of length 0 stay 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def normalized(points: np.ndarray) -> np.ndarray:
    """Points `[N, 2]` in the unit square.

    Along each axis the 1st and the 99th percentile get the same distance from the sides, 1/12. The few points beyond
    the sides are moved to them.

    Raises:
      ValueError: If nearly all points lie on a line along an axis.
    """
    low, high = np.percentile(points, [1, 99], axis=0)
    if not (high > low).all():
        raise ValueError("layout must spread the points along both axes, but nearly all have one coordinate in common")
    margin = MARGIN * (high - low)
    low, high = low - margin, high + margin
    return (np.clip(points, low, high) - low) / (high - low)


def cell_of(points: np.ndarray, cells: int) -> np.ndarray:
    """The cell of each point of the unit square, (row, column), `[N, 2]`: x runs to the right, and y downwards.

    Each point is in one cell: on the border of two it is in the later one, and at the end of the square in the last.
    """
    return np.minimum(points[:, ::-1] * cells, cells - 1).astype(np.int32)
