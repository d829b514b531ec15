"""Which MLflow store is used, and the project's own SQLite store: made ready, moved with its project, read unchanged.

MLflow records where artifacts are with absolute paths. A project may be moved or copied, so a store notes its own
folder (table `ferops_folder`); when it is opened in another one, its paths are changed first.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock, Timeout

from ferops.errors import FeropsError, RegistryAwayError
from ferops.files import write_text
from ferops.layout import Layout
from ferops.registry.trouble import LOCKED_WITHIN_S, explain, explained, writer

TURN_WITHIN_S = 120.0
"""Seconds for another process to make the same store ready; a migration takes some on a busy machine."""

_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),  # mlflow.artifactLocation
)
"""The columns in which MLflow 3.17 keeps paths of artifacts; tests/registry/test_relocation.py finds new ones."""


def tracking_uri(layout: Layout) -> str:
    """Return MLFLOW_TRACKING_URI if it is set and not empty, otherwise the SQLite file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{own_database(layout)}"


def own_database(layout: Layout) -> Path:
    return layout.root.resolve() / "mlflow.db"


def has_store(layout: Layout) -> bool:
    """Return False only where the store is a SQLite file that does not exist yet: it is empty, and making it takes
    seconds."""
    uri = tracking_uri(layout)
    return not uri.startswith("sqlite:") or database(uri).exists()


def database(uri: str) -> Path:
    """Return the file of a SQLite address. Raises FeropsError: it names none."""
    path = uri.removeprefix("sqlite:///")
    if path == uri or not path:
        raise FeropsError(
            f"MLFLOW_TRACKING_URI is {uri!r}; a SQLite address is written sqlite:////absolute/path/mlflow.db"
        )
    return Path(path).resolve()


def make_ready(store: Path) -> None:
    """Create the SQLite store, migrate it to this MLflow release, and bring its paths in line with its folder.

    Callers take turns: two processes on a fresh file would race in MLflow's migration.

    Raises:
        FeropsError: another program keeps it locked, the file is damaged, or MLflow cannot migrate it.
    """
    release, stamp = version("mlflow"), _stamp(store)
    store.parent.mkdir(parents=True, exist_ok=True)
    with _turn(store), explained(store):
        if not _has_tables(store) or not stamp.exists() or stamp.read_text(encoding="utf-8") != release:
            command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{store}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RegistryAwayError(explain(store, _reason(done.stderr or done.stdout)))
            stamp.write_text(release, encoding="utf-8")
        _relocate(store, store.parent)


@contextmanager
def _turn(store: Path) -> Iterator[None]:
    lock = store.with_name(f"{store.name}.lock")
    try:
        with FileLock(lock, timeout=TURN_WITHIN_S):
            yield
    except Timeout as error:
        raise FeropsError(
            f"another ferops command has been making {store} ready for more than {TURN_WITHIN_S:g} s. Wait for it to "
            f"end, or end it ({writer(lock) or 'it holds ' + lock.name}), then run the same command again"
        ) from error


def _reason(output: str) -> str:
    """Return the line of a Python program's output that names its error; SQLAlchemy adds others below."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception): |.*Can't locate", line)),
        "it printed nothing" if not lines else lines[-1],
    )


def follow_project(layout: Layout) -> None:
    """Bring the project's own store, if there is one, in line with its folder; its server reads the same rows."""
    if own_database(layout).exists():
        make_ready(own_database(layout))


def snapshot(store: Path, copy: Path) -> None:
    """Copy a SQLite store and bring the copy's paths in line with the folder of `store`, which is left untouched.

    Raises:
        FeropsError: there is no store, it stays locked, or it is damaged.
    """
    if not store.exists():
        raise FeropsError(
            f"{store} does not exist: there is no model registry here. Run the command in the project's folder, set "
            "MLFLOW_TRACKING_URI to the registry's address, or name a model folder instead"
        )
    copy.unlink(missing_ok=True)
    with explained(store):
        # Read-only, and through SQLite: a copy of the file could be half of what another process is writing. Not with
        # `backup`, which would wait for that process for ever
        uri = f"{store.as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCKED_WITHIN_S)) as source:
            source.execute("VACUUM INTO ?", (str(copy),))
        _relocate(copy, store.parent, files=False)
        with closing(sqlite3.connect(copy)) as target, target:  # its artifacts stay where they are
            target.execute("UPDATE ferops_folder SET path = ?", (str(copy.parent),))
    if _stamp(store).exists():  # else the copy is migrated, which takes seconds
        shutil.copyfile(_stamp(store), _stamp(copy))


def _relocate(store: Path, root: Path, *, files: bool = True) -> None:
    """Make the artifact paths of a store name `root` where they named its former folder, in one transaction."""
    with closing(sqlite3.connect(store, timeout=LOCKED_WITHIN_S)) as connection:
        noted = _noted_folder(connection)
        if noted == root:
            return
        formers = [noted] if noted else _former_folders(connection, root)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for former in formers:
                move = _mover(former, root)
                connection.create_function("moved", 1, lambda path, move=move: path and move(path, anchored=True))
                for table, column in _LOCATIONS:
                    connection.execute(f"UPDATE {table} SET {column} = moved({column})")
                # MLflow notes in each logged model where it is; nothing reads it, but nothing may name the old folder
                for path in (root / "mlruns").glob("*/models/*/artifacts/MLmodel") if files else ():
                    write_text(path, move(path.read_text(encoding="utf-8"), anchored=False))
            connection.execute("CREATE TABLE IF NOT EXISTS ferops_folder (path TEXT)")
            connection.execute("DELETE FROM ferops_folder")
            connection.execute("INSERT INTO ferops_folder VALUES (?)", (str(root),))


def _noted_folder(connection: sqlite3.Connection) -> Path | None:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ferops_folder'").fetchone():
        return None
    return Path(connection.execute("SELECT path FROM ferops_folder").fetchone()[0])


def _former_folders(connection: sqlite3.Connection, root: Path) -> list[Path]:
    """Return the folders that a store without a note (of ferops 0.1) may have been in.

    An experiment names one with `<folder>/mlruns/<name>`, provided that `root` has the same `mlruns/<name>`: a store
    may also have its artifacts elsewhere on purpose.
    """
    rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    folders = {
        Path(unquote(uri.removeprefix("file://"))) for (uri,) in rows if uri and uri.startswith(("file:///", "/"))
    }
    candidates = [each for each in folders if each.parent.name == "mlruns" and (root / "mlruns" / each.name).exists()]
    return sorted({each.parents[1] for each in candidates} - {root})


def _mover(old: Path, new: Path) -> Callable[..., str]:
    """Return a function that replaces `old` by `new` in paths and file URIs, at the text's start only if `anchored`."""
    forms = {f"{old.as_uri()}/": f"{new.as_uri()}/", f"file://{old}/": f"{new.as_uri()}/", f"{old}/": f"{new}/"}
    found = re.compile("|".join(map(re.escape, forms)))  # in one pass: `new` may lie below `old`

    def move(text: str, *, anchored: bool) -> str:
        if anchored and not found.match(text):
            return text
        return found.sub(lambda match: forms[match[0]], text, count=1 if anchored else 0)

    return move


def _stamp(store: Path) -> Path:
    """The file that holds the MLflow release which last migrated the store."""
    return store.with_name(f"{store.name}.schema")


def _has_tables(store: Path) -> bool:
    if not store.exists():
        return False
    with closing(sqlite3.connect(store, timeout=LOCKED_WITHIN_S)) as connection:
        query = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
        return bool(connection.execute(query).fetchone()[0])
