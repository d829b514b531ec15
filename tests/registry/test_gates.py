from __future__ import annotations

import math

import pytest

from ferops.config import Params, Rule
from ferops.errors import FeropsError
from ferops.records.metrics import Metrics
from ferops.records.register import Gate
from ferops.registry.figures import Probes
from ferops.registry.gates import evaluate_gates
from registry_project import RULES, against_champion, changed, evaluated, people


def gate(metrics: Metrics, params: Params, name: str, **overrides: str) -> Gate:
    settings = params.registry.model_copy(update={"overrides": overrides})
    return {each.name: each for each in evaluate_gates(metrics, settings)}[name]


def test_what_evaluate_wrote_can_be_judged(params: Params) -> None:
    found = evaluated().metrics
    gates = {each.name: each for each in evaluate_gates(found, params.registry)}
    assert gates["enough_samples"].observed == found.n
    assert gates["baseline"].observed == found.candidate_minus_baseline.accuracy.low
    whole = found.candidate.accuracy.value
    worst = min(each.accuracy.value for each in found.slices if each.kind == "people" and not each.small)
    assert gates["worst_slice"].observed == pytest.approx(worst - whole)
    assert gates["champion"].passed  # there is none
    assert all(each.observed is not None for each in gates.values() if each.name != "champion")


def test_a_good_candidate_passes_every_gate(metrics: Metrics, params: Params) -> None:
    gates = evaluate_gates(metrics, params.registry)
    assert [each.name for each in gates] == list(RULES)
    assert all(each.passed and not each.blocks and each.overridden is None for each in gates)


# Bounds of params_tree
@pytest.mark.parametrize(
    ("name", "path", "passes", "fails"),
    [
        ("enough_samples", "n", 100, 99),
        ("beats_chance", "candidate__accuracy__low", 0.201, 0.20),
        ("macro_f1", "candidate__macro_f1__value", 0.50, 0.499),
        ("baseline", "candidate_minus_baseline__accuracy__low", -0.05, -0.0501),
        ("calibration", "candidate__calibration_error__value", 0.15, 0.1501),
        ("worst_slice", "slices__1__accuracy__value", 0.551, 0.549),
    ],
)
def test_bounds(  # noqa: PLR0917
    metrics: Metrics, params: Params, name: str, path: str, passes: float, fails: float
) -> None:
    assert gate(changed(metrics, **{path: passes}), params, name).passed
    poor = changed(metrics, **{path: fails})
    failed = gate(poor, params, name)
    assert failed.blocks
    assert "wanted" in failed.reason
    assert all(each.passed for each in evaluate_gates(poor, params.registry) if each.name != name)


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("beats_chance", "candidate__accuracy__low"),
        ("macro_f1", "candidate__macro_f1__value"),
        ("baseline", "candidate_minus_baseline__accuracy__low"),
        ("champion", "candidate_minus_champion__accuracy__low"),
        ("calibration", "candidate__calibration_error__value"),
        ("worst_slice", "candidate__accuracy__value"),
        ("worst_slice", "slices__1__accuracy__value"),
    ],
)
def test_what_is_not_a_number_fails(metrics: Metrics, params: Params, name: str, path: str, bad: float | None) -> None:
    failed = gate(changed(against_champion(metrics, low=0.0), **{path: bad}), params, name)
    assert failed.blocks
    assert failed.observed is None
    assert f"{bad}, not a number" in failed.reason


@pytest.mark.parametrize("path", ["chance__accuracy", "chance__uniform_accuracy"])
def test_a_chance_that_is_not_a_number_fails(metrics: Metrics, params: Params, path: str) -> None:
    assert gate(changed(metrics, **{path: math.nan}), params, "beats_chance").blocks


def test_the_better_of_two_ways_to_guess_counts(metrics: Metrics, params: Params) -> None:
    # Above the lower bound 0.76, although chance.accuracy is 0.20
    assert gate(changed(metrics, chance__uniform_accuracy=0.77), params, "beats_chance").blocks


def test_without_champion_there_is_nothing_to_lose_to(metrics: Metrics, params: Params) -> None:
    assert "no champion yet" in gate(metrics, params, "champion").reason


@pytest.mark.parametrize(("low", "passed"), [(-0.02, True), (-0.0201, False)])
def test_the_champion_has_a_bound_of_its_own(metrics: Metrics, params: Params, low: float, passed: bool) -> None:
    assert gate(against_champion(metrics, low=low), params, "champion").passed is passed


def test_a_champion_without_shared_classes_fails(metrics: Metrics, params: Params) -> None:
    failed = gate(changed(against_champion(metrics, low=0.0), candidate_minus_champion=None), params, "champion")
    assert failed.blocks
    assert "shares too few classes" in failed.reason


