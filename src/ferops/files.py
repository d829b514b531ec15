"""Files are written whole: under a temporary name beside the target, then renamed.

A reader sees the old file or the new one, whole, and neither a full disk nor a kill leaves a half-written one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferops.errors import FeropsError
from ferops.scratch import scratch_folder

_NEW, _OLD = "new", "old"


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on a clean exit it becomes `target`, otherwise it is removed.

    Raises:
        FeropsError: the disk is full or the folder cannot be written.
    """
    with disk_errors(target), scratch_folder(target.parent, target.name) as scratch:
        yield scratch / _NEW
        (scratch / _NEW).replace(target)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a new empty folder beside `target`; on a clean exit it replaces `target`, otherwise it is removed.

    Raises:
        FeropsError: the disk is full or the folder cannot be written.
    """
    with disk_errors(target), scratch_folder(target.parent, target.name) as scratch:
        new = scratch / _NEW
        new.mkdir()
        yield new
        if target.exists():
            target.rename(scratch / _OLD)
        try:
            new.rename(target)
        except BaseException:
            if (scratch / _OLD).exists():
                (scratch / _OLD).rename(target)
            raise


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented JSON, keys in the order given. NaN and infinity are refused (ValueError)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(target, text)


def write_text(target: Path, text: str) -> None:
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path, *, made_by: str) -> Any:
    """Read a JSON file that the stage `made_by` writes. Raises FeropsError: it is missing, or not JSON."""
    content = read_bytes(path, made_by=made_by)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FeropsError(f"{path} is not JSON ({error}). Make it again: {made_by}") from error


def read_bytes(path: Path, *, made_by: str) -> bytes:
    """Read a file that the command `made_by` writes. Raises FeropsError: it is missing, or cannot be read."""
    require(path, made_by=made_by)
    try:
        return path.read_bytes()
    except OSError as error:
        raise FeropsError(f"{path} cannot be read: {error.strerror}. Make it again: {made_by}") from error


def parse_yaml(content: str | bytes, *, origin: str, remedy: str) -> Any:
    """Parse YAML. Raises FeropsError, which names `origin` and ends with `remedy`: it is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(content)
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # Not only YAMLError: the library stumbles over some damaged files
        raise FeropsError(f"{origin} is not valid YAML: {error}\n{remedy}") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require(path: Path, *, made_by: str) -> Path:
    """Return `path` if it exists; otherwise a FeropsError that names the command which makes it."""
    if not path.exists():
        raise FeropsError(f"{path} does not exist. It is made by: {made_by}")
    return path


def _free_mb(path: Path) -> float:
    """Return the room in MB (10^6 bytes) on the disk of `path`, whose folder exists."""
    return shutil.disk_usage(path.parent).free / 1e6


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn the system's errors while `target` is written (full, read-only, not permitted) into a FeropsError."""
    try:
        yield
    except FeropsError:
        raise
    except Exception as error:
        if reason := _no_room(error):
            raise FeropsError(
                f"{reason} while writing {target}; nothing was kept of it, {_free_mb(target):,.0f} MB are free now. "
                "Free some space and run the command again; docs/versions.md says what can go. Leave .dvc/cache alone: "
                "it may hold the only copy of earlier versions of your data"
            ) from error
        if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
            raise FeropsError(
                f"{target} cannot be written: {error.strerror}. Check that it is yours to write, not read-only, and on "
                "one disk with the project"
            ) from error
        raise


_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG)

_NO_ROOM = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow so large here (ulimit -f)",
}


def _no_room(error: Exception) -> str | None:
    """Libraries in C and Rust wrap the system's error: safetensors keeps its text, NumPy only counts what it wrote."""
    text = str(error)
    for number, reason in _NO_ROOM.items():
        plain = isinstance(error, OSError) and error.errno == number
        if plain or f"(os error {number})" in text or os.strerror(number) in text:
            return reason
    numpy_stopped = isinstance(error, OSError) and re.fullmatch(r"\d+ requested and \d+ written", text)
    return _NO_ROOM[errno.ENOSPC] if numpy_stopped else None
