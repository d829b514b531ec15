from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows
from ferops.faces.detector import CROP_SIDE_PX, MAX_SIDE_PX, Detection, Detector, mtcnn

MIRRORED = [1, 0, 2, 4, 3]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def portraits() -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Rendered faces with their true landmarks `(5, 2)`."""
    good = islice(rows(seed=11, identities=2, images_per_identity=6), 6)
    return [(decode(row["image"]), np.reshape(row["truth_landmarks"], (5, 2))) for row in good]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return mtcnn(min_confidence=0.9)


def off_by(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Mean distance in eye distances."""
    return float(np.hypot(*(landmarks - truth).T).mean() / np.hypot(*(truth[1] - truth[0])))


def test_finds_the_faces_where_they_are(detector: Detector) -> None:
    images, truths = zip(*portraits(), strict=True)
    found = detector.detect(images)
    assert sum(bool(faces) for faces in found) >= 0.8 * len(images)
    errors = [off_by(faces[0].landmarks, truth) for faces, truth in zip(found, truths, strict=True) if faces]
    assert np.median(errors) < 0.15
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


def same(one: list[Detection], other: list[Detection], *, within_px: float) -> bool:
    return len(one) == len(other) and all(
        np.abs(a.landmarks - b.landmarks).max() < within_px and np.abs(a.box - b.box).max() < within_px
        for a, b in zip(one, other, strict=True)
    )


def test_a_batch_gives_what_each_image_gives_alone(detector: Detector) -> None:
    images = [image for image, _ in portraits()]
    images[3] = cv2.resize(images[3], (120, 150)).astype(np.uint8)  # another size in between
    images[5] = np.zeros_like(images[5])  # nothing to find
    together = detector.detect(images)
    assert together[5] == []
    for image, faces in zip(images, together, strict=True):
        assert same(detector.detect([image])[0], faces, within_px=0.01)


@pytest.mark.parametrize("border", ["adaptive", "never", "always"])
def test_coordinates_come_back_from_large_pictures(border: str) -> None:
    image, truth = portraits()[0]
    factor = 1.5 * MAX_SIDE_PX / max(image.shape)
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    (faces,) = mtcnn(min_confidence=0.8, border=border).detect([large])  # type: ignore[arg-type]
    assert faces
    assert off_by(faces[0].landmarks / factor, truth) < 0.2


def test_coordinates_come_back_from_a_corner_of_a_wide_picture(detector: Detector) -> None:
    image, truth = portraits()[0]
    height, width = image.shape[:2]
    wide = np.full((height + 40, 3 * CROP_SIDE_PX, 3), 128, np.uint8)
    wide[40:, -width:] = image
    (faces,) = detector.detect([wide])
    assert faces
    assert off_by(faces[0].landmarks - (wide.shape[1] - width, 40), truth) < 0.2


def test_an_image_and_its_mirror_image_agree(detector: Detector) -> None:
    """facenet-pytorch's own landmarks are half a pixel too far to the right, which shows up twice here."""
    # Small, so that half a pixel matters
    images = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(np.uint8) for image, _ in portraits()]
    found = detector.detect(images)
    mirrored = detector.detect([np.ascontiguousarray(image[:, ::-1]) for image in images])
    shifts = [
        (64 - there[0].landmarks[MIRRORED, 0] - here[0].landmarks[:, 0]).mean()
        for here, there in zip(found, mirrored, strict=True)
        if here and there
    ]
    assert len(shifts) >= 4
    assert abs(np.mean(shifts)) < 0.5


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (36, 900), (19, 19), (2000, 2), (40, 40)])
def test_odd_shapes_have_no_face_and_no_error(detector: Detector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector.detect([noise, np.full((*shape, 3), 255, np.uint8)]) == [[], []]


def test_no_images(detector: Detector) -> None:
    assert detector.detect([]) == []


def test_min_confidence_is_kept() -> None:
    images = [image for image, _ in portraits()]
    faces = [face for each in mtcnn(min_confidence=0.5).detect(images) for face in each]
    strict = [face for each in mtcnn(min_confidence=0.999).detect(images) for face in each]
    assert min(face.score for face in faces) >= 0.5
    assert all(face.score >= 0.999 for face in strict)
    assert len(strict) < len(faces)


def test_the_weights_are_read_without_running_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """facenet-pytorch calls torch.load with its defaults: they must refuse anything but tensors."""
    calls: list[tuple[object, ...]] = []
    load = torch.load

    def spy(*arguments: object, **settings: object) -> object:
        calls.append((len(arguments), settings))
        return load(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "load", spy)
    mtcnn(min_confidence=0.9)
    assert calls
    assert all(call == (1, {}) for call in calls)
    hostile = tmp_path / "weights.pt"
    torch.save(Path("x"), hostile)
    with pytest.raises(pickle.UnpicklingError):
        load(hostile)


@pytest.mark.real
def test_real_photos() -> None:
    import zipfile

    archive = Path(__file__).parents[3] / "shared" / "data" / "photos.zip"
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    with zipfile.ZipFile(archive) as photos:
        images = [decode(photos.read(name)) for name in sorted(photos.namelist())]
    found = mtcnn(min_confidence=0.9).detect(images)
    assert np.mean([bool(faces) for faces in found]) >= 0.9  # 45 of 48 when this was written
    for faces in found:
        for face in faces:
            left_eye, right_eye, nose, *mouth = face.landmarks
            assert left_eye[0] < right_eye[0]
            assert max(left_eye[1], right_eye[1]) < max(point[1] for point in mouth)
            assert nose[1] < max(point[1] for point in mouth)


def test_an_image_that_mtcnn_stumbles_over_costs_only_its_own_faces(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """facenet-pytorch raises IndexError when a candidate lies wholly outside its image."""
    images = [image for image, _ in portraits()][:3]
    alone = detector.detect(images)
    bad = images[1]
    real = type(detector)._forward  # type: ignore[attr-defined]

    def stumble(self: Detector, net: object, frames: list[object]) -> object:
        if any(_holds(frame.pixels, bad) for frame in frames):  # type: ignore[attr-defined]
            raise IndexError
        return real(self, net, frames)

    monkeypatch.setattr(type(detector), "_forward", stumble)
    found = detector.detect(images)
    assert found[1] == []
    assert [len(faces) for faces in (found[0], found[2])] == [len(faces) for faces in (alone[0], alone[2])]
    assert sum(len(faces) for faces in found) > 0


def _holds(frame: NDArray[np.uint8], image: NDArray[np.uint8]) -> bool:
    """Whether the frame is `image` in a border."""
    top, left = ((frame.shape[axis] - image.shape[axis]) // 2 for axis in (0, 1))
    return bool(np.array_equal(frame[top : top + image.shape[0], left : left + image.shape[1]], image))
