"""What a training remembers of its run in MLflow, so that it can continue it."""

from __future__ import annotations

from typing import ClassVar

from ferops.records.base import Record


class UnfinishedRun(Record):
    """The run of MLflow that records the training whose `ferops.training.identity.Identity` has this digest."""

    stored_in: ClassVar[str] = ".ferops/runs/NAME.json"
    made_by: ClassVar[str] = "ferops train NAME"

    run_id: str
    training: str
