from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferops.validation import duplicates
from ferops.validation.duplicates import (
    SAME_PERSON_SIMILARITY,
    cluster_names,
    describe_pairs,
    duplicate_counts,
    find_near_duplicates,
)
from sample_images import quick_params

SETTINGS = quick_params(validation={"min_side_px": 40, "max_side_px": 100, "blank_std": 4.0}).validation


def _pairs(ends: Iterable[tuple[int, int]]) -> pd.DataFrame:
    a, b = np.array(list(ends), dtype=np.int64).reshape(-1, 2).T
    return pd.DataFrame({"a": a, "b": b, "similarity": 0.95, "mirrored": False})


def _facts(*rows: dict[str, Any], near: Iterable[tuple[int, int]] = ()) -> pd.DataFrame:
    fine = {
        "source": "here",
        "label": "sad",
        "subject": None,
        "usage": None,
        "width": 48,
        "height": 48,
        "grey_std": 50.0,
    }
    facts = pd.DataFrame([fine | {"row": i, "pixel_hash": f"c{i}"} | row for i, row in enumerate(rows)])
    facts["image_id"] = [f"id{i}" for i in facts.index]
    return facts.assign(cluster=cluster_names(facts["pixel_hash"], _pairs(near)))


def _reachable(hashes: list[str | None], ends: set[tuple[int, int]]) -> list[set[int]]:
    """Per row the rows that can be reached from it, found by walking."""
    reached = []
    for start in range(len(hashes)):
        seen, waiting = {start}, [start]
        while waiting:
            here = waiting.pop()
            ties = {j for j, value in enumerate(hashes) if value is not None and value == hashes[here]}
            ties |= {b for a, b in ends if a == here} | {a for a, b in ends if b == here}
            waiting += ties - seen
            seen |= ties
        reached.append(seen)
    return reached


@given(data=st.data(), hashes=st.lists(st.sampled_from(["k", "b", "z", "a", "m", "f", None]), min_size=1, max_size=12))
def test_a_cluster_is_what_equal_pixels_and_pairs_connect(data: st.DataObject, hashes: list[str | None]) -> None:
    known = [i for i, value in enumerate(hashes) if value is not None]
    ends = data.draw(st.sets(st.tuples(st.sampled_from(known), st.sampled_from(known)), max_size=5)) if known else set()
    names = cluster_names(pd.Series(hashes, dtype=object), _pairs(ends))
    for i, reached in enumerate(_reachable(hashes, ends)):
        if hashes[i] is None:
            assert names[i] is None
        else:
            assert names[i] == min(value for j in reached if (value := hashes[j]) is not None)


def test_duplicates_are_counted_as_published() -> None:
    facts = _facts(
        {"pixel_hash": "x", "usage": "train"},
        {"pixel_hash": "x", "usage": "test"},
        {"pixel_hash": "x", "usage": "test", "label": "fear"},
        {"pixel_hash": "y", "label": "neutral", "usage": "train"},
        {"pixel_hash": "y", "label": "neutral", "usage": "train"},
        {"pixel_hash": None},
        {},
    )
    assert duplicate_counts(facts, _pairs([])).as_json() == {
        "exact_duplicate_groups": 2,
        "exact_duplicate_surplus": 3,
        "label_conflict_groups": 1,
        "cross_usage_duplicate_groups": 1,
        "near_duplicate_pairs": 0,
        "near_duplicate_groups": 0,
        "near_label_conflict_groups": 0,
        "cross_usage_near_groups": 0,
    }


def test_altered_copies_are_counted_apart_from_equal_pixels() -> None:
    near = [(0, 2), (2, 3), (4, 5)]
    facts = _facts(
        {"pixel_hash": "x", "usage": "train"},
        {"pixel_hash": "x", "usage": "train"},
        {"usage": "test"},
        {"usage": "test"},
        {"label": "fear"},
        {},
        {},
        near=near,
    )
    found = duplicate_counts(facts, _pairs(near))
    assert (found.exact_duplicate_groups, found.exact_duplicate_surplus) == (1, 1)
    assert (found.label_conflict_groups, found.cross_usage_duplicate_groups) == (0, 0)
    assert (found.near_duplicate_pairs, found.near_duplicate_groups) == (3, 2)
    assert (found.near_label_conflict_groups, found.cross_usage_near_groups) == (1, 1)


def test_only_sound_images_are_compared_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = _facts(
        {"pixel_hash": "x", "usage": "test"},
        {"pixel_hash": "x", "usage": "train"},
        {"pixel_hash": None},
        {"grey_std": 3.9},
        {"width": 39},
        {"height": 101},
        {"label": "neutral"},
    )
    seen = []

    def all_pairs(thumbnails: Any, *, threshold: float) -> pd.DataFrame:
        seen.append((thumbnails[:, 0, 0].tolist(), threshold))
        return _pairs([(0, 1)])

    monkeypatch.setattr(duplicates, "near_pairs", all_pairs)
    thumbnails = np.arange(7, dtype=np.uint8)[:, None, None].repeat(32, 1).repeat(32, 2)
    found = find_near_duplicates(facts, thumbnails, SETTINGS)
    assert seen == [([1, 6], SETTINGS.near_threshold)]
    assert found[["a", "b"]].to_numpy().tolist() == [[1, 6]]
    ignored = find_near_duplicates(facts, thumbnails, SETTINGS.model_copy(update={"near_duplicates": "ignore"}))
    assert len(ignored) == 0
    assert list(ignored.columns) == list(found.columns)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("people", "labels", "similarity", "kept"),
    [
        (("p", "q"), ("sad", "sad"), 1.0, False),
        (("p", "p"), ("sad", "sad"), 0.951, True),
        (("p", "p"), ("sad", "fear"), SAME_PERSON_SIMILARITY - 0.001, False),
        (("p", "p"), ("sad", "fear"), SAME_PERSON_SIMILARITY, True),
        (("p", "p"), ("sad", None), 0.951, True),
        (("p", None), ("sad", "fear"), 0.951, True),
        ((None, None), ("sad", "fear"), 0.951, True),
    ],
)
def test_known_people_decide_before_likeness_does(
    people: tuple[str, str], labels: tuple[str, str], similarity: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = _facts(*({"subject": who, "label": label} for who, label in zip(people, labels, strict=True)))
    monkeypatch.setattr(duplicates, "near_pairs", lambda *_, **__: _pairs([(0, 1)]).assign(similarity=similarity))
    thumbnails = np.zeros((2, 32, 32), np.uint8)
    assert len(find_near_duplicates(facts, thumbnails, SETTINGS)) == kept
    elsewhere = facts.assign(source=["here", "there"])  # a subject is a person within a source
    assert len(find_near_duplicates(elsewhere, thumbnails, SETTINGS)) == 1


def test_a_pair_is_described_from_both_sides() -> None:
    facts = _facts({"usage": "train"}, {}, {"label": "fear", "source": "there", "row": 8})
    (row,) = describe_pairs(facts, _pairs([(0, 2)])).to_dict("records")
    assert pd.isna(row.pop("usage_b"))
    assert row == {
        **{"image_id_a": "id0", "image_id_b": "id2", "similarity": 0.95, "mirrored": False},
        **{"label_a": "sad", "label_b": "fear", "source_a": "here", "source_b": "there"},
        **{"row_a": 0, "row_b": 8, "usage_a": "train"},
    }
