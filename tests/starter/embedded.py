"""What the remote inside a repository holds."""

from __future__ import annotations

import json
from pathlib import Path

Files = dict[str, bytes]


def objects(root: Path) -> set[str]:
    """Return the names of the remote's objects: MD5s, those of folders with `.dir`."""
    files = root / ".dvc" / "embedded" / "files" / "md5"
    return {path.parent.name + path.name for path in files.rglob("*") if path.is_file()}


def of_folder(root: Path, oid: str) -> set[str]:
    """Return a folder's object and those of its files."""
    listing = root / ".dvc" / "embedded" / "files" / "md5" / oid[:2] / oid[2:]
    return {oid, *(entry["md5"] for entry in json.loads(listing.read_text()))}


def contents(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
