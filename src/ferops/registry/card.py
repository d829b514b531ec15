"""The model card with the decision before all else, and the history of the versions behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ferops import escape
from ferops.records.register import Gate, RegisterSummary

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def decided(card: str, summary: RegisterSummary, versions: Sequence[ModelVersion]) -> str:
    """Return the card of the evaluation with the decision before its first section, and the versions as the last one.

    Args:
        versions: of the registered model, newest first.
    """
    at = card.find("\n## ")
    before, after = (card, "") if at < 0 else (card[:at], card[at:])
    return f"{before.rstrip()}\n\n{decision(summary)}\n{after.rstrip()}\n\n{history(versions)}"


def history(versions: Sequence[ModelVersion]) -> str:
    """Return what is known of each version as a Markdown table, the newest first."""
    lines = ["## Version history", ""]
    if not versions:
        return "\n".join([*lines, "There is no version yet.", ""])
    heads = (
        "version",
        "registered (UTC)",
        "accuracy",
        "macro-F1",
        "data",
        "split",
        "gates",
        "champion since, by, after",
    )
    lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for version in versions:
        tags = version.tags
        keys = ("promoted_at", "promoted_by", "promoted_from")
        promoted = ", ".join(tags[key] for key in keys if key in tags)
        made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        cells = [
            " ".join([str(version.version), *version.aliases]),
            f"{made:%Y-%m-%d %H:%M}",
            *(tags.get(key, "") for key in ("accuracy", "macro_f1")),
            *(tags.get(key, "")[:12] for key in ("data_version", "split_hash")),
            tags.get("gates", ""),
            promoted,
        ]
        lines.append(f"| {' | '.join(map(escape.markdown, cells))} |")
    splits = {version.tags.get("split_hash") for version in versions}
    note = ["", "Figures on different splits cannot be compared."] if len(splits) > 1 else []
    return "\n".join([*lines, *note, ""])


def decision(summary: RegisterSummary) -> str:
    """Return what was decided, and by which gates, as Markdown."""
    blocking = [escape.markdown(gate.name) for gate in summary.gates if gate.blocks]
    waived = [escape.markdown(gate.name) for gate in summary.gates if gate.overridden]
    if blocking:
        answer = f"**Not registered.** These gates failed: {', '.join(blocking)}."
    elif waived:
        answer = f"**Registered as version {summary.version}, with reservations.** Overridden: {', '.join(waived)}."
    else:
        answer = f"**Registered as version {summary.version}.** All {len(summary.gates)} gates passed."
    looks = f"Candidates judged on this test split so far: {summary.looks}."
    change = summary.policy_change
    lines = ["## Decision", "", f"{answer} {looks}", "", gates_table(summary.gates), ""]
    if change is not None:
        changed, why, by = map(escape.markdown, ("; ".join(change.changes), change.why, change.by))
        lines += [f"The gates changed after a look at this test split ({by}, {change.at}): {changed}. Why: {why}", ""]
    return "\n".join(lines)


def gates_table(gates: Sequence[Gate]) -> str:
    """Return the gates as a Markdown table."""
    rows = [
        f"| {gate.name} | {escape.markdown(gate.wanted)} | {escape.markdown(gate.reason)} | {gate.margin_text} | "
        f"{gate.verdict}{f': {escape.markdown(gate.overridden)}' if gate.overridden else ''} |"
        for gate in gates
    ]
    return "\n".join(["| gate | wanted | found | margin | verdict |", "|---|---|---|---:|---|", *rows])
