"""Where results go: CSV, JSON lines, Parquet. Each grows while images are answered, and can be gone on with.

docs/predict.md describes the columns. Names are written with control characters escaped, so that a row is a line.
"""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import ValidationError

from ferops.errors import FeropsError
from ferops.escape import inline
from ferops.files import atomic_file
from ferops.inference.answer import FaceAnswer, face_answers
from ferops.inference.lines import Lines, refuse_existing
from ferops.inference.prediction import face_columns, rows
from ferops.inference.stream import Result
from ferops.records import Record

_FORMULA = ("=", "+", "-", "@")  # a spreadsheet would compute what begins so


class Sink(Protocol):
    """A place for results."""

    def holds(self, source: str) -> bool:
        """Whether an earlier run has written this image already."""

    def write(self, results: Sequence[Result]) -> None:
        """Add the results of a batch, all or none. Raises FeropsError: there is no room, or no permission."""

    def close(self) -> None:
        """End the file properly, also after an interruption."""


class PredictedImage(Record):
    """One line of `ferops predict --json`: an image and the faces in it.

    Attributes:
        status: `ok`, `low_confidence` (of at least one face), `no_face` or `unreadable`.
        reason: why the image could not be read; else null.
        width, height: of the upright image, in pixels; null where it could not be read.
        rotation: by how many degrees clockwise the image had to be turned, beyond its EXIF, to be upright; likewise.
        model: which model answered.
    """

    stored_in: ClassVar[str] = "each line of what `ferops predict --json FILE` writes"
    made_by: ClassVar[str] = "ferops predict SOURCE --json FILE"

    source: str
    status: str
    reason: str | None
    width: int | None
    height: int | None
    rotation: int | None
    faces: tuple[FaceAnswer, ...]
    model: str


def shown(source: str) -> str:
    """Return the name of an image as it is written: on one line, and no formula."""
    return inline(f"./{source}" if source.startswith(_FORMULA) and source != "-" else source)


def columns(classes: Sequence[str]) -> dict[str, type]:
    """Return the columns of CSV and Parquet, in their order, and the type of their values."""
    return {
        "source": str,
        "width": int,
        "height": int,
        "rotation": int,
        "faces": int,
        **face_columns(classes),
        "reason": str,
        "model": str,
    }


class LineSink(ABC):
    """A file that grows by lines; what both kinds of it share."""

    def __init__(self, path: Path, model: str, *, header: str = "", begins: str = "", resume: bool) -> None:
        """Begin the file, or go on with it.

        Args:
            header: its first line, if it has one.
            begins: else, what it begins with.

        Raises:
            FeropsError: it exists and `resume` is not set; or it is another file, or another model's.
        """
        self._path, self._model = path, model
        self._lines = Lines(path, begins=header or begins, resume=resume)
        try:
            self._done, end = self._held(len(header.encode()))
            self._lines.cut(end)
            if header and not end:
                self._lines.append([header])
        except BaseException:
            self._lines.close()
            raise

    def _held(self, header: int) -> tuple[set[str], int]:
        """Return which images the file holds, and where the last complete one ends, in bytes."""
        done: set[str] = set()
        good = 0
        for end, line in self._lines.whole():
            if end > header:
                source, complete = self._read(line)
                if not complete:
                    continue
                done.add(source)
            good = end
        return done, good

    @abstractmethod
    def _read(self, line: str) -> tuple[str, bool]:
        """Return of which image a line is, and whether the image is complete with it.

        Raises:
            FeropsError: it is another file's, or another model's.
        """

    @abstractmethod
    def _written(self, results: Sequence[Result]) -> str:
        """Return the lines of results."""

    def holds(self, source: str) -> bool:
        return shown(source) in self._done

    def write(self, results: Sequence[Result]) -> None:
        self._lines.append([self._written(results)])

    def close(self) -> None:
        self._lines.close()


class CsvSink(LineSink):
    """A row for each face, and one for each image without a face."""

    def __init__(self, path: Path, classes: Sequence[str], model: str, *, resume: bool) -> None:
        """Begin the file, or go on with it.

        Raises:
            FeropsError: it exists and `resume` is not set; or it is another table, or another model's.
        """
        self.columns = columns(classes)
        super().__init__(path, model, header=csv_lines([list(self.columns)]), resume=resume)

    def _read(self, line: str) -> tuple[str, bool]:
        row, is_last = read_row(line, self.columns, path=self._path, model=self._model)
        return row["source"], is_last

    def _written(self, results: Sequence[Result]) -> str:
        return csv_lines(self._cells(results))

    def _cells(self, results: Sequence[Result]) -> Iterator[list[Any]]:
        for result in results:
            found = result.prediction
            about: dict[str, Any] = {"source": shown(result.source), "reason": inline(result.reason)}
            about["model"] = self._model
            if found:
                about |= {"width": found.width, "height": found.height, "rotation": found.rotation}
                about |= {"faces": len(found.faces)}
            faces = list(rows(found)) if found else []
            for face in faces or [{"status": result.status}]:
                row = about | face
                yield [row.get(name) for name in self.columns]


