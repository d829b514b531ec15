"""The faces of one split, as the stage `preprocess` packed them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.files import require
from ferops.layout import Layout
from ferops.model_config import Channels


@dataclass(frozen=True)
class Faces:
    """Faces and labels of one split.

    `images` is uint8 `(N, S, S, 3)` RGB (memory-mapped), `labels` int64 `(N,)`, 0-5, and `votes` float32 `(N, 6)` the
    shares of the annotators' votes for the classes, rows of zeros where there are none; None if no source has votes.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    votes: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size_px(self) -> int:
        return int(self.images.shape[1])

    def targets(self, *, soft: bool) -> NDArray[np.float32]:
        """Return what the loss learns, float32 `(N, 6)`: 0 and 1, or with `soft` the votes' shares where there are any.

        Raises:
            FeropsError: `soft`, and not one face has votes.
        """
        hard = np.eye(len(DEFAULT_CLASSES), dtype=np.float32)[self.labels]
        if not soft:
            return hard
        if self.votes is None or not self.votes.any():
            raise FeropsError(
                "train.soft_labels is on, but none of the faces has annotators' votes. Import a source with votes "
                "(FER2013 with fer2013new.csv of FERPlus, docs/sources.md), or set train.soft_labels: false"
            )
        voted: NDArray[np.float32] = np.where(self.votes.any(axis=1, keepdims=True), self.votes, hard)
        return voted


def read(layout: Layout, split: str) -> Faces:
    """Read the faces of `split` (`train`, `val` or `test`).

    Raises:
        FeropsError: the stage `preprocess` has not run, the split is empty, or array and table do not fit each other.
    """
    path = require(layout.faces(split), made_by="dvc repro preprocess")
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    index = require(layout.face_index, made_by="dvc repro preprocess")
    vote_columns = [f"votes_{name}" for name in DEFAULT_CLASSES]
    voted = set(vote_columns) <= set(pq.read_schema(index).names)
    table = pd.read_parquet(index, columns=["split", "row", "label_index", *(vote_columns if voted else [])])
    rows = table[(table["split"] == split) & (table["row"] >= 0)].sort_values("row")
    if not np.array_equal(rows["row"].to_numpy(), np.arange(len(images))):
        raise FeropsError(
            f"{path} holds {len(images)} faces, and {index} lists {len(rows)} for {split}: they come from different "
            "runs. Make them again: dvc repro --force preprocess"
        )
    if not len(images):
        raise FeropsError(
            f"the {split} split has no faces. Look at reports/preprocess for what the detector left out, or raise the "
            "share of the split in the block `split` of params.yaml"
        )
    labels = rows["label_index"].to_numpy(np.int64, copy=True)  # pandas hands out read-only memory
    return Faces(images, labels, _shares(rows[vote_columns]) if voted else None)


def require_every_class(faces: Faces, *, split: str) -> None:
    """Raise FeropsError naming the classes that `faces` lacks: a class without images cannot be learnt or weighted."""
    counts = np.bincount(faces.labels, minlength=len(DEFAULT_CLASSES))
    missing = [name for name, count in zip(DEFAULT_CLASSES, counts, strict=True) if not count]
    if missing:
        raise FeropsError(
            f"the {split} split has no face labelled {', '.join(missing)}. Add images of it, or look at "
            "reports/preprocess for faces the detector left out"
        )


def channel_statistics(faces: Faces, *, chunk: int = 256) -> tuple[Channels, Channels]:
    """Return mean and standard deviation per RGB channel over all pixels, in units of 0-1."""
    total, squares = np.zeros(3), np.zeros(3)
    for start in range(0, len(faces), chunk):
        values = faces.images[start : start + chunk].reshape(-1, 3)  # uint8
        for channel in range(3):  # a histogram is exact and needs no float copy of the images
            histogram = np.bincount(values[:, channel], minlength=256)
            total[channel] += histogram @ np.arange(256.0)
            squares[channel] += histogram @ np.arange(256.0) ** 2
    count = faces.images[..., 0].size
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1.0))  # at least one grey level: constant faces stay finite
    return _channels(mean / 255.0), _channels(std / 255.0)


def is_grey(faces: Faces, *, chunk: int = 256) -> bool:
    """Return whether no face has any colour: red, green and blue are equal in every pixel."""
    return all(
        bool((part == part[..., :1]).all())
        for part in (faces.images[start : start + chunk] for start in range(0, len(faces), chunk))
    )


def content_hash(*splits: Faces) -> str:
    """Return the SHA-256 of images and labels, hex: the same faces in the same order, the same hash."""
    digest = hashlib.sha256()
    for faces in splits:
        digest.update(repr(faces.images.shape).encode())
        digest.update(np.ascontiguousarray(faces.images).data)
        digest.update(np.ascontiguousarray(faces.labels).data)
        if faces.votes is not None:
            digest.update(np.ascontiguousarray(faces.votes).data)
    return digest.hexdigest()


def _shares(votes: pd.DataFrame) -> NDArray[np.float32]:
    counts = votes.astype("Float64").fillna(0).to_numpy(np.float32)
    shares: NDArray[np.float32] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return shares


def _channels(values: NDArray[np.float64]) -> Channels:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
