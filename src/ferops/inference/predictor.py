"""The Predictor turns images into faces and probabilities; nothing else does.

Service, CLI, scoring and the end-to-end evaluation call it. It detects and crops with the functions that made the
training faces, and runs the exported file that was evaluated. The preprocess stage differs in two ways: it keeps some
images without a detected face whole (`preprocess.tight_sources`, `no_face: keep`), and it holds small faces back
(`min_face_px`). The Predictor finds no face in the former and classifies the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ferops.config import Tta
from ferops.export.runtime import Classifier
from ferops.faces.crop import FaceCrop, crop_faces
from ferops.faces.detect import detect_faces
from ferops.faces.detection import Detector
from ferops.faces.detectors import from_settings
from ferops.model_config import ExportConfig

FaceStatus = Literal["ok", "low_confidence"]
Status = Literal["ok", "no_face", "low_confidence"]

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""The five points in their order; left and right as seen in the image."""


class Runtime(Protocol):
    """A classifier of faces: `ferops.export.runtime.Classifier`, or another implementation."""

    @property
    def config(self) -> ExportConfig: ...

    @property
    def tta(self) -> Tta: ...

    def probabilities(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return calibrated probabilities `(N, K)` of aligned faces, uint8 `(N, S, S, 3)`."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Face:
    """One face of an image.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the upright image; may reach past its edge.
        landmarks: float32 `(5, 2)` of x, y in pixels, in the order of LANDMARKS.
        probabilities: float32 `(K,)` in the order of `config.classes`; they sum to 1.
        label: the class with the largest probability.
        confidence: that probability, 0-1, calibrated by temperature scaling (Guo et al., "On Calibration of Modern
            Neural Networks", ICML 2017).
        status: `low_confidence` asks for human review.
        detection_score: the detector's own score, 0-1.
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
    """The faces of one image, preferred ones (`choose`) first.

    `status` is `no_face` without a face, `low_confidence` if any face has that status, else `ok`.
    """

    status: Status
    faces: tuple[Face, ...]


class Predictor:
    """Detector, alignment and classifier of one exported model.

    Args:
        folder: the output of the export stage (artifacts/export), or a copy of it.
        detector: by default the one that made the training faces, with the same `min_confidence`.
        classifier: by default the `served` file of `folder`.
        threads: CPU threads of detector and classifier; None for those of `ferops.threads`.

    Raises:
        FeropsError: `folder` holds no exported model, or the detector's weights are not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        detector: Detector | None = None,
        classifier: Runtime | None = None,
        threads: int | None = None,
    ) -> None:
        self._classifier = classifier or Classifier(folder, threads=threads)
        self.config: ExportConfig = self._classifier.config
        self._detector = detector or from_settings(self.config.faces, threads=threads)

    def predict(self, images: Sequence[NDArray[np.uint8]], *, max_faces: int | None = None) -> list[Prediction]:
        """Return one Prediction per image: `crop`, then `classify`.

        Args:
            images: uint8 `(H, W, 3)`, RGB, upright, of any sizes (`ferops.datasets.images.decode` makes them).
            max_faces: keep at most this many faces per image, preferred ones first; None keeps all.
        """
        crops = self.crop(images, max_faces=max_faces)
        pixels = [face.pixels for faces in crops for face in faces]
        # All faces of all images together: (N, S, S, 3) -> (N, K)
        rows = iter(self.classify(np.stack(pixels)) if pixels else ())
        return [_prediction([self._face(face, next(rows)) for face in faces]) for faces in crops]

    def crop(self, images: Sequence[NDArray[np.uint8]], *, max_faces: int | None = None) -> list[list[FaceCrop]]:
        """Return the faces of each image, cropped for the classifier, preferred ones first; see `predict`."""
        found = detect_faces(self._detector, images)
        return [
            crop_faces(image, detections, self.config.faces, at_most=max_faces)
            for image, detections in zip(images, found, strict=True)
        ]

    def classify(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return calibrated probabilities float32 `(N, K)` of RGB uint8 faces `(N, S, S, 3)`, S `config.size_px`.

        Columns are in the order of `config.classes`; rows sum to 1.
        """
        return self._classifier.probabilities(faces)

    def _face(self, crop: FaceCrop, probabilities: NDArray[np.float32]) -> Face:
        assert crop.detection is not None  # only images kept whole have no detection
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        x1, y1, x2, y2 = (float(side) for side in crop.detection.box)
        return Face(
            box=(x1, y1, x2, y2),
            landmarks=crop.detection.landmarks,
            probabilities=probabilities,
            label=self.config.classes[best],
            confidence=confidence,
            status="low_confidence" if confidence < self.config.low_confidence else "ok",
            detection_score=crop.detection.score,
        )


def _prediction(faces: list[Face]) -> Prediction:
    if not faces:
        return Prediction(status="no_face", faces=())
    unsure = any(face.status == "low_confidence" for face in faces)
    return Prediction(status="low_confidence" if unsure else "ok", faces=tuple(faces))
