"""The gate on the gates: rules that change after a look at a test split may be fitted to it.

The first candidate that is judged on a split leaves the rules in its run. Other rules on the same split fail the gate
`policy`, until params.yaml gives a reason; who changed what, when and why is then kept with the candidate's run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ferops.config import POLICY, Register, Rule
from ferops.records.register import FirstLook, Gate, PolicyChange
from ferops.registry.gates import overridden
from ferops.registry.tracking import all_runs, user_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

JUDGED_TAG = "ferops.judged_on"
"""On a run whose model was judged: the split's hash."""

_FIRST_TAG = "ferops.first_look"
_CHANGE_TAG = "ferops.policy_change"


def policy_gate(
    client: MlflowClient, run_id: str, settings: Register, *, split_hash: str | None
) -> tuple[Gate, PolicyChange | None, int]:
    """Judge whether the rules are those of the first look at this split, and note the look in the run.

    Returns:
        The gate; the change against the first look, if any; and how many candidates were judged on the split so far.
    """
    split = str(split_hash)
    client.set_tag(run_id, JUDGED_TAG, split)
    runs = all_runs(client, filter_string=f"tags.`{JUDGED_TAG}` = '{split}'")
    now, who = datetime.now(UTC).isoformat(timespec="seconds"), user_name()
    first = _first_look(runs, settings.model_name)
    if first is None:
        first = FirstLook(model=settings.model_name, gates=settings.gates, by=who, at=now)
        client.set_tag(run_id, _FIRST_TAG, first.model_dump_json(exclude_none=True))
    changes = _changes(first.gates, settings.gates)
    wanted = "the gates of the first look at this test split"
    if not changes:
        found = f"unchanged; candidates judged on this split: {len(runs)}"
        return Gate(name=POLICY, passed=True, observed=None, wanted=wanted, reason=found), None, len(runs)
    reason = f"changed since {first.by} looked at it at {first.at}: {'; '.join(changes)}"
    gate = Gate(name=POLICY, passed=False, observed=None, wanted=wanted, reason=reason)
    gate = overridden(gate, settings.overrides)
    if gate.overridden is None:
        advice = "Say why in register.overrides.policy, or take them back"
        return gate.model_copy(update={"reason": f"{reason}. {advice}"}), None, len(runs)
    change = PolicyChange(by=who, at=now, why=gate.overridden, changes=changes)
    before = next((_change(run) for run in runs if run.info.run_id == run_id), None)
    if before is not None and (before.why, before.changes) == (change.why, change.changes):
        change = before
    client.set_tag(run_id, _CHANGE_TAG, change.model_dump_json())
    return gate, change, len(runs)


def _first_look(runs: Sequence[Run], model: str) -> FirstLook | None:
    looks = []
    for run in runs:
        try:
            looks.append(FirstLook.model_validate_json(run.data.tags.get(_FIRST_TAG, "")))
        except ValidationError:
            continue
    return min((look for look in looks if look.model == model), key=lambda look: look.at, default=None)


def _change(run: Run) -> PolicyChange | None:
    try:
        return PolicyChange.model_validate_json(run.data.tags.get(_CHANGE_TAG, ""))
    except ValidationError:
        return None


def _changes(before: Mapping[str, Rule], after: Mapping[str, Rule]) -> tuple[str, ...]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return tuple(f"{name}: {_short(before.get(name))} -> {_short(after.get(name))}" for name in names)


def _short(rule: Rule | None) -> str:
    if rule is None:
        return "none"
    ((bound, value),) = rule.bounds.items()
    return f"{rule.metric} ({rule.reference}) {bound} {value:g}"
