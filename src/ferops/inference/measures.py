"""What is recorded of a face besides its answer: the same at the evaluation, which is the reference, and in service."""

from __future__ import annotations

import math

from ferops.faces.align import yaw_degrees
from ferops.inference.prediction import Face

MEASURES = ("detection_score", "face_px", "sharpness", "brightness", "yaw_degrees")


def measures(face: Face) -> dict[str, float]:
    """Return MEASURES of a face.

    `detection_score` is 0-1; `face_px` the geometric mean of the box's sides in pixels of the image; `sharpness` and
    `brightness` are those of the face as the network sees it (`ferops.faces.quality`).
    """
    x1, y1, x2, y2 = face.box
    return {
        "detection_score": face.detection_score,
        "face_px": math.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0)),
        "sharpness": face.sharpness,
        "brightness": face.brightness,
        "yaw_degrees": yaw_degrees(face.landmarks),
    }
