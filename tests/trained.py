"""What a training leaves, made from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ferops.records.train import Epoch, TrainSummary, write_history


def epoch(number: int, **figures: Any) -> Epoch:
    """A row of history.json; from epoch to epoch losses fall and scores rise."""
    others = {"train_loss": 2.0 / number, "val_loss": 3.0 / number, "learning_rate": 0.001, "images_per_s": 200.0}
    others |= {
        "val_accuracy": 0.8 - 0.6 / number,
        "val_macro_f1": 0.75 - 0.6 / number,
        "seconds": 4.0,
        "peak_memory_mb": 900.0,
    }
    return Epoch(epoch=number, **others | figures)


HISTORY = tuple(epoch(number) for number in (1, 2, 3))


def write_training(model: Path, reports: Path, *, provenance: Any) -> None:
    """Write history.json and summary.json into these folders, which exist."""
    write_history(model / "history.json", HISTORY)
    summary = TrainSummary(
        provenance=provenance,
        model=model.name,
        architecture="resnet50",
        parameters=11_179_590,
        size_px=32,
        images={"train": 600, "val": 90, "test": 120},
        device="cpu",
        precision="bf16",
        threads=(2,),
        epochs=3,
        best_epoch=3,
        val_accuracy=0.61,
        val_macro_f1=0.58,
        images_per_s=200.0,
        seconds=12.5,
        peak_memory_mb={"process": 900.0},
    )
    summary.write(reports / "summary.json")
