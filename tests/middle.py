"""A detector for tests of verbs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferops.faces.detection import Detection

FACE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


class Middle:
    """A detector that finds a face in the middle of every image that is not black."""

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        box = np.array([20, 20, 60, 60], np.float32)
        return [[Detection(box, FACE * 40 + 20, 0.99)] if image.any() else [] for image in images]
