"""Mend what dealing groups one by one left over: move a group, or swap two, while that brings the counts nearer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ENOUGH = 0.005
"""Counts within one row, or this share, of what is wanted are near enough."""
MOST_GROUPS = 2_000
"""Every group is weighed against every other; so many hardly need it, since their unevenness evens out."""
MOST_PASSES = 10


def exchange(
    counts: NDArray[np.float64],
    part: NDArray[np.int64],
    *,
    dealt: NDArray[np.float64],
    wanted: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return a better `part` (groups,) for groups with `counts` (groups, columns), and bring `dealt` up to date.

    `dealt` and `wanted` are (parts, columns), and all that is wanted is above 0. The distance is that of `deal.deal`.
    Groups are tried in their order, each with the best of all its moves and swaps, until a pass changes nothing.
    """
    part = part.copy()
    if len(counts) > MOST_GROUPS:
        return part
    for _ in range(MOST_PASSES):
        if _near_enough(dealt, wanted):
            break
        changed = sum(_improve(group, counts, part, dealt, wanted) for group in range(len(part)))
        if not changed:
            break
    return part


def _improve(
    group: int,
    counts: NDArray[np.float64],
    part: NDArray[np.int64],
    dealt: NDArray[np.float64],
    wanted: NDArray[np.float64],
) -> bool:
    here = part[group]
    # What `here` gains: the other group less this one; the last rows stand for an exchange with nothing, a move
    others = np.concatenate([part, np.arange(len(dealt))])
    gained = np.concatenate([counts, np.zeros_like(dealt)]) - counts[group]
    excess = dealt - wanted
    added = (2 * excess[here] + gained) * gained / wanted[here]
    added += (gained - 2 * excess[others]) * gained / wanted[others]
    change = np.where(others == here, 0.0, np.round(added.sum(axis=1), 9))  # rounded: a tie is one on every machine
    best = int(change.argmin())
    if change[best] >= 0:
        return False
    there = others[best]
    dealt[here] += gained[best]
    dealt[there] -= gained[best]
    part[group] = there
    if best < len(part):
        part[best] = here
    return True


def _near_enough(dealt: NDArray[np.float64], wanted: NDArray[np.float64]) -> bool:
    return bool((np.abs(dealt - wanted) <= np.maximum(1.0, ENOUGH * wanted)).all())
