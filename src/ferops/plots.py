"""Drawings that several packages make, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Okabe and Ito's colours, which people with colour-vision deficiencies can distinguish, with a grey
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"
COLOURS = (BLUE, ORANGE, GREEN, "#D55E00", "#CC79A7", "#56B4E9", GREY, "#000000")


def save_confusion_matrix(
    target: Path | BinaryIO, counts: ArrayLike, classes: Sequence[str], *, title: str, dpi: int = 120
) -> None:
    """Write `confusion_matrix` as PNG to a file, or to something that takes bytes."""
    confusion_matrix(counts, classes, title=title).savefig(target, dpi=dpi, format="png")


def confusion_matrix(counts: ArrayLike, classes: Sequence[str], *, title: str) -> Figure:
    """Draw a confusion matrix: counts as text, each row's shares as shades, its recall beside it.

    Args:
        counts: `(K, K)`, labels as rows, predictions as columns.
        classes: the K names, in the order of `counts`.
        title: what was counted.
    """
    from matplotlib.figure import Figure

    table = np.asarray(counts, dtype=np.int64)
    totals = table.sum(axis=1)
    shares = table / np.maximum(totals, 1)[:, None]  # a class without a face has an empty row
    side = max(4.0, 1.9 + 0.6 * len(classes))  # inches; small, since MLflow previews images at 256 px
    figure = Figure(figsize=(side, side * 0.92), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    size = 12 if table.max(initial=0) < 10_000 else 10
    for (label, predicted), count in np.ndenumerate(table):
        colour = "white" if shares[label, predicted] > 0.5 else "black"
        axes.text(predicted, label, f"{count:,}", ha="center", va="center", color=colour, fontsize=size)
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(classes)),
        [f"{name}\n{100 * shares[i, i]:.0f} % of {totals[i]:,}" for i, name in enumerate(classes)],
    )
    axes.set(xlabel="predicted (shade: share of the row)", ylabel="label, and its recall")
    axes.set_title(title, fontsize=11)
    return figure
