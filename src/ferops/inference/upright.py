"""A second look where no face was found: scanners and messengers lose the orientation of a photograph.

It is turned by a quarter, a half and three quarters; where faces are found then, the surest one decides which way is
up. Images that show a face at the first look cost nothing, and crops around a face (SMALL_PX) are upright.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ferops.faces.detect import SMALL_PX, find_faces
from ferops.faces.detection import Detection, Detector
from ferops.faces.photo import Photo

TURNS = (90, 180, 270)
"""Degrees clockwise."""


class Found(NamedTuple):
    """A photo as it was turned, and its faces in pixels of the image so turned."""

    photo: Photo
    faces: list[Detection]


def find_upright(detector: Detector, photos: Sequence[Photo]) -> list[Found]:
    """Return the faces of each photo; of those without one that is upright, the faces of the photo turned."""
    return [
        Found(photo, faces) if faces or max(photo.shape) <= SMALL_PX else _second_look(detector, photo)
        for photo, faces in zip(photos, find_faces(detector, photos), strict=True)
    ]


def _second_look(detector: Detector, photo: Photo) -> Found:
    turned = [photo.turned(degrees) for degrees in TURNS]
    looks = [Found(each, faces) for each, faces in zip(turned, find_faces(detector, turned), strict=True) if faces]
    return max(looks, key=lambda look: max(face.score for face in look.faces), default=Found(photo, []))
