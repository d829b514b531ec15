from __future__ import annotations

import numpy as np
import pytest

from ferops import config
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Evaluate
from ferops.errors import FeropsError
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.decision import decision, shift
from ferops.evaluation.performance import TestSet
from sample_images import quick_params, quick_tree

CLASSES = ("calm", "afraid")


def test_set(labels: list[int]) -> TestSet:
    n = len(labels)
    none = np.zeros(n, dtype=bool)
    resampler = Resampler(list(range(n)), samples=100, seed=1, level=0.95)
    return TestSet(CLASSES, np.array(labels), np.arange(n), none, none, np.array([], dtype=np.intp), resampler)


test_set.__test__ = False  # type: ignore[attr-defined]


def settings(**blocks: object) -> Evaluate:
    return quick_params().evaluate.model_copy(update=blocks)


def test_a_dear_error_changes_the_answer_and_the_cost() -> None:
    probabilities = np.array([[0.7, 0.3]] * 3 + [[0.9, 0.1]] * 7)
    test = test_set([1, 0, 0] + [0] * 7)
    found = decision(test, probabilities, settings(costs={"afraid": {"calm": 5.0}}), learnt=np.array([0.5, 0.5]))
    # The likeliest is always calm: one error of 5. `afraid` costs 0.7 < 5 * 0.3 at p 0.3, and 0.9 > 5 * 0.1 at p 0.1
    assert found.cost_of_likeliest.value == pytest.approx(0.5)
    assert found.cost.value == pytest.approx(0.2)
    assert found.saved.value == pytest.approx(0.3)
    assert found.changed_share == pytest.approx(0.3)
    assert found.cost.low is not None


def test_other_frequencies_move_probabilities_and_weigh_errors() -> None:
    # Bayes by hand: 0.6 * 0.1 / 0.5 = 0.12 against 0.4 * 0.9 / 0.5 = 0.72
    moved = shift(np.array([[0.6, 0.4]]), np.array([0.1, 0.9]), np.array([0.5, 0.5]))
    assert moved == pytest.approx(np.array([[0.12 / 0.84, 0.72 / 0.84]]))
    probabilities = np.array([[0.6, 0.4]] * 4)
    found = decision(
        test_set([0, 0, 0, 1]),
        probabilities,
        settings(priors={"calm": 0.1, "afraid": 0.9}),
        learnt=np.array([0.5, 0.5]),
    )
    assert found.cost_of_likeliest.value == pytest.approx(0.9)  # every afraid face is an error, and they are 90 %
    assert found.cost.value == pytest.approx(0.1)


def test_a_class_without_a_test_face_has_no_cost() -> None:
    found = decision(
        test_set([0, 0]),
        np.array([[0.6, 0.4]] * 2),
        settings(priors={"calm": 0.5, "afraid": 0.5}),
        learnt=np.array([0.5, 0.5]),
    )
    assert (found.cost.value, found.cost.reason) == (None, "a class of evaluate.priors has no test face")


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        ({"costs": {"bored": {"sad": 2.0}}}, "name bored, not in data.classes"),
        ({"priors": {"happy": 1.0}}, "priors lacks anger"),
        ({"priors": dict.fromkeys(DEFAULT_CLASSES, 0.1)}, "priors sum to 0.6"),
    ],
)
def test_settings_that_contradict_the_classes(evaluate: dict[str, object], message: str) -> None:
    tree = quick_tree()
    tree["evaluate"] |= evaluate
    with pytest.raises(FeropsError, match=message):
        config.parse(tree)
