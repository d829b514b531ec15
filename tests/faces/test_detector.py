"""What every detector must do, shown on MTCNN and YuNet; and what is MTCNN's own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ferops.datasets.images import decode
from ferops.errors import FeropsError
from ferops.faces import detectors
from ferops.faces.detection import Detection, Detector
from ferops.faces.detectors import build, mtcnn_networks
from ferops.faces.detectors.letterbox import MAX_SIDE_PX
from ferops.faces.detectors.mtcnn import CROP_SIDE_PX
from ferops.machine import import_openvino
from rendered import MIRRORED, framed_portraits, network_inputs, off_by, portraits

FACENET_PYTORCH = json.loads((Path(__file__).parent / "facenet_pytorch.json").read_text(encoding="utf-8"))
"""What the package answered, recorded by benchmarks/mtcnn_reference.py."""


@pytest.fixture(scope="module")
def mtcnn() -> Detector:
    return build("mtcnn", min_confidence=0.9, threads=1)


@pytest.fixture(scope="module", params=["mtcnn", "yunet"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return build(request.param, min_confidence=0.9, threads=1)


def test_finds_the_faces_where_they_are(detector: Detector) -> None:
    images, truths = zip(*portraits(), strict=True)
    found = detector.detect(images)
    assert sum(bool(faces) for faces in found) >= 0.8 * len(images)
    errors = [off_by(faces[0].landmarks, truth) for faces, truth in zip(found, truths, strict=True) if faces]
    assert np.median(errors) < 0.1
    for faces in found:
        for face in faces:
            assert face.box.shape == (4,)
            assert face.box.dtype == np.float32
            assert face.landmarks.shape == (5, 2)
            assert face.landmarks.dtype == np.float32
            assert isinstance(face.score, float)
            assert 0.9 <= face.score <= 1
            x1, y1, x2, y2 = face.box
            assert x1 < face.landmarks[2, 0] < x2
            assert y1 < face.landmarks[2, 1] < y2


def test_the_faces_stay_the_same(mtcnn: Detector) -> None:
    """Boxes x1, y1, x2, y2 and scores, as recorded: what changes them changes the faces that models were trained on."""
    expected = [
        (45.488, 31.817, 125.944, 142.342, 0.99678),
        (47.367, 31.773, 130.921, 150.923, 0.99908),
        (41.376, 31.444, 123.356, 149.214, 0.99993),
        (36.706, 34.264, 121.207, 150.261, 0.99999),
        (39.055, 26.855, 120.903, 155.940, 0.97567),
        (44.477, 24.235, 131.600, 152.547, 0.99973),
    ]
    found = [(*face.box, face.score) for (face,) in mtcnn.detect([image for image, _ in portraits()])]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def test_finds_the_boxes_that_facenet_pytorch_finds(mtcnn: Detector) -> None:
    """Its code with the same weights, but another pyramid, other rounding, and no refined landmarks."""
    agreed = 0
    for image, theirs in zip(framed_portraits(), FACENET_PYTORCH["cascade"], strict=True):
        ours = mtcnn.detect([image])[0]
        if theirs is None or theirs["score"] < 0.97 or not ours:
            continue
        agreed += 1
        assert overlap(ours[0].box, np.array(theirs["box"], np.float32)) > 0.7
        assert off_by(ours[0].landmarks, np.array(theirs["landmarks"])) < 0.12
    assert agreed >= 4


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union."""
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    areas = [float((box[2:] - box[:2]).prod()) for box in (one, other)]
    return float(sides.prod()) / (sum(areas) - float(sides.prod()))


def test_each_network_computes_what_that_of_facenet_pytorch_computes() -> None:
    ours = {"pnet": mtcnn_networks.p_net(), "rnet": mtcnn_networks.r_net(), "onet": mtcnn_networks.o_net()}
    for name, images in network_inputs().items():
        for output, expected in zip(ours[name](images), FACENET_PYTORCH["networks"][name], strict=True):
            np.testing.assert_allclose(output, np.array(expected), atol=1e-4)


def same(one: list[Detection], other: list[Detection]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.landmarks, b.landmarks) and np.array_equal(a.box, b.box) and a.score == b.score
        for a, b in zip(one, other, strict=True)
    )


def test_the_networks_stay_on_no_core_so_that_processes_do_not_share_one() -> None:
    openvino = import_openvino()
    from openvino import opset13 as ops

    numbers = ops.parameter([1], np.float32)
    compiled = mtcnn_networks.compile_fp32(openvino.Model([ops.relu(numbers)], [numbers]), threads=1)
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_an_image_gives_exactly_the_same_in_any_company(detector: Detector) -> None:
    images = [image for image, _ in portraits()]
    images[3] = cv2.resize(images[3], (120, 150)).astype(np.uint8)  # another size in between
    images[5] = np.zeros_like(images[5])  # nothing to find
    together = detector.detect(images)
    assert together[5] == []
    for image, faces in zip(images, together, strict=True):
        assert same(detector.detect([image])[0], faces)


def test_coordinates_come_back_from_large_images() -> None:
    image, truth = portraits()[0]
    factor = 1.5 * MAX_SIDE_PX / max(image.shape)
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    (faces,) = build("mtcnn", min_confidence=0.8).detect([large])
    assert faces
    assert off_by(faces[0].landmarks / factor, truth) < 0.15


def test_coordinates_come_back_from_a_corner_of_a_wide_image(detector: Detector) -> None:
    image, truth = portraits()[0]
    height, width = image.shape[:2]
    wide = np.full((height + 40, 3 * CROP_SIDE_PX, 3), 128, np.uint8)
    wide[40:, -width:] = image
    (faces,) = detector.detect([wide])
    assert faces
    assert off_by(faces[0].landmarks - (wide.shape[1] - width, 40), truth) < 0.15


