"""Predictions and results that were never predicted, and the release of a Bento that was never built."""

from __future__ import annotations

import numpy as np

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Serve
from ferops.faces.photo import Photo
from ferops.inference.prediction import Face, Prediction
from ferops.inference.stream import Result
from ferops.records.release import Release


def face(label: str = "happy", *, confidence: float = 0.75, x: float = 10, y: float = 20, side: float = 30) -> Face:
    rest = (1 - confidence) / (len(DEFAULT_CLASSES) - 1)
    return Face(
        box=(x, y, x + side, y + side),
        landmarks=np.arange(10, dtype=np.float32).reshape(5, 2) + np.float32(0.25),
        probabilities=np.array([confidence if name == label else rest for name in DEFAULT_CLASSES], np.float32),
        label=label,
        confidence=confidence,
        status="ok" if confidence >= 0.5 else "low_confidence",
        detection_score=0.99,
    )


def prediction(*faces: Face, width: int = 100, height: int = 80) -> Prediction:
    return Prediction(faces, DEFAULT_CLASSES, width, height)


def result(source: str, *faces: Face) -> Result:
    return Result(source, Photo.of(np.full((80, 100, 3), 128, np.uint8)), prediction(*faces))


def release(limits: Serve) -> Release:
    return Release(
        tag="ferops:v3",
        bento_name="ferops",
        model_version="3",
        model_sha256="f" * 64,
        data_version="abcdefabcdef",
        purpose="research",
        limits=limits,
    )
