"""How the stage `split` divided the images: reports/split/summary.json."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.records.base import Record
from ferops.records.provenance import Provenance


class Stratum(Record):
    """Rows of one label of one source, by split; `dropped` rows are connected to an official test split."""

    source: str
    label: str
    rows: int
    train: int
    val: int
    test: int
    dropped: int


class LeakageCheck(Record):
    """What the leakage check compared: clusters of duplicates, and people.

    Attributes:
        clusters_of_several: clusters of more than one image; `images_in_them` counts those images.
    """

    clusters: int
    clusters_of_several: int
    images_in_them: int
    subjects: int
    images_with_subject: int
    images_without_subject: int


class Group(Record):
    """A connected group that no split divides. `sources` and `labels` are lists in words, such as "sad 3, happy 1"."""

    group: str
    rows: int
    share: float
    split: str
    sources: str
    subjects: int
    clusters: int
    labels: str


class Fold(Record):
    """One fold of the cross-validation; `classes` counts its rows by class."""

    fold: int
    rows: int
    groups: int
    classes: dict[str, int]


class SplitSummary(Record):
    """How the images were assigned to train, val and test.

    Attributes:
        provenance: its split_hash is that of this assignment.
        mode: whether the test split was drawn, is the data set's own, or is one of the folds.
        dropped_crossing: rows left out because they are connected to the official test split.
        shares, wanted: split -> share of the assigned rows, reached and asked for.
        counts: split -> class -> rows.
        sources: source -> split -> rows.
        leakage: clusters and subjects that are in two splits, or in two folds.
        group_sizes: size band, such as "3 to 5" -> groups.
        test_fold: the fold that is the test split; None without folds.
    """

    stored_in: ClassVar = "reports/split/summary.json"
    made_by: ClassVar = "ferops split"

    stage: Literal["split"] = "split"
    provenance: Provenance
    rows: int
    groups: int
    largest_group: int
    mode: Literal["drawn", "official", "folds"]
    official_test: bool
    dropped_crossing: int
    shares: dict[str, float]
    wanted: dict[str, float]
    counts: dict[str, dict[str, int]]
    sources: dict[str, dict[str, int]]
    strata: tuple[Stratum, ...]
    together: LeakageCheck
    leakage: int
    group_sizes: dict[str, int]
    largest_groups: tuple[Group, ...]
    test_fold: int | None
    folds: tuple[Fold, ...]
