"""What a data set from the web may not hold: names that leave it, links, absurd sizes. And what can be ignored in it.

An attack refuses the whole release, before anything of it is written. Ordinary litter is left out and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NoReturn, TypeVar

from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.errors import FeropsError

Place = TypeVar("Place")

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
FOREIGN_ARCHIVES = (".7z", ".rar", ".z01", ".zst", ".cab", ".dmg", ".iso")

MAX_IMAGE_BYTES = 64 * 2**20
"""Above the largest published face image by far: AffectNet's are photographs from the web."""
MAX_FILE_BYTES = 64 * 2**30
"""For other files than images; the largest published lists have about half a gigabyte."""
MAX_TOTAL_BYTES = 2**40
"""Ten times AffectNet with its full photographs."""
MAX_FILES = 5_000_000
MAX_COMPRESSION = 200
"""Images hardly compress again; what unpacks to 200 times its size is a decompression bomb."""
COMPRESSION_COUNTS_FROM = 2**20
"""Bytes: a small text of one repeated letter compresses by any factor and harms nobody."""

KEPT = " (kept)"
"""Ends a reason that is counted though the file comes in: the import lists it as noticed, not as skipped."""


class Skipped(Counter[str]):
    """Reason -> files that are left out; `files` has each of them that has a name, and its reason."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[tuple[str, str]] = []


def leave_out(skipped: Counter[str], name: str, reason: str) -> None:
    """Count the file `name` as left out, and note it if `skipped` keeps names."""
    skipped[reason] += 1
    if isinstance(skipped, Skipped):
        skipped.files.append((name, reason))


_LITTER_FOLDERS = {"__MACOSX", ".git", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", ".Trashes", ".Spotlight-V100"}
_LITTER = {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", ".gitkeep", ".gitignore"}


def refuse(where: str, what: str) -> NoReturn:
    """Raise the FeropsError for a release that is an attack, or looks like one."""
    raise FeropsError(
        f"{where} {what}. No honest copy of a data set does; nothing was imported. Get it from its publisher"
    )


def clean_name(name: str, *, where: str) -> str:
    """Return a member's name with `/` between its parts and without `./`; refuse one that would leave the archive.

    Characters that are no text (a name in another encoding than UTF-8) are read as Latin-1, so that the name can be
    printed and stored.
    """
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", parts[0]) or "\0" in name:
        refuse(where, f"holds a member whose name leaves the archive: {name!r}")
    return printable("/".join(part for part in parts if part not in ("", ".")))


def printable(name: str) -> str:
    """Return `name` with the bytes that were no UTF-8 read as Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("latin-1")
    return name


def check_size(size: int, *, name: str, where: str) -> None:
    """Refuse a file of absurd size: `size` bytes, once unpacked."""
    limit = MAX_IMAGE_BYTES if name.lower().endswith(IMAGE_ENDINGS) else MAX_FILE_BYTES
    if size > limit:
        refuse(f"{where}, {name!r}", f"has {size} bytes; at most {limit} are accepted for one file of its kind")


def check_whole(size: int, *, name: str, where: str) -> None:
    """Refuse to hold a file of `size` bytes in memory: no image and no list that is read at once is so large."""
    if size > MAX_IMAGE_BYTES:
        refuse(f"{where}, {name!r}", f"has {size} bytes; at most {MAX_IMAGE_BYTES} are accepted for such a file")


def check_compression(unpacked: int, packed: int, *, where: str) -> None:
    """Refuse `packed` bytes that become `unpacked`, if the factor is absurd."""
    if unpacked > COMPRESSION_COUNTS_FROM and unpacked > MAX_COMPRESSION * max(packed, 1):
        refuse(where, f"would unpack {packed} bytes to {unpacked}: it is a decompression bomb")


def check_total(files: int, size: int, *, where: str) -> None:
    """Refuse an absurd number of files, or of bytes in all."""
    if files > MAX_FILES or size > MAX_TOTAL_BYTES:
        refuse(where, f"holds {files} files with {size} bytes; at most {MAX_FILES} and {MAX_TOTAL_BYTES} are accepted")


def left_out(name: str, *, nested: bool) -> str | None:
    """Return why a file is of no use to any reader, or None. `nested`: it lies inside an archive already."""
    path = PurePosixPath(name)
    if path.name.lower() in _LITTER or path.name.startswith("._") or _LITTER_FOLDERS & set(path.parts):
        return "litter of an operating system (__MACOSX, .DS_Store, Thumbs.db ...)"
    lower = path.name.lower()
    if nested and lower.endswith(ARCHIVES):
        return "archive inside an archive (unpack the outer one and import the folder)"
    if lower.endswith(FOREIGN_ARCHIVES):
        return "archive of a kind that is not read, or a part of one (unpack it and import the folder)"
    return None


class Index(dict[str, Place]):
    """The files of one archive, name -> where it lies: litter left out and counted, the last of equal names kept."""

    def __init__(self, path: Path, *, skipped: Counter[str]) -> None:
        super().__init__()
        self._where, self._skipped = str(path), skipped
        self._files, self._size = 0, 0

    def add(self, name: str, place: Place, *, size: int) -> str | None:
        """Check a member and note its place; return the name that it goes by here, or None if it is left out."""
        self._files, self._size = self._files + 1, self._size + size
        check_total(self._files, self._size, where=self._where)
        cleaned = clean_name(name, where=self._where)
        check_size(size, name=cleaned, where=self._where)
        reason = left_out(cleaned, nested=True)
        if reason:
            leave_out(self._skipped, cleaned, reason)
            return None
        if not name.isprintable():
            self._skipped[f"name is not printable text{KEPT}"] += 1
        if cleaned in self:
            self._skipped["name twice in one archive (the last one counts)"] += 1
        self[cleaned] = place
        return cleaned
