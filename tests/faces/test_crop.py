from __future__ import annotations

import numpy as np

from ferops.faces.align import TEMPLATE, align
from ferops.faces.crop import face_from, faces_from, tight
from ferops.faces.detector import Detection

IMAGE = np.random.default_rng(4).integers(0, 256, (200, 300, 3), dtype=np.uint8)


def face(x: float, y: float, side: float) -> Detection:
    landmarks = (TEMPLATE * side + (x, y)).astype(np.float32)
    return Detection(box=np.array([x, y, x + side, y + side], np.float32), landmarks=landmarks, score=0.95)


SMALL, LARGE = face(150, 90, 40), face(5, 5, 90)


def test_the_one_face_is_the_first_of_all() -> None:
    """Training sees `face_from`, the service `faces_from`: the same pixels."""
    for how, chosen in (("largest", LARGE), ("central", SMALL)):
        one = face_from(IMAGE, [SMALL, LARGE], size_px=48, margin=0.2, how=how)  # type: ignore[arg-type]
        every = faces_from(IMAGE, [SMALL, LARGE], size_px=48, margin=0.2, how=how)  # type: ignore[arg-type]
        assert one is not None
        assert one.detection is every[0].detection is chosen
        assert len(every) == 2
        np.testing.assert_array_equal(one.pixels, every[0].pixels)
        np.testing.assert_array_equal(one.pixels, align(IMAGE, chosen.landmarks, size_px=48, margin=0.2))


def test_at_most() -> None:
    every = faces_from(IMAGE, [SMALL, LARGE], size_px=48, margin=0.1, how="largest", at_most=1)
    assert [found.detection for found in every] == [LARGE]


def test_no_face() -> None:
    assert face_from(IMAGE, [], size_px=48, margin=0.1, how="largest") is None
    assert faces_from(IMAGE, [], size_px=48, margin=0.1, how="central") == []


def test_tight() -> None:
    kept = tight(IMAGE, size_px=300)
    assert kept.detection is None
    np.testing.assert_array_equal(kept.pixels[50:250], IMAGE)
    assert (kept.pixels[:50] == IMAGE[0]).all()
