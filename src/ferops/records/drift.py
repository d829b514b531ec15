"""How two versions of the data differ: reports/drift/summary.json."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.records.base import Record
from ferops.records.provenance import Provenance

Size = Literal["no", "small", "large"]


class DataVersion(Record):
    """One of the two versions, as the user named it, with its DVC MD5 (32 hex digits)."""

    name: str
    data_version: str
    rows: int


class SourceChange(Record):
    """How the rows of one source changed; `relabels` counts them as "old -> new"."""

    source: str
    status: Literal["new", "gone", "changed", "same rows"]
    rows_before: int
    rows_after: int
    added: int
    removed: int
    relabelled: int
    relabels: dict[str, int]


class Quantiles(Record):
    """The 10th, 50th and 90th percentile."""

    low: float
    median: float
    high: float


class Histogram(Record):
    """Shares of equal bins from `start` to `stop`."""

    start: float
    stop: float
    before: tuple[float, ...]
    after: tuple[float, ...]


class Shift(Record):
    """How one quantity of one source differs.

    Attributes:
        n: rows or images before and after.
        p: of the test; `q` is the same adjusted for the number of tests.
        effect: the population stability index of shares, the Kolmogorov-Smirnov distance of numbers.
        word: what the effect and q come to.
    """

    source: str
    quantity: str
    n: tuple[int, int]
    statistic: float
    p: float
    effect: float
    q: float
    word: Size


class ShareShift(Shift):
    """Of labels: chi-square test; before and after are label -> share."""

    kind: Literal["shares"] = "shares"
    before: dict[str, float]
    after: dict[str, float]


class NumberShift(Shift):
    """Of a number: Kolmogorov-Smirnov test; quantiles are None on a side without numbers."""

    kind: Literal["numbers"] = "numbers"
    before: Quantiles | None
    after: Quantiles | None
    histogram: Histogram


class DriftSummary(Record):
    """How two versions of the data differ; `verdict` is the largest shift, `looked_at` the number of decoded images."""

    stored_in: ClassVar = "reports/drift/summary.json"
    made_by: ClassVar = "ferops drift REV_A [REV_B]"

    stage: Literal["drift"] = "drift"
    provenance: Provenance
    before: DataVersion
    after: DataVersion
    verdict: Size
    looked_at: int
    sources: tuple[SourceChange, ...]
    shifts: tuple[ShareShift | NumberShift, ...]
