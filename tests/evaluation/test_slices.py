from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, count
from sklearn.metrics import accuracy_score, f1_score

from ferops.classes import DEFAULT_CLASSES
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.metrics import one_hot
from ferops.evaluation.performance import TestSet, performance
from ferops.evaluation.slice_names import slice_name
from ferops.evaluation.slices import measure_slices, worst_slices

K = len(DEFAULT_CLASSES)


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    n = 300
    faces = pd.DataFrame(
        {
            "source": rng.choice(["one", "two"], size=n),
            "group_glasses": rng.choice(np.array(["yes", "no", None], dtype=object), size=n),
            "group_type": "type 1",
            "brightness": rng.uniform(0, 255, size=n),
            "yaw_degrees": np.where(np.arange(n) < 30, np.nan, rng.normal(0, 15, size=n)),
        }
    )
    missed = pd.DataFrame(
        {
            "source": ["one"] * 5,
            "group_glasses": ["yes", "yes", "no", "never seen", None],
            "group_type": ["type 1"] * 4 + [None],
        }
    )
    labels = rng.integers(K, size=n)
    failing = (faces["group_glasses"] == "yes").to_numpy() & (rng.random(n) < 0.5)
    predicted = np.where(failing, (labels + 1) % K, labels)
    resampler = Resampler(rng.integers(60, size=n), samples=300, seed=0, level=0.95)
    test = TestSet(
        classes=DEFAULT_CLASSES,
        labels=labels,
        rows=np.arange(n),
        tight=np.zeros(n, dtype=bool),
        unfound=np.zeros(n, dtype=bool),
        missed=np.arange(0),
        resampler=resampler,
    )
    whole = performance(test, one_hot(predicted, K), review_below=0.5)
    columns, found = measure_slices(test, whole, faces, missed, min_samples=95)
    return faces, labels, predicted, columns, found


def _entry(found, column, value):
    (entry,) = [one for one in found if (one.column, one.value) == (column, value)]
    return entry


def test_figures_of_a_slice(case) -> None:
    faces, labels, predicted, _, found = case
    inside = (faces["group_glasses"] == "yes").to_numpy()
    entry = _entry(found, "group_glasses", "yes")
    hits = (labels == predicted)[inside]
    assert entry.n == inside.sum()
    assert entry.accuracy.value == pytest.approx(hits.mean())
    assert entry.macro_f1.value == pytest.approx(f1_score(labels[inside], predicted[inside], average="macro"))
    gap = entry.accuracy_minus_whole
    assert gap.value == pytest.approx(hits.mean() - (labels == predicted).mean())
    assert gap.low < gap.value < gap.high < 0


def test_every_slice_agrees_with_fairlearn(case) -> None:
    faces, labels, predicted, _, found = case
    known = faces["group_glasses"].notna().to_numpy()
    frame = MetricFrame(
        metrics={"n": count, "accuracy": accuracy_score, "macro_f1": lambda y, p: f1_score(y, p, average="macro")},
        y_true=labels[known],
        y_pred=predicted[known],
        sensitive_features=faces["group_glasses"][known],
    )
    for value, expected in frame.by_group.iterrows():
        entry = _entry(found, "group_glasses", value)
        measured = (entry.n, entry.accuracy.value, entry.macro_f1.value)
        assert measured == pytest.approx((expected["n"], expected["accuracy"], expected["macro_f1"]))


def test_the_worst_slice_is_named(case) -> None:
    faces, found = case[0], case[4]
    worst = worst_slices(found)
    assert (worst[0].column, worst[0].value) == ("group_glasses", "yes")
    small = {(one.column, one.value) for one in found if one.small}
    assert small == {("group_glasses", "never seen")} | {
        ("yaw_degrees", one.value) for one in found if one.column == "yaw_degrees"
    } | {("group_glasses", value) for value in ("yes", "no") if (faces["group_glasses"] == value).sum() < 95}
    assert not small & {(one.column, one.value) for one in worst}


