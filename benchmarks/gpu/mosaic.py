"""Many small grey faces as one WebP image: a tenth of the bytes of their pixels, and one file for all."""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferops.machine import cores

MAX_SIDE = 9_000
"""Pixels: WebP ends at 16,383, and Pillow warns of images with more than 89 million."""


def encode(faces: NDArray[np.uint8], *, quality: int) -> list[bytes]:
    """Encode grey faces uint8 `(N, S, S)` as square mosaics, row by row, as many as are needed."""
    side = faces.shape[1]
    most = (MAX_SIDE // side) ** 2
    return [_encode(faces[start : start + most], quality=quality) for start in range(0, len(faces), most)]


def _encode(faces: NDArray[np.uint8], *, quality: int) -> bytes:
    count, side = len(faces), faces.shape[1]
    across = math.ceil(math.sqrt(count))
    padded = np.zeros((across * across, side, side), np.uint8)
    padded[:count] = faces
    grid = padded.reshape(across, across, side, side).swapaxes(1, 2).reshape(across * side, across * side)
    encoded = io.BytesIO()
    Image.fromarray(grid).save(encoded, "WEBP", quality=quality, method=4)
    return encoded.getvalue()


def decode(mosaics: list[bytes], *, count: int, side: int) -> NDArray[np.uint8]:
    """Return the `count` faces `(N, S, S)` that `encode` was given, within what WebP loses."""
    grids = [np.asarray(Image.open(io.BytesIO(mosaic)).convert("L")) for mosaic in mosaics]
    faces = [
        grid.reshape(len(grid) // side, side, len(grid) // side, side).swapaxes(1, 2).reshape(-1, side, side)
        for grid in grids
    ]
    return np.concatenate(faces)[:count] if faces else np.empty((0, side, side), np.uint8)  # the last one is padded


def resized(faces: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return grey faces `(N, side, side)`, bicubic, with a low-pass where they shrink."""
    if not len(faces) or faces.shape[1] == side:
        return faces if len(faces) else np.empty((0, side, side), np.uint8)

    def resize(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor(cores()) as pool:  # Pillow works without Python's lock
        return np.stack(list(pool.map(resize, faces, chunksize=256)))
