"""A quick look at where faces are expected, for the frames between two searches of the whole picture."""

from __future__ import annotations

import numpy as np

from ferops.faces.detection import Detection, Image
from ferops.faces.detectors import mtcnn_networks
from ferops.faces.detectors.boxes import Floats, apply_regression, cut_squares, nms
from ferops.faces.detectors.landmarks import find_landmarks
from ferops.faces.detectors.reductions import Reductions

FOR = "mtcnn"
"""The detector whose boxes and landmarks these are; models trained on another's search every frame."""
_ZOOM = 0.85  # for landmarks, as that detector has it


class Follower:
    """MTCNN's last network alone, on the boxes that the tracker expects: the search for candidates, which takes most of
    the time, is left out. Not thread-safe.

    Args:
        min_confidence: faces with a lower score are not returned, 0-1.
    """

    def __init__(self, *, min_confidence: float, threads: int | None = None) -> None:
        self._o_net = mtcnn_networks.o_net(threads=threads)
        self._min_confidence = min_confidence

    def detect(self, image: Image, boxes: Floats) -> list[Detection]:
        """Return the faces in the RGB uint8 image `(H, W, 3)` near `boxes`, float `(N, 4)`, each face once."""
        height, width = image.shape[:2]
        boxes = boxes.reshape(-1, 4).astype(np.float32)
        inside = (boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < (width, height)).all(axis=1)
        if not (boxes := boxes[inside]).size:
            return []
        reductions = Reductions(image)
        boxes, crops = cut_squares(reductions, boxes, size_px=48)
        probabilities, regression, _ = self._o_net(crops)
        scores = probabilities[:, 1]
        kept = np.flatnonzero(scores >= self._min_confidence)
        boxes, scores = apply_regression(boxes[kept], regression[kept]), scores[kept]
        kept = nms(boxes, scores, overlap=0.5)
        boxes, scores = boxes[kept], scores[kept]
        landmarks = find_landmarks(self._o_net, reductions, boxes, zoom=_ZOOM)
        return [Detection(boxes[i], landmarks[i], float(scores[i])) for i in range(len(boxes))]
