"""reports/train/NAME: the summary of a training, and its images for people. Nothing here changes the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ferops.config import Train
from ferops.plots import save_confusion_matrix
from ferops.records.train import Epoch, TrainSummary
from ferops.training.augment import augment, blend
from ferops.training.faces import Faces
from ferops.training.model import ExpressionNet


def write(
    folder: Path,
    summary: TrainSummary,
    history: Sequence[Epoch],
    confusion: NDArray[np.int64],
    classes: Sequence[str],
    *,
    sheet: NDArray[np.uint8],
) -> None:
    """Write the report into `folder`, which exists.

    Args:
        confusion: counts `(K, K)` of the best epoch on validation, labels as rows.
        sheet: by `augmented_sheet`.
    """
    summary.write(folder / "summary.json")
    summary.headline.write(folder / "metrics.json")
    draw_curves(folder / "curves.png", history, best_epoch=summary.best_epoch)
    Image.fromarray(sheet).save(folder / "augmented.png")
    title = f"validation, best epoch ({summary.best_epoch}): macro-F1 {summary.val_macro_f1:.3f}"
    save_confusion_matrix(folder / "confusion.png", confusion, classes, title=title)


def draw_curves(path: Path, history: Sequence[Epoch], *, best_epoch: int) -> None:
    """Draw loss and validation scores over the epochs, the best epoch marked, as PNG."""
    from matplotlib.figure import Figure

    epochs = [row.epoch for row in history]
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, quality = figure.subplots(1, 2)
    for axes, keys, title in (
        (losses, ("train_loss", "val_loss"), "loss (training: augmented images)"),
        (quality, ("val_accuracy", "val_macro_f1"), "validation"),
    ):
        for key in keys:
            axes.plot(epochs, [getattr(row, key) for row in history], marker=".", label=key)
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(title=title, xlabel="epoch")
        axes.legend()
    quality.set_ylim(0.0, 1.0)
    figure.savefig(path, dpi=100)


def augmented_sheet(faces: Faces, train: Train, *, seed: int, columns: int = 8, rows: int = 4) -> NDArray[np.uint8]:
    """Return a sheet of training faces as the network sees them, augmented and blended, uint8 `(H, W, 3)` RGB."""
    from torchvision.utils import make_grid

    rng = np.random.default_rng((seed, 2))
    chosen = np.sort(rng.choice(len(faces), size=min(columns * rows, len(faces)), replace=False))
    pixels = augment(ExpressionNet.pixels(torch.from_numpy(faces.images[chosen])), train, rng)
    pixels, _ = blend(pixels, torch.zeros(len(pixels), 1), train, rng)
    grid = make_grid(pixels, nrow=columns, padding=2)  # (3, H, W)
    sheet: NDArray[np.uint8] = (grid * 255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return sheet
