"""What the stage `fairness` found: reports/fairness/summary.json, and metrics.json, the few flat numbers of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.records.base import Record
from ferops.records.metrics import Interval
from ferops.records.provenance import Provenance


class Group(Record):
    """One group of people beside all others whose attributes are known, end to end.

    Attributes:
        attributes: one, or the two that are crossed; `values` are in their order.
        n: test images of it, from `clusters` people or groups of copies.
        found: share of the images in which a face is found.
        accuracy: no face and another face count as errors.
        found_minus_rest, accuracy_minus_rest: the group minus all others, -1 to 1.
        found_p, accuracy_p: how often chance alone would show such a difference, 0-1, corrected for all comparisons
            of the page (Benjamini and Hochberg 1995); 1 where it cannot be said.
    """

    attributes: tuple[str, ...]
    values: tuple[str, ...]
    n: int
    clusters: int
    found: Interval
    accuracy: Interval
    found_minus_rest: Interval
    accuracy_minus_rest: Interval
    found_p: float
    accuracy_p: float


class AttributeGaps(Record):
    """Between the groups of one attribute that have enough images.

    Attributes:
        groups: how many are compared.
        small: those with too few images.
        unknown: test images without a value.
        accuracy_gap, found_gap: the best group minus the worst, 0-1.
        equalised_odds: the largest difference between groups in the rate at which a class is answered, where it is the
            label (true positives) and where it is not (false positives), 0-1; over the classes (Hardt, Price and
            Srebro 2016). Its interval is corrected for the bias that a largest value has.
    """

    attribute: str
    groups: int
    small: tuple[str, ...]
    unknown: int
    accuracy_gap: Interval
    found_gap: Interval
    equalised_odds: Interval


class Change(Record):
    """Rendered faces that differ in one thing, in pairs.

    Attributes:
        pairs: that were answered, of `people`.
        changed: share of them in which the answer is another one; no face is an answer.
    """

    name: str
    meaning: str
    pairs: int
    people: int
    changed: Interval


class GroupRates(Record):
    """What is answered to a group of people in a source without labels: shares of the `n` images by answer."""

    source: str
    attribute: str
    value: str
    n: int
    rates: dict[str, float]


class FairnessSummary(Record):
    """Detection and answers by group of people.

    Attributes:
        verdict: which groups are behind beyond chance, a sentence.
        min_images: groups with fewer are not compared.
        groups, crossings: of one attribute, and of two; `small_crossings` counts those with too few images.
        worst: the group with the lowest accuracy, None without groups.
        unlabelled: rates of answers in sources that have groups and no labels.
        without_annotations: sources of the test split that do not say who is shown.
        within_seconds: whether all pairs and images that `fairness` asks for were tried.
    """

    stored_in: ClassVar[str] = "reports/fairness/summary.json"
    made_by: ClassVar[str] = "ferops fairness"

    stage: Literal["fairness"] = "fairness"
    provenance: Provenance
    model: str
    verdict: str
    test_images: int
    min_images: int
    attributes: tuple[AttributeGaps, ...]
    groups: tuple[Group, ...]
    crossings: tuple[Group, ...]
    small_crossings: int
    worst: Group | None
    changes: tuple[Change, ...]
    unlabelled: tuple[GroupRates, ...]
    without_annotations: tuple[str, ...]
    within_seconds: bool
    seconds: float


class FairnessFigures(Record):
    """The flat numbers that `dvc metrics` prints and rules may read; null where there is nothing to compare.

    Attributes:
        worst_group_accuracy: of the groups and crossings with enough images.
        accuracy_gap, found_gap, equalised_odds: the largest of all attributes.
        behind: groups and crossings that are behind beyond chance.
        changed_skin_tone, changed_age, changed_glasses: shares of rendered pairs with another answer.
        changed_jpeg: the control.
    """

    stored_in: ClassVar[str] = "reports/fairness/metrics.json"
    made_by: ClassVar[str] = "ferops fairness"

    worst_group_accuracy: float | None
    accuracy_gap: float | None
    found_gap: float | None
    equalised_odds: float | None
    behind: int
    changed_skin_tone: float | None
    changed_age: float | None
    changed_glasses: float | None
    changed_jpeg: float | None
