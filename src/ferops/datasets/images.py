"""The one place that decodes an image."""

from __future__ import annotations

import io
import struct
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ferops.errors import FeropsError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
"""Formats that Pillow may try. Anything else is refused before its parser sees a byte."""

MAX_MEGAPIXELS = 50.0
"""Above what cameras take; a small file may claim any size."""

NOT_AN_IMAGE = f"The file is not a readable image. Supported formats: {', '.join(FORMATS)}."

_ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
# The last three: Pillow's EXIF code, at tags of the wrong type, and its PNG code, at a palette that is missing
_BROKEN = (
    UnidentifiedImageError,
    OSError,
    ValueError,
    SyntaxError,
    Image.DecompressionBombError,
    struct.error,
    TypeError,
    AssertionError,
)


class UnreadableImageError(FeropsError):
    """The bytes cannot be decoded to a complete image."""


class Header(NamedTuple):
    """What can be seen without the pixels. `oddities` are what is worth counting, in words for people."""

    width: int
    height: int
    oddities: tuple[str, ...]


def decode(encoded: bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> NDArray[np.uint8]:
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
                upright: Image.Image = image
                # In place: a copy of 25 megapixels takes as long as decoding them
                ImageOps.exif_transpose(upright, in_place=True)
                if upright.mode.startswith("I"):  # 16 and 32 bit: keep the upper byte of the range in use
                    values = np.asarray(upright)
                    deep = values.max(initial=0) > 255  # shifted as integers: floats would need 8 bytes a pixel
                    upright = Image.fromarray((values >> 8 if deep else values).clip(0, 255).astype(np.uint8))
                upright = _on_black(upright)
                return np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:  # Pillow's own words name an address in memory
        raise UnreadableImageError(NOT_AN_IMAGE) from error
    except _BROKEN as error:
        raise UnreadableImageError(
            f"The image is damaged or incomplete ({len(encoded)} bytes): {error}. Get the file again from its source."
        ) from error


def _on_black(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    coloured = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), coloured)


def _require_size(width: int, height: int, *, max_megapixels: float) -> None:
    if width * height > max_megapixels * 1e6:
        raise UnreadableImageError(
            f"The image has {width}x{height} pixels; at most {max_megapixels:g} megapixels are accepted."
        )


def header_size(encoded: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels as the header says, without decoding; (0, 0) where there is no readable one."""
    found = header(encoded)
    return found.width, found.height


def header(encoded: bytes) -> Header:
    """Look at an image without decoding it; width and height are 0 where there is no readable header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                return Header(*image.size, tuple(_oddities(image, encoded)))
    except Image.DecompressionBombError:
        return Header(0, 0, (_TOO_LARGE,))
    except _BROKEN:
        return Header(0, 0, ("not a readable image",))


_TOO_LARGE = f"more than {MAX_MEGAPIXELS:g} megapixels"


def _oddities(image: Image.Image, encoded: bytes) -> list[str]:
    mode = image.mode
    found = {
        "CMYK": mode == "CMYK",
        "palette": mode in ("P", "PA"),
        "16 bit or more a channel": mode.startswith("I") or mode == "F",
        "transparent": mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info,
        "turned by EXIF": _orientation(image) not in (None, 1),
        "cut short": _is_cut(image.format, encoded),
        _TOO_LARGE: image.width * image.height > MAX_MEGAPIXELS * 1e6,
    }
    return [name for name, holds in found.items() if holds]


def _orientation(image: Image.Image) -> object:
    if image.format == "TIFF":
        return image.getexif().get(_ORIENTATION)
    if "exif" not in image.info:  # asking a PNG for it would decode the pixels
        return None
    try:
        return image.getexif().get(_ORIENTATION)
    except _BROKEN:
        return None


def _is_cut(kind: str | None, encoded: bytes) -> bool:
    """Whether the end marker of a JPEG or PNG is missing. Cameras and tools append bytes to it, but none omits it."""
    if kind in ("JPEG", "MPO"):
        return encoded.rfind(b"\xff\xd9") < len(encoded) // 2  # an embedded thumbnail ends with the same mark
    return kind == "PNG" and b"IEND" not in encoded[-4096:]
