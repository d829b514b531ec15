"""Rows of the kinds that published data sets are known for, so that validation has work to do: bad ones, and copies."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode
from ferops.datasets.manifest import make_row

GROUPS = ("group_skin_tone", "group_age", "group_glasses")
TRUTH = ("yaw_degrees", "pitch_degrees", "roll_degrees", "intensity", "light", "landmarks")

Pixels = NDArray[np.uint8]


def flawed(train: Sequence[dict[str, Any]], *, seed: int, size_px: int) -> Iterator[dict[str, Any]]:
    """Yield 16 bad rows, in this order.

    3 truncated files, 2 blank images, 4 copies of training images in "test", 1 copy with another label, 4 images
    without a face, 1 image of 20 px and 1 text file. `train` needs at least 6 good rows; they are copied or cut,
    never changed.
    """
    rng = np.random.default_rng([seed, 13])
    picks = _spread(train, 9)
    for original in picks[:3]:
        yield _row(original["image"][: len(original["image"]) * 2 // 5], original["label"], like=original)
    for level, label in ((128, "sad"), (0, "fear")):
        yield _row(_png(np.full((size_px, size_px, 3), level, np.uint8)), label)
    for number, original in enumerate(_spread(train, 5)):
        label = original["label"] if number < 4 else _another(original["label"])
        yield _row(_png(decode(original["image"])), label, usage="test", like=original)
    for image, label in zip(_without_faces(size_px, rng), ("happy", "anger", "surprised", "disgust"), strict=True):
        yield _row(_png(image), label)
    small = np.asarray(cv2.resize(decode(picks[4]["image"]), (20, 20), interpolation=cv2.INTER_AREA), np.uint8)
    yield _row(_png(small), picks[4]["label"], like=picks[4])
    yield _row(b"<html><body>404: the image was not found on this server</body></html>\n", "happy")


def _cropped(image: Image.Image) -> Image.Image:
    """Without 4 % of its width and height, three quarters of that on the left and at the top."""
    width, height = image.size
    box = (0.03 * width, 0.03 * height, 0.99 * width, 0.99 * height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": lambda image: image,  # by the low quality at which all copies are stored
    "smaller": lambda image: image.resize((image.width * 3 // 5,) * 2, Image.Resampling.BOX),
    "larger": lambda image: image.resize((image.width * 5 // 4,) * 2, Image.Resampling.BICUBIC),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped": _cropped,
    "brightened": lambda image: image.point(lambda level: level * 0.8 + 50),
    "turned": lambda image: image.rotate(2, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128)),
    "relabelled": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
}
"""What becomes of a copy. The last one gets another label, too."""
ALTERED_JPEG_QUALITY = 60


def altered_copies(train: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a copy of a training row for each of ALTERED, half of them in "test". `train` needs at least 10 rows."""
    for number, (name, alter) in enumerate(ALTERED.items()):
        original = _spread(train, len(ALTERED) + 2)[number + 1]
        label = _another(original["label"]) if name == "relabelled" else original["label"]
        stream = io.BytesIO()
        alter(Image.fromarray(decode(original["image"]))).save(stream, "JPEG", quality=ALTERED_JPEG_QUALITY)
        yield _row(stream.getvalue(), label, usage=("train", "test")[number % 2], like=original)


def _spread(train: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return [train[int(place)] for place in np.linspace(0, len(train) - 1, count)]


def _another(label: str) -> str:
    return DEFAULT_CLASSES[(DEFAULT_CLASSES.index(label) + 1) % len(DEFAULT_CLASSES)]


def _row(image: bytes, label: str, *, usage: str = "train", like: dict[str, Any] | None = None) -> dict[str, Any]:
    person = {key: like[key] if like else None for key in ("subject", *GROUPS)}
    truth = {f"truth_{name}": None for name in TRUTH}
    return make_row(image, source="synthetic", label=label, usage=usage, **person, **truth)


def _without_faces(size_px: int, rng: np.random.Generator) -> list[Pixels]:
    """A landscape, a checkerboard, a rough wall, stripes."""
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32) / size_px
    hills = 0.62 + 0.08 * np.sin(7 * x) + 0.04 * np.sin(17 * x + 1)
    grain = cv2.GaussianBlur(rng.standard_normal((size_px, size_px)).astype(np.float32), (0, 0), 1.2)
    sky = np.stack([120 + 70 * y, 160 + 50 * y, 225 - 10 * y], -1)
    grass = np.stack([70 + 60 * grain, 110 + 60 * grain, 50 + 40 * grain], -1)
    landscape = np.where((y > hills)[..., None], grass, sky)
    squares = 8
    checkers = (((x * squares).astype(int) + (y * squares).astype(int)) % 2 * 200 + 25)[..., None] * np.ones(3)
    wall = 150 + 120 * grain[..., None] * np.array([1.0, 0.9, 0.8])
    stripes = 128 + 90 * np.sin(60 * (x + 0.4 * y))[..., None] * np.array([1.0, 0.6, 0.3])
    return [image.clip(0, 255).astype(np.uint8) for image in (landscape, checkers, wall, stripes)]


def _png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()
