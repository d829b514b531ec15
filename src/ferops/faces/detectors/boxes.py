"""Operations on boxes: float `(N, 4)` of x1, y1, x2, y2 in pixels, (0, 0) the outer corner of the first pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.faces.detectors.reductions import Reductions

Floats = NDArray[np.float32]


def areas(boxes: Floats) -> Floats:
    """Return `(N,)`, square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def enlarged(boxes: Floats, factor: float) -> Floats:
    """Return the boxes with `factor` times their sides, around the same centres."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) * np.float32(factor / 2)
    return np.concatenate([middle - half, middle + half], axis=1)


def apply_regression(boxes: Floats, regression: Floats) -> Floats:
    """Move each corner by its regression `(N, 4)`, in shares of the box's sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return (boxes + np.concatenate([sides, sides], axis=1) * regression).astype(np.float32, copy=False)


def cut_squares(
    image: Reductions, boxes: Floats, *, size_px: int, zoom: float = 1.0
) -> tuple[Floats, NDArray[np.uint8]]:
    """Cut the square around the centre of each box out of an image.

    Args:
        size_px: side of what is returned.
        zoom: side of the square, as a multiple of the box's longer side.

    Returns:
        The squares, float32 `(N, 4)`, and their content, uint8 `(N, size_px, size_px, 3)`; black outside the image, so
        that a face at the edge keeps its proportions. Squares are of whole pixels; those of four times `size_px` and
        more, of whole pixels of the reduction that they are cut out of.
    """
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) * zoom
    halvings = np.maximum(np.floor(np.log2(np.maximum(side, 1) / (2 * size_px))), 0)
    unit = 2**halvings
    side = np.maximum(np.rint(side / unit), 1)
    corner = np.rint((boxes[:, :2] + boxes[:, 2:]) / 2 / unit - side / 2)
    squares = np.concatenate([corner, corner + side], axis=1)
    content = np.empty((len(boxes), size_px, size_px, 3), np.uint8)
    for i, (x1, y1, x2, y2) in enumerate(squares.astype(int).tolist()):
        pixels = image.at(int(halvings[i, 0]))
        cut = pixels[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        if cut.shape[:2] != (y2 - y1, x2 - x1):
            padded = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
            top, left = max(-y1, 0), max(-x1, 0)
            padded[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
            cut = padded
        cv2.resize(cut, (size_px, size_px), dst=content[i], interpolation=cv2.INTER_AREA)
    return (squares * unit).astype(np.float32), content


def nms(boxes: Floats, scores: Floats, *, overlap: float) -> NDArray[np.intp]:
    """Non-maximum suppression: return the indices of the boxes to keep, best score first. Of two boxes that share more
    than `overlap` of their union, the one with the lower score is removed."""
    if not len(boxes):
        return np.empty(0, np.intp)
    corners_and_sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    # OpenCV's stubs want lists; arrays work and are faster
    kept = cv2.dnn.NMSBoxes(corners_and_sides, scores, 0.0, overlap)  # type: ignore[arg-type]
    return np.asarray(kept, np.intp).reshape(-1)


def nms_over_smaller(boxes: Floats, scores: Floats, *, overlap: float) -> NDArray[np.intp]:
    """As `nms`, but `overlap` is a share of the smaller box: a box inside another is removed as well."""
    left = np.argsort(-scores, kind="stable")
    size = areas(boxes)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[left, :2])
        high = np.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        left = left[shared <= overlap * np.minimum(size[best], size[left])]
    return np.array(kept, np.intp)
