"""P-Net over an image at many sizes, so that faces of all sizes fit its one window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.faces.detection import Image
from ferops.faces.detectors.boxes import Floats, apply_regression, nms
from ferops.faces.detectors.mtcnn_networks import Network
from ferops.faces.detectors.reductions import Reductions

WINDOW_PX = 12
_STRIDE_PX = 2
_STEP = 0.709  # from one size that is searched to the next: half the area
_PROPOSED = 0.6  # the probability that lets a window through, as published
_SHAPE_MULTIPLE = 16  # OpenVINO compiles for each new shape: keep their number small
_LARGE_PX = 640 * 640  # from here on the first reduction takes more time than it should
_SMALL_PX = 128 * 128  # levels up to this size share a call, which costs as much as 40 x 40 pixels

Windows = tuple[Floats, Floats]
"""Windows `(N, 8)`: corners and their regression; and scores `(N,)`."""
NO_WINDOWS: Windows = (np.empty((0, 8), np.float32), np.empty(0, np.float32))


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Level:
    """An image, or a part of it, at a size at which faces of `face_px` fit P-Net's window.

    Attributes:
        pixels: RGB uint8 `(h, w, 3)`.
        face_px: in pixels of the image.
        scale: float32 `(2,)`: pixels of the image for one of `pixels` along x, y.
        corner: x, y of the part, in pixels of the level.
    """

    pixels: Image
    face_px: float
    scale: NDArray[np.float32]
    corner: tuple[int, int] = (0, 0)

    def part(self, x1: float, y1: float, x2: float, y2: float) -> Level:
        """Return the part between these corners, in pixels of the image, moved to P-Net's grid."""
        low = np.array([x1, y1]) / self.scale - self.corner
        high = np.array([x2, y2]) / self.scale - self.corner
        height, width = self.pixels.shape[:2]
        left, top = (int(max(side, 0)) // _STRIDE_PX * _STRIDE_PX for side in low)
        right, bottom = int(np.clip(np.ceil(high[0]), left, width)), int(np.clip(np.ceil(high[1]), top, height))
        corner = (self.corner[0] + left, self.corner[1] + top)
        return Level(self.pixels[top:bottom, left:right], self.face_px, self.scale, corner)


def pyramid(image: Reductions, smallest_px: float) -> list[Level]:
    """Return an image at the sizes for faces of `smallest_px` and more, largest size first."""
    pixels = image.at(0)
    height, width = pixels.shape[:2]
    levels, scale = [], WINDOW_PX / smallest_px
    if width * height > _LARGE_PX:
        pixels = image.before(1 / scale)
    while min(height, width) * scale >= WINDOW_PX:
        size = (int(width * scale) + 1, int(height * scale) + 1)
        # From the previous size: from the full size it would take half of the total time
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        levels.append(Level(pixels, WINDOW_PX / scale, np.array([width / size[0], height / size[1]], np.float32)))
        scale *= _STEP
    return levels


def windows(p_net: Network, levels: Sequence[Level]) -> Windows:
    """Return the windows of all levels that P-Net accepts, corners in pixels of the image."""
    levels = [level for level in levels if min(level.pixels.shape[:2]) >= 1]
    small = [level for level in levels if level.pixels.size <= 3 * _SMALL_PX]
    found = [_accepted(level, *p_net(_padded(level.pixels)[None])) for level in levels if level not in small]
    if small:
        found += _together(p_net, small)
    return joined(NO_WINDOWS, *found)


def joined(*found: Windows) -> Windows:
    """Return all windows, or boxes, with their scores as one."""
    boxes, scores = zip(*found, strict=True)
    return np.concatenate(boxes), np.concatenate(scores)


def propose(found: Windows) -> Floats:
    """Return boxes `(N, 4)` that may hold a face, each where its window's regression puts it."""
    boxes, scores = found
    boxes = boxes[nms(boxes[:, :4], scores, overlap=0.7)]
    return apply_regression(boxes[:, :4], boxes[:, 4:])


def _together(p_net: Network, levels: Sequence[Level]) -> list[Windows]:
    """Run P-Net over levels one below the other. It has no padding, so that each sees its own pixels only."""
    padded = [_padded(level.pixels) for level in levels]
    width = max(each.shape[1] for each in padded)
    column = np.zeros((sum(each.shape[0] for each in padded), width, 3), np.uint8)
    top, tops = 0, []
    for each in padded:
        column[top : top + each.shape[0], : each.shape[1]] = each
        tops.append(top // _STRIDE_PX)
        top += each.shape[0]
    probabilities, regression = p_net(column[None])
    found = []
    for level, each, row in zip(levels, padded, tops, strict=True):
        rows, columns = ((side - WINDOW_PX) // _STRIDE_PX + 1 for side in each.shape[:2])
        own = np.s_[:, :, row : row + rows, :columns]
        found.append(_accepted(level, probabilities[own], regression[own]))
    return found


def _padded(pixels: Image) -> Image:
    below, beside = (-side % _SHAPE_MULTIPLE for side in pixels.shape[:2])
    return cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_CONSTANT).astype(np.uint8, copy=False)


def _accepted(level: Level, probabilities: Floats, regression: Floats) -> Windows:
    rows, columns = np.nonzero(probabilities[0, 1] >= _PROPOSED)
    scores = probabilities[0, 1, rows, columns]
    corners = _STRIDE_PX * np.stack([columns, rows], axis=1).astype(np.float32)
    corners = np.concatenate([corners, corners + WINDOW_PX], axis=1)
    kept = nms(corners, scores, overlap=0.5)
    corners = (corners + np.tile(np.array(level.corner, np.float32), 2)) * np.tile(level.scale, 2)
    return np.concatenate([corners, regression[0, :, rows, columns]], axis=1)[kept], scores[kept]
