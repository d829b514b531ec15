"""Put a source's new files into data/ and version them, as one step that no kill can split.

Two things must change together, the files in data/ and their name in data.dvc, and `dvc add` takes its time. So a
journal is written first, beside the old files: as long as it exists, the change can be undone, or finished where DVC
had finished already. The next import, or `ferops data`, sees to that.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ferops.datasets import store, versioning
from ferops.datasets.raw import files_of
from ferops.errors import FeropsError
from ferops.files import atomic_folder, disk_errors, read_json, write_json
from ferops.layout import Layout
from ferops.provenance import data_version


def workplace(layout: Layout) -> Path:
    """Return the folder for files that are not in data/ yet; on the same disk, so that moving them is a rename."""
    return layout.state / "import"


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Hold the lock of imports; what an interrupted one left is settled first.

    Raises:
        FeropsError: another import is running, data/ is on another disk than `workplace`, or cannot be written.
    """
    with disk_errors(layout.state):
        layout.state.mkdir(parents=True, exist_ok=True)
        lock = (layout.state / "import.lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FeropsError("another import is running here. Wait for it to end") from error
        _settle(layout)
        _check_disk(layout)
        for folder in (workplace(layout), _done(layout)):  # what a killed import had only begun, or ended but for this
            shutil.rmtree(folder, ignore_errors=True)
        yield


def _check_disk(layout: Layout) -> None:
    if not layout.data.is_dir():
        return
    if layout.data.stat().st_dev != layout.state.stat().st_dev:
        raise FeropsError(
            f"{layout.data.resolve()} and {layout.state.resolve()} are on different disks, so files could not move "
            "from one to the other in one step. Put both on one: move the second one to the disk of the first, and "
            "leave a link to it in its place"
        )
    if not os.access(layout.data, os.W_OK | os.X_OK):  # known now, not after an hour of reading
        raise FeropsError(f"{layout.data} cannot be written. Check that it is yours to write, and not read-only")


def settle(layout: Layout) -> None:
    """Undo or finish an interrupted import, if there is one."""
    if versioning.journal(layout).exists():
        with exclusive(layout):
            pass


def replace(layout: Layout, source: str, staged: Path) -> None:
    """Move the files of `source` in `staged` to data/, in place of its old ones, and version data/.

    Waits until no DVC command runs, and no stage of it that reads data/; none starts before this is over. What is
    replaced stays in DVC's cache.

    Raises:
        FeropsError: DVC failed, or could not store everything; data/ and data.dvc are as before.
    """
    with disk_errors(layout.data), store.locked(layout) as repo:
        old = files_of(layout.data, source)
        if not all(store.holds_file(repo, path) for path in old):
            versioning.add_data(layout, repo)  # its only copy is here
        _begin(layout, source, staged)
        try:
            layout.data.mkdir(exist_ok=True)
            _move(old, versioning.journal(layout) / "files")
            _move(files_of(staged, source), layout.data)
            versioning.add_data(layout, repo)
        except BaseException:
            _undo(layout)
            raise
        _end(layout)


def _begin(layout: Layout, source: str, staged: Path) -> None:
    with atomic_folder(versioning.journal(layout)) as journal:
        (journal / "files").mkdir()
        if layout.data_dvc.exists():
            shutil.copyfile(layout.data_dvc, journal / layout.data_dvc.name)
        entry = {
            "had_folder": layout.data.is_dir(),
            "old": [path.name for path in files_of(layout.data, source)],
            "new": [path.name for path in files_of(staged, source)],
        }
        write_json(journal / "journal.json", entry)


def _settle(layout: Layout) -> None:
    if not versioning.journal(layout).exists():
        return
    with disk_errors(layout.data), store.locked(layout) as repo:
        try:
            if _is_named(layout):
                versioning.add_data(layout, repo)  # DVC had finished; what follows it in there perhaps not
                _end(layout)
                return
        except FeropsError as error:
            print(f"the interrupted import is undone: {error}", file=sys.stderr, flush=True)
        _undo(layout)


def _is_named(layout: Layout) -> bool:
    """Whether data.dvc, which a kill may have cut short, names what is in data/."""
    try:
        return layout.data.is_dir() and data_version(layout) == versioning.folder_md5(layout.data)
    except FeropsError:
        return False


def _undo(layout: Layout) -> None:
    """Put data/ and data.dvc back as they were; may itself be interrupted and begin again."""
    journal = versioning.journal(layout)
    entry = read_json(journal / "journal.json", made_by="ferops import")
    for name in entry["new"]:
        still_old = name in entry["old"] and not (journal / "files" / name).exists()
        if not still_old:
            (layout.data / name).unlink(missing_ok=True)
    _move(sorted((journal / "files").iterdir()), layout.data)
    before = journal / layout.data_dvc.name
    versioning.restore(layout.data_dvc, before.read_bytes() if before.exists() else None)
    if not entry["had_folder"] and layout.data.is_dir():
        layout.data.rmdir()
    _end(layout)


def _end(layout: Layout) -> None:
    """Drop the journal by one rename, then what it kept."""
    done = _done(layout)
    shutil.rmtree(done, ignore_errors=True)
    versioning.journal(layout).rename(done)
    shutil.rmtree(done)
    shutil.rmtree(workplace(layout), ignore_errors=True)


def _done(layout: Layout) -> Path:
    return versioning.journal(layout).with_suffix(".done")


def _move(files: list[Path], folder: Path) -> None:
    for path in files:
        path.rename(folder / path.name)
