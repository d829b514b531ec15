"""What cameras, thumbnails and web pages do to an image, so that sharp photographs and soft thumbnails look alike."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ferops.config import Train

LOWERED_SIDE = (1 / 3, 3 / 4)
BLUR_SIGMA = (0.003, 0.015)
JPEG_QUALITY = (30, 90)
"""Drawn evenly: the side of a lowered image and a blur's standard deviation, as shares of the side; JPEG's quality."""


def degrade(pixels: Tensor, train: Train, rng: np.random.Generator) -> Tensor:
    """Lower the resolution of some images, blur some and compress some as JPEG, each by its own draw.

    Args:
        pixels: float `(N, C, S, S)` in 0-1, C 1 or 3.
        train: `low_resolution_probability`, `blur_probability`, `jpeg_probability`: shares of the images.
    """
    return _compress(_soften(pixels, train, rng), train.jpeg_probability, rng)


def on(values: NDArray[Any], like: Tensor) -> Tensor:
    """Return the values on the device of `like`, without waiting for what the device is doing."""
    return torch.from_numpy(values).to(like.device, non_blocking=True)


def _soften(pixels: Tensor, train: Train, rng: np.random.Generator) -> Tensor:
    """Resize and blur are linear in rows and in columns: one matrix for an image holds both."""
    count, side = len(pixels), pixels.shape[-1]
    matrices: dict[int, Tensor] = {}
    if train.blur_probability:
        sigmas = side * rng.uniform(*BLUR_SIGMA, count)
        for row in np.flatnonzero(rng.random(count) < train.blur_probability):
            matrices[int(row)] = _blurring(side, float(sigmas[row]))
    if train.low_resolution_probability:
        lowered = np.rint(side * rng.uniform(*LOWERED_SIDE, count)).astype(int)
        for row in np.flatnonzero(rng.random(count) < train.low_resolution_probability):
            resizing = _resizing(side, int(lowered[row]))
            matrices[int(row)] = resizing @ matrices[int(row)] if int(row) in matrices else resizing
    if not matrices:
        return pixels
    rows = on(np.array(list(matrices)), pixels)
    matrix = torch.stack(list(matrices.values())).to(pixels, non_blocking=True)[:, None]  # (M, 1, S, S)
    softened = pixels.clone()
    softened[rows] = matrix @ pixels[rows] @ matrix.mT
    return softened


def _blurring(side: int, sigma: float) -> Tensor:
    """Return the Gaussian blur of a column as a matrix `(S, S)`; at the border it weighs what is inside."""
    places = torch.arange(side, dtype=torch.float32)
    return torch.softmax(-((places[:, None] - places).square()) / (2 * sigma**2), dim=1)


@lru_cache(maxsize=512)
def _resizing(side: int, lowered: int) -> Tensor:
    """Return as a matrix `(S, S)` what becomes of a column that is made smaller, detail averaged, and large again."""
    identity = torch.eye(side)[None, None]
    small = F.interpolate(identity, size=(lowered, side), mode="bilinear", antialias=True)
    return F.interpolate(small, size=(side, side), mode="bilinear", antialias=True)[0, 0]


def _compress(pixels: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    if not probability:
        return pixels
    import cv2

    qualities = rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1, len(pixels))
    rows = np.flatnonzero(rng.random(len(pixels)) < probability)
    if not len(rows):
        return pixels
    chosen = on(rows, pixels)
    # OpenCV takes BGR, and gives it back
    images = np.ascontiguousarray((255.0 * pixels[chosen].flip(1)).round().byte().cpu().permute(0, 2, 3, 1).numpy())
    for image, quality in zip(images, qualities[rows], strict=True):
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
        decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        assert decoded is not None  # it was encoded just now
        image[:] = decoded.reshape(image.shape)
    compressed = pixels.clone()
    compressed[chosen] = torch.from_numpy(images).permute(0, 3, 1, 2).flip(1).to(pixels) / 255.0
    return compressed
