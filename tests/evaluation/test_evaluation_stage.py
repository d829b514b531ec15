from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from evaluation_project import answers, build, change_index, export
from exports import change
from ferops.classes import DEFAULT_CLASSES, KNOWN_LABELS
from ferops.errors import FeropsError
from ferops.model_config import ExportConfig, ModelConfig
from ferops.provenance import provenance
from ferops.records.evaluate import EvaluateSummary, Headline


def _predicted(project):
    return answers(project.layout.exported).argmax(axis=1)


def _predictions(project):
    return pd.read_parquet(project.layout.artifacts("evaluate") / "predictions.parquet")


def test_the_served_file_is_judged_on_the_test_split(project) -> None:
    found, labels, predicted = project.metrics, project.labels, _predicted(project)
    candidate = found.candidate
    assert (found.split, found.n, found.n_no_face) == ("test", 228, 12)
    assert candidate.accuracy.value == pytest.approx(accuracy_score(labels, predicted))
    assert candidate.macro_f1.value == pytest.approx(f1_score(labels, predicted, average="macro"))
    np.testing.assert_array_equal(candidate.confusion, confusion_matrix(labels, predicted))
    assert candidate.accuracy_missed_as_wrong.value == pytest.approx((labels == predicted).sum() / 240)
    assert tuple(candidate.per_class) == candidate.classes == found.classes == DEFAULT_CLASSES
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "brier", "log_loss"):
        interval = getattr(candidate, name)
        assert interval.low < interval.value < interval.high


def test_the_champions_answers_lie_beside_the_candidates(challenged) -> None:
    found = _predictions(challenged)[[f"champion_p_{name}" for name in DEFAULT_CLASSES]].to_numpy()
    assert found.sum(axis=1) == pytest.approx(1.0)
    np.testing.assert_array_equal(found.argmax(axis=1), answers(challenged.layout.root / "champion").argmax(axis=1))


def test_what_dvc_prints_is_flat_and_the_same(project) -> None:
    path = project.layout.reports("evaluate") / "metrics.json"
    found, metrics = Headline.read(path, made_by="evaluate"), project.metrics
    assert found.accuracy == metrics.candidate.accuracy.value
    assert found.macro_f1 == metrics.candidate.macro_f1.value
    assert found.end_to_end_accuracy == metrics.end_to_end.accuracy.value
    assert found.test_images == len(project.labels)
    assert all(isinstance(value, float | int) for value in json.loads(path.read_text()).values())


def test_the_baseline_is_judged_by_its_logits_on_the_same_draws(project) -> None:
    found = project.metrics
    predicted = np.load(project.layout.model("baseline") / "test_logits.npy").argmax(axis=1)
    assert found.baseline.accuracy.value == pytest.approx(accuracy_score(project.labels, predicted))
    minus = found.candidate_minus_baseline.accuracy
    assert minus.value == pytest.approx(found.candidate.accuracy.value - found.baseline.accuracy.value)
    assert minus.low < minus.value < minus.high


def test_a_baseline_that_was_taken_may_have_more_classes(tmp_path) -> None:
    """It answers those of the test split alone, and the pages say that it comes from elsewhere."""
    project = build(tmp_path, n_test=60)
    folder = project.layout.model("baseline")
    theirs = ("neutral", *reversed(DEFAULT_CLASSES))
    logits = np.random.default_rng(4).normal(size=(48, 7)).astype(np.float32)
    logits[:, 0] = 9.0  # neutral, which no test face is
    np.save(folder / "test_logits.npy", logits)
    config = ModelConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    config.model_copy(update={"classes": theirs}).write(folder / "config.json")
    with pytest.raises(FeropsError, match="made from other data"):
        project.evaluate()
    models = project.params.models
    taken = models["baseline"].model_copy(update={"epochs": 0, "learns_from": "starter"})
    project = replace(project, params=project.params.model_copy(update={"models": {**models, "baseline": taken}}))
    project.evaluate()
    found = project.metrics
    predicted = logits[:, [theirs.index(name) for name in DEFAULT_CLASSES]].argmax(axis=1)
    assert found.baseline.classes == DEFAULT_CLASSES
    assert found.baseline.accuracy.value == pytest.approx(np.mean(predicted == project.labels))
    for page in ("report.html", "model_card.md"):
        text = (project.layout.reports("evaluate") / page).read_text(encoding="utf-8")
        assert "It was trained on other data by another split" in text


