"""Where things are: the one place that knows the project's folders.

data/                 raw data, one Parquet file per source, tracked by data.dvc
starter/              the model that comes with ferops, tracked by starter.dvc
artifacts/<stage>/    what a stage hands to the next one; DVC is its only cache
reports/<stage>/      what a stage leaves for people, with summary.json
.ferops/              state that is not versioned: checkpoints, logs and process ids of the local stack
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths below the project's root folder."""

    root: Path = Path()

    @property
    def params_file(self) -> Path:
        return self.root / "params.yaml"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def data_dvc(self) -> Path:
        return self.root / "data.dvc"

    @property
    def starter(self) -> Path:
        return self.root / "starter"

    @property
    def starter_dvc(self) -> Path:
        return self.root / "starter.dvc"

    @property
    def state(self) -> Path:
        return self.root / ".ferops"

    def source(self, name: str) -> Path:
        return self.data / f"{name}.parquet"

    def artifacts(self, stage: str) -> Path:
        return self.root / "artifacts" / stage

    def reports(self, stage: str) -> Path:
        return self.root / "reports" / stage

    def summary(self, stage: str) -> Path:
        return self.reports(stage) / "summary.json"

    @property
    def manifest(self) -> Path:
        return self.artifacts("validate") / "manifest.parquet"

    @property
    def quarantine(self) -> Path:
        return self.artifacts("validate") / "quarantine.parquet"

    @property
    def assignment(self) -> Path:
        return self.artifacts("split") / "assignment.parquet"

    def faces(self, split: str) -> Path:
        return self.artifacts("preprocess") / f"{split}.npy"

    @property
    def face_index(self) -> Path:
        return self.artifacts("preprocess") / "faces.parquet"

    def model(self, name: str) -> Path:
        return self.artifacts("train") / name

    @property
    def exported(self) -> Path:
        return self.artifacts("export")
