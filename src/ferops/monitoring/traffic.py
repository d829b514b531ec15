"""The log of the service: what was answered, never an image. Parquet files that are always whole.

Rows wait in memory and are written FLUSH_S after the first of them, by a thread of their own: the file that grows is
written anew and then renamed. So a kill loses the rows of the last FLUSH_S at most, and a reader, or a restart, never
meets half a file.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_type_hints

from ferops.errors import FeropsError
from ferops.scratch import scratch_folder

FOLDER_VARIABLE = "FEROPS_LOG_DIR"
"""Names the folder to a service, before the setting `serve.log_dir` of its Bento."""
KEY_VARIABLE = "FEROPS_LOG_KEY_FILE"
"""Names the file with the key of the hashes."""

PREFIX = "traffic"
"""The name of a file begins with it."""
PATTERN = f"{PREFIX}-*.parquet"
FLUSH_S = 5.0
MAX_ROWS = 20_000
"""Of a file; about 1 MB."""
MAX_AGE_S = 3600.0
"""A file that was begun so long ago is finished."""
MAX_WAITING = 20_000
"""Rows that wait in memory while the disk is full; beyond them the oldest go."""

log = logging.getLogger("bentoml.ferops")


class TrafficRow(NamedTuple):
    """One face of an answer; an image without a face has one row, too, whose numbers are null.

    Attributes:
        time: when the image came, UTC.
        model_version: of the registered model, or `starter`.
        role: `champion`, or `canary` where that version answered.
        path: `/predict`, `/predict/batch` or `gRPC`.
        status: of the face, `ok` or `low_confidence`; or `no_face`.
        faces_found: in the image.
        face: its number, from 1; the first is the preferred one (`preprocess.choose`). 0 without a face.
        label: the answer.
        confidence: its calibrated probability, 0-1.
        detection_score, face_px, sharpness, brightness, yaw_degrees: see `ferops.inference.measures`.
        latency_ms: from the complete upload to the answer, waiting included.
        image_hash: `keyed_hash` of the image's SHA-256, 32 hex digits; null unless `serve.log_hashes`.
        client_hash: the same of the client, as the limits count them.
        probabilities: class -> calibrated probability; a column `p_<class>` each.
    """

    time: datetime
    model_version: str
    role: str
    path: str
    status: str
    faces_found: int
    face: int
    label: str | None
    confidence: float | None
    detection_score: float | None
    face_px: float | None
    sharpness: float | None
    brightness: float | None
    yaw_degrees: float | None
    latency_ms: float
    image_hash: str | None
    client_hash: str | None
    probabilities: Mapping[str, float] | None


Row = TypeVar("Row", bound=NamedTuple)


class RowLog(Generic[Row]):
    """Writes rows to files of one kind in `folder`, in a thread of its own.

    Args:
        kind: of a row, whose fields become columns: times, texts and numbers; `probabilities`, if it has them, become a
            column for each class.
        prefix: of the files' names.
        folder: made if need be, for this user alone.
        max_mb: 10^6 bytes of all files of this kind in `folder`; beyond it the oldest go.
        flush_s: rows wait so long at most.

    Raises:
        FeropsError: the folder cannot be used, or pyarrow is not installed.
    """

    def __init__(self, kind: type[Row], prefix: str, folder: Path, *, max_mb: float, flush_s: float = FLUSH_S) -> None:
        self._kind, self._prefix = kind, prefix
        try:  # by name: a Bento has pyarrow among its requirements only where it keeps a log
            self._arrow: Any = import_module("pyarrow")
            self._parquet: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise FeropsError(
                "the log needs pyarrow, which is not installed here. Build the Bento with serve.log_dir, or install it"
            ) from error
        self._folder, self._max_bytes, self._flush_s = folder, int(max_mb * 1e6), flush_s
        self._classes: tuple[str, ...] = ()
        self._schema = self._schema_of(())
        self._waiting: list[Row] = []
        self._table = self._schema.empty_table()
        self._file: Path | None = None
        self._begun = datetime.now(UTC)
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._wake, self._closed = threading.Event(), threading.Event()
        self._failing = False
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with scratch_folder(folder, prefix):  # whether it can be written; and what killed writers left goes
                pass
        except OSError as error:
            raise FeropsError(
                f"serve.log_dir names {folder}, which cannot be written: {error.strerror}. Name another folder, or null"
            ) from error
        self._thread = threading.Thread(target=self._run, name=f"{prefix} log", daemon=True)
        self._thread.start()

    def add(self, rows: Iterable[Row]) -> None:
        """Note rows; they are written within `flush_s`. Never waits for the disk, never raises."""
        with self._lock:
            self._waiting += rows
            if (surplus := len(self._waiting) - MAX_WAITING) > 0:
                del self._waiting[:surplus]
        self._wake.set()

    def flush(self) -> None:
        """Write what waits. Raises OSError, and then keeps it: the disk is full, or the folder is gone."""
        with self._writing:
            with self._lock:
                rows, self._waiting = self._waiting, []
            if not rows:
                return
            try:
                self._write(rows)
            except OSError:
                with self._lock:
                    self._waiting = rows + self._waiting
                raise
            self._remove_oldest()

    def close(self) -> None:
        """Write what waits, and end. Nothing may be added afterwards."""
        self._closed.set()
        self._wake.set()
        self._thread.join()
        self._flush_or_say()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._closed.wait(self._flush_s)
            self._wake.clear()
            self._flush_or_say()

    def _flush_or_say(self) -> None:
        try:
            self.flush()
        except OSError as error:
            if not self._failing:  # said once, tried again every `flush_s`
                log.error("the log in %s cannot be written: %s", self._folder, error)  # noqa: TRY400 # it says it all
            self._failing = True
            self._wake.set()
        else:
            self._failing = False

    def _write(self, rows: list[Row]) -> None:
        now = datetime.now(UTC)
        known = (*self._classes, *(name for row in rows for name in getattr(row, "probabilities", None) or ()))
        if (classes := tuple(dict.fromkeys(known))) != self._classes:  # of the first face, or of the next model
            self._classes, self._schema, self._file = classes, self._schema_of(classes), None
        if self._table.num_rows >= MAX_ROWS or (now - self._begun).total_seconds() >= MAX_AGE_S:
            self._file = None
        if self._file is None:
            # Names sort by time, and no two services have the same
            self._file = self._folder / f"{self._prefix}-{now:%Y%m%dT%H%M%S.%fZ}-{os.getpid()}.parquet"
            self._table, self._begun = self._schema.empty_table(), now
        added = self._arrow.Table.from_pylist([self._columns(row) for row in rows], self._schema)
        table = self._arrow.concat_tables([self._table, added]).combine_chunks()
        with scratch_folder(self._folder, self._prefix) as scratch:
            self._parquet.write_table(table, scratch / "new")
            (scratch / "new").replace(self._file)
        self._table = table

    def _columns(self, row: Row) -> dict[str, Any]:
        columns = row._asdict()
        probabilities = columns.pop("probabilities", None) or {}
        return columns | {f"p_{name}": p for name, p in probabilities.items()}

    def _schema_of(self, classes: Sequence[str]) -> Any:
        arrow = self._arrow
        kinds = {
            datetime: arrow.timestamp("us", "UTC"),
            str: arrow.string(),
            int: arrow.int32(),
            float: arrow.float32(),
        }
        hints = get_type_hints(self._kind)
        hints.pop("probabilities", None)
        fields = [(name, kinds[(get_args(hint) or (hint,))[0]]) for name, hint in hints.items()]
        return arrow.schema([*fields, *((f"p_{name}", arrow.float32()) for name in classes)])

    def _remove_oldest(self) -> None:
        files = sorted(self._folder.glob(f"{self._prefix}-*.parquet"))
        sizes = {}
        for file in files:
            with suppress(FileNotFoundError):  # another service removes, too
                sizes[file] = file.stat().st_size
        for file in files[:-1]:
            if sum(sizes.values()) <= self._max_bytes:
                return
            file.unlink(missing_ok=True)
            sizes.pop(file, None)


class TrafficLog(RowLog[TrafficRow]):
    """The log of what was answered. Arguments and errors: `RowLog`."""

    def __init__(self, folder: Path, *, max_mb: float, flush_s: float = FLUSH_S) -> None:
        super().__init__(TrafficRow, PREFIX, folder, max_mb=max_mb, flush_s=flush_s)


def keyed_hash(key: bytes, text: str) -> str:
    """Return the HMAC-SHA-256 of `text`, cut to 32 hex digits: without the key nobody can tell what it is of."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32]
