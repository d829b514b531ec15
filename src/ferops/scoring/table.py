"""The file of labelled images: raw data of ferops (docs/files.md), or any Parquet file with `image` and `label`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferops.classes import canonical
from ferops.errors import FeropsError
from ferops.tables import MAX_TEXT

WANTED = "a Parquet file with the columns image (encoded images) and label (text): docs/scoring.md"
FACTS = ("label", "source", "usage", "subject", "cluster")
"""Columns that are read as text beside the images; all but the label are optional."""

_BINARY = (pa.binary(), pa.large_binary(), pa.binary_view())
_TEXT = (pa.string(), pa.large_string(), pa.string_view(), pa.null())
_READ_AHEAD_BYTES = 2**20  # of a column at a time: a foreign file may hold all of its images in one row group


@dataclass(frozen=True, eq=False)  # frames have no single truth value to compare by
class Table:
    """What is known of each row without its image.

    Attributes:
        path: the file.
        rows: one for each row of the file, with the columns FACTS (None where the file says nothing) and `class`: the
            class of the model that the label means, or None.
        classes: of the model, those that occur, in the model's order.
        renamed: label as found -> the class that it means, where they differ.
    """

    path: Path
    rows: pd.DataFrame
    classes: tuple[str, ...] = ()
    renamed: dict[str, str] | None = None

    def judged_by(self, classes: Sequence[str]) -> Table:
        """Return the table with the classes that a model answers.

        Raises:
            FeropsError: no label means one of `classes`.
        """
        names = {canonical(name): name for name in classes}
        labels = {label: names.get(canonical(label)) for label in self.rows["label"].dropna().unique()}
        column = pd.Series([labels.get(label) for label in self.rows["label"]], dtype=object)
        if column.isna().all():
            raise FeropsError(
                f"{self.path} has no image of the model's classes: {', '.join(classes)}. Its labels are: "
                f"{', '.join(sorted(labels)[:10]) or 'all null'}"
            )
        return replace(
            self,
            rows=self.rows.assign(**{"class": column}),
            classes=tuple(name for name in classes if name in labels.values()),
            renamed={label: name for label, name in labels.items() if name not in (None, label)},
        )

    def images(self, *, at_once: int = 64) -> Iterator[tuple[int, bytes]]:
        """Yield (row, encoded image) of the rows with a class, in order; empty bytes where there is none."""
        wanted = self.rows["class"].notna().to_numpy()
        start = 0
        with _readable(self.path):
            file = pq.ParquetFile(self.path, buffer_size=_READ_AHEAD_BYTES)
            for batch in file.iter_batches(batch_size=at_once, columns=["image"]):
                for place in wanted[start : start + len(batch)].nonzero()[0].tolist():
                    yield start + place, batch.column(0)[place].as_py() or b""
                start += len(batch)


def read_table(path: Path) -> Table:
    """Read all but the images of a file.

    Raises:
        FeropsError: the file is missing, empty or not Parquet, or a column is missing or has another type.
    """
    if not path.is_file():
        raise FeropsError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}. --data is {WANTED}")
    with _readable(path):
        file = pq.ParquetFile(path)
        _require_columns(path, file.schema_arrow)
        there = [name for name in FACTS if name in file.schema_arrow.names]
        found = {name: _texts(file.read(columns=[name]).column(0), name, path) for name in there}
    count = file.metadata.num_rows
    if not count:
        raise FeropsError(f"{path} has no rows. --data is {WANTED}")
    return Table(path, pd.DataFrame({name: found.get(name, [None] * count) for name in FACTS}, dtype=object))


def read_groups(path: Path) -> pd.DataFrame:
    """Return the columns `group_*` of a file that `read_table` has read, as text, a row for each of its rows."""
    with _readable(path):
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name.startswith("group_")]
        found = {name: _texts(file.read(columns=[name]).column(0), name, path) for name in names}
    return pd.DataFrame(found, index=pd.RangeIndex(file.metadata.num_rows), dtype=object)


def _texts(column: pa.ChunkedArray, name: str, path: Path) -> list[str | None]:
    texts = [None if value is None else str(value) for value in column.to_pylist()]
    if any(text is not None and len(text) > MAX_TEXT for text in texts):
        raise FeropsError(
            f"the column {name} of {path} has a text of more than {MAX_TEXT} characters. --data is {WANTED}"
        )
    return texts


def _require_columns(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in ("image", "label") if name not in schema.names]
    if missing:
        raise FeropsError(
            f"{path} lacks the column {' and '.join(missing)}; it has: {', '.join(schema.names) or 'none'}. "
            f"--data is {WANTED}"
        )
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise FeropsError(f"{path} has the columns {twice} more than once. --data is {WANTED}")
    image, label = schema.field("image").type, schema.field("label").type
    if image not in _BINARY:
        raise FeropsError(f"the column image of {path} holds {image}. Supported: encoded images (PNG, JPEG), as binary")
    if (label.value_type if pa.types.is_dictionary(label) else label) not in _TEXT:
        raise FeropsError(f"the column label of {path} holds {label}. Supported: text such as happy, or null")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FeropsError(f"{path} is damaged or not a Parquet file ({reason}). --data is {WANTED}") from error
