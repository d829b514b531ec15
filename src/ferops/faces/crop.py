"""From an image and its detections to the pixels that the network sees.

The preprocess stage and the Predictor both call these functions, so training and serving see the same faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from ferops.config import Align, FaceSettings
from ferops.faces.align import align, enlargement, preferred, whole
from ferops.faces.detection import Detection, Image
from ferops.faces.photo import Photo


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class FaceCrop:
    """A face as the network sees it.

    Attributes:
        pixels: uint8 `(size_px, size_px, 3)`, RGB.
        detection: where the face is in the image; None for an image kept whole.
    """

    pixels: Image
    detection: Detection | None


class Framing(TypedDict):
    size_px: int
    margin: float
    fit: Align


def crop_faces(photo: Photo, detections: Sequence[Detection], settings: FaceSettings) -> list[FaceCrop]:
    """Return the aligned faces of `photo`, preferred ones first (see `align.preferred`).

    They are cut from a sharper decoding if the reduced one has fewer pixels than the network sees.
    """
    framing: Framing = {"size_px": settings.size_px, "margin": settings.margin, "fit": settings.align}
    ordered = preferred(detections, image_shape=photo.shape, how=settings.choose)
    # The smallest face decides: to be cut from all pixels costs the larger ones little
    needed = [int(1 / enlargement(found.landmarks, **framing)) for found in ordered] if photo.factor > 1 else []
    pixels, factor = photo.sharp(max(1, min(needed, default=photo.factor)))
    scale = np.float32(factor)
    return [FaceCrop(align(pixels, found.landmarks / scale, **framing), found) for found in ordered]


def crop_whole(image: Image, *, size_px: int) -> FaceCrop:
    """Return the whole image as a face: for tight crops, and for images in which no face was found."""
    return FaceCrop(whole(image, size_px=size_px), None)
