"""Images of more than 8 bits a channel come out as bright as their versions with 8 bits."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from ferops.datasets.images import UnreadableImageError, decode, from_pillow, header

RNG = np.random.default_rng(3)
COLOUR = np.kron(RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
COLOUR[0, 0] = 255  # the range is in use
GREY = COLOUR[..., 0]


def rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2)


def deep(pixels: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    return np.rint(pixels / 255 * (2**bits - 1)).astype(np.uint16)


def written(samples: NDArray[Any], ending: str) -> bytes:
    """A file of OpenCV, which takes BGR."""
    order = samples if samples.ndim == 2 else samples[..., [2, 1, 0, 3][: samples.shape[2]]]
    return cv2.imencode(ending, np.ascontiguousarray(order))[1].tobytes()


def tiff(samples: NDArray[Any], **tags: int) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[{"largest": 281, "photometric": 262, "orientation": 274}[name]] = value
    out = io.BytesIO()
    Image.fromarray(samples).save(out, format="TIFF", tiffinfo=info)
    return out.getvalue()


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_few_bits_in_a_file_of_sixteen(pixels: NDArray[np.uint8], bits: int, ending: str) -> None:
    image = written(deep(pixels, bits), ending)
    wanted = rgb(pixels) if pixels.ndim == 2 else pixels
    np.testing.assert_array_equal(decode(image), wanted)
    assert header(image).oddities == ("more than 8 bits a channel",)
    assert header(image)[:2] == (32, 40)


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_floats(pixels: NDArray[np.uint8], kind: type, scale: int) -> None:
    image = written((pixels / 255 * scale).astype(kind), ".tiff")
    np.testing.assert_array_equal(decode(image), rgb(pixels) if pixels.ndim == 2 else pixels)
    assert header(image) == (32, 40, ("more than 8 bits a channel",))


def test_what_a_tiff_declares_counts_where_its_samples_are_dark() -> None:
    dark = (GREY >> 4).astype(np.uint16)
    np.testing.assert_array_equal(decode(tiff(dark, largest=4095)), rgb((dark >> 4).astype(np.uint8)))
    np.testing.assert_array_equal(decode(tiff(dark)), rgb(dark.astype(np.uint8)))  # of 8 bits


def test_white_may_be_zero() -> None:
    inverted = tiff(deep(255 - GREY, 16), photometric=0)
    np.testing.assert_array_equal(decode(inverted), rgb(GREY))


def test_transparency_of_sixteen_bits_is_on_black() -> None:
    alpha = np.where(GREY > 127, 255, 0).astype(np.uint8)
    image = written(deep(np.dstack([COLOUR, alpha]), 16), ".png")
    np.testing.assert_array_equal(decode(image), COLOUR * (alpha[..., None] > 0))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_deep_image_is_turned_by_its_exif(orientation: int) -> None:
    stored = np.ascontiguousarray(np.rot90(COLOUR, {3: 2, 6: 1, 8: -1}[orientation]))
    grey = stored[..., 0]
    np.testing.assert_array_equal(decode(tiff(deep(grey, 12), orientation=orientation)), rgb(GREY))
    # An EXIF chunk behind the header of a PNG
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    image = written(deep(stored, 12), ".png")
    np.testing.assert_array_equal(decode(image[:33] + chunk + image[33:]), COLOUR)


def test_an_image_of_pillow() -> None:
    np.testing.assert_array_equal(from_pillow(Image.fromarray(deep(GREY, 12))), rgb(GREY))
    np.testing.assert_array_equal(from_pillow(Image.fromarray((GREY / 255).astype(np.float32))), rgb(GREY))


@pytest.mark.parametrize("samples", [GREY / 127.5 - 1, np.where(GREY > 99, np.nan, GREY), GREY * 1e30])
def test_floats_of_an_unclear_range_are_refused(samples: NDArray[np.float64]) -> None:
    with pytest.raises(UnreadableImageError, match=r"floats from .* supported are 0-1, 0-255 and 0-65535"):
        decode(written(samples.astype(np.float32), ".tiff"))


def test_floats_may_overshoot() -> None:
    found = decode(written((GREY / 255 - 0.01).astype(np.float32), ".tiff"))
    assert np.abs(found.astype(int) - rgb(GREY)).max() <= 3


@pytest.mark.parametrize("kept", [6, 30, 200, 0.9])
def test_a_deep_tiff_that_was_cut_short(kept: float) -> None:
    for samples in (deep(COLOUR, 12), (COLOUR / 255).astype(np.float32)):
        image = written(samples, ".tiff")
        with pytest.raises(UnreadableImageError):
            decode(image[: kept if kept > 1 else int(kept * len(image))])


def test_a_rare_tiff_is_measured_before_it_is_decoded() -> None:
    with pytest.raises(UnreadableImageError, match="megapixels"):
        decode(written(np.zeros((100, 120, 3), np.float32), ".tiff"), max_megapixels=0.01)
