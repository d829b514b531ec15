"""FER2013 as one CSV, an image a line, with the FERPlus votes for each image where they lie beside it.

`fer2013.csv` has the columns emotion, pixels, Usage; `icml_face_data.csv` the same content as emotion, " Usage",
" pixels". `emotion` is 0-6 (angry, disgust, fear, happy, sad, surprise, neutral), `pixels` are 48 x 48 grey levels from
the upper left, row by row, `Usage` is the challenge's part (the challenge's own description on Kaggle).
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ferops.datasets import ferplus
from ferops.datasets.manifest import make_row
from ferops.datasets.release import Release, Rows
from ferops.datasets.tables import lines
from ferops.errors import FeropsError

TABLES = ("fer2013.csv", "icml_face_data.csv")
COLUMNS = ("emotion", "pixels", "usage")
CODES = ("anger", "disgust", "fear", "happy", "sad", "surprised", "neutral")
"""Label of each code of `emotion`."""
SIDE_PX = 48

MAX_BAD_LINES = 10
"""A few broken lines are left out and counted; more, and this is not the file it should be."""


class BadLineError(ValueError):
    """One line of the CSV does not hold an image; the message says why."""


def find_table(release: Release, *, skipped: Counter[str]) -> str | None:
    """Return the name of the table in `release`: fer2013.csv before icml_face_data.csv, the uppermost one; or None."""
    found = [name for table in TABLES for name in _named(release, table)]
    if not found:
        if _named(release, ferplus.FILE):
            skipped[f"{ferplus.FILE}: its votes follow the order of fer2013.csv, which is not there"] += 1
        return None
    others = len(release.names) - 1 - (_votes_beside(release, found[0]) is not None)
    if others:
        skipped[f"not {PurePosixPath(found[0]).name}, which holds every image"] += others
    return found[0]


def read_table(release: Release, name: str, *, parts: Mapping[str, str], skipped: Counter[str]) -> Rows:
    """Return the number of lines of the table `name` in `release`, and its rows in their order, one at a time.

    Rows have `votes_<name>` (ferplus.VOTES) if FERPlus's file lies in the same folder. `parts` is part -> usage.

    Raises:
        FeropsError: a column is missing, or FERPlus's file has another number of lines; while the rows are drawn: more
            than MAX_BAD_LINES lines are not images, or the votes belong to other images.
    """
    usage = Counter(row["usage"] for _, row in lines(release, name, columns=COLUMNS))
    beside = _votes_beside(release, name)
    votes = ferplus.Votes(release, beside) if beside else None
    if votes is not None:
        votes.require(usage.total())
    if "PrivateTest" not in usage:
        parts = {**parts, "PublicTest": "test"}
    return usage.total(), _rows(release, name, parts=parts, votes=votes, skipped=skipped)


def _rows(
    release: Release, name: str, *, parts: Mapping[str, str], votes: ferplus.Votes | None, skipped: Counter[str]
) -> Iterator[dict[str, Any]]:
    bad: list[str] = []
    for number, (line, row) in enumerate(lines(release, name, columns=COLUMNS)):
        try:
            label, usage, image = _image(row, parts=parts)
        except BadLineError as error:
            bad.append(f"line {line}: {error}")
            skipped[bad[-1]] += 1
            if len(bad) > MAX_BAD_LINES:
                raise FeropsError(
                    f"{release.path}, {name}: more than {MAX_BAD_LINES} lines are not images of FER2013 "
                    f"({'; '.join(bad)}). Download it again"
                ) from error
            continue
        more: dict[str, Any] = votes.of(number, usage=row["usage"], label=label) if votes is not None else {}
        yield make_row(image, source="fer2013", label=label, usage=usage, **more)
    if votes is not None:
        votes.check()


def _image(row: dict[str, str], *, parts: Mapping[str, str]) -> tuple[str, str, bytes]:
    """Return the label, the usage and the PNG of a line; raise BadLineError."""
    code, part = row["emotion"], row["usage"]
    if code not in set("0123456"):
        raise BadLineError(f"emotion {code[:20]!r} is not a code from 0 to 6")
    if part not in parts:
        raise BadLineError(f"Usage {part[:20]!r} is not one of {', '.join(parts)}")
    levels = row["pixels"].split()
    if len(levels) != SIDE_PX**2:
        raise BadLineError(f"{len(levels)} pixels instead of {SIDE_PX**2}")
    try:
        pixels = bytes(map(int, levels))
    except ValueError as error:
        raise BadLineError("a pixel is not a whole number from 0 to 255") from error
    return CODES[int(code)], parts[part], png(pixels, width_px=SIDE_PX)


def png(grey: bytes, *, width_px: int) -> bytes:
    """Return a grey 8-bit PNG of the levels `grey`, row by row; at most 65,535 bytes with one more for each row.

    The pixels are stored, not compressed, so that the bytes, and with them image_id, are the same on every machine:
    what a compressor makes of them depends on its version. Format: the PNG specification (ISO/IEC 15948); deflate's
    stored block: RFC 1951, 3.2.4.
    """
    height_px = len(grey) // width_px
    rows = b"".join(b"\0" + grey[row * width_px : (row + 1) * width_px] for row in range(height_px))
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(rows), len(rows) ^ 0xFFFF) + rows
    pixels = stored + struct.pack(">I", zlib.adler32(rows))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _named(release: Release, file: str) -> list[str]:
    """Return the files of this name in `release`, the uppermost first."""
    found = [name for name in release.names if PurePosixPath(name).name.lower() == file]
    return sorted(found, key=lambda name: (name.count("/"), name))


def _votes_beside(release: Release, table: str) -> str | None:
    folder = PurePosixPath(table).parent
    return next((name for name in _named(release, ferplus.FILE) if PurePosixPath(name).parent == folder), None)
