"""Read the raw rows of a source: data/<source>.parquet, and data/<source>-001.parquet, -002, ... where it is large.

A row's position counts through all of a source's files, so nobody else needs to know how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ferops.datasets.catalogue import SOURCES
from ferops.datasets.manifest import COLUMNS, EXTRA_PREFIXES
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.tables import Kind, readable, require_columns, require_values

_FURTHER = re.compile(r"-\d{3}$")  # as manifest.shard_path writes it


@dataclass(frozen=True)
class Raw:
    """One source: `files` in the order of its rows, and their common `schema`."""

    source: str
    files: tuple[Path, ...]
    schema: pa.Schema
    num_rows: int

    def batches(self, columns: Sequence[str] | None = None, *, rows: int = 256) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, at most `rows` at a time; memory is bounded by a row group."""
        wanted = list(columns or self.schema.names)
        schema = _canonical(self.schema, wanted)
        for path in self.files:
            with readable(path, _again(self.source)):
                # Read ahead, PyArrow would hold all row groups until the last one is read
                for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(batch_size=rows, columns=wanted):
                    yield self._checked(batch.select(wanted), path, schema)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Return `columns` of all rows at once: not for `image`."""
        return pa.Table.from_batches(self.batches(columns, rows=2**16), _canonical(self.schema, columns))

    def _checked(self, batch: pa.RecordBatch, path: Path, schema: pa.Schema) -> pa.RecordBatch:
        """Return the batch in the types of docs/files.md, whatever wrote the file.

        Raises:
            FeropsError: it holds values that docs/files.md does not allow.
        """
        batch.validate(full=True)
        for name, kind in _kinds(schema.names).items():
            require_values(batch.column(name), kind, name, path, remedy=_again(self.source))
        arrays = [column.cast(kind) for column, kind in zip(batch.columns, schema.types, strict=True)]
        if (
            batch.num_rows
            and "source" in schema.names
            and arrays[schema.names.index("source")].unique().to_pylist() != [self.source]
        ):
            raise FeropsError(f"the column source of {path} is not always {self.source}. {_again(self.source)}")
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def images(self, rows: set[int]) -> dict[int, bytes]:
        """Return the encoded images at the positions `rows`, reading only their row groups."""
        found: dict[int, bytes] = {}
        start = 0
        for path in self.files:
            with readable(path, _again(self.source)):
                file = pq.ParquetFile(path)
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    wanted = [row for row in rows if start <= row < stop]
                    if wanted:
                        images = file.read_row_group(group, columns=["image"]).column("image")
                        found |= {row: images[row - start].as_py() or b"" for row in wanted}
                    start = stop
        return found


def sources(layout: Layout) -> list[str]:
    """Return the names of the sources in data/, sorted."""
    return sorted(path.stem for path in layout.data.glob("*.parquet") if not _FURTHER.search(path.stem))


def files_of(folder: Path, source: str) -> list[Path]:
    """Return the Parquet files of `source` in `folder` in the order of their rows; none where there are none."""
    first = folder / f"{source}.parquet"
    further = [path for path in folder.glob(f"{source}-*.parquet") if re.fullmatch(r"-\d{3}", path.stem[len(source) :])]
    return [path for path in (first, *sorted(further)) if path.exists()]


def open_raw(layout: Layout, source: str) -> Raw:
    """Open the raw files of `source`.

    Raises:
        FeropsError: there is none (the message says what is there instead), one is not Parquet, or a column is missing.
    """
    if not layout.source(source).exists():
        raise FeropsError(_missing(layout, source))
    files = files_of(layout.data, source)
    opened = [_open(path, source) for path in files]
    odd = [path.name for path, file in zip(files, opened, strict=True) if file.schema_arrow != opened[0].schema_arrow]
    if odd:
        raise FeropsError(
            f"{odd} in {layout.data} have other columns than {files[0].name}: they remain from another import. "
            f"Import it again: {import_command(source)}"
        )
    rows = sum(file.metadata.num_rows for file in opened)
    if not rows:
        raise FeropsError(f"{files[0]} holds no image. {_again(source)}")
    whole = opened[0].schema_arrow
    schema = pa.schema([field for field in whole if _is_known(field.name)], metadata=whole.metadata)
    return Raw(source, tuple(files), schema, rows)


def _open(path: Path, source: str) -> pq.ParquetFile:
    with readable(path, _again(source)):
        file = pq.ParquetFile(path)
        extra = [name for name in file.schema_arrow.names if name not in COLUMNS and _is_known(name)]
        require_columns(file.schema_arrow, path, _kinds([*COLUMNS, *extra]), remedy=_again(source))
    return file


def _is_known(name: str) -> bool:
    return name in COLUMNS or name.startswith(EXTRA_PREFIXES)


def _kinds(names: Sequence[str]) -> dict[str, Kind]:
    """Return what each of these columns may hold; those of a renderer (truth_) hold what they like."""
    kinds: dict[str, Kind] = {"image_id": "text", "image": "bytes or null", "source": "text"}
    kinds |= {"width": "whole or null", "height": "whole or null"}
    for name in names:
        if name.startswith("votes_"):
            kinds[name] = "whole or null"
        elif name in ("label", "usage", "subject") or name.startswith("group_"):
            kinds[name] = "text or null"
    return {name: kinds[name] for name in names if name in kinds}


def _canonical(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """Return the types of docs/files.md for these columns of a file."""
    types = {name: COLUMNS[name] for name in names if name in COLUMNS}
    types |= {name: pa.string() for name in names if name.startswith("group_")}
    types |= {name: pa.int32() for name in names if name.startswith("votes_")}
    return pa.schema([(name, types.get(name, schema.field(name).type)) for name in names])


def _again(source: str) -> str:
    return f"Import it again: {import_command(source)}"


def import_command(source: str) -> str:
    """Return the command that imports `source`."""
    known = SOURCES.get(source)
    if known is None:
        return f"ferops import folder PATH --name {source}"
    return f"ferops import {source}{' PATH' if known.needs_path else ''}"


def _missing(layout: Layout, source: str) -> str:
    there = ", ".join(sources(layout)) or "nothing"
    remedy = (
        f"Import it: {import_command(source)}, or change data.sources"
        if source in SOURCES
        else f"It is not a data set that ferops knows ({', '.join(SOURCES)}). If it is a folder of your own: "
        f"{import_command(source)}. Otherwise change data.sources"
    )
    return (
        f"params.yaml names the source {source!r} in data.sources, but {layout.source(source)} does not exist; "
        f"{layout.data} holds {there}. {remedy}"
    )
