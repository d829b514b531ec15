from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support
from typer.testing import CliRunner

from exports import change
from ferops import scoring
from ferops.classes import DEFAULT_CLASSES
from ferops.cli import app
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.scoring.model import sha256
from ferops.scoring.score import score
from ferops.scoring.words import text
from scoring_files import ANSWERS, Stand, contents, dark, tinted, write

COLOURS = ["red", "green", "blue"]


def scored(export: Path, data: Path, **more: Any) -> dict[str, Any]:
    return score(Layout(), str(export), data, detector=Stand(), **more)


def labelled(path: Path, count: int = 90, **columns: Any) -> tuple[Path, list[str], list[str]]:
    """Write `count` coloured pictures, two of three labelled as the model answers; return file, labels and answers."""
    rng = np.random.default_rng(3)
    colours = [COLOURS[i % 3] for i in range(count)]
    answers = [ANSWERS[colour] for colour in colours]
    labels = [answer if rng.random() < 0.67 else str(rng.choice(DEFAULT_CLASSES)) for answer in answers]
    images = [tinted(colour, i) for i, colour in enumerate(colours)]
    return write(path, image=images, label=labels, **columns), labels, answers


def test_figures_are_those_of_scikit_learn(tmp_path: Path, export: Path) -> None:
    data, labels, answers = labelled(tmp_path / "data.parquet")
    found = scored(export, data)
    order = list(DEFAULT_CLASSES)
    assert found["n"] == found["n_end_to_end"] == 90
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, answers))
    assert found["accuracy_end_to_end"] == found["accuracy"]
    assert set(labels) == set(DEFAULT_CLASSES)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, labels=order, average="macro", zero_division=0))
    assert found["confusion"] == confusion_matrix(labels, answers, labels=order).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, answers, labels=order, zero_division=np.nan
    )
    for i, name in enumerate(DEFAULT_CLASSES):
        one = found["per_class"][name]
        assert one["n"] == support[i]
        assert one["recall"] == pytest.approx(recall[i])
        assert one["f1"] == pytest.approx(np.nan_to_num(f1[i]))
        assert one["precision"] == (None if np.isnan(precision[i]) else pytest.approx(precision[i]))
    most = max(DEFAULT_CLASSES, key=labels.count)
    assert found["chance"]["answer"] == most
    assert found["chance"]["accuracy"] == pytest.approx(labels.count(most) / 90)


def test_every_key_is_described(tmp_path: Path, export: Path) -> None:
    data, _, _ = labelled(tmp_path / "data.parquet", count=9)
    found = scored(export, data)
    keys = {*found, *(key for block in ("framing", "model", "data", "left_out") for key in found[block])}
    assert [key for key in sorted(keys) if f"`{key}`" not in (scoring.__doc__ or "")] == []
    page = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text(encoding="utf-8")
    assert [key for key in found if f"`{key}`" not in page] == []


def test_intervals_hold_the_figures_and_are_about_as_wide_as_the_binomials(tmp_path: Path, export: Path) -> None:
    data, labels, answers = labelled(tmp_path / "data.parquet")
    intervals = scored(export, data)["intervals"]
    assert (intervals["level"], intervals["by"], intervals["clusters"]) == (0.95, "picture", 90)
    p = accuracy_score(labels, answers)
    half = 1.96 * np.sqrt(p * (1 - p) / 90)
    assert intervals["accuracy"]["low"] == pytest.approx(p - half, abs=0.03)
    assert intervals["accuracy"]["high"] == pytest.approx(p + half, abs=0.03)
    assert intervals["macro_f1"]["low"] < intervals["macro_f1"]["value"] < intervals["macro_f1"]["high"]
    assert intervals["per_class"]["happy"]["recall"]["low"] is not None
    assert intervals["per_class"]["anger"]["precision"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "the class is never predicted",
    }
    assert scored(export, data)["intervals"] == intervals  # the same draws each time


def test_people_and_clusters_are_drawn_whole(tmp_path: Path, export: Path) -> None:
    people = [f"p{i // 30}" for i in range(90)]
    data, _, _ = labelled(tmp_path / "people.parquet", subject=people)
    found = scored(export, data)["intervals"]
    assert (found["by"], found["clusters"]) == ("person", 3)
    # A person is one within a source
    data, _, _ = labelled(tmp_path / "sources.parquet", subject=people, source=["a", "b"] * 45)
    assert scored(export, data)["intervals"]["clusters"] == 6
    data, _, _ = labelled(tmp_path / "clusters.parquet", cluster=[f"c{i // 10}" for i in range(90)])
    found = scored(export, data)["intervals"]
    assert (found["by"], found["clusters"]) == ("cluster", 9)


