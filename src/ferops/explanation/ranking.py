"""How well the probabilities rank: right answers before wrong ones, and each class before the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferops.evaluation.bootstrap import Resampler
from ferops.records.explain import ClassRanking, Coverage, Selection

COVERAGES = (0.80, 0.90, 0.95)


def selection(
    probabilities: NDArray[np.float64], labels: NDArray[np.intp], resampler: Resampler
) -> tuple[Selection, NDArray[np.float64]]:
    """Return what is gained when the least sure answers go to a person, and the error `(N,)` among the n surest.

    The area under that curve after Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks".

    Args:
        probabilities: `(N, K)`.
        resampler: draws the N faces' clusters.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = (probabilities.argmax(axis=1) != labels).astype(np.float64)
    counts = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(wrong[order]) / counts
    best = np.cumsum(np.sort(wrong)) / counts
    at = []
    for coverage in COVERAGES:
        kept = np.sort(order[: max(1, round(coverage * len(order)))])
        hits, faces = resampler.totals(np.stack([1 - wrong[kept], np.ones(len(kept))], axis=1), kept).T
        with np.errstate(invalid="ignore"):  # a resample may have no such face: undefined there
            accuracy = resampler.interval(hits / faces, clusters=resampler.clusters_in(kept))
        at.append(Coverage(coverage=coverage, confidence=float(confidence[kept].min()), accuracy=accuracy))
    found = Selection(
        area=float(risk.mean()), area_best=float(best.mean()), area_random=float(wrong.mean()), at=tuple(at)
    )
    return found, risk


def rankings(
    probabilities: NDArray[np.float64], labels: NDArray[np.intp], classes: tuple[str, ...], resampler: Resampler
) -> dict[str, ClassRanking]:
    """Return average precision and area under the ROC curve of each class against the rest."""
    weights = resampler.weights[:, resampler.codes]  # of each face in each draw
    table = {}
    for index, name in enumerate(classes):
        truth, scores = labels == index, probabilities[:, index]
        clusters = resampler.clusters_in(np.flatnonzero(truth))
        precision, area = _areas(truth, scores, weights)
        table[name] = ClassRanking(
            share=float(truth.mean()),
            average_precision=resampler.interval(precision, clusters=clusters, reason="the class does not occur"),
            roc_area=resampler.interval(area, clusters=clusters, reason="no face of the class, or of no other"),
        )
    return table


def _areas(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.uint16]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both areas `(1 + B,)` for every draw's weights `(1 + B, N)`, by one sort, as scikit-learn computes them."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # equal scores are one threshold
    precision, area = [], []
    for drawn in weights[:, order]:
        hits = np.append(0, np.cumsum(drawn * truth[order], dtype=np.float64)[last])
        misses = np.append(0, np.cumsum(drawn * ~truth[order], dtype=np.float64)[last])
        if not hits[-1]:
            precision.append(np.nan)
            area.append(np.nan)
            continue
        with np.errstate(invalid="ignore"):  # thresholds above every face drawn
            share = np.nan_to_num(hits / (hits + misses))
        precision.append(float((np.diff(hits) * share[1:]).sum() / hits[-1]))
        area.append(float(np.trapezoid(hits, misses) / (hits[-1] * misses[-1])) if misses[-1] else np.nan)
    return np.array(precision), np.array(area)
