"""What a run of the pipeline left, from the records of its stages."""

from __future__ import annotations

from dataclasses import dataclass

from ferops.layout import Layout
from ferops.records.metrics import Metrics
from ferops.records.register import RegisterSummary
from ferops.records.train import TrainSummary
from ferops.records.validate import ValidateSummary


@dataclass(frozen=True)
class Outcome:
    """The records that the closing lines and the overview show."""

    metrics: Metrics
    registered: RegisterSummary
    validated: ValidateSummary
    trained: TrainSummary

    @classmethod
    def read(cls, layout: Layout) -> Outcome:
        """Raises FeropsError: a stage has not run, or its record is damaged."""
        metrics = Metrics.read(layout.artifacts("evaluate") / "metrics.json", made_by="ferops evaluate")
        model = metrics.provenance.params["export"]["model"]
        return cls(
            metrics=metrics,
            registered=RegisterSummary.read(layout.summary("register"), made_by="ferops register"),
            validated=ValidateSummary.read(layout.summary("validate"), made_by="ferops validate"),
            trained=TrainSummary.read(layout.summary(f"train/{model}"), made_by=f"ferops train {model}"),
        )
