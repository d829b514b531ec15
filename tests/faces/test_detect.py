from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ferops.faces.align import TEMPLATE
from ferops.faces.detect import ENLARGED_PX, SMALL_PX, detect_faces, is_plausible
from ferops.faces.detection import Detection


def face(x: float, y: float, width: float, height: float) -> Detection:
    landmarks = (TEMPLATE * (width, height) + (x, y)).astype(np.float32)
    return Detection(box=np.array([x, y, x + width, y + height], np.float32), landmarks=landmarks, score=0.93)


class FarSighted:
    """Sees nothing in images below ENLARGED_PX, and in others a face that fills `share` of the middle."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.seen: list[tuple[int, ...]] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        self.seen += [image.shape for image in images]
        return [self._faces(*image.shape[:2]) for image in images]

    def _faces(self, height: int, width: int) -> list[Detection]:
        if max(height, width) < ENLARGED_PX:
            return []
        rest = (1 - self.share) / 2
        return [face(rest * width, rest * height, self.share * width, self.share * height)]


def test_small_images_get_a_second_look_and_their_own_pixels_back() -> None:
    detector = FarSighted(share=0.8)
    found = detect_faces(detector, [np.zeros((48, 40, 3), np.uint8), np.zeros((SMALL_PX + 1, 60, 3), np.uint8)])
    assert detector.seen == [(48, 40, 3), (SMALL_PX + 1, 60, 3), (ENLARGED_PX, ENLARGED_PX * 40 // 48, 3)]
    assert found[1] == [], "a larger image has one look"
    wanted = face(4, 4.8, 32, 38.4)
    np.testing.assert_allclose(found[0][0].box, wanted.box, atol=0.01)
    np.testing.assert_allclose(found[0][0].landmarks, wanted.landmarks, atol=0.01)
    assert found[0][0].landmarks.dtype == found[0][0].box.dtype == np.float32
    assert found[0][0].score == 0.93


def test_a_second_look_sees_no_wrinkle_for_a_face() -> None:
    assert detect_faces(FarSighted(share=0.3), [np.zeros((48, 48, 3), np.uint8)]) == [[]]


def test_what_the_first_look_finds_counts_whatever_its_size() -> None:
    detector = FarSighted(share=0.1)
    (found,) = detect_faces(detector, [np.zeros((ENLARGED_PX, ENLARGED_PX, 3), np.uint8)])
    assert len(found) == len(detector.seen) == 1


@pytest.mark.parametrize(
    ("box", "plausible"),
    [
        ((10, 5, 80, 90), True),
        ((-20, -20, 140, 140), True),  # boxes reach past the edge of tight crops
        ((40, 30, 45, 35), False),  # too small
        ((70, 0, 90, 90), False),  # its centre lies outside
    ],
)
def test_plausible_in_a_tight_crop(box: tuple[float, float, float, float], plausible: bool) -> None:
    assert is_plausible(face(*box), (100, 100, 3)) is plausible
