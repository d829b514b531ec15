"""What `--model` may name, opened: trained weights, an exported file, or a version of the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from ferops.config import Tta
from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.inference.predictor import Predictor, Runtime
from ferops.layout import Layout
from ferops.model_config import WEIGHTS_FILE, ExportConfig
from ferops.records.score import ScoredModel
from ferops.registry.versions import SCHEME, fetch
from ferops.scratch import scratch_folder


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
    """Yield the model that `given` names; what had to be fetched is gone afterwards.

    Args:
        given: a folder with weights.safetensors or exported files and config.json, one such file, or
            `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        tta: test-time augmentation; by default what its config.json says.

    Raises:
        FeropsError: there is no such model, a file is damaged, or the files do not fit each other.
    """
    if not given.startswith(SCHEME):
        yield _open(given, _find(Path(given)), tta=tta)
        return
    with scratch_folder(Path(gettempdir()), "ferops-score") as scratch:
        version, folder = fetch(layout, given, scratch)
        yield _open(given, folder, tta=tta, version=version)


def _find(path: Path) -> Path:
    """Return the file or folder of an exported model, or the file of trained weights."""
    if not path.exists():
        raise FeropsError(
            f"{path} does not exist. --model is a folder that `ferops train NAME` or `ferops export` made, one "
            "exported file, or a version of the registry such as models:/ferops@champion"
        )
    if path.is_file():
        if path.suffix != ".onnx" and path.name != WEIGHTS_FILE:
            raise FeropsError(
                f"{path} is not a model file. Supported: {WEIGHTS_FILE} and exported .onnx files, with their "
                "config.json in the same folder"
            )
        return path
    if any(path.glob("*.onnx")):
        return path  # models that come with ferops have their weights, too
    if not (path / WEIGHTS_FILE).exists():
        raise FeropsError(
            f"{path} holds neither {WEIGHTS_FILE} nor an exported .onnx file. Model folders are made by "
            "`ferops train NAME` (artifacts/train/NAME) and `ferops export` (artifacts/export)"
        )
    return path / WEIGHTS_FILE


def _open(given: str, path: Path, *, tta: Tta | None, version: str | None = None) -> Model:
    from ferops.export.runtime import Classifier

    weights = path.name == WEIGHTS_FILE
    classifier: Runtime
    if weights:
        from ferops.scoring.weights import TrainedWeights

        folder, classifier = path.parent, TrainedWeights(path.parent, tta=tta)
    else:
        folder, name = (path, None) if path.is_dir() else (path.parent, path.name)
        classifier = Classifier(folder, served=name, tta=tta)
        path = folder / (name or classifier.config.served)
    config = classifier.config
    about = ScoredModel(
        given=given,
        kind="weights" if weights else "export",
        version=version,
        file=f"{version}/artifacts/export/{path.name}" if version else str(path),
        sha256=sha256(path),
        architecture=config.architecture,
        size_px=config.size_px,
        tta=classifier.tta,
        classes=config.classes,
        **config.provenance.model_dump(include={"sources", "data_version", "split_hash", "git_commit", "seed"}),
    )
    return Model(Predictor(folder, classifier=classifier), path, about)
