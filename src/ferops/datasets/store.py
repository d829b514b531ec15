"""DVC's own locks around a change of data/, and a look into its cache afterwards.

`dvc add` reports success even if it could store nothing, on a full disk say: it only logs what failed. And a stage that
runs while data/ changes would be recorded with other data than it read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferops.errors import FeropsError
from ferops.layout import Layout

if TYPE_CHECKING:
    from dvc.repo import Repo

RETRY_S = 1.0
_TRANSFERS = "dvc_data.hashfile.transfer"


@contextmanager
def locked(layout: Layout) -> Iterator[Repo]:
    """Hold DVC's locks of the project and of data/: no other DVC command runs meanwhile, nor a stage that reads data/.

    Waits for those that run, and says so on standard error.

    Raises:
        FeropsError: DVC cannot read the project.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with ExitStack() as stack:
        try:
            repo = stack.enter_context(Repo(str(layout.root)))
            stack.enter_context(_both_locks(repo, layout))
        except DvcException as error:
            raise FeropsError(f"dvc add {layout.data.name} failed: {_chain(error)}") from error
        yield repo


def _both_locks(repo: Repo, layout: Layout) -> ExitStack:
    from dvc.lock import LockError
    from dvc.repo import lock_repo
    from dvc.rwlock import rwlock

    hardlink = repo.config["core"].get("hardlink_lock", False)
    data = str(Path(repo.root_dir) / layout.data.name)
    said = False
    while True:
        try:
            with ExitStack() as locks:
                locks.enter_context(lock_repo(repo))
                # As DVC does it, so that its own call in `add` finds the lock held by itself
                locks.enter_context(rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), [], [data], hardlink))
                return locks.pop_all()
        except LockError as error:
            if not said:
                print(f"waiting for another DVC command to end: {error}", file=sys.stderr, flush=True)
            said = True
            time.sleep(RETRY_S)  # with the lock free: a stage that ends needs it


def add(repo: Repo, folder: Path) -> str:
    """Version `folder` as it is (`dvc add`); return its version, 32 hex digits.

    Raises:
        FeropsError: DVC failed, or its cache does not hold every file. The caller restores the .dvc file.
    """
    from dvc.exceptions import DvcException

    with _failed_transfers() as failed:
        try:
            (stage,) = repo.add(str(folder.parent.resolve() / folder.name))  # data/ may be a link
        except (DvcException, OSError) as error:
            raise FeropsError(f"dvc add {folder.name} failed: {_chain(error)}") from error
    version = str(stage.outs[0].hash_info.value).removesuffix(".dir")
    _remove_halves(failed)
    require_stored(repo, version, because=failed)
    return version


def _remove_halves(failed: list[BaseException]) -> None:
    """Remove what DVC has half copied into its cache: the second path of a failed copy is such a temporary file."""
    for error in failed:
        target = getattr(error, "filename2", None)
        if isinstance(target, str) and target.endswith(".tmp"):
            Path(target).unlink(missing_ok=True)


def require_stored(repo: Repo, version: str, *, because: list[BaseException] | None = None) -> None:
    """Raise FeropsError unless DVC's cache holds the folder `version` and each of its files, byte for byte."""
    gone = missing(repo, version)
    if gone:
        reasons = ", ".join(sorted({str(getattr(error, "strerror", None) or error) for error in because or []}))
        raise FeropsError(
            f"DVC's cache {repo.cache.local.path} does not hold all of version {version[:10]}: missing or damaged "
            f"{'is' if len(gone) == 1 else 'are'} {', '.join(gone[:3])}{' ...' if len(gone) > 3 else ''}"
            f"{f' ({reasons})' if reasons else ''}. Make room on the disk of the cache (docs/versions.md) and run the "
            "command again"
        )


def missing(repo: Repo, version: str) -> list[str]:
    """Return what the cache lacks of the folder `version`, or holds damaged: names of files below the folder."""
    cache = repo.cache.local
    if not _holds(cache, f"{version}.dir"):
        return ["the list of its files"]
    listed = json.loads(Path(cache.oid_to_path(f"{version}.dir")).read_bytes())
    return [str(entry["relpath"]) for entry in listed if not _holds(cache, str(entry["md5"]))]


def outputs_not_stored(layout: Layout) -> list[str]:
    """Return the outputs in dvc.lock that DVC's cache does not hold: a full disk makes no `dvc repro` fail."""
    from dvc.repo import Repo

    with Repo(str(layout.root)) as repo:
        outputs = [out for stage in repo.index.stages if stage.cmd for out in stage.outs]
        return [str(out) for out in outputs if out.use_cache and out.hash_info and out.changed_cache()]


def holds_file(repo: Repo, path: Path) -> bool:
    """Whether the cache holds the content of a file."""
    with path.open("rb") as file:
        return _holds(repo.cache.local, hashlib.file_digest(file, "md5").hexdigest())


def _holds(cache: Any, oid: str) -> bool:
    try:
        with Path(cache.oid_to_path(oid)).open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest() == oid.removesuffix(".dir")
    except OSError:
        return False


def _chain(error: BaseException) -> str:
    """Return what DVC says, with the cause that it leaves out."""
    cause = error.__cause__
    return f"{error} ({_chain(cause)})" if cause else str(error)


@contextmanager
def _failed_transfers() -> Iterator[list[BaseException]]:
    """Collect the errors that DVC logs and forgets; what it says to those who use it by hand is left out."""
    found: list[BaseException] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                found.append(record.exc_info[1])

    whole, logger, handler = logging.getLogger("dvc"), logging.getLogger(_TRANSFERS), Collect()
    logger.addHandler(handler)
    before = whole.level, logger.propagate
    whole.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        whole.setLevel(before[0])
        logger.propagate = before[1]
