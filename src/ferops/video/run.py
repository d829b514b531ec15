"""A video from beginning to end: watched, written down, summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ferops.errors import FeropsError
from ferops.files import write_text
from ferops.inference.lines import refuse_existing, refuse_same
from ferops.inference.predictor import Predictor
from ferops.inference.sinks import csv_lines
from ferops.pages import image_uri
from ferops.video.frames import Video
from ferops.video.source import Source, shown
from ferops.video.table import Held, VideoLines, VideoTable
from ferops.video.tracks import Lanes, Sight, TrackSummary
from ferops.video.watch import DETECT_EVERY, SMOOTH_S, Seen, Watcher

if TYPE_CHECKING:
    from ferops.faces.detection import Image

_LARGER = 1.3  # a portrait is replaced by one of a face so much larger
_PORTRAIT_PX = 112


@dataclass(frozen=True)
class Outputs:
    """The files that a run writes; none exists before, unless it is gone on with."""

    csv: Path | None = None
    json: Path | None = None
    parquet: Path | None = None
    annotated: Path | None = None
    tracks: Path | None = None
    timeline: Path | None = None

    def given(self) -> dict[str, Path]:
        """Return those that are asked for, by the name of their option."""
        return {name: path for name, path in vars(self).items() if path is not None}


@dataclass(frozen=True)
class Settings:
    """How a video is watched; `Watcher` and `Video` describe the values."""

    max_fps: float | None = None
    smooth_s: float = SMOOTH_S
    detect_every: int = DETECT_EVERY
    blur: bool = False
    resume: bool = False
    marks: bool = True


@dataclass(frozen=True)
class Watched:
    """What came out.

    Attributes:
        frames: that were looked at, in this run.
        damaged, empty: of these, those that could not be decoded, and those without a face.
        tracks: a summary of each face.
    """

    frames: int
    damaged: int
    empty: int
    tracks: tuple[TrackSummary, ...]


def check(outputs: Outputs, settings: Settings) -> None:
    """Raise a FeropsError for files that cannot be written together, or not gone on with; before a model is loaded."""
    files = outputs.given()
    refuse_same([str(path) for path in files.values()])
    if settings.resume and (
        outputs.csv is None or str(outputs.csv) == "-" or set(files) - {"csv", "tracks", "timeline"}
    ):
        raise FeropsError(
            "--resume goes on with a video's table: name the earlier run's --csv FILE, and if you like --tracks and "
            "--timeline. --json, --parquet and --annotated of a video are made in one go"
        )
    for name, path in files.items():
        if str(path) != "-":
            refuse_existing(path, resume=settings.resume)
        elif name not in ("csv", "json"):
            raise FeropsError(f"--{name} cannot be written to standard output. Name a file")
    if outputs.parquet is not None and outputs.parquet.suffix != ".parquet":
        raise FeropsError(f"--parquet {outputs.parquet} must end with .parquet")


def watch(
    source: Source,
    predictor: Predictor,
    model: str,
    outputs: Outputs,
    settings: Settings,
    *,
    on_begin: Callable[[Video, int], None],
    on_frame: Callable[[Seen], None],
    stop: Callable[[], bool],
) -> Watched:
    """Watch the video `source` to its end, or until `stop` says so, and write the outputs.

    Args:
        model: the model's name, for the outputs.
        on_begin: called with the open video, and the number of frames that an earlier run has done.
        on_frame: called after each frame is written.

    Raises:
        FeropsError: the video cannot be opened or has no frame; a file cannot be written, or not gone on with.
    """
    check(outputs, settings)
    classes, name = predictor.config.classes, shown(source)  # tables get no password
    with ExitStack() as stack:
        sinks: list[Sink] = []
        held: list[Held] = []
        if outputs.csv is not None:
            table = stack.enter_context(closing(VideoTable(outputs.csv, name, classes, model, resume=settings.resume)))
            held = list(table.held()) if settings.resume else []
            sinks.append(table)
        after = (held[-1].number, held[-1].time_s) if held else None
        video = stack.enter_context(Video(source, max_fps=settings.max_fps, after=after))
        sinks += _other_sinks(stack, outputs, settings, video=video, name=name, classes=classes, model=model)
        memory = _Memory(classes, video, outputs, settings, held)
        watcher = Watcher(
            predictor, smooth_s=settings.smooth_s, detect_every=settings.detect_every, first=memory.last_track + 1
        )
        on_begin(video, len(held))
        for seen in watcher.watch(video):
            for sink in sinks:
                sink.write(seen)
            memory.add(seen)
            on_frame(seen)
            if stop():
                break
    if not memory.frames and after is None:
        raise FeropsError(f"{video.name} has no frame in it")
    return memory.finish(video.name, model)


class Sink(Protocol):
    """A place for frames."""

    def write(self, seen: Seen) -> None:
        """Add a frame, as a whole or not at all. Raises FeropsError: there is no room, or no permission."""


def _other_sinks(
    stack: ExitStack,
    outputs: Outputs,
    settings: Settings,
    *,
    video: Video,
    name: str,
    classes: Sequence[str],
    model: str,
) -> Iterator[Sink]:
    if outputs.json is not None:
        yield stack.enter_context(closing(VideoLines(outputs.json, name, classes, model)))
    if outputs.parquet is not None:
        yield stack.enter_context(closing(VideoTable(outputs.parquet, name, classes, model)))
    if outputs.annotated is not None:
        from ferops.video.encode import VideoWriter

        yield stack.enter_context(
            VideoWriter(outputs.annotated, fps=video.fps, faces_blurred=settings.blur, marks=settings.marks)
        )


class _Memory:
    """What is kept of the frames until the end: counts, lanes and a portrait of each face."""

    def __init__(
        self, classes: tuple[str, ...], video: Video, outputs: Outputs, settings: Settings, held: Sequence[Held]
    ) -> None:
        self._classes, self._outputs, self._settings = classes, outputs, settings
        self._lanes = Lanes(classes, frame_s=1 / min(video.fps, settings.max_fps or video.fps))
        self._portraits: dict[int, tuple[float, Image]] = {}
        self._before = len(held)
        self.frames = self._damaged = self._empty = self.last_track = 0
        for frame in held:
            self._lanes.add(frame.time_s, frame.sights)
            self.last_track = max([self.last_track, *(sight.track for sight in frame.sights)])

    def add(self, seen: Seen) -> None:
        self.frames += 1
        self._damaged += seen.status == "unreadable"
        self._empty += seen.status == "no_face"
        if seen.prediction is not None:
            self._lanes.add(seen.frame.time_s, _sights(seen))
            if self._outputs.timeline is not None and not self._settings.blur:
                _keep_largest(self._portraits, seen)

    def finish(self, name: str, model: str) -> Watched:
        """Write the summaries."""
        self._lanes.close()
        tracks = tuple(self._lanes.summaries())
        if self._outputs.tracks is not None:
            write_text(self._outputs.tracks, _table(tracks, self._classes))
        if self._outputs.timeline is not None:
            from ferops.video.timeline import clock, timeline_page

            facts = {
                "length": clock(round(self._lanes.seconds, 1)),
                "frames looked at": f"{self._before + self.frames:,}",
                "faces followed": f"{len(tracks):,}",
                "smoothed over": f"{self._settings.smooth_s:g} s",
            }
            portraits = {
                track: image_uri(pixels, side_px=_PORTRAIT_PX, kind="jpeg")
                for track, (_, pixels) in self._portraits.items()
            }
            page = timeline_page(
                self._lanes, name=name, model=model, classes=self._classes, portraits=portraits, facts=facts
            )
            write_text(self._outputs.timeline, page)
        return Watched(self.frames, self._damaged, self._empty, tracks)


def _sights(seen: Seen) -> Iterator[Sight]:
    for each in seen.faces:
        if each.track is not None:
            yield Sight(each.track, each.face.label, each.face.status == "ok")


def _keep_largest(portraits: dict[int, tuple[float, Image]], seen: Seen) -> None:
    for each in seen.faces:
        width = each.face.box[2] - each.face.box[0]
        if each.track is not None and width > _LARGER * portraits.get(each.track, (0.0, None))[0]:
            portraits[each.track] = (width, each.pixels)


def _table(tracks: Sequence[TrackSummary], classes: Sequence[str]) -> str:
    """Return the summaries as CSV."""
    names = [name for name in TrackSummary.model_fields if name != "shares"]
    header = [*names, *(f"share_{name}" for name in classes)]
    rows = [[*(getattr(track, name) for name in names), *(track.shares[name] for name in classes)] for track in tracks]
    return csv_lines([header, *rows])
