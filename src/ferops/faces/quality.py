"""How a face looks to the network: light and sharpness of its pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def brightness_and_sharpness(face: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the mean grey level (0-255) and the variance of the Laplacian (>= 0) of an aligned face, RGB `(S, S, 3)`.

    The variance of the Laplacian is that of Pech-Pacheco et al., ICPR 2000. It depends on S, so only faces of one size
    can be compared.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    spread = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_64F))[1]
    return float(grey.mean()), float(spread[0, 0] ** 2)
