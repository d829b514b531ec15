from __future__ import annotations

import numpy as np
import pytest

from answers import face, prediction
from ferops.inference.drawing import blur

GREY = np.full((200, 300, 3), 128, np.uint8)


def painted(pixels: np.ndarray, *faces, size: tuple[int, int] = (300, 200)) -> np.ndarray:
    """Where the drawing differs from the image."""
    drawn = prediction(*faces, width=size[0], height=size[1]).draw(pixels)
    assert drawn.size == size
    return (np.asarray(drawn) != pixels).any(axis=2)


@pytest.mark.parametrize(
    ("x", "y"), [(100, 80), (0, 0), (-20, -30), (260, 170), (100, 2)], ids=["middle", "corner", "out", "end", "top"]
)
def test_box_and_label_are_drawn_at_the_face_and_in_the_image(x: float, y: float) -> None:
    marked = painted(GREY, face("surprised", x=x, y=y, side=60))
    rows, columns = np.nonzero(marked)
    assert marked.any()
    assert rows.min() >= y - 20  # the label stands above, below or inside
    assert rows.max() <= y + 80
    assert columns.min() >= min(x, 300 - 130)
    left, top = max(int(x), 0), max(int(y), 0)
    assert marked[top:, left].any(), "the left edge of the box"


def test_no_label_stands_in_the_face_below() -> None:
    """Two people, one close above the other: the lower one's label is below its box, the upper one's above."""
    upper, lower = face(x=100, y=40, side=60), face("sad", x=100, y=104, side=60)
    marked = painted(GREY, upper, lower)
    for y in (40, 104):
        assert not marked[y + 3 : y + 57, 103:157].any()
    assert marked[26:38, 103:157].any()
    assert marked[166:178, 103:157].any()


def test_between_others_a_label_stands_in_its_own_face() -> None:
    faces = [face(x=100, y=y, side=60) for y in (2, 64, 126)]
    marked = painted(GREY, *faces)
    assert marked[66:78, 103:157].any(), "the middle one's, at its top"
    assert not marked[82:122, 103:157].any()


def test_an_image_smaller_than_its_label_can_be_drawn() -> None:
    small = np.full((20, 24, 3), 9, np.uint8)
    assert painted(small, face(x=2, y=2, side=16), size=(24, 20)).any()


def test_the_text_grows_with_the_image() -> None:
    large = np.full((2000, 3000, 3), 128, np.uint8)
    ink = [
        painted(GREY, face(x=100, y=80, side=60)).sum(),
        painted(large, face(x=1000, y=800, side=600), size=(3000, 2000)).sum(),
    ]
    assert ink[1] > 20 * ink[0]


def test_drawing_needs_the_same_image() -> None:
    with pytest.raises(ValueError, match="300x200 pixels to draw into; the prediction is of one of 100x80"):
        prediction(face()).draw(GREY)


def test_blurring_removes_the_face_and_nothing_else() -> None:
    noise = np.random.default_rng(0).integers(0, 256, GREY.shape, dtype=np.uint8)
    found = blur(noise, [(100, 50, 180, 130), (-30, -30, 20, 20), (400, 400, 500, 500)])
    around = np.zeros(noise.shape[:2], bool)
    around[42:139, 92:189] = around[:26, :26] = True
    assert (found == noise).all(axis=2)[~around].all()
    # No detail finer than a sixth of the face is left: neighbours differ little, where noise differed by 85
    steps = np.abs(np.diff(found[50:130, 100:180].astype(int), axis=1))
    assert steps.mean() < 3
    assert not np.shares_memory(found, noise)


def test_a_drawing_of_blurred_faces() -> None:
    noise = np.random.default_rng(0).integers(0, 256, GREY.shape, dtype=np.uint8)
    one = prediction(face(x=100, y=50, side=80), width=300, height=200)
    inside = np.s_[60:125, 110:170]
    assert np.abs(np.diff(np.asarray(one.draw(noise, blur=True))[inside].astype(int), axis=1)).mean() < 3
    assert (np.asarray(one.draw(noise))[inside] == noise[inside]).all()
