"""The faces of one split, as the stage `preprocess` packed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ferops.config import Sampling
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.tables import Kind, read_array, read_parquet
from ferops.training.faces import OTHERS, Faces, by_source, drawing_weights, logit_offsets, soft_targets


def read_faces(layout: Layout, split: str) -> Faces:
    """Read the faces of `split` (`train`, `val` or `test`).

    Raises:
        FeropsError: the stage `preprocess` has not run, the split is empty, or array and table do not fit each other.
    """
    path = layout.faces(split)
    images = read_array(path, made_by="dvc repro preprocess", mmap=True)
    rows = _rows(layout, split, ["label_index"])
    if not np.array_equal(rows["row"].to_numpy(), np.arange(len(images))):
        raise FeropsError(
            f"{path} holds {len(images)} faces, and {layout.face_index} lists {len(rows)} for {split}: they come from "
            "different runs. Make them again: dvc repro --force preprocess"
        )
    if not len(images):
        raise FeropsError(
            f"the {split} split has no faces. reports/preprocess shows what the detector left out; or raise the share "
            "of the split in the block `split` of params.yaml"
        )
    return Faces(images, rows["label_index"].to_numpy(np.int64, copy=True))  # pandas hands out read-only memory


def read_targets(
    layout: Layout, split: str, faces: Faces, classes: Sequence[str], *, votes: float
) -> NDArray[np.float32]:
    """Return what the loss learns of `faces`, float32 `(N, K)` with rows that sum to 1.

    These are 0 and 1 by the label. Where annotators voted for any of the classes, their shares of these votes count
    `votes` (0-1), and the label the rest.

    Raises:
        FeropsError: a class has no face, a label is none of the classes, or `votes` and no face has any.
    """
    counts = np.bincount(faces.labels, minlength=len(classes))
    if len(counts) > len(classes):
        raise FeropsError(
            f"the faces were packed for at least {len(counts)} classes, and data.classes lists {len(classes)}: "
            f"{', '.join(classes)}. Make them again: dvc repro preprocess"
        )
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:  # nothing could be learnt of it, nor could it be weighted
        raise FeropsError(
            f"the {split} split has no face labelled {', '.join(missing)}. Add images of it, take it out of "
            "data.classes, or see reports/preprocess for faces that the detector left out"
        )
    hard = np.eye(len(classes), dtype=np.float32)[faces.labels]
    if not votes:
        return hard
    columns = [f"votes_{name}" for name in classes]
    cast = np.zeros_like(hard)
    if set(columns) <= set(pq.read_schema(layout.face_index).names):
        cast = _rows(layout, split, columns)[columns].astype("Float64").fillna(0).to_numpy(np.float32)
    if not cast.any():
        raise FeropsError(
            f"train.votes is {votes:g}, but no face has annotators' votes. Import a source with votes (FER2013 with "
            "FERPlus, docs/sources.md), or set train.votes: 0.0"
        )
    return soft_targets(hard, cast, votes=votes)


def read_sources(layout: Layout, split: str) -> NDArray[np.str_]:
    """Return the name of the source of each face of `split`, `(N,)`."""
    return _rows(layout, split, ["source"])["source"].to_numpy(str)


def read_sampling(
    layout: Layout, split: str, faces: Faces, targets: NDArray[np.float32], sampling: Mapping[str, Sampling]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float32] | None]:
    """Return how often each of `faces` is drawn, `(N,)` up to scale, and what is added to its logits, `(N, K)`.

    None where all are drawn alike, and where nothing is added (`logit_offsets`). A source that `sampling` does not name
    has weight 1 and balance 0, unless OTHERS stands for it.

    Raises:
        FeropsError: a source of `sampling` has no face.
    """
    if not sampling:
        return None, None
    sources = read_sources(layout, split)
    unknown = sorted(set(sampling) - set(sources) - {OTHERS})
    if unknown:
        raise FeropsError(
            f"train.sampling names {', '.join(unknown)}, of which the {split} split has no face; it has "
            f"{', '.join(sorted(set(sources)))}. Correct it, or add the source to data.sources"
        )
    sampling = by_source(sampling, sources)
    weights = drawing_weights(faces.labels, sources, sampling)
    return weights, logit_offsets(targets, sources, weights, sampling)


def _rows(layout: Layout, split: str, columns: list[str]) -> pd.DataFrame:
    """Return these columns of faces.parquet, and `row`, in the order of the packed faces of `split`."""
    known: dict[str, Kind] = {"split": "text", "row": "whole", "source": "text", "label_index": "whole"}
    kinds = {name: known.get(name, "number or null") for name in ("split", "row", *columns)}  # votes_<name>
    table = read_parquet(layout.face_index, kinds, made_by="dvc repro preprocess")[list(kinds)]
    return table[(table["split"] == split) & (table["row"] >= 0)].sort_values("row")
