"""One model's figures on the test split, and the paired difference between two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.evaluation import metrics
from ferops.evaluation.bootstrap import Floats, Interval, Resampler
from ferops.evaluation.metrics import Indices, K


@dataclass(frozen=True)
class TestSet:
    """The test split. `rows` are the positions, among all test images, of the N with a face; `missed` of the rest.

    `tight` marks the faces that are whole pictures: no face was looked for in them, so none could be missed. `unfound`
    marks whole pictures in which one was looked for and not found: they are judged, but the service would have no face.
    """

    labels: Indices  # (N,) 0-5
    rows: Indices  # (N,)
    tight: NDArray[np.bool_]  # (N,)
    unfound: NDArray[np.bool_]  # (N,)
    missed: Indices  # (images without a face,)
    resampler: Resampler

    @property
    def clusters(self) -> int:
        return self.resampler.clusters_in(self.rows)

    __test__ = False  # not a pytest class


@dataclass(frozen=True)
class Judged:
    """Figures of one model, with the resampled counts `(1 + B, K, K)` that paired comparisons need."""

    figures: dict[str, Any]
    counts: Floats
    predicted: Indices


def judge(test: TestSet, probabilities: Floats, *, review_below: float) -> Judged:
    """Return all figures of a model that answers `probabilities` `(N, K)` on the test split.

    Args:
        review_below: answers with a confidence under this count as flagged for review by a person, 0-1.
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    correct = (predicted == test.labels).astype(np.float64)
    counts = _counts(test, predicted)
    bins = metrics.calibration_bins(confidence)
    features = metrics.calibration_features(confidence, correct, bins)
    calibration = test.resampler.totals(features, test.rows)
    by_chance = metrics.calibration_error_by_chance(confidence, bins, seed=test.resampler.seed)
    losses = np.stack(
        [
            metrics.brier_rows(probabilities, test.labels),
            metrics.log_loss_rows(probabilities, test.labels),
            np.ones(len(correct)),
        ],
        axis=1,
    )
    brier, log_loss, seen = test.resampler.totals(losses, test.rows).T

    def interval(values: Floats, *, share: bool = True) -> Interval:
        return test.resampler.interval(values, clusters=test.clusters, share=share)

    figures = {
        "accuracy": interval(metrics.accuracy(counts)),
        "macro_f1": interval(metrics.macro_f1(counts)),
        "balanced_accuracy": interval(metrics.balanced_accuracy(counts)),
        "calibration_error": _calibration_error(test, metrics.calibration_error(calibration), by_chance),
        "calibration_error_by_chance": float(by_chance.mean()),
        "brier": interval(metrics.ratio(brier, seen), share=False),
        "log_loss": interval(metrics.ratio(log_loss, seen), share=False),
        "accuracy_missed_as_wrong": _accuracy_missed_as_wrong(test, correct),
        "per_class": _per_class(test, counts),
        "confusion": counts[0].astype(int).tolist(),
        "review": _review(confidence, correct, review_below),
        "calibration_bins": _reliability(calibration[0]),
    }
    return Judged(figures=figures, counts=counts, predicted=predicted)


def constant_answer(test: TestSet) -> Judged:
    """Return the figures of chance: always the answer that is most frequent in the test split."""
    largest = int(np.bincount(test.labels, minlength=K).argmax())
    predicted = np.full(len(test.labels), largest)
    counts = _counts(test, predicted)
    figures = {
        "answer": DEFAULT_CLASSES[largest],
        "accuracy": float(metrics.accuracy(counts)[0]),
        "macro_f1": float(metrics.macro_f1(counts)[0]),
        "uniform_accuracy": 1 / K,
    }
    return Judged(figures=figures, counts=counts, predicted=predicted)


def difference(test: TestSet, first: Judged, second: Judged) -> dict[str, Interval]:
    """Return accuracy and macro-F1 of `first` minus `second`, paired: both on the same draws of clusters."""
    return {
        name: test.resampler.interval(metric(first.counts) - metric(second.counts), clusters=test.clusters, share=False)
        for name, metric in (("accuracy", metrics.accuracy), ("macro_f1", metrics.macro_f1))
    }


def _counts(test: TestSet, predicted: Indices) -> Floats:
    totals = test.resampler.totals(metrics.confusion_features(test.labels, predicted), test.rows)
    return totals.reshape(-1, K, K)


def _calibration_error(test: TestSet, values: Floats, by_chance: Floats) -> Interval:
    """Noise in a bin never cancels, so a resample's error lies above the sample's: hence the basic interval.

    Close to 0 that is still too short: an error that a perfectly calibrated model would often show has the low end 0.
    """
    found = test.resampler.interval(values, clusters=test.clusters, share=False, correct_bias=True)
    if found["low"] is not None and found["value"] <= np.quantile(by_chance, test.resampler.level):
        found["low"] = 0.0
    return found


def _accuracy_missed_as_wrong(test: TestSet, correct: Floats) -> Interval:
    """What a user sees who sends a picture: no face found is a wrong answer too. Tight crops cannot tell."""
    looked = np.concatenate([test.rows[~test.tight], test.missed])
    if not len(looked):
        return {"value": None, "low": None, "high": None, "reason": "tight crops only, no face was looked for"}
    hits = np.concatenate([(correct * ~test.unfound)[~test.tight], np.zeros(len(test.missed))])
    right, images = test.resampler.totals(np.stack([hits, np.ones(len(looked))], axis=1), looked).T
    return test.resampler.interval(metrics.ratio(right, images), clusters=test.resampler.clusters_in(looked))


def _per_class(test: TestSet, counts: Floats) -> dict[str, dict[str, Any]]:
    measured = {
        "precision": (metrics.precision(counts), "the class is never predicted"),
        "recall": (metrics.recall(counts), "the class does not occur"),
        "f1": (metrics.f1(counts), "the class does not occur"),
    }
    table: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(DEFAULT_CLASSES):
        clusters = test.resampler.clusters_in(test.rows[test.labels == index])
        table[name] = {
            metric: test.resampler.interval(values[:, index], clusters=clusters, reason=reason)
            for metric, (values, reason) in measured.items()
        }
        table[name]["support"] = int((test.labels == index).sum())
    return table


def _review(confidence: Floats, correct: Floats, threshold: float) -> dict[str, Any]:
    kept = confidence >= threshold
    return {
        "threshold": threshold,
        "share_flagged": float(1 - kept.mean()),
        "n_kept": int(kept.sum()),
        "accuracy_kept": float(correct[kept].mean()) if kept.any() else None,
    }


def _reliability(totals: Floats) -> list[dict[str, float | int]]:
    members, confidence, correct = (part.tolist() for part in np.split(totals, 3))
    return [
        {"n": int(n), "confidence": total / n, "accuracy": hits / n}
        for n, total, hits in zip(members, confidence, correct, strict=True)
        if n
    ]
