"""FER2013 in its Kaggle folder release: `train/<class>/*.jpg` and `test/<class>/*.jpg`, as a folder or one zip.

Source: Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning contests" (2013).
The file names carry the challenge's three parts: `Training_` is train, `PublicTest_` its validation set (leaderboard),
`PrivateTest_` its test set (final ranking). A release with only `PublicTest_` beside the training images uses that part
as its test set, and so do we. Where names carry no part (other copies number the files), the folder decides.

An archive comes from the web, so nothing in it is trusted: members are streamed, never extracted, and a member whose
name leaves the archive or that unpacks to absurd sizes refuses the whole file.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ferops.datasets.manifest import make_row
from ferops.errors import FeropsError

LABELS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprise": "surprised",
}
PARTS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_IMAGE_BYTES = 10 * 2**20
"""A FER2013 picture has about 2 kB; ten megabytes is no 48-pixel face."""
MAX_COMPRESSION = 200
"""JPEG hardly compresses again; a member that unpacks to 200 times its size is a decompression bomb."""

WANTED = "wanted the Kaggle folder release: train/<class>/*.jpg and test/<class>/*.jpg with the classes " + ", ".join(
    LABELS
)


@dataclass(frozen=True)
class Entry:
    """One picture of the release: where it lies, and what its place and name say about it."""

    name: str
    folder: str
    label: str
    part: str | None


def read(path: Path, *, skipped: Counter[str]) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return the number of pictures in a release, and its rows in the order of their paths.

    `skipped` counts files that are no pictures of the release, by reason, complete once the rows are exhausted.

    Raises:
        FeropsError: no such path, not a zip, a damaged or dangerous zip, or not this layout. A damaged member is found
            while the rows are drawn.
    """
    if not path.exists():
        raise FeropsError(f"{path} does not exist; {WANTED}, as a folder or a zip")
    if path.is_dir():
        names = sorted(
            (Path(folder) / file).relative_to(path).as_posix() for folder, _, files in os.walk(path) for file in files
        )
        entries = _entries(names, path=path, skipped=skipped)
        return len(entries), _rows(entries, _folder_bytes(path, entries), skipped=skipped)
    members = _members(path)
    entries = _entries(sorted(members), path=path, skipped=skipped)
    return len(entries), _rows(entries, _zip_bytes(path, entries, members), skipped=skipped)


def _entries(names: list[str], *, path: Path, skipped: Counter[str]) -> list[Entry]:
    entries = []
    for name in names:
        parts = PurePosixPath(name).parts
        if len(parts) < 3 or parts[-3] not in ("train", "test") or parts[0] == "__MACOSX":
            skipped["not below train/ or test/"] += 1
        elif parts[-1].startswith(".") or not parts[-1].lower().endswith(SUFFIXES):
            skipped["not a picture"] += 1
        elif parts[-2] not in LABELS:
            skipped[f"unknown class folder {parts[-2]}"] += 1
        else:
            prefix = parts[-1].split("_")[0]
            entries.append(Entry(name, parts[-3], LABELS[parts[-2]], prefix if prefix in PARTS else None))
    if not {"train", "test"} <= {entry.folder for entry in entries}:
        raise FeropsError(
            f"{path} holds {len(names)} files, but not pictures in both train/<class>/ and test/<class>/; {WANTED}"
        )
    return entries


def _rows(entries: list[Entry], images: Iterator[bytes], *, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    private = any(entry.part == "PrivateTest" for entry in entries)
    for entry, image in zip(entries, images, strict=True):
        if not image:
            skipped["empty file"] += 1
            continue
        usage = PARTS[entry.part] if entry.part else entry.folder
        if entry.part == "PublicTest" and not private:
            usage = "test"
        yield make_row(image, source="fer2013", label=entry.label, usage=usage)


def _folder_bytes(path: Path, entries: list[Entry]) -> Iterator[bytes]:
    for entry in entries:
        file = path / entry.name
        size = file.stat().st_size
        if size > MAX_IMAGE_BYTES:
            raise FeropsError(_too_large(file, size))
        yield file.read_bytes()


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            started = file.read(4) == b"PK\x03\x04"
        if started:
            raise FeropsError(f"{path} begins as a zip but its end is missing: it was cut short. Download it again")
        raise FeropsError(f"{path} is neither a folder nor a zip; {WANTED}")
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
            "No honest copy of FER2013 does; nothing was imported. Get it from its publisher"
        )
    if member.file_size > MAX_IMAGE_BYTES:
        raise FeropsError(_too_large(f"{path}, member {member.filename!r}", member.file_size))
    if member.file_size > 2**20 and member.file_size > MAX_COMPRESSION * max(member.compress_size, 1):
        raise FeropsError(
            f"{path}, member {member.filename!r} would unpack {member.compress_size} bytes to {member.file_size}: "
            "a decompression bomb; nothing was imported. Get the data set from its publisher"
        )


def _too_large(where: Path | str, size: int) -> str:
    return (
        f"{where} has {size} bytes; at most {MAX_IMAGE_BYTES} are accepted for one picture of FER2013, "
        "nothing was imported. Get the data set from its publisher"
    )


def _zip_bytes(path: Path, entries: list[Entry], members: dict[str, zipfile.ZipInfo]) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        for entry in entries:
            try:
                yield archive.read(members[entry.name])  # never more than file_size, which was checked
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
                raise FeropsError(
                    f"{path}, member {entry.name!r} cannot be read ({error}): the zip is damaged or encrypted. "
                    "Download it again"
                ) from error
