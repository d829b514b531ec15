"""A backup of a project on SQLite: taken, lost, brought back; and what is refused. test_team_backup.py has the rest."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import backup
from repositories import make_repository

FILES = {
    "mlruns/1/models/m-1/artifacts/export/model.onnx": b"weights",
    "mlruns/1/run/artifacts/report.html": b"<h1>Report</h1>",
    "bentoml/bentos/ferops/v1/bento.yaml": b"service: ferops",
    ".dvc/cache/files/md5/ab/cdef": b"faces",
    ".ferops/private/signing.key": b"key",
    ".ferops/private/mlflow": b"a login of the running stack",
    "trust.json": b"{}",
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    root = tmp_path / "project"
    root.mkdir()
    make_repository(root, scm=False)
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    for name in backup.DATABASES:
        (root / name).parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(root / name)) as connection, connection:
            connection.execute("CREATE TABLE versions (number)")
            connection.execute("INSERT INTO versions VALUES (1)")
    return Layout(root)


def versions(layout: Layout, name: str = "mlflow.db") -> list[int]:
    with closing(sqlite3.connect(layout.root / name)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM versions")]


def kept(root: Path) -> dict[str, str]:
    """The SHA-256 of what is to be saved, databases aside."""
    found = {name: root / name for name in FILES if name != ".ferops/private/mlflow"}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items() if path.exists()}


def lose(layout: Layout) -> None:
    for each in ("mlruns", "bentoml", ".dvc/cache", ".ferops", ".prefect"):
        shutil.rmtree(layout.root / each)
    for each in ("mlflow.db", "trust.json"):
        (layout.root / each).unlink()


def test_what_was_lost_is_as_it_was(layout: Layout, tmp_path: Path) -> None:
    before = kept(layout.root)
    assert len(before) == len(FILES) - 1
    with closing(sqlite3.connect(layout.root / "mlflow.db")) as busy:  # a server's last change is in its log
        busy.execute("PRAGMA journal_mode = WAL")
        busy.execute("INSERT INTO versions VALUES (2)")
        busy.commit()
        made = backup.backup(layout, tmp_path / "saved.tar", "local")
    assert before.items() <= made.files.items()
    assert stat.S_IMODE((tmp_path / "saved.tar").stat().st_mode) == 0o600
    lose(layout)
    assert backup.restore(layout, tmp_path / "saved.tar") == made
    assert kept(layout.root) == before
    assert versions(layout) == [1, 2]
    assert versions(layout, ".prefect/prefect.db") == [1]
    assert not (layout.root / ".ferops/private/mlflow").exists()
    assert stat.S_IMODE((layout.root / "mlflow.db").stat().st_mode) == 0o600


def test_a_later_state_is_replaced_only_when_asked(layout: Layout, tmp_path: Path) -> None:
    backup.backup(layout, tmp_path / "saved.tar", "local")
    with closing(sqlite3.connect(layout.root / "mlflow.db")) as connection, connection:
        connection.execute("INSERT INTO versions VALUES (9)")
    (layout.root / "mlruns/later").write_bytes(b"later")
    (layout.root / ".dvc/cache/files/md5/ab/later").write_bytes(b"later data")
    with pytest.raises(FeropsError, match=r"mlflow\.db.*would be replaced.*--overwrite"):
        backup.restore(layout, tmp_path / "saved.tar")
    assert versions(layout) == [1, 9]
    backup.restore(layout, tmp_path / "saved.tar", overwrite=True)
    assert versions(layout) == [1]
    assert not (layout.root / "mlruns/later").exists()
    assert (layout.root / ".dvc/cache/files/md5/ab/later").read_bytes() == b"later data"  # the cache is added to


@pytest.mark.parametrize("where", ["a file", "the manifest", "the end"])
def test_a_damaged_backup_changes_nothing(layout: Layout, tmp_path: Path, where: str) -> None:
    saved = tmp_path / "saved.tar"
    backup.backup(layout, saved, "local")
    content = bytearray(saved.read_bytes())
    if where == "the end":
        content = content[: content.index(b"weights") - 100]
    else:
        place = content.index(b"weights" if where == "a file" else b'"local"')
        content[place] ^= 1
    saved.write_bytes(content)
    before, files = kept(layout.root), sorted(layout.root.rglob("*"))
    with pytest.raises(FeropsError, match=r"damaged|no whole backup"):
        backup.restore(layout, saved, overwrite=True)
    assert kept(layout.root) == before
    assert versions(layout) == [1]
    assert {each for each in layout.root.rglob("*") if "tmp" not in each.name and not each.name.endswith("lock")} <= {
        *files
    }


def test_an_archive_cannot_write_elsewhere(layout: Layout, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(layout.root / "trust.json", arcname="../evil.json")
    with pytest.raises(FeropsError, match=r"\.\./evil\.json"):
        backup.restore(layout, tmp_path / "evil.tar", overwrite=True)
    assert not list(tmp_path.rglob("evil.json"))


def test_a_restore_that_fails_halfway_puts_all_back(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup.backup(layout, tmp_path / "saved.tar", "local")
    before = kept(layout.root)
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.parent.name == "new" and path.name == "trust.json":
            raise OSError(28, "No space left on device", str(target))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(FeropsError, match="no space left on the disk"):
        backup.restore(layout, tmp_path / "saved.tar", overwrite=True)
    assert kept(layout.root) == before
    assert versions(layout) == [1]


@pytest.mark.parametrize("who", ["register", "import", "a stage"])
def test_while_somebody_writes_nothing_is_saved(layout: Layout, tmp_path: Path, who: str) -> None:
    target = tmp_path / "saved.tar"
    if who == "register":
        with FileLock(layout.state / "register.lock"), pytest.raises(FeropsError, match="ferops register is running"):
            backup.backup(layout, target, "local")
    elif who == "import":
        with (layout.state / "import.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(FeropsError, match="ferops import is running"):
                backup.backup(layout, target, "local")
    else:
        rwlock = layout.root / ".dvc" / "tmp" / "rwlock"
        rwlock.parent.mkdir(exist_ok=True)
        holder = {"pid": os.getppid(), "cmd": "dvc repro train"}
        rwlock.write_text(json.dumps({"artifacts/train": {"write": holder}, "data": {"read": [holder]}}))
        with pytest.raises(FeropsError, match="dvc repro train"):
            backup.backup(layout, target, "local")
        rwlock.write_text(json.dumps({"data": {"read": [holder | {"pid": 2**22 - 1}]}}))  # it has died
        backup.backup(layout, target, "local")
        return
    assert not target.exists()
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_backup_is_never_overwritten_and_needs_a_registry(layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "saved.tar"
    target.write_bytes(b"an earlier one")
    with pytest.raises(FeropsError, match=r"exists\. Name a new file"):
        backup.backup(layout, target, "local")
    (layout.root / "mlflow.db").unlink()
    with pytest.raises(FeropsError, match="no registry to back up"):
        backup.backup(layout, tmp_path / "other.tar", "local")
    assert target.read_bytes() == b"an earlier one"
