"""The one way from an image and its detections to the pixels a network sees.

The preprocess stage and the Predictor both call these functions, so that training and serving agree by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ferops.faces.align import align, choose, preferred, whole
from ferops.faces.detector import Detection, Image


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Face:
    """A face as the network sees it.

    Attributes:
        pixels: uint8 `(size_px, size_px, 3)`, RGB.
        detection: where it is in the image; None for a tight crop, kept whole.
    """

    pixels: Image
    detection: Detection | None


def face_from(
    image: Image, detections: Sequence[Detection], *, size_px: int, margin: float, how: Literal["largest", "central"]
) -> Face | None:
    """Return the one face of `image` that counts, or None if there are no detections: the first of `faces_from`."""
    chosen = choose(detections, image_shape=image.shape, how=how)
    return None if chosen is None else _aligned(image, chosen, size_px=size_px, margin=margin)


def faces_from(
    image: Image,
    detections: Sequence[Detection],
    *,
    size_px: int,
    margin: float,
    how: Literal["largest", "central"],
    at_most: int | None = None,
) -> list[Face]:
    """Return the faces of `image`, aligned, the preferred ones first (see `align.preferred`), all or `at_most`."""
    chosen = preferred(detections, image_shape=image.shape, how=how)[:at_most]
    return [_aligned(image, detection, size_px=size_px, margin=margin) for detection in chosen]


def tight(image: Image, *, size_px: int) -> Face:
    """Return the complete picture as a face: for sources that are cropped to the face already."""
    return Face(pixels=whole(image, size_px=size_px), detection=None)


def _aligned(image: Image, detection: Detection, *, size_px: int, margin: float) -> Face:
    return Face(pixels=align(image, detection.landmarks, size_px=size_px, margin=margin), detection=detection)
