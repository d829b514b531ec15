"""A figure and its uncertainty; apart, so that whoever predicts need not load the records of `evaluate`."""

from __future__ import annotations

from ferops.records.base import Record


class Interval(Record):
    """A figure with the ends of its confidence interval; where one of them is None, `reason` says why."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None
