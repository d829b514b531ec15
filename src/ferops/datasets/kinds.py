"""Which image files are read, and how a file is recognised: by its content, or by its ending where only names count."""

from __future__ import annotations

import re
from importlib.util import find_spec

HEIC = find_spec("pillow_heif") is not None
"""Whether the decoder of HEIC is installed, as `ferops[heic]` does: its libraries have the licences LGPL and GPL."""

_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "AVIF": (".avif",),
} | ({"HEIC": (".heic", ".heif", ".hif")} if HEIC else {})

FORMATS = tuple(_ENDINGS)
"""Formats that Pillow may try. Anything else is refused before its parser sees a byte."""

IMAGE_ENDINGS = tuple(ending for endings in _ENDINGS.values() for ending in endings)

UNREAD_ENDINGS = tuple(e for e in (".heic", ".heif", ".hif", ".jxl", ".jp2") if e not in IMAGE_ENDINGS)
"""Of images that cannot be decoded: named to whoever has them, never passed over in silence."""

HEAD_BYTES = 32
"""As much of a file as `kind_of` needs."""

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"8BPS": "Photoshop",
}
_BRANDS = {  # of the files that begin with a box `ftyp`: ISO/IEC 23008-12 and the AVIF specification
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
}
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # sizes: the two letters BM alone begin texts as well

_ENDING = re.compile(r"\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)  # not that of `12.30` or `photo.jpg_large`


def kind_of(start: bytes) -> str | None:
    """Return the format of images that the first HEAD_BYTES of a file show, of FORMATS or another one; or None."""
    if start[4:8] == b"ftyp":
        # A file for several readers names what it is in the brands behind the first
        brands = [start[at : at + 4] for at in (8, *range(16, HEAD_BYTES, 4))]
        named = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return "AVIF" if "AVIF" in named else next(iter(named), None)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in _BITMAP_HEADERS:
        return "BMP"
    return next((kind for magic, kind in _STARTS.items() if start.startswith(magic)), None)


def has_ending(name: str) -> bool:
    """Whether a file's name says what kind of file it is; else its content does."""
    return _ENDING.search(name) is not None


def refusal(start: bytes) -> str:
    """Return why a file that begins so is no image that can be read, and what to do."""
    kind = kind_of(start)
    if kind is None:
        return f"The file is not a readable image. Supported formats: {', '.join(FORMATS)}."
    if kind in FORMATS:
        return f"The {kind} image cannot be decoded: it is damaged, or of a rare kind. Save it anew, as JPEG or PNG."
    decoder = ", or run: pip install pillow-heif" if kind == "HEIC" else ""
    return f"The file is {kind}, which cannot be decoded here. Convert it to JPEG or PNG{decoder}."
