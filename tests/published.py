"""Read published data sets in miniature, made by `releases`, as an import does, and a project to import them into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ferops.layout import Layout
from releases import make_zip
from repositories import make_repository

Reader = Callable[..., tuple[int | None, Iterator[dict[str, Any]]]]


def zip_below(folder: Path, name: str, members: Mapping[str, bytes]) -> Path:
    """Make the zip `name` in `folder`, which is made, too."""
    folder.mkdir(parents=True, exist_ok=True)
    return make_zip(folder / name, members)


def empty_project(root: Path) -> Layout:
    """Make an empty git and DVC project."""
    return Layout(make_repository(root))


def read_all(reader: Reader, path: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return every row, and what was skipped, after checking that the reader announced as many (empty files aside)."""
    skipped: Counter[str] = Counter()
    total, rows = reader(path, skipped=skipped)
    found = list(rows)
    assert total is None or total == len(found) + skipped["empty file"]
    return found, {reason: count for reason, count in skipped.items() if count}
