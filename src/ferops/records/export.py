"""What the stage `export` leaves in reports/export/."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.config import Tta
from ferops.records.base import Record
from ferops.records.provenance import Provenance

Runtime = Literal["torch", "onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]


class Parity(Record):
    """An exported file against the trained weights, on the same validation faces.

    Attributes:
        max_abs_difference: of the logits.
        changed_share: of the faces whose predicted class differs, 0-1.
        accuracy: of the exported file.
        accuracy_difference: exported minus trained.
    """

    max_abs_difference: float
    changed_share: float
    accuracy: float
    accuracy_difference: float


class RuntimeSpeed(Record):
    """One runtime on this machine: median latency of one face, and faces per second in batches of 16."""

    runtime: Runtime
    precision: Precision
    latency_ms: float
    images_per_s: float


class ExportSummary(Record):
    """The exported files.

    Attributes:
        served: the file that is evaluated and served.
        size_mb: by file; 1 MB is 10^6 bytes.
        parity: by file, without test-time augmentation.
        tta: test-time augmentation in evaluation and service.
        temperature: fitted on the validation split, for the served file with `tta`.
    """

    stored_in: ClassVar[str] = "reports/export/summary.json"
    made_by: ClassVar[str] = "ferops export"

    stage: Literal["export"] = "export"
    provenance: Provenance
    served: str
    size_mb: dict[str, float]
    validation_images: int
    parity: dict[str, Parity]
    tta: Tta = "off"
    temperature: float
    cpu: str
    speed: tuple[RuntimeSpeed, ...]
