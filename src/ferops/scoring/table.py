"""The file of labelled pictures: raw data of ferops (docs/files.md), or any Parquet file with `image` and `label`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.folder import SYNONYMS
from ferops.datasets.manifest import LABELS
from ferops.errors import FeropsError

WANTED = "a Parquet file with the columns image (encoded pictures) and label (text); docs/scoring.md describes it"
FACTS = ("label", "source", "usage", "subject", "cluster")
"""Columns that are read as text beside the pictures; a file may lack all but the label."""

_CLASS_OF = {word: label for label, words in SYNONYMS.items() for word in words}
_READ_AHEAD_BYTES = 2**20  # of a column at a time: a foreign file may hold all of its pictures in one row group


@dataclass(frozen=True, eq=False)  # frames have no single truth value to compare by
class Table:
    """What is known of each row without its picture.

    Attributes:
        path: the file.
        rows: a row for each of the file's, with the columns FACTS (None where the file says nothing) and `class`: the
            one of DEFAULT_CLASSES that the label means, or None.
        renamed: label as found -> the label of ferops that it was taken for.
    """

    path: Path
    rows: pd.DataFrame
    renamed: dict[str, str]

    def pictures(self, *, at_once: int = 64) -> Iterator[tuple[int, bytes]]:
        """Yield (row, encoded picture) of the rows with a class, in order; empty bytes where there is none."""
        wanted = self.rows["class"].notna().to_numpy()
        start = 0
        with _readable(self.path):
            file = pq.ParquetFile(self.path, buffer_size=_READ_AHEAD_BYTES)
            for batch in file.iter_batches(batch_size=at_once, columns=["image"]):
                for place in wanted[start : start + len(batch)].nonzero()[0].tolist():
                    yield start + place, batch.column(0)[place].as_py() or b""
                start += len(batch)


def read(path: Path) -> Table:
    """Read all but the pictures of a file.

    Raises:
        FeropsError: the file is missing, empty or not Parquet, a column lacks or has another type, or no row has a
            label of DEFAULT_CLASSES.
    """
    if not path.is_file():
        raise FeropsError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}. --data is {WANTED}")
    with _readable(path):
        file = pq.ParquetFile(path)
        _require_columns(path, file.schema_arrow)
        there = [name for name in FACTS if name in file.schema_arrow.names]
        found = {name: _texts(file.read(columns=[name]).column(0)) for name in there}
    count = file.metadata.num_rows
    if not count:
        raise FeropsError(f"{path} has no row. --data is {WANTED}")
    rows = pd.DataFrame({name: found.get(name, [None] * count) for name in FACTS}, dtype=object)
    meant = {label: _meaning(label) for label in rows["label"].dropna().unique()}
    classes = [meant.get(label) if meant.get(label) in DEFAULT_CLASSES else None for label in rows["label"]]
    rows["class"] = pd.Series(classes, dtype=object)
    if rows["class"].isna().all():
        raise FeropsError(
            f"no row of {path} has one of the labels {', '.join(DEFAULT_CLASSES)}; its labels are: "
            f"{', '.join(str(label) for label in sorted(meant)[:10]) or 'all null'}"
        )
    return Table(path, rows, {found: label for found, label in meant.items() if label not in (None, found)})


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    return [None if value is None else str(value) for value in column.to_pylist()]


def _meaning(label: str) -> str | None:
    """Return the label of ferops for what a file calls an expression, or None: exactly, or a common word for it."""
    return label if label in LABELS else _CLASS_OF.get(label.strip().casefold())


def _require_columns(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in ("image", "label") if name not in schema.names]
    if missing:
        raise FeropsError(
            f"{path} lacks the column {' and '.join(missing)}; it has: {', '.join(schema.names) or 'none'}. "
            f"--data is {WANTED}"
        )
    image = schema.field("image").type
    if not (pa.types.is_binary(image) or pa.types.is_large_binary(image) or pa.types.is_binary_view(image)):
        raise FeropsError(
            f"the column image of {path} holds {image}, wanted the encoded pictures (PNG, JPEG, ...) as binary"
        )
    label = schema.field("label").type
    if not _is_text(label):
        raise FeropsError(f"the column label of {path} holds {label}, wanted text: {', '.join(LABELS)}, or null")


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        check(kind)
        for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FeropsError(f"{path} is damaged or not a Parquet file ({reason}). --data is {WANTED}") from error
