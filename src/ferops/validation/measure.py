"""What a row's image says about itself: one decode per image, streamed through the raw files."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ferops.config import Validate
from ferops.datasets.images import UnreadableImageError, decode
from ferops.datasets.raw import Raw, open_raw
from ferops.layout import Layout
from ferops.validation.near_duplicates import THUMBNAIL_PX, Thumbnails, thumbnail

SHARPNESS_SIDE_PX = 48
"""Sharpness is compared between sources, so every image is judged at the size of the smallest published one."""
BATCH_ROWS = 256


class Measures(NamedTuple):
    """`pixel_hash` and `thumbnail` are None, and the numbers NaN, where the image was not decoded; `problem` says why.

    pixel_hash: SHA-256 of shape and decoded RGB pixels, first 16 hex digits. id_matches: `image_id` is the SHA-256 of
    the encoded bytes. brightness and grey_std: mean and standard deviation of the grey levels (0-255). sharpness:
    variance of the Laplacian at 48 px. thumbnail: `near.thumbnail`, grey uint8 (32, 32).
    """

    id_matches: bool
    decodes: bool
    pixel_hash: str | None
    brightness: float
    grey_std: float
    sharpness: float
    problem: str | None
    thumbnail: Thumbnails | None = None


def measure_sources(
    layout: Layout, sources: tuple[str, ...], settings: Validate
) -> tuple[pa.Table, pd.DataFrame, Thumbnails]:
    """Stream the raw files of `sources` and measure every image once, on all cores.

    Returns the raw rows without `image` (in the order of `sources`, columns that a source lacks are null), a frame of
    the same length with the columns of Measures but the last and `row` (position in the source), and the thumbnails,
    uint8 `(N, 32, 32)`, black where an image was not decoded.

    Raises:
        FeropsError: a source is missing, is not Parquet, or lacks a column.
    """
    tables: list[pa.Table] = []
    frames: list[pd.DataFrame] = []
    thumbnails: list[Thumbnails] = []
    cores = len(os.sched_getaffinity(0))
    cv2.setNumThreads(1)  # the threads below are the parallelism: Pillow and OpenCV release the GIL
    with ThreadPoolExecutor(max_workers=cores) as pool:
        for source in sources:
            raw = open_raw(layout, source)
            measured: list[Measures] = []
            for batch, results in _ahead(raw, pool, settings=settings, depth=2 * cores):
                tables.append(pa.Table.from_batches([batch]).drop_columns(["image"]))
                measured += [one._replace(thumbnail=None) for one in results]
                thumbnails.append(_stacked(results))
            frame = pd.DataFrame(measured, columns=Measures._fields).drop(columns="thumbnail")
            frames.append(frame.assign(row=range(len(measured))))
    facts = pd.concat(frames, ignore_index=True)
    return pa.concat_tables(tables, promote_options="default"), facts, np.concatenate([_stacked([]), *thumbnails])


def _stacked(measured: list[Measures]) -> Thumbnails:
    stack = np.zeros((len(measured), THUMBNAIL_PX, THUMBNAIL_PX), dtype=np.uint8)
    for place, one in enumerate(measured):
        if one.thumbnail is not None:
            stack[place] = one.thumbnail
    return stack


def _ahead(
    raw: Raw, pool: ThreadPoolExecutor, *, settings: Validate, depth: int
) -> Iterator[tuple[pa.RecordBatch, list[Measures]]]:
    """Keep `depth` batches in work, no more: memory stays bounded however large the file is."""
    waiting: deque[tuple[pa.RecordBatch, Future[list[Measures]]]] = deque()
    for batch in raw.batches(rows=BATCH_ROWS):
        waiting.append((batch, pool.submit(_measure_batch, batch, settings)))
        if len(waiting) >= depth:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def _measure_batch(batch: pa.RecordBatch, settings: Validate) -> list[Measures]:
    columns = [batch.column(name).to_pylist() for name in ("image_id", "image", "width", "height")]
    return [
        measure(image or b"", image_id=image_id, header_px=max(width or 0, height or 0), settings=settings)
        for image_id, image, width, height in zip(*columns, strict=True)
    ]


def measure(image: bytes, *, image_id: str | None, header_px: int, settings: Validate) -> Measures:
    """Measure one encoded image; `header_px` is its longer side as the header says, too large ones are not decoded."""
    id_matches = image_id == hashlib.sha256(image).hexdigest()
    nan = float("nan")
    if header_px > settings.max_side_px:
        return Measures(id_matches, True, None, nan, nan, nan, None)
    try:
        pixels = decode(image, max_megapixels=settings.max_side_px**2 / 1e6)
    except UnreadableImageError as error:
        return Measures(id_matches, False, None, nan, nan, nan, str(error))
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    mean, deviation = cv2.meanStdDev(grey)
    return Measures(
        id_matches=id_matches,
        decodes=True,
        pixel_hash=pixel_hash(pixels),
        brightness=float(mean[0, 0]),
        grey_std=float(deviation[0, 0]),
        sharpness=sharpness(grey),
        problem=None,
        thumbnail=thumbnail(grey),
    )


def pixel_hash(pixels: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of shape and RGB pixels, first 16 hex digits: equal exactly for pixel-identical images."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:16]


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of a grey image `(H, W)` at 48 px, >= 0 (Pech-Pacheco et al., ICPR 2000)."""
    size = (SHARPNESS_SIDE_PX, SHARPNESS_SIDE_PX)
    small = grey if grey.shape == size else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return float(cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_64F))[1][0, 0] ** 2)
