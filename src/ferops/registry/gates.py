"""Gates: pure functions of the evaluation's metrics. What is undefined, or rests on too few samples, fails.

Differences are compared by the bound of their interval, not by their value: a candidate passes when even the unlucky
end of the paired bootstrap is acceptable.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping

from ferops.config import Register
from ferops.errors import FeropsError
from ferops.records.metrics import Difference, Metrics
from ferops.records.register import Gate


class _UndefinedError(Exception):
    """The reason why a gate has no figure to judge."""


def evaluate_gates(metrics: Metrics, settings: Register) -> tuple[Gate, ...]:
    """Return the outcome of every gate, in the order of GATES, with the overrides of `settings` applied.

    Args:
        metrics: artifacts/evaluate/metrics.json.
        settings: the `register` block; bounds are shares in 0-1.

    Raises:
        FeropsError: an override names no gate, or gives no reason.
    """
    _check_overrides(settings.overrides)
    gates = (gate_of(name, metrics, settings) for name, gate_of in _GATES.items())
    return tuple(
        gate
        if gate.passed or gate.name not in settings.overrides
        else gate.model_copy(update={"overridden": settings.overrides[gate.name].strip()})
        for gate in gates
    )


def _enough_samples(name: str, metrics: Metrics, settings: Register) -> Gate:
    return _gate(
        name,
        wanted=f"at least {settings.min_test_samples} test faces",
        observe=lambda: metrics.n,
        holds=lambda n: n >= settings.min_test_samples,
    )


def _beats_chance(name: str, metrics: Metrics, _settings: Register) -> Gate:
    chance = metrics.chance
    guesses = (chance.accuracy, chance.uniform_accuracy)
    return _gate(
        name,
        wanted=f"lower bound of accuracy above that of guessing ({max(guesses):.3f})",
        observe=lambda: _number(metrics.candidate.accuracy.low, "candidate.accuracy.low"),
        holds=lambda low: low > max(_number(guess, "chance accuracy") for guess in guesses),
    )


def _macro_f1(name: str, metrics: Metrics, settings: Register) -> Gate:
    return _gate(
        name,
        wanted=f"macro-F1 of at least {settings.min_macro_f1:.3f}",
        observe=lambda: _number(metrics.candidate.macro_f1.value, "candidate.macro_f1.value"),
        holds=lambda value: value >= settings.min_macro_f1,
    )


def _baseline(name: str, metrics: Metrics, settings: Register) -> Gate:
    return _loss_gate(name, metrics.candidate_minus_baseline, "baseline", max_loss=settings.max_loss_to_baseline)


def _champion(name: str, metrics: Metrics, settings: Register) -> Gate:
    if metrics.champion is None and metrics.candidate_minus_champion is None:
        wanted = "no worse than the champion, if there is one"
        return Gate(name=name, passed=True, observed=None, wanted=wanted, reason="there is no champion yet")
    return _loss_gate(name, metrics.candidate_minus_champion, "champion", max_loss=settings.max_loss_to_champion)


def _calibration(name: str, metrics: Metrics, settings: Register) -> Gate:
    return _gate(
        name,
        wanted=f"calibration error of at most {settings.max_calibration_error:.3f}",
        observe=lambda: _number(metrics.candidate.calibration_error.value, "candidate.calibration_error.value"),
        holds=lambda value: value <= settings.max_calibration_error,
    )


def _worst_slice(name: str, metrics: Metrics, settings: Register) -> Gate:
    return _gate(
        name,
        wanted=f"accuracy of every group of people at most {settings.max_slice_gap:.3f} below the whole",
        observe=lambda: _largest_gap(metrics),
        holds=lambda gap: gap <= settings.max_slice_gap,
    )


_GATES: dict[str, Callable[[str, Metrics, Register], Gate]] = {
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


def _loss_gate(name: str, difference: Difference | None, reference: str, *, max_loss: float) -> Gate:
    def observe() -> float:
        if difference is None:
            raise _UndefinedError(f"the {reference} shares too few classes with the candidate to be compared")
        return _number(difference.accuracy.low, f"candidate_minus_{reference}.accuracy.low")

    return _gate(
        name,
        wanted=f"lower bound of (candidate - {reference}) accuracy of at least {-max_loss:+.3f}",
        observe=observe,
        holds=lambda low: low >= -max_loss,
    )


def _gate(name: str, *, wanted: str, observe: Callable[[], float], holds: Callable[[float], bool]) -> Gate:
    try:
        observed = observe()
        passed = holds(observed)
    except _UndefinedError as error:
        return Gate(name=name, passed=False, observed=None, wanted=wanted, reason=str(error))
    found = f"{observed:.0f}" if float(observed).is_integer() and abs(observed) > 1 else f"{observed:.3f}"
    reason = f"found {found}" if passed else f"found {found}, wanted {wanted}"
    return Gate(name=name, passed=passed, observed=observed, wanted=wanted, reason=reason)


def _largest_gap(metrics: Metrics) -> float:
    """Whole accuracy minus that of the worst group of people with enough samples; below 0 if every group is better.

    A group in which the detector found no face at all fails before any number: its accuracy is unknown.
    """
    people = [each for each in metrics.slices if each.kind == "people"]
    if not people:
        raise _UndefinedError("the data describes no groups of people (group_* columns), so none can be compared")
    for each in people:
        if each.n == 0:
            raise _UndefinedError(
                f"no face was found in any of the {each.n_no_face} test images of {each.column}={each.value}"
            )
    large = [each for each in people if not each.small]
    if not large:
        raise _UndefinedError("every group of people has too few samples to judge")
    whole = _number(metrics.candidate.accuracy.value, "candidate.accuracy.value")
    return max(whole - _number(each.accuracy.value, f"{each.column}={each.value} accuracy.value") for each in large)


def _number(value: float | None, name: str) -> float:
    if value is None or not math.isfinite(value):
        raise _UndefinedError(f"{name} is {value}, not a number")
    return value


def _check_overrides(overrides: Mapping[str, str]) -> None:
    for name, reason in overrides.items():
        if name not in _GATES:
            near = difflib.get_close_matches(name, GATES, n=2, cutoff=0.4) or list(GATES)
            raise FeropsError(
                f"register.overrides names {name!r}, which is not a gate; did you mean {' or '.join(near)}?"
            )
        if not reason.strip():
            raise FeropsError(f"register.overrides.{name} gives no reason; write down why the gate may be missed")
