"""A person's face through a video: found, followed, numbered and classified, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferops.faces.crop import crop_faces
from ferops.faces.detect import detect_faces
from ferops.faces.detection import Detection, Detector, Image
from ferops.faces.detectors import build, quickest
from ferops.faces.photo import Photo
from ferops.inference.prediction import Face, Prediction
from ferops.inference.predictor import Predictor
from ferops.video.follow import FOR, Follower
from ferops.video.frame import Frame
from ferops.video.smooth import Smoother
from ferops.video.tracker import Track, Tracker

SMOOTH_S = 0.5
"""The window of the smoothing: half a second is about the shortest that an expression is held (Ekman)."""
DETECT_EVERY = 5
"""Frames from one search of the whole picture to the next."""
LOST_S = 1.0
"""For so long a face that is not seen keeps its number; ByteTrack's 30 frames."""
WEAK = 0.6
"""Detections down to this share of the model's own threshold may prolong a track (ByteTrack's second round)."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class TrackedFace:
    """A face in one frame.

    Attributes:
        face: its label, confidence, status and probabilities are of the smoothed answer.
        raw: float32 `(K,)`: the probabilities of this frame alone.
        track: its number from 1, the same as long as it is followed; None until a second frame confirms a new face.
        pixels: as the classifier saw it, uint8 `(S, S, 3)`.
    """

    face: Face
    raw: NDArray[np.float32]
    track: int | None
    pixels: Image


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame, and who is in it.

    Attributes:
        frame: with the pixels, unless it is damaged.
        prediction: its faces, by track, with probabilities that are smoothed over time; None if it is damaged.
        faces: the same faces, and what is known of them beyond the one frame.
        lost: where the faces are expected that were there a moment ago: boxes to blur, not rows of a table.
    """

    frame: Frame
    prediction: Prediction | None = None
    faces: tuple[TrackedFace, ...] = ()
    lost: tuple[Box, ...] = ()

    @property
    def status(self) -> str:
        """`unreadable` for a damaged frame, else that of the prediction."""
        return self.prediction.status if self.prediction else "unreadable"


class Watcher:
    """Watches one video. Not thread-safe: frames depend on those before them.

    Args:
        predictor: whose model answers.
        smooth_s: window of the smoothing in seconds; 0 does not smooth.
        detect_every: the whole picture is searched in each such frame, and where a face that is followed gets lost; in
            the frames between, only the places are looked at where faces are expected. 1 searches every frame.
        first: the number of the first track.
        detector: by default the model's own, at a lower threshold.
        threads: CPU threads; None for those of `ferops.threads`.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        smooth_s: float = SMOOTH_S,
        detect_every: int = DETECT_EVERY,
        first: int = 1,
        detector: Detector | None = None,
        threads: int | None = None,
    ) -> None:
        settings = predictor.config.faces
        weak = WEAK * settings.min_confidence
        self._predictor, self._settings = predictor, settings
        self._smooth_s, self._detect_every = smooth_s, detect_every
        self._detector = detector or build(quickest(settings.detector), min_confidence=weak, threads=threads)
        can_follow = detect_every > 1 and settings.detector == FOR
        self._follower = Follower(min_confidence=weak, threads=threads) if can_follow else None
        self._tracker = Tracker(strong=settings.min_confidence, lost_s=LOST_S, first=first)
        self._smoothers: dict[Track, Smoother] = {}
        self._since_search = detect_every

    def watch(self, frames: Iterable[Frame]) -> Iterator[Seen]:
        """Yield what is in each frame; they must come in order."""
        return map(self.look, frames)

    def look(self, frame: Frame) -> Seen:
        """Return what is in the next frame."""
        if frame.pixels is None:
            return Seen(frame)
        tracks = self._tracker.predict(frame.time_s)
        detections = self._detections(frame.pixels, [track for track in tracks if not track.lost])
        boxes = np.array([each.box for each in detections], np.float64).reshape(-1, 4)
        found = self._tracker.update(boxes, np.array([each.score for each in detections], np.float64))
        faces = [(each, track) for each, track in zip(detections, found, strict=True) if track is not None]
        self._smoothers = {
            track: self._smoothers.get(track) or Smoother(self._smooth_s) for track in self._tracker.tracks
        }
        tracked = tuple(self._classified(frame.pixels, frame.time_s, faces))
        height, width = frame.pixels.shape[:2]
        prediction = Prediction(tuple(each.face for each in tracked), self._predictor.config.classes, width, height)
        return Seen(
            frame,
            prediction,
            tracked,
            tuple(_box(track.motion.box) for track in self._tracker.tracks if track.lost),
        )

    def _detections(self, pixels: Image, expected: list[Track]) -> list[Detection]:
        self._since_search += 1
        # What follows faces may score a new one too low to confirm it: a search does, which has found it
        is_known = all(track.number for track in expected)
        if self._follower and self._since_search < self._detect_every and is_known:
            if not expected:
                return []
            found = self._follower.detect(pixels, np.array([track.motion.box for track in expected]))
            if len(found) == len(expected):
                return found
        self._since_search = 0
        return detect_faces(self._detector, [pixels])[0]

    def _classified(self, pixels: Image, time_s: float, faces: list[tuple[Detection, Track]]) -> Iterator[TrackedFace]:
        if not faces:
            return
        faces.sort(key=lambda each: each[1].number or math.inf)
        crops = [crop_faces(Photo.of(pixels), [detection], self._settings)[0] for detection, _ in faces]
        answers = self._predictor.classify(np.stack([crop.pixels for crop in crops]))
        for crop, (_, track), raw in zip(crops, faces, answers, strict=True):
            smoothed = self._smoothers[track].add(raw, time_s)
            yield TrackedFace(self._predictor.face(crop, smoothed), raw, track.number, crop.pixels)


def _box(sides: NDArray[np.float64]) -> Box:
    x1, y1, x2, y2 = (float(side) for side in sides)
    return x1, y1, x2, y2
