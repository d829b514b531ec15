"""The raw Parquet file of one source: its columns, a writer that streams, and what is checked on the way in.

The columns are described in docs/files.md. Readers yield one dict a row; `make_row` fills in what follows from the
image.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferops.classes import CLASS_NAME, KNOWN_LABELS, canonical
from ferops.datasets.images import header_size
from ferops.errors import FeropsError

COLUMNS: dict[str, pa.DataType] = {
    "image_id": pa.string(),
    "image": pa.binary(),
    "label": pa.string(),
    "source": pa.string(),
    "usage": pa.string(),
    "subject": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
}
"""The columns that every raw file has, in this order; extra ones follow by name."""

EXTRA_PREFIXES = ("group_", "votes_", "truth_")

LABELS = KNOWN_LABELS
USAGES = ("train", "val", "test")

ROW_GROUP_ROWS = 2048
ROW_GROUP_BYTES = 32 * 2**20
"""A row group ends at whichever comes first, so that neither writing nor reading holds more than this of the images."""

FILE_BYTES = 2**30
"""A source goes on in a further file when the images in one reach this; DVC and people move pieces more easily."""

READER_KEY = b"ferops.reader"
"""Metadata of a raw file: which reader made it, where that is not its source's name."""

NULLABLE = ("label", "usage", "subject")


def make_row(
    image: bytes,
    *,
    source: str,
    label: str | None,
    usage: str | None = None,
    subject: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return one raw row: `image` as encoded by the source, its SHA-256 and the size in its header.

    `more` holds `group_<name>` (text), `votes_<class>` (whole numbers) and `truth_<name>` (what a renderer knows: text,
    numbers, or lists of numbers); every row of a source has the same ones.
    """
    width, height = header_size(image)
    return {
        "image_id": hashlib.sha256(image).hexdigest(),
        "image": image,
        "label": label,
        "source": source,
        "usage": usage,
        "subject": subject,
        "width": width,
        "height": height,
        **more,
    }


def write(
    path: Path,
    rows: Iterable[dict[str, Any]],
    *,
    source: str,
    reader: str | None = None,
    file_bytes: int = FILE_BYTES,
) -> dict[str, int]:
    """Stream `rows` to a new Parquet file at `path` and, above `file_bytes` of images, to further ones beside it (see
    `shard_path`). Return the number of rows per label (`""` for null). A `reader` that is not called as the source is
    noted in the file (`READER_KEY`).

    Memory is bounded by one row group. The caller makes the write atomic.

    Raises:
        FeropsError: a row does not have the form of docs/files.md, or there is no row at all.
    """
    counts: Counter[str] = Counter()
    schema: pa.Schema | None = None
    writer: pq.ParquetWriter | None = None
    number, size = 0, 0
    try:
        for batch in _batches(rows, source=source):
            schema = schema or schema_of(batch)
            if reader not in (None, source):
                schema = schema.with_metadata({READER_KEY: reader})
            if writer is not None and size >= file_bytes:
                writer.close()
                writer, number, size = None, number + 1, 0
            writer = writer or open_writer(shard_path(path, number), schema)
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            size += sum(len(row["image"]) for row in batch)
            counts.update(row["label"] or "" for row in batch)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise FeropsError(f"{source}: the reader found no image. Check the path and the release that it expects")
    return dict(counts)


def shard_path(path: Path, number: int) -> Path:
    """Return where the file `number` of a source lies: `path` itself for 0, `<stem>-001.parquet` for 1."""
    return path if number == 0 else path.with_stem(f"{path.stem}-{number:03d}")


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a raw file to write."""
    # Encoded images do not compress again, and a dictionary of unique bytes only costs memory.
    compression = {name: "none" if name == "image" else "zstd" for name in schema.names}
    dictionary = [name for name in schema.names if name not in ("image", "image_id")]
    return pq.ParquetWriter(path, schema, compression=compression, use_dictionary=dictionary)


def schema_of(rows: list[dict[str, Any]]) -> pa.Schema:
    """Return the Arrow schema of a source whose rows look like `rows`, the first of its row groups."""
    fields = [pa.field(name, kind, nullable=name in NULLABLE) for name, kind in COLUMNS.items()]
    fields += [pa.field(name, _extra_type(name, rows)) for name in sorted(set(rows[0]) - set(COLUMNS))]
    return pa.schema(fields)


def _extra_type(name: str, rows: list[dict[str, Any]]) -> pa.DataType:
    if name.startswith("truth_"):
        return pa.infer_type([row[name] for row in rows])
    return pa.int32() if name.startswith("votes_") else pa.string()


def check_row(row: dict[str, Any], *, source: str, columns: set[str], position: int) -> None:
    """Raise FeropsError unless `row` has exactly `columns`, well formed, and belongs to `source`."""
    problem = _form_problem(row, source=source, columns=columns)
    if problem:
        raise FeropsError(f"{source}, row {position}: {problem}. The form of a row is described in docs/files.md")


def _form_problem(row: dict[str, Any], *, source: str, columns: set[str]) -> str | None:
    keys = set(row)
    odd = sorted(key for key in keys - set(COLUMNS) if not key.startswith(EXTRA_PREFIXES))
    checks = (
        (set(COLUMNS) <= keys, f"columns are missing: {sorted(set(COLUMNS) - keys)}"),
        (not odd, f"unknown columns {odd}; extra ones are named group_<name>, votes_<class> or truth_<name>"),
        (keys == columns, f"its columns differ from the first row's: {sorted(keys ^ columns)}"),
    )
    for holds, problem in checks:
        if not holds:
            return problem
    image = row["image"]
    if not isinstance(image, bytes) or row["image_id"] != hashlib.sha256(image).hexdigest():
        return f"image_id {row['image_id']!r} is not the SHA-256 of the image's bytes"
    if row["source"] != source:
        return f"its source is {row['source']!r}"
    label = row["label"]
    if label is not None and (canonical(label) != label or not CLASS_NAME.fullmatch(label)):
        return f"label {label!r} is not one of {', '.join(LABELS)}, nor a class of one's own (pain, no_pain), nor null"
    if row["usage"] is not None and row["usage"] not in USAGES:
        return f"usage {row['usage']!r} is not one of {', '.join(USAGES)}, nor null"
    return None


def _batches(rows: Iterable[dict[str, Any]], *, source: str) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    columns: set[str] | None = None
    for position, row in enumerate(rows):
        columns = columns or set(row)
        check_row(row, source=source, columns=columns, position=position)
        batch.append(row)
        size += len(row["image"])
        if len(batch) >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
