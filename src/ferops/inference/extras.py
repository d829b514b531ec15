"""What POST /predict answers only if it is asked to: heat maps, aligned crops, and the image with blurred faces."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import cv2

from ferops.inference.drawing import blur
from ferops.inference.occlusion import METHOD
from ferops.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ferops.faces.photo import Photo
    from ferops.inference.occlusion import Heat
    from ferops.inference.prediction import Prediction
    from ferops.inference.predictor import Predictor

MAX_EXPLAINED = 5
"""Faces of an image: each takes as long as 50 others."""

CELLS = 12
"""A side of the grid that is sent: finer than the map can tell apart."""


@dataclass(frozen=True)
class Wanted:
    """The extras that a request asks for."""

    explain: bool = False
    crops: bool = False
    blur: bool = False


NONE = Wanted()


class HeatAnswer(Record):
    """What in a face spoke for its label.

    Attributes:
        method: `occlusion`: parts of the face were blurred in turn, and the model asked again.
        cells: rows from the top, each from the left, over the face's aligned crop; 1 where most spoke for the label, 0
            where nothing did.
        fall: by how much the label's probability fell where it fell most. If that is little, no part decided alone.
    """

    method: Literal["occlusion"]
    cells: tuple[tuple[float, ...], ...]
    fall: float


class Extras(Record):
    """What the query asked for; the rest is empty.

    Attributes:
        heat: of the first faces of the answer, in their order; at most five, and how many is
            `faces_explained`.
        crops: the faces of the answer as the model saw them: PNG, base64.
        blurred: the upright image in which every face found, those left out included, is unrecognisable: JPEG, base64.
    """

    heat: tuple[HeatAnswer, ...] = ()
    faces_explained: int = 0
    crops: tuple[str, ...] = ()
    blurred: str | None = None


def predict(predictor: Predictor, photo: Photo, wanted: Wanted, *, max_faces: int) -> tuple[Prediction, Extras]:
    """Return the prediction with at most `max_faces` faces, and the extras."""
    # Faces that the answer leaves out are blurred all the same
    everything = predictor.predict(
        photo, max_faces=None if wanted.blur else max_faces, crops=wanted.crops or wanted.explain
    )
    faces = everything.faces[:max_faces]
    heats = [predictor.explain(face).heat for face in faces[:MAX_EXPLAINED]] if wanted.explain else []
    extras = Extras(
        heat=tuple(_heat(heat) for heat in heats if heat is not None),
        faces_explained=len(heats),
        crops=tuple(_encoded(face.crop, ".png") for face in faces if face.crop is not None) if wanted.crops else (),
        blurred=_encoded(blur(photo_upright(photo, everything), [face.box for face in everything.faces]), ".jpg")
        if wanted.blur
        else None,
    )
    left_out = everything.left_out + len(everything.faces) - len(faces)
    return replace(everything, faces=faces, left_out=left_out), extras


def photo_upright(photo: Photo, prediction: Prediction) -> NDArray[np.uint8]:
    """Return the pixels `(H, W, 3)` in which the boxes of the prediction lie."""
    return photo.turned(prediction.rotation).full()


def _heat(heat: Heat) -> HeatAnswer:
    cells = cv2.resize(heat.values, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return HeatAnswer(
        method=METHOD,
        cells=tuple(tuple(round(float(value), 3) for value in row) for row in cells),
        fall=round(heat.fall, 6),
    )


def _encoded(pixels: NDArray[np.uint8], kind: str) -> str:
    """Return an RGB image `(H, W, 3)` as a file, in base64; `kind` is its ending."""
    _, file = cv2.imencode(kind, pixels[:, :, ::-1])
    return base64.b64encode(file.tobytes()).decode()
