"""An image at a half, a quarter, an eighth of its sides: OpenCV averages whole blocks of pixels ten times as fast as
parts of them, and what is cut out of an image many times is reduced once."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ferops.faces.detection import Image


class Reductions:
    """An image and its reductions, each made when it is first asked for.

    Args:
        pixels: RGB uint8 `(H, W, 3)`.
    """

    def __init__(self, pixels: Image) -> None:
        self._images = [pixels]

    def at(self, halvings: int) -> Image:
        """Return the image with its sides halved so often, an odd last row or column left out."""
        while len(self._images) <= halvings:
            last = self._images[-1]
            height, width = (max(side // 2, 1) for side in last.shape[:2])
            half = cv2.resize(last[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
            self._images.append(half.astype(np.uint8, copy=False))
        return self._images[halvings]

    def before(self, factor: float) -> Image:
        """Return the image halved as often as leaves less than 2 of a reduction by `factor`."""
        shortest = min(self._images[0].shape[:2])
        return self.at(max(0, math.floor(math.log2(min(factor, shortest)))))
