"""Rules and what they look at: a poor figure, any figure, and rules that change (faults: tests/faults/)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ferops import config
from ferops.config import Params, Rule
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.metrics import Metrics
from ferops.registry.gates import evaluate_gates
from ferops.registry.stage import register
from registry_project import against_champion, changed, interval, params_tree, write_metrics

CHANGES: dict[str, tuple[Callable[[Metrics], Metrics], set[str]]] = {
    "an export that answers at random": (
        lambda good: changed(
            good,
            candidate__accuracy=interval(0.17, 0.13, 0.21),
            candidate__macro_f1=interval(0.15),
            candidate_minus_baseline__accuracy=interval(-0.5, -0.6, -0.4),
        ),
        {"beats_chance", "macro_f1", "baseline"},
    ),
    "a missing comparison": (
        lambda good: changed(against_champion(good, low=0.0), candidate_minus_champion=None),
        {"champion"},
    ),
    "an overconfident model": (
        lambda good: changed(good, candidate__calibration_error__value=0.4),
        {"calibration"},
    ),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_a_figure_is_stopped_by_its_gate(fault: str, metrics: Metrics, params: Params) -> None:
    inject, expected = CHANGES[fault]
    assert not any(gate.blocks for gate in evaluate_gates(metrics, params.registry))
    assert {gate.name for gate in evaluate_gates(inject(metrics), params.registry) if gate.blocks} == expected


def test_a_rule_may_name_any_figure(metrics: Metrics, params: Params) -> None:
    rules = {
        "fear": Rule(metric="candidate.per_class.fear.recall.value", reference="absolute", at_least=0.01),
        "source": Rule(metric="accuracy.value", reference="source", at_least=-0.01),
        "slow": Rule(metric="cost.latency_ms.p50", reference="absolute", below=1e-9),
        "typo": Rule(metric="candidate.macro_f2.value", reference="absolute", at_least=0.0),
        "whole": Rule(metric="candidate.macro_f1", reference="absolute", at_least=0.0),
    }
    settings = params.registry.model_copy(update={"gates": rules})
    gates = {gate.name: gate for gate in evaluate_gates(metrics, settings)}
    assert gates["fear"].passed
    assert gates["source"].margin == pytest.approx(0.01)
    assert gates["slow"].blocks
    assert (
        gates["typo"].reason == "metrics.json has no candidate.macro_f2.value; did you mean candidate.macro_f1.value?"
    )
    assert gates["whole"].reason == "candidate.macro_f1 is no figure; name one of its value, low, high, reason"


def with_gates(params: Params, *, macro_f1: float, **overrides: str) -> Params:
    rule = params.registry.gates["macro_f1"].model_copy(update={"at_least": macro_f1})
    settings = {"gates": params.registry.gates | {"macro_f1": rule}, "overrides": overrides}
    return params.model_copy(update={"registry": params.registry.model_copy(update=settings)})


def test_gates_that_change_after_a_look_at_the_test_split_need_a_reason(
    layout: Layout, params: Params, metrics: Metrics
) -> None:
    write_metrics(layout, changed(metrics, candidate__macro_f1__value=0.45))
    assert set(register(layout, params).failed) == {"macro_f1"}
    lowered = register(layout, with_gates(params, macro_f1=0.40))
    assert set(lowered.failed) == {"policy"}
    assert "at_least 0.5 -> candidate.macro_f1.value (absolute) at_least 0.4" in lowered.failed["policy"]
    reasoned = with_gates(params, macro_f1=0.40, policy="0.5 was a slip")
    summary = register(layout, reasoned)
    assert (summary.version, summary.gates_overridden, summary.looks) == ("1", 1, 1)
    assert summary.policy_change is not None
    assert summary.policy_change.why == "0.5 was a slip"
    assert register(layout, reasoned).policy_change == summary.policy_change  # not a new one each time
    card = (layout.reports("register") / "model_card.md").read_text()
    assert "Why: 0.5 was a slip" in card
    assert "| 1 challenger |" in card
    assert "| macro_f1 | macro-F1 of at least 0.400 | found 0.450 | +0.050 | passed |" in card


def test_settings_of_before_are_named_with_what_to_use_instead() -> None:
    tree = params_tree()
    del tree["register"]["gates"]
    tree["register"] |= {"min_macro_f1": 0.4}
    with pytest.raises(FeropsError, match=r"min_macro_f1: no longer exists; it is register\.gates\.macro_f1\.at_least"):
        config.parse(tree)
    tree = params_tree()
    tree["register"]["gates"]["macro_f1"]["at_most"] = 0.9
    with pytest.raises(FeropsError, match=r"register\.gates\.macro_f1: found at_least and at_most"):
        config.parse(tree)
