"""One file that holds what a project cannot make again: registry, runs, artifacts, Bentos, data, and its signing key.

The databases are copied first, as they are at one instant (SQLite's VACUUM INTO, pg_dump); artifacts, objects of the
bucket and DVC's cache are written once and never changed, so what a database names is there when it is copied later.
What would change several of them at once (register, import, package, a stage) is locked out meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock, Timeout

from ferops import __version__
from ferops.errors import FeropsError
from ferops.files import disk_errors
from ferops.layout import Layout
from ferops.local import access, archive, dumps
from ferops.local.archive import BackupManifest, Writer
from ferops.local.state import status
from ferops.registry.store import own_database
from ferops.scratch import scratch_folder

Kind = Literal["local", "team"]
FOLDERS = ("bentoml", ".dvc/cache")
"""Copied as they are, from either stack."""

LOCAL_FOLDERS = ("mlruns",)
DATABASES = ("mlflow.db", ".prefect/prefect.db")
"""SQLite files of the local stack."""

PRIVATE = ".ferops/private"
_NOT_SAVED = (*access.SERVERS, "postgres", "postgres-prefect", "postgres-mlflow", "team.env")
"""Logins that each start or cluster draws anew, and the addresses of stores, which are this machine's matter."""


def backup(layout: Layout, target: Path, kind: Kind, *, data: bool = True) -> BackupManifest:
    """Write the archive `target`, and return what it holds.

    Args:
        layout: the project's folders.
        target: a file that does not exist.
        kind: whose registry is saved.
        data: DVC's cache, too: data and results, which a shared store may hold already.

    Raises:
        FeropsError: `target` exists, something writes, or a store cannot be read; nothing is left of it.
    """
    if target.exists():
        raise FeropsError(f"{target} exists. Name a new file, so that no backup is lost")
    if kind == "local" and not own_database(layout).exists():
        raise FeropsError(
            f"{own_database(layout)} does not exist: this project has no registry to back up. For that of a team "
            "stack: ferops backup --stack team FILE"
        )
    made_at = datetime.now(UTC).isoformat(timespec="seconds")

    def manifest(files: dict[str, str]) -> BackupManifest:
        return BackupManifest(kind=kind, made_at=made_at, ferops_version=__version__, files=files)

    with (
        quiet(layout),
        disk_errors(target),
        scratch_folder(layout.state, "backup") as scratch,
        archive.written(target, manifest) as writer,
    ):
        _databases(layout, kind, writer, scratch)
        for name in (*(LOCAL_FOLDERS if kind == "local" else ()), *(FOLDERS if data else FOLDERS[:1])):
            writer.add_folder(name, layout.root / name)
        for path in sorted((layout.root / PRIVATE).glob("*")):
            if path.is_file() and path.name not in _NOT_SAVED:
                writer.add(f"{PRIVATE}/{path.name}", path)
        if layout.trust.exists():
            writer.add(layout.trust.name, layout.trust)
    return manifest(writer.files)


def restore(layout: Layout, source: Path, *, overwrite: bool = False) -> BackupManifest:
    """Bring back what the archive `source` holds, and return its manifest.

    Every file is unpacked beside its place and compared with its hash before anything is changed. DVC's cache is
    added to, everything else is replaced.

    Raises:
        FeropsError: the stack is up, something would be overwritten, or the archive is damaged: nothing is changed
            then. Or a store cannot be written.
    """
    if any(status(layout).values()):
        raise FeropsError("the stack is up and would go on with what is replaced. End it first: ferops down")
    with (
        quiet(layout),
        disk_errors(layout.root),
        scratch_folder(layout.root, "restore") as scratch,
    ):
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        manifest = archive.check(source, new)
        if manifest.kind == "team":
            dumps.require_stores(layout, overwrite=overwrite)
        parts = _parts(manifest)
        there = [part for part in parts if (layout.root / part).exists()]
        if there and not overwrite:
            raise FeropsError(
                f"{', '.join(there[:4])}{' ...' if len(there) > 4 else ''} would be replaced by what {source} holds "
                f"of {manifest.made_at}. Nothing was changed; to replace them: ferops restore --overwrite {source}"
            )
        if manifest.kind == "team":
            dumps.restore(layout, new / "databases", new / "objects")
        _swap(layout.root, parts, new, old)
        _add_files(new / ".dvc" / "cache", layout.root / ".dvc" / "cache")
        access.close_to_others(layout)
    return manifest


