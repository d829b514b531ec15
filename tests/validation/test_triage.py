from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from ferops.validation.triage import counts, duplicate_counts, triage
from pictures import quick_params

SETTINGS = quick_params(validation={"min_side_px": 40, "max_side_px": 100, "blank_std": 4.0}).validation


def _facts(*rows: dict[str, Any]) -> pd.DataFrame:
    """Rows that are fine but for what each dict says; every row its own cluster unless it names one."""
    fine = {"source": "here", "label": "sad", "usage": None, "width": 48, "height": 48}
    fine |= {"decodes": True, "grey_std": 50.0, "problem": None}
    return pd.DataFrame([fine | {"row": i, "cluster": f"c{i}"} | row for i, row in enumerate(rows)])


def _reasons(*rows: dict[str, Any], **settings: Any) -> list[str]:
    """Each row's reason, or its outcome where it has none."""
    result = triage(_facts(*rows), SETTINGS.model_copy(update=settings))
    return [
        reason if isinstance(reason, str) else outcome
        for reason, outcome in result[["reason", "outcome"]].itertuples(index=False)
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "accepted"),
        ({"label": "neutral"}, "excluded"),
        ({"label": None}, "excluded"),
        ({"label": "joy"}, "unknown_label"),
        ({"decodes": False, "cluster": None, "grey_std": float("nan"), "problem": "cut"}, "undecodable"),
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


def test_a_held_row_says_what_was_found_in_words() -> None:
    detail = triage(_facts({"width": 30}, {"grey_std": 0.5}, {"label": "joy"}), SETTINGS)["detail"]
    assert list(detail) == [
        "30x48 px, at least 40 wanted",
        "grey levels spread by 0.5, at least 4 wanted",
        "label joy is none that ferops knows",
    ]


def test_of_copies_the_training_one_stays_then_validation_then_the_first() -> None:
    same = {"cluster": "x"}
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
    result = triage(_facts({}, {"cluster": "x", "usage": "test"}, {"cluster": "x", "usage": "train"}), SETTINGS)
    assert result["detail"][1] == "the same pixels as here row 2 (train), which is kept"


def test_a_copy_of_a_row_that_is_held_for_another_reason_may_stay() -> None:
    assert _reasons({"cluster": "x", "label": "joy"}, {"cluster": "x"}) == ["unknown_label", "accepted"]


def test_copies_that_disagree_on_the_label_all_go() -> None:
    rows = ({"cluster": "x"}, {"cluster": "x", "label": "fear"}, {"cluster": "x"}, {})
    assert _reasons(*rows) == ["label_conflict"] * 3 + ["accepted"]
    assert _reasons(*rows, label_conflicts="keep") == ["accepted", "exact_duplicate", "exact_duplicate", "accepted"]
    detail = triage(_facts(*rows), SETTINGS)["detail"]
    assert detail[0] == "pixel-identical copies are labelled fear, sad"


def test_an_excluded_copy_is_evidence_of_a_conflict_but_a_null_label_is_not() -> None:
    assert _reasons({"cluster": "x"}, {"cluster": "x", "label": "neutral"}) == ["label_conflict", "excluded"]
    assert _reasons({"cluster": "x"}, {"cluster": "x", "label": None}) == ["accepted", "excluded"]


def test_duplicates_are_counted_as_published() -> None:
    facts = _facts(
        {"cluster": "x", "usage": "train"},
        {"cluster": "x", "usage": "test"},
        {"cluster": "x", "usage": "test", "label": "fear"},
        {"cluster": "y", "label": "neutral", "usage": "train"},
        {"cluster": "y", "label": "neutral", "usage": "train"},
        {"cluster": None, "decodes": False},
        {},
    )
    assert duplicate_counts(facts) == {
        "exact_duplicate_groups": 2,
        "exact_duplicate_surplus": 3,
        "label_conflict_groups": 1,
        "cross_usage_duplicate_groups": 1,
    }


def test_every_row_is_counted_once() -> None:
    facts = _facts({}, {"label": "happy"}, {"label": "neutral"}, {"label": None}, {"width": 3}, {"cluster": "c0"})
    found = counts(facts, triage(facts, SETTINGS))
    assert found == {
        "rows_in": 6,
        "excluded": {"neutral": 1, "unlabelled": 1},
        "accepted": 2,
        "quarantined": {"too_small": 1, "exact_duplicate": 1},
        "class_counts": {"anger": 0, "disgust": 0, "fear": 0, "happy": 1, "sad": 1, "surprised": 0},
    }
