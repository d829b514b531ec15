from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ferops.datasets.images import UnreadableImageError
from ferops.inference.inputs import as_pixels
from sample_images import encoded

RGB = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
GREY = RGB[..., 0]
OPAQUE = np.full((40, 30, 1), 255, np.uint8)

FORMS: dict[str, Callable[[], Any]] = {
    "uint8": lambda: RGB,
    "float32": lambda: RGB.astype(np.float32) / 255,
    "float64": lambda: RGB / 255,
    "RGBA": lambda: np.concatenate([RGB, OPAQUE], axis=2),
    "Pillow": lambda: Image.fromarray(RGB),
    "Pillow RGBA": lambda: Image.fromarray(np.concatenate([RGB, OPAQUE], axis=2)),
    "bytes": lambda: encoded(RGB),
    "bytearray": lambda: bytearray(encoded(RGB)),
    "not contiguous": lambda: np.asfortranarray(RGB),
    "read-only": lambda: np.frombuffer(RGB.tobytes(), np.uint8).reshape(RGB.shape),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_image_in_many_forms(form: str) -> None:
    found = as_pixels(FORMS[form]())
    assert (found.dtype, found.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(found, RGB)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    (tmp_path / "photo").write_bytes(encoded(RGB))
    np.testing.assert_array_equal(as_pixels(kind(tmp_path / "photo")), RGB)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        as_pixels(kind(tmp_path / "nowhere"))


def test_an_rgb_array_is_not_copied() -> None:
    assert np.shares_memory(as_pixels(RGB), RGB)


@pytest.mark.parametrize("grey", [GREY, GREY[..., None], GREY / 255, Image.fromarray(GREY)])
def test_grey(grey: Any) -> None:
    np.testing.assert_array_equal(as_pixels(grey), np.stack([GREY] * 3, axis=2))


def test_bgr_concerns_arrays_alone() -> None:
    np.testing.assert_array_equal(as_pixels(RGB[..., ::-1], bgr=True), RGB)
    np.testing.assert_array_equal(as_pixels(np.concatenate([RGB[..., ::-1], OPAQUE], axis=2), bgr=True), RGB)
    np.testing.assert_array_equal(as_pixels(encoded(RGB), bgr=True), RGB)
    np.testing.assert_array_equal(as_pixels(GREY, bgr=True), as_pixels(GREY))


def test_what_is_transparent_is_black() -> None:
    half = np.concatenate([RGB, np.full((40, 30, 1), 128, np.uint8)], axis=2)
    half[:, :10, 3] = 0
    found = as_pixels(half)
    assert not found[:, :10].any()
    np.testing.assert_array_equal(found[:, 10:], np.rint(RGB[:, 10:] * (128 / 255)))


def test_pillow_images_are_turned_upright_and_stay_as_they_are() -> None:
    lying = Image.fromarray(RGB)
    exif = lying.getexif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    out = io.BytesIO()
    lying.save(out, "PNG", exif=exif)
    opened = Image.open(out)
    np.testing.assert_array_equal(as_pixels(opened), np.rot90(RGB, k=-1))
    assert opened.size == (30, 40)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "None": (None, TypeError, "found builtins.NoneType"),
    "a number": (7, TypeError, "found builtins.int"),
    "a tensor": (torch.zeros(3, 40, 30), TypeError, "found torch.Tensor"),
    "whole numbers": (RGB.astype(np.int64), TypeError, "int64"),
    "16 bit": (RGB.astype(np.uint16), TypeError, "uint16"),
    "flags": (GREY > 9, TypeError, "bool"),
    "floats to 255": (RGB.astype(float), ValueError, r"float64 from 0 to 255 .* array\.astype\('uint8'\)"),
    "negative": (RGB / 255 - 1, ValueError, "from -1 to 0"),
    "not a number": (np.full((4, 4), np.nan), ValueError, "nan"),
    "channels first": (np.moveaxis(RGB, 2, 0), ValueError, r"shape \(3, 40, 30\).*Channels go last"),
    "a batch": (RGB[None], ValueError, r"shape \(1, 40, 30, 3\).*list\(array\)"),
    "two channels": (RGB[..., :2], ValueError, r"shape \(40, 30, 2\)"),
    "a line": (RGB[0, :, 0], ValueError, r"shape \(30,\)"),
    "empty": (RGB[:0], ValueError, r"shape \(0, 30, 3\)"),
    "no image": (b"not an image", ValueError, "not a readable image"),
    "cut short": (encoded(RGB)[:-200], UnreadableImageError, "damaged or incomplete"),
}


@pytest.mark.parametrize("case", BAD)
def test_anything_else_is_an_error_that_says_what_was_found(case: str) -> None:
    value, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        as_pixels(value)


def test_a_damaged_pillow_image_is_named() -> None:
    lazy = Image.open(io.BytesIO(encoded(RGB)[:-200]))
    with pytest.raises(UnreadableImageError, match="damaged"):
        as_pixels(lazy)


def test_decoding_in_threads_leaves_the_filters_of_warnings_alone() -> None:
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    before, photo = list(warnings.filters), encoded(RGB)

    def decode(_: int) -> NDArray[np.uint8]:
        return as_pixels(photo)

    with ThreadPoolExecutor(8) as pool:
        assert all((found == RGB).all() for found in pool.map(decode, range(64)))
    assert list(warnings.filters) == before
