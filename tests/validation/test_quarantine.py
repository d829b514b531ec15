from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.validation.quarantine import assign_outcomes, count_rows
from sample_images import quick_params

SETTINGS = quick_params(validation={"min_side_px": 40, "max_side_px": 100, "blank_std": 4.0}).validation


def _facts(*rows: dict[str, Any]) -> pd.DataFrame:
    """Rows that are fine but for what each dict says; every row its own image and cluster unless it names one."""
    fine = {"source": "here", "takes_part": True, "label": "sad", "usage": None, "width": 48, "height": 48}
    fine |= {"decodes": True, "grey_std": 50.0, "problem": None}
    facts = pd.DataFrame([fine | {"row": i, "pixel_hash": f"c{i}"} | row for i, row in enumerate(rows)])
    cluster = facts["cluster"] if "cluster" in facts else pd.Series(None, index=facts.index, dtype=object)
    return facts.assign(cluster=cluster.fillna(facts["pixel_hash"]))


def _reasons(*rows: dict[str, Any], **settings: Any) -> list[str]:
    """Each row's reason, or its outcome where it has none."""
    result = assign_outcomes(_facts(*rows), SETTINGS.model_copy(update=settings), DEFAULT_CLASSES)
    return [
        reason if isinstance(reason, str) else outcome
        for reason, outcome in result[["reason", "outcome"]].itertuples(index=False)
    ]


def _details(*rows: dict[str, Any], **settings: Any) -> pd.Series:
    return assign_outcomes(_facts(*rows), SETTINGS.model_copy(update=settings), DEFAULT_CLASSES)["detail"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "accepted"),
        ({"label": "neutral"}, "excluded"),
        ({"label": None}, "excluded"),
        ({"label": "calm"}, "unknown_label"),
        ({"decodes": False, "pixel_hash": None, "grey_std": float("nan"), "problem": "cut"}, "undecodable"),
        ({"width": 39}, "too_small"),
        ({"height": 40}, "accepted"),
        ({"height": 101}, "too_large"),
        ({"width": 100}, "accepted"),
        ({"grey_std": 3.99}, "blank"),
        ({"grey_std": 4.0}, "accepted"),
    ],
)
def test_one_row(row: dict[str, Any], reason: str) -> None:
    assert _reasons(row, {}) == [reason, "accepted"]


def test_a_quarantined_row_says_what_was_found_in_words() -> None:
    detail = assign_outcomes(_facts({"width": 30}, {"grey_std": 0.5}, {"label": "calm"}), SETTINGS, DEFAULT_CLASSES)[
        "detail"
    ]
    assert list(detail) == [
        "30x48 px, at least 40 wanted",
        "grey levels spread by 0.5, at least 4 wanted",
        "the label calm is not known",
    ]


def test_of_copies_the_training_one_stays_then_validation_then_the_first() -> None:
    same = {"pixel_hash": "x"}
    held = "exact_duplicate"
    assert _reasons({**same, "usage": "test"}, {**same, "usage": "train"}, {**same, "usage": "train"}) == [
        held,
        "accepted",
        held,
    ]
    assert _reasons({**same, "usage": "test"}, {**same, "usage": "val"}) == [held, "accepted"]
    assert _reasons({**same}, {**same, "usage": "test"}) == [held, "accepted"]
    assert _reasons({**same}, {**same, "source": "there"}) == ["accepted", held]


def test_a_copy_names_the_row_that_is_kept() -> None:
    result = assign_outcomes(
        _facts({}, {"pixel_hash": "x", "usage": "test"}, {"pixel_hash": "x", "usage": "train"}),
        SETTINGS,
        DEFAULT_CLASSES,
    )
    assert result["detail"][1] == "the same pixels as here row 2 (train), which is kept"


def test_a_copy_of_a_row_that_is_quarantined_for_another_reason_may_stay() -> None:
    assert _reasons({"pixel_hash": "x", "label": "calm"}, {"pixel_hash": "x"}) == ["unknown_label", "accepted"]


def test_copies_with_different_labels_all_go() -> None:
    rows = ({"pixel_hash": "x"}, {"pixel_hash": "x", "label": "fear"}, {"pixel_hash": "x"}, {})
    assert _reasons(*rows) == ["label_conflict"] * 3 + ["accepted"]
    assert _reasons(*rows, label_conflicts="keep") == ["accepted", "exact_duplicate", "exact_duplicate", "accepted"]
    detail = _details(*rows)
    assert detail[0] == "pixel-identical copies are labelled fear, sad"


