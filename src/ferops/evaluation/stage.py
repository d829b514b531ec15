"""The stage `evaluate`: judge the exported candidate on the test split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.evaluation.cost import cost
from ferops.evaluation.inputs import Data, Loader, histories, open_export, read_data
from ferops.evaluation.measure import Answers, baseline_answers, champion_answers, measure
from ferops.evaluation.verdict import verdict
from ferops.files import atomic_folder, write_json, write_text
from ferops.layout import Layout
from ferops.provenance import provenance


@dataclass(frozen=True)
class Champion:
    """The version that serves today: its number in the registry, and a folder with the layout of artifacts/export."""

    version: str
    folder: Path


def evaluate(
    layout: Layout, params: Params, *, champion: Champion | None = None, load: Loader | None = None
) -> dict[str, Any]:
    """Judge artifacts/export against baseline, champion and chance; write artifacts/evaluate and reports/evaluate.

    What is judged is the served file with its fitted temperature, on every face of the test split. See docs/files.md
    for what is written; `metrics.json` is what the gates read.

    Args:
        champion: the version to compare with, None where there is none yet.
        load: how to open an export folder; by default `ferops.export.runtime.Classifier`.

    Returns:
        The contents of reports/evaluate/summary.json.

    Raises:
        FeropsError: an input is missing, empty, not finite, or was made from other faces.
    """
    from ferops.evaluation.card import model_card
    from ferops.evaluation.figures import draw_figures
    from ferops.evaluation.report import report

    load = load or _served_classifier
    data = read_data(layout, params)
    exported = open_export(layout.exported, load=load)
    answers = Answers(logits=exported.logits(data.faces), temperature=exported.temperature)
    rival = champion_answers(champion.version, champion.folder, data, load=load) if champion else None
    metrics = {
        "provenance": provenance(layout, params).as_json(),
        **measure(data, params.evaluate, candidate=answers, baseline=baseline_answers(layout, data), champion=rival),
        "cost": cost(exported.served, exported.classifier, data.faces),
    }
    if metrics["champion"]:
        _warn_of_another_split(metrics)

    view = {
        "metrics": metrics,
        "config": exported.config,
        "histories": histories(layout),
        "verdict": verdict(metrics),
    }
    summary = _summary(metrics, view["verdict"])
    with atomic_folder(layout.artifacts("evaluate")) as folder:
        write_json(folder / "metrics.json", metrics)
        _predictions(data, answers.probabilities).to_parquet(folder / "predictions.parquet", index=False)
    with atomic_folder(layout.reports("evaluate")) as folder:
        draw_figures(folder, metrics, view["histories"])
        write_text(folder / "report.html", report(view, data, answers.probabilities))
        write_text(folder / "model_card.md", model_card(view))
        write_json(folder / "metrics.json", headline(metrics))
        write_json(folder / "summary.json", summary)
    return summary


def headline(metrics: dict[str, Any]) -> dict[str, float | int | None]:
    """Return the few flat numbers that `dvc metrics` and `dvc exp show` print, one column each."""
    candidate = metrics["candidate"]
    return {
        "accuracy": candidate["accuracy"]["value"],
        "accuracy_low": candidate["accuracy"]["low"],
        "accuracy_high": candidate["accuracy"]["high"],
        "macro_f1": candidate["macro_f1"]["value"],
        "calibration_error": candidate["calibration_error"]["value"],
        "baseline_accuracy": metrics["baseline"]["accuracy"]["value"],
        "chance_accuracy": metrics["chance"]["accuracy"],
        "test_images": metrics["n"],
    }


def _warn_of_another_split(metrics: dict[str, Any]) -> None:
    """A champion trained on another split may have seen test images in training, and then looks too good."""
    champion = metrics["champion"]
    champion["same_split"] = champion["split_hash"] == metrics["provenance"]["split_hash"]
    if not champion["same_split"]:
        champion["notes"].append("trained on another split of the data: it may have seen some of these test images")


def _predictions(data: Data, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    columns = {f"p_{name}": probabilities[:, index].astype(np.float32) for index, name in enumerate(DEFAULT_CLASSES)}
    return data.index[["image_id", "label_index"]].assign(**columns)


def _summary(metrics: dict[str, Any], words: dict[str, str]) -> dict[str, Any]:
    candidate = metrics["candidate"]
    return {
        "stage": "evaluate",
        "provenance": metrics["provenance"],
        "verdict": words["headline"],
        "test_images": metrics["n"],
        "tight": metrics["n_tight"],
        "no_face": metrics["n_no_face"],
        "accuracy": candidate["accuracy"],
        "macro_f1": candidate["macro_f1"],
        "calibration_error": candidate["calibration_error"],
        "baseline_accuracy": metrics["baseline"]["accuracy"],
        "champion_accuracy": metrics["champion"] and metrics["champion"]["accuracy"],
        "chance_accuracy": metrics["chance"]["accuracy"],
        "candidate_minus_baseline": metrics["candidate_minus_baseline"]["accuracy"],
        "candidate_minus_champion": (metrics["candidate_minus_champion"] or {}).get("accuracy"),
        "worst_slices": metrics["worst_slices"][:3],
        "latency_ms_p50": metrics["cost"]["latency_ms"]["p50"],
        "file_mb": metrics["cost"]["file_mb"],
    }


def _served_classifier(folder: Path) -> Any:
    from ferops.export.runtime import Classifier

    return Classifier(folder)
