"""Put the figures of all models together: the body of metrics.json."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Evaluate
from ferops.evaluation.inputs import Data, Loader, open_export, saved_logits
from ferops.evaluation.judge import constant_answer, difference, judge
from ferops.evaluation.slices import slices
from ferops.export.calibration import probabilities
from ferops.files import read_json
from ferops.layout import Layout


@dataclass(frozen=True)
class Answers:
    """A model on the test faces: logits `(N, K)`, its temperature, and what else metrics.json says of it."""

    logits: NDArray[np.float32]
    temperature: float
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """`(N, K)`, calibrated, rounded to float32 as they are served."""
        return probabilities(self.logits, self.temperature).astype(np.float64)


def baseline_answers(layout: Layout, data: Data) -> Answers:
    """Return what the baseline's training run left in artifacts/train/baseline."""
    folder = layout.model("baseline")
    config = read_json(folder / "config.json", made_by="ferops train baseline")
    return Answers(saved_logits(folder / "test_logits.npy", len(data.faces)), float(config["temperature"]))


def champion_answers(version: str, folder: Path, data: Data, *, load: Loader) -> Answers:
    """Run the champion on the test faces, resized where it was trained at another size."""
    exported = open_export(folder, load=load, made_by="the registry")
    size_px = data.faces.shape[1]
    resized = f"judged on faces resized from {size_px} to {exported.size_px} px"
    about = {
        "version": version,
        "split_hash": exported.config["provenance"].get("split_hash"),
        "notes": [] if exported.size_px == size_px else [resized],
    }
    return Answers(exported.logits(data.faces), exported.temperature, about)


def measure(
    data: Data, settings: Evaluate, *, candidate: Answers, baseline: Answers, champion: Answers | None
) -> dict[str, Any]:
    """Return metrics.json without `provenance` and `cost`."""
    test, threshold = data.test, settings.low_confidence
    judged = judge(test, candidate.probabilities, review_below=threshold)
    raw = judge(test, replace(candidate, temperature=1.0).probabilities, review_below=threshold).figures
    base = judge(test, baseline.probabilities, review_below=threshold)
    rival = None if champion is None else judge(test, champion.probabilities, review_below=threshold)
    chance = constant_answer(test)
    uncalibrated = {key: raw[key] for key in ("calibration_error", "calibration_bins", "log_loss")}
    found = slices(test, judged, data.index, data.missed, min_samples=settings.min_slice_samples)
    return {
        "split": "test",
        "n": len(data.faces),
        "n_tight": int(test.tight.sum()),
        "n_unfound": int(test.unfound.sum()),
        "n_no_face": len(test.missed),
        "n_small_face": int((data.everything[data.everything["split"] == "test"]["status"] == "small_face").sum()),
        "clusters": test.clusters,
        "confidence_level": settings.confidence_level,
        "bootstrap_samples": settings.bootstrap_samples,
        "candidate": judged.figures | {"temperature": candidate.temperature, "uncalibrated": uncalibrated},
        "baseline": base.figures,
        "champion": rival and champion and {**rival.figures, **champion.about},
        "chance": chance.figures,
        "candidate_minus_baseline": difference(test, judged, base),
        "candidate_minus_champion": rival and difference(test, judged, rival),
        "candidate_minus_chance": difference(test, judged, chance),
        "slices": found["slices"],
        "slice_columns": found["columns"],
        "worst_slices": found["worst"],
        "data": _counts(data.everything),
    }


def _counts(faces: pd.DataFrame) -> dict[str, Any]:
    """How many images each split holds, by class and by source, had no face, and name the person."""
    return {split: _count(faces[faces["split"] == split]) for split in ("train", "val", "test")}


def _count(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "images": len(rows),
        "no_face": int((rows["status"] == "no_face").sum()),
        "small_face": int((rows["status"] == "small_face").sum()),
        "known_subject": int(rows["subject"].notna().sum()),
        "clusters": int(rows["group"].nunique()),
        "classes": {name: int((rows["label_index"] == index).sum()) for index, name in enumerate(DEFAULT_CLASSES)},
        "sources": {str(name): int(count) for name, count in rows["source"].value_counts().sort_index().items()},
    }
