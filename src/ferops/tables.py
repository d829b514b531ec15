"""Parquet and NumPy files as the project's stages hand them on, checked as they are read.

A file that is damaged, or that something else has written, becomes one message; what is returned has the columns and
kinds of values that were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ferops.errors import FeropsError
from ferops.files import require

Kind = Literal["text", "text or null", "bytes or null", "whole", "whole or null", "number or null", "flag"]
"""What a column may hold: whole numbers, any numbers, true or false. Only those that say so may hold nulls."""

MAX_TEXT = 1000
"""Characters of a label, a group or a name."""

_TEXTS = (pa.string(), pa.large_string(), pa.string_view())
_BYTES = (pa.binary(), pa.large_binary(), pa.binary_view())


def read_parquet(path: Path, columns: Mapping[str, Kind], *, made_by: str, unique: str | None = None) -> pd.DataFrame:
    """Read a whole Parquet file that the command `made_by` writes.

    Args:
        columns: those that it must have; others are read as they are.
        unique: a column in which no value may stand twice.

    Raises:
        FeropsError: the file is missing, damaged, lacks a column, or a column holds something else.
    """
    remedy = _again(made_by)
    require(path, made_by=made_by)
    with readable(path, remedy):
        file = pq.ParquetFile(path)
        require_columns(file.schema_arrow, path, columns, remedy=remedy)
        table = file.read()
        table.validate(full=True)
        for name in columns:
            require_values(table.column(name), columns[name], name, path, remedy=remedy)
        frame: pd.DataFrame = table.to_pandas()
    if unique is not None and frame[unique].duplicated().any():
        raise FeropsError(f"{path} has a value twice in its column {unique}. {remedy}")
    return frame


def read_array(path: Path, *, made_by: str, mmap: bool = False) -> NDArray[Any]:
    """Read a .npy file that the command `made_by` writes. Raises FeropsError: it is missing or damaged."""
    require(path, made_by=made_by)
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r") if mmap else _whole(path)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise FeropsError(f"{path} is damaged or not a NumPy file ({_first_line(error)}). {_again(made_by)}") from error
    return array


def _whole(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:  # np.load would open archives and pickles as well
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


@contextmanager
def readable(path: Path, remedy: str) -> Iterator[None]:
    """Turn what goes wrong while a Parquet file is read into a FeropsError that ends with `remedy`."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise FeropsError(f"{path} is damaged or not a Parquet file ({_first_line(error)}). {remedy}") from error


def require_columns(schema: pa.Schema, path: Path, columns: Mapping[str, Kind], *, remedy: str) -> None:
    """Raise FeropsError unless `schema` has all of `columns`, once each, of a type that can hold their kind."""
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise FeropsError(f"{path} lacks the columns {missing}. {remedy}")
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise FeropsError(f"{path} has the columns {twice[:5]} more than once. {remedy}")
    for name, kind in columns.items():
        found = schema.field(name).type
        if not _fits(found, kind):
            raise FeropsError(f"the column {name} of {path} holds {found}, not {kind}. {remedy}")


def require_values(column: Any, kind: Kind, name: str, path: Path, *, remedy: str) -> None:
    """Raise FeropsError if an Arrow column (an array, chunked or not) holds a null or a text that it must not hold."""
    import pyarrow.compute as pc

    if column.null_count and not kind.endswith("null"):
        raise FeropsError(f"the column {name} of {path} has nulls. {remedy}")
    if kind.startswith("text") and not pa.types.is_null(column.type):
        texts = column.cast(pa.string())
        if (pc.max(pc.utf8_length(texts)).as_py() or 0) > MAX_TEXT:
            raise FeropsError(f"the column {name} of {path} has a text of more than {MAX_TEXT} characters. {remedy}")


def _fits(found: pa.DataType, kind: Kind) -> bool:
    types = pa.types
    if types.is_null(found):
        return kind.endswith("null")
    if kind.startswith("text"):
        return found in _TEXTS or (types.is_dictionary(found) and found.value_type in _TEXTS)
    if kind == "bytes or null":
        return found in _BYTES
    if kind == "flag":
        return bool(types.is_boolean(found))
    return bool(types.is_integer(found) or (kind == "number or null" and types.is_floating(found)))


def _again(made_by: str) -> str:
    return f"Make it again: {made_by}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
