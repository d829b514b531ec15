"""The file of a backup: a tar that holds files and, last, manifest.json with the SHA-256 of each."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar, Literal

from pydantic import ValidationError

from ferops.errors import FeropsError
from ferops.files import atomic_file
from ferops.records import Record

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


class BackupManifest(Record):
    """What a backup holds.

    Attributes:
        kind: of the stack whose registry it is.
        made_at: UTC, ISO 8601.
        files: SHA-256 (64 hex digits) by path in the archive.
    """

    stored_in: ClassVar[str] = "manifest.json in a backup"
    made_by: ClassVar[str] = "ferops backup"

    kind: Literal["local", "team"]
    made_at: str
    ferops_version: str
    files: dict[str, str]


class Writer:
    """Adds files to an archive and notes their SHA-256, of the very bytes that it stores."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.files: dict[str, str] = {}

    def add(self, name: str, path: Path) -> None:
        with path.open("rb") as source:
            info = self._tar.gettarinfo(arcname=name, fileobj=source)
            info.type = tarfile.REGTYPE  # also where two names share a file
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            hashed = _Hashed(source)
            self._tar.addfile(info, hashed)
        self.files[name] = hashed.digest.hexdigest()

    def add_folder(self, name: str, folder: Path) -> None:
        """Add the files below `folder`, if it exists; half-written ones (`.*.tmp`) are left out."""
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if path.is_file() and not any(part.startswith(".") and part.endswith(".tmp") for part in parts):
                self.add(str(PurePosixPath(name, *parts)), path)


@contextmanager
def written(target: Path, manifest: Callable[[dict[str, str]], BackupManifest]) -> Iterator[Writer]:
    """Yield a writer of the archive `target`, which appears whole, read again and compared with its hashes, or not.

    Raises:
        FeropsError: the disk is full, or gives back other bytes than were written.
    """
    with atomic_file(target) as temporary:
        temporary.touch(mode=0o600)  # it holds the project's signing key
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            writer = Writer(tar)
            yield writer
            text = manifest(writer.files).model_dump_json(indent=2).encode()
            info = tarfile.TarInfo(MANIFEST)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        check(temporary)


def check(file: Path, destination: Path | None = None) -> BackupManifest:
    """Compare every file of an archive with its manifest, and return the manifest.

    Args:
        file: the archive.
        destination: where its files are unpacked, a new folder; None: they are only read.

    Raises:
        FeropsError: it is no backup, or damaged.
    """
    found: dict[str, str] = {}
    manifest: BackupManifest | None = None
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if not member.isreg() or name.is_absolute() or ".." in name.parts:
                    raise FeropsError(f"{file} holds {member.name!r}, which no backup does. It is not used")
                source = tar.extractfile(member)
                assert source is not None  # a regular file
                if member.name == MANIFEST:
                    manifest = BackupManifest.model_validate_json(source.read())
                else:
                    found[member.name] = _copy(source, destination and destination.joinpath(*name.parts))
    except (tarfile.TarError, EOFError, ValidationError) as error:
        raise FeropsError(f"{file} is no backup of `ferops backup`, or it is damaged: {error}") from error
    except OSError as error:
        if error.filename or destination is None:
            raise FeropsError(f"{file} cannot be read: {error.strerror or error}") from error
        raise
    if manifest is None:
        raise FeropsError(f"{file} has no {MANIFEST}: it is no whole backup of `ferops backup`. Take another one")
    wrong = sorted({name for name, _ in found.items() ^ manifest.files.items()})
    if wrong:
        raise FeropsError(
            f"{file} is damaged: {', '.join(wrong[:3])}{' ...' if len(wrong) > 3 else ''} "
            f"({len(wrong)} of {len(manifest.files)} files) are not what was saved. Take another backup"
        )
    return manifest


def _copy(source: IO[bytes], target: Path | None) -> str:
    digest = hashlib.sha256()
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") if target else io.BytesIO() as out:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            if target is not None:
                out.write(chunk)
    return digest.hexdigest()


class _Hashed(io.RawIOBase):
    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self.digest.update(chunk)
        return chunk
