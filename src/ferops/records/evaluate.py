"""What the stage `evaluate` leaves in reports/evaluate/ beside the pages."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.config import Tta
from ferops.records.base import Record
from ferops.records.metrics import EndToEnd, Interval, Slice
from ferops.records.provenance import Provenance


class EvaluateSummary(Record):
    """The evaluation in short, for people.

    Attributes:
        verdict: what the paired intervals say, a sentence.
        test_images: test faces.
        tight: those of them that are whole images in which no face was searched for.
        no_face: test images left out without a face.
        tta: the candidate's test-time augmentation.
        champion_accuracy: None without a champion to compare with, as `candidate_minus_champion`.
        worst_slices: the three furthest behind.
        latency_ms_p50: of one face.
        file_mb: of the served file; 1 MB is 10^6 bytes.
    """

    stored_in: ClassVar[str] = "reports/evaluate/summary.json"
    made_by: ClassVar[str] = "ferops evaluate"

    stage: Literal["evaluate"] = "evaluate"
    provenance: Provenance
    verdict: str
    test_images: int
    tight: int
    no_face: int
    tta: Tta = "off"
    accuracy: Interval
    macro_f1: Interval
    calibration_error: Interval
    end_to_end: EndToEnd
    baseline_accuracy: Interval
    champion_accuracy: Interval | None
    chance_accuracy: float
    candidate_minus_baseline: Interval
    candidate_minus_champion: Interval | None
    worst_slices: tuple[Slice, ...]
    latency_ms_p50: float
    file_mb: float


class Headline(Record):
    """The few flat numbers that `dvc metrics` and `dvc exp show` print, one column each.

    Attributes:
        cost_per_face: of the answers with the lowest expected cost; without `evaluate.costs` and `evaluate.priors`
            every error costs 1, so it is 1 - accuracy.
    """

    stored_in: ClassVar[str] = "reports/evaluate/metrics.json"
    made_by: ClassVar[str] = "ferops evaluate"

    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    macro_f1: float | None
    calibration_error: float | None
    end_to_end_accuracy: float | None
    baseline_accuracy: float | None
    chance_accuracy: float
    test_images: int
    cost_per_face: float | None
