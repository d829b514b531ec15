"""From an image and its detections to the pixels that the network sees.

The preprocess stage and the Predictor both call these functions, so training and serving see the same faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferops.config import FaceSettings
from ferops.faces.align import align, preferred, whole
from ferops.faces.detection import Detection, Image


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class FaceCrop:
    """A face as the network sees it.

    Attributes:
        pixels: uint8 `(size_px, size_px, 3)`, RGB.
        detection: where the face is in the image; None for an image kept whole.
    """

    pixels: Image
    detection: Detection | None


def crop_faces(
    image: Image, detections: Sequence[Detection], settings: FaceSettings, *, at_most: int | None = None
) -> list[FaceCrop]:
    """Return the aligned faces of `image`, preferred ones first (see `align.preferred`); at most `at_most` if given."""
    return [
        FaceCrop(
            align(image, found.landmarks, size_px=settings.size_px, margin=settings.margin, fit=settings.align), found
        )
        for found in preferred(detections, image_shape=image.shape, how=settings.choose)[:at_most]
    ]


def crop_whole(image: Image, *, size_px: int) -> FaceCrop:
    """Return the whole image as a face: for tight crops, and for images in which no face was found."""
    return FaceCrop(whole(image, size_px=size_px), None)
