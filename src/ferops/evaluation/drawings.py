"""The figures as PNG files, for the tracking server and for slides; the HTML report draws its own."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ferops.escape import inline
from ferops.evaluation.slice_names import slice_name
from ferops.plots import BLUE, GREEN, GREY, ORANGE, save_confusion_matrix
from ferops.records.metrics import CandidateFigures, Metrics
from ferops.records.train import Epoch

DPI = 130
LONGEST_NAME = 60
"""Characters of a slice beside its interval; a drawing has no room for more."""


def save_drawings(folder: Path, metrics: Metrics, histories: dict[str, tuple[Epoch, ...]]) -> None:
    """Write confusion.png, calibration.png, slices.png and, where models have a history, training.png."""
    save_confusion_matrix(
        folder / "confusion.png", metrics.candidate.confusion, metrics.classes, title="Test split", dpi=DPI
    )
    _calibration(metrics.candidate).savefig(folder / "calibration.png", dpi=DPI)
    _slices(metrics).savefig(folder / "slices.png", dpi=DPI)
    if any(histories.values()):
        _training(histories).savefig(folder / "training.png", dpi=DPI)


def _calibration(candidate: CandidateFigures) -> Figure:
    drawing = Figure(figsize=(5, 5), layout="constrained")
    axes = drawing.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
    raw = candidate.uncalibrated
    for name, bins, error, colour, marker in (
        ("before", raw.calibration_bins, raw.calibration_error, ORANGE, "s"),
        ("after", candidate.calibration_bins, candidate.calibration_error, BLUE, "o"),
    ):
        axes.plot(
            [one.confidence for one in bins],
            [one.accuracy for one in bins],
            color=colour,
            marker=marker,
            label=f"{name} temperature: error {error.value:.3f}",
        )
    axes.set(xlabel="confidence", ylabel="accuracy", title="Calibration, test split", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    return drawing


def _slices(metrics: Metrics) -> Figure:
    found = metrics.slices
    drawing = Figure(figsize=(7, 1.2 + 0.28 * max(1, len(found))), layout="constrained")
    axes = drawing.subplots()
    for row, one in enumerate(found):
        low, value, high = one.accuracy.low, one.accuracy.value, one.accuracy.high
        colour = GREY if one.small else BLUE
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color=colour)
        if value is not None:  # no face was found in the slice: its row stays empty
            axes.plot([value], [row], color=colour, marker="o", markersize=4)
    whole = metrics.candidate.accuracy.value
    if whole is not None:
        axes.axvline(whole, color=ORANGE, linestyle="--", label="whole test split")
    names = [f"{inline(slice_name(one))[:LONGEST_NAME]} (n={one.n})" for one in found]
    axes.set_yticks(range(len(found)), names, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="accuracy", xlim=(0, 1), title="Accuracy by slice (grey: too few samples)")
    axes.legend(loc="lower left", fontsize=8)
    return drawing


def _training(histories: dict[str, tuple[Epoch, ...]]) -> Figure:
    drawing = Figure(figsize=(9, 3.6), layout="constrained")
    loss, score = drawing.subplots(1, 2)
    for (name, epochs), colour in zip(histories.items(), (ORANGE, BLUE, GREEN, GREY), strict=False):
        numbers = [epoch.epoch for epoch in epochs]
        loss.plot(numbers, [epoch.train_loss for epoch in epochs], color=colour, linestyle=":", label=f"{name}, train")
        loss.plot(numbers, [epoch.val_loss for epoch in epochs], color=colour, label=f"{name}, validation")
        score.plot(numbers, [epoch.val_macro_f1 for epoch in epochs], color=colour, label=name)
    loss.set(xlabel="epoch", title="Loss")
    score.set(xlabel="epoch", title="Macro-F1, validation", ylim=(0, 1))
    loss.legend(fontsize=8)
    score.legend(fontsize=8)
    return drawing
