from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.metrics import Metrics
from ferops.records.register import Gate
from ferops.registry.card_diff import card, card_diff, figure_changes, gate_changes
from ferops.registry.card_words import text
from ferops.registry.stage import register
from registry_project import changed, interval, write_metrics


def gate(name: str, *, passed: bool, reason: str = "found 1") -> Gate:
    return Gate(name=name, passed=passed, observed=1.0, wanted="at least 0", reason=reason)


def test_each_figure_says_how_far_it_moved_and_whether_that_is_clear(metrics: Metrics) -> None:
    after = changed(
        metrics,
        candidate__accuracy=interval(0.90, 0.86, 0.93),  # from 0.80 (0.76 to 0.84)
        candidate__macro_f1=interval(0.80, 0.75, 0.84),  # from 0.78 (0.73 to 0.82)
        candidate__calibration_error=interval(0.20, 0.15, 0.25),  # from 0.05 (0.03 to 0.09)
    )
    found = {each.name: each for each in figure_changes(metrics, after, comparable=True)}
    assert found["accuracy"].change == pytest.approx(0.10)
    assert found["accuracy"].verdict == "better"
    assert found["macro-F1"].change == pytest.approx(0.02)
    assert found["macro-F1"].verdict == "unclear", "the intervals overlap"
    assert found["calibration error"].verdict == "worse", "more error is worse"
    assert found["accuracy, age old"].change == 0.0
    assert "accuracy, glasses yes" not in found, "too few faces to say"
    other = {each.name: each for each in figure_changes(metrics, after, comparable=False)}
    assert {each.verdict for each in other.values()} == {"unclear"}, "other test faces"


def test_gates_that_went_the_other_way_or_came_and_went() -> None:
    before = {each.name: each for each in (gate("a", passed=True), gate("b", passed=True), gate("gone", passed=True))}
    after = {each.name: each for each in (gate("a", passed=True, reason="found 2"), gate("b", passed=False))}
    after["new"] = gate("new", passed=True)
    found = {each.name: each for each in gate_changes(before, after)}
    assert set(found) == {"b", "gone", "new"}
    assert found["b"].before is not None
    assert found["b"].after is not None
    assert (found["b"].before.verdict, found["b"].after.verdict) == ("passed", "failed")
    assert found["gone"].after is None
    assert found["new"].before is None


def test_a_second_training_beside_the_first(version_1: Layout, params: Params, metrics: Metrics) -> None:
    assert card(version_1, params, "1") == (version_1.reports("register") / "model_card.md").read_text()
    save_file({"weight": np.zeros(4, np.float32)}, version_1.model("candidate") / "weights.safetensors")
    config = json.loads((version_1.exported / "config.json").read_text()) | {"temperature": 2.0}
    (version_1.exported / "config.json").write_text(json.dumps(config))
    write_metrics(version_1, changed(metrics, candidate__accuracy=interval(0.90, 0.86, 0.93), n=401))
    assert register(version_1, params).version == "2"

    found = card_diff(version_1, params, "1", "2")
    assert (found.before, found.after) == ("version 1", "version 2 challenger")
    assert found.comparable
    assert found.facts == {"test faces": ("400", "401")}
    assert found.gates == (), "both passed all of them"
    shown = text(found, width=120)
    assert "80.0 (76.0 to 84.0)" in shown
    assert "+10.0" in shown
    assert "better" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 120


def test_one_training_is_not_compared_with_itself(version_1: Layout, params: Params) -> None:
    with pytest.raises(FeropsError, match=r"1 and candidate are of one training.*Name two"):
        card_diff(version_1, params, "1", "candidate")


def test_a_run_that_was_never_judged_has_no_card(version_1: Layout, params: Params) -> None:
    from ferops.registry.watch import training_run

    with training_run(version_1, params, "baseline", training="t" * 64):
        pass
    with pytest.raises(FeropsError, match=r"baseline has no register/model_card.md: it was never judged"):
        card(version_1, params, "baseline")
