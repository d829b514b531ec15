"""What `ferops convert` leaves beside the files that it writes."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.config import Tta
from ferops.records.base import Record

Format = Literal["onnx", "openvino", "tflite", "executorch", "coreml", "tensorrt"]


class Agreement(Record):
    """A converted file against the model as it is served, on the same faces, each one view.

    Attributes:
        same_label: share of the faces with the same label, 0-1.
        largest_difference: of a probability, 0-1.
        latency_ms: median of one face.
    """

    same_label: float
    largest_difference: float
    latency_ms: float


class ConvertedFile(Record):
    """One converted file.

    Attributes:
        file: its name in the folder.
        made_from: the model's file that was converted.
        precision: of its layers.
        size_mb: with all that belongs to it; 1 MB is 10^6 bytes.
        agreement: None where this machine cannot run the file.
    """

    format: Format
    file: str
    made_from: str
    precision: Literal["fp32", "tf32", "fp16", "int8"]
    size_mb: float
    agreement: Agreement | None


class Conversion(Record):
    """A model in other formats. Each file maps an RGB face `(1, size_px, size_px, 3)` to probabilities `(1, K)`.

    The probabilities are calibrated. A face is uint8, in Core ML float32 of 0-255; it is aligned as config.json says
    (`align`, `margin`).

    Attributes:
        model: which model it is.
        served: the file that answers where ferops runs the model, and the sha256 of it.
        tta: test-time augmentation of the served model; converted files have none.
        temperature: is part of each file.
        faces: how many were compared.
        faces_from: `rendered`, or `images` that were given (a path of theirs would not survive a move).
        threads: of the runtimes that can be limited.
    """

    stored_in: ClassVar[str] = "DIR/conversion.json"
    made_by: ClassVar[str] = "ferops convert --out DIR"

    model: str
    served: str
    sha256: str
    classes: tuple[str, ...]
    size_px: int
    tta: Tta
    temperature: float
    faces: int
    faces_from: str
    cpu: str
    threads: int
    files: tuple[ConvertedFile, ...]
