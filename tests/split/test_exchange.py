from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ferops.split.exchange import exchange


def _distance(dealt: np.ndarray, wanted: np.ndarray) -> float:
    return float(((dealt - wanted) ** 2 / wanted).sum())


def _case(seed: int, groups: int, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 12, (groups, 3)).astype(np.float64) + np.array([1.0, 0.0, 0.0])
    shares = rng.dirichlet(np.full(parts, 3.0))
    part = rng.integers(0, parts, groups)
    dealt = np.stack([counts[part == p].sum(axis=0) for p in range(parts)])
    return counts, part, dealt, np.outer(shares, counts.sum(axis=0) + 1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), groups=st.integers(1, 20), parts=st.integers(2, 4))
def test_no_move_and_no_swap_is_left_that_would_help(seed: int, groups: int, parts: int) -> None:
    counts, part, dealt, wanted = _case(seed, groups, parts)
    before = _distance(dealt, wanted)
    better = exchange(counts, part, dealt=dealt, wanted=wanted)
    recounted = np.stack([counts[better == p].sum(axis=0) for p in range(parts)])
    np.testing.assert_allclose(dealt, recounted, atol=1e-9)
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


def test_it_finds_the_swap_that_a_greedy_deal_misses() -> None:
    counts = np.array([[4.0], [3.0], [3.0], [2.0], [2.0]])  # 4 + 3 against 3 + 2 + 2, dealt as 4 + 3 + 2 against 3 + 2
    part = np.array([0, 0, 1, 0, 1])
    dealt = np.array([[9.0], [5.0]])
    better = exchange(counts, part, dealt=dealt, wanted=np.array([[7.0], [7.0]]))
    assert dealt.tolist() == [[7.0], [7.0]]
    assert counts[better == 0].sum() == 7