def test_only_large_slices_of_people_gate(metrics: Metrics, params: Params) -> None:
    poor_source = changed(metrics, slices__0__accuracy__value=0.0)
    assert gate(poor_source, params, "worst_slice").observed == pytest.approx(-0.10)  # 5 faces do not count


def test_groups_that_are_all_too_small_fail(metrics: Metrics, params: Params) -> None:
    small = changed(metrics, **{f"slices__{number}__small": True for number in range(4)})
    assert "too few samples" in gate(small, params, "worst_slice").reason


def test_a_group_of_which_no_face_was_found_fails(metrics: Metrics, params: Params) -> None:
    unseen = people("group_tone", "dark", 0, None, small=True, n_no_face=3)
    failed = gate(metrics.model_copy(update={"slices": (*metrics.slices, unseen)}), params, "worst_slice")
    assert failed.blocks
    assert failed.observed is None
    assert failed.reason == "no face was found in any of the 3 test images of group_tone=dark"


def test_a_source_of_which_no_face_was_found_is_not_a_group_of_people(metrics: Metrics, params: Params) -> None:
    unseen = people("source", "other", 0, None, small=True, n_no_face=3, kind="source")
    assert gate(metrics.model_copy(update={"slices": (*metrics.slices, unseen)}), params, "worst_slice").passed


def test_data_without_groups_of_people_fails(metrics: Metrics, params: Params) -> None:
    without = metrics.model_copy(update={"slices": metrics.slices[:1]})
    assert "no groups of people" in gate(without, params, "worst_slice").reason


def test_an_override_is_recorded_and_unblocks(metrics: Metrics, params: Params) -> None:
    without = metrics.model_copy(update={"slices": ()})
    found = gate(without, params, "worst_slice", worst_slice=" FER2013 has no annotated groups ")
    assert not found.passed
    assert not found.blocks
    assert found.overridden == "FER2013 has no annotated groups"


def test_an_override_that_is_not_needed_changes_nothing(metrics: Metrics, params: Params) -> None:
    found = gate(metrics, params, "macro_f1", macro_f1="just in case")
    assert found.passed
    assert found.overridden is None


def test_an_unknown_override_names_the_nearest_gate(metrics: Metrics, params: Params) -> None:
    with pytest.raises(FeropsError, match=r"'worst_slices'.*did you mean worst_slice"):
        gate(metrics, params, "macro_f1", worst_slices="reason")


def test_an_override_needs_a_reason(metrics: Metrics, params: Params) -> None:
    with pytest.raises(FeropsError, match="gives no reason"):
        gate(metrics, params, "macro_f1", macro_f1="  ")


def _probed(params: Params, metrics: Metrics, probes: Probes | None, **rule: object) -> Gate:
    gates = {"probe": Rule.model_validate({"reference": "absolute"} | rule)}
    (found,) = evaluate_gates(metrics, params.registry.model_copy(update={"gates": gates}), probes=probes)
    return found


@pytest.mark.parametrize(("bound", "passed"), [(0.88, True), (0.89, False)])
def test_a_gate_reads_what_another_stage_found(params: Params, metrics: Metrics, bound: float, passed: bool) -> None:
    probes = {"robustness": {"passed_mirrored": 0.88}}
    found = _probed(params, metrics, probes, metric="robustness.passed_mirrored", at_least=bound)
    assert (found.passed, found.observed) == (passed, 0.88)
    assert found.margin == pytest.approx(0.88 - bound)
    assert "robustness passed mirrored of at least" in found.wanted


@pytest.mark.parametrize(
    ("probes", "rule", "reason"),
    [
        (None, {}, "fairness has not run, so there is no worst_group_accuracy. Run: ferops fairness"),
        ({"robustness": {"worst_group_accuracy": 1.0}}, {}, "fairness has not run"),
        ({"fairness": {"worst_group_accuracy": None}}, {}, "worst_group_accuracy is None, not a number"),
        ({"fairness": {"worst_group_accuracy": math.nan}}, {}, "worst_group_accuracy is nan, not a number"),
        (
            {"fairness": {"worst_group_accurac": 1.0}},
            {},
            "fairness/metrics.json has no worst_group_accuracy; did",
        ),
        ({"fairness": {"worst_group_accuracy": 1.0}}, {"reference": "baseline"}, "set reference: absolute"),
    ],
)
def test_a_figure_that_no_stage_measured_fails(
    params: Params, metrics: Metrics, probes: Probes | None, rule: dict[str, str], reason: str
) -> None:
    found = _probed(params, metrics, probes, metric="fairness.worst_group_accuracy", at_least=0.1, **rule)
    assert found.blocks
    assert reason in found.reason
