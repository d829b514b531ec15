"""What is known of the starter model: starter/metrics.json, and what `/info` and the page say of it."""

from __future__ import annotations

from typing import ClassVar

from ferops.records.base import Record
from ferops.records.interval import Interval


class StarterMetrics(Record):
    """What the starter's own evaluation measured on its test split.

    Attributes:
        test_images: faces of the test split.
        confidence_level: of the intervals, 0.5-1.
        chance_accuracy: of always giving the most frequent answer.
    """

    stored_in: ClassVar[str] = "starter/metrics.json"
    made_by: ClassVar[str] = "ferops adopt PROJECT"

    test_images: int
    confidence_level: float
    accuracy: Interval
    macro_f1: Interval
    chance_accuracy: float


class AboutStarter(Record):
    """What is said of the starter wherever it answers.

    Attributes:
        summary: what it is, what it was trained on and how well it did: a paragraph.
        terms: under which terms its weights may be used: a sentence.
    """

    summary: str
    terms: str
    metrics: StarterMetrics
