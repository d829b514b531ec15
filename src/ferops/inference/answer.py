"""What the service says: a prediction, and what the model is, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ferops import uses
from ferops.inference.predictor import LANDMARKS, Face, FaceStatus, Prediction, Status
from ferops.model_config import ExportConfig

PRIVACY = "Pictures are held in memory while they are answered. None is stored, logged or passed on."


class Box(BaseModel):
    """Corners in pixels of the upright picture."""

    x1: float
    y1: float
    x2: float
    y2: float


class FaceAnswer(BaseModel):
    """One face. `landmarks` are (x, y) in pixels by name; `probabilities` sum to 1; `confidence` is the label's."""

    label: str
    confidence: float
    status: FaceStatus
    probabilities: dict[str, float]
    box: Box
    landmarks: dict[str, tuple[float, float]]
    detection_score: float


class Answer(BaseModel):
    """The answer of POST /predict. `width` and `height` are the upright picture's, in pixels."""

    status: Status
    faces: list[FaceAnswer]
    classes: list[str]
    width: int
    height: int
    model_version: str
    data_version: str
    timing_ms: dict[str, float]
    notice: str


def answer(
    prediction: Prediction,
    *,
    classes: tuple[str, ...],
    release: dict[str, Any],
    width: int,
    height: int,
    timing_ms: dict[str, float],
) -> Answer:
    """Return the JSON of POST /predict.

    Args:
        classes: the model's.
        release: what `ferops.packaging.bento` wrote beside the service.
        width, height: of the upright image, in pixels.
    """
    return Answer(
        status=prediction.status,
        faces=[_face(face, classes) for face in prediction.faces],
        classes=list(classes),
        width=width,
        height=height,
        model_version=release["model_version"],
        data_version=release["data_version"],
        timing_ms={name: round(value, 2) for name, value in timing_ms.items()},
        notice=uses.DISCLAIMER,
    )


def _face(face: Face, classes: tuple[str, ...]) -> FaceAnswer:
    x1, y1, x2, y2 = (round(side, 1) for side in face.box)
    return FaceAnswer(
        label=face.label,
        confidence=round(face.confidence, 6),
        status=face.status,
        probabilities={name: round(float(p), 6) for name, p in zip(classes, face.probabilities, strict=True)},
        box=Box(x1=x1, y1=y1, x2=x2, y2=y2),
        landmarks={
            name: (round(float(x), 1), round(float(y), 1))
            for name, (x, y) in zip(LANDMARKS, face.landmarks, strict=True)
        },
        detection_score=round(face.detection_score, 4),
    )


def info(*, release: dict[str, Any], config: ExportConfig) -> dict[str, Any]:
    """Return the JSON of GET /info; `config` is the exported model's."""
    return {
        "model_version": release["model_version"],
        "tag": release["tag"],
        # What the starter model is and under which terms; null for a version of the registry
        "starter": release.get("starter"),
        "data_version": release["data_version"],
        "architecture": config.architecture,
        "served": config.served,
        "size_px": config.size_px,
        "classes": list(config.classes),
        "low_confidence": config.low_confidence,
        "min_detection_confidence": config.min_confidence,
        "temperature": config.temperature,
        "sources": list(config.provenance.sources),
        "synthetic_data": config.provenance.synthetic,
        "git_commit": config.provenance.git_commit,
        "licence": config.licence,
        "purpose": release["purpose"],
        "notice": uses.DISCLAIMER,
        "intended_uses": list(uses.INTENDED),
        "out_of_scope": list(uses.OUT_OF_SCOPE),
        "prohibited_uses": list(uses.PROHIBITED),
        "privacy": PRIVACY,
        "limits": release["limits"],
    }
