"""Metrics as functions of sums, so that one call gives the value on the sample and on every resample.

`counts` are confusion counts `(..., K, K)`, rows the true class, columns the predicted one; results drop the last
axes. Undefined is NaN (0/0), never a silent 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
MAX_BINS = 15
"""Most bins of the calibration error, the number of Guo et al. 2017."""
MIN_PER_BIN = 20
"""Fewest samples in a bin: with less, the calibration error measures noise."""


def one_hot(codes: Indices, width: int) -> Floats:
    """Return `(N, width)`, 1 at each row's code."""
    hot = np.zeros((len(codes), width))
    hot[np.arange(len(codes)), codes] = 1.0
    return hot


def confusion_features(labels: Indices, predicted: Indices, classes: int) -> Floats:
    """Return `(N, K * K)` for K `classes`, whose sum over rows is the flattened confusion matrix."""
    return one_hot(labels * classes + predicted, classes * classes)


def accuracy(counts: Floats) -> Floats:
    return ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def precision(counts: Floats) -> Floats:
    """Per class `(..., K)`; NaN where the class is never predicted."""
    return ratio(_hits(counts), counts.sum(axis=-2))


def recall(counts: Floats) -> Floats:
    """Per class `(..., K)`; NaN where the class does not occur."""
    return ratio(_hits(counts), counts.sum(axis=-1))


def f1(counts: Floats) -> Floats:
    """Per class `(..., K)`: 2 TP / (2 TP + FP + FN); NaN where the class does not occur."""
    support = counts.sum(axis=-1)
    score = ratio(2 * _hits(counts), support + counts.sum(axis=-2))
    return np.where(support > 0, score, np.nan)


def macro_f1(counts: Floats) -> Floats:
    """Mean F1 over the classes that occur; a class that occurs and is never predicted counts 0."""
    return _mean_where_defined(f1(counts))


def balanced_accuracy(counts: Floats) -> Floats:
    """Mean recall over the classes that occur."""
    return _mean_where_defined(recall(counts))


def calibration_bins(confidence: Floats) -> Indices:
    """Return each row's bin `(N,)` of equal mass in `confidence`: 15, fewer where a bin would hold under 20 rows."""
    bins = max(1, min(MAX_BINS, len(confidence) // MIN_PER_BIN))
    edges = np.unique(np.quantile(confidence, np.arange(1, bins) / bins))
    return np.asarray(np.searchsorted(edges, confidence, side="right"))


def calibration_features(confidence: Floats, correct: Floats, bins: Indices) -> Floats:
    """Return `(N, 3 * bins)`: per bin the row's membership, confidence and correctness."""
    member = one_hot(bins, int(bins.max()) + 1)
    return np.concatenate([member, member * confidence[:, None], member * correct[:, None]], axis=1)


def calibration_error(totals: Floats) -> Floats:
    """Return the expected calibration error from totals `(..., 3 * bins)` of `calibration_features`.

    The mean over rows of |confidence - accuracy| of the row's bin (Naeini et al., AAAI 2015; Guo et al., ICML 2017),
    in bins of equal mass, which depend less on where the confidences crowd (Nixon et al., CVPR Workshops 2019).
    """
    members, confidence, correct = np.split(totals, 3, axis=-1)
    return ratio(np.abs(confidence - correct).sum(axis=-1), members.sum(axis=-1))


def calibration_error_by_chance(confidence: Floats, bins: Indices, *, seed: int, samples: int = 400) -> Floats:
    """Return `(samples,)`: calibration errors that a perfectly calibrated model with these confidences would show.

    Each draw makes every answer right with just its own confidence (Broecker and Smith, "Increasing the Reliability of
    Reliability Diagrams", Weather and Forecasting 22(3), 2007). They lie well above 0 where bins are small, and an
    error among them is no evidence of miscalibration.
    """
    rng = np.random.default_rng(seed)
    member = one_hot(bins, int(bins.max()) + 1)
    expected = confidence @ member
    # One draw at a time: all of them would need samples x N numbers at once
    correct = np.stack([(rng.random(len(confidence)) < confidence) @ member for _ in range(samples)])
    return np.asarray(np.abs(expected - correct).sum(axis=1) / len(confidence))


def brier_rows(probabilities: Floats, labels: Indices) -> Floats:
    """Return `(N,)`: the squared distance from the truth over all K classes, 0-2 (Brier 1950)."""
    return np.asarray(((probabilities - one_hot(labels, probabilities.shape[1])) ** 2).sum(axis=1))


def log_loss_rows(probabilities: Floats, labels: Indices) -> Floats:
    """Return `(N,)`: -ln of the true class's probability, at most 27.6 (a probability of 1e-12)."""
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)))


def _hits(counts: Floats) -> Floats:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return the elementwise quotient, NaN where the denominator is 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    return np.asarray(np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0))


def _mean_where_defined(values: Floats) -> Floats:
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
