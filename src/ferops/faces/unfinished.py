"""The stage's results while it works: on the disk, shard by shard, so that a stopped run goes on where it was.

A shard is kept once its line stands in `shards.jsonl`, which is written after everything else of it. What a kill left
behind the last line is cut off by the next run; a line whose bytes did not reach the disk (a power failure) is known by
its checksum. Only a run of the same inputs, settings and code goes on; others start anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points, version
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

import ferops
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.faces.detection import Image
from ferops.faces.detectors import GROUP
from ferops.faces.pack import FaceFile
from ferops.faces.shard import THUMBNAIL_PX, Extracted
from ferops.faces.status import HELD_BACK, KEPT_WHOLE
from ferops.files import disk_errors, sha256
from ferops.layout import Layout

SPLITS = ("train", "val", "test")
STATUSES = ("ok", *KEPT_WHOLE, *HELD_BACK)

_FOUND = [*((name, "<f8") for name in ("score", "box_x1", "box_y1", "box_x2", "box_y2")), ("landmarks", "<f4", (10,))]
RECORD = np.dtype(
    [
        ("place", "<i8"),  # of the image in the index
        ("status", "u1"),  # in STATUSES
        ("searched", "?"),
        *_FOUND,
        ("located", "?"),  # whether there are landmarks
        *(("faces_found", "<i8"), ("face_px", "<f8"), ("yaw_degrees", "<f8"), ("roll_degrees", "<f8"), ("row", "<i8")),
    ]
)
"""An image of `faces.parquet`, as the stage keeps it."""
OTHER = np.dtype([("place", "<i8"), ("rank", "<i8"), *_FOUND, ("face_px", "<f8")])
"""A face of `other_faces.parquet`."""
_THUMBNAIL = np.dtype([("pixels", "u1", (THUMBNAIL_PX, THUMBNAIL_PX, 3))])
_TABLES = {"images": RECORD, "others": OTHER, **dict.fromkeys(HELD_BACK, _THUMBNAIL)}
_PACKAGES = ("numpy", "opencv-python-headless", "openvino", "pillow")
_CHUNK = 65_536
_THUMBNAILS = 60  # at most so many images held back are shown per reason


@dataclass
class _Done:
    """A line of `shards.jsonl`: what the files hold once this shard is in them, and this shard's own checksum."""

    crc: int = 0
    shards: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys([*SPLITS, *_TABLES], 0))
    searched: int = 0
    detector_seconds: float = 0.0
    seconds: float = 0.0


def identity(layout: Layout, params: Params, detector: str) -> str:
    """Return a digest of what the results depend on: inputs, settings, code, packages that decode and search."""
    settings = params.preprocess.model_dump(exclude={"workers", "runner", "dask_address"})
    root = Path(ferops.__file__).parent
    code = {str(path.relative_to(root)): sha256(path) for path in sorted(root.rglob("*.py"))}
    packages = [*_PACKAGES, *(point.dist.name for point in entry_points(group=GROUP, name=detector) if point.dist)]
    versions = {name: version(name) for name in packages}
    files = {path.name: sha256(path) for path in (layout.manifest, layout.assignment, layout.data_dvc)}
    # Their own digest would take as long as reading them
    raw = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(layout.data.glob("*.parquet"))]
    everything = [settings, params.data.classes, files, raw, code, versions, detector]
    return hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()


