"""The Predictor: the one place that turns a picture into faces and probabilities.

It detects and aligns with the functions that made the training faces and runs the file that the evaluation judged,
so what is served is what was measured. Not so for pictures that the preprocess stage kept whole (the status `tight` or
`whole` in faces.parquet): every picture that comes here is searched and aligned, or has no face. How many there were:
`n_tight` and `n_unfound` in metrics.json. Nor are small faces held back here, as `preprocess.min_face_px` does for
training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError

if TYPE_CHECKING:
    from ferops.faces.detection import Detection, Detector
    from ferops.model_config import ExportConfig

FaceStatus = Literal["ok", "low_confidence"]
Status = Literal["ok", "no_face", "low_confidence"]

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""The five points in their order; left and right as seen in the picture."""


class Runtime(Protocol):
    """What classifies faces: `ferops.export.runtime.Classifier`, or a stand-in in tests."""

    @property
    def config(self) -> ExportConfig: ...

    def probabilities(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return calibrated probabilities `(N, 6)` of aligned faces, uint8 `(N, S, S, 3)`."""


@dataclass(frozen=True)
class Face:
    """One face of a picture.

    `box` is (x1, y1, x2, y2) and `landmarks` float32 `(5, 2)` in the order of LANDMARKS, both in pixels of the upright
    picture; a box may reach past its edge. `probabilities` is float32 `(K,)`, sums to 1; `label`
    is its largest entry and `confidence` that entry, calibrated by temperature scaling (Guo et al., "On Calibration
    of Modern Neural Networks", ICML 2017). `low_confidence` asks for human review. `detection_score` is the
    detector's own score, 0-1.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    label: str
    confidence: float
    status: FaceStatus
    detection_score: float


@dataclass(frozen=True)
class Prediction:
    """The faces of one picture, the one that `choose` prefers first.

    `status` is `no_face` without a face, `low_confidence` when any face is, else `ok`.
    """

    status: Status
    faces: tuple[Face, ...]


class Predictor:
    """Detector, alignment and classifier of one exported model.

    Args:
        folder: what the export stage writes (artifacts/export) or a copy of it.
        detector: finds the faces; by default that of the preprocess stage, with the `min_confidence` that the model
            was trained with.
        classifier: by default the `served` file of `folder`.
        threads: of the classifier; None leaves the choice to the runtime.

    Raises:
        FeropsError: `folder` holds no exported model, or one with other classes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        detector: Detector | None = None,
        classifier: Runtime | None = None,
        threads: int | None = None,
    ) -> None:
        self._classifier = classifier or _exported(folder, threads=threads)
        self.config: ExportConfig = self._classifier.config
        if self.config.classes != DEFAULT_CLASSES:
            raise FeropsError(
                f"{folder} predicts {self.config.classes}; this version of ferops has {DEFAULT_CLASSES}. Export again"
            )
        self._detector = detector or _trained_with(self.config)

    def predict(self, images: Sequence[NDArray[np.uint8]], *, max_faces: int | None = None) -> list[Prediction]:
        """Return one Prediction per image.

        Args:
            images: uint8 `(H, W, 3)`, RGB, upright, of any sizes (`ferops.datasets.images.decode` makes them).
            max_faces: keep at most this many faces of an image, the preferred ones; None keeps all.
        """
        from ferops.faces.crop import faces_from
        from ferops.faces.detect import look

        found = [
            faces_from(
                image,
                detections,
                size_px=self.config.size_px,
                margin=self.config.margin,
                how=self.config.choose,
                fit=self.config.align,
                at_most=max_faces,
            )
            for image, detections in zip(images, look(self._detector, images), strict=True)
        ]
        crops = [face.pixels for faces in found for face in faces]
        if not crops:
            return [Prediction(status="no_face", faces=()) for _ in images]
        # All faces of all images in one batch: (N, S, S, 3) -> (N, 6)
        rows = iter(self._classifier.probabilities(np.stack(crops)))
        return [_prediction([self._face(face.detection, next(rows)) for face in faces]) for faces in found]

    def _face(self, detection: Detection | None, probabilities: NDArray[np.float32]) -> Face:
        assert detection is not None  # only faces kept whole have none
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        x1, y1, x2, y2 = (float(side) for side in detection.box)
        return Face(
            box=(x1, y1, x2, y2),
            landmarks=detection.landmarks,
            probabilities=probabilities,
            label=DEFAULT_CLASSES[best],
            confidence=confidence,
            status="low_confidence" if confidence < self.config.low_confidence else "ok",
            detection_score=detection.score,
        )


def _prediction(faces: list[Face]) -> Prediction:
    if not faces:
        return Prediction(status="no_face", faces=())
    unsure = any(face.status == "low_confidence" for face in faces)
    return Prediction(status="low_confidence" if unsure else "ok", faces=tuple(faces))


def _exported(folder: Path, *, threads: int | None) -> Runtime:
    from ferops.export.runtime import Classifier

    return Classifier(folder, threads=threads)


def _trained_with(config: ExportConfig) -> Detector:
    from ferops.faces.detectors import build

    return build(config.detector, min_confidence=config.min_confidence)
