from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support
from typer.testing import CliRunner

from exports import write_export
from ferops.classes import DEFAULT_CLASSES
from ferops.cli import app
from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.layout import Layout
from ferops.records.metrics import Interval
from ferops.records.score import Score, ScoreFigures
from ferops.scoring.score import score
from ferops.scoring.words import text
from scoring_files import ANSWERS, BrightFaces, contents, dark, tinted, trained_on_wild, write

COLOURS = ["red", "green", "blue"]


def scored(export: Path, data: Path, **more: Any) -> Score:
    return score(Layout(), str(export), data, detector=BrightFaces(), **more)


def labelled(path: Path, count: int = 90, **columns: Any) -> tuple[Path, list[str], list[str]]:
    """Write `count` coloured images, two of three labelled as the model answers; return file, labels and answers."""
    rng = np.random.default_rng(3)
    colours = [COLOURS[i % 3] for i in range(count)]
    answers = [ANSWERS[colour] for colour in colours]
    labels = [answer if rng.random() < 0.67 else str(rng.choice(DEFAULT_CLASSES)) for answer in answers]
    images = [tinted(colour, i) for i, colour in enumerate(colours)]
    return write(path, image=images, label=labels, **columns), labels, answers


def assert_figures(found: ScoreFigures, labels: list[str], answers: list[str], classes: tuple[str, ...]) -> None:
    """Compare with scikit-learn."""
    order = list(classes)
    assert found.classes == classes
    assert found.n == found.n_end_to_end == len(labels)
    assert found.accuracy == found.accuracy_end_to_end == pytest.approx(accuracy_score(labels, answers))
    there = [name for name in order if name in labels]
    assert found.macro_f1 == pytest.approx(f1_score(labels, answers, labels=there, average="macro", zero_division=0))
    assert np.array(found.confusion).tolist() == confusion_matrix(labels, answers, labels=order).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, answers, labels=order, zero_division=np.nan
    )
    for i, name in enumerate(order):
        one = found.per_class[name]
        assert one.n == support[i]
        assert one.precision == (None if np.isnan(precision[i]) else pytest.approx(precision[i]))
        if support[i]:
            assert one.recall == pytest.approx(recall[i])
            assert one.f1 == pytest.approx(np.nan_to_num(f1[i]))
        else:
            assert one.recall is one.f1 is None
    most = max(order, key=labels.count)
    assert (found.chance.answer, found.chance.uniform_accuracy) == (most, 1 / len(order))
    assert found.chance.accuracy == pytest.approx(labels.count(most) / len(labels))


def test_figures_are_those_of_scikit_learn(tmp_path: Path, export: Path) -> None:
    data, labels, answers = labelled(tmp_path / "data.parquet")
    assert set(labels) == set(DEFAULT_CLASSES)
    found = scored(export, data)
    assert_figures(found, labels, answers, DEFAULT_CLASSES)
    assert found.renormalised is None
    assert "renormalised" not in text(found)


def test_test_time_augmentation_is_the_models_unless_it_is_asked_for(tmp_path: Path) -> None:
    export = write_export(tmp_path / "model", **trained_on_wild(tta="flip"))
    data, _, _ = labelled(tmp_path / "data.parquet", count=6)
    as_served, asked = scored(export, data), scored(export, data, tta="off")
    assert (as_served.model.tta, asked.model.tta) == ("flip", "off")
    assert "at 32 px, tta flip, SHA-256" in text(as_served)
    note = "it is served with other test-time augmentation (tta: flip)"
    assert note in asked.notes
    assert note not in as_served.notes


def test_a_model_of_more_classes_than_the_data_is_judged_both_ways(tmp_path: Path) -> None:
    """It always answers neutral; without that class, the first of exports.WEIGHTS that fits the colour."""
    classes = ("neutral", *DEFAULT_CLASSES)
    seven = write_export(tmp_path / "seven", **trained_on_wild(favours="neutral", by=9.0, classes=classes))
    data, labels, _ = labelled(tmp_path / "data.parquet")
    found = scored(seven, data)
    assert_figures(found, labels, ["neutral"] * 90, classes)
    assert found.confusion[0] == (0,) * 7  # no image is neutral
    assert found.renormalised is not None
    assert_figures(found.renormalised, labels, ["anger", "disgust", "fear"] * 30, DEFAULT_CLASSES)
    assert found.renormalised.intervals.clusters == found.intervals.clusters
    assert found.model.classes == classes
    page = text(found)
    assert "answers neutral, anger, disgust" in page
    assert "over the classes of the data alone (anger, disgust, fear, happy, sad, surprised), renormalised:" in page


