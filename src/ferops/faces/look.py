"""Look for faces as the preprocess stage and the Predictor both do: small pictures get a second, enlarged look."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ferops.faces.detector import Detection, Detector, Image

SMALL_PX = 100
"""Pictures up to this longest side are looked at again when nothing was found: they are crops around a face, as
FER2013's of 48 px and RAF-DB's of 100 px are."""

ENLARGED_PX = 192
"""The longest side of a small picture in the second look, without its border."""

BORDER_SHARE = 0.25
"""Width of the black border in the second look, as a share of each side: in a tight crop the face touches the edge.
Black, because a mirrored border would show a second face."""

PLAUSIBLE_SHARE = 0.5
"""A crop around a face is mostly face: smaller finds (geometric mean side of the box to that of the picture) are
wrinkles and collars. Of the faces found in 240 FER2013 training pictures, one in 200 was smaller than 0.58."""


def look(detector: Detector, images: Sequence[Image]) -> list[list[Detection]]:
    """Return the faces of each RGB uint8 `(H, W, 3)` image, in the images' order and in pixels of the image.

    Where the detector finds nothing in a picture of up to SMALL_PX, the picture is padded and enlarged, and plausible
    faces of a second look count.
    """
    found = [list(faces) for faces in detector.detect(images)]
    again = [i for i, faces in enumerate(found) if not faces and max(images[i].shape[:2]) <= SMALL_PX]
    if again:
        for i, faces in zip(again, detector.detect([_enlarged(images[i]) for i in again]), strict=True):
            moved = [_from_enlarged(face, images[i]) for face in faces]
            found[i] = [face for face in moved if is_plausible(face, images[i])]
    return found


def is_plausible(face: Detection, image: Image) -> bool:
    """Whether `face` fills enough of a crop around a face, and its centre and nose lie inside."""
    height, width = image.shape[:2]
    middle = face.box.reshape(2, 2).mean(axis=0)
    inside = all((point >= 0).all() and (point <= (width, height)).all() for point in (middle, face.landmarks[2]))
    return bool(inside and face.area_px >= PLAUSIBLE_SHARE**2 * height * width)


def _scale(image: Image) -> float:
    return ENLARGED_PX / float(max(image.shape[:2]))


def _border(image: Image) -> tuple[int, int]:
    """Return the border's (height, width) around the enlarged picture."""
    height, width = (round(side * _scale(image)) for side in image.shape[:2])
    return round(BORDER_SHARE * height), round(BORDER_SHARE * width)


def _enlarged(image: Image) -> Image:
    size = [max(1, round(side * _scale(image))) for side in image.shape[1::-1]]
    larger = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    above, beside = _border(image)
    return np.pad(larger, ((above, above), (beside, beside), (0, 0)))


def _from_enlarged(face: Detection, image: Image) -> Detection:
    above, beside = _border(image)
    corner = np.array([beside, above], np.float32)
    return Detection(
        box=((face.box.reshape(2, 2) - corner) / _scale(image)).reshape(4).astype(np.float32),
        landmarks=((face.landmarks - corner) / _scale(image)).astype(np.float32),
        score=face.score,
    )
