"""What the stage `robustness` found: reports/robustness/summary.json, and metrics.json, the few flat numbers of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict

from ferops.records.base import Record
from ferops.records.metrics import Interval
from ferops.records.provenance import Provenance


class Curve(Record):
    """One way in which faces get worse, at five severities.

    Attributes:
        kind: `corruption` of Hendrycks and Dietterich 2019, or what a `face` meets.
        accuracy: at each severity; `mean` is that over all of them.
        loss: the accuracy on the faces as they are minus `mean`, -1 to 1.
        baseline: the baseline's accuracy at severity 3, on the same faces.
        error_to_baseline: the candidate's error at severity 3, divided by the baseline's: below 1 is better.
    """

    name: str
    kind: Literal["corruption", "face"]
    accuracy: tuple[Interval, ...]
    mean: Interval
    loss: Interval
    baseline: float
    error_to_baseline: Interval


class Behaviour(Record):
    """A change of the image that must change nothing, or an answer that must not be given; `passed` of `n` images."""

    name: str
    meaning: str
    n: int
    passed: Interval


class RobustnessSummary(Record):
    """How the served network answers when images get worse, and whether it behaves as it must.

    Attributes:
        verdict: which three conditions cost most, a sentence.
        faces: drawn from the `test_faces`, each class by its share.
        images: test images that the behaviour tests began with.
        within_seconds: whether all that `robustness` asks for were tried; if not, fewer were.
        clean, baseline_clean: accuracy on these faces as they are.
        corrupted: accuracy over all corruptions and severities; `loss` is `clean` minus that.
        met: accuracy over all that faces meet.
        mean_corruption_error: the mean over the corruptions of `Curve.error_to_baseline`: the mCE of Hendrycks and
            Dietterich with the baseline in AlexNet's place, at one severity; the relative one counts what is
            lost to the faces as they are, and has no value where the baseline loses nothing.
        worst: the names of the three curves with the largest loss.
    """

    stored_in: ClassVar[str] = "reports/robustness/summary.json"
    made_by: ClassVar[str] = "ferops robustness"

    stage: Literal["robustness"] = "robustness"
    provenance: Provenance
    model: str
    verdict: str
    test_faces: int
    faces: int
    images: int
    within_seconds: bool
    clean: Interval
    baseline_clean: float
    corrupted: Interval
    loss: Interval
    met: Interval
    mean_corruption_error: Interval
    relative_mean_corruption_error: Interval
    worst: tuple[str, ...]
    curves: tuple[Curve, ...]
    behaviours: tuple[Behaviour, ...]
    seconds: float


class RobustnessFigures(Record):
    """The flat numbers that `dvc metrics` prints and rules may read; what could not be measured is null.

    `<condition>` is the accuracy over the severities of each condition, `passed_<behaviour>` a share.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    stored_in: ClassVar[str] = "reports/robustness/metrics.json"
    made_by: ClassVar[str] = "ferops robustness"

    clean_accuracy: float | None
    corrupted_accuracy: float | None
    met_accuracy: float | None
    mean_corruption_error: float | None
    faces: int
    images: int
