"""Baseline and candidate on all faces, by models that have not seen them (`train.every_fold`).

The differences are paired and their intervals are of the faces and people, as everywhere (`bootstrap`). That the models
of two folds share most of their training faces they do not show (S. Bates, T. Hastie and R. Tibshirani,
"Cross-Validation: What Does It Estimate and How Well Does It Do It?", JASA 119, 2024): such an interval is somewhat too
narrow.
"""

from __future__ import annotations

import numpy as np

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.evaluation.inputs import Answers, Data, label_indices, resampler
from ferops.evaluation.performance import TestSet, constant_answer, difference, performance
from ferops.layout import Layout
from ferops.model_config import ModelConfig, read_model_config
from ferops.records.metrics import CrossValidation
from ferops.tables import Kind, read_parquet


def cross_validation(
    layout: Layout, params: Params, data: Data, classes: tuple[str, ...], *, temperature: float
) -> CrossValidation | None:
    """Return the comparison; None where the settings ask for none, or the candidate is an ensemble or a soup: no folds.

    Args:
        classes: the candidate's, which the faces are labelled with.
        temperature: the exported candidate's.

    Raises:
        FeropsError: the answers are missing, damaged, or of other faces.
    """
    config = read_model_config(layout.model(params.export.model), ModelConfig)
    if not params.train.every_fold or config.members or config.ingredients:
        return None
    rows = data.everything[data.everything["row"] >= 0].reset_index(drop=True)
    everyone = np.ones(len(rows), dtype=bool)
    test = TestSet(
        classes=classes,
        labels=label_indices(rows["label"], classes),
        rows=np.arange(len(rows)),
        tight=~everyone,
        unfound=~everyone,
        missed=np.arange(0),
        resampler=resampler(rows, params.evaluate, seed=params.seed),
    )
    images = list(rows["image_id"])
    ours = _answers(layout, params.export.model, images, temperature=temperature)
    theirs = _answers(layout, "baseline", images).on(classes, everyone)
    threshold = params.evaluate.low_confidence
    candidate = performance(test, ours.probabilities, review_below=threshold)
    baseline = performance(test, theirs.probabilities, review_below=threshold)
    return CrossValidation(
        folds=params.split.folds,
        n=len(rows),
        clusters=test.clusters,
        candidate=candidate.figures,
        baseline=baseline.figures,
        candidate_minus_baseline=difference(test, candidate.counts, baseline.counts),
        candidate_minus_chance=difference(test, candidate.counts, constant_answer(test)[1]),
    )


def _answers(layout: Layout, name: str, images: list[str], *, temperature: float | None = None) -> Answers:
    """Return the answers of `models.name` to `images`, with its own temperature unless another is given."""
    config = read_model_config(layout.model(name), ModelConfig)
    path, made_by = layout.every_fold(name), f"ferops train {name}"
    columns: dict[str, Kind] = {f"logit_{each}": "number or null" for each in config.classes}
    table = read_parquet(path, {"image_id": "text", **columns}, made_by=made_by, unique="image_id")
    logits = table.set_index("image_id").reindex(images)[list(columns)].to_numpy(np.float32)
    if len(table) != len(images) or not np.isfinite(logits).all():
        raise FeropsError(
            f"{path} holds no answer, or none that is finite, to some of the faces. Train again: {made_by}"
        )
    return Answers(config.classes, logits, config.temperature if temperature is None else temperature)
