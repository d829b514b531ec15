"""A text file that grows by whole lines, so that whoever reads it, or goes on with it, finds nothing half-written."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ferops.errors import FeropsError
from ferops.files import disk_errors

STDOUT = Path("-")


class Lines:
    """Appends lines to a file, those of a call together or not at all.

    Attributes:
        path: STDOUT for standard output.
    """

    def __init__(self, path: Path, *, begins: str, resume: bool) -> None:
        """Open the file.

        Args:
            begins: what such a file begins with.

        Raises:
            FeropsError: it exists and `resume` is not set; it is another file; or it cannot be written.
        """
        self.path = path
        if path == STDOUT:
            self._file: int | None = None
            return
        refuse_existing(path, resume=resume)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        # Less than that is what a kill left of the first write
        if not begins.encode().startswith(os.pread(self._file, len(begins.encode()), 0)):
            self.close()
            raise FeropsError(f"{path} does not hold predictions of this model. Name another file")

    def whole(self) -> Iterator[tuple[int, str]]:
        """Yield each whole line, and where it ends, in bytes. Raises FeropsError: the file is no text."""
        end = 0
        with open(self._file, "rb", closefd=False) if self._file is not None else io.BytesIO() as file:
            for line in file:
                end += len(line)
                if line.endswith(b"\n"):
                    try:
                        yield end, line.decode()
                    except UnicodeDecodeError as error:
                        raise FeropsError(f"{self.path} is no text in UTF-8. Name another file") from error

    def cut(self, end: int) -> None:
        """Drop what stands behind `end`, in bytes."""
        if self._file is not None:
            os.truncate(self._file, end)

    def append(self, lines: Iterable[str]) -> None:
        """Write lines, each with its line break. Raises FeropsError: the disk is full; nothing of them is kept."""
        text = "".join(lines)
        if self._file is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        before = os.fstat(self._file).st_size
        left = memoryview(text.encode())
        try:
            with disk_errors(self.path):
                while left:
                    left = left[os.write(self._file, left) :]
        except BaseException:
            os.truncate(self._file, before)
            raise

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def refuse_existing(path: Path, *, resume: bool) -> None:
    """Raise a FeropsError if `path` exists, unless the run goes on with it."""
    if path.is_dir():
        raise FeropsError(f"{path} is a folder. Name a file")
    if path.exists() and not resume:
        raise FeropsError(f"{path} exists. Name another file, remove it, or go on with what it holds: --resume")


def refuse_same(names: Sequence[str]) -> None:
    """Raise a FeropsError if two of the outputs `names` are one."""
    if len(set(names)) < len(names):
        raise FeropsError(f"two of the outputs have one name ({', '.join(names)}). Name different files")
