"""The lists that come with data sets: CSV as publishers and spreadsheets write it, line by line, however large."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import cast

from ferops.datasets.release import Release
from ferops.errors import FeropsError

_MAX_LINE_CHARS = 2**20
_START_BYTES = 8192  # for the names of the columns
_DELIMITERS = ",;\t"
_WINDOWS = "ferops.windows"  # handler of errors: spreadsheets of Western Europe write Windows-1252


def lines(
    release: Release, name: str, *, columns: tuple[str, ...], header: tuple[str, ...] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (number of the line, from 1; column -> text without outer spaces) for each line of the CSV `name`.

    Names of columns count without case and outer spaces and are given in small letters; a line that is too short has
    "" for what it lacks. Values are separated by commas, semicolons or tabs, as the names of columns are; the list is
    in UTF-8 or UTF-16, with or without a byte order mark, and bytes that are no UTF-8 count as Windows-1252.

    Args:
        header: names of the columns in their order, in small letters, for a list that has also been published without
            them: if the first line names none of `columns`, it is data.

    Raises:
        FeropsError: one of `columns` is missing, a name stands twice, a line is absurdly long, or it is not a CSV.
    """
    where = f"{release.path}, {name}"
    codecs.register_error(_WINDOWS, _as_windows)
    with release.open(name) as binary, _csv_errors(where):
        start = cast("io.BufferedReader", binary).peek(_START_BYTES)
        text = io.TextIOWrapper(binary, encoding=_encoding(start), errors=_WINDOWS, newline="")
        reader = csv.reader(_bounded(text, where=where), delimiter=_delimiter(start, columns, header))
        first = next(reader, [])
        names = [column.strip().lower() for column in first]
        nameless = header is not None and not set(columns) & set(names)
        names = list(header or ()) if nameless else names
        missing = [column for column in columns if column not in names]
        if missing:
            raise FeropsError(f"{where} lacks the columns {missing}; it has {names[:12]}")
        if len(set(names)) < len(names):
            raise FeropsError(f"{where} has a column twice: {names[:12]}")
        for values in chain([first] if nameless else [], reader):
            if values:
                padded = [*values, *[""] * (len(names) - len(values))]
                yield reader.line_num, {column: value.strip() for column, value in zip(names, padded, strict=False)}


def _encoding(start: bytes) -> str:
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    # Names of columns begin with letters that have a zero byte in UTF-16
    return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be" if start[:1] == b"\0" else "utf-8-sig"


def _delimiter(start: bytes, columns: Collection[str], header: Collection[str] | None) -> str:
    """Return what separates the `columns` in the first line, or else what it has most of. A list that may come without
    their names (`header`) has commas: its values may hold more semicolons, as AffectNet's landmarks do."""
    first, *_ = start.decode(_encoding(start), "ignore").splitlines() or [""]
    for delimiter in _DELIMITERS:
        if {name.strip(' "').lower() for name in first.split(delimiter)} & set(columns):
            return delimiter
    return "," if header else max(_DELIMITERS, key=first.count)


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


@contextmanager
def _csv_errors(where: str) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise FeropsError(f"{where} is not a CSV ({error}). Download it again") from error


def _bounded(text: io.TextIOWrapper, *, where: str) -> Iterator[str]:
    """Yield the lines of `text`; raise FeropsError at one that is absurdly long, before it fills the memory."""
    while line := text.readline(_MAX_LINE_CHARS):
        if len(line) == _MAX_LINE_CHARS:
            raise FeropsError(f"{where} has a line of more than {_MAX_LINE_CHARS} characters: it is not a list")
        yield line
