"""What `ferops up` has started in this very folder, as .ferops/stack.json tells."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import processes
from ferops.local.ports import Ports
from ferops.local.processes import Process
from ferops.records import Record


class StackState(Record):
    """The processes of a stack.

    Attributes:
        folder: device and inode of the project's folder: the same after a move, another one in a copy, which must not
            take the original's servers for its own.
        kind: `local` with SQLite and files, `team` with PostgreSQL and S3.
        processes: with logs relative to the project's folder.
    """

    stored_in: ClassVar[str] = ".ferops/stack.json"
    made_by: ClassVar[str] = "ferops up"

    folder: str
    kind: Literal["local", "team"]
    ports: Ports
    processes: tuple[Process, ...]


def status(layout: Layout) -> dict[Process, bool]:
    """Return the servers that `up` started and `down` has not ended, and whether each runs."""
    return {process: processes.find(process) is not None for process in _recorded(layout)}


def state_file(layout: Layout) -> Path:
    return layout.state / "stack.json"


def recorded(layout: Layout) -> StackState | None:
    """Return what this very folder's `up` recorded.

    Raises:
        FeropsError: another user wrote it, so the processes that it names may be any.
    """
    file = state_file(layout)
    try:
        owner = file.stat().st_uid
    except FileNotFoundError:
        return None
    except PermissionError:
        owner = file.parent.stat().st_uid
    if owner != os.geteuid():
        raise FeropsError(
            f"{file} belongs to another user (uid {owner}), so the processes it names are not yours. Work in a clone "
            "of your own, or remove the file"
        )
    try:
        state = StackState.read(file, made_by="ferops up")
    except FeropsError:  # of another release
        return None
    return state if state.folder == folder_id(layout) else None


def _recorded(layout: Layout) -> list[Process]:
    state = recorded(layout)
    return [replace(each, log=str(layout.root / each.log)) for each in state.processes] if state else []


def folder_id(layout: Layout) -> str:
    found = layout.root.stat()
    return f"{found.st_dev}:{found.st_ino}"
