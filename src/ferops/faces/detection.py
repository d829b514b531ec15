"""The interface of face detectors, and what they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Detection:
    """One face, in pixels of its image: x to the right, y down, (0, 0) the outer corner of the first pixel.

    Attributes:
        box: float32 `(4,)`: x1, y1, x2, y2; may reach past the image's edge.
        landmarks: float32 `(5, 2)` of x, y: left eye, right eye, nose, left and right mouth corner, left and right as
            seen in the image.
        score: the detector's confidence, 0-1.
    """

    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float

    def scaled(self, factor: float) -> Detection:
        """Return the face in the pixels of an image that is `factor` times as large."""
        scale = np.float32(factor)
        return Detection(box=self.box * scale, landmarks=self.landmarks * scale, score=self.score)

    @property
    def area_px(self) -> float:
        """Area of the box in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each RGB uint8 `(H, W, 3)` image, in the images' order, largest box first.

        An image's faces do not depend on the other images in the call.
        """
