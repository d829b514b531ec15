"""From an answer of the service to rows of its log."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from ferops.config import Serve
from ferops.errors import FeropsError
from ferops.inference.answer import Answer
from ferops.inference.measures import MEASURES
from ferops.monitoring.traffic import FOLDER_VARIABLE, KEY_VARIABLE, TrafficLog, TrafficRow, keyed_hash

Measured: TypeAlias = Sequence[Mapping[str, Any]]
"""`ferops.inference.measures` of each face of an answer."""


class Recorder:
    """Notes answers in a log.

    Args:
        key: of the hashes; without it there are none.
    """

    def __init__(self, log: TrafficLog, *, key: bytes | None) -> None:
        self._log = log
        self._key = key

    def note(
        self,
        answer: Answer,
        measured: Measured,
        *,
        path: str,
        latency_ms: float,
        encoded: bytes,
        client: str,
        role: str = "champion",
    ) -> None:
        """Note the answer of the version that is `role` to the image `encoded` of `client`, who waited `latency_ms`."""
        common = {
            "time": datetime.now(UTC) - timedelta(milliseconds=latency_ms),
            "model_version": answer.model_version,
            "role": role,
            "path": path,
            "faces_found": answer.faces_found,
            "latency_ms": latency_ms,
            "image_hash": keyed_hash(self._key, hashlib.sha256(encoded).hexdigest()) if self._key else None,
            "client_hash": keyed_hash(self._key, client) if self._key else None,
        }
        rows = [
            TrafficRow(
                **common,  # type: ignore[arg-type] # a value of each kind
                status=face.status,
                face=number,
                label=face.label,
                confidence=face.confidence,
                probabilities=face.probabilities,
                **seen,
            )
            for number, (face, seen) in enumerate(zip(answer.faces, measured, strict=True), start=1)
        ]
        nothing = dict.fromkeys(("label", "confidence", "probabilities", *MEASURES))
        self._log.add(rows or [TrafficRow(**common, status="no_face", face=0, **nothing)])  # type: ignore[arg-type]

    def close(self) -> None:
        """Write what waits."""
        self._log.close()


def recorder(limits: Serve) -> Recorder | None:
    """Return the recorder that the environment or the Bento's settings ask for; None where neither does.

    Raises:
        FeropsError: the log cannot be kept as they say.
    """
    folder = log_folder(limits)
    if folder is None:
        return None
    return Recorder(TrafficLog(Path(folder), max_mb=limits.log_mb), key=_key() if limits.log_hashes else None)


def log_folder(limits: Serve) -> str | None:
    """Return the folder of the log that the environment or the Bento's settings name; None: no log is kept."""
    return os.environ.get(FOLDER_VARIABLE) or limits.log_dir


def _key() -> bytes:
    file = os.environ.get(KEY_VARIABLE)
    try:
        key = Path(file).read_bytes() if file else b""
    except OSError as error:
        raise FeropsError(f"{file}, which {KEY_VARIABLE} names, cannot be read: {error.strerror}") from error
    if len(key) < 16:
        raise FeropsError(
            f"serve.log_hashes needs a key of 16 bytes or more in a file that {KEY_VARIABLE} names, as `ferops serve` "
            "does. In a container, mount such a file. Or set log_hashes to false"
        )
    return key
