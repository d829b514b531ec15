"""Cross-validated figures: of all faces, by the logits that the trainings left."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from evaluation_project import Project, build
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Rule
from ferops.errors import FeropsError
from ferops.evaluation.crossvalidation import cross_validation
from ferops.evaluation.inputs import read_data
from ferops.evaluation.verdict import verdict
from ferops.model_config import ModelConfig, read_model_config
from ferops.records.metrics import CrossValidation, Metrics
from ferops.registry.gates import evaluate_gates


@dataclass(frozen=True)
class Crossed:
    project: Project
    rows: pd.DataFrame  # all faces
    right: dict[str, np.ndarray]  # of each model, by face

    def measure(self) -> CrossValidation | None:
        layout, params = self.project.layout, self.project.params
        data = read_data(layout, params.evaluate, DEFAULT_CLASSES, seed=params.seed)
        return cross_validation(layout, params, data, DEFAULT_CLASSES, temperature=2.0)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Crossed:
    """Baseline and candidate have answered all faces: the candidate better, in files of another order."""
    project = build(tmp_path_factory.mktemp("crossed"), n_test=60, split={"folds": 5}, train={"every_fold": True})
    rng = np.random.default_rng(5)
    rows = project.index[project.index["row"] >= 0].reset_index(drop=True)
    labels = rows["label"].map(DEFAULT_CLASSES.index).to_numpy()
    right = {}
    for name, signal in (("baseline", 0.5), ("candidate", 2.5)):
        logits = rng.normal(size=(len(rows), 6)).astype(np.float32)
        logits[np.arange(len(rows)), labels] += signal
        right[name] = logits.argmax(axis=1) == labels
        table = pd.DataFrame(
            {"image_id": rows["image_id"]} | {f"logit_{c}": logits[:, i] for i, c in enumerate(DEFAULT_CLASSES)}
        )
        table.sample(frac=1.0, random_state=3).to_parquet(project.layout.every_fold(name))
    return Crossed(project, rows, right)


def test_all_faces_count_once_and_the_difference_is_paired(crossed: Crossed) -> None:
    found = crossed.measure()
    assert found is not None
    assert (found.folds, found.n, found.clusters) == (5, len(crossed.rows), crossed.rows["group"].nunique())
    assert found.n > 3 * len(crossed.project.labels)
    for name, figures in (("baseline", found.baseline), ("candidate", found.candidate)):
        assert figures.accuracy.value == pytest.approx(crossed.right[name].mean())
    minus = found.candidate_minus_baseline.accuracy
    paired = crossed.right["candidate"].astype(float) - crossed.right["baseline"]
    assert minus.value == pytest.approx(paired.mean())
    clusters = pd.Series(paired - paired.mean()).groupby(crossed.rows["group"].to_numpy()).sum()
    spread = clusters.std() * np.sqrt(len(clusters)) / len(paired)
    assert minus.high - minus.low == pytest.approx(2 * 1.96 * spread, rel=0.2)
    frequent = crossed.rows["label"].value_counts().max() / found.n
    assert found.candidate_minus_chance.accuracy.value == pytest.approx(crossed.right["candidate"].mean() - frequent)


def test_gates_and_verdict_read_it(crossed: Crossed) -> None:
    crossed.project.evaluate()
    metrics = crossed.project.metrics
    assert metrics.crossvalidation is not None
    assert verdict(metrics).endswith(
        f"Cross-validated, on all {metrics.crossvalidation.n} faces, it is more accurate than the baseline."
    )
    rule = Rule(
        metric="crossvalidation.candidate_minus_baseline.accuracy.low", reference="absolute", above=metrics_low(metrics)
    )
    register = crossed.project.params.registry.model_copy(update={"gates": {"baseline": rule}, "overrides": {}})
    (gate,) = evaluate_gates(metrics, register)
    assert not gate.passed
    assert gate.wanted.startswith("lower bound of candidate minus baseline accuracy, cross-validated, above")
    report = (crossed.project.layout.reports("evaluate") / "report.html").read_text(encoding="utf-8")
    assert "Cross-validated: each of all" in report


def metrics_low(metrics: Metrics) -> float:
    assert metrics.crossvalidation is not None
    low = metrics.crossvalidation.candidate_minus_baseline.accuracy.low
    assert low is not None
    return low


def test_without_every_fold_there_is_none(crossed: Crossed) -> None:
    off = crossed.project.params.train.model_copy(update={"every_fold": False})
    project = replace(crossed.project, params=crossed.project.params.model_copy(update={"train": off}))
    assert replace(crossed, project=project).measure() is None


@pytest.mark.parametrize("parts", ["members", "ingredients"])
def test_what_is_made_of_several_models_has_no_folds(
    crossed: Crossed, parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = crossed.project.layout
    made = read_model_config(layout.model("candidate"), ModelConfig).model_copy(update={parts: ("one", "two")})
    monkeypatch.setattr("ferops.evaluation.crossvalidation.read_model_config", lambda *_: made)
    assert crossed.measure() is None


def test_answers_to_other_faces_are_an_error(crossed: Crossed) -> None:
    path = crossed.project.layout.every_fold("candidate")
    kept = path.read_bytes()
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(FeropsError, match=r"no answer, or none that is finite, to some of the faces\. Train again"):
        crossed.measure()
    path.write_bytes(kept)
