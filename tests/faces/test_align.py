from __future__ import annotations

import math
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ferops.config import Align
from ferops.faces.align import (
    TEMPLATE,
    align,
    preferred,
    roll_degrees,
    similarity,
    to_template,
    whole,
    yaw_degrees,
)
from ferops.faces.detection import Detection

SIZE_PX, MARGIN = 64, 0.1
WANTED = (MARGIN + (1 - 2 * MARGIN) * TEMPLATE) * SIZE_PX


def posed(*, scale: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
    """The template's landmarks, scaled, turned and shifted: `scale` pixels per unit."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return scale * (TEMPLATE - 0.5) @ turn.T + (x, y)


def dots(landmarks: NDArray[np.float64], *, side: int) -> NDArray[np.uint8]:
    """A dark image with a round, smooth light at each landmark, wide enough to be found again."""
    rows, columns = np.mgrid[:side, :side] + 0.5  # pixel centres
    radius = np.linalg.norm(landmarks[1] - landmarks[0]) / 12
    light = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2)) for x, y in landmarks)
    return np.repeat((light * 255).round().clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def centre_of_light(image: NDArray[np.uint8], near: NDArray[np.float64], *, reach: float) -> NDArray[np.float64]:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    weight = image[:, :, 0] * (np.hypot(columns - near[0], rows - near[1]) < reach)
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("scale", [30.0, 64.0, 150.0, 400.0])
@pytest.mark.parametrize("degrees", [-35.0, 0.0, 20.0])
def test_landmarks_land_on_the_template(scale: float, degrees: float) -> None:
    side = int(2.2 * scale)
    landmarks = posed(scale=scale, degrees=degrees, x=side / 2 + 0.3, y=side / 2 - 0.4)
    face = align(dots(landmarks, side=side), landmarks, size_px=SIZE_PX, margin=MARGIN)
    assert face.shape == (SIZE_PX, SIZE_PX, 3)
    assert face.dtype == np.uint8
    for wanted in WANTED:
        assert np.linalg.norm(centre_of_light(face, wanted, reach=6) - wanted) < 0.5


@given(
    scale=st.floats(5, 2000),
    degrees=st.floats(-179, 179),
    x=st.floats(-3000, 3000),
    y=st.floats(-3000, 3000),
)
def test_similarity_recovers_a_known_transform(scale: float, degrees: float, x: float, y: float) -> None:
    source = posed(scale=scale, degrees=degrees, x=x, y=y)
    matrix = similarity(source, TEMPLATE)
    back = source @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(back - TEMPLATE).max() < 1e-6
    assert math.hypot(matrix[0, 0], matrix[1, 0]) == pytest.approx(1 / scale)


def test_similarity_has_the_least_squared_error() -> None:
    rng = np.random.default_rng(5)
    source, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    # Least squares over the four parameters (a, b, shift x, shift y), solved directly
    design = np.zeros((10, 4))
    design[::2] = np.column_stack([source[:, 0], -source[:, 1], np.ones(5), np.zeros(5)])
    design[1::2] = np.column_stack([source[:, 1], source[:, 0], np.zeros(5), np.ones(5)])
    a, b, dx, dy = np.linalg.lstsq(design, target.reshape(-1), rcond=None)[0]
    np.testing.assert_allclose(similarity(source, target), [[a, -b, dx], [b, a, dy]], atol=1e-12)


def gaping(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same face with the mouth lower by a third of the eye distance, straight down the face."""
    across = landmarks[1] - landmarks[0]
    opened = landmarks.copy()
    opened[3:] += np.array([-across[1], across[0]]) / 3
    return opened


def test_the_mouth_does_not_move_the_crop() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (120, 120, 3), dtype=np.uint8)
    shut = posed(scale=80, degrees=5, x=60, y=60)
    wide_open = gaping(shut)
    faces = [align(image, points, size_px=SIZE_PX, margin=MARGIN) for points in (shut, wide_open)]
    np.testing.assert_array_equal(*faces)


def test_with_five_points_it_does() -> None:
    wide_open = gaping(posed(scale=80, degrees=5, x=60, y=60))
    to = {fit: to_template(wide_open, size_px=SIZE_PX, margin=MARGIN, fit=fit) for fit in get_args(Align)}
    scales = {fit: math.hypot(matrix[0, 0], matrix[1, 0]) for fit, matrix in to.items()}
    assert scales["steady_scale"] == scales["eyes_nose"] == pytest.approx(SIZE_PX * (1 - 2 * MARGIN) / 80)
    assert scales["five_points"] < 0.95 * scales["steady_scale"]
    np.testing.assert_allclose(to["five_points"], similarity(wide_open, WANTED))
    np.testing.assert_allclose(to["eyes_nose"], similarity(wide_open[:3], WANTED[:3]))


