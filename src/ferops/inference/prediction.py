"""What the Predictor answers: the faces of an image with their probabilities; as a table, and drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from ferops.faces.photo import turned
from ferops.inference.drawing import Mark
from ferops.inference.drawing import blur as blurred
from ferops.inference.drawing import draw as drawn
from ferops.inference.inputs import ImageLike, as_pixels
from ferops.inference.occlusion import Heat

if TYPE_CHECKING:
    import pandas as pd

FaceStatus = Literal["ok", "low_confidence"]
Status = Literal["ok", "no_face", "low_confidence"]

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""The five points in their order; left and right as seen in the image."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Face:
    """One face of an image.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the upright image; may reach past its edge.
        landmarks: float32 `(5, 2)` of x, y in pixels, in the order of LANDMARKS.
        probabilities: float32 `(K,)` in the order of the model's classes; they sum to 1.
        label: the class with the largest probability.
        confidence: that probability, 0-1, calibrated by temperature scaling (Guo et al., "On Calibration of Modern
            Neural Networks", ICML 2017).
        status: `low_confidence` asks for human review: the confidence is below the model's threshold, or the eyes are
            below the mouth.
        detection_score: the detector's own score, 0-1.
        crop: uint8 `(S, S, 3)`, RGB, the aligned face that the model saw; None unless it was asked for.
        heat: what in the crop spoke for the label; None unless it was asked for.
        brightness, sharpness: of the face as the network sees it (`ferops.faces.quality`); NaN where not measured.
        set: the classes that may be the label, the likeliest first: over many faces like those of the validation split
            the share `config.coverage` of such sets holds it. None where the model has no threshold for it.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    label: str
    confidence: float
    status: FaceStatus
    detection_score: float
    crop: NDArray[np.uint8] | None = None
    heat: Heat | None = None
    brightness: float = math.nan
    sharpness: float = math.nan
    set: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Prediction:
    """The faces of one image, preferred ones (`choose`) first.

    Attributes:
        faces: empty where none was found.
        classes: the model's, in the order of the probabilities.
        width, height: of the upright image, in pixels.
        left_out: how many further faces `max_faces` left out.
        rotation: by how many degrees clockwise the image had to be turned, beyond its EXIF, to be upright: 0, 90, 180
            or 270.
    """

    faces: tuple[Face, ...]
    classes: tuple[str, ...]
    width: int
    height: int
    left_out: int = 0
    rotation: int = 0

    @property
    def faces_found(self) -> int:
        return len(self.faces) + self.left_out

    @property
    def status(self) -> Status:
        """`no_face` without a face, `low_confidence` if any face has that status, else `ok`."""
        if not self.faces:
            return "no_face"
        return "low_confidence" if any(face.status == "low_confidence" for face in self.faces) else "ok"

    def to_dataframe(self) -> pd.DataFrame:
        """Return a table with a row for each face (docs/predict.md has the columns); of several images:
        `pandas.concat([each.to_dataframe() for each in predictions], keys=paths)`."""
        # Not an import statement: a Bento's requirements are computed from those, and the service needs no tables
        frame: pd.DataFrame = import_module("pandas").DataFrame(
            list(rows(self)), columns=list(face_columns(self.classes))
        )
        return frame

    def draw(self, image: ImageLike, *, bgr: bool = False, blur: bool = False) -> Image:
        """Return the image, upright, with a box around each face, and its label and probability.

        Args:
            image: that which was predicted, in any form that `Predictor.predict` takes.
            bgr: as for `Predictor.predict`.
            blur: make the faces that were found unrecognisable.

        Raises:
            ValueError: `image` has another size.
        """
        pixels = turned(as_pixels(image, bgr=bgr), self.rotation)
        if pixels.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"found an image of {pixels.shape[1]}x{pixels.shape[0]} pixels to draw into; the prediction is of one "
                f"of {self.width}x{self.height}"
            )
        if blur:
            pixels = blurred(pixels, [face.box for face in self.faces])
        marks = [Mark(face.box, f"{face.label} {face.confidence:.0%}", face.status == "ok") for face in self.faces]
        return drawn(pixels, marks)


def face_columns(classes: Sequence[str]) -> dict[str, type]:
    """Return the columns of a table of faces, in their order, and the type of their values; docs/predict.md."""
    return {
        "face": int,
        "label": str,
        "confidence": float,
        "status": str,
        "detection_score": float,
        **dict.fromkeys(("x1", "y1", "x2", "y2"), float),
        **{f"{name}_{axis}": float for name in LANDMARKS for axis in "xy"},
        **{f"p_{name}": float for name in classes},
    }


def rows(prediction: Prediction) -> Iterator[dict[str, Any]]:
    """Yield the row of each face, with the columns of `face_columns`. Faces count from 1; pixels have one decimal."""
    columns = face_columns(prediction.classes)
    for number, face in enumerate(prediction.faces, start=1):
        points = (round(float(value), 1) for value in (*face.box, *face.landmarks.reshape(-1)))
        probabilities = (round(float(value), 6) for value in face.probabilities)
        score = round(face.detection_score, 4)
        values = (number, face.label, round(face.confidence, 6), face.status, score, *points, *probabilities)
        yield dict(zip(columns, values, strict=True))
