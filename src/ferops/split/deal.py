"""Deal whole groups into parts, so that every part gets its share of every class of every source.

Why not scikit-learn's StratifiedGroupKFold: it knows equal folds only, so a share has to be approximated by some of
them, and it weighs every group against every fold in Python (30,000 groups: 20 s; here: under one). And here a group's
place in the order comes from a hash of its own name, so that more data moves few of the images that were there before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.split.exchange import exchange


def deal(rows: pd.DataFrame, shares: Sequence[float], *, seed: int) -> NDArray[np.int64]:
    """Return, per row, the number of the part it goes to: 0 to P - 1 for `shares` of length P, all above 0, sum 1.

    `rows` has group (string; rows of one group go to one part), source and label; their order plays no role. Groups are
    dealt from the largest to the smallest. Each goes where it adds least to the chi-square distance
    (dealt - wanted)^2 / wanted, summed over parts and over the rows of each class of each source and of each source as
    a whole. For groups of one kind that is Webster's method of apportionment, which hands out seats in proportion.
    In the end groups move or swap while that brings the counts nearer (`exchange`).
    Groups of about the same size (within a factor of two) come in the order of a hash of `seed` and their name.

    Sources that share no group do not influence each other: another source leaves the parts of the first as they are.
    """
    names, group = np.unique(rows["group"].to_numpy(dtype=str), return_inverse=True)
    table = _Table.of(rows, shares)
    sizes = np.bincount(group, minlength=len(names))
    key = np.array([hashlib.sha256(f"{seed} {name}".encode()).hexdigest() for name in names])
    buckets = np.frexp(sizes)[1]  # the number of binary digits
    order = np.lexsort((key, -buckets))
    part = np.full(len(names), -1, dtype=np.int64)

    counts = table.counts(group, sizes > 1)
    for index in order[sizes[order] > 1]:
        part[index] = table.place(*counts[index])

    first_row = np.full(len(names), -1, dtype=np.int64)
    first_row[group] = np.arange(len(rows))
    _deal_singles(table, first_row, part, order[sizes[order] == 1])
    _even_out(table, group, part, order[sizes[order] > 1])
    return part[group]


def _deal_singles(table: _Table, row: NDArray[np.int64], part: NDArray[np.int64], singles: NDArray[np.int64]) -> None:
    """Deal groups of one row, which all fit: by stratum, what is wanted rounded down, and the remainders one by one."""
    stratum = table.stratum[row[singles]]
    rest: list[int] = []
    for code in np.unique(stratum):
        members = singles[stratum == code]
        quota = table.place_singles(int(code), len(members))
        placed = int(quota.sum())
        part[members[:placed]] = np.repeat(np.arange(len(quota)), quota)
        rest += members[placed:].tolist()
    for index in rest:
        columns = np.array([table.stratum[row[index]], table.source[row[index]]])
        part[index] = table.place(columns, np.ones(2))


def _even_out(table: _Table, group: NDArray[np.int64], part: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Exchange the groups in `order` between the parts, source by source; groups that join sources stay."""
    lowest = np.full(len(part), np.iinfo(np.int64).max)
    highest = np.full(len(part), -1)
    np.minimum.at(lowest, group, table.source)
    np.maximum.at(highest, group, table.source)
    order = order[lowest[order] == highest[order]]
    for source in np.unique(table.source):
        own = order[lowest[order] == source]
        position = np.full(len(part), -1)
        position[own] = np.arange(len(own))
        rows = np.flatnonzero(position[group] >= 0)
        columns = np.append(np.unique(table.stratum[table.source == source]), source)
        counts = np.zeros((len(own), len(columns)))
        for column in (table.stratum, table.source):
            np.add.at(counts, (position[group[rows]], np.searchsorted(columns, column[rows])), 1)
        dealt, wanted = table.dealt[:, columns], table.wanted[:, columns]
        part[own] = exchange(counts, part[own], dealt=dealt, wanted=wanted)


@dataclass
class _Table:
    """Rows dealt so far and rows wanted, (parts, columns); columns are the strata (label of a source), then sources."""

    stratum: NDArray[np.int64]  # (rows,), a column
    source: NDArray[np.int64]  # (rows,), a column
    wanted: NDArray[np.float64]
    dealt: NDArray[np.float64]

    @classmethod
    def of(cls, rows: pd.DataFrame, shares: Sequence[float]) -> _Table:
        stratum = np.asarray(rows.groupby(["source", "label"]).ngroup(), dtype=np.int64)
        source = np.asarray(rows.groupby("source").ngroup(), dtype=np.int64) + int(stratum.max(initial=-1)) + 1
        totals = np.bincount(np.concatenate([stratum, source]))
        wanted = np.outer(shares, totals)
        return cls(stratum=stratum, source=source, wanted=wanted, dealt=np.zeros_like(wanted))

    def counts(
        self, group: NDArray[np.int64], chosen: NDArray[np.bool_]
    ) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Return, per chosen group, the columns in which it has rows, and how many."""
        inside = np.flatnonzero(chosen[group])
        pairs = np.concatenate([np.stack([group, column], axis=1)[inside] for column in (self.stratum, self.source)])
        unique, number = np.unique(pairs, axis=0, return_counts=True)
        starts = np.flatnonzero(np.diff(unique[:, 0], prepend=-1))
        return {
            int(block[0, 0]): (block[:, 1], how_many.astype(np.float64))
            for block, how_many in zip(np.split(unique, starts[1:]), np.split(number, starts[1:]), strict=True)
            if len(block)
        }

    def place(self, columns: NDArray[np.int64], counts: NDArray[np.float64]) -> int:
        """Put a group with `counts` rows in `columns` where it adds least to the distance; return that part."""
        wanted, dealt = self.wanted[:, columns], self.dealt[:, columns]
        added = ((2 * (dealt - wanted) + counts) * counts / wanted).sum(axis=1)
        part = int(np.round(added, 9).argmin())  # rounded: a tie must be one on every machine
        self.dealt[part, columns] += counts
        return part

    def place_singles(self, stratum: int, number: int) -> NDArray[np.int64]:
        """Put single rows of one stratum where rows are wanted, rounded down; return how many each part got."""
        need = np.clip(self.wanted[:, stratum] - self.dealt[:, stratum], 0, None)
        quota: NDArray[np.int64] = np.floor(np.round(need * number / need.sum(), 9)).astype(np.int64)
        source = self.source[np.flatnonzero(self.stratum == stratum)[0]]
        self.dealt[:, [stratum, source]] += quota[:, None]
        return quota
