"""Bad rows, of the kinds that published data sets are known for, so that validation has work to do."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode, header_size

TRUTH = ("yaw_degrees", "pitch_degrees", "roll_degrees", "intensity", "light", "landmarks")

Pixels = NDArray[np.uint8]


def flawed(train: Sequence[dict[str, Any]], *, seed: int, size_px: int) -> Iterator[dict[str, Any]]:
    """Yield 16 bad rows, in this order.

    3 truncated files, 2 blank pictures, 4 copies of training pictures in "test", 1 copy with another label, 4 pictures
    without a face, 1 picture of 20 px and 1 text file. `train` needs at least 6 good rows; they are copied or cut,
    never changed.
    """
    rng = np.random.default_rng([seed, 13])
    picks = [train[int(place)] for place in np.linspace(0, len(train) - 1, 9)]
    for original in picks[:3]:
        yield _row(original["image"][: len(original["image"]) * 2 // 5], original["label"], like=original)
    for level, label in ((128, "sad"), (0, "fear")):
        yield _row(_png(np.full((size_px, size_px, 3), level, np.uint8)), label)
    distinct = [train[int(place)] for place in np.linspace(0, len(train) - 1, 5)]
    for original in distinct[:4]:
        yield _row(_png(decode(original["image"])), original["label"], usage="test", like=original)
    original = distinct[4]
    other = DEFAULT_CLASSES[(DEFAULT_CLASSES.index(original["label"]) + 1) % len(DEFAULT_CLASSES)]
    yield _row(_png(decode(original["image"])), other, usage="test", like=original)
    for picture, label in zip(_without_faces(size_px, rng), ("happy", "anger", "surprised", "disgust"), strict=True):
        yield _row(_png(picture), label)
    small = np.asarray(cv2.resize(decode(picks[4]["image"]), (20, 20), interpolation=cv2.INTER_AREA), np.uint8)
    yield _row(_png(small), picks[4]["label"], like=picks[4])
    yield _row(b"<html><body>404: the picture was not found on this server</body></html>\n", "happy")


def _row(image: bytes, label: str, *, usage: str = "train", like: dict[str, Any] | None = None) -> dict[str, Any]:
    width, height = header_size(image)
    person = {key: like[key] if like else None for key in ("subject", "group_skin_tone", "group_age", "group_glasses")}
    return {
        "image_id": hashlib.sha256(image).hexdigest(),
        "image": image,
        "label": label,
        "source": "synthetic",
        "usage": usage,
        **person,
        "width": width,
        "height": height,
        **{f"truth_{name}": None for name in TRUTH},
    }


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
    return [picture.clip(0, 255).astype(np.uint8) for picture in (landscape, checkers, wall, stripes)]


def _png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()
