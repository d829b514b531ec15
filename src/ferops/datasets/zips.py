"""A zip as a release: read member by member, in any order, without trust in what its directory says."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ferops.datasets.untrusted import Index, check_compression, check_whole, refuse
from ferops.errors import FeropsError

_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Python bounds what one step of these unpacks; bzip2 and LZMA members have no bound, and nobody publishes them."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError)
_HEADER_BYTES = 30
"""Before a member's name and data: the local file header of the zip format (PKWARE's APPNOTE, 4.3.7)."""


class Zip:
    """See `ferops.datasets.release.Release`. `stream` keeps the order asked for.

    Args:
        content: the zip itself where it is no file; `path` is then what messages call it.
    """

    def __init__(self, path: Path, *, skipped: Counter[str], content: bytes | None = None) -> None:
        self.path = path
        self._zip = _open(path, path if content is None else io.BytesIO(content))
        index: Index[zipfile.ZipInfo] = Index(path, skipped=skipped)
        for member in self._zip.infolist():
            _check(member, path=path)
            if not member.is_dir():
                index.add(_name(member), member, size=member.file_size)
        _check_layout(self._zip, path=path, size=path.stat().st_size if content is None else len(content))
        self._members = index
        self.names = tuple(sorted(index))

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._zip.open(self._members[name]) as file:
                yield file
        except _DAMAGE as error:
            raise self._damaged(name, error) from error

    def size(self, name: str) -> int:
        """Return the bytes of a member, once unpacked."""
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        size = self._members[name].file_size
        check_whole(size, name=name, where=str(self.path))
        with self.open(name) as file:
            content = file.read(size)  # never without a size: that would unpack what the directory hides
        if len(content) != size:
            raise self._damaged(name, f"{len(content)} bytes instead of {size}")
        return content

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, self.read(name)

    def _damaged(self, name: str, problem: object) -> FeropsError:
        return FeropsError(
            f"{self.path}, member {name!r} cannot be read ({problem}): the zip is damaged. Download it again"
        )


def _open(path: Path, source: Path | IO[bytes]) -> zipfile.ZipFile:
    if not zipfile.is_zipfile(source):
        raise FeropsError(f"{path} begins as a zip but its end is missing: it was cut short. Download it again")
    try:
        return zipfile.ZipFile(source)
    except (*_DAMAGE, ValueError) as error:
        raise FeropsError(f"{path} is a damaged zip ({error}). Download it again") from error


def _check(member: zipfile.ZipInfo, *, path: Path) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refuse(f"{path}, {member.filename!r}", "is a link or a device")
    if member.flag_bits & 0x1:
        raise FeropsError(
            f"{path} is encrypted (member {member.filename!r}). Unpack it with the password that its publisher gave "
            "you, and import the folder"
        )
    if member.is_dir():
        return
    if member.compress_type not in _PLAIN:
        raise FeropsError(
            f"{path}, member {member.filename!r} is packed by an unusual method ({member.compress_type}). "
            "Unpack it and import the folder"
        )
    check_compression(member.file_size, member.compress_size, where=f"{path}, member {member.filename!r}")


def _check_layout(archive: zipfile.ZipFile, *, path: Path, size: int) -> None:
    """Refuse members that share bytes, as the bombs of Fifield, "A better zip bomb" (WOOT 2019), do; and a bad sum."""
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    ends = [
        member.header_offset + _HEADER_BYTES + len(member.orig_filename) + member.compress_size for member in members
    ]
    starts = [*(member.header_offset for member in members), archive.start_dir]
    for member, end, start in zip(members, ends, starts[1:], strict=True):
        if end > start:
            refuse(f"{path}, member {member.filename!r}", "overlaps the next one: it is a decompression bomb")
    total = sum(member.file_size for member in members)
    check_compression(total, size, where=str(path))


def _name(member: zipfile.ZipInfo) -> str:
    """Return the name as text: UTF-8 where the bytes are that, flagged or not (macOS forgets the flag); else cp437."""
    if member.flag_bits & 0x800 or member.filename.isascii():
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename
