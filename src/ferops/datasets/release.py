"""A published data set as it was downloaded: a folder or an archive, read without unpacking and without trust.

Members are streamed, never extracted. A member whose name leaves the archive, a link, or one that unpacks to absurd
sizes refuses the whole release (`ferops.datasets.untrusted`): no honest copy has any.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from ferops.datasets.manifest import make_row
from ferops.datasets.tars import OPENERS, Tar
from ferops.datasets.untrusted import (
    ARCHIVES,
    KEPT,
    check_size,
    check_total,
    check_whole,
    leave_out,
    left_out,
    printable,
    refuse,
)
from ferops.datasets.zips import Zip
from ferops.errors import FeropsError
from ferops.escape import inline

Columns = Mapping[str, Any]
"""What a reader knows of one image: the arguments of `manifest.make_row` but `image` and `source`."""
Rows = tuple[int | None, Iterator[dict[str, Any]]]
"""The number of rows, where it is known before, and the raw rows. What a reader counts as `skipped`, reason -> files,
is complete once they are exhausted."""

_FOREIGN = {b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive", b"\x28\xb5\x2f\xfd": "a zstd archive"}


class Release(Protocol):
    """`names`: every file's path below the release's root, with `/`, sorted; an archive inside a folder counts as a
    folder of its name without the ending. Readers match the ends of paths, so the depth of the root doesn't matter.
    Litter of operating systems is not among them."""

    path: Path
    names: tuple[str, ...]

    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open one file to be read in pieces: for a list that may be large. Only one at a time."""

    def read(self, name: str) -> bytes:
        """Return one file of at most MAX_IMAGE_BYTES: for lists and labels, not for every image."""

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named files, one at a time, empty ones too: in the order of `names`, but in the
        archive's own order from a compressed tar. Raises FeropsError at a damaged member."""


def open_release(path: Path, *, wanted: str, skipped: Counter[str]) -> Release:
    """Open a folder or an archive.

    Args:
        wanted: what the reader expects, for messages: "the Kaggle folder release: train/<class>/*.jpg ...".
        skipped: counts what is left out, reason -> files; complete once everything has been streamed. What is odd but
            comes in has a reason that ends with KEPT.

    Raises:
        FeropsError: no such path, neither folder nor archive, damaged, encrypted, or dangerous.
    """
    if not path.exists():
        raise FeropsError(f"{path} does not exist; wanted {wanted}")
    if path.is_dir():
        return Folder(path, skipped=skipped)
    return _archive(path, wanted=wanted, skipped=skipped)


def rows_of(
    release: Release, found: Mapping[str, Columns | Sequence[Columns]], *, source: str, skipped: Counter[str]
) -> Rows:
    """Return the rows of the images in `found`: path -> columns, or several for an image that was published with
    several labels. Empty files are left out and counted."""
    columns_of = {name: [one] if isinstance(one, Mapping) else one for name, one in found.items()}

    def rows() -> Iterator[dict[str, Any]]:
        for name, image in release.stream(columns_of):
            if not image:
                leave_out(skipped, name, "empty file")
                continue
            for columns in columns_of[name]:
                yield make_row(image, source=source, **columns)

    return sum(map(len, columns_of.values())), rows()


def wrong_layout(release: Release, *, wanted: str, found: str, skipped: Counter[str]) -> FeropsError:
    """Return the error for a release that a reader can't use: `found` ends "holds N files, but ..."."""
    examples = ", ".join(repr(name) for name in release.names[:3])
    left = "; ".join(f"{count} x {inline(reason)}" for reason, count in (+skipped).items())
    return FeropsError(
        f"{release.path} holds {len(release.names)} files{f' ({examples} ...)' if examples else ''}, but {found}; "
        f"wanted {wanted}{f'. Left out: {left}' if left else ''}"
    )


def _archive(path: Path, *, wanted: str, skipped: Counter[str]) -> Release:
    with _readable(path), path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK\x03\x04") or start.startswith(b"PK\x05\x06"):  # the second one is empty
        return Zip(path, skipped=skipped)
    if start.startswith(tuple(OPENERS)) or start[257:262] == b"ustar" or _is_old_tar(start):
        return Tar(path, skipped=skipped)
    foreign = next((kind for magic, kind in _FOREIGN.items() if start.startswith(magic)), None)
    if foreign:
        raise FeropsError(f"{path} is {foreign}, which is not read. Unpack it and import the folder")
    raise FeropsError(f"{path} is neither a folder nor a zip or tar; wanted {wanted}")


