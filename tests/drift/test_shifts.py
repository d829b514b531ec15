from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferops.drift.shifts import adjusted, shift_of_numbers, shift_of_shares, size_in_words
from ferops.records.drift import NumberShift, ShareShift


def _labels(**counts: int) -> pd.Series:
    return pd.Series([None if name == "null" else name for name, count in counts.items() for _ in range(count)])


def _shares(before: pd.Series, after: pd.Series) -> ShareShift:
    return shift_of_shares(before, after, source="made")


def _numbers(before: np.ndarray, after: np.ndarray) -> NumberShift:
    return shift_of_numbers(pd.Series(before), pd.Series(after), source="made", quantity="brightness")


def test_the_stability_index_and_chi_square_are_those_of_the_book() -> None:
    found = _shares(_labels(sad=60, happy=40), _labels(happy=70, sad=30))
    assert found.effect == pytest.approx((0.3 - 0.6) * np.log(0.3 / 0.6) + (0.7 - 0.4) * np.log(0.7 / 0.4))
    expected = np.array([45, 55, 45, 55])
    assert found.statistic == pytest.approx(((np.array([60, 40, 30, 70]) - expected) ** 2 / expected).sum())
    assert found.before == {"happy": 0.4, "sad": 0.6}
    assert found.n == (100, 100)


def test_a_label_that_comes_or_goes_is_finite_and_unlabelled_rows_count() -> None:
    found = _shares(_labels(sad=50, null=50), _labels(sad=50, neutral=50))
    assert found.after == {"sad": 0.5, "neutral": 0.5, "unlabelled": 0.0}
    assert 1 < found.effect < 10
    assert _shares(_labels(sad=5), _labels(sad=9)).p == 1.0
    assert _shares(_labels(sad=5), _labels()).effect == 0.0


def test_the_distance_is_the_largest_gap_between_cumulative_shares() -> None:
    random = np.random.default_rng(3)
    before, after = random.normal(0, 1, 400), random.normal(0.5, 1, 300)
    points = np.concatenate([before, after])
    gap = max(abs((before <= x).mean() - (after <= x).mean()) for x in points)
    found = _numbers(before, after)
    assert found.effect == pytest.approx(gap)
    assert found.before is not None
    assert found.before.median == pytest.approx(np.median(before), abs=0.01)
    assert sum(found.histogram.after) == pytest.approx(1, abs=0.01)


def test_the_histogram_spans_what_was_measured_and_no_more() -> None:
    found = _numbers(np.linspace(0.9, 1.0, 200), np.linspace(0.92, 0.98, 100)).histogram
    assert (found.start, found.stop) == (0.9, 1.0)
    assert max(found.before) < 0.1  # not all in one bin
    alike = _numbers(np.full(9, 5.0), np.full(4, 5.0)).histogram
    assert (alike.start, alike.stop) == (5.0, 6.0)


def test_nothing_on_one_side_is_no_shift() -> None:
    found = _numbers(np.empty(0), np.ones(3))
    assert (found.effect, found.p, found.before) == (0.0, 1.0, None)
    assert _numbers(np.full(9, 5.0), np.full(4, 5.0)).effect == 0.0


@pytest.mark.parametrize(
    ("kind", "effect", "q", "expected"),
    [
        ("shares", 0.009, 0.0, "no"),
        ("shares", 0.05, 0.0, "small"),
        ("shares", 0.1, 0.0, "large"),
        ("numbers", 0.09, 0.0, "no"),
        ("numbers", 0.1, 0.0, "small"),
        ("numbers", 0.2, 0.0, "large"),
        ("numbers", 0.9, 0.06, "no"),
    ],
)
def test_the_effect_decides_once_chance_is_ruled_out(kind: str, effect: float, q: float, expected: str) -> None:
    assert size_in_words(kind, effect, q) == expected


def test_p_values_are_adjusted_for_their_number() -> None:
    p = [0.01, 0.02, 0.03, 0.5]
    shift = _numbers(np.zeros(9), np.ones(9))
    found = adjusted([shift.model_copy(update={"p": value, "effect": 0.3}) for value in p])
    # Benjamini and Hochberg: p * n / rank, made monotonic from the largest down.
    assert [one.q for one in found] == pytest.approx([0.04, 0.04, 0.04, 0.5])
    assert [one.word for one in found] == ["large"] * 3 + ["no"]
