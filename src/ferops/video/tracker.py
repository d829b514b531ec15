"""Faces keep their number from frame to frame: ByteTrack.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022. Its point is the second
round, in which weak detections (a face in motion blur, or half behind another) prolong tracks without a strong one.
Our own, since the kept implementation (the package `trackers`) needs `opencv-python`, which overwrites the headless
build that ferops uses, and counts frames, where a video with irregular times needs seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ferops.video.motion import Floats, Motion

FIRST, SECOND, UNCONFIRMED = 0.8, 0.5, 0.7
"""The costs (1 - overlap) up to which a detection may belong to a track in each round, as published."""


@dataclass(eq=False)
class Track:
    """A face over time.

    Attributes:
        number: from 1 in the order of confirmation; None until a second frame confirms it.
        began_s, seen_s: times of its first and its latest detection.
    """

    motion: Motion
    began_s: float
    seen_s: float
    number: int | None = None
    lost: bool = False


class Tracker:
    """Assigns the detections of each frame to tracks.

    Args:
        strong: detections with at least this score begin tracks; weaker ones only prolong them.
        lost_s: for so long a face that is not seen keeps its number.
        first: the number of the first track.

    Attributes:
        tracks: all that are seen now, or lost not too long ago.
    """

    def __init__(self, *, strong: float, lost_s: float, first: int = 1) -> None:
        self._strong, self._lost_s, self._next = strong, lost_s, first
        self.tracks: list[Track] = []
        self._now_s: float | None = None
        self._begins = True

    def predict(self, time_s: float) -> list[Track]:
        """Go on to the frame at `time_s` and return the tracks, their boxes (`motion.box`) where they are expected."""
        self._begins = self._now_s is None
        for track in self.tracks:
            if track.lost:
                track.motion.speed[3] = 0.0  # as published: unseen, a size that goes on changing would run away
            track.motion.predict(time_s - (self._now_s or 0.0))
        self._now_s = time_s
        return self.tracks

    def update(self, boxes: Floats, scores: Floats) -> list[Track | None]:
        """Return the track of each detection of the frame that `predict` was called for.

        A weak detection without a track has none. A new track has no number, except in the first frame.

        Args:
            boxes: float64 `(N, 4)`: x1, y1, x2, y2 in pixels.
            scores: float64 `(N,)`: the detector's, 0-1.
        """
        found: list[Track | None] = [None] * len(boxes)

        def assign(tracks: list[Track], left: list[int], costs: Floats, limit: float) -> list[int]:
            """One round over the detections `left`; return those that are left after it."""
            for row, column in _matched(costs, limit):
                self._see(tracks[row], boxes[left[column]])
                found[left[column]] = tracks[row]
            return [place for place in left if found[place] is None]

        def fused(tracks: list[Track], left: list[int]) -> Floats:
            return 1 - _overlaps(tracks, boxes[left]) * scores[left]

        strong = [place for place, score in enumerate(scores) if score >= self._strong]
        weak = [place for place, score in enumerate(scores) if score < self._strong]
        new = [track for track in self.tracks if track.number is None]
        seen, lost = (
            [track for track in self.tracks if track.lost is state and track.number] for state in (False, True)
        )
        # Published is one round; but where faces cross, the hidden one would now and then take the other's place
        strong = assign(seen, strong, fused(seen, strong), FIRST)
        strong = assign(lost, strong, fused(lost, strong), FIRST)
        missed = [track for track in seen if track.seen_s != self._now_s]
        assign(missed, weak, 1 - _overlaps(missed, boxes[weak]), SECOND)
        strong = assign(new, strong, fused(new, strong), UNCONFIRMED)
        for place in sorted(strong, key=lambda place: boxes[place][0]):  # people count from the left
            found[place] = track = Track(Motion(boxes[place]), self._now(), self._now())
            self.tracks.append(track)
            if self._begins:
                self._confirm(track)
        self._forget()
        return found

    def _see(self, track: Track, box: Floats) -> None:
        track.motion.update(box)
        track.seen_s, track.lost = self._now(), False
        if track.number is None:
            self._confirm(track)

    def _confirm(self, track: Track) -> None:
        track.number, self._next = self._next, self._next + 1

    def _forget(self) -> None:
        """Drop new tracks that nothing confirmed, and tracks lost for too long.

        Not, as published, a lost track whose expected box lies on a seen one: that is what a crossing looks like.
        """
        now_s = self._now()
        for track in self.tracks:
            track.lost = track.seen_s < now_s
        self.tracks = [
            track
            for track in self.tracks
            if not track.lost or (track.number is not None and now_s - track.seen_s <= self._lost_s)
        ]

    def _now(self) -> float:
        assert self._now_s is not None, "predict comes before update"
        return self._now_s


def _matched(costs: Floats, limit: float) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of least total cost, without those of more than `limit`."""
    rows, columns = linear_sum_assignment(np.minimum(costs, limit))
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if costs[row, column] < limit]


def _overlaps(tracks: list[Track], boxes: Floats) -> Floats:
    """Return `(N, M)`: intersection over union of each track's expected box and each of `boxes` `(M, 4)`."""
    mine = np.array([track.motion.box for track in tracks]).reshape(-1, 4)
    theirs = boxes.reshape(-1, 4)
    low = np.maximum(mine[:, None, :2], theirs[None, :, :2])
    high = np.minimum(mine[:, None, 2:], theirs[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (mine, theirs)]
    overlaps: Floats = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
    return overlaps
