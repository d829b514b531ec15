"""What the stage reads, checked once: the test split, the exported model, the baseline's logits, the histories."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import Evaluate, Tta
from ferops.errors import FeropsError
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.performance import TestSet
from ferops.export.calibration import probabilities
from ferops.export.runtime import Classifier
from ferops.faces.status import KEPT_WHOLE
from ferops.layout import Layout
from ferops.model_config import ModelConfig, read_model_config
from ferops.records.train import Epoch, read_history
from ferops.tables import Kind, read_array, read_parquet

_FACES: dict[str, Kind] = {
    "image_id": "text",
    "label": "text",
    "source": "text",
    "split": "text",
    "group": "text",
    "status": "text",
    "searched": "flag",
    "row": "whole",
}
_BATCH = 64  # faces that are resized at a time


@dataclass(frozen=True)
class Data:
    """The test split with its faces.

    Attributes:
        faces: `(N, S, S, 3)`.
        index: the N rows of faces.parquet in the order of `faces`.
        missed: the rows of the test images that were left out since no face was found.
        everything: the rows of all splits.
    """

    test: TestSet
    faces: NDArray[np.uint8]
    index: pd.DataFrame
    missed: pd.DataFrame
    everything: pd.DataFrame

    @property
    def images(self) -> pd.DataFrame:
        """The rows of all test images, with or without a face."""
        return self.everything[self.everything["split"] == "test"]

    def labelled_as(self, classes: tuple[str, ...]) -> tuple[TestSet, NDArray[np.bool_]]:
        """Return the test set of the images whose label is one of `classes`, and which of the N faces are in it."""
        inside = self.index["label"].isin(classes).to_numpy()
        test = replace(
            self.test,
            classes=classes,
            labels=label_indices(self.index["label"][inside], classes),
            rows=self.test.rows[inside],
            tight=self.test.tight[inside],
            unfound=self.test.unfound[inside],
            missed=self.test.missed[self.missed["label"].isin(classes).to_numpy()],
        )
        return test, inside


@dataclass(frozen=True)
class Answers:
    """A model on the test faces: logits `(N, K)` for its `classes`, and what its config says of answers to them."""

    classes: tuple[str, ...]
    logits: NDArray[np.float32]
    temperature: float
    tta: Tta = "off"
    coverage: float | None = None
    set_threshold: float | None = None
    adjusted_share: float = 0.0

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """`(N, K)`, calibrated, rounded to float32 as they are served."""
        return probabilities(self.logits, self.temperature).astype(np.float64)

    def on(self, classes: tuple[str, ...], inside: NDArray[np.bool_]) -> Answers:
        """Return the answers to the faces `inside`, renormalised over `classes`, which are some of its own."""
        columns = [self.classes.index(name) for name in classes]
        # A softmax over some of the logits is the softmax over all of them, renormalised
        return replace(self, classes=classes, logits=self.logits[inside][:, columns])


def read_data(layout: Layout, settings: Evaluate, classes: tuple[str, ...], *, seed: int) -> Data:
    """Read artifacts/preprocess, labelled with the model's `classes`.

    Raises:
        FeropsError: a file is missing, there is no test face, array and index disagree, a label is not in `classes`, or
            the test split shares a group with another one.
    """
    faces = read_array(layout.faces("test"), made_by="ferops preprocess", mmap=True)
    everything = read_parquet(layout.face_index, _FACES, made_by="ferops preprocess")
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
            f"the test split has {len(images)} images and no face, so there is nothing to evaluate. "
            "Raise split.test_share, or look in reports/preprocess for faces that were not found"
        )
    other = sorted(set(everything["label"]) - set(classes))
    if other:
        raise FeropsError(
            f"{layout.face_index} has images labelled {', '.join(other)}; the model answers {', '.join(classes)}: it "
            "was trained with other data.classes. Run the pipeline again: dvc repro"
        )
    learnt = set(everything[everything["split"] != "test"]["group"])
    crossing = sorted(set(images["group"]) & learnt)
    if crossing:
        raise FeropsError(
            f"{len(crossing)} groups of copies or people are in the test split and in training or validation, such as "
            f"{', '.join(crossing[:3])}: the figures would be too good. Split again: dvc repro --force split"
        )
    whole = index["status"].isin(KEPT_WHOLE)
    test = TestSet(
        classes=classes,
        labels=label_indices(index["label"], classes),
        rows=np.arange(len(index)),
        tight=(whole & ~index["searched"]).to_numpy(),
        unfound=(whole & index["searched"]).to_numpy(),
        missed=np.arange(len(index), len(index) + len(missed)),
        resampler=resampler(pd.concat([index, missed]), settings, seed=seed),
    )
    return Data(test=test, faces=faces, index=index, missed=missed, everything=everything)


def resampler(rows: pd.DataFrame, settings: Evaluate, *, seed: int) -> Resampler:
    """Return the draws of clusters for `rows` of faces.parquet."""
    return Resampler(
        rows["group"].tolist(), samples=settings.bootstrap_samples, seed=seed, level=settings.confidence_level
    )


def exported_answers(classifier: Classifier, faces: NDArray[np.uint8]) -> Answers:
    """Return the answers to `faces` `(N, S, S, 3)`, which are resized where the model wants another size.

    Raises:
        FeropsError: a logit is not finite.
    """
    config = classifier.config
    starts = range(0, len(faces), _BATCH)
    batches = [classifier.logits(_resize(faces[start : start + _BATCH], config.size_px)) for start in starts]
    logits = _require_finite(np.concatenate(batches), origin="the exported model")
    return Answers(
        config.classes,
        logits,
        config.temperature,
        classifier.tta,
        config.coverage,
        config.set_threshold,
        config.adjusted_share,
    )


def baseline_answers(layout: Layout, data: Data, *, taken: bool) -> Answers:
    """Return what the baseline's training saved for the test split.

    Args:
        taken: the baseline was not trained here and may have more classes: its answers are renormalised over those of
            the test split.

    Raises:
        FeropsError: a file is missing, the logits belong to other faces or classes, or one is not finite.
    """
    config = read_model_config(layout.model("baseline"), ModelConfig)
    path = layout.model("baseline") / "test_logits.npy"
    logits = read_array(path, made_by="ferops train baseline")
    needed = (len(data.faces), len(config.classes))
    fits = set(data.test.classes) <= set(config.classes) if taken else config.classes == data.test.classes
    if logits.shape != needed or not fits:
        raise FeropsError(
            f"{path} holds logits of shape {logits.shape} for the classes {', '.join(config.classes)}; the test split "
            f"needs {(len(data.faces), len(data.test.classes))} for {', '.join(data.test.classes)}: it was made from "
            "other data. Run the pipeline again: dvc repro"
        )
    answers = Answers(config.classes, _require_finite(logits, origin=str(path)), config.temperature)
    return answers.on(data.test.classes, np.full(len(logits), fill_value=True))


def histories(layout: Layout) -> dict[str, tuple[Epoch, ...]]:
    """Return the epochs of every model trained, by name; empty where none is left on this machine."""
    found = sorted(layout.artifacts("train").glob("*/history.json"))
    return {path.parent.name: read_history(path, made_by=f"ferops train {path.parent.name}") for path in found}


def label_indices(labels: pd.Series[str], classes: tuple[str, ...]) -> NDArray[np.intp]:
    """Return the place of each label in `classes`."""
    index = {name: number for number, name in enumerate(classes)}
    return np.array([index[label] for label in labels], dtype=np.intp)


def _require_finite(logits: NDArray[np.float32], *, origin: str) -> NDArray[np.float32]:
    if not np.isfinite(logits).all():
        raise FeropsError(f"{origin} gives logits that are not finite: the training or the export went wrong")
    return logits


def _resize(faces: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    if faces.shape[1] == size_px:
        return np.ascontiguousarray(faces)
    import cv2

    how = cv2.INTER_AREA if size_px < faces.shape[1] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(face, (size_px, size_px), interpolation=how) for face in faces])
