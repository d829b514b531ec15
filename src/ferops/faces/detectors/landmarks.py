"""Landmarks from MTCNN's output network, for the boxes of any detector."""

from __future__ import annotations

import numpy as np

from ferops.faces.detectors.boxes import Floats, cut_squares
from ferops.faces.detectors.mtcnn_networks import Network
from ferops.faces.detectors.reductions import Reductions

_INPUT_PX = 48  # of O-Net
_MIRRORED = [1, 0, 2, 4, 3]  # left and right change places


def find_landmarks(o_net: Network, image: Reductions, boxes: Floats, *, zoom: float) -> Floats:
    """Return float32 `(N, 5, 2)`, in pixels of the image and in the order of `Detection.landmarks`.

    O-Net sees each face and its mirror image, and the two answers are averaged: it was trained on faces but is not
    symmetric itself. That halves its disagreement with itself; see docs/detectors.md.

    Args:
        o_net: `mtcnn_networks.o_net()`.
        boxes: float `(N, 4)`, the faces.
        zoom: side of the square that O-Net sees, as a multiple of the box's longer side.
    """
    if not len(boxes):
        return np.empty((0, 5, 2), np.float32)
    squares, crops = cut_squares(image, boxes, size_px=_INPUT_PX, zoom=zoom)
    _, _, points = o_net(np.concatenate([crops, crops[:, :, ::-1]]))  # (2N, 10)
    straight, mirrored = points.reshape(2, -1, 2, 5)  # each (N, x and y, 5)
    mirrored = mirrored[:, :, _MIRRORED]
    mirrored[:, 0] = 1 - mirrored[:, 0]
    mean = (straight + mirrored).transpose(0, 2, 1) / 2  # (N, 5, 2)
    side = squares[:, 2] - squares[:, 0]
    return squares[:, None, :2] + mean * side[:, None, None]