class Unfinished:
    """The folder `.preprocess.unfinished.tmp` beside the stage's output; `take` adds a shard to it.

    Attributes:
        done: what is kept so far.
    """

    def __init__(self, layout: Layout, *, made_from: str, size_px: int) -> None:
        target = layout.artifacts("preprocess")
        self.folder = target.with_name(f".{target.name}.unfinished.tmp")
        self.done = _Done()
        self._made_from = made_from
        self._size_px = size_px
        self._before_s = 0.0

    def __enter__(self) -> Unfinished:
        """Raises FeropsError: another process works on it."""
        with ExitStack() as stack, disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(self.folder / "lock", timeout=0))
            except Timeout as error:
                raise FeropsError(
                    f"another `ferops preprocess` works in {self.folder.parent}. Wait for its end"
                ) from error
            self._open = stack.enter_context(ExitStack())
            lines = self._kept()
            self._before_s = self.done.seconds
            self._files = {
                split: self._open.enter_context(
                    FaceFile(self.path(split), size_px=self._size_px, keep=self.done.rows[split])
                )
                for split in SPLITS
            }
            self._tables = {
                name: self._open.enter_context(_appending(self.path(name), self.done.rows[name] * kind.itemsize))
                for name, kind in _TABLES.items()
            }
            self._lines = self._open.enter_context(_appending(self.folder / "shards.jsonl", lines))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def path(self, name: str) -> Path:
        """Return the file of a split or a table."""
        return self.folder / (f"{name}.npy" if name in SPLITS else f"{name}.bin")

    def take(self, extracted: Extracted, *, places: Sequence[int], splits: Sequence[str], seconds: float) -> None:
        """Keep a shard; `places` and `splits` are those of its images in the index, `seconds` of this run so far."""
        with disk_errors(self.folder):
            faces: dict[str, list[Image]] = {split: [] for split in SPLITS}
            added: dict[str, list[Any]] = {name: [] for name in _TABLES}
            pixels, thumbnails = iter(extracted.pixels), iter(extracted.thumbnails)
            for record, place, split in zip(extracted.records, places, splits, strict=True):
                status, row = record["status"], -1
                if status not in HELD_BACK:
                    row = self.done.rows[split] + len(faces[split])
                    faces[split].append(next(pixels))
                else:
                    thumbnail = next(thumbnails)
                    if self.done.rows[status] + len(added[status]) < _THUMBNAILS:
                        added[status].append((thumbnail,))
                packed = {**record, "place": place, "status": STATUSES.index(status), "row": row}
                added["images"].append(_packed(RECORD, packed))
            place_of = {record["image_id"]: place for record, place in zip(extracted.records, places, strict=True)}
            added["others"] = [
                _packed(OTHER, {**each, "place": place_of[each["image_id"]]}) for each in extracted.others
            ]
            crc = 0
            for split in SPLITS:
                for face in faces[split]:
                    self._files[split].append(face)
                    crc = zlib.crc32(face.tobytes(), crc)
            for name, kind in _TABLES.items():
                data = np.array(added[name], kind).tobytes()
                self._tables[name].write(data)
                crc = zlib.crc32(data, crc)
            self.done = _Done(
                crc=crc,
                shards=self.done.shards + 1,
                rows={name: count + len((faces | added)[name]) for name, count in self.done.rows.items()},
                searched=self.done.searched + extracted.searched,
                detector_seconds=self.done.detector_seconds + extracted.detector_seconds,
                seconds=self._before_s + seconds,
            )
            for file in self._files.values():
                file.flush()
            for table in self._tables.values():
                table.flush()
            self._lines.write(json.dumps(asdict(self.done)).encode() + b"\n")
            self._lines.flush()

    def chunks(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the rows of a table in the order of the shards, _CHUNK at a time."""
        with self.path(name).open("rb") as file:
            while len(rows := np.fromfile(file, _TABLES[name], _CHUNK)):
                yield rows

    def rows(self, name: str, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of a table at these places in it; nothing else of it stays in memory."""
        count = self.done.rows[name]
        return np.array(np.memmap(self.path(name), _TABLES[name], "r", shape=(count,))[places])

    def thumbnails(self) -> dict[str, list[Image]]:
        """Return the images held back that are shown, by reason."""
        return {status: [image for rows in self.chunks(status) for image in rows["pixels"]] for status in HELD_BACK}

    def close(self) -> None:
        """No further shard comes: the splits' arrays are whole."""
        self._open.close()

    def lend_faces(self, folder: Path) -> None:
        """Put the splits' arrays into `folder`; they stay here as well, in case the rest of the stage is stopped."""
        for split in SPLITS:
            try:
                os.link(self.path(split), folder / f"{split}.npy")
            except OSError:  # a file system without links
                shutil.copyfile(self.path(split), folder / f"{split}.npy")

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _kept(self) -> int:
        """Find the last shard that is there whole, note it in `done`, and return the length of its lines in bytes."""
        journal, mark = self.folder / "shards.jsonl", self.folder / "made_from"
        if not mark.exists() or mark.read_text(encoding="ascii") != self._made_from:
            journal.unlink(missing_ok=True)
            mark.write_text(self._made_from, encoding="ascii")
        if not journal.exists():
            return 0
        length = 0
        size_of = dict.fromkeys(SPLITS, self._size_px**2 * 3)
        size_of |= {name: kind.itemsize for name, kind in _TABLES.items()}
        with ExitStack() as stack, journal.open("rb") as lines:
            files = {name: stack.enter_context(self.path(name).open("rb")) for name in size_of}
            for split in SPLITS:
                np.lib.format.read_magic(files[split])
                np.lib.format.read_array_header_1_0(files[split])
            for line in lines:
                done = _parsed(line)
                if done is None:
                    break
                crc = 0
                for name, size in size_of.items():
                    crc = zlib.crc32(files[name].read((done.rows[name] - self.done.rows[name]) * size), crc)
                if crc != done.crc:
                    break
                self.done, length = done, length + len(line)
        return length


def _parsed(line: bytes) -> _Done | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return _Done(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _packed(kind: np.dtype[Any], fields: Mapping[str, Any]) -> tuple[Any, ...]:
    located = fields["landmarks"] is not None
    given = {**fields, "located": located, "landmarks": fields["landmarks"] if located else [math.nan] * 10}
    return tuple(given[name] for name in cast("tuple[str, ...]", kind.names))


def _appending(path: Path, length: int) -> BinaryIO:
    """Open a file to append to what its first `length` bytes are."""
    file = path.open("r+b" if length else "wb")
    file.truncate(file.seek(length))
    return file
