from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from ferops.classes import DEFAULT_CLASSES
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.metrics import one_hot
from ferops.evaluation.performance import TestSet, constant_answer, difference, performance
from ferops.records.metrics import Review

K = len(DEFAULT_CLASSES)


def _test_set(labels, *, clusters=None, missed=0, tight=0, unfound=0, seed=0):
    n = len(labels)
    clusters = list(range(n + missed)) if clusters is None else clusters
    resampler = Resampler(clusters, samples=400, seed=seed, level=0.95)
    return TestSet(
        classes=DEFAULT_CLASSES,
        labels=labels,
        rows=np.arange(n),
        tight=np.arange(n) < tight,
        unfound=np.arange(n) >= n - unfound,
        missed=np.arange(n, n + missed),
        resampler=resampler,
    )


def _sure_of(answers, confidence=0.9):
    return one_hot(answers, K) * (confidence - (1 - confidence) / (K - 1)) + (1 - confidence) / (K - 1)


def _width(interval):
    return interval.high - interval.low


def test_a_paired_comparison_is_sharper_than_two_intervals() -> None:
    """Two models that differ on 4 of 200 faces: each is uncertain, their difference hardly is."""
    rng = np.random.default_rng(0)
    labels = rng.integers(K, size=200)
    answers = np.where(rng.random(200) < 0.6, labels, (labels + 1) % K)
    better = answers.copy()
    mended = np.flatnonzero(answers != labels)[:4]
    better[mended] = labels[mended]
    test = _test_set(labels)
    first, second = (performance(test, _sure_of(given), review_below=0.5) for given in (better, answers))

    paired = difference(test, first.counts, second.counts).accuracy

    unpaired = np.hypot(_width(first.figures.accuracy), _width(second.figures.accuracy))
    assert paired.value == pytest.approx(4 / 200)
    assert paired.low >= 0.0
    assert _width(paired) < unpaired / 3


def test_faces_that_were_missed_count_as_wrong() -> None:
    labels = np.tile(np.arange(K), 10)
    test = _test_set(labels, missed=20)
    figures = performance(test, _sure_of(labels), review_below=0.5).figures
    assert figures.accuracy.value == 1.0
    assert figures.accuracy_missed_as_wrong.value == pytest.approx(60 / 80)
    assert figures.accuracy_missed_as_wrong.low < 0.75 < figures.accuracy_missed_as_wrong.high


def test_tight_crops_say_nothing_about_missed_faces() -> None:
    """60 faces of which the first 30 are tight crops, all answered right, and 20 images without a face."""
    labels = np.tile(np.arange(K), 10)
    answers = np.where(np.arange(60) < 30, labels, (labels + (np.arange(60) % 2)) % K)
    figures = performance(_test_set(labels, missed=20, tight=30), _sure_of(answers), review_below=0.5).figures
    assert figures.accuracy.value == pytest.approx(45 / 60)
    assert figures.accuracy_missed_as_wrong.value == pytest.approx(15 / 50)


def test_an_image_judged_whole_for_want_of_a_face_is_a_missed_face_too() -> None:
    """The service would answer `no_face` in the last 12 of 60, however well they are classified whole."""
    labels = np.tile(np.arange(K), 10)
    figures = performance(
        _test_set(labels, missed=20, tight=30, unfound=12), _sure_of(labels), review_below=0.5
    ).figures
    assert figures.accuracy.value == 1.0
    assert figures.accuracy_missed_as_wrong.value == pytest.approx((60 - 30 - 12) / (60 - 30 + 20))


def test_where_no_face_was_looked_for_none_was_missed() -> None:
    labels = np.tile(np.arange(K), 10)
    missed = performance(
        _test_set(labels, tight=60), _sure_of(labels), review_below=0.5
    ).figures.accuracy_missed_as_wrong
    assert missed.value is missed.low is missed.high is None
    assert "no face was looked for" in missed.reason


def test_chance_is_the_most_frequent_class() -> None:
    labels = np.repeat(np.arange(K), [10, 5, 5, 20, 5, 5])
    figures, _ = constant_answer(_test_set(labels))
    assert figures.answer == "happy"
    assert figures.accuracy == pytest.approx(20 / 50)
    assert figures.macro_f1 == pytest.approx((2 * 20 / (20 + 50)) / K)
    assert figures.uniform_accuracy == pytest.approx(1 / 6)


def test_review_keeps_the_sure_answers() -> None:
    labels = np.zeros(100, dtype=int)
    sure = np.arange(100) < 70
    probabilities = np.where(sure[:, None], _sure_of(labels, 0.8), _sure_of(labels + 1, 0.4))
    review = performance(_test_set(labels), probabilities, review_below=0.5).figures.review
    assert review.share_flagged == pytest.approx(0.3)
    assert review == Review(threshold=0.5, share_flagged=review.share_flagged, n_kept=70, accuracy_kept=1.0)
    nothing = performance(_test_set(labels), probabilities, review_below=0.95).figures.review
    assert nothing.accuracy_kept is None


def test_a_class_without_test_faces_is_null_with_a_reason() -> None:
    labels = np.tile([0, 1, 2, 3, 4], 12)  # nobody is surprised
    figures = performance(_test_set(labels), _sure_of(labels), review_below=0.5).figures
    recall = figures.per_class["surprised"].recall
    assert recall.value is None
    assert recall.reason == "the class does not occur"
    assert figures.per_class["surprised"].support == 0
    assert figures.macro_f1.value == 1.0


def test_the_calibration_interval_holds_a_small_error_and_a_large_one() -> None:
    """Labels drawn from the probabilities themselves: the truth is 0. Sharpened logits: it is far from 0."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(1500, K)) * 1.5
    probabilities = softmax(logits, axis=1)
    labels = (probabilities.cumsum(axis=1) > rng.random((1500, 1))).argmax(axis=1)
    test = _test_set(labels)
    calibrated = performance(test, probabilities, review_below=0.5).figures.calibration_error
    sharpened = performance(test, softmax(3 * logits, axis=1), review_below=0.5).figures.calibration_error
    confidence = softmax(3 * logits, axis=1).max(axis=1)
    truth = np.abs(confidence.mean() - probabilities[range(1500), logits.argmax(axis=1)].mean())
    assert calibrated.low == 0.0
    assert calibrated.high < 1.15 * calibrated.value, "not the inflated errors of the resamples"
    assert calibrated.value < 0.05
    assert sharpened.low < truth < sharpened.high
    assert sharpened.low > calibrated.high
