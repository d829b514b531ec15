"""One model's figures on the test split, and the paired difference between two models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferops.evaluation import metrics
from ferops.evaluation.bootstrap import Floats, Resampler
from ferops.evaluation.metrics import Indices
from ferops.records.metrics import CalibrationBin, Chance, ClassFigures, Difference, Figures, Interval, Review


@dataclass(frozen=True)
class TestSet:
    """Labelled test images: N with a face, and those without.

    Attributes:
        classes: K names.
        labels: `(N,)` indices of `classes`.
        rows: `(N,)` the faces' positions among all that `resampler` draws from.
        tight: `(N,)` the face is the whole image: none was looked for, so none could be missed.
        unfound: `(N,)` the face is the whole image since none was found in it: it is classified, but the service would
            have no face.
        missed: positions of the images that were left out without a face.
    """

    classes: tuple[str, ...]
    labels: Indices
    rows: Indices
    tight: NDArray[np.bool_]
    unfound: NDArray[np.bool_]
    missed: Indices
    resampler: Resampler

    __test__ = False  # not a pytest class

    @property
    def clusters(self) -> int:
        """How many clusters the faces come from."""
        return self.resampler.clusters_in(self.rows)

    def confusion(self, predicted: Indices, *, inside: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        """Return the confusion counts `(1 + B, K, K)` of the sample and of every resample, of the faces `inside`."""
        k = len(self.classes)
        features = metrics.confusion_features(self.labels[inside], predicted[inside], k)
        return self.resampler.totals(features, self.rows[inside]).reshape(-1, k, k)


@dataclass(frozen=True)
class Performance:
    """Figures of one model, with the resampled counts `(1 + B, K, K)` that paired comparisons need."""

    figures: Figures
    counts: Floats
    predicted: Indices


def performance(test: TestSet, probabilities: Floats, *, review_below: float) -> Performance:
    """Return all figures of a model that answers `probabilities` `(N, K)`.

    Args:
        review_below: answers with a confidence under this count as flagged for review by a person, 0-1.
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    correct = (predicted == test.labels).astype(np.float64)
    counts = test.confusion(predicted)
    bins = metrics.calibration_bins(confidence)
    calibration = test.resampler.totals(metrics.calibration_features(confidence, correct, bins), test.rows)
    by_chance = metrics.calibration_error_by_chance(confidence, bins, seed=test.resampler.seed)
    losses = [metrics.brier_rows(probabilities, test.labels), metrics.log_loss_rows(probabilities, test.labels)]
    brier, log_loss, n = test.resampler.totals(np.stack([*losses, np.ones(len(correct))], axis=1), test.rows).T

    def interval(values: Floats, *, share: bool = True) -> Interval:
        return test.resampler.interval(values, clusters=test.clusters, share=share)

    figures = Figures(
        classes=test.classes,
        accuracy=interval(metrics.accuracy(counts)),
        macro_f1=interval(metrics.macro_f1(counts)),
        balanced_accuracy=interval(metrics.balanced_accuracy(counts)),
        calibration_error=_calibration_error(test, metrics.calibration_error(calibration), by_chance),
        calibration_error_by_chance=float(by_chance.mean()),
        brier=interval(metrics.ratio(brier, n), share=False),
        log_loss=interval(metrics.ratio(log_loss, n), share=False),
        accuracy_missed_as_wrong=_accuracy_missed_as_wrong(test, correct),
        per_class=_per_class(test, counts),
        confusion=tuple(tuple(int(count) for count in row) for row in counts[0]),
        review=_review(confidence, correct, review_below),
        calibration_bins=_calibration_bins(calibration[0]),
    )
    return Performance(figures=figures, counts=counts, predicted=predicted)


def constant_answer(test: TestSet) -> tuple[Chance, Floats]:
    """Return the figures and the counts `(1 + B, K, K)` of the class that is most frequent among the faces."""
    k = len(test.classes)
    largest = int(np.bincount(test.labels, minlength=k).argmax())
    counts = test.confusion(np.full(len(test.labels), largest))
    chance = Chance(
        answer=test.classes[largest],
        accuracy=float(metrics.accuracy(counts)[0]),
        macro_f1=float(metrics.macro_f1(counts)[0]),
        uniform_accuracy=1 / k,
    )
    return chance, counts


def difference(test: TestSet, first: Floats, second: Floats) -> Difference:
    """Return accuracy and macro-F1 of the counts `first` minus `second`, paired: both on the same draws of clusters."""

    def minus(first: Floats, second: Floats) -> Interval:
        return test.resampler.interval(first - second, clusters=test.clusters, share=False)

    return Difference(
        accuracy=minus(metrics.accuracy(first), metrics.accuracy(second)),
        macro_f1=minus(metrics.macro_f1(first), metrics.macro_f1(second)),
    )


def _calibration_error(test: TestSet, values: Floats, by_chance: Floats) -> Interval:
    """Noise in a bin never cancels, so a resample's error lies above the sample's: hence the basic interval.

    Close to 0 that is still too short: an error that a perfectly calibrated model would often show has the low end 0.
    """
    found = test.resampler.interval(values, clusters=test.clusters, share=False, correct_bias=True)
    if found.low is not None and values[0] <= np.quantile(by_chance, test.resampler.level):
        return found.model_copy(update={"low": 0.0})
    return found


def _accuracy_missed_as_wrong(test: TestSet, correct: Floats) -> Interval:
    """What a user sees who sends an image: no face found is a wrong answer too. In tight crops nobody knows."""
    searched = np.concatenate([test.rows[~test.tight], test.missed])
    hits = np.concatenate([(correct * ~test.unfound)[~test.tight], np.zeros(len(test.missed))])
    right, images = test.resampler.totals(np.stack([hits, np.ones(len(searched))], axis=1), searched).T
    return test.resampler.interval(
        metrics.ratio(right, images),
        clusters=test.resampler.clusters_in(searched),
        reason="tight crops only, no face was looked for",
    )


def _per_class(test: TestSet, counts: Floats) -> dict[str, ClassFigures]:
    precision, recall, f1 = metrics.precision(counts), metrics.recall(counts), metrics.f1(counts)
    absent = "the class does not occur"
    table = {}
    for index, name in enumerate(test.classes):
        inside = test.labels == index
        clusters = test.resampler.clusters_in(test.rows[inside])
        interval = test.resampler.interval
        table[name] = ClassFigures(
            precision=interval(precision[:, index], clusters=clusters, reason="the class is never predicted"),
            recall=interval(recall[:, index], clusters=clusters, reason=absent),
            f1=interval(f1[:, index], clusters=clusters, reason=absent),
            support=int(inside.sum()),
        )
    return table


def _review(confidence: Floats, correct: Floats, threshold: float) -> Review:
    kept = confidence >= threshold
    return Review(
        threshold=threshold,
        share_flagged=float(1 - kept.mean()),
        n_kept=int(kept.sum()),
        accuracy_kept=float(correct[kept].mean()) if kept.any() else None,
    )


def _calibration_bins(totals: Floats) -> tuple[CalibrationBin, ...]:
    return tuple(
        CalibrationBin(n=int(n), confidence=confidence / n, accuracy=hits / n)
        for n, confidence, hits in zip(*np.split(totals, 3), strict=True)
        if n
    )
