"""The cards of registered versions and runs: one as it was written, or two and what changed between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.card import CardDiff, FigureChange, GateChange
from ferops.records.metrics import Interval, Metrics
from ferops.records.register import Gate
from ferops.registry.compare import compare
from ferops.registry.connection import connected
from ferops.registry.lookup import Found, find_runs
from ferops.scratch import scratch_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CARD = "register/model_card.md"
_LESS_IS_BETTER = {
    "calibration error",
    "log loss",
    "Brier score",
    "no face",
    "sent to a person",
    "classes in a set",
    "ms a face",
    "MB",
}


def card(layout: Layout, params: Params, wanted: str) -> str:
    """Return the model card of a version or run, as `register` wrote it.

    Args:
        wanted: as `ferops.registry.lookup.find_runs` takes it.

    Raises:
        FeropsError: there is no such run, it has no card, or the store does not answer.
    """
    with connected(layout) as client, scratch_folder(layout.state, "card") as scratch:
        (found,) = find_runs(client, [wanted], model_name=params.registry.model_name)
        return _artifact(client, found, _CARD, scratch).read_text(encoding="utf-8")


def card_diff(layout: Layout, params: Params, before: str, after: str) -> CardDiff:
    """Return what changed between the cards of two versions or runs; raises FeropsError as `card` does."""
    compared = compare(layout, params, [before, after])
    with connected(layout) as client, scratch_folder(layout.state, "card") as scratch:
        pair = find_runs(client, [before, after], model_name=params.registry.model_name)
        if pair[0].run.info.run_id == pair[1].run.info.run_id:
            raise FeropsError(
                f"{before} and {after} are of one training, {pair[0].run.info.run_name}, whose run keeps the last card "
                "only. Name two trainings"
            )
        metrics = [_metrics(client, found, scratch / str(place)) for place, found in enumerate(pair)]
        gates = [_gates(client, found, scratch / str(place)) for place, found in enumerate(pair)]
    first, second = (_facts(each) for each in metrics)
    return CardDiff(
        before=_name(pair[0]),
        after=_name(pair[1]),
        comparable=compared.comparable,
        reasons=compared.reasons,
        facts={name: (first[name], second[name]) for name in first if first[name] != second[name]},
        settings=compared.settings,
        figures=figure_changes(*metrics, comparable=compared.comparable),
        gates=gate_changes(*gates),
    )


def figure_changes(before: Metrics, after: Metrics, *, comparable: bool) -> tuple[FigureChange, ...]:
    """Return every figure that both have, with its change; the verdict compares intervals, since pairs are not kept."""
    old, new = _figures(before), _figures(after)
    return tuple(
        _change(name, kind, was, new[name][1], comparable=comparable)
        for name, (kind, was) in old.items()
        if name in new and (was.value is not None or new[name][1].value is not None)
    )


def gate_changes(before: Mapping[str, Gate], after: Mapping[str, Gate]) -> tuple[GateChange, ...]:
    """Return the gates whose verdict or bound is another one, or that only one side has."""

    def judged(gate: Gate | None) -> tuple[str, str] | None:
        return None if gate is None else (gate.verdict, gate.wanted)

    return tuple(
        GateChange(name=name, before=before.get(name), after=after.get(name))
        for name in {**before, **after}
        if judged(before.get(name)) != judged(after.get(name))
    )


def _change(name: str, kind: str, before: Interval, after: Interval, *, comparable: bool) -> FigureChange:
    apart = _apart(before, after) if comparable else 0
    better = apart and (apart > 0) != (name in _LESS_IS_BETTER)
    verdict = "better" if better else "worse" if apart else "unclear"
    change = None if before.value is None or after.value is None else after.value - before.value
    return FigureChange.model_validate(
        {"name": name, "kind": kind, "before": before, "after": after, "change": change, "verdict": verdict}
    )


def _apart(before: Interval, after: Interval) -> int:
    """Return 1 where all of `after` lies above `before`, -1 where it lies below, and 0 where that is not known."""
    if before.low is None or before.high is None or after.low is None or after.high is None:
        return 0
    return int(after.low > before.high) - int(after.high < before.low)


def _figures(metrics: Metrics) -> dict[str, tuple[str, Interval]]:
    """Name -> kind and value of everything that a card has and that can rise and fall."""
    candidate, end_to_end = metrics.candidate, metrics.end_to_end
    shares = {
        "accuracy": candidate.accuracy,
        "macro-F1": candidate.macro_f1,
        "balanced accuracy": candidate.balanced_accuracy,
        "accuracy end to end": end_to_end.accuracy,
        "no face": end_to_end.no_face,
        "sent to a person": end_to_end.low_confidence,
        "calibration error": candidate.calibration_error,
    }
    shares |= {f"F1 of {name}": found.f1 for name, found in candidate.per_class.items()}
    shares |= {
        f"accuracy, {each.column.removeprefix('group_').replace('_', ' ')} {each.value}": each.accuracy
        for each in metrics.slices
        if each.kind in ("people", "source") and not each.small
    }
    numbers = {"log loss": candidate.log_loss, "Brier score": candidate.brier}
    if metrics.sets:
        shares["label in the set"] = metrics.sets.coverage
        numbers["classes in a set"] = metrics.sets.mean_size
    numbers |= {"ms a face": _plain(metrics.cost.latency_ms.p50), "MB": _plain(metrics.cost.file_mb)}
    return {name: ("share", found) for name, found in shares.items()} | {
        name: ("number", found) for name, found in numbers.items()
    }


def _plain(value: float) -> Interval:
    return Interval(value=value, low=None, high=None, reason="measured once")


def _facts(metrics: Metrics) -> dict[str, str]:
    origin = metrics.provenance
    data = metrics.data
    return {
        "classes": ", ".join(metrics.classes),
        "sources": ", ".join(origin.sources),
        "data version": origin.data_version,
        "split": str(origin.split_hash),
        "training images": f"{data['train'].images:,}",
        "test faces": f"{metrics.n:,}",
        "parameters": f"{metrics.cost.parameters:,}",
        "temperature": f"{metrics.candidate.temperature:.3f}",
        "test-time augmentation": metrics.candidate.tta,
        "measured on": metrics.cost.cpu,
        "preset, seed": f"{origin.preset}, {origin.seed}",
        "commit": str(origin.git_commit),
        "ferops": origin.ferops_version,
    }


def _name(found: Found) -> str:
    return f"version {found.version[1]}" if found.version else str(found.run.info.run_name)


def _metrics(client: MlflowClient, found: Found, folder: Path) -> Metrics:
    path = _artifact(client, found, "evaluate/metrics.json", folder)
    return Metrics.read(path, made_by="ferops evaluate, and ferops register")


def _gates(client: MlflowClient, found: Found, folder: Path) -> dict[str, Gate]:
    tree = json.loads(_artifact(client, found, "evaluate/gates.json", folder).read_text(encoding="utf-8"))
    return {gate.name: gate for gate in map(Gate.model_validate, tree["gates"])}


def _artifact(client: MlflowClient, found: Found, path: str, folder: Path) -> Path:
    """Return a copy of a run's file in `folder`; raises FeropsError where the run has none."""
    run_id = found.run.info.run_id
    parent = path.rpartition("/")[0]
    if path not in {each.path for each in client.list_artifacts(run_id, parent)}:
        raise FeropsError(
            f"{_name(found)} has no {path}: it was never judged, or by a ferops before 0.2. A card is written by "
            "ferops register"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return Path(client.download_artifacts(run_id, path, str(folder)))
