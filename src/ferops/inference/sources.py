"""The images that a person names: files, folders, globs, lists and standard input, listed one by one."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ferops.datasets.kinds import HEAD_BYTES, IMAGE_ENDINGS, UNREAD_ENDINGS, has_ending, kind_of
from ferops.datasets.untrusted import MAX_IMAGE_BYTES, left_out
from ferops.errors import FeropsError
from ferops.faces.photo import Photo

STDIN = "-"
WANTED = (
    "SOURCE is an image, a folder, a glob such as 'photos/**/*.jpg', a text file (.txt) with one of these on each "
    "line, or - for an image on standard input"
)


class Extent(NamedTuple):
    """How many images there are, the length of the longest name, and whether one is on standard input."""

    images: int
    longest: int
    has_stdin: bool


class Sources:
    """The names of images, in an order that stays the same; each iteration lists them anew and holds one folder's.

    Folders are searched with their sub-folders for images (by ending, or by content where there is none), without
    hidden litter; what is named itself is taken as it is. Links to folders are not followed.
    """

    def __init__(self, given: Sequence[str]) -> None:
        self._given = given

    def __iter__(self) -> Iterator[str]:
        """Yield each image's path, or `-`.

        Raises:
            FeropsError: one of the given names is nothing, holds no image, or cannot be listed.
        """
        for name in self._given:
            if name.endswith(".txt") and Path(name).is_file():
                for line in _lines(Path(name)):
                    yield from _expand(line)
            else:
                yield from _expand(name)

    def extent(self) -> Extent:
        """List the images once; errors as for the iteration."""
        number, longest, has_stdin = 0, 0, False
        for name in self:
            number, longest, has_stdin = number + 1, max(longest, len(name)), has_stdin or name == STDIN
        return Extent(number, longest, has_stdin)

    @property
    def root(self) -> Path | None:
        """The one folder that is given, below which results may have the names that the images have; else None."""
        only = Path(self._given[0])
        return only if len(self._given) == 1 and only.is_dir() else None


def read(name: str) -> Photo:
    """Return an image of `Sources`.

    Raises:
        UnreadableImageError: it is none, or damaged, or too large.
        OSError: the file cannot be read.
    """
    if name == STDIN:
        encoded = sys.stdin.buffer.read(MAX_IMAGE_BYTES + 1)
    else:
        if not stat.S_ISREG(Path(name).stat().st_mode):
            raise OSError("it is no regular file")  # a pipe would be waited for
        with Path(name).open("rb") as file:
            encoded = file.read(MAX_IMAGE_BYTES + 1)
    if len(encoded) > MAX_IMAGE_BYTES:
        raise OSError(f"it has more than {MAX_IMAGE_BYTES // 2**20} MiB, the most that an image file may have")
    return Photo.decode(encoded)


def _expand(name: str) -> Iterator[str]:
    path = Path(name)
    if name == STDIN:
        yield name
    elif path.is_dir():
        yield from _some(_walk(name), f"the folder {name} holds no image ({', '.join(IMAGE_ENDINGS)})")
    elif path.exists():
        if not path.is_file():
            raise FeropsError(f"{name} is no regular file. {WANTED}")
        yield name
    elif glob.has_magic(name):
        yield from _some(_fitting(name), f"no image fits {name}")
    else:
        raise FeropsError(f"{name} does not exist. {WANTED}")


def _fitting(pattern: str) -> Iterator[str]:
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 # Path.glob takes no absolute pattern
        # `*` alone means all kinds of files; folders are meant by `*/`
        if Path(name).is_file() and (not pattern.endswith("*") or _is_image(name)):
            yield name
        elif name.endswith(os.sep) and not left_out(f"{name}_", nested=False):
            yield from _walk(name)


def _walk(folder: str) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise FeropsError(f"the folder {error.filename} cannot be listed: {error.strerror}") from error

    for place, folders, files in os.walk(folder, onerror=stop):
        folders.sort()
        folders[:] = [each for each in folders if not each.startswith(".") and not left_out(f"{each}/_", nested=False)]
        for file in sorted(files):
            path = os.path.join(place, file)  # noqa: PTH118 # a Path for each of many would double the time
            if not left_out(file, nested=False) and _is_image(path):
                yield path


def _is_image(path: str) -> bool:
    """Whether a file seems to be an image, one that cannot be decoded included: its row will say so."""
    if has_ending(path):
        return path.lower().endswith((*IMAGE_ENDINGS, *UNREAD_ENDINGS))
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            return False
        with Path(path).open("rb") as file:
            return kind_of(file.read(HEAD_BYTES)) is not None
    except OSError:
        return True


def _some(names: Iterator[str] | list[str], message: str) -> Iterator[str]:
    """Yield `names`. Raises FeropsError: there is none."""
    empty = True
    for name in names:
        empty = False
        yield name
    if empty:
        raise FeropsError(f"{message}. {WANTED}")


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise FeropsError(f"{path} is no text in UTF-8. {WANTED}") from error
