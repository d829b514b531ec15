"""What is tried, and the figures of it, on networks that are a line long."""

from __future__ import annotations

import numpy as np
import pytest

from ferops.evaluation.bootstrap import Resampler
from ferops.robustness.conditions import everything
from ferops.robustness.curves import Tried, attempt, figures, worst
from ferops.robustness.sample import chunks, in_order


def by_brightness(faces: np.ndarray) -> np.ndarray:
    return np.asarray(faces.mean(axis=(1, 2, 3)) > 150, np.intp)


def resampler(n: int) -> Resampler:
    return Resampler(list(range(n)), samples=200, seed=1, level=0.95)


def test_every_beginning_of_the_order_has_each_class_by_its_share() -> None:
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    order = in_order(labels, seed=3)
    assert sorted(order) == list(range(100))
    for n in (10, 20, 50):
        assert np.abs(np.bincount(labels[order[:n]], minlength=3) - n * np.array([0.6, 0.3, 0.1])).max() <= 1
    assert not np.array_equal(order, in_order(labels, seed=4))


def test_the_first_rows_are_tried_whatever_the_time() -> None:
    rows = np.arange(10)
    assert [len(each) for each in chunks(rows, 4, seconds=0.0)] == [4]
    assert [len(each) for each in chunks(rows, 4, seconds=60.0)] == [4, 4, 2]


def test_a_network_that_looks_at_brightness_fails_where_that_changes() -> None:
    faces = np.full((8, 32, 32, 3), 110, np.uint8)
    labels = np.zeros(8, np.intp)
    how = {name: everything(0.1)[name] for name in ("brightness", "pixelate", "shifted")}

    def never(faces: np.ndarray) -> np.ndarray:
        return np.ones(len(faces), np.intp)

    tried = attempt(faces, labels, np.arange(8), how, candidate=by_brightness, baseline=never, seed=1, seconds=60.0)
    assert tried.clean.all()
    assert tried.worse[:, 1:].all()  # no other condition makes it brighter
    assert tried.worse[0, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]  # 110 + 0.1 * 255 is below 150
    assert not tried.baseline_clean.any()
    found = figures(tried, resampler(8))
    assert found.clean.value == 1.0
    assert [curve.mean.value for curve in found.curves] == pytest.approx([0.2, 1.0, 1.0])
    assert found.corrupted.value == pytest.approx(0.6)
    assert found.loss.value == pytest.approx(0.4)
    assert found.met.value == 1.0
    assert found.curves[0].error_to_baseline.value == pytest.approx(1.0)
    assert found.mean_corruption_error.value == pytest.approx(0.5)
    assert found.relative_mean_corruption_error.value is None  # the baseline has nothing to lose
    assert [curve.name for curve in worst(found.curves, most=1)] == ["brightness"]


def test_a_baseline_without_a_mistake_is_no_measure() -> None:
    right = np.ones(6)
    tried = Tried(("fog", "hand"), np.arange(6), right, np.ones((6, 2, 5)), right, np.ones((6, 2)))
    found = figures(tried, resampler(6))
    assert found.curves[0].error_to_baseline.value is None
    assert found.mean_corruption_error.reason == "the baseline makes no mistake"
