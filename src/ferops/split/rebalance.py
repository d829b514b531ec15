"""Improve an allocation of groups one by one: move a group, or swap two, while that brings the counts nearer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ENOUGH = 0.005
"""Counts within one row, or this share, of what is wanted are near enough."""
MOST_GROUPS = 2_000
"""Every group is compared with every other; more groups hardly need it, since their unevenness evens out."""
MOST_PASSES = 10


def rebalance(
    counts: NDArray[np.float64],
    split: NDArray[np.int64],
    *,
    allocated: NDArray[np.float64],
    wanted: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return a better `split` (groups,) for groups with `counts` (groups, columns), and bring `allocated` up to date.

    `allocated` and `wanted` are (splits, columns), and all that is wanted is above 0. The distance is that of
    `allocate`. Groups are tried in their order, each with the best of all its moves and swaps, until nothing changes.
    """
    split = split.copy()
    if len(counts) > MOST_GROUPS:
        return split
    for _ in range(MOST_PASSES):
        if (np.abs(allocated - wanted) <= np.maximum(1.0, ENOUGH * wanted)).all():
            break
        if not sum(_improve(group, counts, split, allocated, wanted) for group in range(len(split))):
            break
    return split


def _improve(
    group: int,
    counts: NDArray[np.float64],
    split: NDArray[np.int64],
    allocated: NDArray[np.float64],
    wanted: NDArray[np.float64],
) -> bool:
    here = split[group]
    # What `here` gains: the other group less this one; the last rows stand for an exchange with nothing, a move
    others = np.concatenate([split, np.arange(len(allocated))])
    gained = np.concatenate([counts, np.zeros_like(allocated)]) - counts[group]
    excess = allocated - wanted
    added = (2 * excess[here] + gained) * gained / wanted[here]
    added += (gained - 2 * excess[others]) * gained / wanted[others]
    change = np.where(others == here, 0.0, np.round(added.sum(axis=1), 9))  # rounded: a tie is one on every machine
    best = int(change.argmin())
    if change[best] >= 0:
        return False
    there = others[best]
    allocated[here] += gained[best]
    allocated[there] -= gained[best]
    split[group] = there
    if best < len(split):
        split[best] = here
    return True
