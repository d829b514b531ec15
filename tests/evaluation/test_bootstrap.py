from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ferops.evaluation import metrics
from ferops.evaluation.bootstrap import Resampler
from ferops.records.metrics import Interval


def _mean_interval(values, clusters, **settings):
    options = {"samples": 400, "seed": 1, "level": 0.95} | settings
    resampler = Resampler(clusters, **options)
    rows = np.arange(len(values))
    totals = resampler.totals(np.stack([values, np.ones(len(values))], axis=1), rows)
    return resampler.interval(metrics.ratio(totals[:, 0], totals[:, 1]), clusters=resampler.count, share=False)


def test_totals_are_the_sums_over_the_drawn_rows() -> None:
    clusters = ["a", "b", "a", "c", "b"]
    features = np.array([[1.0, 10], [2, 20], [3, 30], [4, 40], [5, 50]])
    resampler = Resampler(clusters, samples=50, seed=0, level=0.9)

    totals = resampler.totals(features, np.arange(5))

    np.testing.assert_array_equal(totals[0], features.sum(axis=0))
    for weights, total in zip(resampler.weights, totals, strict=True):
        by_row = {"a": weights[0], "b": weights[1], "c": weights[2]}
        expected = sum(by_row[cluster] * row for cluster, row in zip(clusters, features, strict=True))
        np.testing.assert_allclose(total, expected)
    assert (resampler.weights.sum(axis=1) == 3).all(), "as many clusters are drawn as there are"


def test_totals_of_some_rows_use_the_same_draws() -> None:
    resampler = Resampler(list("aabbcc"), samples=30, seed=0, level=0.9)
    ones = np.ones((6, 1))
    split = [resampler.totals(ones[:3], np.array([0, 2, 4])), resampler.totals(ones[:3], np.array([1, 3, 5]))]
    np.testing.assert_array_equal(sum(split), resampler.totals(ones, np.arange(6)))


def test_the_seed_decides_the_draws() -> None:
    draws = [Resampler(range(40), samples=100, seed=seed, level=0.95).weights for seed in (5, 5, 6)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_interval_of_a_mean_agrees_with_students_t() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=60)
    found = _mean_interval(values, range(60), samples=8000)
    low, high = stats.t.interval(0.95, df=59, loc=values.mean(), scale=values.std(ddof=1) / np.sqrt(60))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(low, abs=0.05)
    assert found.high == pytest.approx(high, abs=0.05)


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """20 people with their own accuracy around 0.7, 10 images each: 95 % intervals, 200 repetitions."""
    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(20), 10)
    hits = {"clusters": 0, "rows": 0}
    for repetition in range(200):
        skill = rng.beta(7, 3, size=20)
        correct = (rng.random(200) < np.repeat(skill, 10)).astype(float)
        for name, drawn in (("clusters", clusters), ("rows", np.arange(200))):
            found = _mean_interval(correct, drawn, samples=200, seed=repetition)
            hits[name] += found.low <= 0.7 <= found.high
    # 3 standard errors of a share of 0.95 in 200 are 0.046
    assert hits["clusters"] / 200 > 0.95 - 0.046
    assert hits["rows"] / 200 < 0.90, "rows pretend to know more than they do"


def test_clusters_widen_intervals_of_correlated_rows() -> None:
    rng = np.random.default_rng(2)
    values = np.repeat(rng.integers(0, 2, size=30), 10).astype(float)
    by_cluster = _mean_interval(values, np.repeat(np.arange(30), 10))
    by_row = _mean_interval(values, np.arange(300))
    # ten copies of each value: the standard error is sqrt(10) times as large
    ratio = (by_cluster.high - by_cluster.low) / (by_row.high - by_row.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_perfect_or_hopeless_share_is_not_certain(value: float) -> None:
    resampler = Resampler(range(25), samples=100, seed=0, level=0.95)
    found = resampler.interval(np.full(101, value), clusters=25)
    exact = stats.binomtest(int(25 * value), 25).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_two_equal_models_differ_by_exactly_nothing() -> None:
    resampler = Resampler(range(25), samples=100, seed=0, level=0.95)
    assert resampler.interval(np.zeros(101), clusters=25, share=False) == Interval(value=0.0, low=0.0, high=0.0)


def test_undefined_values_are_null_with_a_reason() -> None:
    resampler = Resampler(range(9), samples=100, seed=0, level=0.95)
    never = resampler.interval(np.full(101, np.nan), clusters=9, reason="the class never occurs")
    assert never == Interval(value=None, low=None, high=None, reason="the class never occurs")
    lonely = resampler.interval(np.full(101, 0.5), clusters=1)
    assert (lonely.value, lonely.low, lonely.high) == (0.5, None, None)
    rare = np.full(101, np.nan)
    rare[:20] = 0.5
    assert resampler.interval(rare, clusters=2).low is None


def test_the_basic_interval_is_reflected_about_the_value_and_stays_above_zero() -> None:
    resampler = Resampler(range(1000), samples=100, seed=0, level=0.9)
    values = np.concatenate([[0.2], np.linspace(0.2, 0.5, 1001)])  # resampling only ever adds
    percentile = resampler.interval(values, clusters=1000, share=False)
    basic = resampler.interval(values, clusters=1000, share=False, correct_bias=True)
    assert percentile.low > 0.2
    assert basic.high == pytest.approx(0.4 - percentile.low)
    assert basic.low == 0.0