def test_every_row_is_accounted_for(tmp_path: Path, export: Path) -> None:
    """A bright picture has a face; a dark one has none, and is a crop around one only from fer2013."""
    rows = [
        (tinted("red", 0), "happy", "wild"),
        (tinted("green", 1), "disgust", "fer2013"),
        (tinted("blue", 2), "sad", "wild"),
        (tinted("blue", 3, size_px=20), "fear", "wild"),  # a face of 18 px; the model learnt from 20 on
        (dark(4), "happy", "wild"),
        (dark(5), "sad", "wild"),
        (dark(6), "happy", "fer2013"),
        (tinted("red", 7), "neutral", "fer2013"),
        (tinted("red", 8), "contempt", "fer2013"),
        (tinted("red", 9), "whatever", "wild"),
        (tinted("red", 10), None, "wild"),
        (b"no picture", "sad", "wild"),
        (None, "sad", "wild"),
    ]
    images, labels, sources = zip(*rows, strict=True)
    usage = ["test"] * len(rows)
    data = write(tmp_path / "data.parquet", image=images, label=labels, source=sources, usage=usage)
    found = scored(export, data)
    assert found["left_out"] == {"no_label": 1, "other_label": 3, "undecodable": 2, "small_face": 1, "no_face": 2}
    assert found["n"] + sum(found["left_out"].values()) == found["data"]["rows"] == len(rows)
    # Red, green, blue, and the dark crop, whose logits are led by the 3 of happy
    assert found["n"] == 4
    assert found["accuracy"] == 3 / 4
    assert found["n_end_to_end"] == 6
    assert found["accuracy_end_to_end"] == 3 / 6
    assert (found["framing"]["aligned"], found["framing"]["whole"]) == (3, 1)
    # Without precision of the classes that do not occur, macro-F1 is over the three that do: happy 1, disgust 1, sad 0
    assert found["macro_f1"] == pytest.approx(2 / 3)
    assert any("no picture of anger, fear, surprised" in note for note in found["notes"])
    assert any("trained on data of fer2013, wild" in note for note in found["notes"])
    assert found["data"]["labels"]["neutral"] == found["data"]["labels"][""] == 1
    assert (found["data"]["sources"], found["data"]["usage"]) == ({"fer2013": 4, "wild": 9}, {"test": 13})

    whole = scored(export, data, asked="whole")
    assert whole["left_out"] == {"no_label": 1, "other_label": 3, "undecodable": 2, "small_face": 0, "no_face": 0}
    assert whole["n"] == whole["n_end_to_end"] == 7
    aligned = scored(export, data, asked="aligned")
    assert aligned["left_out"]["no_face"] == 3


def test_copies_are_told_and_count(tmp_path: Path, export: Path) -> None:
    images = [tinted("red", 1), tinted("red", 1), tinted("red", 1), tinted("green", 2), tinted("green", 2)]
    data = write(tmp_path / "data.parquet", image=images, label=["happy", "sad", "happy", "disgust", "disgust"])
    found = scored(export, data)
    assert (found["data"]["duplicates"], found["data"]["conflicting"]) == (3, 2)
    assert found["n"] == 5
    assert found["intervals"]["clusters"] == 2  # copies are no evidence of their own
    assert "3 pictures repeat an earlier one" in text(found)


def test_what_was_scored_is_named(tmp_path: Path, export: Path) -> None:
    data, _, _ = labelled(tmp_path / "fer.parquet", count=9)
    (tmp_path / "fer-001.parquet").write_bytes(b"")
    found = scored(export / "model-int8.onnx", data)
    assert found["data"]["sha256"] == sha256(data)
    assert found["model"]["sha256"] == sha256(export / "model-int8.onnx")
    assert found["model"]["kind"] == "export"
    assert "model-int8.onnx is not the file that is served (model.onnx)" in found["notes"]
    assert any("fer-001.parquet goes on" in note for note in found["notes"])
    page = text(found)
    for part in ("model-int8.onnx", "fer.parquet", "9 found and aligned, 0 kept whole", "left out: nothing", "note: "):
        assert part in page
    assert f"{100 * found['accuracy']:.1f} (" in page


def test_synonyms_are_taken_and_told(tmp_path: Path, export: Path) -> None:
    images = [tinted("red", 1), tinted("green", 2)]
    data = write(tmp_path / "data.parquet", image=images, label=["Happiness", "disgust"])
    found = scored(export, data)
    assert found["accuracy"] == 1.0
    assert found["data"]["renamed"] == {"Happiness": "happy"}
    assert "labels: Happiness as happy" in text(found)


def test_no_face_in_any_picture_is_named(tmp_path: Path, export: Path) -> None:
    data = write(tmp_path / "data.parquet", image=[dark(1), dark(2)], label=["sad"] * 2, source=["wild"] * 2)
    with pytest.raises(FeropsError, match=r"no face was found in any of the 2 labelled pictures.*--framing whole"):
        scored(export, data)
    data = write(tmp_path / "spoilt.parquet", image=[b"x", b"y"], label=["sad"] * 2)
    with pytest.raises(FeropsError, match=r"none of the 2 labelled pictures .* can be decoded"):
        scored(export, data)


def test_the_command_prints_one_json_object_and_changes_nothing(
    tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, labels, answers = labelled(tmp_path / "data.parquet", count=12)
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    arguments = ["score", "--model", f"{export.name}/model.onnx", "--data", "data.parquet", "--framing", "whole"]
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(done.stdout)  # whole: nothing stands around it
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, answers))
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
    with pytest.raises(FeropsError, match=r"\.db does not exist: there is no model registry here"):
        score(Layout(), "models:/ferops@champion", data)
    with pytest.raises(FeropsError, match="names no version: write models:/NAME@ALIAS or models:/NAME/VERSION"):
        score(Layout(), "models:/ferops", data)
    assert contents(tmp_path) == before


def test_models_of_other_classes_and_damaged_data_end_before_any_work(tmp_path: Path, export: Path) -> None:
    data, _, _ = labelled(tmp_path / "data.parquet", count=3)
    change(export, classes=list(DEFAULT_CLASSES[:4]))
    with pytest.raises(FeropsError, match="names 4 classes"):
        scored(export, data)
    data.write_text("no table")
    with pytest.raises(FeropsError, match="not a Parquet file"):
        scored(export, data)
