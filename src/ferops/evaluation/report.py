"""The HTML report: one file that opens without a network, pictures and style inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops import uses
from ferops.classes import DEFAULT_CLASSES
from ferops.evaluation import limits
from ferops.evaluation.inputs import Data
from ferops.evaluation.words import COLUMN_WORDS, figure, percent, points, split_words, with_interval

MOST_MISTAKES = 18


def report(view: dict[str, Any], data: Data, probabilities: NDArray[np.float64]) -> str:
    """Return the report as HTML.

    Args:
        view: "metrics" (metrics.json), "config" (of the export), "histories" and "verdict".
        data: the test split, for the faces of the mistakes shown.
        probabilities: `(N, K)` of the candidate, calibrated.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ferops.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "interval": with_interval, "figure": figure}
    environment.globals |= {"polyline": polyline, "split_words": split_words}
    return environment.get_template("report.html.j2").render(
        **view,
        **view["metrics"],
        **limits.sentences(view["metrics"]),
        classes=DEFAULT_CLASSES,
        uses=uses,
        column_words=COLUMN_WORDS,
        mistakes=_mistakes(data, probabilities),
        curves=_curves(view["histories"]),
        reach=_reach(view["metrics"]),
    )


def polyline(values: Sequence[float], *, low: float, high: float, width: float, height: float) -> str:
    """Return the `points` of an SVG polyline: values evenly across `width`, `low` at the bottom, `high` at the top."""
    step = width / max(1, len(values) - 1)
    span = (high - low) or 1.0
    return " ".join(f"{i * step:.1f},{height - (value - low) / span * height:.1f}" for i, value in enumerate(values))


def _mistakes(data: Data, probabilities: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The wrong answers the model was most sure of, the surest first."""
    labels = data.test.labels
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "face": _inline_png(np.asarray(data.faces[row])),
            "label": DEFAULT_CLASSES[labels[row]],
            "predicted": DEFAULT_CLASSES[predicted[row]],
            "confidence": float(confidence[row]),
            "label_probability": float(probabilities[row, labels[row]]),
            "image_id": str(data.index["image_id"].iloc[row])[:10],
        }
        for row in surest
    ]


def _inline_png(face: NDArray[np.uint8]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(face)
    image.thumbnail((112, 112))
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _curves(histories: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One entry per model: its losses and validation figures, and the top of its loss axis."""
    found = []
    for name, epochs in histories.items():
        if not epochs:
            continue
        losses = [value for epoch in epochs for value in (epoch["train_loss"], epoch["val_loss"]) if value is not None]
        series = {
            key: [epoch[key] for epoch in epochs if epoch[key] is not None]
            for key in ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")
        }
        best = max(epochs, key=lambda epoch: epoch["val_macro_f1"] or 0.0)
        found.append(
            {"name": name, "epochs": len(epochs), "top_loss": max([*losses, 1e-9]) * 1.05, "best": best, **series}
        )
    return found


def _reach(metrics: dict[str, Any]) -> float:
    """Half the axis of the differences: the furthest end of an interval, at least 5 points, in steps of 5 points."""
    ends = [
        abs(end)
        for pair in ("candidate_minus_baseline", "candidate_minus_champion")
        for minus in (metrics[pair] or {}).values()
        for end in (minus["low"], minus["high"], minus["value"])
        if end is not None
    ]
    return float(np.ceil(max([*ends, 0.05]) * 20) / 20)
