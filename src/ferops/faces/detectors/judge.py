"""The last word on what is a face: MTCNN's output network, for the candidates of any search."""

from __future__ import annotations

import numpy as np

from ferops.faces.detectors.boxes import Floats, apply_regression, cut_squares, nms_over_smaller
from ferops.faces.detectors.mtcnn_networks import Network
from ferops.faces.detectors.reductions import Reductions

Found = tuple[Floats, Floats]
"""Boxes `(N, 4)` and scores `(N,)`."""

SAME_FACE = 0.7
"""Of two boxes that share more than this of the smaller one, the surer is the face."""

_FOUND = 0.7  # the probability that lets a candidate through, as published


def judge(o_net: Network, image: Reductions, boxes: Floats, *, min_confidence: float) -> Found:
    """Return the faces among the candidates, each once, and where the network puts them.

    Args:
        o_net: `mtcnn_networks.o_net()`.
        boxes: float `(N, 4)`, the candidates.
        min_confidence: drop faces with a lower score, 0-1.
    """
    return faces_among(look_at(o_net, image, boxes), min_confidence=min_confidence)


def look_at(o_net: Network, image: Reductions, boxes: Floats) -> Found:
    """Return for each candidate where the network puts a face, and the probability that it is one."""
    if not len(boxes):
        return boxes, np.empty(0, np.float32)
    boxes, crops = cut_squares(image, boxes, size_px=48)
    probabilities, regression, _ = o_net(crops)
    return apply_regression(boxes, regression), probabilities[:, 1]


def faces_among(looked_at: Found, *, min_confidence: float) -> Found:
    """Return the faces among what `look_at` has returned, each once."""
    boxes, scores = looked_at
    kept = np.flatnonzero(scores > min(_FOUND, min_confidence))
    boxes, scores = boxes[kept], scores[kept]
    kept = nms_over_smaller(boxes, scores, overlap=SAME_FACE)
    kept = kept[scores[kept] >= min_confidence]
    return boxes[kept], scores[kept]
