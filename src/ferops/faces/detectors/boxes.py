"""Boxes that detectors juggle: float `(N, 4)` of x1, y1, x2, y2 in pixels, (0, 0) the outer corner of the first."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.faces.detection import Image

Floats = NDArray[np.float32]


def areas(boxes: Floats) -> Floats:
    """Return `(N,)`, square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def shifted(boxes: Floats, shifts: Floats) -> Floats:
    """Move each corner by its shift `(N, 4)`, in shares of the box's sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return (boxes + np.concatenate([sides, sides], axis=1) * shifts).astype(np.float32, copy=False)


def squares(boxes: Floats, *, zoom: float = 1.0) -> Floats:
    """Return squares of whole pixels around the boxes' centres, `zoom` times as wide as the longer side."""
    side = np.maximum(np.rint((boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) * zoom), 1)
    corner = np.rint((boxes[:, :2] + boxes[:, 2:] - side) / 2)
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


def cut(pixels: Image, boxes: Floats, *, size_px: int) -> NDArray[np.uint8]:
    """Return what each of `squares` shows, uint8 `(N, size_px, size_px, 3)`; black beyond the picture, so that a face
    at the edge keeps its proportions."""
    crops = np.empty((len(boxes), size_px, size_px, 3), np.uint8)
    for i, (x1, y1, x2, y2) in enumerate(boxes.astype(int).tolist()):
        part = pixels[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        if part.shape[:2] != (y2 - y1, x2 - x1):
            square = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
            top, left = max(-y1, 0), max(-x1, 0)
            square[top : top + part.shape[0], left : left + part.shape[1]] = part
            part = square
        cv2.resize(part, (size_px, size_px), dst=crops[i], interpolation=cv2.INTER_AREA)
    return crops


def distinct(boxes: Floats, scores: Floats, *, overlap: float) -> NDArray[np.intp]:
    """Return which boxes stay, best score first, when the lower score of two goes that share more than `overlap` of
    their union."""
    if not len(boxes):
        return np.empty(0, np.intp)
    corners_and_sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    # OpenCV's stubs ask for lists; arrays are taken, and faster
    stay = cv2.dnn.NMSBoxes(corners_and_sides, scores, 0.0, overlap)  # type: ignore[arg-type]
    return np.asarray(stay, np.intp).reshape(-1)


def unnested(boxes: Floats, scores: Floats, *, overlap: float) -> NDArray[np.intp]:
    """As `distinct`, when they share more than `overlap` of the smaller one."""
    left = np.argsort(-scores, kind="stable")
    size = areas(boxes)
    stay = []
    while len(left):
        best, left = left[0], left[1:]
        stay.append(best)
        low = np.maximum(boxes[best, :2], boxes[left, :2])
        high = np.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        left = left[shared <= overlap * np.minimum(size[best], size[left])]
    return np.array(stay, np.intp)
