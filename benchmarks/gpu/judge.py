"""Three questions to the logits of packed faces, as benchmarks/exam.py asks them of a model that is served."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from packed import Pack

from ferops.classes import DEFAULT_CLASSES
from ferops.training.evaluator import confusion, scores

ENOUGH = 50
"""Photographs of a class in the whole source, for its recall to count."""

TEMPERATURES = np.geomspace(0.2, 5.0, 200)


def judge(pack: Pack, split: str, logits: NDArray[np.float32]) -> dict[str, Any]:
    """Return figures for `labels`, `votes` (more than five annotators agree) and `photographs` of a split.

    The first two are of the six classes; a network with a seventh is judged renormalised.

    Args:
        logits: of all faces of the split, `(N, K)`.
    """
    faces, classes, photographs = pack.splits[split], pack.classes, pack.about["photographs"]
    six = [classes.index(name) for name in DEFAULT_CLASSES]
    of_photographs = faces.sources == photographs
    votes, by_class = faces.votes[:, six], np.full(len(classes), -1)
    by_class[six] = np.arange(len(six))
    labels = by_class[faces.labels]
    found = {
        "labels": _among_six(logits[:, six], labels, ~of_photographs & (labels >= 0)),
        "votes": _among_six(logits[:, six], votes.argmax(axis=1), ~of_photographs & (votes.max(axis=1) > 5)),
    }
    counts = confusion(faces.labels[of_photographs], logits[of_photographs])
    recalls = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    all_of_them = sum(
        np.bincount(each.labels[each.sources == photographs], minlength=len(classes)) for each in pack.splits.values()
    )
    enough = [index for index in np.flatnonzero(all_of_them >= ENOUGH) if counts[index].sum()]
    by_name = {classes[index]: round(float(recalls[index]), 3) for index in enough}
    mean = float(np.mean(list(by_name.values()))) if by_name else None
    rows = {"n": int(counts.sum()), "mean_recall": mean, "recall": by_name, "confusion": counts.tolist()}
    return {**found, "photographs": rows}


def _among_six(logits: NDArray[np.float32], labels: NDArray[np.int64], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    if not chosen.any():
        return {"n": 0, "accuracy": None, "macro_f1": None}
    accuracy, macro_f1 = scores(labels[chosen], logits[chosen])
    return {"n": int(chosen.sum()), "accuracy": accuracy, "macro_f1": macro_f1}


def temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature with the lowest negative log-likelihood, of 200."""
    scaled = logits.astype(np.float64) / TEMPERATURES[:, None, None]  # (T, N, K)
    right = np.take_along_axis(scaled, labels[None, :, None], axis=2)[..., 0]
    return float(TEMPERATURES[(np.log(np.exp(scaled).sum(axis=2)) - right).mean(axis=1).argmin()])


def cells(found: dict[str, Any]) -> list[str]:
    """Return the three answers as cells of a table."""
    shown = [
        f"{100 * figures['accuracy']:.1f} %, {figures['macro_f1']:.3f} ({figures['n']:,})" if figures["n"] else "-"
        for figures in (found["labels"], found["votes"])
    ]
    photographs = found["photographs"]
    return [*shown, f"{photographs['mean_recall']:.3f} ({photographs['n']:,})" if photographs["recall"] else "-"]
