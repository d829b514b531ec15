"""What the stage `validate` found: reports/validate/summary.json."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.records.base import Record
from ferops.records.provenance import Provenance


class RowCounts(Record):
    """What became of the rows.

    Attributes:
        rows_in: rows of the sources in data/.
        excluded_by_usage: official split -> rows, of the parts that `data.usage` leaves out.
        excluded: label -> rows, of the labels that `data.classes` and `data.map` leave out; `unlabelled` for none.
        quarantined: reason -> rows.
        class_counts_in: class -> rows of the parts that take part, before any is quarantined.
        class_counts: class -> accepted rows.
    """

    rows_in: int
    excluded_by_usage: dict[str, int]
    excluded: dict[str, int]
    accepted: int
    quarantined: dict[str, int]
    class_counts_in: dict[str, int]
    class_counts: dict[str, int]


class SourceCounts(RowCounts):
    """Of one source; `usage` counts its rows by official split, as published."""

    usage: dict[str, int]


class DuplicateCounts(Record):
    """Copies among all decoded rows, excluded ones included, as published.

    Attributes:
        exact_duplicate_groups: groups of pixel-identical images.
        exact_duplicate_surplus: copies beyond one per group.
        label_conflict_groups: such groups with more than one label.
        cross_usage_duplicate_groups: such groups in more than one official split.
        near_duplicate_pairs: pairs of altered copies.
        near_duplicate_groups: clusters of several images that are not pixel-identical.
        near_label_conflict_groups: such clusters with more than one label.
        cross_usage_near_groups: such clusters in more than one official split.
    """

    exact_duplicate_groups: int
    exact_duplicate_surplus: int
    label_conflict_groups: int
    cross_usage_duplicate_groups: int
    near_duplicate_pairs: int
    near_duplicate_groups: int
    near_label_conflict_groups: int
    cross_usage_near_groups: int


class LabelReview(Record):
    """How good the model is that reviewed the labels, by cross-validation over `folds` folds of `rows` rows.

    Attributes:
        accuracy: share of the rows whose label is the model's first choice.
        chance: share of the most frequent class, which a model that has seen nothing would reach.
    """

    folds: int
    rows: int
    accuracy: float
    chance: float


class ExpectationResult(Record):
    """One expectation of Great Expectations: its suite, what it wants (in plain words), what it observed."""

    suite: str
    wanted: str
    observed: str
    success: bool


class ValidateSummary(DuplicateCounts, RowCounts):
    """Which rows were accepted, which were held back and why, and which copies there are.

    Attributes:
        quarantine_share: of the rows that are not excluded.
        suspected_label_errors: rows listed in label_review.parquet as suspected; None without a review.
    """

    stored_in: ClassVar = "reports/validate/summary.json"
    made_by: ClassVar = "ferops validate"

    stage: Literal["validate"] = "validate"
    provenance: Provenance
    blank_images: int
    quarantine_share: float
    suspected_label_errors: int | None
    label_review: LabelReview | None
    sources: dict[str, SourceCounts]
    expectations: tuple[ExpectationResult, ...]
