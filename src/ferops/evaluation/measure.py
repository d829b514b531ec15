"""Put the figures of all models together: what stands in metrics.json but for provenance, end to end and cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import Evaluate
from ferops.evaluation.inputs import Data
from ferops.evaluation.performance import Performance, constant_answer, difference, performance
from ferops.evaluation.slices import measure_slices, worst_slices
from ferops.export.calibration import probabilities
from ferops.records.metrics import (
    CandidateFigures,
    ChampionFigures,
    Difference,
    Scores,
    SplitCounts,
    Uncalibrated,
    UncomparedChampion,
)


@dataclass(frozen=True)
class Answers:
    """A model on the test faces: logits `(N, K)` for its `classes`, and its temperature."""

    classes: tuple[str, ...]
    logits: NDArray[np.float32]
    temperature: float

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """`(N, K)`, calibrated, rounded to float32 as they are served."""
        return probabilities(self.logits, self.temperature).astype(np.float64)

    def on(self, classes: tuple[str, ...], inside: NDArray[np.bool_]) -> Answers:
        """Return the answers to the faces `inside`, renormalised over `classes`, which are some of its own."""
        columns = [self.classes.index(name) for name in classes]
        # A softmax over some of the logits is the softmax over all of them, renormalised
        return Answers(classes, self.logits[inside][:, columns], self.temperature)


@dataclass(frozen=True)
class Rival:
    """The champion's answers, and what else metrics.json says of it."""

    answers: Answers
    version: str
    split_hash: str | None
    same_split: bool
    notes: tuple[str, ...]


def measure(
    data: Data, settings: Evaluate, *, candidate: Answers, baseline: Answers, champion: Rival | None
) -> dict[str, Any]:
    """Return the fields of `Metrics` but for `provenance`, `end_to_end` and `cost`."""
    test, threshold = data.test, settings.low_confidence
    measured = performance(test, candidate.probabilities, review_below=threshold)
    untempered = Answers(candidate.classes, candidate.logits, temperature=1.0)
    raw = performance(test, untempered.probabilities, review_below=threshold).figures
    reference = performance(test, baseline.probabilities, review_below=threshold)
    chance, chance_counts = constant_answer(test)
    compared = _compare(data, candidate, champion, review_below=threshold) if champion else (None, None)
    columns, slices = measure_slices(test, measured, data.index, data.missed, min_samples=settings.min_slice_samples)
    return {
        "classes": test.classes,
        "split": "test",
        "n": len(data.faces),
        "n_tight": int(test.tight.sum()),
        "n_unfound": int(test.unfound.sum()),
        "n_no_face": len(test.missed),
        "n_small_face": int((data.images["status"] == "small_face").sum()),
        "clusters": test.clusters,
        "confidence_level": settings.confidence_level,
        "bootstrap_samples": settings.bootstrap_samples,
        "candidate": CandidateFigures(
            **dict(measured.figures),
            temperature=candidate.temperature,
            uncalibrated=Uncalibrated(
                calibration_error=raw.calibration_error, calibration_bins=raw.calibration_bins, log_loss=raw.log_loss
            ),
        ),
        "baseline": reference.figures,
        "champion": compared[0],
        "chance": chance,
        "candidate_minus_baseline": difference(test, measured.counts, reference.counts),
        "candidate_minus_champion": compared[1],
        "candidate_minus_chance": difference(test, measured.counts, chance_counts),
        "slices": slices,
        "slice_columns": columns,
        "worst_slices": worst_slices(slices),
        "data": {
            split: _count(data.everything[data.everything["split"] == split], test.classes)
            for split in ("train", "val", "test")
        },
    }


def _compare(
    data: Data, candidate: Answers, champion: Rival, *, review_below: float
) -> tuple[ChampionFigures | UncomparedChampion, Difference | None]:
    """Compare both models on the classes that they share, and on the test faces with such a label."""
    theirs = champion.answers
    shared = tuple(name for name in candidate.classes if name in theirs.classes)
    test, inside = data.labelled_as(shared)
    about = {
        "version": champion.version,
        "own_classes": theirs.classes,
        "split_hash": champion.split_hash,
        "same_split": champion.same_split,
    }
    if len(shared) < 2 or not inside.any():
        why = (
            f"the champion answers {', '.join(theirs.classes)} and the candidate {', '.join(candidate.classes)}: "
            f"{len(shared)} shared classes, {inside.sum()} test faces. A comparison needs two classes and a face"
        )
        return UncomparedChampion(**about, notes=(*champion.notes, why)), None

    def on_shared(answers: Answers) -> Performance:
        return performance(test, answers.on(shared, inside).probabilities, review_below=review_below)

    ours, rival = on_shared(candidate), on_shared(theirs)
    notes = list(champion.notes)
    if set(theirs.classes) != set(candidate.classes):
        notes.append(
            f"compared on the {len(shared)} classes that both models answer ({', '.join(shared)}) and the "
            f"{inside.sum()} of {len(inside)} test faces with such a label, the probabilities of each model "
            "renormalised over these classes"
        )
    figures = ChampionFigures(
        **dict(rival.figures),
        **about,
        n=int(inside.sum()),
        candidate=Scores(accuracy=ours.figures.accuracy, macro_f1=ours.figures.macro_f1),
        notes=tuple(notes),
    )
    return figures, difference(test, ours.counts, rival.counts)


def _count(rows: pd.DataFrame, classes: tuple[str, ...]) -> SplitCounts:
    return SplitCounts(
        images=len(rows),
        no_face=int((rows["status"] == "no_face").sum()),
        small_face=int((rows["status"] == "small_face").sum()),
        known_subject=int(rows["subject"].notna().sum()),
        clusters=int(rows["group"].nunique()),
        classes={name: int((rows["label"] == name).sum()) for name in classes},
        sources={str(name): int(count) for name, count in rows["source"].value_counts().sort_index().items()},
    )
