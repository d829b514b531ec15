"""What Prometheus may know: numbers, never images."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferops.inference.answer import Answer
    from ferops.rollout.shadow import PairRow

SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10)


class Counters:
    """All of them. They are made after BentoML has chosen its multi-process folder."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram

        self.images = Counter("ferops_images", "Images answered", ["status"])
        self.faces = Histogram("ferops_faces_per_image", "Faces found in an image", buckets=(0, 1, 2, 3, 5, 10, 20))
        self.labels = Counter("ferops_labels", "Faces by predicted expression", ["label", "status"])
        self.frames = Counter("ferops_frames", "Frames of streams answered", ["status"])
        self.refused = Counter("ferops_refused", "Uploads refused", ["code"])
        self.confidence = Histogram(
            "ferops_confidence", "Calibrated confidence of faces", buckets=[step / 10 for step in range(1, 11)]
        )
        self.canary = Counter("ferops_canary_images", "Images sent to the canary", ["version", "result"])
        self.canary_ends = Counter("ferops_canary_ends", "Canaries ended by a guard", ["version", "reason"])
        self.shadow = Counter("ferops_shadow_images", "Images for the shadow", ["version", "outcome"])
        self.shadow_faces = Counter("ferops_shadow_faces", "Faces compared with the shadow", ["version", "result"])
        self.shadow_statuses = Counter("ferops_shadow_statuses", "Images by status", ["version", "champion", "shadow"])
        self.shadow_difference = Histogram(
            "ferops_shadow_confidence_difference",
            "Absolute difference of the confidences of a face",
            ["version"],
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1),
        )
        self.work = Histogram("ferops_work_seconds", "Work on an image", ["version", "role"], buckets=SECONDS)

    def count(self, result: Answer, *, role: str) -> None:
        """Count an answer of the version with this role."""
        self.images.labels(result.status).inc()
        self.faces.observe(result.faces_found)
        for face in result.faces:
            self.labels.labels(face.label, face.status).inc()
            self.confidence.observe(face.confidence)
        self.work.labels(result.model_version, role).observe(sum(result.timing_ms.values()) / 1e3)

    def count_pairs(self, rows: list[PairRow]) -> None:
        """Count the rows of one image."""
        first = rows[0]
        version = first.shadow_version
        self.shadow.labels(version, first.outcome).inc()
        if first.shadow_ms is None:
            return
        self.work.labels(version, "shadow").observe(first.shadow_ms / 1e3)
        self.shadow_statuses.labels(version, first.champion_status, first.shadow_status).inc()
        for row in rows:
            if row.champion_confidence is not None and row.shadow_confidence is not None:
                same = row.champion_label == row.shadow_label
                self.shadow_faces.labels(version, "agree" if same else "differ").inc()
                difference = abs(row.champion_confidence - row.shadow_confidence)
                self.shadow_difference.labels(version).observe(difference)
            elif row.champion_label or row.shadow_label:
                self.shadow_faces.labels(version, "missed" if row.champion_label else "extra").inc()


@cache
def counters() -> Counters:
    return Counters()


def count_refusal(code: str) -> None:
    counters().refused.labels(code).inc()
