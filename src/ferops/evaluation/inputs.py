"""What the stage reads, checked once: the test split, the models' answers, the training histories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.cost import Classifies
from ferops.evaluation.judge import TestSet
from ferops.evaluation.metrics import K
from ferops.faces.status import KEPT_WHOLE
from ferops.files import read_json, require
from ferops.layout import Layout

BATCH = 64
Loader = Callable[[Path], Classifies]
"""From a folder with the layout of artifacts/export to a classifier."""


@dataclass(frozen=True)
class Data:
    """The test split with its faces.

    `index` holds the N rows of faces.parquet in the order of `faces` `(N, S, S, 3)`, `missed` the test images that were
    left out since no face was found, `everything` all splits.
    """

    test: TestSet
    faces: NDArray[np.uint8]
    index: pd.DataFrame
    missed: pd.DataFrame
    everything: pd.DataFrame


def read_data(layout: Layout, params: Params) -> Data:
    """Read artifacts/preprocess. Raises FeropsError: missing, no test face, or array and index disagree."""
    faces = np.load(require(layout.faces("test"), made_by="ferops preprocess"), mmap_mode="r")
    everything = pd.read_parquet(require(layout.face_index, made_by="ferops preprocess"))
    images = everything[everything["split"] == "test"]
    index = images[images["row"] >= 0].sort_values("row").reset_index(drop=True)
    missed = images[images["status"] == "no_face"]
    if not np.array_equal(index["row"], np.arange(len(faces))):
        raise FeropsError(
            f"{layout.face_index} and {layout.faces('test')} do not belong together: {len(index)} rows with a face, "
            f"{len(faces)} faces. Make both again: ferops preprocess"
        )
    if not len(faces):
        raise FeropsError(
            f"the test split has {len(images)} images and no face, so there is nothing to judge. "
            "Raise split.test_share, or look at reports/preprocess for faces that were not found"
        )
    resampler = Resampler(
        pd.concat([index["group"], missed["group"]]).tolist(),
        samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
        level=params.evaluate.confidence_level,
    )
    whole = index["status"].isin(KEPT_WHOLE)
    test = TestSet(
        labels=index["label_index"].to_numpy(dtype=np.intp),
        rows=np.arange(len(index)),
        tight=(whole & ~index["searched"]).to_numpy(),
        unfound=(whole & index["searched"]).to_numpy(),
        missed=np.arange(len(index), len(index) + len(missed)),
        resampler=resampler,
    )
    return Data(test=test, faces=faces, index=index, missed=missed, everything=everything)


@dataclass(frozen=True)
class Exported:
    """A folder with the layout of artifacts/export, its configuration and its classifier."""

    folder: Path
    config: dict[str, Any]
    classifier: Classifies

    @property
    def served(self) -> Path:
        return self.folder / str(self.config["served"])

    @property
    def size_px(self) -> int:
        return int(self.config["size_px"])

    @property
    def temperature(self) -> float:
        return float(self.config["temperature"])

    def logits(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return `(N, K)` for `faces` `(N, S, S, 3)`, which are resized where the model wants another size."""
        starts = range(0, len(faces), BATCH)
        batches = [self.classifier.logits(_resize(faces[start : start + BATCH], self.size_px)) for start in starts]
        return _checked(np.concatenate(batches), len(faces), origin=str(self.folder))


def open_export(folder: Path, *, load: Loader, made_by: str = "ferops export") -> Exported:
    """Open an exported model. Raises FeropsError: it is missing, or answers other classes."""
    config = read_json(folder / "config.json", made_by=made_by)
    if tuple(config["classes"]) != DEFAULT_CLASSES:
        raise FeropsError(
            f"{folder} answers the classes {config['classes']}; this project's are {list(DEFAULT_CLASSES)}"
        )
    return Exported(folder=folder, config=config, classifier=load(folder))


def saved_logits(path: Path, n: int) -> NDArray[np.float32]:
    """Return the logits `(n, K)` that a training run saved for the test split."""
    return _checked(np.load(require(path, made_by="ferops train baseline")), n, origin=str(path))


def histories(layout: Layout) -> dict[str, list[dict[str, Any]]]:
    """Return the epochs of every model trained, by name; empty where none is left on this machine."""
    found = sorted(layout.artifacts("train").glob("*/history.json"))
    return {path.parent.name: read_json(path, made_by="ferops train") for path in found}


def _checked(logits: NDArray[np.float32], n: int, *, origin: str) -> NDArray[np.float32]:
    if logits.shape != (n, K):
        raise FeropsError(
            f"{origin} gives logits of shape {logits.shape}, the test split needs {(n, K)}: it was made from other "
            "faces. Run the pipeline again: dvc repro"
        )
    if not np.isfinite(logits).all():
        raise FeropsError(f"{origin} gives logits that are not finite: the training or the export went wrong")
    return logits


def _resize(faces: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    if faces.shape[1] == size_px:
        return np.ascontiguousarray(faces)
    import cv2

    how = cv2.INTER_AREA if size_px < faces.shape[1] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(face, (size_px, size_px), interpolation=how) for face in faces])
