"""Allocate whole groups to splits, so that every split gets its share of every class of every source.

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

from ferops.split.rebalance import rebalance


def allocate(rows: pd.DataFrame, shares: Sequence[float], *, seed: int) -> NDArray[np.int64]:
    """Return, per row, the number of its split: 0 to S - 1 for `shares` of length S, all above 0, sum 1.

    `rows` has group (string; rows of one group go to one split), source and label; their order plays no role. Groups
    are allocated from the largest to the smallest. Each goes where it adds least to the chi-square distance
    (allocated - wanted)^2 / wanted, summed over splits and over the rows of each class of each source and of each
    source as a whole. For groups of one kind that is Webster's method of apportionment, which hands out seats in
    proportion. In the end groups move or swap while that brings the counts nearer (`rebalance`).
    Groups of about the same size (within a factor of two) come in the order of a hash of `seed` and their name.

    Sources that share no group do not influence each other: another source leaves the splits of the first unchanged.
    """
    names, group = np.unique(rows["group"].to_numpy(dtype=str), return_inverse=True)
    table = _Table.of(rows, shares)
    sizes = np.bincount(group, minlength=len(names))
    key = np.array([hashlib.sha256(f"{seed} {name}".encode()).hexdigest() for name in names])
    binary_digits = np.frexp(sizes)[1]
    order = np.lexsort((key, -binary_digits))
    split = np.full(len(names), -1, dtype=np.int64)
    several, singles = order[sizes[order] > 1], order[sizes[order] == 1]

    counts = table.counts(group, sizes > 1)
    for index in several:
        split[index] = table.place(*counts[index])
    first_row = np.full(len(names), -1, dtype=np.int64)
    first_row[group] = np.arange(len(rows))
    _allocate_singles(table, first_row, split, singles)
    _even_out(table, group, split, several)
    return split[group]


def _allocate_singles(
    table: _Table, row: NDArray[np.int64], split: NDArray[np.int64], singles: NDArray[np.int64]
) -> None:
    """Allocate groups of one row: by stratum, what is wanted rounded down, and the remainders one by one."""
    stratum = table.stratum[row[singles]]
    rest: list[int] = []
    for code in np.unique(stratum):
        members = singles[stratum == code]
        quota = table.place_singles(int(code), len(members))
        placed = int(quota.sum())
        split[members[:placed]] = np.repeat(np.arange(len(quota)), quota)
        rest += members[placed:].tolist()
    for index in rest:
        columns = np.array([table.stratum[row[index]], table.source[row[index]]])
        split[index] = table.place(columns, np.ones(2))


def _even_out(table: _Table, group: NDArray[np.int64], split: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Rebalance the groups in `order`, source by source; groups that join sources stay."""
    lowest = np.full(len(split), np.iinfo(np.int64).max)
    highest = np.full(len(split), -1)
    np.minimum.at(lowest, group, table.source)
    np.maximum.at(highest, group, table.source)
    order = order[lowest[order] == highest[order]]
    for source in np.unique(table.source):
        own = order[lowest[order] == source]
        position = np.full(len(split), -1)
        position[own] = np.arange(len(own))
        rows = np.flatnonzero(position[group] >= 0)
        columns = np.append(np.unique(table.stratum[table.source == source]), source)
        counts = np.zeros((len(own), len(columns)))
        for column in (table.stratum, table.source):
            np.add.at(counts, (position[group[rows]], np.searchsorted(columns, column[rows])), 1)
        allocated, wanted = table.allocated[:, columns], table.wanted[:, columns]
        split[own] = rebalance(counts, split[own], allocated=allocated, wanted=wanted)


@dataclass
class _Table:
    """Rows allocated so far and rows wanted, (splits, columns): a column per stratum (label of a source) and source."""

    stratum: NDArray[np.int64]  # (rows,), a column
    source: NDArray[np.int64]  # (rows,), a column
    wanted: NDArray[np.float64]
    allocated: NDArray[np.float64]

    @classmethod
    def of(cls, rows: pd.DataFrame, shares: Sequence[float]) -> _Table:
        stratum = np.asarray(rows.groupby(["source", "label"]).ngroup(), dtype=np.int64)
        source = np.asarray(rows.groupby("source").ngroup(), dtype=np.int64) + int(stratum.max(initial=-1)) + 1
        wanted = np.outer(shares, np.bincount(np.concatenate([stratum, source])))
        return cls(stratum=stratum, source=source, wanted=wanted, allocated=np.zeros_like(wanted))

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
        """Put a group with `counts` rows in `columns` where it adds least to the distance; return that split."""
        wanted, allocated = self.wanted[:, columns], self.allocated[:, columns]
        added = ((2 * (allocated - wanted) + counts) * counts / wanted).sum(axis=1)
        split = int(np.round(added, 9).argmin())  # rounded: a tie must be one on every machine
        self.allocated[split, columns] += counts
        return split

    def place_singles(self, stratum: int, number: int) -> NDArray[np.int64]:
        """Put single rows of one stratum where rows are wanted, rounded down; return how many each split got."""
        need = np.clip(self.wanted[:, stratum] - self.allocated[:, stratum], 0, None)
        quota: NDArray[np.int64] = np.floor(np.round(need * number / need.sum(), 9)).astype(np.int64)
        source = self.source[np.flatnonzero(self.stratum == stratum)[0]]
        self.allocated[:, [stratum, source]] += quota[:, None]
        return quota
