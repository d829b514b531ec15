"""Images with more than 8 bits a channel: cameras and scanners put 10, 12 or 14 bits into 16, science writes floats.

They become as bright as they would have been with 8 bits: the range of the samples is that of the smallest of DEPTHS
that holds the largest of them and what a TIFF declares. Floats have the range 0-1, or that of whole numbers.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

DEPTHS = (8, 10, 12, 14, 16, 24, 32)
"""Bits. An image that is darker than its depth allows comes out brighter, unless its file declares the depth."""

_NEGATIVE = 0.1  # of the largest sample: as far as a filter overshoots
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _MAX_SAMPLE = 256, 257, 258, 262, 274, 281  # TIFF's tags
_WHITE_IS_ZERO = 0


class RareTiff:
    """A TIFF that Pillow cannot open and OpenCV can: floats in colour or of 64 bits, whole numbers of 32 in colour."""

    def __init__(self, encoded: bytes) -> None:
        """Read the tags alone. Raises ValueError: it has none."""
        file = io.BytesIO(encoded)
        self._encoded = encoded
        self._tags = ImageFileDirectory_v2(file.read(8))
        try:
            file.seek(self._tags.next)
            self._tags.load(file)
            self.size: tuple[int, int] = int(self._tags[_WIDTH]), int(self._tags[_HEIGHT])
        except (KeyError, TypeError, struct.error, OSError, OverflowError) as error:
            raise ValueError("its tags are damaged") from error

    def decode(self) -> Image.Image:
        """Return it with 8 bits a channel, turned upright by whom reads its orientation. Raises ValueError: damage."""
        return _made(_colours(self._encoded), self._tags, self._tags.get(_ORIENTATION, 1))


def is_deep(image: Image.Image) -> bool:
    """Whether an image, not loaded yet, has more than 8 bits a channel."""
    return image.mode.startswith("I") or image.mode == "F" or _is_cut(image)


def reduced(image: Image.Image, encoded: bytes | None = None) -> Image.Image:
    """Return an image of 8 bits a channel as it is, and a deeper one reduced to them, with its orientation.

    Args:
        encoded: its file, for colours of 16 bits: Pillow keeps only their upper bytes.

    Raises:
        ValueError: the range of its floats is not clear.
        OSError: it is damaged.
    """
    if not is_deep(image):
        return image
    cut = encoded is not None and _is_cut(image)
    tags = dict(getattr(image, "tag_v2", {}))
    orientation = image.getexif().get(_ORIENTATION, 1)  # loads a PNG
    image.load()  # raises at damage, where OpenCV would return what it has; turns a TIFF upright
    if cut:
        return _made(_colours(encoded or b""), tags, orientation)
    if image.mode.startswith("I") or image.mode == "F":
        return _made(np.asarray(image), tags, image.getexif().get(_ORIENTATION, 1))
    return image


def _is_cut(image: Image.Image) -> bool:
    """Whether Pillow would keep only the upper bytes of the samples."""
    arguments = [tile.args for tile in getattr(image, "tile", ())]
    modes = [each if isinstance(each, str) else str(each[0]) for each in arguments if each]
    return any(";16" in mode and not mode.startswith(("I", "CMYK")) for mode in modes)


def _colours(encoded: bytes) -> NDArray[Any]:
    """Return the samples of a file, `(H, W)` or, as RGB or RGBA, `(H, W, 3 or 4)`."""
    try:
        samples: NDArray[Any] | None = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError("its samples cannot be decoded") from error
    if samples is None:
        raise ValueError("its samples cannot be decoded")
    return samples if samples.ndim == 2 else samples[..., [2, 1, 0, 3][: samples.shape[2]]]


def _made(samples: NDArray[Any], tags: Mapping[int, Any], orientation: Any) -> Image.Image:
    values = _to_8_bits(samples, _declared_bits(tags))
    if samples.ndim == 2 and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = 255 - values
    made = Image.fromarray(values)
    made.getexif()[_ORIENTATION] = orientation
    return made


def _declared_bits(tags: Mapping[int, Any]) -> int:
    """Return the bits that a TIFF says it uses of each sample, 0 if it does not."""
    stored = max(np.ravel(tags.get(_BITS, 8)).tolist())
    largest = max(np.ravel(tags.get(_MAX_SAMPLE, 0)).tolist())
    return int(stored) if 8 < stored < 16 else int(largest).bit_length()


def _to_8_bits(samples: NDArray[Any], declared: int) -> NDArray[np.uint8]:
    low, high = float(samples.min(initial=0)), float(samples.max(initial=0))
    whole = np.issubdtype(samples.dtype, np.integer)
    if not whole and not (low >= -_NEGATIVE * high and high < 2 ** DEPTHS[-1]):  # not: NaN as well
        raise ValueError(f"it has floats from {low:g} to {high:g}; supported are 0-1, 0-255 and 0-65535")
    needed = max(int(high).bit_length(), declared)
    bits = next((depth for depth in DEPTHS if depth >= needed), DEPTHS[-1])
    values: NDArray[np.uint8]
    if whole:  # in place of a division, which would need 8 bytes a sample; what it leaves is the 8 bits it was made of
        values = (samples.clip(0, None) >> (bits - 8)).astype(np.uint8)
    else:
        scale = 255 if high <= 1 else 255 / (2**bits - 1)
        values = np.rint(samples * scale).clip(0, 255).astype(np.uint8)
    return values
