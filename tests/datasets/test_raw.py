from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferops.datasets import manifest
from ferops.datasets.manifest import make_row
from ferops.datasets.raw import files_of, open_raw, sources
from ferops.errors import FeropsError
from ferops.layout import Layout
from sample_images import noise_png, write_source


def test_chosen_images_come_back_from_any_row_group(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.data.mkdir()
    rows = [make_row(noise_png(i), source="one", label="sad") for i in range(9)]
    pq.write_table(pa.Table.from_pylist(rows), layout.source("one"), row_group_size=4)
    assert open_raw(layout, "one").images({0, 3, 8}) == {i: noise_png(i) for i in (0, 3, 8)}


def test_a_large_source_goes_on_in_further_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    layout.data.mkdir()
    images = [noise_png(i) for i in range(10)]
    monkeypatch.setattr(manifest, "ROW_GROUP_ROWS", 2)
    rows = [make_row(image, source="one", label="sad") for image in images]
    manifest.write(layout.source("one"), rows, source="one", file_bytes=3 * len(images[0]))
    write_source(layout, "one-more", [make_row(noise_png(99), source="one-more", label="sad")])

    assert [path.name for path in files_of(layout.data, "one")] == ["one.parquet", "one-001.parquet", "one-002.parquet"]
    assert sources(layout) == ["one", "one-more"]
    raw = open_raw(layout, "one")
    assert raw.num_rows == 10
    assert [image for batch in raw.batches(["image"]) for image in batch["image"].to_pylist()] == images
    assert raw.table(["label"]).num_rows == 10
    assert raw.images({1, 5, 9}) == {i: images[i] for i in (1, 5, 9)}


def test_files_of_different_imports_do_not_mix(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_source(layout, "one", [make_row(noise_png(1), source="one", label="sad")])
    other = [make_row(noise_png(2), source="one", label="sad", group_age="old")]
    manifest.write(layout.data / "one-001.parquet", other, source="one")
    with pytest.raises(FeropsError, match=r"\['one-001.parquet'\] in .* remain from another import"):
        open_raw(layout, "one")


def test_a_missing_source_says_what_is_there_and_how_to_import_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_source(layout, "one", [make_row(noise_png(1), source="one", label="sad")])
    said = r"'two' in data.sources.* holds one. It is not a data set that .*fer2013.*folder PATH --name two"
    with pytest.raises(FeropsError, match=said):
        open_raw(layout, "two")
    with pytest.raises(
        FeropsError, match=r"'fer2013' in data.sources.* holds one. Import it: ferops import fer2013 PATH"
    ):
        open_raw(layout, "fer2013")


def test_a_file_that_is_not_a_raw_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.data.mkdir()
    layout.source("one").write_bytes(b"text")
    with pytest.raises(FeropsError, match=r"is damaged or not a Parquet file"):
        open_raw(layout, "one")
    pq.write_table(pa.table({"image": [b"x"], "label": ["sad"]}), layout.source("one"))
    with pytest.raises(FeropsError, match=r"lacks the columns \['image_id', 'source'"):
        open_raw(layout, "one")
