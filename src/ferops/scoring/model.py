"""The model that is scored, and what the score says of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ferops.config import Tta
from ferops.files import sha256
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.model_config import ExportConfig
from ferops.records.score import ScoredModel
from ferops.scoring import opening


@dataclass(frozen=True)
class Model:
    """A model that is ready to answer, and what the score says of it; `file` is what runs."""

    predictor: Predictor
    file: Path
    about: ScoredModel

    @property
    def config(self) -> ExportConfig:
        return self.predictor.config


@contextmanager
def opened(layout: Layout, given: str, *, tta: Tta | None = None) -> Iterator[Model]:
    """Yield the model that `given` names, with the arguments and errors of `opening.opened`."""
    with opening.opened(layout, given, tta=tta) as ready:
        config, version = ready.config, ready.version
        about = ScoredModel(
            given=given,
            kind="weights" if ready.is_weights else "export",
            version=version,
            file=f"{version}/artifacts/export/{ready.file.name}" if version else str(ready.file),
            sha256=sha256(ready.file),
            architecture=config.architecture,
            size_px=config.size_px,
            tta=ready.tta,
            classes=config.classes,
            **config.provenance.model_dump(include={"sources", "data_version", "split_hash", "git_commit", "seed"}),
        )
        yield Model(ready.predictor, ready.file, about)
