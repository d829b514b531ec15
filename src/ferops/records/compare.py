"""What `ferops compare --json` prints: runs side by side."""

from __future__ import annotations

from typing import ClassVar

from ferops.records.base import Record
from ferops.records.metrics import Interval


class TestScores(Record):
    """The evaluation of a candidate on the test split, with its test-time augmentation."""

    __test__ = False  # for pytest

    accuracy: Interval
    macro_f1: Interval
    tta: str


class RunFacts(Record):
    """One run; None where it lacks something.

    Attributes:
        version: the model, and the version's number and aliases, if the run was found through the registry.
        started: UTC, ISO 8601.
        epochs: finished ones.
        val_accuracy, val_macro_f1: at the best epoch, 0-1.
        images_per_s: median over the epochs.
        train_seconds: of the epochs; pauses between a kill and its resume do not count.
    """

    run_id: str
    name: str
    version: tuple[str, str] | None
    status: str
    started: str
    data_version: str | None
    split_hash: str | None
    git_commit: str | None
    epochs: int
    best_epoch: int | None
    val_accuracy: float | None
    val_macro_f1: float | None
    test: TestScores | None
    parameters: int | None
    validation_faces: int | None
    images_per_s: float | None
    train_seconds: float | None
    peak_memory_mb: float | None
    device: str | None


class Comparison(Record):
    """Runs of MLflow side by side.

    Attributes:
        comparable: all saw the same data version, split and number of validation faces.
        reasons: sentences, why they are not comparable.
        settings: those that differ: name -> one text per run, None where a run has no such setting.
    """

    stored_in: ClassVar[str] = "standard output"
    made_by: ClassVar[str] = "ferops compare --json"

    comparable: bool
    reasons: tuple[str, ...]
    settings: dict[str, tuple[str | None, ...]]
    runs: tuple[RunFacts, ...]
