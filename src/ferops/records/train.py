"""What a training leaves: the rows of history.json, and summary.json and metrics.json for people and for DVC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import TypeAdapter, ValidationError

from ferops.errors import FeropsError
from ferops.files import require, write_json
from ferops.records.base import Record, problems
from ferops.records.provenance import Provenance


class Epoch(Record):
    """One epoch of a training.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the optimiser steps, on augmented faces.
        learning_rate: at the end of the epoch; of the head, where layers have rates of their own.
        images_per_s: of the training steps; 0 where a resumed epoch had none left.
        seconds: validation included.
        peak_memory_mb: so far, of the GPU if there is one, else of the process; 1 MB is 10^6 bytes.
    """

    stored_in: ClassVar[str] = "artifacts/train/NAME/history.json, a list"
    made_by: ClassVar[str] = "ferops train NAME"

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    learning_rate: float
    images_per_s: float
    seconds: float
    peak_memory_mb: float


class TrainHeadline(Record):
    """What `dvc exp show` prints of a training: validation only, so that no sweep chooses on the test split."""

    stored_in: ClassVar[str] = "reports/train/NAME/metrics.json"
    made_by: ClassVar[str] = "ferops train NAME"

    val_macro_f1: float
    val_accuracy: float
    best_epoch: int


class TrainSummary(Record):
    """A training in short, for people.

    Attributes:
        images: faces by split.
        threads: of the CPU, each number that an epoch was computed with; another one changes the last bits of weights.
        epochs: as planned; early stopping may end a training before.
        val_accuracy: of the best epoch's weights in FP32, as is `val_macro_f1`.
        images_per_s: median over the epochs.
        peak_memory_mb: `process`, and `gpu` if there is one; 1 MB is 10^6 bytes.
    """

    stored_in: ClassVar[str] = "reports/train/NAME/summary.json"
    made_by: ClassVar[str] = "ferops train NAME"

    stage: Literal["train"] = "train"
    provenance: Provenance
    model: str
    architecture: str
    parameters: int
    size_px: int
    images: dict[str, int]
    device: str
    precision: str
    threads: tuple[int, ...]
    epochs: int
    best_epoch: int
    val_accuracy: float
    val_macro_f1: float
    images_per_s: float
    seconds: float
    peak_memory_mb: dict[str, float]

    @property
    def headline(self) -> TrainHeadline:
        return TrainHeadline(val_macro_f1=self.val_macro_f1, val_accuracy=self.val_accuracy, best_epoch=self.best_epoch)


_HISTORY = TypeAdapter(tuple[Epoch, ...])


def read_history(path: Path, *, made_by: str) -> tuple[Epoch, ...]:
    """Read the epochs of a history.json, which the command `made_by` writes.

    Raises:
        FeropsError: the file is missing, not JSON, or not such a history.
    """
    text = require(path, made_by=made_by).read_bytes()
    try:
        return _HISTORY.validate_json(text)
    except ValidationError as error:
        raise FeropsError(f"{path} cannot be used: {problems(error)}. Make it again: {made_by}") from error


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    write_json(path, [row.as_json() for row in history])
