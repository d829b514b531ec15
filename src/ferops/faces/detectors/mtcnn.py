"""MTCNN: a cascade of three small networks, each stricter than the one before it.

Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks". The weights are
those of the package facenet-pytorch (weights/NOTICE); the cascade is our own. Images go through one by one: on a CPU a
batch is no faster, and an image's faces cannot depend on its neighbours. docs/detectors.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ferops.faces.detection import Detection, Image
from ferops.faces.detectors import mtcnn_networks
from ferops.faces.detectors.boxes import Floats, apply_regression, crop_resize, nms, nms_over_smaller, square
from ferops.faces.detectors.landmarks import find_landmarks
from ferops.faces.detectors.letterbox import Letterbox

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

_STEP = 0.709  # from one size that is searched to the next: half the area
_WINDOW_PX, _STRIDE_PX = 12, 2  # of P-Net
_PROPOSED, _REFINED, _FOUND = 0.6, 0.7, 0.7  # the probabilities that let a candidate through, as published
_SHAPE_MULTIPLE = 16  # OpenVINO compiles for each new shape: keep their number small
_ZOOM = 0.85  # for landmarks; anything from 0.8 to 0.9 gives the least error


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
        boxes = self._refine(framed.pixels, self._propose(framed.pixels, smallest_px))
        boxes, scores = self._output(framed.pixels, boxes)
        return framed.detections(boxes, scores, find_landmarks(self._o_net, framed.pixels, boxes, zoom=_ZOOM))

    def _propose(self, pixels: Image, smallest_px: float) -> Floats:
        """Return boxes `(N, 4)` that may hold a face of at least that size."""
        height, width = pixels.shape[:2]
        scale = _WINDOW_PX / smallest_px
        boxes, scores = [np.empty((0, 8), np.float32)], [np.empty(0, np.float32)]
        while min(height, width) * scale >= _WINDOW_PX:
            size = (int(width * scale) + 1, int(height * scale) + 1)
            # From the previous size: from the full size it would take half of the total time
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
            windows, found = self._windows(pixels)
            windows[:, :4] *= np.array([width / size[0], height / size[1]] * 2, np.float32)
            boxes.append(windows)
            scores.append(found)
            scale *= _STEP
        all_boxes = np.concatenate(boxes)
        all_boxes = all_boxes[nms(all_boxes[:, :4], np.concatenate(scores), overlap=0.7)]
        return apply_regression(all_boxes[:, :4], all_boxes[:, 4:])

    def _windows(self, pixels: Image) -> tuple[Floats, Floats]:
        """Return the windows that P-Net accepts, `(N, 8)`: corners and their regression; and scores `(N,)`."""
        height, width = pixels.shape[:2]
        below, beside = -height % _SHAPE_MULTIPLE, -width % _SHAPE_MULTIPLE
        padded = cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_CONSTANT).astype(np.uint8, copy=False)
        probabilities, regression = self._p_net(padded[None])
        rows, columns = np.nonzero(probabilities[0, 1] >= _PROPOSED)
        scores = probabilities[0, 1, rows, columns]
        corners = _STRIDE_PX * np.stack([columns, rows], axis=1).astype(np.float32)
        corners = np.concatenate([corners, corners + _WINDOW_PX], axis=1)
        kept = nms(corners, scores, overlap=0.5)
        return np.concatenate([corners, regression[0, :, rows, columns]], axis=1)[kept], scores[kept]

    def _refine(self, pixels: Image, boxes: Floats) -> Floats:
        if not len(boxes):
            return boxes
        boxes = square(boxes)
        probabilities, regression = self._r_net(crop_resize(pixels, boxes, size_px=24))
        kept = np.flatnonzero(probabilities[:, 1] > _REFINED)
        kept = kept[nms(boxes[kept], probabilities[kept, 1], overlap=0.7)]
        return apply_regression(boxes[kept], regression[kept])

    def _output(self, pixels: Image, boxes: Floats) -> tuple[Floats, Floats]:
        """Return boxes `(N, 4)` and scores `(N,)`."""
        if not len(boxes):
            return boxes, np.empty(0, np.float32)
        boxes = square(boxes)
        probabilities, regression, _ = self._o_net(crop_resize(pixels, boxes, size_px=48))
        kept = np.flatnonzero(probabilities[:, 1] > min(_FOUND, self._min_confidence))
        boxes, scores = apply_regression(boxes[kept], regression[kept]), probabilities[kept, 1]
        kept = nms_over_smaller(boxes, scores, overlap=0.7)
        kept = kept[scores[kept] >= self._min_confidence]
        return boxes[kept], scores[kept]
