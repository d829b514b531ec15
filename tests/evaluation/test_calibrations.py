from __future__ import annotations

import numpy as np
import pytest

from evaluation_project import Project
from ferops.evaluation.calibrations import try_calibrations
from ferops.evaluation.limits import calibrating
from ferops.records.metrics import CalibrationTrial


def drawn(*, factors: list[float], offsets: list[float], count: int = 4000, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Labels drawn from softmax(logits * factors + offsets): vector scaling by these is right by construction."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, len(factors))).astype(np.float32)
    shares = np.exp(logits * factors + offsets)
    shares /= shares.sum(axis=1, keepdims=True)
    labels = (rng.random(count)[:, None] > shares.cumsum(axis=1)).sum(axis=1).clip(0, len(factors) - 1)
    return logits, labels, np.full(count, "one")


def trials(*given: np.ndarray) -> dict[str, CalibrationTrial]:
    return {trial.method: trial for trial in try_calibrations(*given)}


def test_where_one_temperature_is_right_nothing_is_better() -> None:
    found = trials(*drawn(factors=[0.5, 0.5, 0.5], offsets=[0.0, 0.0, 0.0]))
    assert found["none"].log_loss_minus_temperature.low > 0, "too sure of itself by a factor of two"
    for name in ("vector", "isotonic"):
        assert found[name].log_loss_minus_temperature.high > 0
    assert found["temperature"].changed_share == found["none"].changed_share == 0.0
    assert found["temperature"].log_loss_minus_temperature.value == 0.0


def test_where_a_class_is_favoured_vector_scaling_finds_it() -> None:
    logits, labels, sources = drawn(factors=[1.0, 0.5, 1.5], offsets=[2.0, 0.0, -1.0])
    found = trials(logits, labels, sources)
    assert found["vector"].log_loss_minus_temperature.high < 0
    assert found["vector"].accuracy > found["temperature"].accuracy
    shares = np.exp(logits * [1.0, 0.5, 1.5] + [2.0, 0.0, -1.0])
    truth = -np.log((shares / shares.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]).mean()
    assert found["vector"].log_loss == pytest.approx(truth, abs=0.01), "what the labels were drawn with"


def test_fewer_faces_than_fifths_say_nothing() -> None:
    assert try_calibrations(np.zeros((4, 3), np.float32), np.arange(4) % 3, np.full(4, "one")) == ()


def test_the_report_has_the_table(project: Project) -> None:
    found = project.metrics.calibrations
    assert [trial.method for trial in found] == ["none", "temperature", "vector", "isotonic"]
    html = (project.layout.reports("evaluate") / "report.html").read_text()
    assert calibrating(project.metrics) in html
    assert "isotonic, a curve a class" in html
