"""The one way from an image and its detections to the pixels a network sees.

The preprocess stage and the Predictor both call these functions, so that training and serving agree by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferops.config import Align, Choose
from ferops.faces.align import align, preferred, whole
from ferops.faces.detection import Detection, Image


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Face:
    """A face as the network sees it.

    Attributes:
        pixels: uint8 `(size_px, size_px, 3)`, RGB.
        detection: where it is in the image; None for a picture that is kept whole.
    """

    pixels: Image
    detection: Detection | None


def faces_from(
    image: Image,
    detections: Sequence[Detection],
    *,
    size_px: int,
    margin: float,
    how: Choose,
    fit: Align,
    at_most: int | None = None,
) -> list[Face]:
    """Return the faces of `image`, aligned, the preferred ones first (see `align.preferred`), all or `at_most`."""
    chosen = preferred(detections, image_shape=image.shape, how=how)[:at_most]
    return [
        Face(pixels=align(image, found.landmarks, size_px=size_px, margin=margin, fit=fit), detection=found)
        for found in chosen
    ]


def kept_whole(image: Image, *, size_px: int) -> Face:
    """Return the complete picture as a face: for crops around a face, and pictures in which none was found."""
    return Face(pixels=whole(image, size_px=size_px), detection=None)
