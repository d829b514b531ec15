"""What cannot be known from the data is said: who is shown, and how the service frames a face."""

from __future__ import annotations

import pytest

from evaluation_project import build, change_index
from ferops.evaluation import limits
from ferops.records.evaluate import EvaluateSummary
from ferops.records.metrics import Interval


@pytest.fixture(scope="module")
def fer2013(tmp_path_factory):
    """As FER2013 is: tight crops, nobody named, and neither groups nor clusters."""
    made = build(tmp_path_factory.mktemp("fer2013"), n_test=60, no_face=0, synthetic=False)

    def change(index):
        index = index.drop(columns=["group_skin_tone", "group_age", "yaw_degrees"])
        return index.assign(status="tight", searched=False, subject=None, group=index["image_id"])

    change_index(made, change)
    made.evaluate()
    return made


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """60 test images: 30 of named people, 12 tight crops, 6 without a face, all those of one skin tone."""
    made = build(tmp_path_factory.mktemp("mixed"), n_test=60, no_face=6, synthetic=False)

    def change(index):
        index.loc[index.index[index["split"] == "test"][:30], "subject"] = None
        tight = index.index[(index["split"] == "test") & (index["row"] >= 0)][:12]
        index.loc[tight, ["status", "searched"]] = ["tight", False]
        index.loc[(index["split"] == "test") & (index["row"] < 0), "group_skin_tone"] = "never found"
        return index

    change_index(made, change)
    made.evaluate()
    return made


def _texts(project):
    """The report and the card."""
    folder = project.layout.reports("evaluate")
    return (folder / "report.html").read_text(), (folder / "model_card.md").read_text()


def test_counts_of_what_is_known(project, fer2013, mixed) -> None:
    known = {
        name: (made.metrics.n_tight, made.metrics.data["test"].known_subject, made.metrics.data["test"].images)
        for name, made in (("all", project), ("none", fer2013), ("some", mixed))
    }
    assert known == {"all": (0, 240, 240), "none": (60, 0, 60), "some": (12, 30, 60)}
    assert EvaluateSummary.read(fer2013.layout.summary("evaluate"), made_by="evaluate").tight == 60


def test_where_nobody_is_named_no_claim_about_people_is_made(fer2013) -> None:
    for text in _texts(fer2013):
        assert "No pixel-exact copy crosses the splits, and no altered copy that validation found." in text
        assert "clusters (copies of one image; people are not known)" in text
        assert "On 60 of 60 test images the person is not known" in text
        assert "no person" not in text.lower()
        assert "People and" not in text


def test_where_all_are_named_no_person_crosses(project) -> None:
    for text in _texts(project):
        assert "No copy that validation found crosses the splits, and no person does, by the names in the data." in text
        assert "clusters (people and copies of one image)" in text
        assert "the person is not known" not in text


def test_where_some_are_named_it_says_how_many(mixed) -> None:
    for text in _texts(mixed):
        assert "no person named in the data does (30 of 60 test images name one)" in text
        assert "On 30 of 60 test images the person is not known" in text


def test_tight_crops_claim_neither_detection_nor_alignment(fer2013) -> None:
    assert fer2013.metrics.candidate.accuracy_missed_as_wrong.value is None
    for text in _texts(fer2013):
        assert "All 60 test faces are tight crops, kept whole" in text
        assert "the end-to-end figures show what that changes" in text
        assert "found and aligned" not in text


def test_detected_faces_are_framed_as_the_service_frames_them(project) -> None:
    report, card = _texts(project)
    for text in (report, card):
        assert "found by the detector of this pipeline and aligned, as the service does it" in text
        assert "tight crop" not in text
    assert "no face found in 12 of 240 test images" in report


def test_a_mixture_says_which_part_is_which(mixed) -> None:
    report, card = _texts(mixed)
    for text in (report, card):
        assert "12 of 54 test faces are tight crops, kept whole; the other 42 were found and aligned" in text
    assert "no face found in 6 of 48 test images, tight crops not counted" in report
    assert "accuracy, no face = wrong, without tight crops, %" in card


