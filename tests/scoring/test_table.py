from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.manifest import make_row
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.scoring.table import Table, read_table
from sample_images import noise_png, write_source


def read(path: Path) -> Table:
    return read_table(path).judged_by(DEFAULT_CLASSES)


def foreign(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_raw_data_of_ferops(tmp_path: Path) -> None:
    labels = ["happy", "neutral", None, "sad"]
    layout = Layout(tmp_path)
    images = [noise_png(seed) for seed in range(4)]
    rows = [
        make_row(image, source="fer2013", label=label, usage="test", subject=f"s{i}")
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    write_source(layout, "fer2013", rows)
    table = read(layout.source("fer2013"))
    assert table.rows["class"].tolist() == ["happy", None, None, "sad"]
    assert table.rows["label"].tolist() == labels
    assert table.rows["source"].tolist() == ["fer2013"] * 4
    assert table.rows["subject"].tolist() == ["s0", "s1", "s2", "s3"]
    assert table.rows["cluster"].isna().all()
    assert table.renamed == {}
    # Only what will be judged is read, and it is read in batches without losing the place
    assert list(table.images(at_once=1)) == list(table.images()) == [(0, images[0]), (3, images[3])]


def test_a_foreign_file_needs_images_and_labels_alone(tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "mine.parquet",
        image=pa.array([b"a", None, b"c"], pa.large_binary()),
        label=pa.array(["Angry", "surprise", "bored"]).dictionary_encode(),
        subject=pa.array([3, None, 3]),
    )
    table = read(path)
    assert table.rows["class"].tolist() == ["anger", "surprised", None]
    assert table.renamed == {"Angry": "anger", "surprise": "surprised"}
    assert table.rows["subject"].tolist() == ["3", None, "3"]
    assert pd.isna(table.rows["source"]).all()
    assert list(table.images()) == [(0, b"a"), (1, b"")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["happy"]}, "lacks the column image; it has: label"),
        ({"image": [b"x"], "emotion": ["happy"]}, "lacks the column label; it has: image, emotion"),
        ({"pixels": ["1 2 3"]}, "lacks the column image and label"),
        ({"image": ["/photos/1.jpg"], "label": ["happy"]}, "column image .* holds string.*encoded images"),
        ({"image": [b"x"], "label": [3]}, "column label .* holds int64. Supported: text"),
        (
            {"image": [b"x", b"y"], "label": ["neutral", "bored"]},
            r"no image of the model's classes: anger.*Its labels are: bored, neutral",
        ),
        ({"image": [b"x"], "label": pa.array([None], pa.string())}, "Its labels are: all null"),
        ({"image": [b"x"], "label": pa.nulls(1)}, "Its labels are: all null"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())}, "has no rows"),
    ],
)
def test_what_cannot_be_scored_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = foreign(tmp_path / "odd.parquet", **columns)
    with pytest.raises(FeropsError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_no_parquet_file(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"nowhere\.parquet does not exist"):
        read(tmp_path / "nowhere.parquet")
    with pytest.raises(FeropsError, match="is a folder"):
        read(tmp_path)
    text = tmp_path / "fer2013.csv"
    text.write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    with pytest.raises(FeropsError, match="damaged or not a Parquet file"):
        read(text)
    text.write_bytes(b"")
    with pytest.raises(FeropsError, match="damaged or not a Parquet file"):
        read(text)


def test_a_file_cut_short_and_one_with_spoilt_images(tmp_path: Path) -> None:
    path = foreign(tmp_path / "whole.parquet", image=[noise_png(seed) for seed in range(30)], label=["sad"] * 30)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FeropsError, match="damaged or not a Parquet file"):
        read(path)
    path.write_bytes(data[:4] + bytes(40) + data[44:])  # where the column of images begins
    table = read(path)  # the labels are sound
    with pytest.raises(FeropsError, match="damaged or not a Parquet file"):
        list(table.images())
