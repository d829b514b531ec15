"""The one place that decodes an image."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ferops.datasets.depth import RareTiff, is_deep, reduced
from ferops.datasets.kinds import FORMATS, HEAD_BYTES, HEIC, kind_of, refusal
from ferops.errors import FeropsError

MAX_MEGAPIXELS = 50.0
"""Above what cameras take; a small file may claim any size."""

BAND_PX, WHOLE_PX = 2**16, 2**20
"""Pillow hands pixels over through two copies. Those of larger images than WHOLE_PX are made of BAND_PX at a time: with
whole copies, 12 megapixels took longer than their decoding, most of it in the kernel, which finds the memory."""

_FILTERS = threading.Lock()
_ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
_ON_ITS_SIDE = (5, 6, 7, 8)
# From the sixth on: odd EXIF tags, a palette that is missing from a PNG, damaged HEIC
_BROKEN = (
    UnidentifiedImageError,
    OSError,
    ValueError,
    SyntaxError,
    Image.DecompressionBombError,
    struct.error,
    TypeError,
    AssertionError,
    EOFError,
    RuntimeError,
)


class UnreadableImageError(FeropsError, ValueError):
    """The bytes cannot be decoded to a complete image."""


class Header(NamedTuple):
    """What can be seen without the pixels. `oddities` are what is worth counting, in words for people."""

    width: int
    height: int
    oddities: tuple[str, ...]


def decode(encoded: bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> NDArray[np.uint8]:
    """Decode an image to RGB, uint8 `(H, W, 3)`, turned upright as its EXIF orientation says.

    Grey, palette, CMYK, deep (`ferops.datasets.depth`) and transparent images are converted (transparency on black).

    Raises:
        UnreadableImageError: not an image of FORMATS, truncated, empty, or larger than `max_megapixels`.
    """
    return decode_reduced(encoded, side_px=None, max_megapixels=max_megapixels).pixels


class Decoded(NamedTuple):
    """Pixels RGB uint8 `(h, w, 3)`, the size of the upright image, and how many of its pixels one of `pixels` stands
    for along each side."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    factor: int


def decode_reduced(encoded: bytes, *, side_px: int | None, max_megapixels: float = MAX_MEGAPIXELS) -> Decoded:
    """Decode as `decode` does; but a JPEG at a half, a quarter or an eighth of its sides, while the longest keeps
    `side_px` pixels. Its decoder then skips most of the work.

    Raises:
        UnreadableImageError: see `decode`.
    """
    factor = 1
    with _explained(encoded), _opened(encoded) as image:
        width, height = image.size
        _require_size(width, height, max_megapixels=max_megapixels)
        if isinstance(image, RareTiff):
            upright = image.decode()
        else:
            factor = 1 if side_px is None else _draft(image, side_px)
            if factor > 1 and _orientation(image) in _ON_ITS_SIDE:
                width, height = height, width
            upright = reduced(image, encoded)
        # In place: a copy of 25 megapixels takes as long as decoding them
        ImageOps.exif_transpose(upright, in_place=True)
        pixels = rgb(upright)
    if factor == 1:
        height, width = pixels.shape[:2]
    return Decoded(pixels, width, height, factor)


def decode_unconverted(
    encoded: bytes, *, side_px: int, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[Image.Image, int]:
    """Decode a JPEG as `decode_reduced` does, but neither turn it upright nor convert it.

    Returns:
        the image, and its EXIF orientation, 1 to 8.

    Raises:
        UnreadableImageError: see `decode`.
    """
    with _explained(encoded), _opened(encoded) as image:
        assert isinstance(image, Image.Image)  # no TIFF
        _require_size(*image.size, max_megapixels=max_megapixels)
        _draft(image, side_px)
        image.load()
        found = _orientation(image)
    return image, found if isinstance(found, int) else 1


def _draft(image: Image.Image, side_px: int) -> int:
    """Let the decoder reduce an image while its longest side keeps `side_px`; return by how much it will."""
    width, height = image.size
    if (factor := max(width, height) // side_px) > 1:
        image.draft(None, (max(1, width // factor), max(1, height // factor)))  # rounds to what JPEG offers
    return round(max(width, height) / max(image.size))


def from_pillow(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an image that Pillow has opened or made, as `decode` does; the image stays as it is.

    Raises:
        UnreadableImageError: its file is damaged or incomplete.
    """
    with _explained():
        return rgb(ImageOps.exif_transpose(reduced(image)))


def rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an image as RGB uint8 `(H, W, 3)`, transparency on black."""
    image = _on_black(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    width, height = image.size
    if width * height <= WHOLE_PX:
        return np.array(image)
    rows = max(1, BAND_PX // width)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels


@contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image | RareTiff]:
    """Open an image, of which only the header is read here."""
    try:
        image = _open(encoded)
    except UnidentifiedImageError:
        if kind_of(encoded[:HEAD_BYTES]) != "TIFF":
            raise
        yield RareTiff(encoded)
    else:
        with image:
            yield image


def _open(encoded: bytes) -> Image.Image:
    if HEIC and kind_of(encoded[:HEAD_BYTES]) == "HEIC":
        _register_heic()
        return Image.open(io.BytesIO(encoded), formats=("HEIF",))  # Pillow's name for HEIC
    return Image.open(io.BytesIO(encoded), formats=[name for name in FORMATS if name != "HEIC"])


@cache
def _register_heic() -> None:
    """At the first such image only: its libraries take a while to load."""
    import pillow_heif

    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)


@contextmanager
def _explained(encoded: bytes | None = None) -> Iterator[None]:
    """Turn what goes wrong while Pillow decodes into an UnreadableImageError."""
    try:
        with _quiet():
            yield
    except UnreadableImageError:
        raise
    except _BROKEN as error:
        start = (encoded or b"")[:HEAD_BYTES]
        # Pillow's own words name an address in memory
        if isinstance(error, UnidentifiedImageError) or kind_of(start) not in (None, *FORMATS):
            raise UnreadableImageError(refusal(start)) from error
        size = "" if encoded is None else f" ({len(encoded)} bytes)"
        raise UnreadableImageError(
            f"The image is damaged or incomplete{size}: {error}. Get the file again from its source."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of Pillow, which are about odd EXIF and about bombs; the size check is ours."""
    # The filters are the whole process's: two threads would restore each other's
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
        with _quiet(), _opened(encoded) as image:
            if isinstance(image, RareTiff):
                return Header(*image.size, (_DEEP,))
            return Header(*image.size, tuple(_oddities(image, encoded)))
    except Image.DecompressionBombError:
        return Header(0, 0, (_TOO_LARGE,))
    except _BROKEN:
        kind = kind_of(encoded[:HEAD_BYTES])
        return Header(0, 0, ("not a readable image" if kind in (None, *FORMATS) else f"{kind}: no decoder",))


_DEEP = "more than 8 bits a channel"
_TOO_LARGE = f"more than {MAX_MEGAPIXELS:g} megapixels"


def has_further_frames(encoded: bytes) -> bool:
    """Whether an image has readable frames or pages beyond the first, which is the one that `decode` returns.

    What phones append to a JPEG (a depth map, a preview) is no frame of it.
    """
    try:
        with _quiet(), _open(encoded) as image:
            return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except _BROKEN:
        return False


def _oddities(image: Image.Image, encoded: bytes) -> list[str]:
    mode = image.mode
    found = {
        "CMYK": mode == "CMYK",
        "palette": mode in ("P", "PA"),
        _DEEP: is_deep(image),
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
