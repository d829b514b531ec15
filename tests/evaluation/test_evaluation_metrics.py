from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from ferops.evaluation import metrics

K = 6


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = rng.integers(K, size=300)
    probabilities = softmax(rng.normal(size=(300, K)) + 1.5 * metrics.one_hot(labels, K), axis=1)
    return labels, probabilities


def _counts(labels, predicted):
    return metrics.confusion_features(labels, predicted, K).sum(axis=0).reshape(K, K)


def test_counts_are_true_by_predicted(answers) -> None:
    labels, predicted = answers[0], answers[1].argmax(axis=1)
    np.testing.assert_array_equal(_counts(labels, predicted), sk.confusion_matrix(labels, predicted))


def test_metrics_agree_with_scikit_learn(answers) -> None:
    labels, probabilities = answers
    predicted = probabilities.argmax(axis=1)
    counts = _counts(labels, predicted)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(labels, predicted)
    assert metrics.accuracy(counts) == pytest.approx(sk.accuracy_score(labels, predicted))
    assert metrics.macro_f1(counts) == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert metrics.balanced_accuracy(counts) == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    np.testing.assert_allclose(metrics.precision(counts), precision)
    np.testing.assert_allclose(metrics.recall(counts), recall)
    np.testing.assert_allclose(metrics.f1(counts), f1)
    assert metrics.log_loss_rows(probabilities, labels).mean() == pytest.approx(sk.log_loss(labels, probabilities))
    brier = sk.brier_score_loss(labels, probabilities, labels=range(K), scale_by_half=False)
    assert metrics.brier_rows(probabilities, labels).mean() == pytest.approx(brier)


def test_metrics_work_on_stacks_of_counts(answers) -> None:
    counts = np.stack([_counts(answers[0], answers[1].argmax(axis=1)), np.eye(K)])
    assert metrics.macro_f1(counts)[1] == 1.0
    assert metrics.macro_f1(counts)[0] == metrics.macro_f1(counts[0])


def test_a_class_that_never_occurs_or_is_never_predicted() -> None:
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 0, 0])
    counts = _counts(labels, predicted)
    assert np.isnan(metrics.precision(counts)[1]), "never predicted"
    assert np.isnan(metrics.recall(counts)[2]), "never occurs"
    np.testing.assert_allclose(metrics.f1(counts)[:2], [2 * 1 / (2 + 3), 0.0])
    assert metrics.macro_f1(counts) == pytest.approx(0.2), "over the two classes that occur"
    assert metrics.balanced_accuracy(counts) == pytest.approx(0.25)
    assert np.isnan(metrics.accuracy(np.zeros((K, K))))


def _calibration_error(confidence, correct):
    bins = metrics.calibration_bins(confidence)
    return metrics.calibration_error(metrics.calibration_features(confidence, correct, bins).sum(axis=0))


@pytest.mark.parametrize(
    ("confidence", "right", "expected"),
    [
        ([0.8] * 100, 80, 0.0),  # as sure as it should be
        ([0.9] * 100, 60, 0.3),  # too sure
        ([0.5] * 100, 75, 0.25),  # not sure enough
    ],
)
def test_calibration_error_of_one_confidence(confidence, right, expected) -> None:
    correct = np.arange(100) < right
    assert _calibration_error(np.array(confidence), correct.astype(float)) == pytest.approx(expected)


def test_calibration_error_does_not_cancel_between_bins() -> None:
    confidence = np.repeat([0.6, 0.9], 20)  # 40 samples: two bins
    correct = np.concatenate([np.arange(20) < 18, np.arange(20) < 12]).astype(float)
    assert _calibration_error(confidence, correct) == pytest.approx(0.3), "0.3 under and 0.3 over, not 0"


def test_calibration_bins_hold_equal_numbers() -> None:
    confidence = np.random.default_rng(0).beta(8, 2, size=3000)
    assert np.bincount(metrics.calibration_bins(confidence)).tolist() == [200] * 15
    assert np.bincount(metrics.calibration_bins(confidence[:90])).tolist() in ([23, 22, 22, 23], [23, 22, 23, 22])
    assert metrics.calibration_bins(confidence[:3]).tolist() == [0, 0, 0]


def test_calibration_error_by_chance_is_that_of_drawn_outcomes() -> None:
    """One bin of 100 answers, all at 0.5: the mean of |hits / 100 - 0.5| under a fair coin."""
    from scipy import stats

    hits = np.arange(101)
    expected = (np.abs(hits / 100 - 0.5) * stats.binom.pmf(hits, 100, 0.5)).sum()
    drawn = metrics.calibration_error_by_chance(np.full(100, 0.5), np.zeros(100, int), seed=0, samples=4000)
    assert drawn.mean() == pytest.approx(expected, rel=0.05)
    assert drawn.std() > 0