def test_several_faces_come_largest_first(detector: Detector) -> None:
    image, _ = portraits()[0]
    half = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA).astype(np.uint8)
    both = np.full((image.shape[0], image.shape[1] + half.shape[1], 3), 128, np.uint8)
    both[: half.shape[0], : half.shape[1]] = half
    both[:, half.shape[1] :] = image
    (faces,) = detector.detect([both])
    assert len(faces) == 2
    assert faces[0].area_px > 2 * faces[1].area_px
    assert faces[1].box[2] < half.shape[1] < faces[0].box[0] + 20


def test_an_image_and_its_mirror_image_agree(detector: Detector) -> None:
    """Half a pixel to one side in the coordinates would show up twice here."""
    # Small, so that half a pixel matters
    images = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(np.uint8) for image, _ in portraits()]
    found = detector.detect(images)
    mirrored = detector.detect([np.ascontiguousarray(image[:, ::-1]) for image in images])
    pairs = [(a[0], b[0]) for a, b in zip(found, mirrored, strict=True) if a and b]
    assert len(pairs) >= 4
    differences = [
        (here.landmarks - (there.landmarks[MIRRORED] * (-1, 1) + (64, 0)))
        / np.hypot(*(here.landmarks[1] - here.landmarks[0]))
        for here, there in pairs
    ]
    assert abs(np.mean(differences, axis=(0, 1))[0]) < 0.01
    assert np.median([np.hypot(*difference.T).mean() for difference in differences]) < 0.04


def test_turned_images_turn_the_landmarks(detector: Detector) -> None:
    image, _ = portraits()[0]
    height, width = image.shape[:2]
    upright = detector.detect([image])[0][0].landmarks
    for degrees in (-15, 15):
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), -degrees, 1)  # OpenCV's is anticlockwise
        turned = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
        landmarks = detector.detect([turned])[0][0].landmarks
        middle = np.array([width / 2, height / 2])
        angle = np.radians(degrees)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert off_by(landmarks, (upright - middle) @ rotation.T + middle) < 0.08


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (36, 900), (19, 19), (2000, 2), (40, 40)])
def test_odd_shapes_have_no_face_and_no_error(detector: Detector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector.detect([noise, np.full((*shape, 3), 255, np.uint8)]) == [[], []]


def test_no_images(detector: Detector) -> None:
    assert detector.detect([]) == []


def test_min_confidence_is_kept() -> None:
    images = [image for image, _ in portraits()]
    faces = [face for each in build("mtcnn", min_confidence=0.5).detect(images) for face in each]
    strict = [face for each in build("mtcnn", min_confidence=0.999).detect(images) for face in each]
    assert min(face.score for face in faces) >= 0.5
    assert all(face.score >= 0.999 for face in strict)
    assert len(strict) < len(faces)


def test_the_weights_are_those_of_facenet_pytorch() -> None:
    weights = load_file(mtcnn_networks.WEIGHTS)
    hashes = {name: hashlib.sha256(tensor.tobytes()).hexdigest() for name, tensor in weights.items()}
    assert hashes == FACENET_PYTORCH["weights"]


def test_the_notice_names_the_weights_and_carries_their_licence() -> None:
    notice = (mtcnn_networks.WEIGHTS.parent / "NOTICE").read_text()
    assert hashlib.sha256(mtcnn_networks.WEIGHTS.read_bytes()).hexdigest() in notice
    assert "Permission is hereby granted" in notice


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(FeropsError, match=r"'retina'.*centerface, mtcnn, yunet"):
        build("retina", min_confidence=0.9)


class FindsNothing:
    """A detector of another package."""

    def __init__(self, *, min_confidence: float, threads: int | None) -> None:
        self.settings = min_confidence, threads

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        return [[] for _ in images]


def test_an_installed_package_adds_a_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def declared(*, group: str) -> list[EntryPoint]:
        return [EntryPoint("nothing", f"{__name__}:FindsNothing", group)]

    monkeypatch.setattr(detectors, "entry_points", declared)
    detector = build("nothing", min_confidence=0.3, threads=2)
    assert isinstance(detector, FindsNothing)
    assert detector.settings == (0.3, 2)
    with pytest.raises(FeropsError, match="centerface, mtcnn, nothing, yunet"):
        build("retina", min_confidence=0.9)


def test_detection_imports_no_torch() -> None:
    script = (
        "import sys, numpy; from ferops.faces.detectors import build\n"
        "for name in ('mtcnn', 'yunet'):\n"
        "    found = build(name, min_confidence=0.9, threads=1).detect([numpy.zeros((64, 64, 3), numpy.uint8)])\n"
        "    assert found == [[]]\n"
        "assert not {'torch', 'pandas', 'scipy', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.real
def test_real_photos(detector: Detector) -> None:
    import zipfile

    archive = Path(__file__).parents[3] / "shared" / "data" / "photos.zip"
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    with zipfile.ZipFile(archive) as photos:
        images = [decode(photos.read(name)) for name in sorted(photos.namelist())]
    found = detector.detect(images)
    assert np.mean([bool(faces) for faces in found]) >= 0.9  # 45 of 48 when this was written
    for faces in found:
        for face in faces:
            left_eye, right_eye, nose, *mouth = face.landmarks
            assert left_eye[0] < right_eye[0]
            assert max(left_eye[1], right_eye[1]) < max(point[1] for point in mouth)
            assert nose[1] < max(point[1] for point in mouth)
