"""The lists that come with data sets: CSV, read line by line, however large."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager

from ferops.datasets.release import Release
from ferops.errors import FeropsError

_MAX_LINE_CHARS = 2**20


def lines(release: Release, name: str, *, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (number of the line, from 1; column -> text without outer spaces) for each line of the CSV `name`.

    Names of columns count without case and outer spaces and are given in small letters; a line that is too short has
    "" for what it lacks. The list may be UTF-8 with or without a byte order mark.

    Raises:
        FeropsError: one of `columns` lacks, a name stands twice, a line is absurdly long, or it is no CSV.
    """
    where = f"{release.path}, {name}"
    with release.open(name) as binary, _csv_errors(where):
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace", newline="")
        reader = csv.reader(bounded(text, where=where))
        header = [column.strip().lower() for column in next(reader, [])]
        missing = [column for column in columns if column not in header]
        if missing:
            raise FeropsError(f"{where} lacks the columns {missing}; it has {header[:12]}")
        if len(set(header)) < len(header):
            raise FeropsError(f"{where} has a column twice: {header[:12]}")
        for values in reader:
            if values:
                padded = [*values, *[""] * (len(header) - len(values))]
                yield reader.line_num, {column: value.strip() for column, value in zip(header, padded, strict=False)}


@contextmanager
def _csv_errors(where: str) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise FeropsError(f"{where} is no CSV ({error}). Download it again") from error


def bounded(text: io.TextIOWrapper, *, where: str) -> Iterator[str]:
    """Yield the lines of `text`; raise FeropsError at one that is absurdly long, before it fills the memory."""
    while line := text.readline(_MAX_LINE_CHARS):
        if len(line) == _MAX_LINE_CHARS:
            raise FeropsError(f"{where} has a line of more than {_MAX_LINE_CHARS} characters: it is no list")
        yield line
