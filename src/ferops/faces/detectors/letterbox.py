"""Images resized and framed for a detector, and the mapping back to image coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.faces.detection import Detection, Image
from ferops.faces.detectors.boxes import Floats, areas
from ferops.faces.detectors.reductions import Reductions

MAX_SIDE_PX = 1280
"""Larger photos are reduced to this longest side before detection."""


Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2."""


@dataclass(frozen=True)
class Letterbox:
    """An image, reduced or enlarged, in a black border. A reflected border would show parts of faces.

    Attributes:
        pixels: RGB uint8 `(H, W, 3)`.
        offset: float64 `(2,)`: x, y of the image's corner in the letterbox.
        scale: float64 `(2,)`: letterbox pixels per image pixel along x, y.
        inside: where the image is, without the border.
    """

    pixels: Image
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    inside: Rectangle

    @classmethod
    def around(cls, image: Image, *, border: float = 0.0, min_side_px: int = 1, multiple: int = 1) -> Letterbox:
        """Resize an image and put a border around it.

        Args:
            border: width of the border as a share of each side.
            min_side_px: images with a shorter longest side are enlarged to it.
            multiple: the border is widened on the right and below until both sides are multiples of it.
        """
        height, width = image.shape[:2]
        longest = max(height, width)
        factor = min(max(longest, min_side_px), MAX_SIDE_PX) / longest
        if factor != 1:
            size = (max(1, round(width * factor)), max(1, round(height * factor)))
            method = cv2.INTER_LINEAR if factor < 1 else cv2.INTER_CUBIC
            image = cv2.resize(Reductions(image).before(1 / factor), size, interpolation=method).astype(
                np.uint8, copy=False
            )
        inner_height, inner_width = image.shape[:2]
        top, left = round(border * inner_height), round(border * inner_width)
        down, right = top + -(inner_height + 2 * top) % multiple, left + -(inner_width + 2 * left) % multiple
        if top or left or down or right:
            image = cv2.copyMakeBorder(image, top, down, left, right, cv2.BORDER_CONSTANT).astype(np.uint8, copy=False)
        return cls(
            pixels=image,
            offset=np.array([left, top], np.float64),
            scale=np.array([inner_width / width, inner_height / height], np.float64),
            inside=(left, top, left + inner_width, top + inner_height),
        )

    def detections(self, boxes: Floats, scores: Floats, landmarks: Floats) -> list[Detection]:
        """Return detections in the image's coordinates, largest box first.

        Args:
            boxes, scores, landmarks: `(N, 4)`, `(N,)` and `(N, 5, 2)`, in pixels of the letterbox.
        """
        return [
            Detection(
                box=self._to_image(boxes[i].reshape(2, 2)).reshape(4),
                landmarks=self._to_image(landmarks[i]),
                score=float(scores[i]),
            )
            for i in np.argsort(-areas(boxes), kind="stable")
        ]

    def _to_image(self, points: Floats) -> Floats:
        return ((points - self.offset) / self.scale).astype(np.float32)
