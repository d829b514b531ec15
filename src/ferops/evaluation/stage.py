"""The stage `evaluate`: the exported candidate on the test split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import Params
from ferops.evaluation.calibrations import validated
from ferops.evaluation.cost import cost
from ferops.evaluation.crossvalidation import cross_validation
from ferops.evaluation.end_to_end import answer_images, end_to_end
from ferops.evaluation.inputs import (
    Answers,
    Data,
    baseline_answers,
    exported_answers,
    histories,
    read_data,
    resampler,
)
from ferops.evaluation.measure import Rival, measure
from ferops.evaluation.verdict import verdict
from ferops.export.runtime import Classifier
from ferops.faces.detection import Detector
from ferops.files import atomic_folder, write_text
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.model_config import export_digest
from ferops.provenance import provenance
from ferops.records.evaluate import EvaluateSummary, Headline
from ferops.records.metrics import ChampionFigures, Metrics


@dataclass(frozen=True)
class Champion:
    """The version that serves today: its number in the registry, and a folder with the layout of artifacts/export."""

    version: str
    folder: Path


def evaluate(
    layout: Layout, params: Params, *, champion: Champion | None = None, detector: Detector | None = None
) -> EvaluateSummary:
    """Evaluate artifacts/export beside baseline, champion and chance; write artifacts/evaluate and reports/evaluate.

    The served file with its fitted temperature is evaluated on every packed face of the test split, and end to end on
    the test images as published. See docs/files.md for what is written; `metrics.json` is what the gates read.

    Args:
        champion: the version to compare with, None where there is none yet.
        detector: finds the faces end to end; by default the one that the model's config names.

    Raises:
        FeropsError: an input is missing, empty, not finite, or was made from other faces or classes.
    """
    from ferops.evaluation.drawings import save_drawings
    from ferops.evaluation.pages import model_card
    from ferops.evaluation.report import report

    classifier = Classifier(layout.exported)
    config = classifier.config
    data = read_data(layout, params.evaluate, config.classes, seed=params.seed)
    candidate = exported_answers(classifier, data.faces)
    origin = provenance(layout, params)
    predictor = Predictor(layout.exported, detector=detector, classifier=classifier)
    answers = answer_images(layout, data.images, predictor, tight=set(params.preprocess.tight_sources))
    rival = _rival(champion, data, candidate, split_hash=origin.split_hash) if champion else None
    predictions = _predictions(data, candidate, rival)
    packed = pd.Series(
        np.array(config.classes)[candidate.probabilities.argmax(axis=1)], index=data.index["image_id"].to_numpy()
    )
    metrics = measure(
        data,
        params.evaluate,
        candidate=candidate,
        baseline=baseline_answers(layout, data, taken=params.models["baseline"].epochs == 0),
        champion=rival,
        end_to_end=end_to_end(data.images, answers, packed, resampler(data.images, params.evaluate, seed=params.seed)),
        cost=cost(layout.exported / config.served, classifier, data.faces),
        calibrations=validated(layout, data, classifier),
        export_digest=export_digest(layout.exported),
        crossvalidation=cross_validation(layout, params, data, config.classes, temperature=config.temperature),
        provenance=origin,
    )
    summary = _summary(metrics)
    with atomic_folder(layout.artifacts("evaluate")) as folder:
        metrics.write(folder / "metrics.json")
        predictions.to_parquet(folder / "predictions.parquet", index=False)
        answers.to_parquet(folder / "end_to_end.parquet", index=False)
    with atomic_folder(layout.reports("evaluate")) as folder:
        epochs = histories(layout)
        save_drawings(folder, metrics, epochs)
        write_text(folder / "report.html", report(metrics, config, epochs, data, candidate.probabilities))
        write_text(folder / "model_card.md", model_card(metrics, config))
        headline(metrics).write(folder / "metrics.json")
        summary.write(folder / "summary.json")
    return summary


def headline(metrics: Metrics) -> Headline:
    """Return the few flat numbers that `dvc metrics` prints."""
    accuracy = metrics.candidate.accuracy
    return Headline(
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        macro_f1=metrics.candidate.macro_f1.value,
        calibration_error=metrics.candidate.calibration_error.value,
        end_to_end_accuracy=metrics.end_to_end.accuracy.value,
        baseline_accuracy=metrics.baseline.accuracy.value,
        chance_accuracy=metrics.chance.accuracy,
        test_images=metrics.n,
        cost_per_face=_cost_per_face(metrics),
    )


def _cost_per_face(metrics: Metrics) -> float | None:
    if metrics.decision:
        return metrics.decision.cost.value
    accuracy = metrics.candidate.accuracy.value
    return None if accuracy is None else 1 - accuracy


def _rival(champion: Champion, data: Data, candidate: Answers, *, split_hash: str | None) -> Rival:
    """Run the champion as it is served on the test faces, resized where it was trained at another size."""
    classifier = Classifier(champion.folder)
    config, size_px = classifier.config, data.faces.shape[1]
    same_split = config.provenance.split_hash == split_hash
    notes = []
    if config.size_px != size_px:
        notes.append(f"the champion was evaluated on faces resized from {size_px} to {config.size_px} px")
    if classifier.tta != candidate.tta:
        notes.append(
            f"the champion answers with tta {classifier.tta} and the candidate with tta {candidate.tta}, each as served"
        )
    if not same_split:
        notes.append(
            "the champion was trained on another split of the data: it may have seen some of these test images"
        )
    return Rival(
        answers=exported_answers(classifier, data.faces),
        version=champion.version,
        split_hash=config.provenance.split_hash,
        same_split=same_split,
        notes=tuple(notes),
    )


def _predictions(data: Data, candidate: Answers, rival: Rival | None) -> pd.DataFrame:
    columns = _columns("p", candidate) | (_columns("champion_p", rival.answers) if rival else {})
    return data.index[["image_id"]].assign(label_index=data.test.labels, **columns)


def _columns(prefix: str, answers: Answers) -> dict[str, NDArray[np.float32]]:
    found = answers.probabilities.astype(np.float32)
    return {f"{prefix}_{name}": found[:, index] for index, name in enumerate(answers.classes)}


def _summary(metrics: Metrics) -> EvaluateSummary:
    candidate, champion, minus = metrics.candidate, metrics.champion, metrics.candidate_minus_champion
    return EvaluateSummary(
        provenance=metrics.provenance,
        verdict=verdict(metrics),
        test_images=metrics.n,
        tight=metrics.n_tight,
        no_face=metrics.n_no_face,
        tta=candidate.tta,
        accuracy=candidate.accuracy,
        macro_f1=candidate.macro_f1,
        calibration_error=candidate.calibration_error,
        end_to_end=metrics.end_to_end,
        baseline_accuracy=metrics.baseline.accuracy,
        champion_accuracy=champion.accuracy if isinstance(champion, ChampionFigures) else None,
        chance_accuracy=metrics.chance.accuracy,
        candidate_minus_baseline=metrics.candidate_minus_baseline.accuracy,
        candidate_minus_champion=minus.accuracy if minus else None,
        worst_slices=metrics.worst_slices[:3],
        latency_ms_p50=metrics.cost.latency_ms.p50,
        file_mb=metrics.cost.file_mb,
    )
