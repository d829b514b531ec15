"""A decoded image of which only parts are needed as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferops.datasets.images import MAX_MEGAPIXELS, decode_unconverted, rgb


@dataclass(frozen=True)
class Sheet:
    """An upright image that is cut like an array: `sheet[top:bottom, left:right]` is RGB uint8 `(h, w, 3)`.

    To turn a large image upright and make an array of it takes longer than to decode it, so only the parts that are
    asked for are.

    Attributes:
        image: as it is stored.
        transposed, flipped_x, flipped_y: what makes the stored image upright, in this order.
    """

    image: Image.Image
    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    @classmethod
    def decode(cls, encoded: bytes, *, side_px: int, max_megapixels: float = MAX_MEGAPIXELS) -> Sheet:
        """Decode a JPEG; arguments and errors as `ferops.datasets.images.decode_reduced`."""
        image, orientation = decode_unconverted(encoded, side_px=side_px, max_megapixels=max_megapixels)
        return cls(image, *_UPRIGHT.get(orientation, (False, False, False)))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the upright image."""
        width, height = self.image.size
        return (width, height) if self.transposed else (height, width)

    def __getitem__(self, where: tuple[slice, slice]) -> NDArray[np.uint8]:
        (top, bottom, _), (left, right, _) = (part.indices(side) for part, side in zip(where, self.shape, strict=True))
        height, width = self.shape
        if self.flipped_x:
            left, right = width - right, width - left
        if self.flipped_y:
            top, bottom = height - bottom, height - top
        box = (top, left, bottom, right) if self.transposed else (left, top, right, bottom)
        pixels = rgb(self.image.crop(box))
        if self.transposed:
            pixels = pixels.transpose(1, 0, 2)
        return np.ascontiguousarray(pixels[:: -1 if self.flipped_y else 1, :: -1 if self.flipped_x else 1])

    def turned(self, degrees: int) -> Sheet:
        """Return the image turned clockwise by a multiple of 90 degrees."""
        if not degrees % 360:
            return self
        quarter = replace(self, transposed=not self.transposed, flipped_x=not self.flipped_y, flipped_y=self.flipped_x)
        return quarter.turned(degrees - 90)


_UPRIGHT = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""By EXIF's number; 1 is upright."""
