"""Gates: pure functions of the evaluation's metrics. What is missing, not a number or too small a sample fails.

Differences are judged by the bound of their interval, not by their value: a candidate passes when even the unlucky end
of the paired bootstrap is acceptable.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ferops.config import Register
from ferops.errors import FeropsError


@dataclass(frozen=True)
class Gate:
    """One judgement. `observed` is None where there was nothing to judge; `overridden` holds a person's reason."""

    name: str
    passed: bool
    observed: float | None
    wanted: str
    reason: str
    overridden: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether the gate keeps the candidate from becoming a version."""
        return not self.passed and self.overridden is None


class _NothingToJudgeError(Exception):
    """The reason why a gate has no number to look at."""


def judge(metrics: Mapping[str, Any], settings: Register) -> list[Gate]:
    """Return every gate's judgement, in the order of GATES, with the overrides of `settings` applied.

    Args:
        metrics: the content of artifacts/evaluate/metrics.json.
        settings: the `register` block; bounds are shares in 0-1.

    Raises:
        FeropsError: an override names no gate, or gives no reason.
    """
    _check_overrides(settings.overrides)
    gates = []
    for name, gate_of in _GATES.items():
        gate = gate_of(name, metrics, settings)
        if not gate.passed and name in settings.overrides:
            gate = replace(gate, overridden=settings.overrides[name].strip())
        gates.append(gate)
    return gates


def _enough_samples(name: str, metrics: Mapping[str, Any], settings: Register) -> Gate:
    return _judge_number(
        name,
        wanted=f"at least {settings.min_test_samples} test faces",
        observe=lambda: _number(metrics, "n"),
        holds=lambda n: n >= settings.min_test_samples,
    )


def _beats_chance(name: str, metrics: Mapping[str, Any], _settings: Register) -> Gate:
    wanted = "lower bound of accuracy above that of guessing"
    try:
        chance = max(_number(metrics, "chance.accuracy"), _number(metrics, "chance.uniform_accuracy"))
    except _NothingToJudgeError as nothing:
        return Gate(name, passed=False, observed=None, wanted=wanted, reason=str(nothing))
    return _judge_number(
        name,
        wanted=f"{wanted} ({chance:.3f})",
        observe=lambda: _number(metrics, "candidate.accuracy.low"),
        holds=lambda low: low > chance,
    )


def _macro_f1(name: str, metrics: Mapping[str, Any], settings: Register) -> Gate:
    return _judge_number(
        name,
        wanted=f"macro-F1 of at least {settings.min_macro_f1:.3f}",
        observe=lambda: _number(metrics, "candidate.macro_f1.value"),
        holds=lambda value: value >= settings.min_macro_f1,
    )


def _baseline(name: str, metrics: Mapping[str, Any], settings: Register) -> Gate:
    return _judge_loss(name, metrics, "baseline", max_loss=settings.max_loss_to_baseline)


def _champion(name: str, metrics: Mapping[str, Any], settings: Register) -> Gate:
    # Both must be there and null: a file that only lacks the comparison must not pass for "no champion yet"
    if metrics.get("champion", "absent") is None and metrics.get("candidate_minus_champion", "absent") is None:
        wanted = "no worse than the champion, if there is one"
        return Gate(name, passed=True, observed=None, wanted=wanted, reason="there is no champion yet")
    return _judge_loss(name, metrics, "champion", max_loss=settings.max_loss_to_champion)


def _calibration(name: str, metrics: Mapping[str, Any], settings: Register) -> Gate:
    return _judge_number(
        name,
        wanted=f"calibration error of at most {settings.max_calibration_error:.3f}",
        observe=lambda: _number(metrics, "candidate.calibration_error.value"),
        holds=lambda value: value <= settings.max_calibration_error,
    )


def _worst_slice(name: str, metrics: Mapping[str, Any], settings: Register) -> Gate:
    return _judge_number(
        name,
        wanted=f"accuracy of every group of people at most {settings.max_slice_gap:.3f} below the whole",
        observe=lambda: _largest_gap(metrics),
        holds=lambda gap: gap <= settings.max_slice_gap,
    )


_GATES: dict[str, Callable[[str, Mapping[str, Any], Register], Gate]] = {
    "enough_samples": _enough_samples,
    "beats_chance": _beats_chance,
    "macro_f1": _macro_f1,
    "baseline": _baseline,
    "champion": _champion,
    "calibration": _calibration,
    "worst_slice": _worst_slice,
}

GATES = tuple(_GATES)
"""The gates' names, as `register.overrides` uses them."""


def _judge_loss(name: str, metrics: Mapping[str, Any], reference: str, *, max_loss: float) -> Gate:
    return _judge_number(
        name,
        wanted=f"lower bound of (candidate - {reference}) accuracy of at least {-max_loss:+.3f}",
        observe=lambda: _number(metrics, f"candidate_minus_{reference}.accuracy.low"),
        holds=lambda low: low >= -max_loss,
    )


def _judge_number(name: str, *, wanted: str, observe: Callable[[], float], holds: Callable[[float], bool]) -> Gate:
    try:
        observed = observe()
    except _NothingToJudgeError as nothing:
        return Gate(name, passed=False, observed=None, wanted=wanted, reason=str(nothing))
    passed = holds(observed)
    found = f"{observed:.0f}" if float(observed).is_integer() and abs(observed) > 1 else f"{observed:.3f}"
    return Gate(name, passed, observed, wanted, f"found {found}, wanted {wanted}" if not passed else f"found {found}")


def _largest_gap(metrics: Mapping[str, Any]) -> float:
    """Whole accuracy minus that of the worst group_* slice with enough samples; below 0 if every slice is better.

    A group of people in which the detector found no face at all is judged before any number: nothing is known of it.
    """
    slices = metrics.get("slices")
    if not isinstance(slices, list):
        raise _NothingToJudgeError("slices is missing")
    people = [each for each in slices if str(each.get("column", "")).startswith("group_")]
    if not people:
        raise _NothingToJudgeError(
            "the data describes no groups of people (group_* columns), so nobody can tell who is served worse"
        )
    for each in people:
        if _number(each, "n", label=f"{each['column']}={each.get('value')} ") == 0:
            raise _NothingToJudgeError(
                f"no face was found in any of the {each.get('n_no_face')} test images of "
                f"{each['column']}={each.get('value')}"
            )
    large = [each for each in people if each.get("small") is False]
    if not large:
        raise _NothingToJudgeError("every group of people has too few samples to judge")
    whole = _number(metrics, "candidate.accuracy.value")
    return max(
        whole - _number(each, "accuracy.value", label=f"{each['column']}={each.get('value')} ") for each in large
    )


def _number(tree: Mapping[str, Any], path: str, *, label: str = "") -> float:
    """Return the finite number at the dotted `path`, or raise _NothingToJudgeError with what is there instead."""
    node: Any = tree
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            raise _NothingToJudgeError(f"{label}{path} is missing")
        node = node[key]
    if isinstance(node, bool) or not isinstance(node, int | float) or not math.isfinite(node):
        raise _NothingToJudgeError(f"{label}{path} is {node!r}, not a number")
    return node


def _check_overrides(overrides: Mapping[str, str]) -> None:
    for name, reason in overrides.items():
        if name not in _GATES:
            near = difflib.get_close_matches(name, GATES, n=2, cutoff=0.4) or list(GATES)
            raise FeropsError(f"register.overrides names {name!r}, which is no gate; did you mean {' or '.join(near)}?")
        if not reason.strip():
            raise FeropsError(f"register.overrides.{name} gives no reason; write down why the gate may be missed")
