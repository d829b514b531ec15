"""What the label review sees of an image: histograms of oriented gradients, as Dalal and Triggs (CVPR 2005) have them.

No face detector is available this early, so an image is described twice: as a whole, which fits tight face crops, and
by its central 60 %, where the face of a portrait is. Which of both says more is left to the model that reads them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BINS = 8
"""Orientations of unsigned gradients, 0 to 180 degrees. A power of two: the next bin is found with a mask."""
VIEWS = ((1.0, 48, 8), (0.6, 64, 8))
"""(central share of the image, side it is resized to, side of a cell), both sides in pixels."""
VIEW_BYTES = sum(side * side for _, side, _ in VIEWS)
LENGTH = sum(4 * BINS * (side // cell - 1) ** 2 for _, side, cell in VIEWS)
CLIP = 0.2
"""Dalal and Triggs' limit for one bin of a normalised block: a single strong edge must not drown the others."""

Descriptors = NDArray[np.float32]
Views = NDArray[np.uint8]


def image_views(grey: NDArray[np.uint8]) -> Views:
    """Return all that a descriptor needs of a grey image `(H, W)`: its VIEWS, uint8 `(VIEW_BYTES,)`."""
    return np.concatenate([_resized(_centre(grey, share), side).ravel() for share, side, _ in VIEWS])


def describe(views: Views) -> Descriptors:
    """Return the descriptor of the `image_views` of one image, float32 `(LENGTH,)`, values 0 to 1."""
    found, start = [], 0
    for _, side, cell in VIEWS:
        found.append(_histograms(views[start : start + side * side].reshape(side, side), side, cell))
        start += side * side
    return np.concatenate(found)


def mirror_order() -> NDArray[np.int64]:
    """Return the permutation, int64 `(LENGTH,)`, that turns a descriptor into that of the mirrored image."""
    orders, start = [], 0
    for _, side, cell in VIEWS:
        blocks = side // cell - 1
        places = np.arange(start, start + blocks * blocks * 4 * BINS).reshape(blocks, blocks, 2, 2, BINS)
        # Columns of blocks, and of the cells in a block, change places; an angle becomes 180 degrees minus it.
        orders.append(places[:, ::-1, :, ::-1, -np.arange(BINS) % BINS].ravel())
        start += places.size
    return np.concatenate(orders)


def _centre(grey: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Return the whole image `(H, W)`, or the square in its middle with `share` of the shorter side."""
    if share == 1.0:
        return grey
    height, width = grey.shape
    side = max(round(min(height, width) * share), 1)
    top, left = (height - side) // 2, (width - side) // 2
    return grey[top : top + side, left : left + side]


def _resized(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    how = cv2.INTER_AREA if min(grey.shape) >= side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (side, side), interpolation=how), dtype=np.uint8)


def _histograms(sized: NDArray[np.uint8], side: int, cell: int) -> Descriptors:
    """Return the blocks of 2x2 cells, each normalised, clipped and normalised again, float32, flat."""
    root = np.sqrt(sized, dtype=np.float32)  # weakens what light adds
    size, angle = cv2.cartToPolar(
        cv2.Sobel(root, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(root, cv2.CV_32F, 0, 1, ksize=1)
    )
    place = np.asarray(angle) * (BINS / np.pi)  # 0 to 2 * BINS: opposite directions share a bin
    lower = place.astype(np.int32)
    upper_part = (place - lower) * size
    cells = side // cell
    line = np.arange(side, dtype=np.int32) // cell
    first = (line[:, None] * cells + line[None, :]) * BINS  # the first bin of each pixel's cell
    total = cells * cells * BINS
    counts = np.bincount((first + (lower & (BINS - 1))).ravel(), (size - upper_part).ravel(), total)
    counts += np.bincount((first + ((lower + 1) & (BINS - 1))).ravel(), upper_part.ravel(), total)
    grid = counts.reshape(cells, cells, BINS).astype(np.float32)
    corners = [grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]]  # as (2, 2, BINS): row, column of the block
    blocks = np.concatenate(corners, axis=-1)
    return _normalised(np.minimum(_normalised(blocks), CLIP)).ravel()


def _normalised(blocks: Descriptors) -> Descriptors:
    return np.asarray(blocks / np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + 0.01), dtype=np.float32)
