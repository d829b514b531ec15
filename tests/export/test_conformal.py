from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.performance import TestSet
from ferops.evaluation.sets import measure_sets
from ferops.export.conformal import label_sets, set_threshold


def test_the_threshold_by_hand() -> None:
    true = np.array([0.9, 0.2, 0.6, 0.7, 0.5, 0.8, 0.3, 0.4, 0.95], np.float32)
    probabilities = np.stack([true, 1 - true], axis=1)
    labels = np.zeros(9, np.int64)
    # (9 + 1) * 0.8 = 8: the 8th largest of the nine
    assert set_threshold(probabilities, labels, 0.8) == pytest.approx(0.3)
    assert set_threshold(probabilities, labels, 0.9) == pytest.approx(0.2)
    assert set_threshold(probabilities, labels, 0.95) == 0.0  # nine faces cannot promise so much


def draw(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    labels = rng.integers(5, size=n)
    logits = rng.normal(size=(n, 5)) + 1.5 * np.eye(5)[labels]
    return softmax(3 * logits, axis=1).astype(np.float32), labels  # overconfident


def test_sets_hold_the_label_as_often_as_promised_whatever_the_probabilities_are_worth() -> None:
    rng = np.random.default_rng(2)
    held = []
    for _ in range(200):
        threshold = set_threshold(*draw(rng, 150), 0.9)
        probabilities, labels = draw(rng, 150)
        held.append(label_sets(probabilities, threshold)[np.arange(150), labels].mean())
    # The mean over draws lies between 0.9 and 0.9 + 1/151; its standard error is 0.0025
    assert 0.893 < np.mean(held) < 0.916


def test_coverage_and_size_are_measured_with_intervals() -> None:
    probabilities, labels = draw(np.random.default_rng(3), 120)
    none = np.zeros(120, dtype=bool)
    draws = Resampler(list(range(120)), samples=100, seed=1, level=0.95)
    test = TestSet(tuple("abcde"), labels, np.arange(120), none, none, np.array([], dtype=np.intp), draws)
    found = measure_sets(test, probabilities.astype(np.float64), threshold=0.2, wanted=0.9)
    expected = [set(np.flatnonzero(row >= 0.2)) | {int(row.argmax())} for row in probabilities]
    assert found.coverage.value == pytest.approx(np.mean([a in b for a, b in zip(labels, expected, strict=True)]))
    assert found.mean_size.value == pytest.approx(np.mean([len(each) for each in expected]))
    assert found.sizes[0] == sum(len(each) == 1 for each in expected)
    assert sum(found.sizes) == 120
    assert found.coverage.low is not None
    of_a = [0 in each for each, label in zip(expected, labels, strict=True) if label == 0]
    assert found.by_class["a"].value == pytest.approx(np.mean(of_a))