def test_the_temperature_is_applied(project) -> None:
    found = project.metrics.candidate
    expected = softmax(answers(project.layout.exported).astype(np.float64) / 2.6, axis=1)
    np.testing.assert_allclose(_predictions(project)[[f"p_{name}" for name in DEFAULT_CLASSES]], expected, atol=1e-6)
    own = -np.log(expected[np.arange(len(expected)), project.labels]).mean()
    assert found.log_loss.value == pytest.approx(own)
    assert found.uncalibrated.log_loss.value > own


def test_predictions_stand_beside_their_images(project) -> None:
    frame = _predictions(project)
    assert list(frame.columns) == ["image_id", "label_index", *(f"p_{name}" for name in DEFAULT_CLASSES)]
    index = project.index.set_index("image_id").loc[frame["image_id"]]
    assert [DEFAULT_CLASSES[label] for label in frame["label_index"]] == index["label"].tolist()
    np.testing.assert_array_equal(index["row"], np.arange(len(frame)))


def test_without_a_champion(project) -> None:
    assert project.metrics.champion is None
    assert project.metrics.candidate_minus_champion is None


def test_the_champion_is_compared_and_its_split_checked(challenged) -> None:
    champion = challenged.metrics.champion
    rival = answers(challenged.layout.root / "champion").argmax(axis=1)
    expected = np.mean(_predicted(challenged) == challenged.labels) - np.mean(rival == challenged.labels)
    assert champion.version == "7"
    assert champion.classes == champion.own_classes == DEFAULT_CLASSES
    assert challenged.metrics.candidate_minus_champion.accuracy.value == pytest.approx(expected)
    assert champion.same_split is False
    (note,) = champion.notes
    assert "another split" in note


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    return build(tmp_path_factory.mktemp("eight"), n_test=120, classes=KNOWN_LABELS)


class TestOtherClasses:
    """A candidate with eight classes, and a champion with others."""

    def _champion(self, project, classes, folder):
        logits = np.random.default_rng(5).normal(size=(108, len(classes)))
        origin = provenance(project.layout, project.params)
        return export(project.layout.root / folder, logits, classes=classes, origin=origin), logits

    def test_are_compared_on_the_shared_ones(self, eight) -> None:
        theirs = ("surprised", "bored", "happy", "anger")
        folder, logits = self._champion(eight, theirs, "three")
        eight.evaluate(champion=folder)
        found, champion = eight.metrics, eight.metrics.champion
        assert found.classes == KNOWN_LABELS
        assert len(found.candidate.confusion) == 8

        shared = ("anger", "happy", "surprised")
        assert (champion.classes, champion.own_classes) == (shared, theirs)
        labels = np.array(KNOWN_LABELS)[eight.labels]
        inside = np.isin(labels, shared)
        assert champion.n == inside.sum()
        columns = [theirs.index(name) for name in shared]
        own = [KNOWN_LABELS.index(name) for name in shared]
        all_own = softmax(answers(eight.layout.exported).astype(np.float64) / 2.6, axis=1)
        renormalised = all_own[:, own] / all_own[:, own].sum(axis=1, keepdims=True)
        ours = np.array(shared)[renormalised.argmax(axis=1)]
        rival = np.array(shared)[logits[:, columns].argmax(axis=1)]
        right = [np.mean(model[inside] == labels[inside]) for model in (ours, rival)]
        assert champion.accuracy.value == pytest.approx(right[1])
        assert champion.candidate.accuracy.value == pytest.approx(right[0])
        assert found.candidate_minus_champion.accuracy.value == pytest.approx(right[0] - right[1])
        assert any("3 classes that both models answer (anger, happy, surprised)" in note for note in champion.notes)
        for name in ("report.html", "model_card.md"):
            text = (eight.layout.reports("evaluate") / name).read_text()
            assert "contempt" in text
            assert "3 classes that both models answer" in text

    def test_with_one_shared_class_there_is_no_comparison(self, eight) -> None:
        folder, _ = self._champion(eight, ("bored", "happy"), "one")
        eight.evaluate(champion=folder)
        found = eight.metrics
        assert found.champion.version == "7"
        assert found.candidate_minus_champion is None
        assert "1 shared class" in found.champion.notes[-1]
        for name in ("report.html", "model_card.md"):
            text = (eight.layout.reports("evaluate") / name).read_text()
            assert "There is no comparison with champion 7" in text
            assert found.champion.notes[-1] in text


