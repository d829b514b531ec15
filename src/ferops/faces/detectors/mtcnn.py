"""MTCNN: a cascade of three small networks, each stricter than the one before it.

Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks". The weights are
those of the package facenet-pytorch (weights/NOTICE); the cascade is our own. Images go through one by one: on a CPU a
batch is no faster, and an image's faces cannot depend on its neighbours. docs/detectors.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ferops.faces.detection import Detection, Image
from ferops.faces.detectors import mtcnn_networks
from ferops.faces.detectors.boxes import Floats, apply_regression, areas, cut_squares, nms, nms_over_smaller
from ferops.faces.detectors.judge import SAME_FACE, Found, judge
from ferops.faces.detectors.landmarks import find_landmarks
from ferops.faces.detectors.letterbox import Letterbox, Rectangle
from ferops.faces.detectors.pyramid import Level, joined, propose, pyramid, windows
from ferops.faces.detectors.reductions import Reductions

CROP_SIDE_PX = 200
"""Images up to this longest side are treated as crops around a face."""

BORDER_SHARE = (0.25, 0.125)
"""Width of the black border around crops and around larger images, as a share of each side: at the very edge the
networks miss faces."""

SECOND_BORDER_SHARE = 0.5
"""The border for a second attempt on a crop in which nothing was found."""

SMALLEST_FACE_PX = (20, 36)
SMALLEST_FACE_SHARE = 0.2
"""The smallest face looked for: this share of the image's longest side, within these bounds. Half the size takes four
times as long, and smaller faces are too coarse to classify."""

LARGE_SHARE = 0.19
"""Faces of this share of the image's longest side are looked for first; where one is, no smaller ones are."""

_REFINED = 0.7  # the probability that lets a candidate through, as published
_SURE = 0.9  # a face that may stand for what lies inside its box
ZOOM = 0.85
"""Side of the square for landmarks, in box sides; anything from 0.8 to 0.9 gives the least error."""


class Mtcnn:
    """A `Detector`. Not thread-safe."""

    def __init__(self, *, min_confidence: float, threads: int | None = None) -> None:
        self._p_net = mtcnn_networks.p_net(threads=threads)
        self._r_net = mtcnn_networks.r_net(threads=threads)
        self._o_net = mtcnn_networks.o_net(threads=threads)
        self._min_confidence = min_confidence

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Detection]:
        longest = max(image.shape[:2])
        smallest = min(max(SMALLEST_FACE_SHARE * longest, SMALLEST_FACE_PX[0]), SMALLEST_FACE_PX[1])
        if longest > CROP_SIDE_PX:
            return self._cascade(image, border=BORDER_SHARE[1], smallest_px=smallest)
        return self._cascade(image, border=BORDER_SHARE[0], smallest_px=smallest) or self._cascade(
            image, border=SECOND_BORDER_SHARE, smallest_px=smallest
        )

    def _cascade(self, image: Image, *, border: float, smallest_px: float) -> list[Detection]:
        framed = Letterbox.around(image, border=border)
        reductions = Reductions(framed.pixels)
        boxes, scores = self._search(reductions, framed.inside, smallest_px)
        return framed.detections(boxes, scores, find_landmarks(self._o_net, reductions, boxes, zoom=ZOOM))

    def _search(self, image: Reductions, inside: Rectangle, smallest_px: float) -> Found:
        """Search for large faces, and for smaller ones where those leave room."""
        levels = pyramid(image, smallest_px)
        large_px = LARGE_SHARE * max(inside[2] - inside[0], inside[3] - inside[1])
        fine = [_near(level, inside) for level in levels if level.face_px < large_px]
        coarse = windows(self._p_net, levels[len(fine) :])
        boxes, scores = self._judge(image, propose(coarse))
        sure = boxes[scores >= _SURE]
        if not fine:
            return boxes, scores
        if not len(sure):
            return self._judge(image, propose(joined(windows(self._p_net, fine), coarse)))
        largest = sure[np.argmax(areas(sure))]
        parts = [part for level in fine for part in _beside(level, largest, inside)]
        small = propose(windows(self._p_net, parts))
        centres = (small[:, None, :2] + small[:, None, 2:]) / 2  # (N, 1, 2)
        covered = np.all((centres > sure[:, :2]) & (centres < sure[:, 2:]), axis=2)  # (N, faces)
        more = self._judge(image, small[~np.any(covered, axis=1)])
        boxes, scores = joined((boxes, scores), more)
        kept = nms_over_smaller(boxes, scores, overlap=SAME_FACE)
        return boxes[kept], scores[kept]

    def _judge(self, image: Reductions, boxes: Floats) -> Found:
        return judge(self._o_net, image, self._refine(image, boxes), min_confidence=self._min_confidence)

    def _refine(self, image: Reductions, boxes: Floats) -> Floats:
        if not len(boxes):
            return boxes
        boxes, crops = cut_squares(image, boxes, size_px=24)
        probabilities, regression = self._r_net(crops)
        kept = np.flatnonzero(probabilities[:, 1] > _REFINED)
        kept = kept[nms(boxes[kept], probabilities[kept, 1], overlap=0.7)]
        return apply_regression(boxes[kept], regression[kept])


def _near(level: Level, inside: Rectangle) -> Level:
    """Return the part of a level in which a window shows some of the image, and not only its border."""
    room = level.face_px
    return level.part(inside[0] - room, inside[1] - room, inside[2] + room, inside[3] + room)


def _beside(level: Level, face: Floats, inside: Rectangle) -> Iterator[Level]:
    """Yield the parts of a level to the left, to the right, above and below a face that have room for another, whose
    centre lies beyond the edge of the first one's box. `inside` is where the image is in the letterbox."""
    room = level.face_px / 2
    left, top, right, bottom = inside[0] - room, inside[1] - room, inside[2] + room, inside[3] + room
    x1, y1, x2, y2 = face.tolist()
    if x1 - inside[0] >= level.face_px:
        yield level.part(left, top, x1 + room, bottom)
    if inside[2] - x2 >= level.face_px:
        yield level.part(x2 - room, top, right, bottom)
    if y1 - inside[1] >= level.face_px:
        yield level.part(x1 - room, top, x2 + room, y1 + room)
    if inside[3] - y2 >= level.face_px:
        yield level.part(x1 - room, y2 - room, x2 + room, bottom)