def test_an_excluded_copy_is_evidence_of_a_conflict_but_a_null_label_is_not() -> None:
    assert _reasons({"pixel_hash": "x"}, {"pixel_hash": "x", "label": "neutral"}) == ["label_conflict", "excluded"]
    assert _reasons({"pixel_hash": "x"}, {"pixel_hash": "x", "label": None}) == ["accepted", "excluded"]


NEAR = {"cluster": "n"}


def test_altered_copies_stay_or_one_of_them_does() -> None:
    rows = ({**NEAR, "usage": "test"}, {**NEAR, "usage": "train"}, {**NEAR, "usage": "val"}, {})
    assert _reasons(*rows) == ["accepted"] * 4
    assert _reasons(*rows, near_duplicates="quarantine") == ["near_duplicate", "accepted", "near_duplicate", "accepted"]
    detail = assign_outcomes(
        _facts(*rows), SETTINGS.model_copy(update={"near_duplicates": "quarantine"}), DEFAULT_CLASSES
    )["detail"]
    assert detail[0] == "an altered copy of here row 1 (train), which is kept"


def test_altered_copies_with_different_labels_all_go() -> None:
    rows = (NEAR, {**NEAR, "label": "fear"}, NEAR, {})
    assert _reasons(*rows) == ["near_label_conflict"] * 3 + ["accepted"]
    assert _reasons(*rows, near_label_conflicts="keep") == ["accepted"] * 4
    assert _details(*rows)[0] == "altered copies are labelled fear, sad"
    assert _reasons(NEAR, {**NEAR, "label": "neutral"}) == ["near_label_conflict", "excluded"]
    assert _reasons(NEAR, {**NEAR, "label": None}) == ["accepted", "excluded"]


def test_a_conflict_of_equal_pixels_is_named_as_such_even_beside_an_altered_copy() -> None:
    same = {**NEAR, "pixel_hash": "x"}
    assert _reasons(same, {**same, "label": "fear"}, NEAR) == ["label_conflict"] * 2 + ["near_label_conflict"]
    assert _reasons(same, {**same, "label": "fear"}, label_conflicts="keep") == ["accepted", "exact_duplicate"]


def test_votes_against_a_face_quarantine_where_they_are_the_largest() -> None:
    votes = [(6, 4, 0), (5, 5, 0), (3, 2, 5), (float("nan"), float("nan"), float("nan"))]
    rows = [{"votes_not_a_face": n, "votes_sad": s, "votes_unknown": u} for n, s, u in votes]
    assert _reasons(*rows) == ["not_a_face", "accepted", "accepted", "accepted"]
    assert _reasons(*rows, not_a_face="keep") == ["accepted"] * 4
    assert _details(*rows)[0] == "6 of 10 votes: not a face"


def test_a_row_of_another_part_is_evidence_but_is_never_kept() -> None:
    elsewhere = {"pixel_hash": "x", "usage": "train", "takes_part": False}
    assert _reasons({"pixel_hash": "x"}, elsewhere) == ["accepted", "excluded"]
    assert _reasons({"pixel_hash": "x"}, elsewhere | {"label": "fear"}) == ["label_conflict", "excluded"]


def test_every_row_is_counted_once() -> None:
    elsewhere = {"usage": "test", "takes_part": False}
    facts = _facts(
        {},
        {"label": "happy"},
        {"label": "neutral"},
        {"label": None},
        {"width": 3},
        {"pixel_hash": "c0"},
        elsewhere,
        elsewhere | {"label": None},
    )
    found = count_rows(facts, assign_outcomes(facts, SETTINGS, DEFAULT_CLASSES), DEFAULT_CLASSES)
    assert found.as_json() == {
        "rows_in": 8,
        "excluded_by_usage": {"test": 2},
        "excluded": {"neutral": 1, "unlabelled": 1},
        "accepted": 2,
        "quarantined": {"too_small": 1, "exact_duplicate": 1},
        "class_counts_in": {"anger": 0, "disgust": 0, "fear": 0, "happy": 1, "sad": 3, "surprised": 0},
        "class_counts": {"anger": 0, "disgust": 0, "fear": 0, "happy": 1, "sad": 1, "surprised": 0},
    }
