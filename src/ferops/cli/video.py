"""`ferops predict` of a video, a camera or a stream."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from ferops import threads
from ferops.cli.base import end, introduction, note
from ferops.errors import FeropsError
from ferops.layout import Layout

if TYPE_CHECKING:
    from tqdm import tqdm

    from ferops.video.frames import Video
    from ferops.video.run import Outputs, Settings, Watched
    from ferops.video.watch import Seen


def predict_video(source: Sequence[str], model: str | None, outputs: Outputs, settings: Settings) -> None:
    """Watch one video; say who showed what, and when a face of a live source changes."""
    from ferops.scoring.opening import opened
    from ferops.training.interrupt import StopFlag
    from ferops.video.run import check, watch

    if len(source) > 1:
        raise FeropsError("a run watches one video, with no images beside it. Run ferops predict for each")
    if settings.blur and outputs.annotated is None:
        raise typer.BadParameter("--blur concerns the video of --annotated FILE, which is missing")
    check(outputs, settings)
    threads.choose("predict" if settings.marks else "blur")
    with (
        opened(Layout.find(or_here=True), model) as ready,
        StopFlag() as flag,
        _Progress(outputs, settings) as progress,
    ):
        if settings.marks:
            note(introduction(ready))
        found = watch(
            source[0],
            ready.predictor,
            ready.name,
            outputs,
            settings,
            on_begin=progress.begin,
            on_frame=progress.add,
            stop=lambda: flag.requested,
        )
        stopped = flag.requested
    _report(found, outputs, labelled=settings.marks, stopped=stopped, live=progress.live)
    end(stopped=stopped, unreadable=found.damaged)


class _Progress:
    """A bar in a terminal; for a live source without outputs, a line where a face is new or its label changes."""

    def __init__(self, outputs: Outputs, settings: Settings) -> None:
        self._max_fps, self._has_outputs = settings.max_fps, bool(outputs.given())
        self._bar: tqdm[Any] | None = None
        self._labels: dict[int, str] = {}
        self.live = False

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, video: Video, done: int) -> None:
        from tqdm import tqdm

        from ferops.training.bar import can_draw

        self.live = video.live
        fps = min(video.fps, self._max_fps or video.fps)
        total = round(video.seconds * fps) if video.seconds and not video.live else None
        self._bar = tqdm(
            total=total, initial=done, unit=" frames", disable=not can_draw(sys.stderr), dynamic_ncols=True
        )

    def add(self, seen: Seen) -> None:
        from ferops.video.timeline import clock

        assert self._bar is not None
        self._bar.update()
        for face in seen.faces:
            if face.track is None or self._labels.get(face.track) == face.face.label:
                continue
            self._labels[face.track] = face.face.label
            if self.live and not self._has_outputs:
                unsure = "" if face.face.status == "ok" else "  unsure"
                text = f"{clock(round(seen.frame.time_s, 1)):>8}  face {face.track:<3}  {face.face.label:<9}"
                self._bar.write(f"{text}  {face.face.confidence:>4.0%}{unsure}", file=sys.stdout)
                sys.stdout.flush()


def _report(found: Watched, outputs: Outputs, *, labelled: bool, stopped: bool, live: bool) -> None:
    """A line for each face on standard output, unless that holds a table already, and the run in a sentence."""
    from ferops.video.timeline import clock

    if labelled and "-" not in map(str, outputs.given().values()):
        for track in found.tracks:
            shares = sorted(track.shares.items(), key=lambda each: -each[1])
            text = ", ".join(f"{label} {share:.0%}" for label, share in shares[:3] if share >= 0.005)
            changes = f"{track.changes:,} change{'' if track.changes == 1 else 's'}"
            span = f"{clock(round(track.start_s, 1))} to {clock(round(track.end_s, 1))}"
            print(f"face {track.track:<3}  {span:<20}  {text}; {changes}", flush=True)
    faces = f"{len(found.tracks):,} face{'' if len(found.tracks) == 1 else 's'} followed"
    sentence = f"{found.frames:,} frames, {faces}; {found.empty:,} frames without a face"
    if found.damaged:
        sentence += f"; {found.damaged:,} damaged"
    if stopped:
        again = ". To go on: the same command with --resume" if outputs.csv is not None and not live else ""
        sentence = f"stopped after {sentence}{again}"
    note(sentence)