def test_every_known_row_is_in_one_slice_of_each_column(case) -> None:
    faces, found = case[0], case[4]
    columns = {one.column: one for one in case[3]}
    assert list(columns) == ["source", "group_glasses", "brightness", "yaw_degrees"], "group_type has one value"
    for name, column in columns.items():
        members = [one.n for one in found if one.column == name]
        assert sum(members) == column.n == faces[name].notna().sum()
        assert column.missing == faces[name].isna().sum()


def test_conditions_are_cut_in_thirds_in_order(case) -> None:
    faces, found = case[0], case[4]
    yaw = [one for one in found if one.column == "yaw_degrees"]
    assert [one.n for one in yaw] == [90, 90, 90]
    low, high = next(one.bounds for one in case[3] if one.column == "yaw_degrees")
    assert [low, high] == pytest.approx(np.nanquantile(faces["yaw_degrees"].abs(), [1 / 3, 2 / 3]))
    assert [one.value for one in yaw] == [f"below {low:.3g}", f"{low:.3g} to {high:.3g}", f"{high:.3g} and up"]


def test_perfect_slices_still_have_an_interval(case) -> None:
    entry = _entry(case[4], "group_glasses", "no")
    assert entry.accuracy.value == entry.accuracy.high == 1.0
    assert 0.8 < entry.accuracy.low < 1.0


def test_images_without_a_face_are_counted_by_people_and_source(case) -> None:
    lost = {(one.column, one.value): one.n_no_face for one in case[4]}
    assert lost["group_glasses", "yes"] == 2
    assert lost["group_glasses", "no"] == 1
    assert (lost["source", "one"], lost["source", "two"]) == (5, 0)
    assert {count for (column, _), count in lost.items() if column in {"brightness", "yaw_degrees"}} == {None}


def test_a_group_in_which_every_face_was_missed_has_a_slice(case) -> None:
    entry = _entry(case[4], "group_glasses", "never seen")
    assert (entry.n, entry.n_no_face, entry.clusters, entry.small) == (0, 1, 0, True)
    for figure in ("accuracy", "macro_f1", "accuracy_minus_whole"):
        assert getattr(entry, figure).value is None
        assert "no face was found" in getattr(entry, figure).reason


def test_a_missed_value_makes_a_cut_of_a_column_with_one_value_or_none() -> None:
    labels = np.arange(K)
    faces = pd.DataFrame({"source": "one", "group_tone": "light", "group_age": [None] * K, "group_type": "a"})
    missed = pd.DataFrame({"source": ["two"], "group_tone": ["dark"], "group_age": ["old"], "group_type": ["a"]})
    test = TestSet(
        classes=DEFAULT_CLASSES,
        labels=labels,
        rows=labels,
        tight=np.zeros(K, dtype=bool),
        unfound=np.zeros(K, dtype=bool),
        missed=np.array([K]),
        resampler=Resampler(range(K + 1), samples=50, seed=0, level=0.95),
    )
    whole = performance(test, one_hot(labels, K), review_below=0.5)
    _, found = measure_slices(test, whole, faces, missed, min_samples=1)
    sizes = {(one.column, one.value): (one.n, one.n_no_face) for one in found}
    assert sizes == {
        ("source", "one"): (K, 0),
        ("source", "two"): (0, 1),
        ("group_age", "old"): (0, 1),
        ("group_tone", "dark"): (0, 1),
        ("group_tone", "light"): (K, 0),
    }


def test_a_slice_is_named_in_words(case) -> None:
    found = case[-1]
    people, source = (next(one for one in found if one.kind == kind) for kind in ("people", "source"))
    assert (
        slice_name(people.model_copy(update={"column": "group_skin_tone", "value": "monk_05"})) == "Skin tone: monk 05"
    )
    assert slice_name(source.model_copy(update={"value": "rafdb_basic"})) == "Source: rafdb_basic"
