"""The 15 corruptions of images at five severities, for small faces.

Dan Hendrycks and Thomas Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
ICLR 2019, with the severities that they chose for images of 64 px (Tiny ImageNet-C); lengths grow with the side of the
face. Two differ: frost is drawn, where the paper takes photographs, and glass blur moves every pixel on its own, where
the paper swaps them one after the other. (The package imagecorruptions needs opencv-python, which overwrites
opencv-python-headless; albumentations, which is no longer kept, has other definitions.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
"""A face `(S, S, 3)`, RGB, 0-1."""

Corruption = Callable[[Pixels, int, np.random.Generator], Pixels]
"""Takes a face, a severity of 0-4 and the randomness; what it returns may lie outside 0-1, and is clipped."""

SEVERITIES = 5
_DEFINED_AT_PX = 64


def _unit(face: Pixels) -> float:
    """Pixels of this face for one of the paper's."""
    return len(face) / _DEFINED_AT_PX


def gaussian_noise(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    sigma = (0.04, 0.08, 0.12, 0.15, 0.18)[severity]
    return face + np.float32(sigma) * rng.standard_normal(face.shape, dtype=np.float32)


def shot_noise(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    photons = (250, 100, 50, 30, 15)[severity]
    return (rng.poisson(face * photons) / photons).astype(np.float32)


def impulse_noise(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    amount = (0.01, 0.02, 0.05, 0.08, 0.14)[severity]
    draw = rng.random(face.shape)
    return np.where(draw < amount / 2, 0.0, np.where(draw < amount, 1.0, face)).astype(np.float32)


def defocus_blur(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
    radius, soft = ((0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1))[severity]
    radius *= _unit(face)
    reach = math.ceil(radius)
    finer = (np.arange((2 * reach + 1) * 8) + 0.5) / 8 - reach - 0.5  # an eighth of a pixel
    disk = (finer[:, None] ** 2 + finer[None] ** 2 <= radius**2).astype(np.float32)
    kernel = disk.reshape(2 * reach + 1, 8, 2 * reach + 1, 8).sum(axis=(1, 3))
    return _blurred(_filtered(face, np.pad(kernel, 1)), soft * _unit(face))


def glass_blur(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    sigma, far, times = ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2))[severity]
    side = face.shape[0]
    far, sigma = max(1, round(far * _unit(face))), sigma * _unit(face)
    seen = _blurred(face, sigma)
    rows, columns = np.mgrid[0:side, 0:side]
    for _ in range(times):
        down, right = rng.integers(-far, far, (2, side, side))
        seen = seen[np.clip(rows + down, 0, side - 1), np.clip(columns + right, 0, side - 1)]
    return _blurred(seen, sigma)


def motion_blur(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    radius, sigma = ((10, 1.0), (10, 1.5), (10, 2.0), (10, 2.5), (12, 3.0))[severity]
    return _moved(face, radius, sigma, degrees=rng.uniform(-45, 45))


def zoom_blur(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
    furthest = (1.05, 1.10, 1.15, 1.20, 1.25)[severity]
    zooms = np.arange(1.0, furthest + 0.005, 0.01)
    seen: Pixels = np.mean([face, *(_zoomed(face, float(zoom)) for zoom in zooms)], axis=0, dtype=np.float32)
    return seen


def snow(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    mean, spread, zoom, least, radius, sigma, kept = (
        (0.1, 0.2, 1.0, 0.6, 8, 3, 0.8),
        (0.1, 0.2, 1.0, 0.5, 10, 4, 0.8),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
    )[severity]
    side = face.shape[0]
    flakes = rng.normal(mean, spread, (_DEFINED_AT_PX, _DEFINED_AT_PX)).astype(np.float32)
    flakes = _zoomed(_resized(flakes, side), zoom)
    flakes = np.clip(np.where(flakes < least, 0, flakes), 0, 1).astype(np.float32)
    flakes = _moved(flakes, radius, sigma, degrees=rng.uniform(-135, -45))[..., None]
    pale = np.maximum(face, cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None] * 1.5 + 0.5)
    return np.asarray(kept * face + (1 - kept) * pale + flakes + np.rot90(flakes, 2), np.float32)


def frost(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    kept, added = ((1.0, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55))[severity]
    crystals = 1 - np.abs(2 * _plasma(face.shape[0], 1.6, rng) - 1)  # ridges, as ice has
    ice = crystals[..., None] ** 2 * np.array([0.85, 0.93, 1.0], np.float32)
    return np.asarray(kept * face + added * ice, np.float32)


def fog(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    thick, decay = ((0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75))[severity]
    brightest = float(face.max())
    seen = face + thick * _plasma(face.shape[0], decay, rng)[..., None]
    return np.asarray(seen * brightest / (brightest + thick), np.float32)


def brightness(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
    added = (0.1, 0.2, 0.3, 0.4, 0.5)[severity]
    hsv = cv2.cvtColor(face, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + added, 0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)


def contrast(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
    kept = (0.4, 0.3, 0.2, 0.1, 0.05)[severity]
    mean = face.mean(axis=(0, 1), keepdims=True)
    return np.asarray((face - mean) * kept + mean, np.float32)


def elastic_transform(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    strength, smooth, tilt = (  # shares of the side
        (0.0, 0.0, 0.08),
        (0.05, 0.3, 0.06),
        (0.1, 0.08, 0.06),
        (0.1, 0.03, 0.03),
        (0.16, 0.03, 0.02),
    )[severity]
    side = face.shape[0]
    middle, third = side / 2, side / 3
    corners = np.array([[middle + third] * 2, [middle + third, middle - third], [middle - third] * 2], np.float32)
    moved = corners + rng.uniform(-tilt * side, tilt * side, corners.shape).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    seen = cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    noise = rng.uniform(-1, 1, (2, side, side)).astype(np.float32)
    right, down = (strength * side * _blurred(each, smooth * side) for each in noise)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    return np.asarray(
        cv2.remap(seen, columns + right, rows + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32
    )


def pixelate(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
    share = (0.9, 0.8, 0.7, 0.6, 0.5)[severity]
    side = face.shape[0]
    small = cv2.resize(face, (int(side * share),) * 2, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_NEAREST), np.float32)


def jpeg_compression(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
    quality = (65, 58, 50, 40, 25)[severity]
    bgr = np.rint(255 * face[..., ::-1]).astype(np.uint8)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded just now
    return np.asarray(decoded[..., ::-1] / np.float32(255), np.float32)


CORRUPTIONS: dict[str, Corruption] = {
    each.__name__: each
    for each in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        snow,
        frost,
        fog,
        brightness,
        contrast,
        elastic_transform,
        pixelate,
        jpeg_compression,
    )
}


def _blurred(image: Pixels, sigma: float) -> Pixels:
    if sigma <= 0:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def _filtered(image: Pixels, kernel: Pixels) -> Pixels:
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), np.float32)


def _moved(image: Pixels, radius: float, sigma: float, *, degrees: float) -> Pixels:
    """Smear in one direction, as ImageMagick's motion blur does: half a Gaussian along a line."""
    unit = _unit(image)
    reach = math.ceil(2 * radius * unit)
    steps = np.arange(reach + 1)
    weights = np.exp(-(steps**2) / (2 * (sigma * unit) ** 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    x = np.rint(reach + steps * math.cos(math.radians(degrees))).astype(int)
    y = np.rint(reach + steps * math.sin(math.radians(degrees))).astype(int)
    np.add.at(kernel, (y, x), weights)
    return _filtered(image, kernel)


def _zoomed(image: Pixels, zoom: float) -> Pixels:
    side = image.shape[0]
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), 0, zoom)
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT), np.float32)


def _resized(image: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def _plasma(side: int, decay: float, rng: np.random.Generator) -> Pixels:
    """Return clouds `(side, side)`, 0-1: octaves of noise, each `decay` times weaker than the coarser one before."""
    clouds = np.zeros((side, side), np.float32)
    weight = 1.0
    for octave in range(1, math.ceil(math.log2(side)) + 1):
        grid = rng.uniform(-1, 1, (2**octave + 1,) * 2).astype(np.float32)
        clouds += np.float32(weight) * _resized(grid, side)
        weight /= decay
    clouds -= clouds.min()
    return np.asarray(clouds / clouds.max(), np.float32)
