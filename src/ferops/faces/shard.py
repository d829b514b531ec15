"""From one shard of encoded images to faces and records: a pure function.

A shard carries the encoded bytes, so workers need no disk, and results depend on its content alone (`make_shards`), not
on which processes work or how many.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.config import FaceRules
from ferops.faces.align import preferred, roll_degrees, whole, yaw_degrees
from ferops.faces.crop import FaceCrop, crop_faces, crop_whole
from ferops.faces.detect import find_faces, is_plausible
from ferops.faces.detection import Detection, Detector
from ferops.faces.photo import Photo
from ferops.faces.status import HELD_BACK

THUMBNAIL_PX = 96

_SHARD_PX = 32_000_000  # decoded, all images of a shard together: 96 MB
_SHARD_BYTES = 16_000_000


@dataclass(frozen=True)
class Encoded:
    """An image as published; `width` and `height` as its header says."""

    image_id: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Shard:
    """Images of one source; `tight` if they are crops around a face already, `search` if the detector runs on them."""

    images: tuple[Encoded, ...]
    tight: bool
    search: bool


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Extracted:
    """The faces of a shard.

    Attributes:
        records: one for each image, in order: `image_id` and the columns that `faces.parquet` adds, save `row`.
        pixels: uint8 `(n, S, S, 3)`, the faces of the records that are not held back, in order.
        others: faces that were not chosen, with the columns of other_faces.parquet.
        thumbnails: uint8 `(m, THUMBNAIL_PX, THUMBNAIL_PX, 3)` of the images held back, in order.
        searched: number of images in which faces were searched for.
        detector_seconds: time spent in the detector.
    """

    records: list[dict[str, Any]]
    pixels: NDArray[np.uint8]
    others: list[dict[str, Any]]
    thumbnails: NDArray[np.uint8]
    searched: int
    detector_seconds: float


def make_shards(images: Iterable[Encoded], *, tight: bool, search: bool, at_most: int) -> Iterator[Shard]:
    """Group a source's images into shards of at most `at_most` images and of bounded size, encoded and decoded."""
    held: list[Encoded] = []
    pixels = size = 0
    for image in images:
        pixels += image.width * image.height
        size += len(image.data)
        if held and (len(held) >= at_most or pixels > _SHARD_PX or size > _SHARD_BYTES):
            yield Shard(tuple(held), tight=tight, search=search)
            held, pixels, size = [], image.width * image.height, len(image.data)
        held.append(image)
    if held:
        yield Shard(tuple(held), tight=tight, search=search)


def extract(shard: Shard, settings: FaceRules, detector: Detector) -> Extracted:
    """Decode each image once, find its faces, align the chosen one and record the others.

    Raises:
        UnreadableImageError: an image cannot be decoded (the stage `validate` removes such images).
    """
    images = [Photo.decode(image.data) for image in shard.images]
    started = time.perf_counter()
    found = find_faces(detector, images) if shard.search else [[] for _ in images]
    seconds = time.perf_counter() - started
    records, others, thumbnails = [], [], []
    pixels = np.empty((len(images), settings.size_px, settings.size_px, 3), np.uint8)
    kept = 0
    for encoded, image, detections in zip(shard.images, images, found, strict=True):
        status, face, rest = _select(image, detections, settings, tight=shard.tight)
        records.append(_record(encoded.image_id, image, status, face, faces_found=len(detections), shard=shard))
        others += [_other(encoded.image_id, rank, detection) for rank, detection in enumerate(rest, start=1)]
        if status in HELD_BACK:
            thumbnails.append(whole(image.pixels, size_px=THUMBNAIL_PX))
        elif face is not None:
            pixels[kept] = face.pixels
            kept += 1
    return Extracted(
        records=records,
        pixels=pixels[:kept],
        others=others,
        thumbnails=np.stack(thumbnails) if thumbnails else np.empty((0, THUMBNAIL_PX, THUMBNAIL_PX, 3), np.uint8),
        searched=len(images) if shard.search else 0,
        detector_seconds=seconds if shard.search else 0.0,
    )


def _select(
    image: Photo, detections: list[Detection], settings: FaceRules, *, tight: bool
) -> tuple[str, FaceCrop | None, list[Detection]]:
    """Return the status, the chosen face, and the other detections, preferred ones first."""
    ordered = preferred(detections, image_shape=image.shape, how=settings.choose)
    candidates = [face for face in ordered if is_plausible(face, image.shape)] if tight else ordered
    if not candidates:
        status = "tight" if tight else "whole" if settings.no_face == "keep" else "no_face"
        face = None if status == "no_face" else crop_whole(image.pixels, size_px=settings.size_px)
        return status, face, ordered
    chosen = candidates[0]
    (face,) = crop_faces(image, [chosen], settings)
    status = "small_face" if math.sqrt(chosen.area_px) < settings.min_face_px else "ok"
    return status, face, [face for face in ordered if face is not chosen]


def _record(
    image_id: str, image: Photo, status: str, face: FaceCrop | None, *, faces_found: int, shard: Shard
) -> dict[str, Any]:
    detection = face.detection if face else None
    height, width = image.shape
    return {
        "image_id": image_id,
        "status": status,
        "searched": shard.search,
        **_columns(detection),
        "faces_found": faces_found,
        "face_px": math.sqrt(detection.area_px if detection else width * height if face else math.nan),
        "yaw_degrees": yaw_degrees(detection.landmarks) if detection else math.nan,
        "roll_degrees": roll_degrees(detection.landmarks) if detection else math.nan,
    }


def _other(image_id: str, rank: int, detection: Detection) -> dict[str, Any]:
    return {"image_id": image_id, "rank": rank, **_columns(detection), "face_px": math.sqrt(detection.area_px)}


def _columns(detection: Detection | None) -> dict[str, Any]:
    box = detection.box if detection else np.full(4, np.nan, np.float32)
    x1, y1, x2, y2 = (float(side) for side in box)
    return {
        "score": detection.score if detection else math.nan,
        "box_x1": x1,
        "box_y1": y1,
        "box_x2": x2,
        "box_y2": y2,
        "landmarks": detection.landmarks.reshape(10).tolist() if detection else None,
    }
