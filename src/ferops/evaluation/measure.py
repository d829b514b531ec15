"""Put the figures of all models together: the content of metrics.json."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ferops.config import Evaluate
from ferops.evaluation.annotators import measure_annotators
from ferops.evaluation.decision import decision
from ferops.evaluation.inputs import Answers, Data, label_indices
from ferops.evaluation.performance import Performance, constant_answer, difference, performance
from ferops.evaluation.sets import measure_sets
from ferops.evaluation.slices import measure_slices, worst_slices
from ferops.records import Provenance
from ferops.records.metrics import (
    CalibrationTrial,
    CandidateFigures,
    ChampionFigures,
    Cost,
    CrossValidation,
    Decision,
    Difference,
    EndToEnd,
    LabelSets,
    Metrics,
    Scores,
    SplitCounts,
    Uncalibrated,
    UncomparedChampion,
)
from ferops.training.faces import learnt_shares


@dataclass(frozen=True)
class Rival:
    """The champion's answers, and what else metrics.json says of it."""

    answers: Answers
    version: str
    split_hash: str | None
    same_split: bool
    notes: tuple[str, ...]


def measure(
    data: Data,
    settings: Evaluate,
    *,
    candidate: Answers,
    baseline: Answers,
    champion: Rival | None,
    end_to_end: EndToEnd,
    cost: Cost,
    calibrations: tuple[CalibrationTrial, ...],
    export_digest: str,
    crossvalidation: CrossValidation | None,
    provenance: Provenance,
) -> Metrics:
    """Return the whole evaluation, the models' answers measured on the packed faces."""
    test, threshold = data.test, settings.low_confidence
    measured = performance(test, candidate.probabilities, review_below=threshold)
    untempered = Answers(candidate.classes, candidate.logits, temperature=1.0)
    raw = performance(test, untempered.probabilities, review_below=threshold).figures
    reference = performance(test, baseline.probabilities, review_below=threshold)
    chance, chance_counts = constant_answer(test)
    rival, minus_rival = _compare(data, candidate, champion, review_below=threshold) if champion else (None, None)
    columns, slices = measure_slices(test, measured, data.index, data.missed, min_samples=settings.min_slice_samples)
    return Metrics(
        provenance=provenance,
        classes=test.classes,
        split="test",
        n=len(data.faces),
        n_tight=int(test.tight.sum()),
        n_unfound=int(test.unfound.sum()),
        n_no_face=len(test.missed),
        n_small_face=int((data.images["status"] == "small_face").sum()),
        clusters=test.clusters,
        confidence_level=settings.confidence_level,
        bootstrap_samples=settings.bootstrap_samples,
        candidate=CandidateFigures(
            **dict(measured.figures),
            tta=candidate.tta,
            temperature=candidate.temperature,
            uncalibrated=Uncalibrated(
                calibration_error=raw.calibration_error, calibration_bins=raw.calibration_bins, log_loss=raw.log_loss
            ),
        ),
        baseline=reference.figures,
        champion=rival,
        chance=chance,
        candidate_minus_baseline=difference(test, measured.counts, reference.counts),
        candidate_minus_champion=minus_rival,
        candidate_minus_chance=difference(test, measured.counts, chance_counts),
        slices=slices,
        slice_columns=columns,
        worst_slices=worst_slices(slices),
        data={
            split: _count(data.everything[data.everything["split"] == split], test.classes)
            for split in ("train", "val", "test")
        },
        end_to_end=end_to_end,
        cost=cost,
        decision=_decision(data, candidate, settings, provenance) if settings.costs or settings.priors else None,
        sets=_sets(data, candidate),
        calibrations=calibrations,
        export_digest=export_digest,
        crossvalidation=crossvalidation,
        annotators=measure_annotators(test, measured.predicted, data.index),
    )


def _decision(data: Data, candidate: Answers, settings: Evaluate, provenance: Provenance) -> Decision:
    trained = data.everything[data.everything["split"] == "train"]
    classes = data.test.classes
    labels, sources = label_indices(trained["label"], classes), trained["source"].to_numpy(str)
    learnt = learnt_shares(labels, sources, len(classes), provenance.params["train"])
    left = learnt ** (1.0 - candidate.adjusted_share)
    return decision(data.test, candidate.probabilities, settings, learnt=left / left.sum())


def _sets(data: Data, candidate: Answers) -> LabelSets | None:
    if candidate.set_threshold is None or candidate.coverage is None:
        return None
    return measure_sets(
        data.test, candidate.probabilities, threshold=candidate.set_threshold, wanted=candidate.coverage
    )


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
