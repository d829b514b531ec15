"""A photograph, decoded only as far as its faces need it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ferops.datasets.images import MAX_MEGAPIXELS, decode, decode_reduced
from ferops.datasets.sheet import Sheet
from ferops.faces.align import Parts
from ferops.faces.detection import Image
from ferops.faces.detectors.letterbox import MAX_SIDE_PX


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Photo:
    """An image for the search, and its size. A large JPEG is decoded at a half, a quarter or an eighth of its sides,
    never below what detectors look at (MAX_SIDE_PX), which takes a fifth of the time.

    Attributes:
        pixels: RGB uint8 `(h, w, 3)`, upright.
        width, height: of the upright image itself.
        factor: pixels of the image for one of `pixels`, along each side: 1, 2, 4 or 8.
        encoded: the file, where `factor` is not 1.
        max_megapixels: what was accepted.
        rotation: by how many degrees clockwise the image has been turned: 0, 90, 180 or 270.
    """

    pixels: Image
    width: int
    height: int
    factor: int = 1
    encoded: bytes = b""
    max_megapixels: float = MAX_MEGAPIXELS
    rotation: int = 0

    @classmethod
    def of(cls, pixels: Image) -> Photo:
        """Return the photo of an image that is decoded already, RGB uint8 `(H, W, 3)`."""
        return cls(pixels, width=pixels.shape[1], height=pixels.shape[0])

    @classmethod
    def decode(cls, encoded: bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
        """Return the photo of an image file.

        Raises:
            UnreadableImageError: see `ferops.datasets.images.decode`.
        """
        pixels, width, height, factor = decode_reduced(encoded, side_px=MAX_SIDE_PX, max_megapixels=max_megapixels)
        return cls(pixels, width, height, factor, encoded if factor > 1 else b"", max_megapixels)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.height, self.width

    def full(self) -> Image:
        """Return the image in all its pixels, RGB uint8 `(height, width, 3)`; decoded again where need be."""
        if self.factor == 1:
            return self.pixels
        return turned(decode(self.encoded, max_megapixels=self.max_megapixels), self.rotation)

    def sharp(self, factor: int) -> tuple[Parts, int]:
        """Return the image with at most `factor` of its pixels for one, to cut faces from, and that number."""
        if factor >= self.factor:
            return self.pixels, self.factor
        side_px = max(self.shape) // factor
        sheet = Sheet.decode(self.encoded, side_px=side_px, max_megapixels=self.max_megapixels).turned(self.rotation)
        return sheet, round(max(self.shape) / max(sheet.shape))

    def turned(self, degrees: int) -> Photo:
        """Return the photo turned clockwise by a multiple of 90 degrees."""
        pixels = turned(self.pixels, degrees)
        width, height = (self.height, self.width) if degrees % 180 else (self.width, self.height)
        rotation = (self.rotation + degrees) % 360
        return replace(self, pixels=pixels, width=width, height=height, rotation=rotation)


def turned(image: Image, degrees: int) -> Image:
    """Return an image `(H, W, 3)` turned clockwise by a multiple of 90 degrees; not copied where that is 0."""
    return np.ascontiguousarray(np.rot90(image, -degrees // 90))
