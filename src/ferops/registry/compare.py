"""Runs side by side: what was set differently, whether the figures can be compared, and how each did."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.registry.connection import connected
from ferops.registry.lookup import Found, all_runs, find_runs, latest, started

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_TEST = ("accuracy", "macro_f1")


def compare(layout: Layout, params: Params, wanted: Sequence[str]) -> dict[str, Any]:
    """Look up two runs or more and set them side by side.

    Args:
        layout, params: of the project; `register.model_name` is the model that version numbers count.
        wanted: as `ferops.registry.lookup.find_runs` takes them.

    Returns:
        `comparable` (bool: all saw the same data version, split and number of validation faces), `reasons` (sentences:
        why not), `settings` (those that differ: name -> one text per run, None where a run has no such setting) and
        `runs`, one mapping each: `run_id`, `name`, `version` (None, or [model, number and aliases]), `status`,
        `started` (UTC, ISO 8601), `data_version`, `split_hash`, `git_commit`, `epochs` (finished), `best_epoch`,
        `val_accuracy` and `val_macro_f1` at the best epoch, `test` (None, or accuracy and macro_f1, each with value,
        low and high), `parameters`, `validation_faces`, `images_per_s` (median over the epochs), `train_seconds` (of
        the epochs; pauses between a kill and its resume do not count), `peak_memory_mb`, `device`. None where a run
        does not have it.

    Raises:
        FeropsError: fewer than two runs, a run that is not found, or a store that does not answer.
    """
    with connected(layout) as client:
        if len(wanted) < 2:
            raise FeropsError(f"to compare takes two runs or more, found {len(wanted)}. {latest(all_runs(client))}")
        found = find_runs(client, wanted, model_name=params.registry.model_name)
        runs = [facts(client, one) for one in found]
    reasons = obstacles(runs)
    return {
        "comparable": not reasons,
        "reasons": reasons,
        "settings": differing([one.run.data.params for one in found]),
        "runs": runs,
    }


def facts(client: MlflowClient, found: Found) -> dict[str, Any]:
    """Return what `compare` says of one run."""
    run = found.run
    metrics, tags = run.data.metrics, run.data.tags
    curves = {key: _curve(client, run, key) for key in ("val_macro_f1", "val_loss", "val_accuracy", "images_per_s")}
    seconds = _curve(client, run, "seconds")
    best = best_epoch(curves["val_macro_f1"], curves["val_loss"])
    return {
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "version": list(found.version) if found.version else None,
        "status": run.info.status,
        "started": started(run).isoformat(timespec="seconds"),
        "data_version": _known(tags.get("data_version")),
        "split_hash": _known(tags.get("split_hash")),
        "git_commit": _known(tags.get("git_commit")),
        "epochs": len(curves["val_macro_f1"]),
        "best_epoch": best,
        # Those of the finished weights where the training has ended, else of the curve so far
        "val_accuracy": metrics.get("best_val_accuracy", curves["val_accuracy"].get(best or 0)),
        "val_macro_f1": metrics.get("best_val_macro_f1", curves["val_macro_f1"].get(best or 0)),
        "test": _test(metrics),
        "parameters": _whole(metrics.get("parameters")),
        "validation_faces": _whole(tags.get("images.val")),
        "images_per_s": statistics.median(curves["images_per_s"].values()) if curves["images_per_s"] else None,
        "train_seconds": sum(seconds.values()) if seconds else None,
        "peak_memory_mb": metrics.get("peak_memory_mb"),
        "device": _device(tags),
    }


def best_epoch(macro_f1: dict[int, float], loss: dict[int, float]) -> int | None:
    """Return the epoch of the highest macro-F1, then of the lowest loss, then the earliest one: the training's rule."""
    if not macro_f1:
        return None
    return max(macro_f1, key=lambda epoch: (macro_f1[epoch], -loss.get(epoch, 0.0), -epoch))


def differing(settings: Sequence[dict[str, str]]) -> dict[str, list[str | None]]:
    """Return the settings that are not the same in all runs, by name; None where a run has no such setting."""
    names = sorted(set().union(*settings))
    rows = {name: [one.get(name) for one in settings] for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def obstacles(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return why the figures of these runs say nothing about which is better; empty where they do."""
    reasons = []
    if _differ(runs, "data_version"):
        reasons.append("the data versions differ: the runs saw other images")
    if _differ(runs, "split_hash"):
        reasons.append("the splits differ: the runs were validated and tested on other images")
    counts = {run["validation_faces"] for run in runs} - {None}
    if not reasons and len(counts) > 1:
        reasons.append(
            "the split is the same, but the preprocessing held back other faces: "
            f"{' and '.join(f'{count:,}' for count in sorted(counts))} were left to validate on"
        )
    return reasons


def _differ(runs: Sequence[dict[str, Any]], key: str) -> bool:
    """An unknown version is no known one: two of them may differ."""
    return len({run[key] for run in runs}) > 1 or runs[0][key] is None


def _curve(client: MlflowClient, run: Run, key: str) -> dict[int, float]:
    """Return the metric by epoch; the last value logged for an epoch counts."""
    if key not in run.data.metrics:
        return {}
    history = sorted(client.get_metric_history(run.info.run_id, key), key=lambda each: each.timestamp)
    return {each.step: each.value for each in history}


def _test(metrics: dict[str, float]) -> dict[str, dict[str, float | None]] | None:
    names = {score: f"test/candidate/{score}" for score in _TEST}
    if not all(name in metrics for name in names.values()):
        return None
    return {
        score: {"value": metrics[name], "low": metrics.get(f"{name}/low"), "high": metrics.get(f"{name}/high")}
        for score, name in names.items()
    }


def _device(tags: dict[str, str]) -> str | None:
    cuda = tags.get("env.cuda", "none")
    on_gpu = tags.get("device", "cpu" if cuda == "none" else "cuda").startswith("cuda")
    return cuda.partition(", ")[2] if on_gpu and cuda != "none" else tags.get("env.cpu")


def _known(tag: str | None) -> str | None:
    return None if tag in (None, "None") else tag  # MLflow keeps text only


def _whole(value: float | str | None) -> int | None:
    return None if value is None else int(value)
