"""The stage `evaluate`: judge the exported candidate on the test split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import CLASSES, Params
from ferops.evaluation.cost import cost
from ferops.evaluation.inputs import Data, Loader, exported_logits, histories, read_data, saved_logits
from ferops.evaluation.judge import Judged, constant_answer, difference, judge
from ferops.evaluation.metrics import softmax
from ferops.evaluation.slices import slices
from ferops.evaluation.verdict import verdict
from ferops.files import atomic_folder, read_json, write_json, write_text
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
    config = read_json(layout.exported / "config.json", made_by="ferops export")
    logits, _ = exported_logits(layout.exported, data.faces, load=load)
    probabilities = softmax(logits, config["temperature"])
    metrics = _metrics(layout, params, data, logits, champion=champion, load=load)
    served = layout.exported / config["served"]
    metrics["cost"] = cost(served, load(layout.exported), data.faces)

    view = {"metrics": metrics, "config": config, "histories": histories(layout), "verdict": verdict(metrics)}
    with atomic_folder(layout.artifacts("evaluate")) as folder:
        write_json(folder / "metrics.json", metrics)
        _predictions(data, probabilities).to_parquet(folder / "predictions.parquet", index=False)
    summary = _summary(metrics, view["verdict"])
    with atomic_folder(layout.reports("evaluate")) as folder:
        draw_figures(folder, metrics, view["histories"])
        write_text(folder / "report.html", report(view, data, probabilities))
        write_text(folder / "model_card.md", model_card(view))
        write_json(folder / "summary.json", summary)
    return summary


def _metrics(
    layout: Layout,
    params: Params,
    data: Data,
    logits: NDArray[np.float32],
    *,
    champion: Champion | None,
    load: Loader,
) -> dict[str, Any]:
    settings, test = params.evaluate, data.test
    config = read_json(layout.exported / "config.json", made_by="ferops export")
    candidate = judge(test, softmax(logits, config["temperature"]), review_below=settings.low_confidence)
    raw = judge(test, softmax(logits), review_below=settings.low_confidence)
    baseline = _baseline(layout, params, data)
    chance = constant_answer(test)
    rival = _champion(champion, params, data, load=load) if champion else None
    made_from = provenance(layout, params)
    return {
        "provenance": made_from,
        "split": "test",
        "n": len(data.faces),
        "n_no_face": len(test.missed),
        "clusters": test.clusters,
        "confidence_level": settings.confidence_level,
        "bootstrap_samples": settings.bootstrap_samples,
        "candidate": candidate.figures
        | {
            "temperature": config["temperature"],
            "uncalibrated": {key: raw.figures[key] for key in ("calibration_error", "calibration_bins", "log_loss")},
        },
        "baseline": baseline.figures,
        "champion": None if rival is None else rival.figures | _same_split(rival.figures, made_from["split_hash"]),
        "chance": chance.figures,
        "candidate_minus_baseline": difference(test, candidate, baseline),
        "candidate_minus_champion": None if rival is None else difference(test, candidate, rival),
        "candidate_minus_chance": difference(test, candidate, chance),
        **_slices(data, candidate, settings.min_slice_samples),
        "data": _counts(data.everything),
    }


def _baseline(layout: Layout, params: Params, data: Data) -> Judged:
    folder = layout.model("baseline")
    config = read_json(folder / "config.json", made_by="ferops train baseline")
    logits = saved_logits(folder / "test_logits.npy", len(data.faces))
    probabilities = softmax(logits, config.get("temperature") or 1.0)
    return judge(data.test, probabilities, review_below=params.evaluate.low_confidence)


def _champion(champion: Champion, params: Params, data: Data, *, load: Loader) -> Judged:
    config = read_json(champion.folder / "config.json", made_by="the registry")
    logits, notes = exported_logits(champion.folder, data.faces, load=load)
    probabilities = softmax(logits, config["temperature"])
    judged = judge(data.test, probabilities, review_below=params.evaluate.low_confidence)
    judged.figures.update(
        {"version": champion.version, "notes": notes, "split_hash": config.get("provenance", {}).get("split_hash")}
    )
    return judged


def _same_split(figures: dict[str, Any], split_hash: str | None) -> dict[str, Any]:
    """A champion trained on another split may have seen test images in training, and then looks too good."""
    if figures["split_hash"] is not None and figures["split_hash"] == split_hash:
        return {"same_split": True}
    warning = "trained on another split of the data: it may have seen some of these test images"
    return {"same_split": False, "notes": [*figures["notes"], warning]}


def _slices(data: Data, candidate: Judged, min_samples: int) -> dict[str, Any]:
    found = slices(data.test, candidate, data.index, min_samples=min_samples)
    return {"slices": found["slices"], "slice_columns": found["columns"], "worst_slices": found["worst"]}


def _counts(faces: pd.DataFrame) -> dict[str, Any]:
    """How many images each split holds, by class and by source, and how many had no face."""
    return {
        split: {
            "images": len(rows),
            "no_face": int((rows["row"] < 0).sum()),
            "classes": {name: int((rows["label_index"] == index).sum()) for index, name in enumerate(CLASSES)},
            "sources": {str(name): int(count) for name, count in rows["source"].value_counts().sort_index().items()},
            "clusters": int(rows["group"].nunique()),
        }
        for split, rows in ((split, faces[faces["split"] == split]) for split in ("train", "val", "test"))
    }


def _predictions(data: Data, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    columns = {f"p_{name}": probabilities[:, index].astype(np.float32) for index, name in enumerate(CLASSES)}
    return data.index[["image_id", "label_index"]].assign(**columns)


def _summary(metrics: dict[str, Any], words: dict[str, str]) -> dict[str, Any]:
    candidate = metrics["candidate"]
    return {
        "stage": "evaluate",
        "provenance": metrics["provenance"],
        "verdict": words["headline"],
        "test_images": metrics["n"],
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
