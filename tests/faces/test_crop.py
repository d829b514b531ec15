from __future__ import annotations

import numpy as np
import pytest

from ferops.config import FaceSettings
from ferops.faces.align import TEMPLATE, align
from ferops.faces.crop import crop_faces, crop_whole
from ferops.faces.detection import Detection
from ferops.faces.photo import Photo

IMAGE = np.random.default_rng(4).integers(0, 256, (200, 300, 3), dtype=np.uint8)


def face(x: float, y: float, side: float) -> Detection:
    landmarks = (TEMPLATE * side + (x, y)).astype(np.float32)
    return Detection(box=np.array([x, y, x + side, y + side], np.float32), landmarks=landmarks, score=0.95)


SMALL, LARGE = face(150, 90, 40), face(5, 5, 90)


SETTINGS = FaceSettings(
    detector="mtcnn", size_px=48, min_confidence=0.9, margin=0.2, choose="largest", align="steady_scale"
)


@pytest.mark.parametrize(("choose", "order"), [("largest", [LARGE, SMALL]), ("central", [SMALL, LARGE])])
def test_the_preferred_face_comes_first(choose: str, order: list[Detection]) -> None:
    faces = crop_faces(Photo.of(IMAGE), [SMALL, LARGE], SETTINGS.model_copy(update={"choose": choose}))
    assert [face.detection for face in faces] == order
    for face, found in zip(faces, order, strict=True):
        np.testing.assert_array_equal(face.pixels, align(IMAGE, found.landmarks, size_px=48, margin=0.2))


def test_the_fit_is_passed_on() -> None:
    gaping = Detection(box=LARGE.box, landmarks=LARGE.landmarks + np.float32([[0, 0]] * 3 + [[0, 9]] * 2), score=0.9)
    wanted = align(IMAGE, gaping.landmarks, size_px=48, margin=0.2, fit="five_points")
    five = SETTINGS.model_copy(update={"align": "five_points"})
    np.testing.assert_array_equal(crop_faces(Photo.of(IMAGE), [gaping], five)[0].pixels, wanted)
    assert (crop_faces(Photo.of(IMAGE), [gaping], SETTINGS)[0].pixels != wanted).any()


def test_no_face() -> None:
    assert crop_faces(Photo.of(IMAGE), [], SETTINGS) == []


def test_an_image_kept_whole() -> None:
    kept = crop_whole(IMAGE, size_px=300)
    assert kept.detection is None
    np.testing.assert_array_equal(kept.pixels[50:250], IMAGE)
    assert (kept.pixels[:50] == IMAGE[0]).all()
