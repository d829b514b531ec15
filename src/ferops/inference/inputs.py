"""What the Predictor takes for an image, and how it becomes RGB pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferops.datasets.images import from_pillow
from ferops.faces.photo import Photo

Pixels: TypeAlias = NDArray[np.uint8]
ImageLike: TypeAlias = NDArray[Any] | Image.Image | str | os.PathLike[str] | bytes | Photo
"""An array (`(H, W, 3)` RGB, `(H, W, 4)` RGBA, `(H, W)` or `(H, W, 1)` grey; uint8, or floats of 0-1), an image of
Pillow, the path of a file, or the bytes of one."""

SUPPORTED = (
    "an array (H, W, 3), (H, W, 4) or (H, W) of uint8 or of floats 0-1, an image of Pillow, a path, or the bytes of an "
    "image file"
)
_CHANNELS = (1, 3, 4)


def as_pixels(image: object, *, bgr: bool = False) -> NDArray[np.uint8]:
    """Return an ImageLike as RGB uint8 `(H, W, 3)`, upright; transparency on black.

    RGB uint8 arrays are returned as they are, not copied.

    Args:
        bgr: arrays have the order of OpenCV, BGR or BGRA. Files and images of Pillow say their own order.

    Raises:
        TypeError: `image` is none of these, or an array of another type.
        ValueError: an array of another shape or range; as UnreadableImageError, a damaged file or one that is no image.
        OSError: the file cannot be read, as FileNotFoundError.
    """
    return as_photo(image, bgr=bgr).full()


def as_photo(image: object, *, bgr: bool = False) -> Photo:
    """Return an ImageLike decoded as far as the search for faces needs it; arguments and errors as `as_pixels`."""
    if isinstance(image, Photo):
        return image
    if isinstance(image, np.ndarray):
        return Photo.of(_from_array(image, bgr=bgr))
    if isinstance(image, Image.Image):
        return Photo.of(from_pillow(image))
    if isinstance(image, str | os.PathLike):
        return Photo.decode(Path(image).read_bytes())
    if isinstance(image, bytes | bytearray | memoryview):
        return Photo.decode(bytes(image))
    found = type(image)
    raise TypeError(f"found {found.__module__}.{found.__qualname__} for an image. Supported: {SUPPORTED}")


def _from_array(array: NDArray[Any], *, bgr: bool) -> NDArray[np.uint8]:
    grey = array.ndim == 2
    if not (grey or (array.ndim == 3 and array.shape[2] in _CHANNELS)) or 0 in array.shape:
        hint = ""
        if array.ndim == 3 and array.shape[0] in _CHANNELS:
            hint = " Channels go last: array.transpose(1, 2, 0)."
        elif array.ndim == 4:
            hint = " Give several images as a list: list(array)."
        raise ValueError(f"found an array of shape {array.shape} for an image.{hint} Supported: {SUPPORTED}")
    pixels = _as_uint8(array)
    if grey or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    colours = pixels[..., 2::-1] if bgr else pixels[..., :3]
    if pixels.shape[2] == 4:  # on black
        colours = np.rint(colours * (pixels[..., 3:] / np.float32(255))).astype(np.uint8)
    return np.ascontiguousarray(colours)


def _as_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"found an array of {array.dtype} for an image. Supported: {SUPPORTED}")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # not: NaN as well
        raise ValueError(
            f"found an array of {array.dtype} from {low:g} to {high:g} for an image. Supported are floats of 0-1; if "
            "yours lie in 0-255: array.astype('uint8')"
        )
    scaled: NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
    return scaled
