"""The answers of the service, as JSON: a prediction, and information about the model."""

from __future__ import annotations

from typing import ClassVar

from ferops import uses
from ferops.config import Serve, Tta
from ferops.inference.extras import Extras
from ferops.inference.prediction import LANDMARKS, Face, FaceStatus, Prediction, Status
from ferops.model_config import ExportConfig
from ferops.records import Record
from ferops.records.release import Release
from ferops.records.starter import AboutStarter

PRIVACY = "Images stay in memory only while they are answered. They are not stored, logged or passed on."
LOGGED = " Kept of each answer are its time, labels, probabilities, and size, light, sharpness and angle of the face."
HASHED = " So are keyed hashes of the image and of the client's address or key."


class Box(Record):
    """Corners in pixels of the upright image."""

    x1: float
    y1: float
    x2: float
    y2: float


class FaceAnswer(Record):
    """One face.

    Attributes:
        confidence: the label's probability.
        probabilities: class -> calibrated probability; they sum to 1.
        landmarks: (x, y) in pixels of the upright image, by name.
        detection_score: the detector's own, 0-1.
        set: the classes that may be the label, the likeliest first (docs/predict.md); null where the model has no
            threshold for it.
    """

    label: str
    confidence: float
    status: FaceStatus
    probabilities: dict[str, float]
    box: Box
    landmarks: dict[str, tuple[float, float]]
    detection_score: float
    set: tuple[str, ...] | None = None


class Answer(Record):
    """The answer of POST /predict.

    Attributes:
        faces: those of the `faces_found` that the limit `serve.max_faces` leaves, preferred ones first.
        first_frame_only: whether the file has further frames or pages, which nobody looked at.
        classes: the model's classes, in order.
        width, height: of the upright image, in pixels.
        rotation: by how many degrees clockwise the image had to be turned, beyond its EXIF, to be upright.
        timing_ms: time for decoding and for the prediction.
        extras: what the query asked for: `explain=1`, `crops=1`, `blur=1`.
    """

    stored_in: ClassVar[str] = "POST /predict"
    made_by: ClassVar[str] = "ferops serve"

    status: Status
    faces: tuple[FaceAnswer, ...]
    faces_found: int
    faces_returned: int
    first_frame_only: bool
    classes: tuple[str, ...]
    width: int
    height: int
    rotation: int
    model_version: str
    data_version: str
    timing_ms: dict[str, float]
    notice: str
    extras: Extras = Extras()


class Info(Record):
    """The answer of GET /info: what the model is and what it may be used for.

    Attributes:
        starter: description and terms of the starter model; None for a version of the registry.
        served: the model file in use.
        tta: test-time augmentation: over which views of a face an answer is the mean.
        low_confidence: calibrated confidences below it need human review.
        limits: the block `serve` of params.yaml.
        needs_key: whether the service asks for an API key.
    """

    stored_in: ClassVar[str] = "GET /info"
    made_by: ClassVar[str] = "ferops serve"

    model_version: str
    tag: str
    starter: AboutStarter | None
    data_version: str
    architecture: str
    served: str
    tta: Tta
    size_px: int
    classes: tuple[str, ...]
    low_confidence: float
    min_detection_confidence: float
    temperature: float
    sources: tuple[str, ...]
    synthetic_data: bool
    git_commit: str | None
    licence: str
    purpose: str
    notice: str
    intended_uses: tuple[str, ...]
    out_of_scope: tuple[str, ...]
    prohibited_uses: tuple[str, ...]
    privacy: str
    limits: Serve
    needs_key: bool


def answer(
    prediction: Prediction,
    *,
    release: Release,
    first_frame_only: bool,
    timing_ms: dict[str, float],
    extras: Extras = Extras(),  # noqa: B008 # frozen
) -> Answer:
    """Return the answer of POST /predict.

    Args:
        first_frame_only: as `ferops.datasets.images.has_further_frames` found.
    """
    return Answer(
        status=prediction.status,
        faces=face_answers(prediction),
        faces_found=prediction.faces_found,
        faces_returned=len(prediction.faces),
        first_frame_only=first_frame_only,
        classes=prediction.classes,
        width=prediction.width,
        height=prediction.height,
        rotation=prediction.rotation,
        model_version=release.model_version,
        data_version=release.data_version,
        timing_ms={name: round(value, 2) for name, value in timing_ms.items()},
        notice=uses.DISCLAIMER,
        extras=extras,
    )


def face_answers(prediction: Prediction) -> tuple[FaceAnswer, ...]:
    """Return the faces of a prediction as they are written to JSON."""
    return tuple(_face(face, prediction.classes) for face in prediction.faces)


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
        set=face.set,
    )


def info(*, release: Release, config: ExportConfig, needs_key: bool = False, logged: bool = False) -> Info:
    """Return the answer of GET /info; `config` is the exported model's, `logged` whether the service keeps a log."""
    return Info(
        model_version=release.model_version,
        tag=release.tag,
        starter=release.starter,
        data_version=release.data_version,
        architecture=config.architecture,
        served=config.served,
        tta=config.tta,
        size_px=config.size_px,
        classes=config.classes,
        low_confidence=config.low_confidence,
        min_detection_confidence=config.min_confidence,
        temperature=config.temperature,
        sources=config.provenance.sources,
        synthetic_data=config.provenance.synthetic,
        git_commit=config.provenance.git_commit,
        licence=config.licence,
        purpose=release.purpose,
        notice=uses.DISCLAIMER,
        intended_uses=uses.INTENDED,
        out_of_scope=uses.OUT_OF_SCOPE,
        prohibited_uses=uses.PROHIBITED,
        privacy=PRIVACY + (LOGGED + (HASHED if release.limits.log_hashes else "") if logged else ""),
        limits=release.limits,
        needs_key=needs_key,
    )
