"""Few directions that make up the activations of a layer: non-negative matrix factorization, by scikit-learn."""

import dataclasses
import importlib.metadata
import warnings
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from lightjax import _checks
from lightjax.analysis import drawing
from lightjax.analysis.reading import Reading

SWEEPS, TOLERANCE = 500, 1e-5
"""Most sweeps of coordinate descent, and the relative change that ends them; scikit-learn's own are 200 and 1e-4."""

_CELL, _SHOWN = 112, 8
"""Side in pixels of a map that is shown, and the most pictures whose maps are."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Factors(Reading):
    """Activations as a sum of few parts and a residual: `weights @ directions + residual`.

    Attributes:
      weights: How much of each direction there is at each position, `[..., k]`, 0 or more.
      directions: The directions, `[k, c]`, each of length 1, so that the weights of different directions compare. They
        are 0 or more unless the activations were signed.
      residual: What the directions leave, `[..., c]`.
    """

    weights: np.ndarray
    directions: np.ndarray
    residual: np.ndarray

    @property
    def error(self) -> float:
        """The length of the residual divided by that of the activations, |X - WH| / |X|."""
        return float(np.linalg.norm(self.residual) / np.linalg.norm(self._whole))

    @property
    def shares(self) -> np.ndarray:
        """The share of each part in the squared length of the activations, `[k + 1]`; the last is the residual's.

        A part's share is its dot product with the activations, divided by their squared length. The parts sum to the
        activations, so the shares sum to 1. That of the residual is the square of `error` where the factorization has
        converged.
        """
        whole = self._whole.reshape(-1, self.directions.shape[1]).astype(np.float64)
        weights = self.weights.reshape(len(whole), -1)
        parts = (weights * (whole @ self.directions.T)).sum(0) / np.square(whole).sum()
        return np.append(parts, 1 - parts.sum())

    @property
    def _whole(self) -> np.ndarray:
        return self.weights @ self.directions + self.residual

    def picture(self) -> np.ndarray:
        """The map of each direction and of the length of the residual, with their shares; bars if there are no maps."""
        names = [*(f"direction {i}" for i in range(len(self.directions))), "residual"]
        if self.weights.ndim < 3:
            return drawing.bars(names, self.shares.tolist())
        rest = np.linalg.norm(self.residual, axis=-1, keepdims=True)
        maps = np.concatenate([self.weights, rest], -1).reshape(-1, *self.weights.shape[-3:-1], len(names))
        largest = float(np.quantile(self.weights, 0.99))
        rows = []
        for picture in maps[:_SHOWN]:
            colored = [drawing.colored(picture[..., i], largest) for i in range(len(names))]
            height, width = picture.shape[:2]
            size = (_CELL, max(round(_CELL * width / height), 1))
            rows.append([drawing.resized(one, size, smooth=False) for one in colored])
        columns = [
            drawing.captioned(drawing.stacked(column), f"{name}\n{share:.1%}")
            for name, share, column in zip(names, self.shares, zip(*rows, strict=True), strict=True)
        ]
        return drawing.beside(columns)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {len(self.directions)} directions among {self.directions.shape[1]} channels, "
            f"residual {self.shares[-1]:.1%}>"
        )


def factor(activations: ArrayLike, number: int, *, signed: bool = False) -> Factors:
    """Few directions whose non-negative multiples make up the activations of a layer, as well as possible.

    It is scikit-learn's non-negative matrix factorization, which minimizes |X - WH| with all numbers of W and H 0 or
    more, from the start that the singular vectors give ("nndsvda"). The same activations give the same bytes. The
    optimum is a local one: which directions are found depends on the start, in some layers. Sweeps end when the error
    hardly changes any more, after 500 at the latest.

    Examples:
      >>> lj.factor(model(images)["mixed4d"], 6).directions

    Args:
      activations: `[..., c]`, such as `[h, w, c]` or those of several pictures, `[N, h, w, c]`.
      number: Number of directions, at most the number of positions and of channels.
      signed: Whether activations may be negative. [max(X, 0), max(-X, 0)] is factored then, side by side along the
        channels; a direction is the difference of its two halves.

    Raises:
      TypeError: If an argument has a wrong type.
      ValueError: If the activations have a wrong shape, are negative without `signed`, or all 0, or if `number` is out
        of range.
      ImportError: If scikit-learn is not installed.

    References:
      Lee and Seung, "Learning the parts of objects by non-negative matrix factorization", Nature, 1999. Lucid's
      ChannelReducer; "The Building Blocks of Interpretability", Distill, 2018.
    """
    number, signed = _checks.count(number, "number"), _checks.flag(signed, "signed")
    values = np.asarray(_checks.numbers(activations, "activations"), np.float32)
    weights, directions = factored(values, number, signed, "activations")
    settings = {"lightjax": importlib.metadata.version("lightjax"), "number": number, "signed": signed}
    return Factors(settings, weights, directions, values - weights @ directions)


def factored(values: np.ndarray, number: int, signed: bool, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The weights `[..., number]` and the directions `[number, c]` of values `[..., c]`; see `factor`."""
    method = factorization()
    if values.ndim < 2:
        raise ValueError(f"{what} must be [..., channels], at least two axes, got {list(values.shape)}")
    flat = values.reshape(-1, values.shape[-1])
    if number > min(flat.shape):
        things = "positions" if len(flat) < flat.shape[1] else "channels"
        more = "; give more pictures" if things == "positions" else ""
        raise ValueError(f"number must be at most {min(flat.shape)}, the number of {things}, got {number}{more}")
    if not signed and flat.min() < 0:
        raise ValueError(f"{what} must be 0 or more without signed=True, got {flat.min():g}: use signed=True")
    scale = float(np.abs(flat).max())
    if not scale:
        raise ValueError(f"{what} must not be 0 everywhere, got only zeros")
    flat = flat / scale  # the start calls numbers below 1e-6 zero
    halves = np.concatenate([np.maximum(flat, 0), np.maximum(-flat, 0)], 1) if signed else flat
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Maximum number of iterations", Warning)
        model = method(number, init="nndsvda", random_state=0, max_iter=SWEEPS, tol=TOLERANCE)
        weights = model.fit_transform(halves)
    directions = model.components_
    if signed:
        directions = directions[:, : flat.shape[1]] - directions[:, flat.shape[1] :]
    lengths = np.linalg.norm(directions, axis=1)
    if not lengths.all():
        raise ValueError(f"number must be less than {number} for these {what}: {(lengths == 0).sum()} would be empty")
    weights = (weights * lengths * scale).astype(np.float32)
    return weights.reshape(*values.shape[:-1], number), (directions / lengths[:, None]).astype(np.float32)


def factorization() -> Any:
    """scikit-learn's NMF, imported when it is needed.

    Raises:
      ImportError: If scikit-learn is not installed.
    """
    try:
        from sklearn.decomposition import NMF
    except ImportError:
        raise ImportError('finding directions needs scikit-learn: pip install "lightjax[analysis]"') from None
    return NMF
