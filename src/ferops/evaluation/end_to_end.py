"""The test images as the service answers them: searched, aligned and classified by the Predictor.

All other figures are measured on the packed faces of artifacts/preprocess, which leaves out how often the service
finds no face, or takes another one than the label means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from ferops.datasets.raw import open_raw
from ferops.errors import FeropsError
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.metrics import ratio
from ferops.faces.detect import is_plausible
from ferops.faces.detection import Detection
from ferops.faces.photo import Photo
from ferops.inference.measures import MEASURES, measures
from ferops.inference.prediction import Face
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.records.metrics import EndToEnd, Interval

BATCH, BATCH_PX = 64, 16_000_000  # decoded images of one call of the Predictor: at most 64, and 48 MB where possible

SAME_FACE = 0.5
"""Landmarks that lie off by more than this share of the largest distance between the true ones, on average, are
those of another face, or of none. Detectors are off by about 0.05, the next face by 1 or more."""

TRUTH = "truth_landmarks"
"""The column of raw data with the true landmarks of rendered faces: x and y of five points, in pixels."""

UNKNOWN_FACE = "the data do not say where the labelled face is"


@dataclass(frozen=True)
class TestImage:
    """A decoded test image; `truth` are the true landmarks `(5, 2)` in pixels, of rendered faces."""

    image_id: str
    photo: Photo
    tight: bool
    truth: NDArray[np.float64] | None

    __test__ = False  # not a pytest class

    def is_wrong(self, face: Face | None, *, rotation: int = 0) -> bool | None:
        """Return whether `face` is another one than the label means; None where the data do not say."""
        if self.truth is None and not self.tight:
            return None
        if face is None:
            return False
        if rotation:  # the data say where the face is in an image that is upright
            return True
        if self.truth is not None:
            distances = np.linalg.norm(self.truth[:, None] - self.truth[None], axis=-1)
            error = np.linalg.norm(face.landmarks - self.truth, axis=-1).mean()
            return bool(error > SAME_FACE * distances.max())
        detection = Detection(np.asarray(face.box, np.float32), face.landmarks, face.detection_score)
        return not is_plausible(detection, self.photo.shape)


def answer_images(layout: Layout, images: pd.DataFrame, predictor: Predictor, *, tight: set[str]) -> pd.DataFrame:
    """Return what `predictor` answers to each of `images`, rows of faces.parquet: one row each, in their order.

    The columns: `image_id`, `status` (`ok`, `no_face`, `low_confidence`: of the preferred face), `answer` and
    `confidence` of that face (null without one), `wrong_face`: whether it is another one than the label means
    (null where the data do not say), and the label, `p_<class>` and `ferops.inference.measures` of the face: what the
    service logs, so that its traffic can be compared.

    Args:
        tight: the sources whose images are crops around a face.

    Raises:
        FeropsError: the raw data lack one of the images.
    """
    answers: dict[str, dict[str, Any]] = {}
    with tqdm(total=len(images), desc="end to end", unit="image", mininterval=1.0, smoothing=0.1) as bar:
        for batch in _batches(read_images(layout, images, tight)):
            predictions = predictor.predict([image.photo for image in batch])
            for image, prediction in zip(batch, predictions, strict=True):
                face = prediction.faces[0] if prediction.faces else None
                answers[image.image_id] = {
                    **_answer(face, prediction.classes),
                    "wrong_face": image.is_wrong(face, rotation=prediction.rotation),
                }
            bar.update(len(batch))
    table = pd.DataFrame([answers[image_id] for image_id in images["image_id"]])
    table["wrong_face"] = table["wrong_face"].astype("boolean")
    numbers = table.columns.difference(["status", "answer", "wrong_face"])
    table[numbers] = table[numbers].astype(np.float64)  # all null where no image has a face
    table.insert(0, "image_id", images["image_id"].to_numpy())
    return table.assign(label=images["label"].to_numpy())


def _answer(face: Face | None, classes: tuple[str, ...]) -> dict[str, Any]:
    columns = [f"p_{name}" for name in classes]
    if face is None:
        return {"status": "no_face", "answer": None, **dict.fromkeys(("confidence", *MEASURES, *columns), np.nan)}
    shares = zip(columns, face.probabilities.tolist(), strict=True)
    return {
        "status": face.status,
        "answer": face.label,
        "confidence": face.confidence,
        **measures(face),
        **dict(shares),
    }


def end_to_end(images: pd.DataFrame, answers: pd.DataFrame, packed: pd.Series[str], resampler: Resampler) -> EndToEnd:
    """Return the figures of `answer_images`.

    Args:
        images: the rows that were answered, with their `label`.
        packed: what the candidate answers to the packed faces, by image_id.
        resampler: draws from the clusters of `images`.
    """
    status, ok = answers["status"].to_numpy(), answers["status"].to_numpy() == "ok"
    known = answers["wrong_face"].notna().to_numpy()
    wrong_face = answers["wrong_face"].fillna(False).to_numpy(bool)
    right = (answers["answer"].to_numpy() == images["label"].to_numpy()) & ~wrong_face
    has_face = answers["image_id"].isin(packed.index).to_numpy()
    agrees = answers["answer"].to_numpy() == answers["image_id"].map(packed).to_numpy()

    def share(hits: NDArray[np.bool_], of: NDArray[np.bool_] | None = None, *, reason: str = "no image") -> Interval:
        rows = np.arange(len(images)) if of is None else np.flatnonzero(of)
        features = np.stack([hits[rows], np.ones(len(rows))], axis=1).astype(np.float64)
        found, n = resampler.totals(features, rows).T
        return resampler.interval(ratio(found, n), clusters=resampler.clusters_in(rows), reason=reason)

    return EndToEnd(
        n=len(images),
        n_face_known=int(known.sum()),
        no_face=share(status == "no_face"),
        wrong_face=share(wrong_face, known, reason=UNKNOWN_FACE),
        low_confidence=share(status == "low_confidence"),
        answered=share(ok),
        accuracy=share(right),
        accuracy_answered=share(right, ok, reason="no image has the status ok"),
        agreement=share(agrees, has_face),
    )


def read_images(layout: Layout, images: pd.DataFrame, tight: set[str]) -> Iterator[TestImage]:
    """Decode `images`, rows of faces.parquet, in the order of the raw data, each once.

    Raises:
        FeropsError: the raw data lack one of them.
    """
    for source, rows in images.groupby("source", sort=True):
        raw = open_raw(layout, str(source))
        columns = [name for name in ("image_id", "image", TRUTH) if name in raw.schema.names]
        left = set(rows["image_id"])
        for batch in raw.batches(columns, rows=BATCH):
            wanted = [image_id in left for image_id in batch.column("image_id").to_pylist()]
            for row in batch.filter(pa.array(wanted, pa.bool_())).to_pylist():
                if row["image_id"] in left:  # raw data may hold an image twice
                    left.discard(row["image_id"])
                    truth = None if row.get(TRUTH) is None else np.reshape(row[TRUTH], (5, 2))
                    yield TestImage(row["image_id"], Photo.decode(row["image"]), source in tight, truth)
        if left:
            raise FeropsError(
                f"{raw.files[0]} lacks {len(left)} images of the test split, {min(left)} for one: the raw data changed "
                "since they were validated. Run the pipeline again: dvc repro"
            )


def _batches(images: Iterator[TestImage]) -> Iterator[list[TestImage]]:
    """Group the images for the Predictor: BATCH of them, fewer where they are large."""
    batch: list[TestImage] = []
    for image in images:
        pixels = sum(each.photo.pixels.size // 3 for each in (*batch, image))
        if batch and (len(batch) == BATCH or pixels > BATCH_PX):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch
