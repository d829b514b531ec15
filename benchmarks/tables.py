"""Markdown tables, written to their place in a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ferops.files import write_text

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def fill(path: Path, text: str) -> None:
    """Put `text` between BEGIN and END of the file at `path`; a file that does not exist is made of it."""
    page = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} has no lines {BEGIN} and {END} to write the tables between")
    write_text(path, f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
