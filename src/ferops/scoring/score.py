"""`ferops score`: a model's figures on a file of labelled pictures."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.performance import TestSet, constant_answer, performance
from ferops.export.calibration import probabilities
from ferops.faces.detection import Detector
from ferops.faces.status import HELD_BACK
from ferops.layout import Layout
from ferops.scoring.framing import Asked, Framer
from ferops.scoring.model import Model, opened, sha256
from ferops.scoring.table import Table, read
from ferops.validation.connected import components

SAMPLES, LEVEL, SEED = 2000, 0.95, 7
"""Of the bootstrap, the same for every model: two models that are scored on one file are judged on the same draws."""

_FIGURES = ("precision", "recall", "f1")


def score(
    layout: Layout, model: str, data: Path, *, asked: Asked = "auto", detector: Detector | None = None
) -> dict[str, Any]:
    """Return the figures that `ferops.scoring` describes. Nothing is trained, nothing is written.

    Args:
        layout: whose registry `models:/...` means, unless MLFLOW_TRACKING_URI names another.
        model: see `model.opened`.
        data: see `table.read`.
        asked: how faces are made; see `framing`.
        detector: finds the faces, by default the one that the model's settings name.

    Raises:
        FeropsError: see `model.opened`, `table.read` and `framing.settings_of`; or no picture gives a face.
    """
    table = read(data)
    with opened(layout, model) as ready:
        framer = Framer.of(ready.config, asked, origin=ready.shown)
        about = ready.about()
        found = _answers(table, ready, framer, detector)
    answered = found[found["status"].isin(("ok", "tight", "whole"))]
    _require_faces(table, found, framer)
    missed = found[found["status"] == "no_face"]
    test, resampled = _test_set(table, answered, missed, framer)
    return {
        **_figures(test, np.stack(answered["probabilities"].tolist()).astype(np.float64), resampled),
        "left_out": _left_out(table, found, framer),
        "framing": {
            "asked": asked,
            "aligned": int((answered["status"] == "ok").sum()),
            "whole": int((answered["status"] != "ok").sum()),
            "settings": framer.settings.model_dump(
                mode="json", exclude={"batch_size", "workers", "runner", "dask_address"}
            ),
        },
        "model": about,
        "data": _about(table, answered, missed, framer),
        "notes": _notes(table, ready, framer, test),
    }


def _answers(table: Table, model: Model, framer: Framer, detector: Detector | None) -> pd.DataFrame:
    """Return a row per decodable picture with a class, by its place in the file: `status` of its face, and
    `probabilities` `(6,)` (None where it has no face). One shard's faces are in memory at a time."""
    rows: list[int] = []
    statuses: list[str] = []
    answers: list[Any] = []
    total = int(table.rows["class"].notna().sum())
    with (
        tqdm(total=total, desc="score", unit="image", mininterval=1.0 if sys.stderr.isatty() else 10.0) as bar,
        closing(framer.faces(table, detector)) as shards,
    ):
        for shard in shards:
            logits = (
                model.logits(shard.pixels) if len(shard.pixels) else np.empty((0, len(DEFAULT_CLASSES)), np.float32)
            )
            given = iter(probabilities(logits, model.config.temperature))
            for record in shard.records:
                rows.append(int(record["image_id"]))
                statuses.append(record["status"])
                answers.append(None if record["status"] in HELD_BACK else next(given))
            bar.update(len(shard.records))
    return pd.DataFrame({"status": statuses, "probabilities": answers}, index=rows, dtype=object).sort_index()


def _require_faces(table: Table, found: pd.DataFrame, framer: Framer) -> None:
    if not len(found):
        raise FeropsError(f"none of the {len(framer.undecodable)} labelled pictures of {table.path} can be decoded")
    if found["status"].isin(HELD_BACK).all():
        raise FeropsError(
            f"no face was found in any of the {len(found)} labelled pictures of {table.path}, or none that is large "
            "enough. If they are cut to the face already, say so: --framing whole"
        )


