"""The test images through the Predictor, with a detector that is told where to fail."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from evaluation_project import IMAGE_PX, answers, build
from ferops.errors import FeropsError
from ferops.evaluation import end_to_end
from ferops.evaluation.end_to_end import TestImage
from ferops.faces.photo import Photo

ELSEWHERE = tuple(range(0, 40, 2))  # numbers of the images in which the detector takes another face


def _table(project):
    return pd.read_parquet(project.layout.artifacts("evaluate") / "end_to_end.parquet")


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    """Rendered images: 12 of 240 without a face, 20 with another face than the labelled one."""
    made = build(tmp_path_factory.mktemp("mistaken"))
    made.evaluate(elsewhere=ELSEWHERE)
    return made


def test_outcomes_and_accuracy_of_rendered_images(mistaken) -> None:
    found = mistaken.metrics.end_to_end
    served = softmax(answers(mistaken.layout.exported).astype(np.float64) / 2.6, axis=1)
    right = served.argmax(axis=1) == mistaken.labels
    right[list(ELSEWHERE)] = False
    sure = served.max(axis=1) >= 0.5
    assert found.n == found.n_face_known == 240
    assert found.no_face.value == pytest.approx(12 / 240)
    assert found.wrong_face.value == pytest.approx(20 / 240)
    assert found.low_confidence.value == pytest.approx((~sure).sum() / 240)
    assert found.answered.value == pytest.approx(sure.sum() / 240)
    assert found.accuracy.value == pytest.approx(right.sum() / 240)
    assert found.accuracy_answered.value == pytest.approx(right[sure].mean())
    assert found.agreement.value == 1.0  # the classifier sees the image's number in any face
    for interval in (found.no_face, found.wrong_face, found.low_confidence, found.accuracy, found.accuracy_answered):
        assert interval.low < interval.value < interval.high


def test_the_answers_stand_beside_their_images(mistaken) -> None:
    table = _table(mistaken).set_index("image_id")
    index = mistaken.index[mistaken.index["split"] == "test"].set_index("image_id")
    assert set(table.index) == set(index.index)
    by_number = table.assign(number=index["number"]).sort_values("number").set_index("number")
    classes = np.array(mistaken.metrics.classes)
    expected = classes[answers(mistaken.layout.exported).argmax(axis=1)]
    assert by_number["answer"].tolist()[:228] == expected.tolist()
    assert by_number["status"].tolist()[228:] == ["no_face"] * 12
    assert by_number["answer"].isna().tolist()[228:] == [True] * 12
    assert by_number.index[by_number["wrong_face"]].tolist() == list(ELSEWHERE)


def test_agreement_is_the_share_of_packed_faces_with_the_same_answer(tmp_path) -> None:
    project = build(tmp_path / "project", n_test=60)
    logits = answers(project.layout.exported)
    faces = np.load(project.layout.faces("test"))
    project.evaluate()
    assert project.metrics.end_to_end.agreement.value == 1.0
    turned = (logits.argmax(axis=1) != logits[::-1].argmax(axis=1)).sum()
    np.save(project.layout.faces("test"), faces[::-1])  # the packed faces answer as others do
    project.evaluate()
    assert project.metrics.end_to_end.agreement.value == pytest.approx(1 - turned / len(faces))


def test_in_tight_crops_an_implausible_face_is_a_wrong_one(tmp_path) -> None:
    project = build(
        tmp_path / "project", n_test=60, synthetic=False, preprocess={"tight_sources": ("fer2013", "ckplus")}
    )
    project.evaluate(elsewhere=range(6))
    found = project.metrics.end_to_end
    assert (found.n, found.n_face_known) == (60, 60)
    assert found.wrong_face.value == pytest.approx(6 / 60)


def test_where_only_one_source_is_tight_only_its_images_tell(tmp_path) -> None:
    project = build(tmp_path / "project", n_test=60, synthetic=False, preprocess={"tight_sources": ("ckplus",)})
    project.evaluate(elsewhere=range(60))
    test = project.index[project.index["split"] == "test"]
    tight = test[test["source"] == "ckplus"]
    found = project.metrics.end_to_end
    assert found.n_face_known == len(tight)
    assert found.wrong_face.value == pytest.approx((tight["status"] == "ok").mean())
    report = (project.layout.reports("evaluate") / "report.html").read_text()
    assert f"can be decided in {len(tight)} of the {len(test)} images" in report


def test_where_nothing_tells_a_wrong_face_it_is_unknown_and_said(challenged) -> None:
    found = challenged.metrics.end_to_end
    assert found.n_face_known == 0
    assert found.wrong_face.value is None
    for name in ("report.html", "model_card.md"):
        assert found.wrong_face.reason in (challenged.layout.reports("evaluate") / name).read_text()


def test_raw_data_that_lack_a_test_image(tmp_path) -> None:
    project = build(tmp_path / "project", n_test=60)
    path = project.layout.source("synthetic")
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(FeropsError, match="lacks 1 images of the test split"):
        project.evaluate()


def _image(*, height: int, width: int) -> TestImage:
    return TestImage("id", Photo.of(np.zeros((height, width, 3), np.uint8)), tight=False, truth=None)


def test_batches_are_bounded_in_images_and_pixels() -> None:
    decoded = 0

    def images():
        nonlocal decoded
        for _ in range(150):
            decoded += 1
            yield _image(height=48, width=48)
        for _ in range(3):
            decoded += 1
            yield _image(height=3000, width=4000)

    sizes = []
    for batch in end_to_end._batches(images()):
        assert decoded <= sum(sizes) + len(batch) + 1, "at most one image is decoded ahead"
        sizes.append(len(batch))
    assert sizes == [64, 64, 23, 1, 1]


def test_a_face_is_the_labelled_one_where_its_landmarks_are_near_the_true_ones() -> None:
    from ferops.inference.prediction import Face

    truth = np.array([[20, 20], [40, 20], [30, 30], [22, 42], [38, 42]], np.float64)
    image = TestImage("id", Photo.of(np.zeros((IMAGE_PX, IMAGE_PX, 3), np.uint8)), tight=False, truth=truth)
    near, far = (
        Face(
            box=(0.0, 0.0, 60.0, 60.0),
            landmarks=(truth + shift).astype(np.float32),
            probabilities=np.array([1.0], np.float32),
            label="happy",
            confidence=1.0,
            status="ok",
            detection_score=1.0,
        )
        for shift in (3, 25)
    )
    assert (image.is_wrong(near), image.is_wrong(far), image.is_wrong(None)) == (False, True, False)
