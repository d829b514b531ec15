from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from evaluation_project import build, change_index
from ferops.evaluation.annotators import against_the_rest, measure_annotators
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.limits import ceiling
from ferops.evaluation.performance import TestSet

CLASSES = ("calm", "afraid", "glad")


def labelled(labels: list[int]) -> TestSet:
    n = len(labels)
    none = np.zeros(n, dtype=bool)
    resampler = Resampler(list(range(n)), samples=100, seed=1, level=0.95)
    return TestSet(CLASSES, np.array(labels), np.arange(n), none, none, np.array([], dtype=np.intp), resampler)


def table(*rows: list[int | None], columns: tuple[str, ...] = CLASSES) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[f"votes_{name}" for name in columns])


def _by_hand(votes: list[int], answer: int) -> tuple[float, float]:
    """Take each annotator out in turn, and count the votes that are left."""
    people = [name for name, count in enumerate(votes) for _ in range(count)]
    one = model = 0.0
    for place, vote in enumerate(people):
        rest = people[:place] + people[place + 1 :]
        most = max(rest.count(name) for name in range(len(votes)))
        winners = [name for name in range(len(votes)) if rest.count(name) == most]
        one += (vote in winners) / len(winners)
        model += (answer in winners) / len(winners)
    return one / len(people), model / len(people)


def test_each_annotator_in_turn_is_judged_by_the_others() -> None:
    votes = [list(each) for each in itertools.product(range(4), repeat=3) if sum(each) >= 2]
    for answer in range(3):
        one, model = against_the_rest(np.array(votes, dtype=float), np.full(len(votes), answer))
        expected = [_by_hand(each, answer) for each in votes]
        assert np.stack([one, model], axis=1) == pytest.approx(np.array(expected))


def test_people_and_model_stand_beside_each_other() -> None:
    test = labelled([0, 0, 1, 2])
    index = table([3, 1, 0], [1, 3, 0], [0, 4, 0], [None, None, None])
    found = measure_annotators(test, np.array([0, 1, 1, 0]), index)
    assert found is not None
    assert (found.n, found.votes_per_face, found.other_votes) == (3, 4.0, 0.0)
    assert found.label.annotator.value == pytest.approx((0.75 + 0.25 + 1) / 3)
    assert found.label.candidate.value == pytest.approx(2 / 3)
    # 3 of 4 agree with the two others of their kind; the fourth never: 0.75, 0.75 and 1
    assert found.majority.annotator.value == pytest.approx(2.5 / 3)
    assert found.majority.candidate.value == pytest.approx(1.0)
    assert found.majority.candidate_minus_annotator.value == pytest.approx(0.5 / 3)
    assert found.confusion == ((1.0, 1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0))
    (pair,) = found.pairs
    assert (pair.label, pair.answer, pair.n) == ("calm", "afraid", 1)
    assert (pair.candidate.value, pair.annotator.value) == (0.5, 0.5)
    assert (found.mistakes, found.mistakes_of_one, found.mistakes_of_most) == (1, 1.0, 1.0)


def test_votes_for_other_answers_are_counted_and_left_out() -> None:
    index = table([3, 1, 0, 4], [2, 0, 0, 0], [1, 0, 0, 5], columns=(*CLASSES, "unknown"))
    found = measure_annotators(labelled([0, 0, 0]), np.array([0, 0, 0]), index)
    assert found is not None
    assert found.n == 2, "the third face has one vote for the classes: nobody to compare it with"
    assert found.other_votes == pytest.approx(4 / 10)
    assert found.label.annotator.value == pytest.approx((0.75 + 1) / 2)
    assert (found.mistakes, found.mistakes_of_one) == (0, None)


def test_without_votes_there_is_nothing_to_say() -> None:
    assert measure_annotators(labelled([0]), np.array([0]), table([None, None, None])) is None
    assert measure_annotators(labelled([0]), np.array([0]), pd.DataFrame({"label": ["calm"]})) is None


def test_report_and_card_have_the_label_ceiling(tmp_path) -> None:
    made = build(tmp_path, n_test=60, no_face=0)

    def vote(index: pd.DataFrame) -> pd.DataFrame:
        classes = made.params.data.classes
        hot = np.array(index["label"].to_numpy()[:, None] == np.array(classes), dtype=int)
        cast = 7 * hot + 3 * np.roll(hot, 1, axis=1)
        return index.assign(**{f"votes_{name}": cast[:, column] for column, name in enumerate(classes)})

    change_index(made, vote)
    made.evaluate()
    found = made.metrics.annotators
    assert found is not None
    assert found.label.annotator.value == pytest.approx(0.7)
    assert found.majority.annotator.value == pytest.approx(0.7), "the seven still lead when one of them is taken out"
    assert found.label.candidate.value == made.metrics.candidate.accuracy.value
    folder = made.layout.reports("evaluate")
    sentence = ceiling(made.metrics)
    assert "70.0" in sentence
    assert sentence in (folder / "report.html").read_text()
    assert sentence in (folder / "model_card.md").read_text()


def test_the_report_without_votes_does_not_mention_them(project) -> None:
    folder = project.layout.reports("evaluate")
    assert "annotator gives" not in (folder / "report.html").read_text()
    assert "annotator gives" not in (folder / "model_card.md").read_text()
