"""A .npy file that grows face by face."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from ferops.faces.detection import Image


class FaceFile:
    """Write uint8 `(N, size_px, size_px, 3)` to a .npy file, where N is known only at the end.

    NumPy leaves room in the header for the first axis to grow (numpy.lib.format), so the header can be rewritten in
    place. It holds one face in memory at a time.
    """

    def __init__(self, path: Path, *, size_px: int, keep: int = 0) -> None:
        """`keep`: so many faces of the file that is there stay, and what comes after them is cut off."""
        self._file = path.open("r+b" if keep else "wb")
        self._size_px = size_px
        self.count = keep
        self._write_header()
        self._file.truncate(self._file.seek(keep * size_px * size_px * 3, 1))

    def append(self, face: Image) -> int:
        """Add one uint8 `(size_px, size_px, 3)` face and return its row."""
        self._file.write(np.ascontiguousarray(face).tobytes())
        self.count += 1
        return self.count - 1

    def flush(self) -> None:
        self._file.flush()

    def __enter__(self) -> FaceFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        shape = (self.count, self._size_px, self._size_px, 3)
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
