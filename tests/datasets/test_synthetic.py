from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ferops.classes import DEFAULT_CLASSES, KNOWN_LABELS
from ferops.datasets import synthetic
from ferops.datasets.images import UnreadableImageError, decode
from ferops.datasets.synthetic import identity, portrait, scene, shape
from ferops.datasets.synthetic.flaws import ALTERED
from ferops.errors import FeropsError
from ferops.faces.detectors import build

COLUMNS = [
    "image_id",
    "image",
    "label",
    "source",
    "usage",
    "subject",
    "group_skin_tone",
    "group_age",
    "group_glasses",
    "width",
    "height",
    "truth_yaw_degrees",
    "truth_pitch_degrees",
    "truth_roll_degrees",
    "truth_intensity",
    "truth_light",
    "truth_landmarks",
]


def small_set() -> list[dict[str, Any]]:
    return list(synthetic.rows(seed=3, identities=2, images_per_expression=1, size_px=96))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return small_set()


@pytest.fixture(scope="module")
def good(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows[:16]


@pytest.fixture(scope="module")
def bad(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows[16:32]


@pytest.fixture(scope="module")
def copies(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows[32:]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(rows: list[dict[str, Any]]) -> None:
    assert [row["image"] for row in small_set()] == [row["image"] for row in rows]


def test_another_seed_gives_other_images(good: list[dict[str, Any]]) -> None:
    other = next(synthetic.rows(seed=4, identities=1, images_per_expression=1, size_px=96))
    assert other["image_id"] != good[0]["image_id"]


def test_every_row_has_the_columns_of_raw_data(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert set(row) == set(COLUMNS)
        assert row["image_id"] == hashlib.sha256(row["image"]).hexdigest()
        assert row["source"] == "synthetic"
        assert row["label"] in KNOWN_LABELS
        assert row["usage"] in {"train", "test"}
    assert len({row["image_id"] for row in rows}) == len(rows)


def test_each_person_shows_each_expression_equally_often(good: list[dict[str, Any]]) -> None:
    for subject in ("s01", "s02"):
        labels = [row["label"] for row in good if row["subject"] == subject]
        assert sorted(labels) == sorted(KNOWN_LABELS)
    assert [row["group_skin_tone"] for row in good[::8]] == ["monk_01", "monk_02"]


def test_good_images_are_jpeg_of_the_size_asked_for(good: list[dict[str, Any]]) -> None:
    for row in good:
        with Image.open(io.BytesIO(row["image"])) as image:
            assert (image.format, image.size) == ("JPEG", (96, 96))
        assert (row["width"], row["height"]) == (96, 96)


def test_landmarks_are_those_of_an_upright_face_inside_the_image(good: list[dict[str, Any]]) -> None:
    for row in good:
        points = np.array(row["truth_landmarks"]).reshape(5, 2)
        assert (points > 0).all()
        assert (points < 96).all()
        left_eye, right_eye, nose, left_mouth, right_mouth = points
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < max(left_mouth[1], right_mouth[1])
        assert 0.14 < np.linalg.norm(right_eye - left_eye) / 96 < 0.28


def test_truth_stays_in_its_ranges(good: list[dict[str, Any]]) -> None:
    for row in good:
        assert abs(row["truth_yaw_degrees"]) <= 30
        assert abs(row["truth_pitch_degrees"]) <= 12
        assert abs(row["truth_roll_degrees"]) <= 15
        assert 0.35 <= row["truth_intensity"] <= 1 or (row["label"], row["truth_intensity"]) == ("neutral", 0)
        assert row["truth_light"] in scene.LIGHTS


@pytest.mark.slow
def test_expressions_change_the_face_and_nothing_else() -> None:
    who = identity.draw(0, seed=3)
    shots = {name: portrait.take(who, name, seed=(5,), size_px=96, light="front") for name in KNOWN_LABELS}
    pixels = {name: shot.pixels.astype(float) for name, shot in shots.items()}
    top, left = (shots["sad"].landmarks[0, ::-1] - 12).astype(int)
    bottom, right = (shots["sad"].landmarks[4, ::-1] + 12).astype(int)
    for index, first in enumerate(KNOWN_LABELS):
        for second in KNOWN_LABELS[index + 1 :]:
            least = 3 if {first, second} <= set(DEFAULT_CLASSES) else 1  # contempt moves one corner of the mouth
            difference = np.abs(pixels[first] - pixels[second])
            assert difference[top:bottom, left:right].mean() > least, (first, second)
            assert difference[:8, :8].mean() < 1


@pytest.mark.slow
def test_darker_skin_tones_are_darker_on_the_cheek_and_nose() -> None:
    def luminance(tone: int) -> float:
        values = []
        for person in (tone - 1, tone + 9):
            shot = portrait.take(identity.draw(person, seed=3), "sad", seed=(8,), size_px=96, light="front")
            x, y = shot.landmarks[2].round().astype(int)
            values.append(shot.pixels[y - 4 : y + 2, x - 8 : x + 9].mean())
        return float(np.mean(values))

    measured = [luminance(tone) for tone in (1, 4, 6, 8, 10)]
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 1.7 * measured[-1]


def test_people_are_balanced_and_keep_their_looks() -> None:
    people = [identity.draw(index, seed=7) for index in range(50)]
    assert [sum(who.skin_tone == tone for who in people) for tone in range(1, 11)] == [5] * 10
    assert all(14 <= sum(who.age == age for who in people) <= 20 for age in identity.AGES)
    assert sum(who.feminine for who in people) == 25
    assert len({who.subject for who in people}) == 50
    assert people[3].face_width == identity.draw(3, seed=7).face_width


def test_bad_rows_know_no_truth(bad: list[dict[str, Any]]) -> None:
    assert len(bad) == 16
    assert all(row[name] is None for row in bad for name in COLUMNS if name.startswith("truth_"))


def test_truncated_files_and_text_cannot_be_decoded(bad: list[dict[str, Any]]) -> None:
    for row in (*bad[:3], bad[15]):
        with pytest.raises(UnreadableImageError):
            decode(row["image"])
    assert (bad[0]["width"], bad[15]["width"]) == (96, 0)


def test_blank_images_are_constant(bad: list[dict[str, Any]]) -> None:
    assert [np.ptp(decode(row["image"])) for row in bad[3:5]] == [0, 0]


def test_copies_have_the_pixels_of_training_images_and_other_bytes(
    good: list[dict[str, Any]], bad: list[dict[str, Any]]
) -> None:
    originals = {decode(row["image"]).tobytes(): row for row in good}
    for copy in bad[5:10]:
        original = originals[decode(copy["image"]).tobytes()]
        assert copy["image_id"] != original["image_id"]
        assert (original["usage"], copy["usage"]) == ("train", "test")
        assert copy["subject"] == original["subject"]
    same_label = [originals[decode(row["image"]).tobytes()]["label"] == row["label"] for row in bad[5:10]]
    assert same_label == [True] * 4 + [False]


def test_images_without_a_face_decode_and_the_small_one_is_small(bad: list[dict[str, Any]]) -> None:
    for row in bad[10:14]:
        assert decode(row["image"]).std() > 4
        assert row["subject"] is None
    assert decode(bad[14]["image"]).shape == (20, 20, 3)


def test_contempt_moves_one_corner_of_the_mouth() -> None:
    who = identity.draw(0, seed=3)
    units = {12: 0.8, 14: 0.8}
    rest, left, right = (shape.build(who, u, only_side=side) for u, side in (({}, None), (units, 0), (units, 1)))
    for face, moved in ((left, 0), (right, 1)):
        rise = np.subtract(face.mouth.corner, rest.mouth.corner)
        assert rise[moved] > 0.05
        assert abs(rise[1 - moved]) < 0.01
        assert face.folds.dimple[moved] > 0.5
        assert face.folds.dimple[1 - moved] == 0


def test_altered_copies_show_training_images_of_the_same_person(
    good: list[dict[str, Any]], copies: list[dict[str, Any]]
) -> None:
    assert len(copies) == len(ALTERED) == 8
    pixels = {tuple(decode(row["image"]).ravel()) for row in good}
    train = [row for row in good if row["usage"] == "train"]
    for copy in copies:
        assert tuple(decode(copy["image"]).ravel()) not in pixels
        assert copy["subject"] in {row["subject"] for row in train}
    assert {row["usage"] for row in copies} == {"train", "test"}


def test_a_contact_sheet_holds_every_image(good: list[dict[str, Any]]) -> None:
    sheet = decode(synthetic.contact_sheet([row["image"] for row in good[:4]], columns=3))
    assert sheet.shape == (192, 288, 3)
    assert np.array_equal(sheet[96:, :96], decode(good[3]["image"]))
    assert sheet[96:, 96:].max() == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images_per_expression": 0}, "at least 1 person, 1 image"),
        ({"identities": 0}, "at least 1 person"),
        ({"size_px": 40}, "96 px"),
    ],
)
def test_settings_that_make_no_face_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(FeropsError, match=message):
        next(synthetic.rows(seed=1, **wrong))


@pytest.mark.slow
def test_a_detector_finds_the_faces_and_their_landmarks() -> None:
    detector = build("mtcnn", min_confidence=0.9, threads=1)
    errors, found = [], []
    for index in range(25):
        shot = portrait.take(
            identity.draw(index, seed=7), DEFAULT_CLASSES[(5 * index + index // 7) % 6], seed=(1, index), size_px=160
        )
        faces = detector.detect([shot.pixels])[0]
        found.append(bool(faces))
        if faces:
            eye_distance = np.linalg.norm(shot.landmarks[1] - shot.landmarks[0])
            errors.append(np.linalg.norm(faces[0].landmarks - shot.landmarks, axis=1).mean() / eye_distance)
    assert np.mean(found) >= 0.95
    assert np.mean(errors) < 0.10
