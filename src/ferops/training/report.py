"""Pictures of a training run, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Train
from ferops.training.augment import augment, blend
from ferops.training.data import Faces
from ferops.training.model import ExpressionNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curves(path: Path, history: list[dict[str, float]], *, best_epoch: int) -> None:
    """Draw loss and validation scores over the epochs, the best epoch marked, as PNG."""
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, quality = figure.subplots(1, 2)
    for axes, keys, title in (
        (losses, ("train_loss", "val_loss"), "loss (training: augmented images)"),
        (quality, ("val_accuracy", "val_macro_f1"), "validation"),
    ):
        for key in keys:
            axes.plot(epochs, [row[key] for row in history], marker=".", label=key)
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(title=title, xlabel="epoch")
        axes.legend()
    quality.set_ylim(0.0, 1.0)
    figure.savefig(path, dpi=100)


def draw_confusion(target: Path | BinaryIO, counts: NDArray[np.int64], *, title: str) -> None:
    """Draw a confusion matrix as PNG: counts as text, each row's shares as shades, its recall beside it.

    Args:
        target: a file, or something to write bytes to.
        counts: `(6, 6)` in DEFAULT_CLASSES order, labels as rows, predictions as columns.
        title: what was counted.
    """
    confusion_figure(counts, title=title).savefig(target, dpi=120, format="png")


def confusion_figure(counts: NDArray[np.int64], *, title: str) -> Figure:
    from matplotlib.figure import Figure

    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]  # a class without a face has an empty row
    figure = Figure(figsize=(5.5, 5), layout="constrained")  # small: MLflow's preview is 256 px wide
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (label, predicted), count in np.ndenumerate(counts):
        colour = "white" if shares[label, predicted] > 0.5 else "black"
        axes.text(predicted, label, f"{count:,}", ha="center", va="center", color=colour, fontsize=13)
    axes.set_xticks(range(len(DEFAULT_CLASSES)), DEFAULT_CLASSES, rotation=30)
    axes.set_yticks(
        range(len(DEFAULT_CLASSES)),
        [f"{name}\n{100 * shares[i, i]:.0f} % of {totals[i]:,}" for i, name in enumerate(DEFAULT_CLASSES)],
    )
    axes.set(xlabel="predicted (shade: share of the row)", ylabel="label, and the share found")
    axes.set_title(title, fontsize=11)
    return figure


def augmented_sheet(faces: Faces, train: Train, *, seed: int, columns: int = 8, rows: int = 4) -> NDArray[np.uint8]:
    """Return a sheet of training faces as the network sees them, augmented and blended, uint8 `(H, W, 3)` RGB."""
    rng = np.random.default_rng((seed, 2))
    chosen = np.sort(rng.choice(len(faces), size=min(columns * rows, len(faces)), replace=False))
    pixels = augment(ExpressionNet.pixels(torch.from_numpy(faces.images[chosen])), train, rng)
    pixels, _ = blend(pixels, torch.zeros(len(pixels), 1), train, rng)
    sheet: NDArray[np.uint8] = _sheet(pixels, columns).numpy()
    return sheet


def _sheet(pixels: Tensor, columns: int) -> Tensor:
    from torchvision.utils import make_grid

    grid: Tensor = make_grid(pixels, nrow=columns, padding=2)  # (3, H, W)
    return (grid * 255.0).round().to(torch.uint8).permute(1, 2, 0)
