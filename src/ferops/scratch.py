"""Temporary folders with an owner: what a killed process left is removed at the next start, a living one's never.

The owner holds a lock (flock) on a file in its folder. The system drops it with the process, however that ends, and it
counts in every container and, on a shared disk, on every machine: a process number would not.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

_OWNER = "owner"
_HEX_DIGITS = 8


@contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a new folder `.NAME.<8 hex digits>.tmp` in `parent`, for this user alone; in the end it is removed.

    What dead processes left of this name is removed first. The folder holds the lock of its owner, and nothing else.
    """
    folder, lock = lent_folder(parent, name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def lent_folder(parent: Path, name: str) -> tuple[Path, int]:
    """Make such a folder for a process that outlives this one, and return it with the file descriptor of its lock.

    The process is the owner if it inherits the descriptor; this one closes its own. Once the process has ended,
    `remove_leftovers` removes the folder.
    """
    remove_leftovers(parent, name)
    parent.mkdir(parents=True, exist_ok=True)
    return _make(parent, name)


def remove_leftovers(parent: Path, name: str) -> None:
    """Remove the scratch folders of `name` in `parent` that are ours and whose owner has died."""
    for folder in parent.glob(f".{escape(name)}.{'[0-9a-f]' * _HEX_DIGITS}.tmp"):
        with suppress(OSError):  # gone meanwhile; or its owner lives; or this disk has no locks, so nobody can tell
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = _open(folder)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _make(parent: Path, name: str) -> tuple[Path, int]:
    while True:
        folder = parent / f".{name}.{uuid.uuid4().hex[:_HEX_DIGITS]}.tmp"
        folder.mkdir(mode=0o700)
        with suppress(FileNotFoundError):
            lock = _open(folder)
            with suppress(OSError):  # a disk without locks: nobody will remove it either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_locked(folder, lock):
                return folder, lock
            os.close(lock)


def _open(folder: Path) -> int:
    return os.open(folder / _OWNER, os.O_RDWR | os.O_CREAT, 0o600)


def _is_locked(folder: Path, lock: int) -> bool:
    """Whether `lock` is of the file there: another start may have removed it before it was locked."""
    try:
        return os.path.samestat(os.fstat(lock), (folder / _OWNER).stat())
    except FileNotFoundError:
        return False
