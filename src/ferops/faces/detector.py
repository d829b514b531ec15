"""Face detection behind a protocol, so that another detector can take MTCNN's place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.errors import FeropsError

Image = NDArray[np.uint8]

MAX_SIDE_PX = 1280
"""Larger photos are reduced to this longest side before detection."""

CROP_SIDE_PX = 200
"""Images up to this longest side are taken for crops around a face."""

SMALLEST_FACE_PX = (20, 36)
"""The smallest face looked for in crops and in larger images, in the pixels that the detector sees. 20 is MTCNN's
default; in a larger image a face of that size is too coarse to read, and looking for it doubles the time."""

BORDER_SHARE = (0.25, 0.125)
"""Width of the black border around crops and around larger images, as a share of each side."""

SECOND_BORDER_SHARE = 0.5
"""The border for another look at an image in which nothing was found."""

MIN_SIDE_PX = 40
"""Images with a shorter side are padded to it: MTCNN raises on images below its smallest face."""

_BULK_PX = 1_000_000  # pixels in one forward pass; bounds memory


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Detection:
    """One face, in pixels of its image: x to the right, y down, (0, 0) the outer corner of the first pixel.

    Attributes:
        box: float32 `(4,)`: x1, y1, x2, y2; may reach past the image's edge.
        landmarks: float32 `(5, 2)` of x, y: left eye, right eye, nose, left and right mouth corner, left and right as
            seen in the picture.
        score: the detector's confidence, 0-1.
    """

    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float

    @property
    def area_px(self) -> float:
        """Area of the box in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each RGB uint8 `(H, W, 3)` image, in the images' order, largest box first."""


def build(name: str, *, min_confidence: float, device: str = "cpu") -> Detector:
    """Return the detector of that name (`preprocess.detector`).

    Args:
        min_confidence: faces with a lower score are dropped, 0-1.
        device: a torch device, such as `cpu` or `cuda`.

    Raises:
        FeropsError: no detector has that name, or its package is not installed.
    """
    if name == "mtcnn":
        return mtcnn(min_confidence=min_confidence, device=device)
    raise FeropsError(f"there is no face detector {name!r}; there is: mtcnn. See preprocess.detector in params.yaml")


Border = Literal["adaptive", "never", "always"]


def mtcnn(*, min_confidence: float, device: str = "cpu", border: Border = "adaptive") -> Detector:
    """Return MTCNN (Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
    Networks") with the weights that the package facenet-pytorch ships (MIT licence).

    Args:
        min_confidence: faces with a lower score are dropped, 0-1.
        device: a torch device, such as `cpu` or `cuda`.
        border: `adaptive` sets every image in a black border (BORDER_SHARE) and looks again, with a wider one, where
            nothing was found; `always` has the wide border of crops for every image and no second look; `never`
            has no border. benchmarks/detect.py compares them: the border finds 4 to 6 more of 100 FER2013 images, the
            second look 2 more, and the landmarks of an image and its mirror image disagree half as much.
    """
    return _Mtcnn(min_confidence=min_confidence, device=device, border=border)


class _Mtcnn:
    def __init__(self, *, min_confidence: float, device: str, border: Border) -> None:
        import torch
        from facenet_pytorch import MTCNN

        # facenet-pytorch reads its weights with torch.load's defaults: tensors only since torch 2.6, no code.
        self._nets: list[Any] = [
            MTCNN(
                keep_all=True,
                min_face_size=smallest,
                thresholds=[0.6, 0.7, min(0.7, min_confidence)],
                device=torch.device(device),
            )
            for smallest in SMALLEST_FACE_PX
        ]
        self._min_confidence = min_confidence
        self._border = border

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        found = self._in_groups([_Frame.around(image, border=self._border_of(image)) for image in images])
        if self._border == "adaptive":
            missed = [i for i, faces in enumerate(found) if not faces]
            wider = [_Frame.around(images[i], border=SECOND_BORDER_SHARE) for i in missed]
            for i, faces in zip(missed, self._in_groups(wider), strict=True):
                found[i] = faces
        return found

    def _border_of(self, image: Image) -> float:
        if self._border == "never":
            return 0.0
        return BORDER_SHARE[0 if self._border == "always" else _is_large(image)]

    def _in_groups(self, frames: Sequence[_Frame]) -> list[list[Detection]]:
        """Frames of one size go through together; MTCNN cannot mix sizes."""
        groups: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
        for i, frame in enumerate(frames):
            groups[(*frame.pixels.shape[:2], frame.large)].append(i)
        found: list[list[Detection]] = [[] for _ in frames]
        for (height, width, large), members in groups.items():
            size = max(1, _BULK_PX // (height * width))
            for start in range(0, len(members), size):
                chunk = members[start : start + size]
                for i, faces in zip(chunk, self._safely(self._nets[large], [frames[i] for i in chunk]), strict=True):
                    found[i] = faces
        return found

    def _safely(self, net: Any, frames: Sequence[_Frame]) -> list[list[Detection]]:
        """As `_forward`; facenet-pytorch raises IndexError when a candidate lies wholly outside its image, which must
        not cost the other images of the batch their faces: they go one by one, and that image has none."""
        try:
            return self._forward(net, frames)
        except IndexError:
            return [[]] if len(frames) == 1 else [self._safely(net, [frame])[0] for frame in frames]

    def _forward(self, net: Any, frames: Sequence[_Frame]) -> list[list[Detection]]:
        boxes, scores, landmarks = net.detect(np.stack([f.pixels for f in frames]), landmarks=True)
        return [
            []
            if boxes[i] is None
            else [
                Detection(
                    box=frame.to_image(np.asarray(box, np.float64).reshape(2, 2)).reshape(4),
                    landmarks=frame.to_image(np.asarray(points, np.float64) - _CROP_START_PX),
                    score=float(score),
                )
                for box, points, score in zip(boxes[i], landmarks[i], scores[i], strict=True)
                if score >= self._min_confidence
            ]
            for i, frame in enumerate(frames)
        ]


def _is_large(image: Image) -> bool:
    return bool(max(image.shape[:2]) > CROP_SIDE_PX)


# facenet-pytorch cuts each candidate at the truncated corner minus one pixel, but adds the landmarks to the untruncated
# one: on average half a pixel too far right and down. Seen as well: landmarks of 316 FER2013 images and of their
# mirror images disagreed by 1.11 px (standard error 0.04), twice the offset.
_CROP_START_PX = 0.5


@dataclass(frozen=True)
class _Frame:
    """What the detector sees of an image, and the way back to the image's coordinates."""

    pixels: Image
    offset: NDArray[np.float64]  # (2,): x, y of the image's corner in the frame
    scale: NDArray[np.float64]  # (2,): frame pixels per image pixel along x, y
    large: bool  # no crop around a face

    @classmethod
    def around(cls, image: Image, *, border: float) -> _Frame:
        height, width = image.shape[:2]
        large = _is_large(image)
        shrink = min(1.0, MAX_SIDE_PX / max(height, width))
        if shrink < 1.0:
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        inner_height, inner_width = image.shape[:2]
        top, left = (max(round(border * side), -(-(MIN_SIDE_PX - side) // 2)) for side in (inner_height, inner_width))
        if top or left:
            image = np.pad(image, ((top, top), (left, left), (0, 0)))  # constant: reflection would mirror the face
        return cls(
            large=large,
            pixels=image,
            offset=np.array([left, top], np.float64),
            scale=np.array([inner_width / width, inner_height / height], np.float64),
        )

    def to_image(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Map `(n, 2)` frame points to the image."""
        return ((points - self.offset) / self.scale).astype(np.float32)
