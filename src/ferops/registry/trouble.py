"""Why a SQLite store cannot be used, and what to do; a store that is only busy is never called damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ferops.errors import RegistryAwayError

LOCKED_WITHIN_S = 10.0
"""How long another program may write before one that waits says so."""

_DAMAGED = ("file is not a database", "disk image is malformed", "unsupported file format")


@contextmanager
def explained(store: Path) -> Iterator[None]:
    """Turn an error of SQLite within the block into a RegistryAwayError."""
    try:
        yield
    except sqlite3.Error as error:
        raise RegistryAwayError(explain(store, str(error))) from error


def explain(store: Path, reason: str) -> str:
    """Return what to do about `reason`, which contains SQLite's own words."""
    if is_locked(reason):
        return (
            f"{store} is locked: {writer(store) or 'another program'} has been writing to it for more than "
            f"{LOCKED_WITHIN_S:g} s. The registry is intact. Wait for that program to end, or end it, then run the "
            "same command again"
        )
    if any(sign in reason for sign in _DAMAGED):
        return (
            f"{store} cannot be used as an MLflow database: {reason}. It is damaged. Keep a copy of it and of "
            f"{store.parent}/mlruns, then put a backup in its place, or save what can be read: "
            f"sqlite3 {store.name} .recover"
        )
    if "locate revision" in reason:
        return (
            f"{store} was last used by a newer MLflow than {version('mlflow')}, which is installed here. The registry "
            "is intact: use that MLflow, or another store (MLFLOW_TRACKING_URI)"
        )
    return (
        f"{store} could not be made ready for MLflow {version('mlflow')}: {reason}. Check the disk's free space and "
        "the permissions of the file and its folder"
    )


def is_locked(reason: str) -> bool:
    return "database is locked" in reason or "database table is locked" in reason


def writer(store: Path) -> str | None:
    """Return the process that holds SQLite's lock for writing, or None if the system does not tell.

    /proc/locks is read rather than the store opened: closing it would release the locks that this process has on it.
    """
    import psutil

    try:
        inode = store.stat().st_ino
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for _, _, _, kind, pid, file, *_ in (line.split() for line in lines if "->" not in line):
        if kind == "WRITE" and file.endswith(f":{inode}") and int(pid) > 0:
            try:
                return f"process {pid} ({' '.join(psutil.Process(int(pid)).cmdline())[:80]})"
            except psutil.Error:
                return f"process {pid}"
    return None
