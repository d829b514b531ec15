"""What surrounds a face: lamps, backgrounds, and what a camera does to the image."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferops.datasets.synthetic.render import Light
from ferops.datasets.synthetic.shape import Array

LIGHTS = ("front", "left", "right", "above", "warm", "dim")

_LAMPS = {
    # direction, strength, colour, ambient
    "front": ((0.10, 0.35, 1.0), 0.80, (1.00, 0.98, 0.95), 0.36),
    "left": ((-0.95, 0.45, 0.75), 1.00, (1.00, 0.97, 0.93), 0.26),
    "right": ((0.95, 0.45, 0.75), 1.00, (1.00, 0.97, 0.93), 0.26),
    "above": ((0.15, 1.05, 0.75), 0.95, (0.97, 0.99, 1.00), 0.32),
    "warm": ((-0.50, 0.45, 0.95), 0.92, (1.10, 0.92, 0.72), 0.28),
    "dim": ((0.45, 0.45, 0.95), 0.46, (0.95, 0.97, 1.05), 0.20),
}


def lamp(name: str, rng: np.random.Generator) -> Light:
    """One of LIGHTS, moved and tinted a little."""
    direction, strength, colour, ambient = _LAMPS[name]
    return Light(
        name=name,
        direction=np.array(direction, np.float32) + rng.normal(0, 0.12, 3).astype(np.float32),
        colour=(np.array(colour) * strength * rng.normal(1, [0.06, 0.04, 0.06])).astype(np.float32),
        ambient=(np.array([0.98, 1.0, 1.04]) * ambient * rng.uniform(0.85, 1.2)).astype(np.float32),
    )


def background(size_px: int, rng: np.random.Generator) -> Array:
    """Linear RGB `(size_px, size_px, 3)`: a wall, a studio backdrop, lights out of focus, or a blurred room."""
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32) / size_px
    base = _colour(rng, 0.05, 0.6)
    kind = rng.integers(4)
    if kind == 0:  # wall
        grain = cv2.GaussianBlur(
            rng.standard_normal((size_px, size_px)).astype(np.float32), (0, 0), float(rng.uniform(0.8, 3))
        )
        slope = 1 + rng.uniform(-0.4, 0.4) * (x - 0.5) + rng.uniform(-0.3, 0.3) * (y - 0.5)
        return np.asarray(base * (slope + 0.04 * grain / grain.std())[..., None], np.float32)
    if kind == 1:  # studio backdrop, brighter behind the head
        glow = np.exp(-(((x - rng.uniform(0.3, 0.7)) / 0.5) ** 2) - ((y - 0.45) / 0.5) ** 2)
        return np.asarray(base * (0.35 + 0.9 * glow)[..., None], np.float32)
    if kind == 2:  # lights out of focus
        scene = np.repeat((base * 0.35)[None], size_px * size_px, 0).reshape(size_px, size_px, 3).astype(np.float32)
        for _ in range(int(rng.integers(8, 20))):
            r = np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 1)) / rng.uniform(0.03, 0.11)
            scene += (
                0.5
                * _colour(rng, 0.2, 0.9)
                * np.clip((1.05 - r) / 0.1, 0, 1)[..., None]
                * (0.6 + 0.4 * np.clip(r, 0, 1))[..., None]
            )
        return np.asarray(cv2.GaussianBlur(scene, (0, 0), size_px / 130), np.float32)
    scene = np.repeat(base[None], size_px * size_px, 0).reshape(size_px, size_px, 3).astype(np.float32)
    for _ in range(int(rng.integers(5, 10))):  # furniture, windows, doors
        x0, y0 = rng.uniform(-0.2, 0.9, 2)
        w, h = rng.uniform(0.1, 0.5, 2)
        scene[(x > x0) & (x < x0 + w) & (y > y0) & (y < y0 + 1.6 * h)] = _colour(rng, 0.03, 0.75)
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), size_px * float(rng.uniform(0.02, 0.06))), np.float32)


def cloth(rng: np.random.Generator) -> Array:
    return _colour(rng, 0.02, 0.5)


def _colour(rng: np.random.Generator, low: float, high: float) -> Array:
    grey = np.exp(rng.uniform(np.log(low), np.log(high)))
    return np.asarray(np.clip(grey * np.exp(rng.normal(0, 0.13, 3)), 0.01, 0.9), np.float32)


def develop(linear_rgb: Array, rng: np.random.Generator, *, exposure: float = 1.0) -> NDArray[np.uint8]:
    """Lens, sensor and tone curve: linear RGB to sRGB uint8 of the same size."""
    image = cv2.GaussianBlur(linear_rgb, (0, 0), float(rng.uniform(0.30, 0.60)))
    image = np.maximum(image * exposure * rng.normal(1, 0.06), 0)
    image = image + rng.normal(0, 1, image.shape).astype(np.float32) * np.sqrt(image * 0.00012 + 0.000004)
    image = np.clip(image, 0, None)
    image = np.where(image < 0.6, image, 0.6 + 0.4 * (1 - np.exp(-(image - 0.6) / 0.4)))  # shoulder
    encoded = np.where(image <= 0.0031308, 12.92 * image, 1.055 * image ** (1 / 2.4) - 0.055)
    return np.asarray((encoded * 255).round().clip(0, 255), np.uint8)


def jpeg(image: NDArray[np.uint8], *, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=2, optimize=True)
    return stream.getvalue()
