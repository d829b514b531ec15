"""What faces meet, at five severities: few pixels, little light, something before the face, a crop that is off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.faces.align import TEMPLATE
from ferops.robustness.corruptions import CORRUPTIONS, Corruption, Pixels

Numbers = Sequence[float] | NDArray[np.floating]
"""A point, x and y in pixels; or a colour, RGB, 0-1."""

_LEFT_EYE, _RIGHT_EYE, _NOSE, _LEFT_MOUTH, _RIGHT_MOUTH = range(5)


def low_resolution(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
    """A face of 32, 24, 18, 14 and 10 px, enlarged."""
    side = face.shape[0]
    small = min(side, (32, 24, 18, 14, 10)[severity])
    return np.asarray(
        cv2.resize(
            cv2.resize(face, (small, small), interpolation=cv2.INTER_AREA),
            (side, side),
            interpolation=cv2.INTER_CUBIC,
        ),
        np.float32,
    )


def low_light(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """A half to a thirtieth of the light, with the noise of so few photons."""
    light, photons = ((0.5, 400), (0.25, 200), (0.12, 100), (0.06, 60), (0.033, 40))[severity]
    linear = np.clip(face, 0, 1) ** 2.2
    return np.asarray((rng.poisson(linear * light * photons) / photons) ** (1 / 2.2), np.float32)


def shifted(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """A detector that is off by 3 to 16 % of the side, in any direction."""
    far = (0.03, 0.06, 0.09, 0.12, 0.16)[severity] * face.shape[0]
    angle = rng.uniform(0, 2 * math.pi)
    return _warped(face, np.array([[1, 0, far * math.cos(angle)], [0, 1, far * math.sin(angle)]]))


def scaled(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """A face that is taken 5 to 30 % too large or too small."""
    factor = (1.05, 1.10, 1.15, 1.20, 1.30)[severity]
    return _turned(face, scale=factor if rng.random() < 0.5 else 1 / factor)


def rotated(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """A face that leans by 5 to 30 degrees."""
    degrees = (5, 10, 15, 20, 30)[severity]
    return _turned(face, degrees=degrees if rng.random() < 0.5 else -degrees)


def _turned(face: Pixels, *, degrees: float = 0.0, scale: float = 1.0) -> Pixels:
    middle = (face.shape[0] - 1) / 2
    return _warped(face, cv2.getRotationMatrix2D((middle, middle), degrees, scale))


def _warped(face: Pixels, matrix: NDArray[Any] | cv2.typing.MatLike) -> Pixels:
    """As alignment does it: outside, the edge pixels are repeated."""
    size = (face.shape[1], face.shape[0])
    return np.asarray(cv2.warpAffine(face, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32)


def mask(margin: float) -> Corruption:
    """A medical mask, from the chin up to below the mouth, over half of it, over it, to the nose, over the nose."""

    def cover(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
        side, points = face.shape[0], _landmarks(face, margin)
        mouth, nose = float(points[_LEFT_MOUTH, 1]), float(points[_NOSE, 1])
        top = mouth + (-0.3, 0.1, 0.5, 0.85, 1.2)[severity] * (nose - mouth)
        apart = float(points[_RIGHT_EYE, 0] - points[_LEFT_EYE, 0])
        middle, half = float(points[_NOSE, 0]), 0.85 * apart
        ears = top + 0.06 * side
        outline = [
            (middle - half, ears),
            (middle, top),
            (middle + half, ears),
            (middle + half, side),
            (middle - half, side),
        ]
        drawn = face.copy()
        _fill(drawn, outline, (0.62, 0.78, 0.86))
        for fold in (0.35, 0.6):
            y = top + fold * (side - top) + 0.06 * side
            _line(drawn, (middle - 0.8 * half, y), (middle + 0.8 * half, y), (0.52, 0.68, 0.77), 0.012 * side)
        return drawn

    return cover


def sunglasses(margin: float) -> Corruption:
    """Dark glasses, ever larger."""

    def cover(face: Pixels, severity: int, _rng: np.random.Generator) -> Pixels:
        points, drawn = _landmarks(face, margin), face.copy()
        apart = float(points[_RIGHT_EYE, 0] - points[_LEFT_EYE, 0])
        across = (0.18, 0.24, 0.31, 0.38, 0.46)[severity] * apart
        left, right = points[_LEFT_EYE], points[_RIGHT_EYE]
        for x, y in (left, right):
            cv2.ellipse(
                drawn,
                _sub((x, y)),
                _sub((across, 0.75 * across)),
                0,
                0,
                360,
                (0.05, 0.05, 0.06),
                -1,
                cv2.LINE_AA,
                _SHIFT,
            )
        _line(drawn, left, right, (0.05, 0.05, 0.06), 0.05 * apart)
        return drawn

    return cover


def hand(margin: float) -> Corruption:
    """Four fingers in the colour of the face, which reach from one side ever further over mouth and cheek."""

    def cover(face: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
        side, points = face.shape[0], _landmarks(face, margin)
        mouth, nose = float(points[_LEFT_MOUTH, 1]), float(points[_NOSE, 1])
        x, y = np.rint(points[_NOSE]).astype(int)
        skin = np.median(face[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].reshape(-1, 3), axis=0)
        reach = (0.2, 0.35, 0.5, 0.65, 0.8)[severity] * side
        thick, drawn = 0.42 * (mouth - nose), face.copy()
        from_left = rng.random() < 0.5
        for finger, length in enumerate((0.85, 1.0, 0.95, 0.75)):
            at = nose + (0.2 + finger) * (mouth - nose) * 0.6
            start, end = (0.0, reach * length) if from_left else (side - 1.0, side - 1 - reach * length)
            _line(drawn, (start, at + 0.04 * side), (end, at), 0.72 * skin, 1.25 * thick)  # its shadow
            _line(drawn, (start, at + 0.04 * side), (end, at), 0.95 * skin, thick)
        return drawn

    return cover


def conditions(margin: float) -> dict[str, Corruption]:
    """Return what faces meet, by name; JPEG is among the corruptions.

    Args:
        margin: of the packed faces, `preprocess.margin`: it says where eyes, nose and mouth are.
    """
    return {
        "low_resolution": low_resolution,
        "low_light": low_light,
        "mask": mask(margin),
        "sunglasses": sunglasses(margin),
        "hand": hand(margin),
        "shifted": shifted,
        "scaled": scaled,
        "rotated": rotated,
    }


def everything(margin: float) -> dict[str, Corruption]:
    """Return the corruptions, then the conditions."""
    return CORRUPTIONS | conditions(margin)


def worsened(face: NDArray[np.uint8], how: Corruption, severity: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a face, uint8 `(S, S, 3)`, at a severity of 0-4."""
    seen = how((face / np.float32(255)).astype(np.float32, copy=False), severity, rng)
    return np.rint(255 * np.clip(seen, 0, 1)).astype(np.uint8)


def _landmarks(face: Pixels, margin: float) -> NDArray[np.float64]:
    """Where alignment puts the five landmarks, in pixels; a crop that was kept whole has them near there."""
    return np.asarray((margin + (1 - 2 * margin) * TEMPLATE) * face.shape[0])


_SHIFT = 4


def _sub(point: Numbers) -> tuple[int, int]:
    """OpenCV draws at sixteenths of a pixel."""
    return round(point[0] * 2**_SHIFT), round(point[1] * 2**_SHIFT)


def _fill(face: Pixels, outline: Sequence[Numbers], colour: Numbers) -> None:
    cv2.fillPoly(
        face,
        [np.array([_sub(point) for point in outline], np.int32)],
        [float(each) for each in colour],
        cv2.LINE_AA,
        _SHIFT,
    )


def _line(face: Pixels, start: Numbers, end: Numbers, colour: Numbers, width: float) -> None:
    thick = max(1, round(width))
    cv2.line(face, _sub(start), _sub(end), [float(each) for each in colour], thick, cv2.LINE_AA, _SHIFT)
