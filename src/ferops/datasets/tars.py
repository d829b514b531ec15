"""A tar as a release, plain or compressed: read front to back, without trust in what it says.

A compressed tar can only be read from its beginning. Its small lists are kept in memory when its members are listed,
so that a reader may ask for hundreds of label files; images come in a second pass.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.datasets.untrusted import Index, check_compression, check_whole, refuse
from ferops.errors import FeropsError

OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
"""How a compressed file begins -> what unpacks it."""

# The last two: Python's tarfile, at a header that makes no sense, or at hundreds that announce each other
_DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RecursionError)
_MAX_HEADER_BYTES = 2**20
"""A long name or a set of extended attributes; Python reads either at once."""
_KEPT_FILE_BYTES, _KEPT_BYTES = 2**20, 64 * 2**20
_GRACE_BYTES = 64 * 2**20
"""Unpacked before the factor is checked: a compressed stream begins with what compresses best."""


class Place(NamedTuple):
    """`number` counts the members from 0; `offset` is that of the data in a plain tar."""

    number: int
    offset: int
    size: int


class Tar:
    """See `ferops.datasets.release.Release`. `stream` keeps the order asked for in a plain tar, and the archive's own
    in a compressed one."""

    def __init__(self, path: Path, *, skipped: Counter[str]) -> None:
        self.path = path
        with path.open("rb") as file:
            start = file.read(8)
        self._unpack = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), None)
        self._small: dict[str, bytes] = {}
        self._index: Index[Place] = Index(path, skipped=skipped)
        self._list()
        self.names = tuple(sorted(self._index))

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        number = self._index[name].number
        with self._damage(name):
            for at, member, archive in self._members():
                if at == number:
                    with _content(archive, member) as file, io.BufferedReader(_Forward(file)) as forward:
                        yield forward
                    return

    def read(self, name: str) -> bytes:
        if name in self._small:
            return self._small[name]
        return next(self.stream([name]))[1]

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        if self._unpack is None:
            with self.path.open("rb") as file:
                for name in names:
                    place = self._index[name]
                    check_whole(place.size, name=name, where=str(self.path))
                    file.seek(place.offset)
                    yield name, self._whole(name, file.read(place.size))
            return
        wanted = {self._index[name].number: name for name in names}
        with self._damage("its members"):
            for number, member, archive in self._members():
                if number in wanted:
                    name = wanted.pop(number)
                    check_whole(member.size, name=name, where=str(self.path))
                    with _content(archive, member) as file:
                        yield name, self._whole(name, file.read(member.size))
                if not wanted:
                    return

    def _list(self) -> None:
        kept = 0
        with self._damage("its list of members"):
            for number, member, archive in self._members():
                name = self._index.add(member.name, Place(number, member.offset_data, member.size), size=member.size)
                if (
                    name is not None
                    and self._unpack is not None
                    and member.size <= _KEPT_FILE_BYTES
                    and kept + member.size <= _KEPT_BYTES
                    and not name.lower().endswith(IMAGE_ENDINGS)
                ):
                    with _content(archive, member) as file:
                        self._small[name] = self._whole(name, file.read(member.size))
                    kept += member.size

    def _members(self) -> Iterator[tuple[int, tarfile.TarInfo, tarfile.TarFile]]:
        """Yield (number, member, archive) of the regular files, checked; their content may be read until the next."""
        with self.path.open("rb") as raw:
            if self._unpack is None:
                file: Any = raw
                mode = "r:"
            else:
                file = _Guarded(self._unpack(raw), raw, path=self.path)
                mode = "r|"  # forward only
            with tarfile.open(
                str(self.path), fileobj=file, mode=mode, tarinfo=_Member, encoding="utf-8", errors="surrogateescape"
            ) as archive:  # type: ignore[call-overload]
                number = -1
                while (member := archive.next()) is not None:
                    archive.members.clear()  # 290,000 of them would take half a gigabyte
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse():
                        refuse(f"{self.path}, {member.name!r}", "is a link, a device or a sparse file")
                    number += 1
                    yield number, member, archive
            while file.read(2**20):  # to the end, where the checksum is
                pass

    def _whole(self, name: str, content: bytes) -> bytes:
        if len(content) != self._index[name].size:
            raise FeropsError(f"{self.path}, member {name!r} is cut short. Download it again")
        return content

    @contextmanager
    def _damage(self, what: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise FeropsError(
                f"{self.path}, {what!r} cannot be read ({error}): the archive is damaged or was cut short. "
                "Download it again"
            ) from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    if file is None:
        raise FeropsError(f"{member.name!r} is not a regular file")
    return file


class _Forward(io.RawIOBase):
    """A member to be read once, front to back; what Python gives for one of a compressed tar breaks when asked
    whether it could seek."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


class _Member(tarfile.TarInfo):
    """Python ends silently at a broken header; an archive must end with a block of zeros, or it is damaged."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"broken header: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """The hook that Python's source names for subclasses; called before anything of the member is read."""
        kinds = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)
        is_header = self.type in (*kinds, tarfile.GNUTYPE_LONGLINK)
        if self.size < 0 or (is_header and self.size > _MAX_HEADER_BYTES):  # a negative size would read everything
            refuse(str(archive.name), f"holds a member of {self.size} bytes, named {self.name!r}")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


class _Guarded:
    """What a compressed tar unpacks to, watched: absurdly more than was read from `raw` refuses the release."""

    def __init__(self, file: IO[bytes], raw: IO[bytes], *, path: Path) -> None:
        self._file, self._raw, self._path = file, raw, path
        self._unpacked = 0

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._unpacked += len(content)
        if self._unpacked > _GRACE_BYTES:
            check_compression(self._unpacked, self._raw.tell(), where=str(self._path))
        return content
