"""The lists that come with data sets: CSV, read line by line, however large."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from ferops.datasets.release import Release
from ferops.errors import FeropsError

_MAX_LINE_CHARS = 2**20


def lines(
    release: Release, name: str, *, columns: tuple[str, ...], header: tuple[str, ...] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (number of the line, from 1; column -> text without outer spaces) for each line of the CSV `name`.

    Names of columns count without case and outer spaces and are given in small letters; a line that is too short has
    "" for what it lacks. The list may be UTF-8 with or without a byte order mark.

    Args:
        header: names of the columns in their order, in small letters, for a list that has also been published without
            them: if the first line names none of `columns`, it is data.

    Raises:
        FeropsError: one of `columns` is missing, a name stands twice, a line is absurdly long, or it is not a CSV.
    """
    where = f"{release.path}, {name}"
    with release.open(name) as binary, _csv_errors(where):
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace", newline="")
        reader = csv.reader(_bounded(text, where=where))
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
