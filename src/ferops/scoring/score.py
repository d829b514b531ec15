"""`ferops score`: a model's figures on a file of labelled images."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from ferops.config import Tta
from ferops.datasets.kinds import FORMATS
from ferops.errors import FeropsError
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.performance import TestSet, constant_answer, performance
from ferops.faces.detection import Detector
from ferops.faces.status import HELD_BACK
from ferops.files import sha256
from ferops.layout import Layout
from ferops.records.score import (
    ClassIntervals,
    ClassScore,
    Framing,
    LeftOut,
    Score,
    ScoredData,
    ScoreFigures,
    ScoreIntervals,
)
from ferops.scoring.framing import Asked, Framer
from ferops.scoring.model import Model, opened
from ferops.scoring.table import Table, read_table
from ferops.validation.connected import connected_groups

By = Literal["person", "cluster", "person and cluster", "image"]

SAMPLES, LEVEL, SEED = 2000, 0.95, 7
"""Of the bootstrap, the same for every model: two models that are scored on one file are judged on the same draws."""


def score(
    layout: Layout,
    model: str,
    data: Path,
    *,
    asked: Asked = "auto",
    tta: Tta | None = None,
    detector: Detector | None = None,
) -> Score:
    """Judge a model on a file of labelled images. Nothing is trained, nothing is written.

    Args:
        layout: whose registry `models:/...` means, unless MLFLOW_TRACKING_URI names another.
        model: see `model.opened`.
        data: see `table.read_table`.
        asked: how faces are made; see `framing`.
        tta: test-time augmentation; by default what the model's config.json says.
        detector: finds the faces, by default the one that the model's settings name.

    Raises:
        FeropsError: see `model.opened`, `table.read_table`, `Table.judged_by` and `framing.rules_of`; or no image gives
            a face.
    """
    facts = read_table(data)
    with opened(layout, model, tta=tta) as ready:
        table = facts.judged_by(ready.config.classes)
        framer = Framer.of(ready.config, asked, origin=ready.about.file)
        answers = answers_of(table, ready, framer, detector)
    draws = _draws(table, answers, framer)
    classes = ready.config.classes
    return Score(
        **dict(_figures(draws, classes, answers.probabilities)),
        renormalised=(
            _figures(draws, table.classes, _renormalised(answers.probabilities, classes, table.classes))
            if 1 < len(table.classes) < len(classes)
            else None
        ),
        left_out=_left_out(table, answers, framer),
        framing=Framing(
            asked=asked,
            aligned=int((answers.statuses == "ok").sum()),
            whole=int(answers.statuses.isin(("tight", "whole")).sum()),
            settings=framer.rules,
        ),
        model=ready.about,
        data=_about(table, answers, framer),
        notes=tuple(_notes(table, ready, framer, set(draws.labels))),
    )


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Answers:
    """What the model said.

    Attributes:
        statuses: of the face of each image with a class that decodes, by its row in the file.
        probabilities: float64 `(N, K)` of the N images that have a face, in the order of the file.
    """

    statuses: pd.Series[str]
    probabilities: NDArray[np.float64]

    @property
    def with_face(self) -> pd.Index[int]:
        return self.statuses.index[~self.statuses.isin(HELD_BACK)]

    @property
    def missed(self) -> pd.Index[int]:
        return self.statuses.index[self.statuses == "no_face"]


def answers_of(table: Table, model: Model, framer: Framer, detector: Detector | None) -> Answers:
    """Show the model all images, one shard's faces in memory at a time.

    Raises:
        FeropsError: no image gives a face, or the model gives numbers that are not finite.
    """
    statuses: dict[int, str] = {}
    found: dict[int, NDArray[np.float32]] = {}
    total = int(table.rows["class"].notna().sum())
    with (
        tqdm(total=total, desc="score", unit="image", mininterval=1.0 if sys.stderr.isatty() else 10.0) as bar,
        closing(framer.faces(table, detector)) as shards,
    ):
        for shard in shards:
            rows = {int(record["image_id"]): record["status"] for record in shard.records}
            kept = [row for row, status in rows.items() if status not in HELD_BACK]
            statuses |= rows
            if kept:
                found |= dict(zip(kept, model.predictor.classify(shard.pixels), strict=True))
            bar.update(len(rows))
    if not statuses:
        raise FeropsError(
            f"the {len(framer.undecodable)} labelled images of {table.path} cannot be decoded. Supported formats: "
            f"{', '.join(FORMATS)}"
        )
    if not found:
        raise FeropsError(
            f"no face was found in the {len(statuses)} labelled images of {table.path}, or none that is large enough. "
            "If the images are cut to the face already: --framing whole"
        )
    probabilities = np.stack([found[row] for row in sorted(found)]).astype(np.float64)
    if not np.isfinite(probabilities).all():
        raise FeropsError(f"{model.about.file} gives numbers that are not finite: the training or the export failed")
    return Answers(pd.Series(statuses, dtype=object).sort_index(), probabilities)


def _renormalised(
    probabilities: NDArray[np.float64], classes: tuple[str, ...], kept: tuple[str, ...]
) -> NDArray[np.float64]:
    """Return the columns of `kept`, scaled so that rows sum to 1 again."""
    columns = probabilities[:, [classes.index(name) for name in kept]]
    total = columns.sum(axis=1, keepdims=True)
    return np.asarray(columns / np.maximum(total, np.finfo(np.float64).tiny))


@dataclass(frozen=True, eq=False)
class _Draws:
    """What is drawn from: the images with a face, whose classes are `labels`, then the `missed` ones without."""

    labels: tuple[str, ...]
    missed: int
    by: By
    resampler: Resampler


def _draws(table: Table, answers: Answers, framer: Framer) -> _Draws:
    """Draw people and clusters whole as the file names them, and in any case pixel-identical images."""
    rows = table.rows.loc[[*answers.with_face, *answers.missed]]
    clusters, by = clusters_of(rows, framer.pixels)
    return _Draws(
        labels=tuple(rows["class"][: len(answers.with_face)]),
        missed=len(answers.missed),
        by=by,
        resampler=resampler(clusters),
    )


def clusters_of(rows: pd.DataFrame, pixels: Mapping[int, str]) -> tuple[list[str], By]:
    """Return the cluster of each row, and what they are made by.

    Args:
        rows: some of a table's.
        pixels: row -> hash of its pixels.
    """
    rows = rows.copy()
    rows["pixels"] = [pixels[row] for row in rows.index]
    rows["image_id"] = [f"{row:016d}" for row in rows.index]  # what a component is named after
    rows["source"] = rows["source"].fillna("")
    people, named = bool(rows["subject"].notna().any()), bool(rows["cluster"].notna().any())
    by: By = "person and cluster" if people and named else "person" if people else "cluster" if named else "image"
    return list(connected_groups(rows, by=("pixels", "cluster"))), by


def resampler(clusters: list[str]) -> Resampler:
    """Return the draws of clusters, the same for every model."""
    return Resampler(clusters, samples=SAMPLES, seed=SEED, level=LEVEL)


def _figures(draws: _Draws, classes: tuple[str, ...], probabilities: NDArray[np.float64]) -> ScoreFigures:
    n = len(draws.labels)
    test = TestSet(
        classes=classes,
        labels=np.array([classes.index(name) for name in draws.labels], np.intp),
        rows=np.arange(n),
        # `framing` says how a face was made; who asks for whole images to be judged has them answered
        tight=np.zeros(n, bool),
        unfound=np.zeros(n, bool),
        missed=np.arange(n, n + draws.missed),
        resampler=draws.resampler,
    )
    found = performance(test, probabilities, review_below=0.0).figures
    intervals = ScoreIntervals(
        level=LEVEL,
        samples=SAMPLES,
        seed=SEED,
        by=draws.by,
        clusters=draws.resampler.count,
        accuracy=found.accuracy,
        macro_f1=found.macro_f1,
        accuracy_end_to_end=found.accuracy_missed_as_wrong,
        per_class={
            name: ClassIntervals(precision=one.precision, recall=one.recall, f1=one.f1)
            for name, one in found.per_class.items()
        },
    )
    heads = {name: getattr(intervals, name).value for name in ("accuracy", "macro_f1", "accuracy_end_to_end")}
    return ScoreFigures(
        classes=classes,
        **heads,
        n=n,
        n_end_to_end=n + draws.missed,
        per_class={
            name: ClassScore(n=one.support, precision=one.precision.value, recall=one.recall.value, f1=one.f1.value)
            for name, one in found.per_class.items()
        },
        confusion=found.confusion,
        chance=constant_answer(test)[0],
        intervals=intervals,
    )


def _left_out(table: Table, answers: Answers, framer: Framer) -> LeftOut:
    unlabelled = table.rows["label"].isna()
    return LeftOut(
        no_label=int(unlabelled.sum()),
        other_label=int((table.rows["class"].isna() & ~unlabelled).sum()),
        undecodable=len(framer.undecodable),
        small_face=int((answers.statuses == "small_face").sum()),
        no_face=len(answers.missed),
    )


def _about(table: Table, answers: Answers, framer: Framer) -> ScoredData:
    judged = table.rows.loc[sorted([*answers.with_face, *answers.missed])]
    pixels = pd.Series(framer.pixels).loc[judged.index]
    repeated = pixels.duplicated()
    labels_of = judged["class"].groupby(pixels).transform("nunique")
    return ScoredData(
        file=str(table.path),
        sha256=sha256(table.path),
        rows=len(table.rows),
        labels=_counts(table.rows["label"]),
        sources=_counts(table.rows["source"]),
        usage=_counts(table.rows["usage"]),
        renamed=table.renamed,
        duplicates=int(repeated.sum()),
        conflicting=int((repeated & (labels_of > 1)).sum()),
    )


def _counts(column: pd.Series[Any]) -> dict[str, int]:
    """Rows by value, sorted; null under an empty name."""
    return dict(sorted(Counter("" if value is None else str(value) for value in column).items()))


def _notes(table: Table, model: Model, framer: Framer, labels: set[str]) -> list[str]:
    rows, config, path = table.rows, model.config, table.path
    absent = [name for name in config.classes if name not in labels]
    others = rows["label"][rows["class"].isna()].dropna().value_counts().sort_index()
    seen = sorted(framer.trained_on & set(rows["source"].dropna()))
    checks = {
        f"no image of {', '.join(absent)}: macro_f1 is the mean over the other classes": absent,
        f"the model has no class for {', '.join(f'{label} ({n})' for label, n in others.items())}: left out": len(
            others
        ),
        f"the model was trained on data of {', '.join(seen)}; images that it has seen make it look better": seen,
        f"{model.file.name} is not the file that is served ({config.served})": config.served != model.file.name,
        f"it is served with other test-time augmentation (tta: {config.tta})": (
            model.about.kind == "export" and model.about.tta != config.tta
        ),
        f"{path.name} continues in {path.stem}-001.parquet; only this file was scored": (
            path.with_stem(f"{path.stem}-001").exists()
        ),
        f"{path} is rendered, not photographed: its figures say nothing about real faces": (
            set(rows["source"]) == {"synthetic"}
        ),
    }
    return [note for note, holds in checks.items() if holds]
