"""The figures as PNG files, for the tracking server and for slides; the HTML report draws its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ferops.classes import DEFAULT_CLASSES
from ferops.evaluation.words import slice_words

# Okabe and Ito's colours, which people with colour-vision deficiencies can tell apart
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"
DPI = 130


def draw_figures(folder: Path, metrics: dict[str, Any], histories: dict[str, list[dict[str, Any]]]) -> None:
    """Write confusion.png, calibration.png, slices.png and, where models have a history, training.png."""
    drawn = {
        "confusion": _confusion(metrics["candidate"]["confusion"]),
        "calibration": _calibration(metrics["candidate"]),
        "slices": _slices(metrics),
    }
    if any(histories.values()):
        drawn["training"] = _training(histories)
    for name, drawing in drawn.items():
        drawing.savefig(folder / f"{name}.png", dpi=DPI)


def _confusion(confusion: list[list[int]]) -> Figure:
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawing = Figure(figsize=(6, 5), layout="constrained")
    axes = drawing.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column, row, str(count), ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black"
        )
    axes.set_xticks(range(len(DEFAULT_CLASSES)), DEFAULT_CLASSES, rotation=30)
    axes.set_yticks(range(len(DEFAULT_CLASSES)), DEFAULT_CLASSES)
    axes.set(xlabel="predicted", ylabel="label", title="Confusion matrix, test split (colour: share of the row)")
    return drawing


def _calibration(candidate: dict[str, Any]) -> Figure:
    drawing = Figure(figsize=(5, 5), layout="constrained")
    axes = drawing.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
    before, after = candidate["uncalibrated"], candidate
    for name, figures, colour, marker in (("before", before, ORANGE, "s"), ("after", after, BLUE, "o")):
        bins = figures["calibration_bins"]
        error = figures["calibration_error"]["value"]
        axes.plot(
            [one["confidence"] for one in bins],
            [one["accuracy"] for one in bins],
            color=colour,
            marker=marker,
            label=f"{name} temperature: error {error:.3f}",
        )
    axes.set(xlabel="confidence", ylabel="accuracy", title="Calibration, test split", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    return drawing


def _slices(metrics: dict[str, Any]) -> Figure:
    found = metrics["slices"]
    drawing = Figure(figsize=(7, 1.2 + 0.28 * max(1, len(found))), layout="constrained")
    axes = drawing.subplots()
    for row, one in enumerate(found):
        accuracy = one["accuracy"]
        colour = GREY if one["small"] else BLUE
        if accuracy["low"] is not None:
            axes.plot([accuracy["low"], accuracy["high"]], [row, row], color=colour)
        if accuracy["value"] is not None:  # no face was found in the slice: its row stays empty
            axes.plot([accuracy["value"]], [row], color=colour, marker="o", markersize=4)
    axes.axvline(metrics["candidate"]["accuracy"]["value"], color=ORANGE, linestyle="--", label="whole test split")
    axes.set_yticks(range(len(found)), [f"{slice_words(one)} (n={one['n']})" for one in found], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="accuracy", xlim=(0, 1), title="Accuracy by slice (grey: too few samples)")
    axes.legend(loc="lower left", fontsize=8)
    return drawing


def _training(histories: dict[str, list[dict[str, Any]]]) -> Figure:
    drawing = Figure(figsize=(9, 3.6), layout="constrained")
    loss, score = drawing.subplots(1, 2)
    for (name, epochs), colour in zip(histories.items(), (ORANGE, BLUE, GREEN, GREY), strict=False):
        numbers = [epoch["epoch"] for epoch in epochs]
        loss.plot(
            numbers, [epoch["train_loss"] for epoch in epochs], color=colour, linestyle=":", label=f"{name}, train"
        )
        loss.plot(numbers, [epoch["val_loss"] for epoch in epochs], color=colour, label=f"{name}, validation")
        score.plot(numbers, [epoch["val_macro_f1"] for epoch in epochs], color=colour, label=name)
    loss.set(xlabel="epoch", title="Loss")
    score.set(xlabel="epoch", title="Macro-F1, validation", ylim=(0, 1))
    loss.legend(fontsize=8)
    score.legend(fontsize=8)
    return drawing
