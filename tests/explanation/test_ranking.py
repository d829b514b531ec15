"""What is kept when the least sure answers go to a person, and how each class is ranked."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ferops.evaluation.bootstrap import Resampler
from ferops.explanation import ranking


def rows(n: int, *, samples: int = 200) -> Resampler:
    return Resampler(range(n), samples=samples, seed=1, level=0.95)


def test_the_surest_answers_are_kept_first() -> None:
    confidence = np.linspace(0.99, 0.51, 20)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.where(np.arange(20) >= 18, 1, 0)  # the two least sure are wrong
    found, risk = ranking.selection(probabilities, labels, rows(20))
    assert [one.accuracy.value for one in found.at] == pytest.approx([1.0, 1.0, 18 / 19])
    assert found.at[1].confidence == pytest.approx(confidence[17])
    assert risk[17] == 0
    assert risk[-1] == pytest.approx(0.1)
    assert found.area == pytest.approx(found.area_best)
    assert found.area_random == pytest.approx(0.1)


def test_sure_mistakes_cost_more_than_unsure_ones() -> None:
    confidence = np.linspace(0.99, 0.51, 20)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    found, _ = ranking.selection(probabilities, np.where(np.arange(20) < 2, 1, 0), rows(20))
    assert found.area > 2 * found.area_random > found.area_best


def test_areas_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 90)
    probabilities = rng.dirichlet(np.ones(3), 90).round(1)  # with equal scores
    probabilities[np.arange(90), labels] += 0.3
    drawn = rows(90, samples=100)
    weights = drawn.weights[:, drawn.codes]
    for index in range(3):
        truth, scores = labels == index, probabilities[:, index]
        precision, area = ranking._areas(truth, scores, weights)
        for draw in (0, 1, 50):
            known = {"sample_weight": weights[draw].astype(float)}
            assert precision[draw] == pytest.approx(average_precision_score(truth, scores, **known))
            assert area[draw] == pytest.approx(roc_auc_score(truth, scores, **known))


def test_a_class_without_a_face_has_no_figure() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]] * 5)
    found = ranking.rankings(probabilities, np.array([0, 1] * 5), ("anger", "fear", "happy"), rows(10))
    assert found["anger"].average_precision.value == found["anger"].roc_area.value == 1.0
    assert found["happy"].average_precision.value is None
    assert found["happy"].average_precision.reason == "the class does not occur"
    assert found["happy"].share == 0
