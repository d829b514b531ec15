from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ferops.datasets import manifest
from ferops.errors import FeropsError
from sample_images import noise_png


def _rows(number: int, **more: Any) -> list[dict[str, Any]]:
    return [manifest.make_row(noise_png(seed), source="here", label="fear", **more) for seed in range(number)]


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    image = noise_png(1, size_px=50)
    rows = [
        manifest.make_row(
            image,
            source="here",
            label="fear",
            usage="val",
            subject="p1",
            group_age="old",
            votes_fear=3,
            truth_xy=[0.5, 1.0],
        ),
        manifest.make_row(b"no image", source="here", label=None, group_age=None, votes_fear=None, truth_xy=None),
    ]
    counts = manifest.write(tmp_path / "here.parquet", rows, source="here")
    assert counts == {"fear": 1, "": 1}
    table = pq.read_table(tmp_path / "here.parquet")
    assert table.to_pylist() == rows
    assert table.column_names == [*manifest.COLUMNS, "group_age", "truth_xy", "votes_fear"]
    assert rows[0]["image_id"] == hashlib.sha256(image).hexdigest()
    assert [(row["width"], row["height"]) for row in rows] == [(50, 50), (0, 0)]


def test_a_row_group_is_bounded_by_rows_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "ROW_GROUP_ROWS", 3)
    manifest.write(tmp_path / "rows.parquet", iter(_rows(7)), source="here")
    metadata = pq.ParquetFile(tmp_path / "rows.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 3, 1]
    monkeypatch.setattr(manifest, "ROW_GROUP_BYTES", len(noise_png(0)))
    manifest.write(tmp_path / "bytes.parquet", iter(_rows(2)), source="here")
    assert pq.ParquetFile(tmp_path / "bytes.parquet").num_row_groups == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": "0" * 64}, "not the SHA-256"),
        ({"image": "text"}, "not the SHA-256"),
        ({"source": "there"}, "source is 'there'"),
        ({"label": "joy"}, "label 'joy'"),
        ({"usage": "Training"}, "usage 'Training'"),
        ({"mood": "good"}, "unknown columns \\['mood'\\]"),
        ({"group_age": "old"}, "differ from the first row's: \\['group_age'\\]"),
    ],
)
def test_a_malformed_row_is_refused_with_its_position(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    rows = _rows(2)
    rows[1] |= change
    with pytest.raises(FeropsError, match=rf"here, row 1: .*{said}"):
        manifest.write(tmp_path / "here.parquet", rows, source="here")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    rows = _rows(1)
    del rows[0]["subject"]
    with pytest.raises(FeropsError, match=r"columns are missing: \['subject'\]"):
        manifest.write(tmp_path / "here.parquet", rows, source="here")


def test_no_row_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"found no image"):
        manifest.write(tmp_path / "here.parquet", [], source="here")
    assert not (tmp_path / "here.parquet").exists()
