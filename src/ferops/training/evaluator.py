"""How well a network does on a split: logits, loss, accuracy, macro-F1 and confusion counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ferops.training.distributed import World
from ferops.training.faces import Faces
from ferops.training.losses import Criterion
from ferops.training.model import ExpressionNet
from ferops.training.precision import Precision


@dataclass(frozen=True)
class Validation:
    """Figures of one epoch; `confusion` int64 `(K, K)` has labels as rows and predictions as columns."""

    loss: float
    accuracy: float
    macro_f1: float
    confusion: NDArray[np.int64]


@dataclass(frozen=True)
class Evaluator:
    """Validates networks on `faces`: process 0 does, and the others get its figures, with confusion counts of 0."""

    faces: Faces
    num_classes: int
    criterion: Criterion
    precision: Precision
    world: World

    def run(self, net: ExpressionNet) -> Validation:
        """Leaves the network in evaluation mode in process 0."""
        counts = np.zeros((self.num_classes, self.num_classes), np.int64)
        found = dict.fromkeys(("loss", "accuracy", "macro_f1"), 0.0)
        if self.world.main:
            logits = predict(net, self.faces.images, precision=self.precision)
            device = self.precision.device
            labels = torch.from_numpy(self.faces.labels).to(device)
            found["loss"] = float(self.criterion(torch.from_numpy(logits).to(device), labels))
            found["accuracy"], found["macro_f1"] = scores(self.faces.labels, logits)
            counts = confusion(self.faces.labels, logits)
        return Validation(**self.world.broadcast(found), confusion=counts)


def predict(
    net: ExpressionNet, images: NDArray[np.uint8], *, precision: Precision, batch_size: int = 128
) -> NDArray[np.float32]:
    """Return the logits float32 `(N, K)` of uint8 faces `(N, S, S, 3)`; leaves the network in evaluation mode."""
    net.eval()
    batches = []
    with torch.inference_mode(), precision.autocast():
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(precision.device)
            batches.append(net(batch).float().cpu().numpy())
    logits: NDArray[np.float32] = np.concatenate(batches)
    return logits


def scores(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> tuple[float, float]:
    """Return accuracy and macro-F1 over all K classes; F1 is 0 for a class that is neither present nor predicted."""
    counts = confusion(labels, logits)
    right, named = counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)
    return float(right.sum() / counts.sum()), float(np.mean(2.0 * right / np.maximum(named, 1)))


def confusion(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return counts int64 `(K, K)`: labels as rows, predictions as columns."""
    classes = logits.shape[1]
    return np.bincount(classes * labels + logits.argmax(axis=1), minlength=classes**2).reshape(classes, classes)
