from __future__ import annotations

import math
from typing import Any

import pytest

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.registry.gates import GATES, Gate, judge


def gate(metrics: dict[str, Any], params: Params, name: str, **overrides: str) -> Gate:
    settings = params.registry.model_copy(update={"overrides": overrides})
    return {each.name: each for each in judge(metrics, settings)}[name]


def put(metrics: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        metrics = metrics[int(key)] if isinstance(metrics, list) else metrics[key]
    metrics[last] = value


def drop(metrics: dict[str, Any], path: str) -> None:
    *parents, last = path.split(".")
    for key in parents:
        metrics = metrics[int(key)] if isinstance(metrics, list) else metrics[key]
    del metrics[last]


def test_a_good_candidate_passes_every_gate(metrics: dict[str, Any], params: Params) -> None:
    gates = judge(metrics, params.registry)
    assert [each.name for each in gates] == list(GATES)
    assert all(each.passed and not each.blocks and each.overridden is None for each in gates)


# Bounds of the quick preset: 100 faces, macro-F1 0.50, baseline -0.05, calibration 0.15, slice gap 0.25
@pytest.mark.parametrize(
    ("name", "path", "passes", "fails"),
    [
        ("enough_samples", "n", 100, 99),
        ("beats_chance", "candidate.accuracy.low", 0.201, 0.20),
        ("macro_f1", "candidate.macro_f1.value", 0.50, 0.499),
        ("baseline", "candidate_minus_baseline.accuracy.low", -0.05, -0.0501),
        ("calibration", "candidate.calibration_error.value", 0.15, 0.1501),
        ("worst_slice", "slices.1.accuracy.value", 0.551, 0.549),
    ],
)
def test_bounds(  # noqa: PLR0917
    metrics: dict[str, Any], params: Params, name: str, path: str, passes: float, fails: float
) -> None:
    put(metrics, path, passes)
    assert gate(metrics, params, name).passed
    put(metrics, path, fails)
    failed = gate(metrics, params, name)
    assert failed.blocks
    assert "wanted" in failed.reason
    others = [each for each in judge(metrics, params.registry) if each.name != name]
    assert all(each.passed for each in others)


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, "0.9", True])
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("enough_samples", "n"),
        ("beats_chance", "candidate.accuracy.low"),
        ("beats_chance", "chance.accuracy"),
        ("beats_chance", "chance.uniform_accuracy"),
        ("macro_f1", "candidate.macro_f1.value"),
        ("baseline", "candidate_minus_baseline.accuracy.low"),
        ("champion", "candidate_minus_champion.accuracy.low"),
        ("calibration", "candidate.calibration_error.value"),
        ("worst_slice", "candidate.accuracy.value"),
        ("worst_slice", "slices.1.accuracy.value"),
    ],
)
def test_what_is_no_number_fails(metrics: dict[str, Any], params: Params, name: str, path: str, bad: object) -> None:
    with_champion(metrics, low=0.0)
    put(metrics, path, bad)
    failed = gate(metrics, params, name)
    assert failed.blocks
    assert failed.observed is None
    assert repr(bad) in failed.reason


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("enough_samples", "n"),
        ("beats_chance", "chance"),
        ("macro_f1", "candidate"),
        ("baseline", "candidate_minus_baseline"),
        ("baseline", "candidate_minus_baseline.accuracy"),
        ("champion", "candidate_minus_champion"),
        ("calibration", "candidate.calibration_error"),
        ("worst_slice", "slices"),
        ("worst_slice", "slices.1.accuracy"),
    ],
)
def test_what_is_missing_fails(metrics: dict[str, Any], params: Params, name: str, path: str) -> None:
    with_champion(metrics, low=0.0)
    drop(metrics, path)
    failed = gate(metrics, params, name)
    assert failed.blocks
    assert "is missing" in failed.reason


def test_empty_metrics_fail_every_gate(params: Params) -> None:
    assert all(each.blocks for each in judge({}, params.registry))


