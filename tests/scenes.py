"""Generated grey images with the spectrum of photographs, and edits of them, for tests of near-duplicates."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

Grey = NDArray[np.uint8]


def scene(seed: int, *, size_px: int = 48) -> Grey:
    """Random waves whose strength falls with their frequency, as it does in photographs."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size_px), np.fft.fftfreq(size_px)))
    strength = 1 / np.maximum(frequency, 1 / size_px) ** 1.3
    waves = np.fft.ifft2(strength * np.exp(2j * np.pi * rng.random((size_px, size_px)))).real
    return ((waves - waves.mean()) / waves.std() * 45 + 128).clip(0, 255).astype(np.uint8)


def _jpeg(image: Image.Image) -> Image.Image:
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=60)
    return Image.open(out)


def _cropped(image: Image.Image) -> Image.Image:
    """Without 4 % of its width and height, three quarters of that on the left and at the top."""
    width, height = image.size
    box = (0.03 * width, 0.03 * height, 0.99 * width, 0.99 * height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": _jpeg,
    "smaller": lambda image: image.resize((30, 30), Image.Resampling.BOX),
    "larger": lambda image: image.resize((120, 100), Image.Resampling.BICUBIC),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped": _cropped,
    "brightened": lambda image: image.point(lambda value: value * 0.8 + 50),
    "contrasted": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "turned": lambda image: image.rotate(2, Image.Resampling.BICUBIC, fillcolor=128),
}


def edited(grey: Grey, how: str) -> Grey:
    return np.asarray(EDITS[how](Image.fromarray(grey)).convert("L"))
