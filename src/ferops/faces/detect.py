"""Face detection for the preprocess stage and the Predictor: small images get a second, enlarged attempt."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ferops.faces.detection import Detection, Detector, Image
from ferops.faces.photo import Photo

SMALL_PX = 100
"""Images up to this longest side get a second attempt when nothing was found: they are crops around a face, as
FER2013's of 48 px and RAF-DB's of 100 px are."""

ENLARGED_PX = 144
"""The longest side of a small image in the second attempt (the detectors pad it). Of 102 FER2013 images in which MTCNN
found nothing at 48 px, it found a face in 21 this way; in 20 at sides from 96 to 192."""

PLAUSIBLE_SHARE = 0.5
"""A crop around a face is mostly face: smaller detections (geometric mean side of the box to that of the image) are
wrinkles and collars. Of the faces found in 1098 FER2013 training images, one in 200 was smaller than 0.55."""


def detect_faces(detector: Detector, images: Sequence[Image]) -> list[list[Detection]]:
    """Return the faces of each RGB uint8 `(H, W, 3)` image, in the images' order and in pixels of the image.

    If the detector finds nothing in an image of up to SMALL_PX, it tries again on the enlarged image; only plausible
    faces of that attempt count.
    """
    found = [list(faces) for faces in detector.detect(images)]
    again = [i for i, faces in enumerate(found) if not faces and max(images[i].shape[:2]) <= SMALL_PX]
    if again:
        for i, faces in zip(again, detector.detect([_enlarged(images[i]) for i in again]), strict=True):
            moved = [_reduced(face, images[i]) for face in faces]
            found[i] = [face for face in moved if is_plausible(face, images[i].shape)]
    return found


def find_faces(detector: Detector, photos: Sequence[Photo]) -> list[list[Detection]]:
    """Return the faces of each photo, as `detect_faces`, in pixels of the image itself."""
    return [
        [face.scaled(photo.factor) for face in faces]
        for photo, faces in zip(photos, detect_faces(detector, [photo.pixels for photo in photos]), strict=True)
    ]


def is_plausible(face: Detection, shape: tuple[int, ...]) -> bool:
    """Whether `face` fills enough of a crop of `shape`, (height, width, ...), around a face, and its centre and nose
    lie inside."""
    height, width = shape[:2]
    middle = face.box.reshape(2, 2).mean(axis=0)
    inside = all((point >= 0).all() and (point <= (width, height)).all() for point in (middle, face.landmarks[2]))
    return bool(inside and face.area_px >= PLAUSIBLE_SHARE**2 * height * width)


def _enlarged(image: Image) -> Image:
    height, width = (max(1, round(side * ENLARGED_PX / max(image.shape[:2]))) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def _reduced(face: Detection, image: Image) -> Detection:
    """Return `face` of the enlarged image in pixels of `image`."""
    return face.scaled(max(image.shape[:2]) / ENLARGED_PX)