def test_a_class_that_the_model_lacks_is_left_out_and_counted(tmp_path: Path) -> None:
    three = write_export(tmp_path / "three", **trained_on_wild(classes=("happy", "disgust", "fear"), favours=""))
    images = [tinted("red", 1), tinted("green", 2), tinted("blue", 3), tinted("blue", 4), tinted("red", 5)]
    labels = ["happy", "disgust", "fear", "sad", "neutral"]
    found = scored(three, write(tmp_path / "data.parquet", image=images, label=labels))
    assert_figures(found, labels[:3], labels[:3], ("happy", "disgust", "fear"))
    assert found.left_out.other_label == 2
    assert "the model has no class for neutral (1), sad (1): left out" in found.notes
    assert found.renormalised is None


def test_classes_of_ones_own(tmp_path: Path) -> None:
    """Written as the model writes them, whatever word for one the file has."""
    own = write_export(tmp_path / "own", **trained_on_wild(classes=("bored", "angry"), favours="bored"))
    images = [tinted("green", 1), tinted("red", 2)]
    found = scored(own, write(tmp_path / "data.parquet", image=images, label=["Bored ", "anger"]))
    assert found.classes == ("bored", "angry")
    assert found.accuracy == 1.0
    assert found.data.renamed == {"Bored ": "bored", "anger": "angry"}


def test_intervals_hold_the_figures_and_are_about_as_wide_as_the_binomials(tmp_path: Path, export: Path) -> None:
    data, labels, answers = labelled(tmp_path / "data.parquet")
    intervals = scored(export, data).intervals
    assert (intervals.level, intervals.by, intervals.clusters) == (0.95, "image", 90)
    p = accuracy_score(labels, answers)
    half = 1.96 * np.sqrt(p * (1 - p) / 90)
    assert intervals.accuracy.low == pytest.approx(p - half, abs=0.03)
    assert intervals.accuracy.high == pytest.approx(p + half, abs=0.03)
    macro_f1 = intervals.macro_f1
    assert macro_f1.low is not None
    assert macro_f1.value is not None
    assert macro_f1.high is not None
    assert macro_f1.low < macro_f1.value < macro_f1.high
    assert intervals.per_class["happy"].recall.low is not None
    unknown = Interval(value=None, low=None, high=None, reason="the class is never predicted")
    assert intervals.per_class["anger"].precision == unknown
    assert scored(export, data).intervals == intervals  # the same draws each time


@pytest.mark.slow
def test_people_and_clusters_are_drawn_whole(tmp_path: Path, export: Path) -> None:
    people = [f"p{i // 30}" for i in range(90)]
    data, _, _ = labelled(tmp_path / "people.parquet", subject=people)
    found = scored(export, data).intervals
    assert (found.by, found.clusters) == ("person", 3)
    # A person is one within a source
    data, _, _ = labelled(tmp_path / "sources.parquet", subject=people, source=["a", "b"] * 45)
    assert scored(export, data).intervals.clusters == 6
    data, _, _ = labelled(tmp_path / "clusters.parquet", cluster=[f"c{i // 10}" for i in range(90)])
    found = scored(export, data).intervals
    assert (found.by, found.clusters) == ("cluster", 9)


def test_every_row_is_accounted_for(tmp_path: Path, export: Path) -> None:
    """A bright image has a face; a dark one has none, and is a tight crop only if it is from fer2013."""
    rows = [
        (tinted("red", 0), "happy", "wild"),
        (tinted("green", 1), "disgust", "fer2013"),
        (tinted("blue", 2), "sad", "wild"),
        (tinted("blue", 3, size_px=20), "fear", "wild"),  # a face of 18 px; the model was trained on 20 and more
        (dark(4), "happy", "wild"),
        (dark(5), "sad", "wild"),
        (dark(6), "happy", "fer2013"),
        (tinted("red", 7), "neutral", "fer2013"),
        (tinted("red", 8), "contempt", "fer2013"),
        (tinted("red", 9), "whatever", "wild"),
        (tinted("red", 10), None, "wild"),
        (b"not an image", "sad", "wild"),
        (None, "sad", "wild"),
    ]
    images, labels, sources = zip(*rows, strict=True)
    usage = ["test"] * len(rows)
    data = write(tmp_path / "data.parquet", image=images, label=labels, source=sources, usage=usage)
    found = scored(export, data)
    counts = {"no_label": 1, "other_label": 3, "undecodable": 2, "small_face": 1, "no_face": 2}
    assert found.left_out.as_json() == counts
    assert found.n + sum(counts.values()) == found.data.rows == len(rows)
    # Red, green, blue, and the dark crop, whose logits are led by the 3 of happy
    assert found.n == 4
    assert found.accuracy == 3 / 4
    assert found.n_end_to_end == 6
    assert found.accuracy_end_to_end == 3 / 6
    assert (found.framing.aligned, found.framing.whole) == (3, 1)
    # Without precision of the classes that do not occur, macro-F1 is over the three that do: happy 1, disgust 1, sad 0
    assert found.macro_f1 == pytest.approx(2 / 3)
    assert "no image of anger, fear, surprised: macro_f1 is the mean over the other classes" in found.notes
    assert "the model has no class for contempt (1), neutral (1), whatever (1): left out" in found.notes
    assert any("trained on data of fer2013, wild" in note for note in found.notes)
    assert found.data.labels["neutral"] == found.data.labels[""] == 1
    assert (found.data.sources, found.data.usage) == ({"fer2013": 4, "wild": 9}, {"test": 13})
    # Fear is in the file, though its image gives no face
    assert found.renormalised is not None
    assert found.renormalised.classes == ("disgust", "fear", "happy", "sad")

    whole = scored(export, data, asked="whole")
    assert whole.left_out.as_json() == counts | {"small_face": 0, "no_face": 0}
    assert whole.n == whole.n_end_to_end == 7
    aligned = scored(export, data, asked="aligned")
    assert aligned.left_out.no_face == 3


