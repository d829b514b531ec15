"""Runs side by side: the settings that differ, whether the figures can be compared, and the figures of each."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.compare import Comparison, RunFacts, TestScores
from ferops.records.metrics import Interval
from ferops.registry.connection import connected
from ferops.registry.lookup import Found, find_runs, latest, started
from ferops.registry.tracking import all_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def compare(layout: Layout, params: Params, wanted: Sequence[str]) -> Comparison:
    """Look up two runs or more and set them side by side.

    Args:
        layout, params: of the project; `register.model_name` is the model that version numbers count.
        wanted: as `ferops.registry.lookup.find_runs` takes them.

    Raises:
        FeropsError: fewer than two runs, a run that is not found, or a store that does not answer.
    """
    with connected(layout) as client:
        if len(wanted) < 2:
            raise FeropsError(f"compare needs two runs or more, found {len(wanted)}. {latest(all_runs(client))}")
        found = find_runs(client, wanted, model_name=params.registry.model_name)
        runs = tuple(_facts(client, one) for one in found)
    settings = _differing([one.run.data.params for one in found])
    reasons = _obstacles(runs, settings)
    return Comparison(comparable=not reasons, reasons=reasons, settings=settings, runs=runs)


def _facts(client: MlflowClient, found: Found) -> RunFacts:
    run = found.run
    metrics, tags = run.data.metrics, run.data.tags
    keys = ("val_macro_f1", "val_loss", "val_accuracy", "images_per_s", "seconds")
    curves = {key: _curve(client, run, key) for key in keys}
    best = best_epoch(curves["val_macro_f1"], curves["val_loss"])
    return RunFacts(
        run_id=run.info.run_id,
        name=run.info.run_name,
        version=found.version,
        status=run.info.status,
        started=started(run).isoformat(timespec="seconds"),
        data_version=_known(tags.get("data_version")),
        split_hash=_known(tags.get("split_hash")),
        git_commit=_known(tags.get("git_commit")),
        epochs=len(curves["val_macro_f1"]),
        best_epoch=best,
        # Those of the finished weights where the training has ended, else of the curve so far
        val_accuracy=metrics.get("best_val_accuracy", curves["val_accuracy"].get(best or 0)),
        val_macro_f1=metrics.get("best_val_macro_f1", curves["val_macro_f1"].get(best or 0)),
        test=_test_scores(metrics, tta=tags.get("tta", "off")),
        parameters=_whole(metrics.get("parameters")),
        validation_faces=_whole(tags.get("images.val")),
        images_per_s=statistics.median(curves["images_per_s"].values()) if curves["images_per_s"] else None,
        train_seconds=sum(curves["seconds"].values()) if curves["seconds"] else None,
        peak_memory_mb=metrics.get("peak_memory_mb"),
        device=_device(tags),
    )


def best_epoch(macro_f1: dict[int, float], loss: dict[int, float]) -> int | None:
    """Return the epoch of the highest macro-F1, then of the lowest loss, then the earliest one: the training's rule."""
    if not macro_f1:
        return None
    return max(macro_f1, key=lambda epoch: (macro_f1[epoch], -loss.get(epoch, 0.0), -epoch))


def _differing(settings: Sequence[dict[str, str]]) -> dict[str, tuple[str | None, ...]]:
    """Return the settings that are not the same in all runs, by name; None where a run has no such setting."""
    names = sorted(set().union(*settings))
    rows = {name: tuple(one.get(name) for one in settings) for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def _obstacles(runs: Sequence[RunFacts], settings: Mapping[str, tuple[str | None, ...]]) -> tuple[str, ...]:
    """Return why the figures of these runs do not say which is better; empty where they do."""
    reasons = []
    if len(set(settings.get("data.classes", ())) - {None}) > 1:
        reasons.append("the classes differ: each model was tested on its own")
    if _differ([run.data_version for run in runs]):
        reasons.append("the data versions differ: the runs saw other images")
    if _differ([run.split_hash for run in runs]):
        reasons.append("the splits differ: the runs were validated and tested on other images")
    counts = {run.validation_faces for run in runs if run.validation_faces is not None}
    if not reasons and len(counts) > 1:
        reasons.append(
            "the split is the same, but the preprocessing held back other faces: "
            f"{' and '.join(f'{count:,}' for count in sorted(counts))} were left to validate on"
        )
    return tuple(reasons)


def _differ(versions: Sequence[str | None]) -> bool:
    """Unknown versions may differ."""
    return len(set(versions)) > 1 or versions[0] is None


def _curve(client: MlflowClient, run: Run, key: str) -> dict[int, float]:
    """Return the metric by epoch; the last value logged for an epoch counts."""
    if key not in run.data.metrics:
        return {}
    history = sorted(client.get_metric_history(run.info.run_id, key), key=lambda each: each.timestamp)
    return {each.step: each.value for each in history}


def _test_scores(metrics: Mapping[str, float], *, tta: str) -> TestScores | None:
    def interval(score: str) -> Interval:
        name = f"test/candidate/{score}"
        return Interval(value=metrics[name], low=metrics.get(f"{name}/low"), high=metrics.get(f"{name}/high"))

    if "test/candidate/accuracy" not in metrics or "test/candidate/macro_f1" not in metrics:
        return None
    return TestScores(accuracy=interval("accuracy"), macro_f1=interval("macro_f1"), tta=tta)


def _device(tags: dict[str, str]) -> str | None:
    cuda = tags.get("env.cuda", "none")
    on_gpu = tags.get("device", "cpu" if cuda == "none" else "cuda").startswith("cuda")
    return cuda.partition(", ")[2] if on_gpu and cuda != "none" else tags.get("env.cpu")


def _known(tag: str | None) -> str | None:
    return None if tag in (None, "None") else tag  # MLflow keeps text only


def _whole(value: float | str | None) -> int | None:
    return None if value is None else int(value)
