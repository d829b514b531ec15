from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from evaluation_project import FixedAnswers, build, export, linear_export
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.evaluation.stage import Champion, evaluate


def _metrics(project):
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    text = (project.layout.artifacts("evaluate") / "metrics.json").read_text()
    return json.loads(text, parse_constant=refuse)


def test_the_served_file_is_judged_on_the_test_split(project) -> None:
    found = _metrics(project)
    predicted = FixedAnswers(project.layout.exported).answers.argmax(axis=1)
    labels = project.labels
    candidate = found["candidate"]
    assert (found["split"], found["n"], found["n_no_face"]) == ("test", 228, 12)
    assert candidate["accuracy"]["value"] == pytest.approx(accuracy_score(labels, predicted))
    assert candidate["macro_f1"]["value"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert candidate["confusion"] == confusion_matrix(labels, predicted).tolist()
    hits = (labels == predicted).sum()
    assert candidate["accuracy_missed_as_wrong"]["value"] == pytest.approx(hits / 240)
    assert list(candidate["per_class"]) == list(DEFAULT_CLASSES)
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "brier", "log_loss"):
        assert candidate[name]["low"] < candidate[name]["value"] < candidate[name]["high"]


def test_what_dvc_prints_is_flat_and_the_same(project) -> None:
    found = json.loads((project.layout.reports("evaluate") / "metrics.json").read_text())
    predicted = FixedAnswers(project.layout.exported).answers.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(accuracy_score(project.labels, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(project.labels, predicted, average="macro"))
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert found["test_images"] == len(project.labels)
    assert all(isinstance(value, float | int) for value in found.values())


def test_the_baseline_is_judged_by_its_logits_on_the_same_draws(project) -> None:
    found = _metrics(project)
    predicted = np.load(project.layout.model("baseline") / "test_logits.npy").argmax(axis=1)
    assert found["baseline"]["accuracy"]["value"] == pytest.approx(accuracy_score(project.labels, predicted))
    minus = found["candidate_minus_baseline"]["accuracy"]
    assert minus["value"] == pytest.approx(
        found["candidate"]["accuracy"]["value"] - found["baseline"]["accuracy"]["value"]
    )
    assert minus["low"] < minus["value"] < minus["high"]


def test_the_temperature_is_applied(project) -> None:
    found = _metrics(project)["candidate"]
    answers = FixedAnswers(project.layout.exported).answers
    frame = pd.read_parquet(project.layout.artifacts("evaluate") / "predictions.parquet")
    expected = softmax(answers.astype(np.float64) / 2.6, axis=1)
    np.testing.assert_allclose(frame[[f"p_{name}" for name in DEFAULT_CLASSES]], expected, atol=1e-6)
    own = -np.log(expected[np.arange(len(expected)), project.labels]).mean()
    assert found["log_loss"]["value"] == pytest.approx(own)
    assert found["uncalibrated"]["log_loss"]["value"] > own


def test_predictions_stand_beside_their_images(project) -> None:
    frame = pd.read_parquet(project.layout.artifacts("evaluate") / "predictions.parquet")
    assert list(frame.columns) == ["image_id", "label_index", *(f"p_{name}" for name in DEFAULT_CLASSES)]
    index = project.index.set_index("image_id")
    np.testing.assert_array_equal(frame["label_index"], index.loc[frame["image_id"], "label_index"])
    np.testing.assert_array_equal(index.loc[frame["image_id"], "row"], np.arange(len(frame)))


def test_without_a_champion(project) -> None:
    found = _metrics(project)
    assert found["champion"] is None
    assert found["candidate_minus_champion"] is None


def test_the_champion_is_compared_and_its_split_checked(challenged) -> None:
    found = _metrics(challenged)
    champion = found["champion"]
    candidate = FixedAnswers(challenged.layout.exported).answers.argmax(axis=1)
    rival = FixedAnswers(challenged.layout.root / "champion").answers.argmax(axis=1)
    expected = np.mean(candidate == challenged.labels) - np.mean(rival == challenged.labels)
    assert champion["version"] == "7"
    assert found["candidate_minus_champion"]["accuracy"]["value"] == pytest.approx(expected)
    assert champion["same_split"] is False
    assert any("another split" in note for note in champion["notes"])


def test_cost_is_measured(project) -> None:
    found = _metrics(project)["cost"]
    served = project.layout.exported / "model-int8.onnx"
    assert found["parameters"] == 4 * 3 * 3 * 3 + 4 + 4 * 6
    assert found["file_mb"] == pytest.approx(served.stat().st_size / 1e6, abs=5e-4)
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"]
    assert found["images_per_s"] > 0
    assert found["cpu"]


def test_counts_of_the_data(project) -> None:
    data = _metrics(project)["data"]
    index = project.index
    assert data["test"]["images"] == 240
    assert data["test"]["no_face"] == 12
    for split in ("train", "val", "test"):
        rows = index[index["split"] == split]
        assert data[split]["classes"] == {c: (rows["label_index"] == i).sum() for i, c in enumerate(DEFAULT_CLASSES)}
        assert data[split]["clusters"] == rows["group"].nunique()


def test_the_summary_holds_what_was_returned(project) -> None:
    summary = json.loads(project.layout.summary("evaluate").read_text())
    assert list(summary)[:2] == ["stage", "provenance"]
    assert summary["accuracy"] == _metrics(project)["candidate"]["accuracy"]
    assert summary["provenance"]["data_version"] == "0123456789abcdef0123456789abcdef"


def test_it_is_deterministic(project, tmp_path) -> None:
    again = build(tmp_path / "again")
    evaluate(again.layout, again.params, load=FixedAnswers)
    first, second = _metrics(project), _metrics(again)
    for measured in (first, second):
        del measured["cost"], measured["provenance"]["git_commit"]
    assert first == second


def test_a_champion_with_another_input_size_gets_resized_faces(tmp_path) -> None:
    project = build(tmp_path / "project", n_test=60)
    seen: list[tuple[int, ...]] = []

    class Sized(FixedAnswers):
        def logits(self, faces):
            seen.append(faces.shape)
            return np.zeros((len(faces), 6), np.float32) + np.arange(6, dtype=np.float32)

    folder = export(tmp_path / "champion", np.zeros((48, 6)), size_px=48)
    evaluate(project.layout, project.params, champion=Champion("1", folder), load=Sized)
    assert {shape[1:] for shape in seen} == {(32, 32, 3), (48, 48, 3)}
    assert "judged on faces resized from 32 to 48 px" in _metrics(project)["champion"]["notes"]


def test_the_exported_file_itself_is_run(tmp_path) -> None:
    """No injected classifier: a linear model as ONNX, judged through the runtime that the service uses."""
    project = build(tmp_path / "project", n_test=60)
    weights = linear_export(project.layout.exported)
    evaluate(project.layout, project.params)
    faces = np.load(project.layout.faces("test"))
    logits = faces.reshape(len(faces), -1).astype(np.float64) @ weights
    frame = pd.read_parquet(project.layout.artifacts("evaluate") / "predictions.parquet")
    np.testing.assert_allclose(
        frame[[f"p_{name}" for name in DEFAULT_CLASSES]], softmax(logits / 1.7, axis=1), atol=1e-3
    )
    cost = _metrics(project)["cost"]
    assert cost["parameters"] == weights.size
    assert cost["latency_ms"]["p50"] > 0.001


def test_names_of_groups_cannot_break_the_pages(tmp_path) -> None:
    project = build(tmp_path / "project", n_test=60)
    index = pd.read_parquet(project.layout.face_index)
    index["group_age"] = index["group_age"].replace({"18-39": "<script>x</script>|young"})
    index.to_parquet(project.layout.face_index)
    evaluate(project.layout, project.params, load=FixedAnswers)
    reports = project.layout.reports("evaluate")
    assert "<script" not in (reports / "report.html").read_text()
    assert "&lt;script&gt;x" in (reports / "report.html").read_text()
    assert "\\|young" in (reports / "model_card.md").read_text()


class TestRefusals:
    @pytest.fixture
    def broken(self, tmp_path):
        return build(tmp_path / "project", n_test=60)

    def _fails(self, project, match: str) -> None:
        with pytest.raises(FeropsError, match=match):
            evaluate(project.layout, project.params, load=FixedAnswers)
        assert not project.layout.artifacts("evaluate").exists()

    def test_logits_of_other_faces(self, broken) -> None:
        np.save(broken.layout.model("baseline") / "test_logits.npy", np.zeros((7, 6), np.float32))
        self._fails(broken, r"shape \(7, 6\).*\(48, 6\).*dvc repro")

    def test_logits_that_are_not_finite(self, broken) -> None:
        np.save(broken.layout.model("baseline") / "test_logits.npy", np.full((48, 6), np.nan, np.float32))
        self._fails(broken, "not finite")

    def test_faces_and_index_that_disagree(self, broken) -> None:
        np.save(broken.layout.faces("test"), np.zeros((5, 32, 32, 3), np.uint8))
        self._fails(broken, "do not belong together: 48 rows with a face, 5 faces")

    def test_no_test_face(self, broken) -> None:
        index = pd.read_parquet(broken.layout.face_index)
        index.loc[index["split"] == "test", "row"] = -1
        index.to_parquet(broken.layout.face_index)
        np.save(broken.layout.faces("test"), np.zeros((0, 32, 32, 3), np.uint8))
        self._fails(broken, "60 images and no face")

    def test_other_classes(self, broken) -> None:
        path = broken.layout.exported / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": ["happy", "sad"]}))
        self._fails(broken, r"answers the classes \['happy', 'sad'\]")

    def test_a_missing_export(self, broken) -> None:
        (broken.layout.exported / "config.json").unlink()
        self._fails(broken, "made by: ferops export")
