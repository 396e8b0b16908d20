"""Measures of pictures, and of how alike the photographs are that excite a unit: formulas on arrays."""

import numpy as np

REFERENCES = 9
"""Photographs of each kind that a query is compared with."""
TRIALS = 20
"""Queries for each unit."""
TEMPERATURE = 0.16
"""Difference of similarities at which a judge counts as right with a probability of 0.73: our choice.

Zimmermann et al. fit their factor to what people could tell, for the similarities of DreamSim; it holds for no other
judge. Public code has 0.16 as a factor of the difference: for cosines, whose differences are mostly below 1, `0.16 d`
would give 0.5 to 0.54 for everything. As a divisor, 0.16 tells small differences from large ones.
"""


def spectrum_slope(picture: np.ndarray) -> float:
    """The exponent of the power spectrum: power at frequency f is about `f^slope`.

    Args:
      picture: `[H, W, C]`, at least 8 pixels high and wide.

    Returns:
      The slope of a line through log power against log frequency, one point for each whole number of waves from 2 to
      half of the shorter side. Power is the mean over channels and directions; the borders are faded out (Hann), so
      that they do not look like edges. NaN for a picture of one color.
    """
    height, width = picture.shape[:2]
    window = np.outer(np.hanning(height), np.hanning(width))[..., None]
    centered = picture.astype(float) - (picture * window).sum((0, 1)) / window.sum()
    power = np.square(np.abs(np.fft.fft2(centered * window, axes=(0, 1)))).mean(-1)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))  # waves per pixel
    shorter = min(height, width)
    radius = np.round(frequency * shorter).astype(int)
    radii = np.arange(2, shorter // 2 + 1)
    counts = np.bincount(radius.ravel(), minlength=shorter)
    totals = np.bincount(radius.ravel(), power.ravel(), minlength=shorter)
    means = totals[radii] / np.maximum(counts[radii], 1)
    if not (means > 1e-12 * height * width).all():
        return float("nan")
    return float(np.polyfit(np.log(radii), np.log(means), 1)[0])


def rank(values: np.ndarray, unit: int) -> int:
    """How many units have a larger value than one of them: 0 if it is the first."""
    return int((values > values[unit]).sum())


def path_likeness(picture: np.ndarray, same: np.ndarray, other: np.ndarray) -> float:
    """How alike a picture is to photographs of its class in a layer: 1 like one of them, 0 like one of other classes.

    Args:
      picture: Channel means of the picture, `[C]`.
      same: Those of photographs of its class, `[n, C]`, at least two.
      other: Those of photographs of other classes, `[m, C]`, at least one.

    Returns:
      `(s(picture, same) - s(same, other)) / (s(same, same) - s(same, other))`, where s is the mean cosine over pairs.

    References:
      Geirhos et al., "Don't trust your eyes: on the (un)reliability of feature visualizations", 2023.
    """
    one, same, other = (_of_length_one(np.atleast_2d(x)) for x in (picture, same, other))
    n = len(same)
    within = (np.square(same.sum(0)).sum() - np.square(same).sum()) / (n * (n - 1))
    across = float(same.mean(0) @ other.mean(0))
    return float((one[0] @ same.mean(0) - across) / (within - across))


def interpretability(values: np.ndarray, features: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Whether a judge can tell what a unit responds to: the task of the machine interpretability score.

    In each of 20 trials, 10 of the photographs that excite the unit most, and 10 of those that excite it least, are
    drawn; 9 of each are references and one a query. The judge has to say which query goes with which references, by
    `d = s(q+, E+) - s(q+, E-) - s(q-, E+) + s(q-, E-)`, where s is the mean similarity. The photographs come from the
    200 strongest and the 200 weakest, or from the strongest and the weakest quarter if there are fewer than 800.

    Args:
      values: The unit's values for photographs, `[n]`, at least 40.
      features: What the judge sees of them, `[n, k]`, of length 1 each: s is the cosine.
      generator: Draws the trials, and the order of photographs with equal values.

    Returns:
      The share of trials with d > 0 (d = 0 counts half), and the mean of `sigmoid(d / 0.16)`. The share has no
      constant. 0.16 is our own choice (see `TEMPERATURE`): compare the mean only with others of the same judge.

    References:
      Zimmermann et al., "Measuring Per-Unit Interpretability at Scale Without Humans", 2024, with DreamSim as judge,
      and with another constant, which they fit to the answers of people.
    """
    number = REFERENCES + 1
    pool = min(TRIALS * number, len(values) // 4)
    order = np.lexsort((generator.permutation(len(values)), values))
    gaps = np.zeros(TRIALS)
    for trial in range(TRIALS):
        most, least = (generator.choice(part, number, replace=False) for part in (order[-pool:], order[:pool]))
        references = features[most[1:]].mean(0) - features[least[1:]].mean(0)
        gaps[trial] = (features[most[0]] - features[least[0]]) @ references
    share = float((gaps > 0).mean() + (gaps == 0).mean() / 2)
    return share, float((1 / (1 + np.exp(-gaps / TEMPERATURE))).mean())


def monosemanticity(values: np.ndarray, features: np.ndarray) -> float:
    """How alike the photographs are that excite a unit: their mean similarity in pairs, weighted by the activations.

    Args:
      values: The unit's values for photographs, `[n]`; they are scaled to reach from 0 to 1.
      features: What the judge sees of them, `[n, k]`, of length 1 each.

    Returns:
      `sum over i != j of a_i a_j <e_i, e_j> / sum over i != j of a_i a_j`, in one pass as
      `(|sum a e|^2 - sum a^2) / ((sum a)^2 - sum a^2)`. NaN if fewer than two photographs excite the unit.

    References:
      Pach et al., "Sparse Autoencoders Learn Monosemantic Features in Vision-Language Models", 2025, which divides by
      the number of pairs and so favors units that are often active; MonoLoss, 2026, for the one pass.
    """
    values = values.astype(float)
    span = values.max() - values.min()
    a = (values - values.min()) / (span or 1)
    squares = np.square(a).sum()
    weight = np.square(a.sum()) - squares
    if weight <= 1e-9 * squares or not span:
        return float("nan")
    return float((np.square(a @ features.astype(float)).sum() - squares) / weight)


def judged(features: np.ndarray) -> np.ndarray:
    """Features `[n, k]` as a judge compares them: minus their mean, and of length 1."""
    return _of_length_one(features - features.mean(0))


def _of_length_one(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(float)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