@pytest.mark.parametrize(("fit", "leans_by"), [("steady_scale", 2.0), ("five_points", 2.0), ("eyes_nose", 9.0)])
def test_a_turned_head_stays_upright(fit: Align, leans_by: float) -> None:
    """Turning moves the nose sideways by 0.3 eye distances here; the eyes stay level, and so should the result."""
    turned = posed(scale=80, degrees=0, x=60, y=60)
    turned[2, 0] += 0.3 * (turned[1, 0] - turned[0, 0])
    matrix = to_template(turned, size_px=SIZE_PX, margin=MARGIN, fit=fit)
    after = abs(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))
    assert after == pytest.approx(leans_by, abs=2.5)


def test_landmarks_in_an_order_that_no_face_has_still_give_an_image() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        face = align(np.zeros((90, 90, 3), np.uint8), rng.uniform(0, 90, (5, 2)), size_px=32, margin=0.1)
        assert face.shape == (32, 32, 3)


def test_outside_the_image_its_edge_is_repeated_never_mirrored() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    image[:, 8:12] = 0  # a dark bar near the left edge, which a mirror would show twice
    landmarks = posed(scale=40, degrees=0, x=8, y=25)  # a face that is cut by the left edge
    face = align(image, landmarks, size_px=SIZE_PX, margin=MARGIN)
    dark = face[SIZE_PX // 2, :, 0] < 100
    assert np.flatnonzero(np.diff(dark.astype(int)) == 1).size == 1, "one bar"
    assert (face[:, :20] > 190).all()


def test_large_faces_are_averaged_not_skipped() -> None:
    """A checkerboard far finer than the result becomes an even grey instead of a moiré pattern."""
    image = np.indices((900, 900)).sum(axis=0) % 2 * 255
    image = np.repeat(image.astype(np.uint8)[:, :, None], 3, axis=2)
    face = align(image, posed(scale=600, degrees=0, x=450, y=450), size_px=SIZE_PX, margin=MARGIN)
    assert np.abs(face.astype(int) - 127.5).max() <= 2


def test_a_face_wholly_outside_the_image_still_gives_an_image() -> None:
    image = np.full((40, 40, 3), 90, np.uint8)
    face = align(image, posed(scale=30, degrees=0, x=500, y=-300), size_px=SIZE_PX, margin=MARGIN)
    assert (face == 90).all()


@pytest.mark.parametrize(("height", "width"), [(48, 48), (30, 60), (61, 30), (300, 200)])
def test_whole_shows_everything_and_repeats_the_edge(height: int, width: int) -> None:
    image = np.full((height, width, 3), 60, np.uint8)
    image[:, -1] = image[-1] = 250
    face = whole(image, size_px=SIZE_PX)
    assert face.shape == (SIZE_PX, SIZE_PX, 3)
    assert face.dtype == np.uint8
    assert face[0, 0, 0] == 60
    assert face[-1, -1, 0] > 100
    side = max(height, width)
    if width < side:  # the padding on the right is the last column, again and again
        assert (face[5:-5, -1] > 200).all()


def test_whole_leaves_an_image_of_the_right_size_alone() -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(whole(image, size_px=64), image)


def test_the_preferred_face_comes_first() -> None:
    def face(x1: float, y1: float, x2: float, y2: float) -> Detection:
        return Detection(box=np.array([x1, y1, x2, y2], np.float32), landmarks=np.zeros((5, 2), np.float32), score=0.99)

    corner, middle, small = face(0, 0, 60, 60), face(80, 30, 120, 70), face(10, 60, 30, 90)
    faces = [small, corner, middle]
    assert preferred(faces, image_shape=(100, 200), how="largest") == [corner, middle, small]
    assert preferred(faces, image_shape=(100, 200), how="central") == [middle, corner, small]


@given(degrees=st.floats(-170, 170), scale=st.floats(10, 500))
def test_roll(degrees: float, scale: float) -> None:
    assert roll_degrees(posed(scale=scale, degrees=degrees, x=7, y=-3)) == pytest.approx(degrees, abs=1e-6)


@given(degrees=st.floats(-170, 170), scale=st.floats(10, 500))
def test_yaw_of_a_frontal_face_is_zero_however_it_rolls(degrees: float, scale: float) -> None:
    assert yaw_degrees(posed(scale=scale, degrees=degrees, x=0, y=0)) == pytest.approx(0, abs=1e-6)


def test_yaw_has_the_side_of_the_nose() -> None:
    right = posed(scale=100, degrees=10, x=0, y=0)
    right[2] += 0.2 * (right[1] - right[0])
    left = posed(scale=100, degrees=10, x=0, y=0)
    left[2] -= 0.2 * (left[1] - left[0])
    assert 10 < yaw_degrees(right) < 45
    assert yaw_degrees(left) == pytest.approx(-yaw_degrees(right))
    assert math.isnan(yaw_degrees(np.zeros((5, 2))))


def test_opencv_draws_where_the_docstring_says() -> None:
    """The outer corner of the first pixel is (0, 0): a scaling of exactly one, without turning, moves no pixel."""
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align(image, WANTED, size_px=SIZE_PX, margin=MARGIN), image)
    twice = cv2.resize(image, (128, 128), interpolation=cv2.INTER_NEAREST)
    face = align(twice, 2 * WANTED, size_px=SIZE_PX, margin=MARGIN)
    assert np.abs(face.astype(int) - image).max() <= 1
