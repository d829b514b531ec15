"""What is remembered of a video while its frames pass by: when each track showed which expression."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from ferops.records import Record

LONGEST_S = 1.0
"""An answer stands until the next frame, but not for longer: behind a gap nobody knows."""


class TrackSummary(Record):
    """One face through a video, a row of `ferops predict --tracks`.

    Attributes:
        track: its number.
        start_s, end_s: seconds in the video, of its first and its latest frame.
        seconds: for which it was seen; without the gaps in between.
        frames: in which it was seen.
        label: the expression that it showed longest.
        changes: how often the label changed from one frame to the next.
        shares: expression -> share of `seconds`, by the label.
    """

    stored_in: ClassVar[str] = "each row of what `ferops predict --tracks FILE` writes"
    made_by: ClassVar[str] = "ferops predict VIDEO --tracks FILE"

    track: int
    start_s: float
    end_s: float
    seconds: float
    frames: int
    label: str
    changes: int
    shares: dict[str, float]


@dataclass
class Span:
    """A time in which a track had one label; `sure` is False where the confidence was low."""

    start_s: float
    end_s: float
    label: str
    sure: bool


@dataclass(frozen=True)
class Sight:
    """A numbered face in one frame, as far as the summary needs it."""

    track: int
    label: str
    sure: bool


@dataclass
class Lane:
    """The spans of one track in their order."""

    spans: list[Span] = field(default_factory=list)
    frames: int = 0


class Lanes:
    """Takes in the faces of each frame; its size grows with tracks and changes of label, not with frames.

    Attributes:
        seconds: of the video so far.
    """

    def __init__(self, classes: tuple[str, ...], *, frame_s: float) -> None:
        """`frame_s` is how long a frame usually stands: that long the last one does."""
        self._classes, self._frame_s = classes, frame_s
        self._lanes: dict[int, Lane] = {}
        self._before: tuple[float, tuple[Sight, ...]] = (0.0, ())
        self.seconds = 0.0

    def add(self, time_s: float, sights: Iterable[Sight]) -> None:
        """Take in a frame; those that are damaged are left out."""
        self._extend(time_s)
        self._before = (time_s, tuple(sights))
        for sight in self._before[1]:
            self._lanes.setdefault(sight.track, Lane()).frames += 1

    def close(self) -> None:
        """Let the last frame stand as long as frames usually do."""
        self._extend(self._before[0] + self._frame_s)
        self._before = (self.seconds, ())

    def _extend(self, until_s: float) -> None:
        start_s, sights = self._before
        end_s = min(until_s, start_s + LONGEST_S)
        self.seconds = max(self.seconds, until_s)
        for sight in sights:
            spans = self._lanes[sight.track].spans
            last = spans[-1] if spans else None
            if last and (last.label, last.sure) == (sight.label, sight.sure) and start_s - last.end_s < 1e-6:
                last.end_s = end_s
            else:
                spans.append(Span(start_s, end_s, sight.label, sight.sure))

    def spans(self) -> dict[int, list[Span]]:
        """Return the spans of each track, by number."""
        return {number: lane.spans for number, lane in sorted(self._lanes.items()) if lane.spans}

    def summaries(self) -> list[TrackSummary]:
        """Return the summary of each track, by number."""
        return [self._summary(number, spans, self._lanes[number].frames) for number, spans in self.spans().items()]

    def _summary(self, number: int, spans: list[Span], frames: int) -> TrackSummary:
        lasted = dict.fromkeys(self._classes, 0.0)
        for span in spans:
            lasted[span.label] += span.end_s - span.start_s
        seconds = sum(lasted.values())
        return TrackSummary(
            track=number,
            start_s=round(spans[0].start_s, 3),
            end_s=round(spans[-1].end_s, 3),
            seconds=round(seconds, 3),
            frames=frames,
            label=max(lasted, key=lambda label: lasted[label]),
            changes=sum(one.label != other.label for one, other in pairwise(spans)),
            shares={label: round(share / seconds, 4) if seconds else 0.0 for label, share in lasted.items()},
        )
