"""The HTML report: one file that opens without a network, images and style inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.evaluation.inputs import Data
from ferops.evaluation.pages import render
from ferops.model_config import ExportConfig
from ferops.pages import image_uri
from ferops.records.metrics import Metrics
from ferops.records.train import Epoch

MOST_MISTAKES = 18


def report(
    metrics: Metrics,
    config: ExportConfig,
    histories: dict[str, tuple[Epoch, ...]],
    data: Data,
    probabilities: NDArray[np.float64],
) -> str:
    """Return the report as HTML.

    Args:
        config: of the export.
        histories: the epochs of every model trained, by name.
        data: the test split, for the faces of the mistakes shown.
        probabilities: `(N, K)` of the candidate, calibrated.
    """
    return render(
        "report.html.j2",
        metrics,
        config,
        polyline=polyline,
        mistakes=_mistakes(data, probabilities),
        curves=_curves(histories),
        reach=_reach(metrics),
    )


def polyline(values: Sequence[float], *, low: float, high: float, width: float, height: float) -> str:
    """Return the `points` of an SVG polyline: values evenly across `width`, `low` at the bottom, `high` at the top."""
    step = width / max(1, len(values) - 1)
    span = (high - low) or 1.0
    return " ".join(f"{i * step:.1f},{height - (value - low) / span * height:.1f}" for i, value in enumerate(values))


def _mistakes(data: Data, probabilities: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The wrong answers the model was most sure of, the surest first."""
    labels, classes = data.test.labels, data.test.classes
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "face": image_uri(np.asarray(data.faces[row]), side_px=112),
            "label": classes[labels[row]],
            "predicted": classes[predicted[row]],
            "confidence": float(confidence[row]),
            "label_probability": float(probabilities[row, labels[row]]),
            "image_id": str(data.index["image_id"].iloc[row])[:10],
        }
        for row in surest
    ]


def _curves(histories: dict[str, tuple[Epoch, ...]]) -> list[dict[str, Any]]:
    """One entry per model: its losses and validation figures, and the top of its loss axis."""
    found = []
    for name, epochs in histories.items():
        if not epochs:
            continue
        top_loss = 1.05 * max(loss for epoch in epochs for loss in (epoch.train_loss, epoch.val_loss))
        keys = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")
        series = {key: [getattr(epoch, key) for epoch in epochs] for key in keys}
        best = max(epochs, key=lambda epoch: epoch.val_macro_f1)
        found.append({"name": name, "epochs": len(epochs), "top_loss": top_loss, "best": best, **series})
    return found


def _reach(metrics: Metrics) -> float:
    """Half the axis of the differences: the furthest end of an interval, at least 5 points, in steps of 5 points."""
    pairs = [minus for minus in (metrics.candidate_minus_baseline, metrics.candidate_minus_champion) if minus]
    intervals = [each for minus in pairs for each in (minus.accuracy, minus.macro_f1)]
    ends = [abs(end) for each in intervals for end in (each.low, each.high, each.value) if end is not None]
    return float(np.ceil(max([*ends, 0.05]) * 20) / 20)