def test_cost_is_measured(project) -> None:
    found = project.metrics.cost
    served = project.layout.exported / "model-int8.onnx"
    assert found.parameters == 6 * 6 + 2
    assert found.file_mb == pytest.approx(served.stat().st_size / 1e6, abs=5e-4)
    assert 0 < found.latency_ms.p50 <= found.latency_ms.p95
    assert found.images_per_s > 0
    assert found.cpu


def test_counts_of_the_data(project) -> None:
    data, index = project.metrics.data, project.index
    assert data["test"].images == 240
    assert data["test"].no_face == 12
    for split in ("train", "val", "test"):
        rows = index[index["split"] == split]
        assert data[split].classes == {name: (rows["label"] == name).sum() for name in DEFAULT_CLASSES}
        assert data[split].clusters == rows["group"].nunique()


def test_the_summary_is_what_the_metrics_say(project) -> None:
    summary = EvaluateSummary.read(project.layout.summary("evaluate"), made_by="evaluate")
    assert summary.accuracy == project.metrics.candidate.accuracy
    assert summary.provenance == project.metrics.provenance
    assert summary.provenance.data_version == "0123" * 8


def test_it_is_deterministic(project, tmp_path) -> None:
    again = build(tmp_path / "again")
    again.evaluate()
    changes = {"cost": None, "provenance": None}
    assert project.metrics.model_copy(update=changes) == again.metrics.model_copy(update=changes)


def test_a_champion_with_another_input_size_gets_resized_faces(tmp_path) -> None:
    project = build(tmp_path / "project", n_test=60)
    logits = answers(project.layout.exported)
    origin = provenance(project.layout, project.params)
    project.evaluate(champion=export(tmp_path / "champion", logits, size_px=48, origin=origin))
    champion = project.metrics.champion
    assert champion.notes == ("the champion was evaluated on faces resized from 32 to 48 px",)
    assert champion.accuracy.value == project.metrics.candidate.accuracy.value


def test_with_test_time_augmentation_the_mean_over_the_views_is_judged(project, tmp_path) -> None:
    """The mirror image of each face tells the number of the face before it."""
    made = build(tmp_path / "project", n_test=60)
    layout, origin = made.layout, provenance(made.layout, made.params)
    change(layout.exported, tta="flip")
    faces = np.load(layout.faces("test"))
    faces[:, 16, 15] = np.roll(faces[:, 16, 16], 1, axis=0)
    np.save(layout.faces("test"), faces)
    logits = answers(layout.exported)
    made.evaluate(champion=export(tmp_path / "champion", logits, temperature=2.6, origin=origin))
    alone = softmax(logits.astype(np.float64), axis=1)
    mean = (alone + np.roll(alone, 1, axis=0)) / 2
    calibrated = mean ** (1 / 2.6) / (mean ** (1 / 2.6)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_predictions(made)[[f"p_{name}" for name in DEFAULT_CLASSES]], calibrated, atol=1e-5)
    found, champion = made.metrics.candidate, made.metrics.champion
    assert found.tta == "flip"
    own = -np.log(mean[np.arange(len(mean)), made.labels]).mean()
    assert found.uncalibrated.log_loss.value == pytest.approx(own, rel=1e-4)
    assert champion.accuracy.value == pytest.approx(np.mean(alone.argmax(axis=1) == made.labels))
    assert "the champion answers with tta off and the candidate with tta flip, each as served" in champion.notes
    for name in ("report.html", "model_card.md"):
        assert "mean over 2 views of the face" in (layout.reports("evaluate") / name).read_text()
        assert "Test-time augmentation" not in (project.layout.reports("evaluate") / name).read_text()


def test_names_of_groups_cannot_break_the_pages(tmp_path) -> None:
    project = build(tmp_path / "project", n_test=60)
    renamed = {"18-39": "<script>x</script>|young"}
    change_index(project, lambda index: index.assign(group_age=index["group_age"].replace(renamed)))
    project.evaluate()
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
            project.evaluate()
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
        config = ExportConfig.model_validate_json(path.read_text())
        classes = ("anger", "disgust", "fear", "happy", "sad", "neutral")
        path.write_text(config.model_copy(update={"classes": classes}).model_dump_json())
        self._fails(broken, "images labelled surprised; the model answers anger, disgust, fear, happy, sad, neutral")

    def test_a_missing_export(self, broken) -> None:
        (broken.layout.exported / "config.json").unlink()
        self._fails(broken, "ferops export")
