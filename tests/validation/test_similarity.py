from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from ferops.validation.near_duplicates import thumbnail
from ferops.validation.similarity import detail_correlation
from scenes import scene

ONE = thumbnail(scene(1))


def test_an_image_is_a_copy_of_itself_and_of_its_mirror_image() -> None:
    assert detail_correlation(ONE, ONE, mirrored=False) == pytest.approx(1)
    assert detail_correlation(ONE, np.ascontiguousarray(ONE[:, ::-1]), mirrored=True) == pytest.approx(1)
    assert detail_correlation(ONE, ONE, mirrored=True) < 0.5


def test_brightness_and_contrast_play_no_part() -> None:
    dull = (ONE * 0.5 + 60).round().astype(np.uint8)
    assert detail_correlation(ONE, dull, mirrored=False) > 0.995


@pytest.mark.parametrize("shift_px", [(1, 0), (0, -2), (2, 1)])
def test_a_shift_is_undone(shift_px: tuple[int, int]) -> None:
    large = np.asarray(Image.fromarray(scene(5, size_px=80)).resize((40, 40), Image.Resampling.BOX))
    x, y = shift_px
    assert detail_correlation(large[4:36, 4:36], large[4 + y : 36 + y, 4 + x : 36 + x], mirrored=False) > 0.99


def test_other_images_are_none() -> None:
    others = [detail_correlation(ONE, thumbnail(scene(seed)), mirrored=False) for seed in range(2, 60)]
    assert max(others) < 0.6


def test_the_same_head_with_another_face_is_no_copy() -> None:
    """A dark head on a bright wall: the outline is the strongest detail, and says nothing."""
    y, x = np.mgrid[0:32, 0:32]
    wall, head = 230.0, np.hypot((x - 16) / 9, (y - 17) / 12) < 1
    faces = [np.where(head, 70 + 0.5 * (thumbnail(scene(seed)).astype(float) - 128), wall) for seed in range(12)]
    images = [cv2.GaussianBlur(face, (0, 0), 0.7).clip(0, 255).astype(np.uint8) for face in faces]
    plain = [np.corrcoef(images[0].ravel(), other.ravel())[0, 1] for other in images[1:]]
    assert min(plain) > 0.96
    assert max(detail_correlation(images[0], other, mirrored=False) for other in images[1:]) < 0.95


def test_a_flat_image_is_like_nothing() -> None:
    assert detail_correlation(ONE, np.full((32, 32), 90, np.uint8), mirrored=False) == 0


def test_a_mistake_in_the_call_is_not_taken_for_disdetail_correlation() -> None:
    with pytest.raises(cv2.error):
        detail_correlation(ONE, ONE[:0], mirrored=False)
