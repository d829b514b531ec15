"""The summary of the stage `preprocess`, in reports/preprocess/."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.records.base import Record
from ferops.records.provenance import Provenance


class DetectionRate(Record):
    """Of `tried` images in which a face was looked for, those in which one was `found`; `rate` is None without any."""

    tried: int
    found: int
    rate: float | None


class Detection(DetectionRate):
    """Of all images, and `by` column and value: source, label, and the annotated groups of people."""

    by: dict[str, dict[str, DetectionRate]]


class PreprocessSpeed(Record):
    """Milliseconds per image; of the detector, None where no face was looked for."""

    detector_ms_per_image: float | None
    stage_ms_per_image: float


class PreprocessSummary(Record):
    """What became of the images.

    Attributes:
        images: of all splits.
        quarantined: images held back, by status (docs/files.md).
        kept_whole: images that are their own face, by status.
        detection_rate: share of images with a face, of those searched, 0-1; None where none was searched.
        several_faces: images with more than one face.
        other_faces: faces found beside the chosen ones.
        splits, labels: images by split or label, and status.
    """

    stored_in: ClassVar[str] = "reports/preprocess/summary.json"
    made_by: ClassVar[str] = "ferops preprocess"

    stage: Literal["preprocess"] = "preprocess"
    provenance: Provenance
    images: int
    quarantined: dict[str, int]
    kept_whole: dict[str, int]
    detection_rate: float | None
    several_faces: int
    other_faces: int
    splits: dict[str, dict[str, int]]
    labels: dict[str, dict[str, int]]
    detection: Detection
    speed: PreprocessSpeed
