from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ferops.split.rebalance import rebalance


def _distance(allocated: np.ndarray, wanted: np.ndarray) -> float:
    return float(((allocated - wanted) ** 2 / wanted).sum())


def _case(seed: int, groups: int, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 12, (groups, 3)).astype(np.float64) + np.array([1.0, 0.0, 0.0])
    shares = rng.dirichlet(np.full(parts, 3.0))
    split = rng.integers(0, parts, groups)
    allocated = np.stack([counts[split == p].sum(axis=0) for p in range(parts)])
    return counts, split, allocated, np.outer(shares, counts.sum(axis=0) + 1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), groups=st.integers(1, 20), parts=st.integers(2, 4))
def test_no_move_and_no_swap_is_left_that_would_help(seed: int, groups: int, parts: int) -> None:
    counts, split, allocated, wanted = _case(seed, groups, parts)
    before = _distance(allocated, wanted)
    better = rebalance(counts, split, allocated=allocated, wanted=wanted)
    recounted = np.stack([counts[better == p].sum(axis=0) for p in range(parts)])
    np.testing.assert_allclose(allocated, recounted, atol=1e-9)
    after = _distance(recounted, wanted)
    assert after <= before + 1e-9
    if (np.abs(recounted - wanted) <= np.maximum(1.0, 0.005 * wanted)).all():
        return  # near enough: it may stop before the last step
    for one, other in itertools.combinations(range(groups), 2):
        swapped = better.copy()
        swapped[[one, other]] = better[[other, one]]
        assert _distance(np.stack([counts[swapped == p].sum(axis=0) for p in range(parts)]), wanted) > after - 1e-6
    for one, there in itertools.product(range(groups), range(parts)):
        moved = better.copy()
        moved[one] = there
        assert _distance(np.stack([counts[moved == p].sum(axis=0) for p in range(parts)]), wanted) > after - 1e-6


def test_it_finds_the_swap_that_a_greedy_allocation_misses() -> None:
    counts = np.array([[4.0], [3.0], [3.0], [2.0], [2.0]])  # best: 4 + 3 and 3 + 2 + 2
    split = np.array([0, 0, 1, 0, 1])
    allocated = np.array([[9.0], [5.0]])
    better = rebalance(counts, split, allocated=allocated, wanted=np.array([[7.0], [7.0]]))
    assert allocated.tolist() == [[7.0], [7.0]]
    assert counts[better == 0].sum() == 7
