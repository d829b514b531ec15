"""Landmarks from a last, closer look at each face that was found, whoever found it."""

from __future__ import annotations

import numpy as np

from ferops.faces.detection import Image
from ferops.faces.detectors.boxes import Floats, cut, squares
from ferops.faces.detectors.nets import Net

_SIZE_PX = 48  # what O-Net takes
_MIRRORED = [1, 0, 2, 4, 3]  # left and right change places


def landmarks(o_net: Net, pixels: Image, boxes: Floats, *, zoom: float) -> Floats:
    """Return float32 `(N, 5, 2)`, in pixels of the picture and in the order of `Detection.landmarks`.

    MTCNN's last network looks at each face and at its mirror image, and the two answers are averaged: it is trained on
    faces but not symmetric itself. That halves its disagreement with itself; see docs/detectors.md.

    Args:
        o_net: `nets.o_net()`.
        boxes: float `(N, 4)`, the faces.
        zoom: side of the square that is looked at, as a multiple of the box's longer side.
    """
    if not len(boxes):
        return np.empty((0, 5, 2), np.float32)
    looked_at = squares(boxes, zoom=zoom)
    crops = cut(pixels, looked_at, size_px=_SIZE_PX)
    _, _, points = o_net(np.concatenate([crops, crops[:, :, ::-1]]))  # (2N, 10)
    straight, mirrored = points.reshape(2, -1, 2, 5)  # each (N, x and y, 5)
    mirrored = mirrored[:, :, _MIRRORED]
    mirrored[:, 0] = 1 - mirrored[:, 0]
    mean = (straight + mirrored).transpose(0, 2, 1) / 2  # (N, 5, 2)
    side = looked_at[:, 2] - looked_at[:, 0]
    return looked_at[:, None, :2] + mean * side[:, None, None]
