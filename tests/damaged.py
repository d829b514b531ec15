"""Damaged and foreign files, generated: what a full disk, another tool, a text editor or an attacker leaves behind."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ferops.cli import main

TEXTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\t\n",
    "list": b"[]",
    "list of lists": b"[[[]]]",
    "number": b"7",
    "word": b"word",
    "null": b"null",
    "braces": b"}{",
    "open": b"{",
    "cut": b'{"a": [1, 2',
    "tabs": b"a:\n\t- b\n",
    "binary": bytes(range(256)) * 8,
    "latin": "ä: ö\n".encode("latin-1"),
    "mark": b"\xef\xbb\xbf{}",
    "utf-16": "outs: []".encode("utf-16"),
    "tag": b"!!python/object/apply:os.system ['touch harmed']",
    "anchors": b"a: &a [x]\nb: *c\n",
    "nul": b"outs:\0",
    "deep": b"[" * 3000,
    "huge": b"x" * 2_000_000,
    "two documents": b"---\na: 1\n---\nb: 2\n",
}
"""For any file of text."""

DVC_FILES: dict[str, bytes] = TEXTS | {
    "outs: []": b"outs: []\n",
    "outs: null": b"outs:\n",
    "outs: text": b"outs: data\n",
    "outs: a mapping": b"outs:\n  md5: 0123\n",
    "an entry that is text": b"outs: [data]\n",
    "no md5": b"outs:\n- path: data\n",
    "md5 is a list": b"outs:\n- md5: []\n  path: data\n",
    "md5 is a number": b"outs:\n- md5: 17\n  path: data\n",
    "md5 is a path": b"outs:\n- md5: ../../etc.dir\n  path: data\n",
    "no path": b"outs:\n- md5: 0123.dir\n",
    "path is a number": b"outs:\n- md5: 0123.dir\n  path: 7\n",
    "a merge conflict": b"outs:\n<<<<<<< HEAD\n- md5: 01.dir\n=======\n- md5: 02.dir\n>>>>>>> x\n  path: data\n",
}


def parquet_files(good: pa.Table) -> dict[str, bytes]:
    """Return files that are nearly `good`, a table of raw data."""
    content = _written(good)
    middle = bytearray(content)
    middle[40 : len(content) // 2] = os.urandom(len(content) // 2 - 40)
    footer = bytearray(content)
    footer[-200:-8] = b"\xff" * 192
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    n = len(good)
    files = {
        "empty": b"",
        "magic alone": b"PAR1",
        "two magics": b"PAR1PAR1",
        "text": b"image,label\n",
        "half": content[: len(content) // 2],
        "without its last byte": content[:-1],
        "with more behind": content + b"more",
        "damaged pages": bytes(middle),
        "damaged footer": bytes(footer),
        "no columns": _written(pa.table({})),
        "no rows": _written(good.slice(0, 0)),
        "a column twice": _written(good.append_column("label", good.column("label"))),
        "nested label": _with(good, "label", pa.array([["happy"]] * n)),
        "label is a struct": _with(good, "label", pa.array([{"is": "happy"}] * n)),
        "label is a number": _with(good, "label", pa.array([1.5] * n)),
        "label is a time": _with(good, "label", pa.array([0] * n, pa.timestamp("us"))),
        "label in broken UTF-8": _with(good, "label", pa.concat_arrays([broken] * n)),
        "a huge label": _with(good, "label", pa.array(["x" * 1_000_000] * n)),
        "image is text": _with(good, "image", pa.array(["x"] * n)),
        "image is a list": _with(good, "image", pa.array([[1, 2]] * n)),
        "image_id is null": _with(good, "image_id", pa.array([None] * n, pa.string())),
        "image_id is a number": _with(good, "image_id", pa.array(range(n))),
        "width is text": _with(good, "width", pa.array(["48"] * n)),
        "width is NaN": _with(good, "width", pa.array([float("nan")] * n)),
        "width is too large": _with(good, "width", pa.array([2**40] * n)),
        "another source": _with(good, "source", pa.array(["b"] * n)),
        "subject is a map": _with(good, "subject", pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int64()))),
        "a group of numbers": _with(good, "group_age", pa.array([1] * n)),
        "a group of lists": _with(good, "group_age", pa.array([["old"]] * n)),
    }
    return files | {f"without {name}": _written(good.drop_columns([name])) for name in good.column_names[:8]}


def _with(table: pa.Table, name: str, column: pa.Array) -> bytes:
    place = table.column_names.index(name)
    return _written(table.set_column(place, name, column))


def _written(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def ferops(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the command line in this process; return its exit status and what it prints.

    An exception that is not meant for a user passes through.
    """
    said = io.StringIO()
    streams = sys.argv, sys.stdout, sys.stderr
    try:
        with chdir(folder), redirect_stdout(said), redirect_stderr(said):
            sys.argv = ["ferops", *arguments]
            main()
    except SystemExit as stop:
        return int(stop.code or 0), said.getvalue()
    finally:
        sys.argv, sys.stdout, sys.stderr = streams
    return 0, said.getvalue()


class Attempts:
    """Counts bad inputs, and collects those that did not end in one clear message."""

    def __init__(self) -> None:
        self.tried = 0
        self.wrong: list[str] = []

    def each(self, path: Path, contents: dict[str, bytes]) -> Iterator[str]:
        """Put each content into `path` for one turn of the loop; then the file is as before."""
        before = path.read_bytes() if path.exists() else None
        for name, content in contents.items():
            path.write_bytes(content)
            yield f"{path.name} {name}"
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)

    def refused(self, what: str, folder: Path, *arguments: str) -> None:
        """Run the command line: it must fail with a message of its own."""
        self.tried += 1
        try:
            status, said = ferops(folder, *arguments)
        except Exception as error:  # whatever it is, it is a traceback to a user
            self.wrong.append(f"{arguments[0]}, {what}: {type(error).__name__}: {error}")
            return
        lines = said.splitlines()
        if status != 1 or not any(line.startswith("ferops: ") for line in lines) or len(said) > 20_000:
            self.wrong.append(f"{arguments[0]}, {what}: status {status}: {said[-300:]}")
