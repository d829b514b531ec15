"""How the traffic of a service differs from the evaluation: reports/monitor/summary.json."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from ferops.records.base import Record
from ferops.records.drift import NumberShift, ShareShift, Size
from ferops.records.metrics import Interval


class Window(Record):
    """Consecutive images of one version's traffic, compared with its reference.

    Attributes:
        version: of the model.
        start, end: when its first and its last image came, UTC.
        images: their number; `faces` counts those with a face.
        word: the largest shift that is more than chance; anything but `no` is drift.
        shifts: before is the reference, after the window.
        confidence: mean calibrated confidence.
        estimated_accuracy: without labels, of the images with a face.
        realized_accuracy: of the images whose labels have come; `labels` counts them.
        alerted: whether the alert about its drift has reached somebody.
    """

    version: str
    start: datetime
    end: datetime
    images: int
    faces: int
    word: Size
    shifts: tuple[ShareShift | NumberShift, ...]
    confidence: float | None
    estimated_accuracy: Interval
    labels: int = 0
    realized_accuracy: Interval | None = None
    alerted: bool = False

    @property
    def drifted(self) -> list[str]:
        """The quantities that shifted, largest shift first."""
        shifted = [shift for shift in self.shifts if shift.word != "no"]
        return [shift.quantity for shift in sorted(shifted, key=lambda shift: (shift.word != "large", shift.q))]


class MonitorSummary(Record):
    """What the served model met, window by window.

    Attributes:
        version: the one that served last.
        reference: what its traffic is compared with; `reference_images` counts its images.
        reference_accuracy: of the reference's images with a face; null where it has no labels.
        waiting: images that fill no window yet.
        unreadable: files of the log that are damaged, and were passed over.
        windows: the newest last; the last 100 are kept.
    """

    stored_in: ClassVar = "reports/monitor/summary.json"
    made_by: ClassVar = "ferops monitor"

    stage: Literal["monitor"] = "monitor"
    version: str
    reference: str
    reference_images: int
    reference_accuracy: Interval | None
    waiting: int
    unreadable: tuple[str, ...]
    windows: tuple[Window, ...]
