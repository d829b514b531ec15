"""YuNet proposes faces, MTCNN's output network judges them: the faces that MTCNN finds, in half the time and less.

The proposals of MTCNN's own first two networks take most of its time. YuNet's boxes are as good, but its landmarks are
far too coarse for alignment, and its scores have another scale. So box, score and landmarks are those of MTCNN's last
network; a model that was trained on faces cut out by MTCNN sees the same faces (docs/detectors.md has the figures).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import cv2
import numpy as np

from ferops.faces.detection import Detection, Image
from ferops.faces.detectors.boxes import Floats, enlarged, nms
from ferops.faces.detectors.judge import Found, faces_among, look_at
from ferops.faces.detectors.landmarks import find_landmarks
from ferops.faces.detectors.letterbox import Letterbox
from ferops.faces.detectors.mtcnn import CROP_SIDE_PX, SMALLEST_FACE_PX, ZOOM, Mtcnn
from ferops.faces.detectors.mtcnn_networks import o_net
from ferops.faces.detectors.pyramid import joined
from ferops.faces.detectors.reductions import Reductions
from ferops.faces.detectors.yunet_network import STRIDES_PX, yunet

SIDE_PX = (160, 288)
"""An image is looked at with its longest side, border included, within these bounds: large faces are found then."""

BORDER_SHARE = (0.25, 0.06)
"""Width of the black border around crops and around larger images, as a share of the longest side."""

SMALLEST_SEEN_PX = (22, 18)
"""The smallest faces looked for (SMALLEST_FACE_PX) are looked at in the first size; if the image is then larger than
SIDE_PX, at a second look and in the second size, for which it is halved. YuNet was trained on faces from 10 pixels."""

PROPOSED = 0.1
"""Proposals with a lower score are not judged. YuNet's authors keep those from 0.5: here the output network decides."""

SIZES = (0.85, 1.1)
UNSURE = (0.05, 0.9)
"""Each proposal is judged in the first size, and in the second one, too, where the probability of a face then lies
within these bounds: the output network is choosy about the frame. In 570 proposals, on photographs of trainings and in
scenes of their faces, the second size found no face where the first one was surer that there is none."""


class Yunet:
    """A `Detector`. Its scores are MTCNN's. Not thread-safe."""

    def __init__(self, *, min_confidence: float, threads: int | None = None) -> None:
        self._network = yunet(threads=threads)
        self._o_net = o_net(threads=threads)
        self._min_confidence = min_confidence
        self._threads = threads

    @cached_property
    def _mtcnn(self) -> Mtcnn:
        return Mtcnn(min_confidence=self._min_confidence, threads=self._threads)

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Detection]:
        framed = Letterbox.around(image)
        reductions = Reductions(framed.pixels)
        proposals = self._propose(reductions)
        once = look_at(self._o_net, reductions, enlarged(proposals, SIZES[0]))
        unsure = proposals[(once[1] >= UNSURE[0]) & (once[1] < UNSURE[1])]
        again = look_at(self._o_net, reductions, enlarged(unsure, SIZES[1]))
        boxes, scores = faces_among(joined(once, again), min_confidence=self._min_confidence)
        if len(proposals) and not len(boxes):  # there may be a face
            return self._mtcnn.detect([image])[0]
        return framed.detections(boxes, scores, find_landmarks(self._o_net, reductions, boxes, zoom=ZOOM))

    def _propose(self, image: Reductions) -> Floats:
        """Return boxes that may hold a face, in pixels of the image."""
        found = [self._marks(*view) for view in _views(image)]
        boxes, scores = (np.concatenate(each) for each in zip(*found, strict=True))
        return boxes[nms(boxes, scores, overlap=0.3)]

    def _marks(self, pixels: Image, scale: Floats, corner: Floats) -> Found:
        boxes, scores = [], []
        for stride, (grid,) in zip(STRIDES_PX, self._network(pixels[None]), strict=True):
            odds_against = np.exp(-np.maximum(grid[:2], -40))  # a product of two overflows below -44
            score = 1 / np.sqrt((1 + odds_against).prod(axis=0))
            rows, columns = np.nonzero(score >= PROPOSED)
            x, y, log_width, log_height = grid[2:, rows, columns]
            middle = np.stack([columns + x, rows + y], axis=1)
            half = np.exp(np.stack([log_width, log_height], axis=1)) / 2
            boxes.append(stride * np.concatenate([middle - half, middle + half], axis=1))
            scores.append(score[rows, columns])
        in_image = (np.concatenate(boxes).reshape(-1, 2, 2) - corner) / scale
        return in_image.reshape(-1, 4).astype(np.float32), np.concatenate(scores)


def _views(image: Reductions) -> Iterator[tuple[Image, Floats, Floats]]:
    """Yield an image at the sizes at which YuNet looks at it, in a black border: pixels `(h, w, 3)`, pixels for one of
    the image along x and y, and x, y of the image's corner."""
    longest = max(image.at(0).shape[:2])
    share = BORDER_SHARE[longest > CROP_SIDE_PX]
    low, high = (side / ((1 + 2 * share) * longest) for side in SIDE_PX)
    once, again = (pixels / SMALLEST_FACE_PX[1] for pixels in SMALLEST_SEEN_PX)
    scale = max(low, once) if once <= high else low
    yield _view(image, scale, border_px=round(scale * share * longest))
    if once > high:
        yield _view(image, again, border_px=SMALLEST_SEEN_PX[1])


def _view(image: Reductions, scale: float, *, border_px: int) -> tuple[Image, Floats, Floats]:
    height, width = image.at(0).shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Averaging by parts of pixels takes ten times as long; less than a factor of 2 is left
    pixels = cv2.resize(image.before(max(1 / scale, 1)), size, interpolation=cv2.INTER_LINEAR)
    below, beside = (border_px + -(side + 2 * border_px) % STRIDES_PX[0] for side in (size[1], size[0]))
    framed = cv2.copyMakeBorder(pixels, border_px, below, border_px, beside, cv2.BORDER_CONSTANT)
    scales = np.array([size[0] / width, size[1] / height], np.float32)
    return framed.astype(np.uint8, copy=False), scales, np.full(2, border_px, np.float32)
