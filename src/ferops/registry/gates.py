"""Gates: the rules of `register.gates`, as pure functions of what was measured. What is undefined or missing fails.

The presets compare differences by the bound of their interval, not by their value: a candidate passes when even the
unlucky end of the paired bootstrap is acceptable.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ferops.config import POLICY, Register, Rule
from ferops.errors import FeropsError
from ferops.formats import rounded
from ferops.records.metrics import Metrics
from ferops.records.register import Gate
from ferops.registry.figures import Probes, UndefinedError, figure_of

_WORDS = {"at_least": "of at least", "at_most": "of at most", "above": "above", "below": "below"}
_REFERENCES = {
    "absolute": "{}",
    "chance": "{} minus the accuracy of guessing",
    "baseline": "{}, candidate minus baseline,",
    "champion": "{}, candidate minus champion,",
    "people": "{} of the worst group of people, minus the whole,",
    "source": "{} of the worst source, minus the whole,",
    "condition": "{} of the worst condition, minus the whole,",
}


def evaluate_gates(metrics: Metrics, settings: Register, *, probes: Probes | None = None) -> tuple[Gate, ...]:
    """Return the outcome of every rule, in the order of `settings.gates`, with its overrides applied.

    Args:
        metrics: artifacts/evaluate/metrics.json.
        settings: the `register` block.
        probes: what robustness and fairness found (`ferops.registry.figures.read_probes`); None for nothing.

    Raises:
        FeropsError: an override names no gate, or gives no reason.
    """
    _check_overrides(settings.overrides, [*settings.gates, POLICY])
    tree = metrics.model_dump()
    return tuple(
        overridden(_gate(name, rule, tree, probes or {}), settings.overrides) for name, rule in settings.gates.items()
    )


def overridden(gate: Gate, overrides: Mapping[str, str]) -> Gate:
    """Return `gate` with a person's reason, if it failed and there is one."""
    if gate.passed or gate.name not in overrides:
        return gate
    return gate.model_copy(update={"overridden": overrides[gate.name].strip()})


def _gate(name: str, rule: Rule, tree: Mapping[str, object], probes: Probes) -> Gate:
    ((bound_name, bound),) = rule.bounds.items()
    signed = rule.reference != "absolute"
    what = _REFERENCES[rule.reference].format(_name(rule.metric))
    wanted = f"{what} {_WORDS[bound_name]} {rounded(bound, signed=signed)}"
    if rule.reference == "champion" and tree["champion"] is None:
        return Gate(name=name, passed=True, observed=None, wanted=wanted, reason="there is no champion yet")
    rising = bound_name in ("at_least", "above")
    try:
        observed = figure_of(rule.metric, rule.reference, tree, probes=probes, worst=min if rising else max)
    except UndefinedError as error:
        return Gate(name=name, passed=False, observed=None, wanted=wanted, reason=str(error))
    margin = observed - bound if rising else bound - observed
    # The comparison itself, not the sign of a rounded difference
    passed = {
        "at_least": observed >= bound,
        "at_most": observed <= bound,
        "above": observed > bound,
        "below": observed < bound,
    }[bound_name]
    found = f"found {rounded(observed, signed=signed)}"
    reason = found if passed else f"{found}, wanted {wanted}"
    return Gate(name=name, passed=passed, observed=observed, wanted=wanted, reason=reason, margin=margin)


def _name(path: str) -> str:
    """Return a path into metrics.json in words: `candidate.macro_f1.low` is the lower bound of macro-F1."""
    if path.startswith("crossvalidation."):
        return f"{_name(path.removeprefix('crossvalidation.')).removeprefix('test ')}, cross-validated,"
    if path == "n":
        return "test faces"
    *parts, last = path.removeprefix("candidate.").split(".")
    ends = {"value": "", "low": "lower bound of ", "high": "upper bound of "}
    if last not in ends:
        parts, last = [*parts, last], "value"
    return ends[last] + " ".join(parts).replace("macro_f1", "macro-F1").replace("_", " ")


def _check_overrides(overrides: Mapping[str, str], names: Iterable[str]) -> None:
    known = list(names)
    for name, reason in overrides.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.4) or known
            raise FeropsError(
                f"register.overrides names {name!r}, which is not a gate; did you mean {' or '.join(near)}?"
            )
        if not reason.strip():
            raise FeropsError(f"register.overrides.{name} gives no reason; write down why the gate may be missed")
