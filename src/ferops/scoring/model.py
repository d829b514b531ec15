"""What `--model` may name, opened: trained weights, an exported file, or a version of the registry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ferops import model_config
from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import Config, ExportConfig, ModelConfig
from ferops.registry.versions import SCHEME, fetch

WEIGHTS_FILE = "weights.safetensors"

Logits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From RGB uint8 faces `(N, S, S, 3)` to float32 `(N, 6)` in DEFAULT_CLASSES order."""


@dataclass(frozen=True)
class Model:
    """A model that is ready to answer.

    `given` is what the user wrote, `shown` the file as people should read of it, `version` that of the registry
    (`models:/NAME/VERSION`, else None).
    """

    given: str
    kind: Literal["weights", "export"]
    file: Path
    shown: str
    version: str | None
    config: ModelConfig
    logits: Logits

    def about(self) -> dict[str, Any]:
        """Return the block `model` of the result."""
        origin = self.config.provenance
        return {
            "given": self.given,
            "kind": self.kind,
            "version": self.version,
            "file": self.shown,
            "sha256": sha256(self.file),
            "architecture": self.config.architecture,
            "size_px": self.config.size_px,
            **origin.model_dump(mode="json", include={"sources", "data_version", "split_hash", "git_commit", "seed"}),
        }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(layout: Layout, given: str) -> Iterator[Model]:
    """Yield the model that `given` names; what had to be fetched is gone afterwards.

    Args:
        given: a folder with weights.safetensors or exported files and config.json, one such file, or
            `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        FeropsError: there is no such model, a file is damaged, the files do not fit each other, or the model answers
            other classes.
    """
    if not given.startswith(SCHEME):
        yield _local(given)
        return
    with TemporaryDirectory(prefix="ferops-score-") as scratch:
        version, folder = fetch(layout, given, Path(scratch))
        config = _config(folder, kind=ExportConfig)
        served = folder / config.served
        yield _exported(given, served, config, version=version, shown=f"{version}/artifacts/export/{served.name}")


def _local(given: str) -> Model:
    path = Path(given)
    if not path.exists():
        raise FeropsError(
            f"{given} does not exist. --model is a folder that `ferops train NAME` or `ferops export` made, one "
            "exported file, or a version of the registry such as models:/ferops@champion"
        )
    folder, file = (path, None) if path.is_dir() else (path.parent, path)
    if file is not None and file.suffix != ".onnx" and file.name != WEIGHTS_FILE:
        raise FeropsError(
            f"{given} is no model file: wanted {WEIGHTS_FILE} or an exported .onnx file, with its config.json beside it"
        )
    if file is None and (folder / WEIGHTS_FILE).exists():
        file = folder / WEIGHTS_FILE
    if file is not None and file.name == WEIGHTS_FILE:
        return _trained(given, file)
    if file is None and not any(folder.glob("*.onnx")):
        raise FeropsError(
            f"{folder} holds no model, neither {WEIGHTS_FILE} nor an exported .onnx file. Model folders are made by "
            "`ferops train NAME` (artifacts/train/NAME) and `ferops export` (artifacts/export)"
        )
    config = _config(folder, kind=ExportConfig)
    file = file or folder / config.served
    return _exported(given, file, config, version=None, shown=str(file))


def _config(folder: Path, *, kind: type[Config]) -> Config:
    config = model_config.read(folder, kind)
    if config.classes != DEFAULT_CLASSES:
        raise FeropsError(
            f"{folder / 'config.json'} names {len(config.classes)} classes, {', '.join(config.classes)}; this version "
            f"of ferops judges {len(DEFAULT_CLASSES)}: {', '.join(DEFAULT_CLASSES)}"
        )
    return config


def _exported(given: str, file: Path, config: ExportConfig, *, version: str | None, shown: str) -> Model:
    from ferops.export.runtime import Classifier

    classifier = Classifier(file.parent, served=file.name)
    return Model(given, "export", file, shown, version, config, _finite(classifier.logits, shown))


def _trained(given: str, file: Path) -> Model:
    """In FP32, whatever the machine has: a score belongs to the weights."""
    import torch

    from ferops.training import model
    from ferops.training.fit import predict
    from ferops.training.precision import Precision

    config = _config(file.parent, kind=ModelConfig)
    net, _ = model.load(file.parent)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision, threads = Precision(device, None), torch.get_num_threads()
    net.to(device)

    def logits(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        before = torch.get_num_threads()  # looking for faces takes one
        torch.set_num_threads(threads)
        try:
            return predict(net, faces, precision=precision)
        finally:
            torch.set_num_threads(before)

    return Model(given, "weights", file, str(file), None, config, _finite(logits, str(file)))


def _finite(logits: Logits, origin: str) -> Logits:
    def checked(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = logits(faces)
        if not np.isfinite(found).all():
            raise FeropsError(f"{origin} gives logits that are not finite: the training or the export went wrong")
        return found

    return checked
