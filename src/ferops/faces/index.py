"""The tables of the preprocess stage: the images it reads, and what it writes about them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ferops.config import Preprocess
from ferops.errors import FeropsError
from ferops.faces.status import HELD_BACK
from ferops.faces.unfinished import OTHER, RECORD, STATUSES, Unfinished
from ferops.layout import Layout
from ferops.tables import Kind, read_parquet

ROW_GROUP = 65_536
"""Rows of faces.parquet that are written, and so held in memory, at once."""

_FLOATS = ["score", "box_x1", "box_y1", "box_x2", "box_y2"]
_MANIFEST: dict[str, Kind] = {"image_id": "text", "label": "text", "source": "text", "usage": "text or null"}
_ASSIGNMENT: dict[str, Kind] = {"image_id": "text", "split": "text", "group": "text"}
_LANDMARKS = pa.list_(pa.float32())
_OTHER_FACES = pa.schema(
    [
        ("image_id", pa.string()),
        ("rank", pa.int64()),
        *((name, pa.float64()) for name in _FLOATS),
        ("landmarks", _LANDMARKS),
        ("face_px", pa.float64()),
    ]
)


def read_index(layout: Layout, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the manifest with `split`, `group` and `label_index`, without rows that belong to no split."""
    manifest = read_parquet(layout.manifest, _MANIFEST, made_by="ferops validate", unique="image_id")
    assignment = read_parquet(layout.assignment, _ASSIGNMENT, made_by="ferops split", unique="image_id")
    index = manifest.merge(assignment[["image_id", "split", "group"]], on="image_id", how="inner", validate="1:1")
    if len(index) < len(assignment):
        raise FeropsError(
            f"{layout.assignment} names {len(assignment) - len(index)} images that {layout.manifest} lacks: it was "
            "made from another manifest. Run again: ferops split"
        )
    odd = sorted(set(index["label"]) - set(classes))
    if odd:
        raise FeropsError(
            f"{layout.manifest} has labels that are not in data.classes: {', '.join(odd)}. Run again: ferops validate"
        )
    index["label_index"] = index["label"].map({label: i for i, label in enumerate(classes)}).astype("int64")
    return index


class Places:
    """Where the images of the index are in it, by their ids; 72 bytes an image."""

    def __init__(self, ids: pd.Series[str]) -> None:
        self.ids = np.empty(len(ids), "S64")  # SHA-256, hex
        for start in range(0, len(ids), ROW_GROUP):
            self.ids[start : start + ROW_GROUP] = ids.iloc[start : start + ROW_GROUP].to_numpy(str)
        self._order = np.argsort(self.ids)

    def of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the places of `ids`, -1 where the index has no such image."""
        wanted = np.array(ids, "S64")
        found = self._order[np.searchsorted(self.ids, wanted, sorter=self._order).clip(max=len(self.ids) - 1)]
        return np.where(self.ids[found] == wanted, found, -1)


def with_results(index: pd.DataFrame, work: Unfinished) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the index with what the report needs to know of each image, and where each image is among the shards'."""
    order = np.empty(len(index), np.int64)
    columns = {name: np.empty(len(index), RECORD[name]) for name in ("status", "searched", "faces_found", "row")}
    start = 0
    for rows in work.chunks("images"):
        order[rows["place"]] = np.arange(start, start + len(rows))
        for name, column in columns.items():
            column[rows["place"]] = rows[name]
        start += len(rows)
    columns["status"] = np.array(STATUSES)[columns["status"]]
    return index.assign(**columns), order


def write_faces(path: Path, index: pd.DataFrame, work: Unfinished, order: NDArray[np.int64]) -> None:
    """Write faces.parquet, a row group at a time."""
    own = pa.Schema.from_pandas(index, preserve_index=False)
    with ExitStack() as stack:
        writer = None
        for start in range(0, len(index), ROW_GROUP):
            rows = work.rows("images", order[start : start + ROW_GROUP])
            faces = index.iloc[start : start + ROW_GROUP].assign(**_columns(rows))
            schema = pa.schema([*own, *pa.Schema.from_pandas(faces[faces.columns[len(own) :]], preserve_index=False)])
            table = pa.Table.from_pandas(faces, schema=schema.remove_metadata(), preserve_index=False)
            place = list(faces.columns).index("box_y2") + 1
            table = table.add_column(place, "landmarks", _landmarks(rows, rows["located"]))
            writer = writer or stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)


def write_others(path: Path, index: pd.DataFrame, work: Unfinished) -> None:
    """Write other_faces.parquet."""
    with pq.ParquetWriter(path, _OTHER_FACES) as writer:
        for rows in work.chunks("others"):
            columns = {name: rows[name] for name in _OTHER_FACES.names if name in (OTHER.names or ())}
            columns["image_id"] = index["image_id"].iloc[rows["place"]]
            columns["landmarks"] = _landmarks(rows, np.ones(len(rows), bool))
            writer.write_table(pa.table({name: columns[name] for name in _OTHER_FACES.names}, _OTHER_FACES))


def _columns(rows: NDArray[Any]) -> dict[str, Any]:
    """Return what faces.parquet adds to the index, without the landmarks."""
    named = [name for name in RECORD.names or () if name not in ("place", "located", "landmarks")]
    return {name: np.array(STATUSES)[rows[name]] if name == "status" else rows[name] for name in named}


def _landmarks(rows: NDArray[Any], located: NDArray[np.bool_]) -> pa.Array:
    """Ten numbers for each row, or null."""
    offsets = np.concatenate([[0], np.cumsum(located * 10)]).astype(np.int32)
    values = pa.array(rows["landmarks"][located].reshape(-1))
    return pa.ListArray.from_arrays(pa.array(offsets, mask=np.append(~located, False)), values).cast(_LANDMARKS)


def held_back(faces: pd.DataFrame, work: Unfinished, order: NDArray[np.int64], settings: Preprocess) -> pd.DataFrame:
    """Return quarantine.parquet: the rows of `faces` without a face to train on, each with the reason in words."""
    held = faces["status"].isin(HELD_BACK).to_numpy()
    rows = faces[held]
    table = rows[["image_id", "source", "label", "usage", "split"]].assign(reason=rows["status"].astype("str"))
    nothing = f"the detector found no face with a confidence of at least {settings.min_confidence:g}"
    small = f"below preprocess.min_face_px, {settings.min_face_px:g}"
    table["detail"] = [
        nothing if status == "no_face" else f"the face is {face_px:.0f} px wide and high, {small}"
        for status, face_px in zip(table["reason"], work.rows("images", order[held])["face_px"], strict=True)
    ]
    return table.reset_index(drop=True)


def require_every_class(faces: pd.DataFrame) -> None:
    """Raise FeropsError if all images of a class were held back: a model could not learn that class."""
    for label, rows in faces.groupby("label"):
        if rows["status"].isin(HELD_BACK).all():
            why = {str(reason): int(count) for reason, count in rows["status"].value_counts().items()}
            raise FeropsError(
                f"not one of the {len(rows)} images labelled {label} shows a face that is large enough ({why}), so "
                f"a model could not learn this class. If {sorted(rows['source'].unique())} are face crops, list them "
                "in preprocess.tight_sources; otherwise lower preprocess.min_confidence or preprocess.min_face_px"
            )
