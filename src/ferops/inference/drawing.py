"""Faces drawn into their image: a box, and the label with its probability beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]

_SURE, _UNSURE, _TEXT = (0, 122, 82), (176, 84, 0), (255, 255, 255)  # white on both has a contrast of 5 and more
_BLOCKS = 6  # across a blurred face: too few for eyes and mouth, and no filter brings them back


@dataclass(frozen=True)
class Mark:
    """What is drawn of a face; `box` is x1, y1, x2, y2 in pixels, `sure` picks the colour."""

    box: Box
    text: str
    sure: bool


def draw(pixels: NDArray[np.uint8], marks: Sequence[Mark]) -> Image.Image:
    """Return a copy of an RGB image `(H, W, 3)` with `marks`, largest first, so that no text hides behind a box.

    The size of lines and text follows the image's and the face's.
    """
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    line = max(1, round(max(image.size) / 400))
    marks = sorted(marks, key=lambda mark: mark.box[2] - mark.box[0], reverse=True)
    boxes = [_inside(mark.box, image.size) for mark in marks]
    for mark, box in zip(marks, boxes, strict=True):
        canvas.rectangle(box, outline=_colour(mark), width=line)
    for i, mark in enumerate(marks):
        _write(canvas, mark, image.size, boxes[i], boxes[:i] + boxes[i + 1 :])
    return image


def blur(pixels: NDArray[np.uint8], boxes: Sequence[Box]) -> NDArray[np.uint8]:
    """Return a copy of an RGB image `(H, W, 3)` in which nobody can be recognised inside `boxes`."""
    result = pixels.copy()
    height, width = pixels.shape[:2]
    for x1, y1, x2, y2 in boxes:
        # A tenth more on each side: hair and ears tell much
        across, down = 0.1 * (x2 - x1), 0.1 * (y2 - y1)
        left, right = (int(np.clip(x, 0, width)) for x in (x1 - across, x2 + across + 1))
        top, bottom = (int(np.clip(y, 0, height)) for y in (y1 - down, y2 + down + 1))
        part = result[top:bottom, left:right]
        if part.size:
            small = cv2.resize(part, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
            result[top:bottom, left:right] = cv2.resize(small, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return result


def _write(canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int], box: Box, others: Sequence[Box]) -> None:
    """Write the text of a mark on a filled rectangle."""
    # About the width of the face, but readable, and not larger than a caption of the whole image
    points = round(float(np.clip((box[2] - box[0]) / 8, 11, max(11, max(size) / 28))))
    room = max(1, points // 5)
    _, _, width, height = (float(side) for side in canvas.textbbox((0, 0), mark.text, font=_font(points)))
    left, top = _place(box, (width + 2 * room, height + 2 * room), size, others)
    canvas.rectangle((left, top, left + width + 2 * room - 1, top + height + 2 * room - 1), fill=_colour(mark))
    canvas.text((left + room, top + room), mark.text, font=_font(points), fill=_TEXT)


def _place(box: Box, text: tuple[float, float], size: tuple[int, int], others: Sequence[Box]) -> tuple[float, float]:
    """Return the corner of a text: above or below the box, if that is in the image and in no other box; or inside."""
    width, height = text
    left = max(0.0, min(box[0], size[0] - width))
    for top in (box[1] - height, box[3] + 1):
        if 0 <= top <= size[1] - height and not any(
            left < other[2] and other[0] < left + width and top < other[3] and other[1] < top + height
            for other in others
        ):
            return left, top
    return left, max(0.0, min(box[1], size[1] - height))


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """Return the part of a box that lies in the image, its right and bottom edges on the last pixels."""
    x1, x2 = np.clip((box[0], box[2] - 1), 0, size[0] - 1)
    y1, y2 = np.clip((box[1], box[3] - 1), 0, size[1] - 1)
    return float(x1), float(y1), float(max(x1, x2)), float(max(y1, y2))


def _colour(mark: Mark) -> tuple[int, int, int]:
    return _SURE if mark.sure else _UNSURE


@functools.lru_cache(maxsize=32)
def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)
