"""The curves as matplotlib figures."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ferops.explanation.ranking import COVERAGES
from ferops.pages import data_uri
from ferops.plots import COLOURS


def risk_coverage(risk: NDArray[np.float64]) -> str:
    """Draw the error among the surest answers, `(N,)`, as a data URI."""
    drawing = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = drawing.subplots()
    share = np.arange(1, len(risk) + 1) / len(risk)
    settled = share >= 0.05  # of fewer answers the error jumps
    axes.plot(100 * share[settled], 100 * risk[settled], color=COLOURS[0])
    for coverage in COVERAGES:
        axes.axvline(100 * coverage, color="#bbbbbb", linewidth=0.8)
    axes.set(xlabel="answers kept, the surest first, %", ylabel="wrong among them, %", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    return _uri(drawing)


def class_curves(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.intp],
    classes: tuple[str, ...],
    champion: Mapping[str, NDArray[np.float64]],
) -> str:
    """Draw precision against recall, and the ROC curve, of each class against the rest, as a data URI.

    Args:
        probabilities: `(N, K)`.
        labels: `(N,)`.
        champion: by class, its probabilities `(N,)`: dashed.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    precision_axes, roc_axes = drawing.subplots(1, 2)
    for index, name in enumerate(classes):
        truth = labels == index
        if truth.all() or not truth.any():
            continue
        lines = [(probabilities[:, index], "-"), *([(champion[name], "--")] if name in champion else [])]
        for scores, style in lines:
            colour, label = COLOURS[index % len(COLOURS)], name if style == "-" else None
            precision, recall, _ = precision_recall_curve(truth, scores)
            precision_axes.plot(recall, precision, color=colour, linestyle=style, label=label)
            false_alarms, found, _ = roc_curve(truth, scores)
            roc_axes.plot(false_alarms, found, color=colour, linestyle=style)
    roc_axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":")
    precision_axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    roc_axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.02))
    precision_axes.legend(fontsize=8)
    return _uri(drawing)


def _uri(drawing: Figure) -> str:
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=130)
    return data_uri(buffer.getvalue(), "png")