def test_copies_are_named_and_count(tmp_path: Path, export: Path) -> None:
    images = [tinted("red", 1), tinted("red", 1), tinted("red", 1), tinted("green", 2), tinted("green", 2)]
    data = write(tmp_path / "data.parquet", image=images, label=["happy", "sad", "happy", "disgust", "disgust"])
    found = scored(export, data)
    assert (found.data.duplicates, found.data.conflicting) == (3, 2)
    assert found.n == 5
    assert found.intervals.clusters == 2  # copies are no evidence of their own
    assert "3 images repeat an earlier one" in text(found)


def test_what_was_scored_is_named(tmp_path: Path, export: Path) -> None:
    data, _, _ = labelled(tmp_path / "fer.parquet", count=9)
    (tmp_path / "fer-001.parquet").write_bytes(b"")
    found = scored(export / "model-int8.onnx", data)
    assert found.data.sha256 == sha256(data)
    assert found.model.sha256 == sha256(export / "model-int8.onnx")
    assert found.model.kind == "export"
    assert "model-int8.onnx is not the file that is served (model.onnx)" in found.notes
    assert "fer.parquet continues in fer-001.parquet; only this file was scored" in found.notes
    page = text(found)
    for line in ("model-int8.onnx", "fer.parquet", "9 found and aligned, 0 kept whole", "left out: nothing", "note: "):
        assert line in page
    assert f"{100 * found.accuracy:.1f} (" in page


def test_other_words_for_a_class_are_understood_and_named(tmp_path: Path, export: Path) -> None:
    images = [tinted("red", 1), tinted("green", 2)]
    data = write(tmp_path / "data.parquet", image=images, label=["Happiness", "disgust"])
    found = scored(export, data)
    assert found.accuracy == 1.0
    assert found.data.renamed == {"Happiness": "happy"}
    assert "labels: Happiness as happy" in text(found)


def test_no_face_in_any_image_is_named(tmp_path: Path, export: Path) -> None:
    data = write(tmp_path / "data.parquet", image=[dark(1), dark(2)], label=["sad"] * 2, source=["wild"] * 2)
    with pytest.raises(FeropsError, match=r"no face was found in the 2 labelled images.*--framing whole"):
        scored(export, data)
    data = write(tmp_path / "spoilt.parquet", image=[b"x", b"y"], label=["sad"] * 2)
    with pytest.raises(FeropsError, match=r"the 2 labelled images .* cannot be decoded. Supported formats: JPEG"):
        scored(export, data)


def test_the_command_prints_the_record_and_changes_nothing(
    tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, labels, answers = labelled(tmp_path / "data.parquet", count=12)
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    arguments = ["score", "--model", f"{export.name}/model.onnx", "--data", "data.parquet", "--framing", "whole"]
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    found = Score.model_validate_json(done.stdout)  # nothing stands around it
    assert found.accuracy == pytest.approx(accuracy_score(labels, answers))
    assert json.loads(done.stdout)["data"]["file"] == "data.parquet"
    assert "score: 100%" in done.stderr
    page = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert page.stdout.startswith(f"model  {export.name}/model.onnx\n")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("store", ["", "sqlite:///{}/elsewhere.db"])
def test_a_registry_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    data, _, _ = labelled(tmp_path / "data.parquet", count=3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.format(tmp_path))
    before = contents(tmp_path)
    with pytest.raises(FeropsError, match=r"\.db does not exist"):
        score(Layout(), "models:/ferops@champion", data)
    assert contents(tmp_path) == before


def test_damaged_data_end_before_any_work(tmp_path: Path) -> None:
    data = tmp_path / "data.parquet"
    data.write_text("no table")
    with pytest.raises(FeropsError, match="not a Parquet file"):
        scored(tmp_path / "nowhere", data)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    export = write_export(tmp_path / "broken", **trained_on_wild(by=float("nan")))
    data, _, _ = labelled(tmp_path / "data.parquet", count=3)
    with pytest.raises(FeropsError, match="numbers that are not finite"):
        scored(export, data)