def _is_old_tar(start: bytes) -> bool:
    """Whether a file begins with a tar header from before 1988, which has no mark but a checksum."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FeropsError(
            f"{path} cannot be read ({error.strerror}). Check that it is yours to read and that its disk works"
        ) from error


class Folder:
    """A folder, with the archives in it opened as sub-folders. `only`: these files and no others, for a list that was
    named by its path."""

    def __init__(self, path: Path, *, skipped: Counter[str], only: Iterable[str] | None = None) -> None:
        self.path = path
        self._files = {name: path / name for name in only} if only is not None else _walk(path, skipped=skipped)
        self._archives: dict[str, tuple[Release, str]] = {}  # name -> its archive, and its name in there
        if only is None:
            self._open_archives(skipped=skipped)
        self.names = tuple(sorted([*self._files, *self._archives]))

    def _open_archives(self, *, skipped: Counter[str]) -> None:
        for name in [name for name in self._files if name.lower().endswith(ARCHIVES)]:
            prefix = name[: -len(max((end for end in ARCHIVES if name.lower().endswith(end)), key=len))]
            path = self._files.pop(name)
            if any(other.startswith(f"{prefix}/") for other in [*self._files, *self._archives]):
                leave_out(skipped, name, "archive beside a folder of its name (taken as unpacked already)")
                continue
            left_out_inside: Counter[str] = Counter()
            archive = _archive(path, wanted="a zip or a tar, as its name says", skipped=left_out_inside)
            beside = name[: name.rfind("/") + 1]
            if archive.names and all(f"{beside}{inside}" in self._files for inside in archive.names):
                leave_out(skipped, name, "archive beside all of its files (taken as unpacked already)")
            else:
                skipped.update(left_out_inside)
                self._archives |= {f"{prefix}/{inside}": (archive, inside) for inside in archive.names}

    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        if name in self._archives:
            archive, inside = self._archives[name]
            return archive.open(inside)
        with _readable(self._files[name]):
            return self._files[name].open("rb")

    def read(self, name: str) -> bytes:
        if name in self._archives:
            archive, inside = self._archives[name]
            return archive.read(inside)
        file = self._files[name]
        with _readable(file):
            check_whole(file.stat().st_size, name=name, where=str(self.path))
            return file.read_bytes()

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        packed: dict[int, tuple[Release, dict[str, str]]] = {}
        for name in names:
            if name in self._archives:
                archive, inside = self._archives[name]
                packed.setdefault(id(archive), (archive, {}))[1][inside] = name
            else:
                yield name, self.read(name)
        for archive, outside in packed.values():
            for inside, content in archive.stream(list(outside)):
                yield outside[inside], content


def _walk(root: Path, *, skipped: Counter[str]) -> dict[str, Path]:
    """Return the regular files below `root`, by their printable path below it, checked."""
    files: dict[str, Path] = {}
    inside = root.resolve()
    total = 0

    def fail(error: OSError) -> None:
        raise FeropsError(f"{error.filename} cannot be read ({error.strerror}). Check that it is yours to read")

    for folder, folders, names in os.walk(root, onerror=fail):  # by itself it passes over what it may not read
        folders.sort()
        for link in [name for name in folders if (Path(folder) / name).is_symlink()]:
            _check_link(Path(folder) / link, inside=inside, root=root)
            skipped["link to another folder of the release"] += 1
        for file in (Path(folder) / name for name in sorted(names)):
            if file.is_symlink():
                _check_link(file, inside=inside, root=root)
            name = printable(file.relative_to(root).as_posix())
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                refuse(f"{root}, {name!r}", "is a device or a pipe")
            reason = left_out(name, nested=False)
            if reason:
                leave_out(skipped, name, reason)
                continue
            if not file.relative_to(root).as_posix().isprintable():
                skipped[f"name is not printable text{KEPT}"] += 1
            check_size(status.st_size, name=name, where=str(root))
            if name in files:
                skipped["name twice, as text (the last one counts)"] += 1
            total += status.st_size
            files[name] = file
    check_total(len(files), total, where=str(root))
    return files


def _check_link(link: Path, *, inside: Path, root: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise FeropsError(f"{root}: the link {str(link)!r} leads nowhere. Remove it, or put the file there") from error
    if not target.is_relative_to(inside):
        refuse(str(root), f"holds a link that leaves it: {str(link)!r} -> {str(target)!r}")
