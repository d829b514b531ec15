"""The one place that decodes an image."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ferops.errors import FeropsError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
"""Formats that Pillow may try. Anything else is refused before its parser sees a byte."""


class UnreadableImageError(FeropsError):
    """The bytes are no image that can be decoded completely."""


def decode(encoded: bytes, *, max_megapixels: float = 50.0) -> NDArray[np.uint8]:
    """Decode an image to RGB, uint8 `(H, W, 3)`, turned upright as its EXIF orientation says.

    Grey, palette, CMYK, 16-bit and transparent images are converted (transparency on black).

    Raises:
        UnreadableImageError: not an image of FORMATS, truncated, empty, or larger than `max_megapixels`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and of bombs; the size check below is ours
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                width, height = image.size
                _require_size(width, height, max_megapixels=max_megapixels)
                upright = ImageOps.exif_transpose(image)
                if upright.mode.startswith("I"):  # 16 and 32 bit: keep the upper byte of the range in use
                    values = np.asarray(upright)
                    deep = values.max(initial=0) > 255  # shifted as integers: floats would need 8 bytes a pixel
                    upright = Image.fromarray((values >> 8 if deep else values).clip(0, 255).astype(np.uint8))
                return np.array(upright.convert("RGB"))
    except UnreadableImageError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"not a complete image ({len(encoded)} bytes): {error}") from error


def _require_size(width: int, height: int, *, max_megapixels: float) -> None:
    if width * height > max_megapixels * 1e6:
        raise UnreadableImageError(
            f"the image has {width}x{height} pixels; at most {max_megapixels:g} megapixels are accepted"
        )


def header_size(encoded: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels as the header says, without decoding; (0, 0) where there is no readable one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                width, height = image.size
                return width, height
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0
