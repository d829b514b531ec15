"""Published data sets in miniature: the same files as a folder, a zip, or a folder of zips."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Reader = Callable[..., tuple[int | None, Iterator[dict[str, Any]]]]


def as_folder(root: Path, files: dict[str, bytes]) -> Path:
    """Write `files` (path -> content) below `root`."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def as_zip(path: Path, files: dict[str, bytes]) -> Path:
    """Pack `files` into a zip at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read_all(reader: Reader, path: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return every row, and what was skipped, after checking that the reader announced as many (empty files aside)."""
    skipped: Counter[str] = Counter()
    total, rows = reader(path, skipped=skipped)
    found = list(rows)
    assert total is None or total == len(found) + skipped["empty file"]
    return found, {reason: count for reason, count in skipped.items() if count}
