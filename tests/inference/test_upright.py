"""Photographs on their side or upside down, with a detector that sees a painted mark as an upright face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferops.faces.detection import Detection
from ferops.faces.photo import Photo, turned
from ferops.inference.predictor import Predictor
from ferops.inference.upright import find_upright

FACE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
CORNER = (200, 10)  # x, y of a face of 60 px


class Marks:
    """Finds a face where 60 x 60 px are bright, darker in their lower half: upright; its score is their brightness."""

    def __init__(self) -> None:
        self.looks = 0

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        self.looks += len(images)
        return [list(self._faces(image)) for image in images]

    def _faces(self, image: NDArray[np.uint8]) -> Any:
        rows, columns = np.nonzero(image[..., 0] > 100)
        if len(rows) and rows.max() - rows.min() == 29:  # the bright half lies across
            x, y = columns.min(), rows.min()
            if y + 30 < image.shape[0] and image[y + 30, x, 0] == 50:  # and the dark one below it
                box = np.array([x, y, x + 60, y + 60], np.float32)
                yield Detection(box, FACE * 60 + (x, y), float(image[y, x, 0]) / 255)


def photo(*, brightness: int = 250) -> NDArray[np.uint8]:
    image = np.zeros((150, 300, 3), np.uint8)
    x, y = CORNER
    image[y : y + 30, x : x + 60] = brightness
    image[y + 30 : y + 60, x : x + 60] = 50
    return image


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_photo_is_answered_upright(make_export: Any, degrees: int) -> None:
    detector = Marks()
    stored = turned(photo(), degrees)
    found = Predictor(make_export(), detector=detector).predict(stored)
    assert found.rotation == (360 - degrees) % 360
    assert (found.width, found.height) == (300, 150)
    assert [face.box for face in found.faces] == [(200, 10, 260, 70)]
    assert detector.looks == (1 if degrees == 0 else 4)
    assert found.draw(stored).size == (300, 150)


def test_a_photo_without_a_face_stays_as_it_is(make_export: Any) -> None:
    found = Predictor(make_export(), detector=Marks()).predict(np.zeros((150, 300, 3), np.uint8))
    assert (found.rotation, found.width, found.height, found.faces) == (0, 300, 150, ())


def test_a_crop_around_a_face_is_upright() -> None:
    detector = Marks()
    (found,) = find_upright(detector, [Photo.of(np.zeros((90, 100, 3), np.uint8))])
    assert found.photo.rotation == 0
    assert detector.looks == 2  # the second on the enlarged crop


def test_the_surest_face_decides_which_way_is_up() -> None:
    stored = np.zeros((300, 300, 3), np.uint8)

    class Both:
        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
            scores = [0.0] if len(images) == 1 else [0.95, 0.99, 0.97]
            box = np.array([0, 0, 60, 60], np.float32)
            return [[Detection(box, FACE * 60, score)] if score else [] for score in scores]

    (found,) = find_upright(Both(), [Photo.of(stored)])
    assert found.photo.rotation == 180
    assert [face.score for face in found.faces] == [0.99]


def test_a_reduced_photo_is_turned_in_all_its_pixels() -> None:
    stored = photo()
    found = Photo.of(stored).turned(90).turned(180)
    assert (found.rotation, found.shape) == (270, (300, 150))
    np.testing.assert_array_equal(found.pixels, turned(stored, 270))
    np.testing.assert_array_equal(turned(turned(stored, 90), 270), stored)
