"""Encoded images to measure with: of a Parquet source, a zip, or a folder tree."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}

Item = TypeVar("Item")


def read(path: Path, *, limit: int | None = None, seed: int = 0) -> list[bytes]:
    """Return all encoded images of `path` in a stable order, or `limit` of them, drawn at random under `seed`."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
        return [file.read_bytes() for file in _drawn(files, limit, seed)]
    if path.suffix == ".parquet":
        column = pq.read_table(path, columns=["image"])["image"]
        return [column[row].as_py() for row in _drawn(list(range(len(column))), limit, seed)]
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if Path(name).suffix.lower() in ENDINGS)
        return [archive.read(name) for name in _drawn(names, limit, seed)]


def _drawn(items: list[Item], limit: int | None, seed: int) -> list[Item]:
    if limit is None:
        return items
    random.Random(seed).shuffle(items)
    return items[:limit]