@contextmanager
def quiet(layout: Layout) -> Iterator[None]:
    """Lock out what changes registry, Bentos or data.

    Raises:
        FeropsError: it is running.
    """
    layout.state.mkdir(exist_ok=True)
    with ExitStack() as locks:
        named = [(layout.state / "register.lock", "register")]
        if (layout.root / "bentoml").is_dir():
            named.append((layout.root / "bentoml" / "package.lock", "package"))
        for lock, name in named:
            try:
                locks.enter_context(FileLock(lock, timeout=0))
            except Timeout as error:
                raise _busy(f"ferops {name}") from error
        imports = locks.enter_context((layout.state / "import.lock").open("w"))
        try:
            fcntl.flock(imports, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _busy("ferops import") from error
        _lock_dvc(layout, locks)
        yield


def _lock_dvc(layout: Layout, locks: ExitStack) -> None:
    if not (layout.root / ".dvc").is_dir():
        return
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    try:
        locks.enter_context(lock_repo(locks.enter_context(Repo(str(layout.root)))))
    except LockError as error:
        raise _busy("a DVC command") from error
    except DvcException as error:
        raise FeropsError(f"DVC cannot read the project: {error}") from error
    try:  # while a stage runs, DVC leaves its lock to others and notes what the stage reads and writes
        noted = json.loads((layout.root / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    holders = [
        each
        for uses in noted.values()
        for each in (*uses.get("read", []), *([uses["write"]] if uses.get("write") else []))
    ]
    for holder in holders:
        if holder["pid"] != os.getpid() and psutil.pid_exists(holder["pid"]):
            raise _busy(f"`{holder['cmd']}` (PID {holder['pid']})")


def _busy(who: str) -> FeropsError:
    return FeropsError(f"{who} is running, so registry and files would not fit together. Wait for it to end")


def _databases(layout: Layout, kind: Kind, writer: Writer, scratch: Path) -> None:
    if kind == "team":
        for name, file in dumps.dump(layout, scratch):
            writer.add(name, file)
            file.unlink()
        return
    for name in DATABASES:
        source = layout.root / name
        if not source.exists():
            continue
        copy = scratch / source.name
        uri = f"{source.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=60)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        writer.add(name, copy)
        copy.unlink()
    schema = layout.root / "mlflow.db.schema"
    if schema.exists():
        writer.add(schema.name, schema)


def _parts(manifest: BackupManifest) -> list[str]:
    """Return what is replaced as a whole: folders of the project, and single files."""
    found = set()
    for name in manifest.files:
        folder = next((each for each in (*LOCAL_FOLDERS, *FOLDERS) if name.startswith(f"{each}/")), None)
        if folder == ".dvc/cache" or name.startswith(("databases/", "objects/")):
            continue
        found.add(folder or name)
    return sorted(found)


def _swap(root: Path, parts: list[str], new: Path, old: Path) -> None:
    """Put the new parts in the place of those that are there; if one cannot be, all of them are put back."""
    beside = [f"{name}{end}" for name in DATABASES for end in ("-wal", "-shm", "-journal")]  # of the former database
    done: list[str] = []
    try:
        for part in [*(each for each in beside if (root / each).exists()), *parts]:
            target = root / part
            if target.exists():
                (old / part).parent.mkdir(parents=True, exist_ok=True)
                target.rename(old / part)
            done.append(part)
            if (new / part).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                (new / part).rename(target)
    except BaseException:
        for part in reversed(done):
            target = root / part
            if target.exists():
                shutil.rmtree(target) if target.is_dir() else target.unlink()
            if (old / part).exists():
                (old / part).rename(target)
        raise


def _add_files(source: Path, target: Path) -> None:
    """Move files that `target` lacks there; files of one name are one: DVC names them by their content."""
    for path in sorted(each for each in source.rglob("*") if each.is_file()):
        place = target / path.relative_to(source)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