def csv_lines(table: Iterable[list[Any]]) -> str:
    """Return rows as CSV, each with its line break."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


def read_row(line: str, columns: Iterable[str], *, path: Path, model: str) -> tuple[dict[str, str], bool]:
    """Return a row of a table of faces, and whether it is the last one of its image or frame.

    Raises:
        FeropsError: it is another model's; `path` is the table, for the message.
    """
    row = dict(zip(columns, next(csv.reader([line])), strict=False))
    require_model(path, row.get("model"), model)
    return row, row["faces"] in ("", "0", row["face"])


class JsonSink(LineSink):
    """A line for each image: PredictedImage."""

    def __init__(self, path: Path, model: str, *, resume: bool) -> None:
        """Begin the file, or go on with it. Raises FeropsError: as CsvSink."""
        super().__init__(path, model, begins='{"source":', resume=resume)

    def _read(self, line: str) -> tuple[str, bool]:
        try:
            found = PredictedImage.model_validate_json(line)
        except ValidationError as error:
            raise FeropsError(f"{self._path} holds other lines than predictions. Name another file") from error
        require_model(self._path, found.model, self._model)
        return found.source, True

    def _written(self, results: Sequence[Result]) -> str:
        return "".join(f"{self._line(result).model_dump_json()}\n" for result in results)

    def _line(self, result: Result) -> PredictedImage:
        found = result.prediction
        return PredictedImage(
            source=shown(result.source),
            status=result.status,
            reason=inline(result.reason) or None,
            width=found.width if found else None,
            height=found.height if found else None,
            rotation=found.rotation if found else None,
            faces=face_answers(found) if found else (),
            model=self._model,
        )


class ParquetSink(CsvSink):
    """The same rows as CsvSink's. They wait as CSV in `PATH.part`, and become Parquet at the end or an interruption.

    A Parquet file without its end cannot be read: after a kill, the rows are in `PATH.part`.
    """

    def __init__(self, path: Path, classes: Sequence[str], model: str, *, resume: bool) -> None:
        """Begin the file, or go on with it. Raises FeropsError: as CsvSink."""
        refuse_existing(path, resume=resume)
        self._target = path
        written = _named(path, list(columns(classes)), model) if path.exists() else set()
        super().__init__(self._part, classes, model, resume=resume)
        self._done |= written

    @property
    def _part(self) -> Path:
        return self._target.with_name(f"{self._target.name}.part")

    def close(self) -> None:
        super().close()
        to_parquet(self._part, self._target, self.columns)


def _named(path: Path, wanted: list[str], model: str) -> set[str]:
    """Return the names of the images in a Parquet file. Raises FeropsError: it is damaged, or something else."""
    import pyarrow.parquet as pq

    from ferops.tables import readable

    done: set[str] = set()
    with readable(path, "Name another file"):
        file = pq.ParquetFile(path)
        if file.schema_arrow.names != wanted:
            raise FeropsError(f"{path} does not hold predictions of this model. Name another file")
        for batch in file.iter_batches(columns=["source", "model"]):
            done.update(batch.column("source").to_pylist())
            for found in batch.column("model").unique().to_pylist():
                require_model(path, found, model)
    return done


def to_parquet(part: Path, target: Path, columns: Mapping[str, type]) -> None:
    """Add the rows of the CSV file `part` to the Parquet file `target`, which may not exist yet, and remove `part`."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int32(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    options = pa.csv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=True)
    with atomic_file(target) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        if target.exists():
            for batch in pq.ParquetFile(target).iter_batches():
                writer.write_batch(batch)
        for batch in pa.csv.open_csv(part, convert_options=options):
            writer.write_batch(batch)
    part.unlink()


def require_model(path: Path, found: str | None, wanted: str) -> None:
    """Raise FeropsError if a file that is to be gone on with is of another model."""
    if found != wanted:
        raise FeropsError(
            f"{path} holds answers of the model {found}; this is {wanted}. Name another file, or that model (--model)"
        )
