"""Face detection behind a protocol: what a detector is, and the ones there are, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ferops.errors import FeropsError

Image = NDArray[np.uint8]

NAMES = ("mtcnn", "centerface")
"""What `preprocess.detector` may be; docs/detectors.md compares them."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Detection:
    """One face, in pixels of its image: x to the right, y down, (0, 0) the outer corner of the first pixel.

    Attributes:
        box: float32 `(4,)`: x1, y1, x2, y2; may reach past the image's edge.
        landmarks: float32 `(5, 2)` of x, y: left eye, right eye, nose, left and right mouth corner, left and right as
            seen in the picture.
        score: the detector's confidence, 0-1.
    """

    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float

    @property
    def area_px(self) -> float:
        """Area of the box in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each RGB uint8 `(H, W, 3)` image, in the images' order, largest box first.

        An image's faces do not depend on the others that it is passed with.
        """


def build(name: str, *, min_confidence: float) -> Detector:
    """Return the detector of that name (`preprocess.detector`).

    Detectors run on the CPU, so that a machine with a GPU finds the very same faces, and with as many threads as
    PyTorch has when they are built. On many cores, build one per process after torch.set_num_threads(1): that is
    faster than many threads for one.

    Args:
        min_confidence: faces with a lower score are dropped, 0-1. Scores of different detectors are different scales:
            0.9 suits `mtcnn`, 0.5 `centerface`.

    Raises:
        FeropsError: no detector has that name, or its weights are not installed; the message has the command.
    """
    if name == "mtcnn":
        from ferops.faces.detectors.mtcnn import Mtcnn

        return Mtcnn(min_confidence=min_confidence)
    if name == "centerface":
        from ferops.faces.detectors.centerface import CenterFace

        return CenterFace(min_confidence=min_confidence)
    raise FeropsError(f"preprocess.detector is {name!r}; there are: {', '.join(NAMES)}")
