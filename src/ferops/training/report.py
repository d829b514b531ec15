"""Pictures of a training run, for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ferops.config import Train
from ferops.training.augment import augment, blend
from ferops.training.data import Faces
from ferops.training.model import ExpressionNet


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


def draw_augmented(path: Path, faces: Faces, train: Train, *, seed: int, columns: int = 8, rows: int = 4) -> None:
    """Save a sheet of training faces as the network sees them, after augmentation and Mixup, as PNG."""
    from PIL import Image

    rng = np.random.default_rng((seed, 2))
    chosen = np.sort(rng.choice(len(faces), size=min(columns * rows, len(faces)), replace=False))
    pixels = augment(ExpressionNet.pixels(torch.from_numpy(faces.images[chosen])), train, rng)
    pixels, _ = blend(pixels, torch.zeros(len(pixels), 1), train, rng)
    Image.fromarray(_sheet(pixels, columns).numpy()).save(path)


def _sheet(pixels: Tensor, columns: int) -> Tensor:
    from torchvision.utils import make_grid

    grid: Tensor = make_grid(pixels, nrow=columns, padding=2)  # (3, H, W)
    return (grid * 255.0).round().to(torch.uint8).permute(1, 2, 0)
