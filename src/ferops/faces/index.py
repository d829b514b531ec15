"""The tables of the preprocess stage: the images it reads, and what it writes about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferops.config import Preprocess
from ferops.errors import FeropsError
from ferops.faces.status import HELD_BACK
from ferops.layout import Layout
from ferops.tables import Kind, read_parquet

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


def write_faces(path: Path, faces: pd.DataFrame) -> None:
    """Write faces.parquet."""
    # Arrow would infer a column of nulls where no image has landmarks
    landmarks = pa.array(faces["landmarks"].tolist(), _LANDMARKS)
    table = pa.Table.from_pandas(faces.drop(columns="landmarks"), preserve_index=False)
    place = list(faces.columns).index("landmarks")
    pq.write_table(table.add_column(place, "landmarks", landmarks), path)


def write_others(path: Path, others: list[dict[str, Any]]) -> None:
    """Write other_faces.parquet."""
    pq.write_table(pa.Table.from_pylist(others, schema=_OTHER_FACES), path)


def held_back(faces: pd.DataFrame, settings: Preprocess) -> pd.DataFrame:
    """Return quarantine.parquet: the rows of `faces` without a face to train on, each with the reason in words."""
    rows = faces[faces["status"].isin(HELD_BACK)]
    table = rows[["image_id", "source", "label", "usage", "split"]].assign(reason=rows["status"])
    nothing = f"the detector found no face with a confidence of at least {settings.min_confidence:g}"
    small = f"below preprocess.min_face_px, {settings.min_face_px:g}"
    table["detail"] = [
        nothing if status == "no_face" else f"the face is {face_px:.0f} px wide and high, {small}"
        for status, face_px in zip(rows["status"], rows["face_px"], strict=True)
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