def _test_set(
    table: Table, answered: pd.DataFrame, missed: pd.DataFrame, framer: Framer
) -> tuple[TestSet, dict[str, Any]]:
    """Return what `judge` takes, and what was drawn: people and clusters as the file names them, and in any case
    pixel-identical pictures together."""
    rows = table.rows.loc[[*answered.index, *missed.index]].copy()
    rows["pixels"] = [framer.pixels[row] for row in rows.index]
    rows["image_id"] = [f"{row:016d}" for row in rows.index]  # what a component is named after
    rows["source"] = rows["source"].fillna("")
    clusters = components(rows, by=("pixels", "cluster"))
    resampler = Resampler(list(clusters), samples=SAMPLES, seed=SEED, level=LEVEL)
    known = {"person": rows["subject"].notna().any(), "cluster": rows["cluster"].notna().any()}
    by = " and ".join(name for name, there in known.items() if there) or "picture"
    test = TestSet(
        classes=DEFAULT_CLASSES,
        labels=np.array([DEFAULT_CLASSES.index(name) for name in rows["class"][: len(answered)]], np.intp),
        rows=np.arange(len(answered)),
        # How a face was made is told in `framing`; whoever asks for a whole picture to be judged has it answered
        tight=np.zeros(len(answered), bool),
        unfound=np.zeros(len(answered), bool),
        missed=np.arange(len(answered), len(rows)),
        resampler=resampler,
    )
    return test, {"level": LEVEL, "samples": SAMPLES, "seed": SEED, "by": by, "clusters": resampler.count}


def _figures(test: TestSet, answers: Any, resampled: dict[str, Any]) -> dict[str, Any]:
    judged = performance(test, answers, review_below=0.0).figures.as_json()
    heads = {
        "accuracy": judged["accuracy"],
        "macro_f1": judged["macro_f1"],
        "accuracy_end_to_end": judged["accuracy_missed_as_wrong"],
    }
    per_class = judged["per_class"]
    return {
        **{name: interval["value"] for name, interval in heads.items()},
        "n": len(test.labels),
        "n_end_to_end": len(test.labels) + len(test.missed),
        "per_class": {
            name: {"n": one["support"], **{figure: one[figure]["value"] for figure in _FIGURES}}
            for name, one in per_class.items()
        },
        "confusion": judged["confusion"],
        "chance": constant_answer(test)[0].as_json(),
        "intervals": {
            **resampled,
            **heads,
            "per_class": {name: {figure: one[figure] for figure in _FIGURES} for name, one in per_class.items()},
        },
    }


def _left_out(table: Table, found: pd.DataFrame, framer: Framer) -> dict[str, int]:
    unlabelled = table.rows["label"].isna()
    return {
        "no_label": int(unlabelled.sum()),
        "other_label": int((table.rows["class"].isna() & ~unlabelled).sum()),
        "undecodable": len(framer.undecodable),
        **{reason: int((found["status"] == reason).sum()) for reason in ("small_face", "no_face")},
    }


def _about(table: Table, answered: pd.DataFrame, missed: pd.DataFrame, framer: Framer) -> dict[str, Any]:
    judged = table.rows.loc[sorted([*answered.index, *missed.index])]
    pixels = pd.Series(framer.pixels).loc[judged.index]
    repeated = pixels.duplicated()
    labels_of = judged["class"].groupby(pixels).transform("nunique")
    return {
        "file": str(table.path),
        "sha256": sha256(table.path),
        "rows": len(table.rows),
        "labels": _counts(table.rows["label"]),
        "sources": _counts(table.rows["source"]),
        "usage": _counts(table.rows["usage"]),
        "renamed": table.renamed,
        "duplicates": int(repeated.sum()),
        "conflicting": int((repeated & (labels_of > 1)).sum()),
    }


def _counts(column: pd.Series[Any]) -> dict[str, int]:
    """Rows by value, sorted; null under an empty name."""
    return dict(sorted(Counter("" if value is None else str(value) for value in column).items()))


def _notes(table: Table, model: Model, framer: Framer, test: TestSet) -> list[str]:
    counts = np.bincount(test.labels, minlength=len(DEFAULT_CLASSES))
    absent = [name for name, count in zip(DEFAULT_CLASSES, counts, strict=True) if not count]
    seen = sorted(framer.trained_on & set(table.rows["source"].dropna()))
    served = getattr(model.config, "served", model.file.name)
    checks = {
        f"no picture of {', '.join(absent)}: macro_f1 is the mean over the other classes": absent,
        f"the model was trained on data of {', '.join(seen)}; pictures that it has seen make it look better": seen,
        f"{model.file.name} is not the file that is served ({served})": served != model.file.name,
        f"{table.path.stem}-001.parquet goes on where {table.path.name} ends; only this file was scored": (
            table.path.with_stem(f"{table.path.stem}-001").exists()
        ),
        f"{table.path} is rendered, not photographed: its figures say nothing about real faces": (
            set(table.rows["source"]) == {"synthetic"}
        ),
    }
    return [note for note, holds in checks.items() if holds]
