"""Where things are: the one place that knows the project's folders, and how it is found.

data/                 raw data, one Parquet file per source, tracked by data.dvc
starter/              the model that comes with ferops, tracked by starter.dvc
artifacts/<stage>/    what a stage hands to the next one; DVC is its only cache
reports/<stage>/      what a stage leaves for people, with summary.json
trust.json            whose registered versions count here beside the project's own
.ferops/              state that is not versioned: checkpoints, logs and process ids of the local stack
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ferops.errors import FeropsError


@dataclass(frozen=True)
class Layout:
    """Paths below the project's root folder."""

    root: Path = Path()

    @classmethod
    def find(cls, *, or_here: bool = False) -> Self:
        """Return the project around the working folder, as git and dvc do; paths are relative to the working folder.

        A project is the nearest folder, from the working folder upwards, that has params.yaml and dvc.yaml or .dvc.
        Without one, the working folder will do if it has params.yaml, or if `or_here`.

        Raises:
            FeropsError: there is no project.
        """
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / "params.yaml").exists() and ((folder / "dvc.yaml").exists() or (folder / ".dvc").is_dir()):
                return cls(Path(os.path.relpath(folder, here)))
        if or_here or (here / "params.yaml").exists():
            return cls()
        raise FeropsError(
            f"there is no ferops project here: neither {here} nor a folder above it has params.yaml beside dvc.yaml or "
            ".dvc. Change into a project's folder, or write its params.yaml: ferops preset quick"
        )

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
    def shipped_dvc(self) -> list[Path]:
        """The files that name models which come with ferops: starter.dvc and models/*.dvc, those that exist."""
        return [file for file in (self.starter_dvc, *sorted(self.root.glob("models/*.dvc"))) if file.exists()]

    @property
    def trust(self) -> Path:
        return self.root / "trust.json"

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

    def every_fold(self, name: str) -> Path:
        return self.model(name) / "every_fold.parquet"

    @property
    def exported(self) -> Path:
        return self.artifacts("export")