def test_the_better_of_two_ways_to_guess_counts(metrics: dict[str, Any], params: Params) -> None:
    put(metrics, "chance.uniform_accuracy", 0.77)  # above the lower bound 0.76, although chance.accuracy is 0.20
    assert gate(metrics, params, "beats_chance").blocks


def with_champion(metrics: dict[str, Any], *, low: float) -> None:
    metrics["champion"] = {"version": "1", "accuracy": {"value": 0.8, "low": 0.75, "high": 0.85}}
    metrics["candidate_minus_champion"] = {"accuracy": {"value": 0.0, "low": low, "high": 0.02}}


def test_without_champion_there_is_nothing_to_lose_to(metrics: dict[str, Any], params: Params) -> None:
    assert "no champion yet" in gate(metrics, params, "champion").reason


@pytest.mark.parametrize(("low", "passed"), [(-0.02, True), (-0.0201, False)])
def test_the_champion_has_a_bound_of_its_own(metrics: dict[str, Any], params: Params, low: float, passed: bool) -> None:
    with_champion(metrics, low=low)
    assert gate(metrics, params, "champion").passed is passed


def test_a_champion_that_was_not_compared_fails(metrics: dict[str, Any], params: Params) -> None:
    with_champion(metrics, low=0.0)
    metrics["candidate_minus_champion"] = None
    assert gate(metrics, params, "champion").blocks


def test_only_large_slices_of_people_gate(metrics: dict[str, Any], params: Params) -> None:
    metrics["slices"][0]["accuracy"]["value"] = 0.0  # a source is no group of people
    assert gate(metrics, params, "worst_slice").observed == pytest.approx(0.10)  # 0.80 - 0.70; 5 faces do not count


def test_groups_that_are_all_too_small_fail(metrics: dict[str, Any], params: Params) -> None:
    for each in metrics["slices"]:
        each["small"] = True
    assert "too few samples" in gate(metrics, params, "worst_slice").reason


def test_a_group_of_which_no_face_was_found_fails(metrics: dict[str, Any], params: Params) -> None:
    unseen = {"column": "group_tone", "value": "dark", "n": 0, "n_no_face": 3, "accuracy": {"value": None}}
    metrics["slices"].append(unseen | {"small": True})
    judged = gate(metrics, params, "worst_slice")
    assert judged.blocks
    assert judged.observed is None
    assert judged.reason == "no face was found in any of the 3 test images of group_tone=dark"


def test_a_source_of_which_no_face_was_found_is_no_group_of_people(metrics: dict[str, Any], params: Params) -> None:
    unseen = {"column": "source", "value": "other", "n": 0, "n_no_face": 3, "accuracy": {"value": None}}
    metrics["slices"].append(unseen | {"small": True})
    assert gate(metrics, params, "worst_slice").passed


def test_data_without_groups_of_people_fails(metrics: dict[str, Any], params: Params) -> None:
    metrics["slices"] = metrics["slices"][:1]
    assert "no groups of people" in gate(metrics, params, "worst_slice").reason


def test_an_override_is_recorded_and_unblocks(metrics: dict[str, Any], params: Params) -> None:
    metrics["slices"] = []
    judged = gate(metrics, params, "worst_slice", worst_slice=" FER2013 has no annotated groups ")
    assert not judged.passed
    assert not judged.blocks
    assert judged.overridden == "FER2013 has no annotated groups"


def test_an_override_that_is_not_needed_changes_nothing(metrics: dict[str, Any], params: Params) -> None:
    judged = gate(metrics, params, "macro_f1", macro_f1="just in case")
    assert judged.passed
    assert judged.overridden is None


def test_an_unknown_override_names_the_nearest_gate(metrics: dict[str, Any], params: Params) -> None:
    with pytest.raises(FeropsError, match=r"'worst_slices'.*did you mean worst_slice"):
        gate(metrics, params, "macro_f1", worst_slices="reason")


def test_an_override_needs_a_reason(metrics: dict[str, Any], params: Params) -> None:
    with pytest.raises(FeropsError, match="gives no reason"):
        gate(metrics, params, "macro_f1", macro_f1="  ")
