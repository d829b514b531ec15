"""The rows of a video, one for each face in each frame: CSV, Parquet, JSON lines. docs/predict.md has the columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ferops.errors import FeropsError
from ferops.escape import inline
from ferops.inference.answer import FaceAnswer, face_answers
from ferops.inference.lines import Lines, refuse_existing
from ferops.inference.prediction import face_columns, rows
from ferops.inference.sinks import csv_lines, read_row, shown, to_parquet
from ferops.records import Record
from ferops.video.tracks import Sight
from ferops.video.watch import Seen


@dataclass(frozen=True)
class Held:
    """A frame that an earlier run has written."""

    number: int
    time_s: float
    sights: tuple[Sight, ...]


def columns(classes: Sequence[str]) -> dict[str, type]:
    """Return the columns of CSV and Parquet, in their order, and the type of their values."""
    return {
        "source": str,
        "frame": int,
        "time_s": float,
        "track": int,
        "width": int,
        "height": int,
        "faces": int,
        **face_columns(classes),
        **{f"raw_{name}": float for name in classes},
        "reason": str,
        "model": str,
    }


class VideoTable:
    """A row for each face in each frame, and one for each frame without a face, as CSV or, at the end, Parquet."""

    def __init__(self, path: Path, source: str, classes: Sequence[str], model: str, *, resume: bool = False) -> None:
        """Begin the file; `held` then tells what one that is gone on with holds.

        Raises:
            FeropsError: it exists and `resume` is not set.
        """
        refuse_existing(path, resume=resume)
        self._path, self._is_parquet = path, path.suffix == ".parquet"
        self._source, self._classes, self._model = shown(source), tuple(classes), model
        self.columns = columns(classes)
        self._header = csv_lines([list(self.columns)])
        place = path.with_name(f"{path.name}.part") if self._is_parquet else path
        self._lines = Lines(place, begins=self._header, resume=resume)
        if not resume:
            self._lines.append([self._header])

    def held(self) -> Iterator[Held]:
        """Yield the complete frames of a file that is gone on with, and drop what stands behind the last one.

        Raises:
            FeropsError: it is another table, or of another model or video.
        """
        good = 0
        sights: list[Sight] = []
        for end, line in self._lines.whole():
            if good:  # behind the header
                row, is_last = read_row(line, self.columns, path=self._path, model=self._model)
                if row["source"] != self._source:
                    raise FeropsError(
                        f"{self._path} holds the video {row['source']}, not {self._source}. Name another file"
                    )
                if row["track"]:
                    sights.append(Sight(int(row["track"]), row["label"], row["status"] == "ok"))
                if not is_last:
                    continue
                yield Held(int(row["frame"]), float(row["time_s"]), tuple(sights))
                sights = []
            good = end
        self._lines.cut(good)
        if not good:
            self._lines.append([self._header])

    def write(self, seen: Seen) -> None:
        """Add the rows of a frame, all or none. Raises FeropsError: there is no room, or no permission."""
        self._lines.append([csv_lines(self._cells(seen))])

    def _cells(self, seen: Seen) -> Iterator[list[Any]]:
        frame, found = seen.frame, seen.prediction
        about: dict[str, Any] = {
            "source": self._source,
            "frame": frame.number,
            "time_s": round(frame.time_s, 3),
            "model": self._model,
        }
        about |= {"reason": inline(frame.reason or ""), "status": seen.status}
        if found is not None:
            about |= {"width": found.width, "height": found.height, "faces": len(found.faces)}
        if found is None or not found.faces:
            yield [about.get(name) for name in self.columns]
            return
        for face, row in zip(seen.faces, rows(found), strict=True):
            raw = {f"raw_{name}": round(float(p), 6) for name, p in zip(self._classes, face.raw, strict=True)}
            values = about | dict(row) | raw | {"track": face.track}
            yield [values.get(name) for name in self.columns]

    def close(self) -> None:
        """End the file properly, also after an interruption."""
        self._lines.close()
        if self._is_parquet:
            to_parquet(self._lines.path, self._path, self.columns)


class TrackedAnswer(Record):
    """A face in a frame.

    Attributes:
        track: its number, the same in all frames; null until a second frame confirms a new face.
        face: label, confidence, status and probabilities are of the answers smoothed over time.
        raw: class -> probability by this frame alone.
    """

    track: int | None
    face: FaceAnswer
    raw: dict[str, float]


class PredictedFrame(Record):
    """One line of `ferops predict VIDEO --json`: a frame and the faces in it.

    Attributes:
        frame: its number, from 0.
        time_s: seconds since the first frame.
        status: `ok`, `low_confidence` (of at least one face), `no_face` or `unreadable`.
        reason: what is wrong with a damaged frame; else null.
        width, height: in pixels; null for a damaged frame.
        model: which model answered.
    """

    stored_in: ClassVar[str] = "each line of what `ferops predict VIDEO --json FILE` writes"
    made_by: ClassVar[str] = "ferops predict VIDEO --json FILE"

    source: str
    frame: int
    time_s: float
    status: str
    reason: str | None
    width: int | None
    height: int | None
    faces: tuple[TrackedAnswer, ...]
    model: str


class VideoLines:
    """A line for each frame: PredictedFrame."""

    def __init__(self, path: Path, source: str, classes: Sequence[str], model: str) -> None:
        """Begin the file. Raises FeropsError: it exists."""
        self._source, self._classes, self._model = shown(source), tuple(classes), model
        self._lines = Lines(path, begins='{"source":', resume=False)

    def write(self, seen: Seen) -> None:
        """Add a frame. Raises FeropsError: there is no room, or no permission."""
        found = seen.prediction
        answers = face_answers(found) if found else ()
        line = PredictedFrame(
            source=self._source,
            frame=seen.frame.number,
            time_s=round(seen.frame.time_s, 3),
            status=seen.status,
            reason=seen.frame.reason,
            width=found and found.width,
            height=found and found.height,
            faces=tuple(
                TrackedAnswer(
                    track=face.track,
                    face=answer,
                    raw={name: round(float(p), 6) for name, p in zip(self._classes, face.raw, strict=True)},
                )
                for face, answer in zip(seen.faces, answers, strict=True)
            ),
            model=self._model,
        )
        self._lines.append([f"{line.model_dump_json()}\n"])

    def close(self) -> None:
        self._lines.close()
