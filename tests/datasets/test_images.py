from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferops.datasets.images import (
    WHOLE_PX,
    UnreadableImageError,
    decode,
    has_further_frames,
    header,
    header_size,
    rgb,
)
from sample_images import encoded

RNG = np.random.default_rng(0)
COLOUR = np.kron(RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))  # (40, 32, 3), blocks
GREY = COLOUR[..., 0]


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def grey_rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG", "AVIF", "HEIC"])
def test_common_formats(kind: str) -> None:
    image = encoded(COLOUR, kind=kind)
    assert header_size(image) == (32, 40)
    exact = kind in ("PNG", "BMP", "TIFF")
    assert np.abs(decode(image).astype(int) - COLOUR).mean() <= (0 if exact else 12)
    assert header(image).oddities == (("palette",) if kind == "GIF" else ())


@pytest.mark.parametrize("shape", [(2, WHOLE_PX, 3), (1030, 1031, 3), (WHOLE_PX + 7, 1, 3)])
def test_the_bands_of_a_large_image_fit_together(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(rgb(Image.fromarray(pixels)), pixels)


def test_sixteen_bit_grey_keeps_its_upper_byte() -> None:
    deep = GREY.astype(np.uint16) * 256 + 77
    for kind in ("PNG", "TIFF"):
        image = saved(Image.fromarray(deep), kind)
        assert np.array_equal(decode(image), grey_rgb(GREY))
        assert header(image).oddities == ("more than 8 bits a channel",)


def test_cmyk() -> None:
    # without black, CMYK is the complement of RGB
    cmyk = Image.fromarray(np.dstack([255 - COLOUR, np.zeros_like(GREY)]), mode="CMYK")
    image = saved(cmyk, "TIFF")
    assert np.array_equal(decode(image), COLOUR)
    assert header(image).oddities == ("CMYK",)
    assert header(saved(cmyk, "JPEG")).oddities == ("CMYK",)


def test_palette() -> None:
    indexed = Image.fromarray((GREY % 3).astype(np.uint8), mode="P")
    colours = np.array([[200, 10, 20], [30, 210, 40], [50, 60, 220]], np.uint8)
    indexed.putpalette(colours.ravel().tolist())
    image = saved(indexed, "PNG")
    assert np.array_equal(decode(image), colours[GREY % 3])
    assert header(image).oddities == ("palette",)
    see_through = saved(indexed, "PNG", transparency=1)  # what is seen through it is black
    assert np.array_equal(decode(see_through), np.where((GREY % 3 == 1)[..., None], 0, colours[GREY % 3]))
    assert header(see_through).oddities == ("palette", "transparent")


def test_transparency_is_on_black() -> None:
    alpha = np.where(GREY > 127, 255, 0).astype(np.uint8)
    image = saved(Image.fromarray(np.dstack([COLOUR, alpha])), "PNG")
    assert np.array_equal(decode(image), COLOUR * (alpha[..., None] > 0))
    assert header(image).oddities == ("transparent",)


TURNED = {  # EXIF's orientation -> how the stored pixels became what is seen
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.transpose(1, 0, 2),
    6: lambda seen: np.rot90(seen, 1),
    8: lambda seen: np.rot90(seen, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 8])
def test_exif_turns_the_image_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNED[orientation](COLOUR))
    image = saved(Image.fromarray(stored), kind, exif=exif, quality=100)
    assert np.abs(decode(image).astype(int) - COLOUR).mean() <= (12 if kind == "AVIF" else 0)
    assert header(image).oddities == (("turned by EXIF",) if orientation > 1 else ())


def test_jpeg_with_exif_is_noticed_from_its_header_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = saved(Image.fromarray(COLOUR), "JPEG", exif=exif)
    assert header(image[:700]).oddities == ("turned by EXIF", "cut short")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_an_image_that_was_cut_short(kind: str, kept: float) -> None:
    noisy = encoded(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), kind=kind)
    cut = noisy[: int(len(noisy) * kept)]
    assert header(cut) == (64, 64, ("cut short",))
    with pytest.raises(UnreadableImageError, match=r"image is damaged or incomplete|not a readable image"):
        decode(cut)


def bomb(width: int, height: int) -> bytes:
    """A PNG of some 60 bytes that claims any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("side", "width"), [(7_100, 7_100), (60_000, 0)])
def test_a_bomb_is_counted_and_not_decoded(side: int, width: int) -> None:
    assert header(bomb(side, side)) == (width, width, ("more than 50 megapixels",))
    with pytest.raises(UnreadableImageError):
        decode(bomb(side, side))


@pytest.mark.parametrize("content", [b"", b"GIF", b"<html>404</html>", b"%PDF-1.7", bytes(100)])
def test_what_is_no_image(content: bytes) -> None:
    assert header(content) == (0, 0, ("not a readable image",))
    with pytest.raises(UnreadableImageError):
        decode(content)


def test_broken_bytes_are_unreadable_and_nothing_else() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    kinds = ("JPEG", "PNG", "WEBP")
    images = [saved(Image.fromarray(COLOUR[:8, :8]), kind, exif=exif) for kind in kinds] + [encoded(COLOUR, kind="GIF")]
    chance = random.Random(1)
    unreadable = 0
    for turn in range(1200):
        broken = bytearray(images[turn % len(images)])
        for _ in range(chance.randint(1, 6)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        header(bytes(broken))
        try:
            assert decode(bytes(broken)).shape[2] == 3
        except UnreadableImageError:
            unreadable += 1
    assert 0 < unreadable < 1200


def test_a_palette_that_is_missing_is_damage() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 3, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 110))
    with pytest.raises(UnreadableImageError, match="damaged"):
        decode(b"\x89PNG\r\n\x1a\n" + head + pixels + chunk(b"IEND", b""))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_further_frames_are_seen_and_the_first_is_decoded(kind: str) -> None:
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    film = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert has_further_frames(film)
    assert not has_further_frames(saved(frames[0], kind))
    assert np.abs(decode(film).astype(int) - COLOUR).mean() <= 12
    assert has_further_frames(film[:-20]) in (True, False)  # damaged behind the first frame: no error


def test_what_a_phone_appends_to_a_jpeg_is_no_frame() -> None:
    photo = Image.fromarray(COLOUR)
    assert not has_further_frames(saved(photo, "MPO", save_all=True, append_images=[photo.resize((8, 10))]))
