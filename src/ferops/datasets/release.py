"""A published data set as it was downloaded: a folder or an archive, read without unpacking and without trust.

Members are streamed, never extracted. A member whose name leaves the archive, a link, or one that unpacks to absurd
sizes refuses the whole release: no honest copy has any.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from ferops.errors import FeropsError

MAX_IMAGE_BYTES = 64 * 2**20
"""Above the largest published face picture by far: AffectNet's are photographs from the web."""
MAX_COMPRESSION = 200
"""Pictures hardly compress again; a member that unpacks to 200 times its size is a decompression bomb."""

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


class Release(Protocol):
    """`names`: every file's path below the release's root, with `/`, sorted; an archive inside a folder counts as a
    folder of its name without the ending. Readers match the ends of paths, so the depth of the root doesn't matter."""

    path: Path
    names: tuple[str, ...]

    def read(self, name: str) -> bytes:
        """Return one file: for lists and labels, not for every picture."""

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named files, one at a time: in the order of `names` for a folder or a zip, in
        the archive's own order for a tar. Raises FeropsError at a damaged member."""


def open_release(path: Path, *, wanted: str, skipped: Counter[str]) -> Release:
    """Open a folder or an archive.

    Args:
        wanted: what the reader expects, for messages: "the Kaggle folder release: train/<class>/*.jpg ...".
        skipped: counts what is left out or odd, reason -> files; complete once everything has been streamed.

    Raises:
        FeropsError: no such path, neither folder nor archive, damaged, or dangerous.
    """
    del skipped
    if not path.exists():
        raise FeropsError(f"{path} does not exist; wanted {wanted}")
    if path.is_dir():
        return _Folder(path)
    return _Zip(path, wanted=wanted)


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = tuple(
            sorted(
                (Path(folder) / file).relative_to(path).as_posix()
                for folder, _, files in os.walk(path)
                for file in files
            )
        )

    def read(self, name: str) -> bytes:
        file = self.path / name
        _refuse_large(file.stat().st_size, where=str(file))
        return file.read_bytes()

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, self.read(name)


class _Zip:
    def __init__(self, path: Path, *, wanted: str) -> None:
        self.path = path
        self._members = _members(path, wanted=wanted)
        self.names = tuple(sorted(self._members))

    def read(self, name: str) -> bytes:
        return next(self.stream([name]))[1]

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(self.path) as archive:
            for name in names:
                try:
                    content = archive.read(self._members[name])  # never more than file_size, which was checked
                except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
                    raise FeropsError(
                        f"{self.path}, member {name!r} cannot be read ({error}): the zip is damaged or encrypted. "
                        "Download it again"
                    ) from error
                yield name, content


def _members(path: Path, *, wanted: str) -> dict[str, zipfile.ZipInfo]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            started = file.read(4) == b"PK\x03\x04"
        if started:
            raise FeropsError(f"{path} begins as a zip but its end is missing: it was cut short. Download it again")
        raise FeropsError(f"{path} is neither a folder nor a zip; wanted {wanted}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise FeropsError(f"{path} is a damaged zip ({error}). Download it again") from error
    for member in members:
        _refuse_dangerous(member, path=path)
    return {member.filename: member for member in members}


def _refuse_dangerous(member: zipfile.ZipInfo, *, path: Path) -> None:
    name = member.filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        raise FeropsError(
            f"{path} holds a member whose name leaves the archive: {member.filename!r}. "
            "No honest copy of a data set does; nothing was imported. Get it from its publisher"
        )
    _refuse_large(member.file_size, where=f"{path}, member {member.filename!r}")
    if member.file_size > 2**20 and member.file_size > MAX_COMPRESSION * max(member.compress_size, 1):
        raise FeropsError(
            f"{path}, member {member.filename!r} would unpack {member.compress_size} bytes to {member.file_size}: "
            "a decompression bomb; nothing was imported. Get the data set from its publisher"
        )


def _refuse_large(size: int, *, where: str) -> None:
    if size > MAX_IMAGE_BYTES:
        raise FeropsError(
            f"{where} has {size} bytes; at most {MAX_IMAGE_BYTES} are accepted for one file of a data set, "
            "nothing was imported. Get the data set from its publisher"
        )