def test_a_group_without_a_face_is_named(mixed) -> None:
    for text in _texts(mixed):
        assert "No face was found in any of the 6 test images of Skin tone: never found" in text


def test_a_tight_source_beside_one_whose_every_face_was_missed(project) -> None:
    counts = {"n": 5, "n_tight": 5, "n_unfound": 0, "n_no_face": 2, "n_small_face": 0}
    text = limits.framing(project.metrics.model_copy(update=counts))
    assert text.startswith("5 of 5 test faces are tight crops, kept whole; the other 0 were found")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Tight crops in which faces were looked for: 7 of 60 kept whole without one, 3 with a face that is too small."""
    made = build(tmp_path_factory.mktemp("searched"), n_test=60, no_face=3, synthetic=False)

    def change(index):
        test = index["split"] == "test"
        index.loc[test & (index["row"] < 0), "status"] = "small_face"
        index.loc[index.index[test & (index["row"] >= 0)][:7], "status"] = "tight"
        return index

    change_index(made, change)
    made.evaluate()
    return made


def test_tight_crops_that_were_searched(searched) -> None:
    metrics = searched.metrics
    counts = {name: getattr(metrics, name) for name in ("n", "n_tight", "n_unfound", "n_no_face", "n_small_face")}
    assert counts == {"n": 57, "n_tight": 0, "n_unfound": 7, "n_no_face": 0, "n_small_face": 3}
    assert metrics.data["test"].small_face == 3
    assert metrics.candidate.accuracy_missed_as_wrong.value < metrics.candidate.accuracy.value
    report, card = _texts(searched)
    for text in (report, card):
        assert "50 of 57 test faces were found by the detector and aligned, as the service does it." in text
        assert "In 7 of 57 test images no face was found: they were kept whole" in text
        assert "3 test images whose face is smaller than preprocess.min_face_px were left out" in text
    assert "no face found in 7 of 57 test images" in report


def _with(project, *, temperature: float, before: float, after: float):
    metrics = project.metrics
    raw, found = metrics.candidate.uncalibrated, metrics.candidate
    change = {"log_loss": raw.log_loss.model_copy(update={"value": before})}
    candidate = found.model_copy(
        update={
            "temperature": temperature,
            "uncalibrated": raw.model_copy(update=change),
            "log_loss": found.log_loss.model_copy(update={"value": after}),
        }
    )
    return metrics.model_copy(update={"candidate": candidate})


def test_a_temperature_that_does_harm_is_said(project) -> None:
    assert limits.scaling(_with(project, temperature=0.7, before=0.9, after=0.8)) == ""
    assert "does harm: the log loss is 0.923 with it and 0.872" in limits.scaling(
        _with(project, temperature=0.7, before=0.872, after=0.923)
    )
    assert "No temperature is used" in limits.scaling(_with(project, temperature=1.0, before=0.9, after=0.9))


def test_the_smallest_difference_that_a_split_can_show(project) -> None:
    """Known: a standard error of 1 point gives (1.960 + 0.842) points at 95 % and four splits of five."""
    metrics = project.metrics
    accuracy = Interval(value=0.03, low=0.03 - 0.0196, high=0.03 + 0.0196)
    minus = metrics.candidate_minus_baseline.model_copy(update={"accuracy": accuracy})
    assert metrics.confidence_level == 0.95
    found = metrics.model_copy(update={"candidate_minus_baseline": minus, "candidate_minus_champion": None})
    assert "less than about 2.8 points" in limits.power(found)
    assert f"{metrics.n:,} test faces" in limits.power(found)
    open_ended = minus.model_copy(update={"accuracy": Interval(value=0.03, low=None, high=None)})
    assert "too few clusters" in limits.power(found.model_copy(update={"candidate_minus_baseline": open_ended}))
    for text in _texts(project):
        assert "cannot be told apart reliably" in " ".join(text.split())
