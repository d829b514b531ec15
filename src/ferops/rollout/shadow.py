"""A shadow: its answer to an image beside the champion's, as rows of a log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from ferops.config import Serve
from ferops.inference.answer import Answer, Box, FaceAnswer
from ferops.monitoring.recorder import log_folder
from ferops.monitoring.traffic import RowLog

PREFIX = "shadow"
"""The name of a file begins with it."""
PATTERN = f"{PREFIX}-*.parquet"

MIN_OVERLAP = 0.5
"""Intersection over union of two boxes that are of one face."""

Outcome = Literal["compared", "dropped", "failed"]


class PairRow(NamedTuple):
    """One face of an image, as both versions saw it; an image without a face has one row, too.

    Attributes:
        time: when the image came, UTC.
        champion_version, shadow_version: of the registered model.
        path: `/predict`, `/predict/batch` or `gRPC`.
        outcome: `compared`; or of the image: `dropped`, the shadow did not get to it; `failed`, it could not answer.
        champion_status, shadow_status: of the image.
        face: the champion's number of it, from 1; the first is the preferred one. 0: the champion did not find it.
        champion_label, champion_confidence, shadow_label, shadow_confidence: null where that version has no such face.
        champion_ms, shadow_ms: of work on the image. The shadow works when nothing else does, at the lowest priority.
    """

    time: datetime
    champion_version: str
    shadow_version: str
    path: str
    outcome: str
    champion_status: str
    shadow_status: str | None
    face: int
    champion_label: str | None
    champion_confidence: float | None
    shadow_label: str | None
    shadow_confidence: float | None
    champion_ms: float
    shadow_ms: float | None


def pair_rows(
    champion: Answer, shadow: Answer | None, *, shadow_version: str, outcome: Outcome, path: str, time: datetime
) -> list[PairRow]:
    """Return the rows of an image; `shadow` is None where that version has no answer."""

    def row(number: int, mine: FaceAnswer | None, theirs: FaceAnswer | None) -> PairRow:
        return PairRow(
            time=time,
            champion_version=champion.model_version,
            shadow_version=shadow_version,
            path=path,
            outcome=outcome,
            champion_status=champion.status,
            shadow_status=shadow.status if shadow else None,
            face=number,
            champion_label=mine.label if mine else None,
            champion_confidence=mine.confidence if mine else None,
            shadow_label=theirs.label if theirs else None,
            shadow_confidence=theirs.confidence if theirs else None,
            champion_ms=sum(champion.timing_ms.values()),
            shadow_ms=sum(shadow.timing_ms.values()) if shadow else None,
        )

    found = list(pairs(champion.faces, shadow.faces if shadow else ()))
    return [row(number, mine, theirs) for number, mine, theirs in found] or [row(0, None, None)]


def pairs(
    mine: tuple[FaceAnswer, ...], theirs: tuple[FaceAnswer, ...]
) -> Iterator[tuple[int, FaceAnswer | None, FaceAnswer | None]]:
    """Yield the faces of two answers to one image: number in `mine` (0: not there), the one, the other.

    Boxes that overlap most are of one face, if they overlap by MIN_OVERLAP.
    """
    left = list(theirs)
    for number, face in enumerate(mine, start=1):
        best = max(left, key=lambda each: overlap(face.box, each.box), default=None)
        if best is not None and overlap(face.box, best.box) >= MIN_OVERLAP:
            left.remove(best)
            yield number, face, best
        else:
            yield number, face, None
    yield from ((0, None, each) for each in left)


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared)


def pair_log(limits: Serve) -> RowLog[PairRow] | None:
    """Return the log of comparisons, beside that of answers; None where the service keeps no log.

    Raises:
        FeropsError: the log cannot be kept.
    """
    folder = log_folder(limits)
    return RowLog(PairRow, PREFIX, Path(folder), max_mb=limits.log_mb) if folder else None
