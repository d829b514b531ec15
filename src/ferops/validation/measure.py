"""What a row's image says about itself: one decode per image, streamed through the raw files."""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ferops import threads
from ferops.config import Validate
from ferops.datasets.images import UnreadableImageError, decode
from ferops.datasets.raw import Raw, open_raw
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.validation.descriptors import VIEW_BYTES, Views, image_views
from ferops.validation.near_duplicates import THUMBNAIL_PX, Thumbnails, thumbnail

SHARPNESS_SIDE_PX = 48
"""Sharpness is compared between sources, so every image is measured at the size of the smallest published one."""
BATCH_ROWS = 256


class Measures(NamedTuple):
    """Of one image. `pixel_hash` is None, and the numbers NaN, where it was not decoded; `problem` says why.

    Attributes:
        id_matches: `image_id` is the SHA-256 of the encoded bytes.
        pixel_hash: SHA-256 of shape and decoded RGB pixels, first 16 hex digits.
        brightness, grey_std: mean and standard deviation of the grey levels (0-255).
        sharpness: variance of the Laplacian at 48 px.
    """

    id_matches: bool
    decodes: bool
    pixel_hash: str | None
    brightness: float
    grey_std: float
    sharpness: float
    problem: str | None


@dataclass(frozen=True)
class Measured:
    """All rows of the sources, in order.

    Attributes:
        raw: the raw rows without `image`; columns that a source lacks are null.
        facts: the columns of Measures and `row` (position in the source).
        thumbnails: uint8 `(N, 32, 32)` (`near_duplicates.thumbnail`), black where an image was not decoded.
        views: uint8 `(N, VIEW_BYTES)` (`descriptors.image_views`), for the label review; no rows if that is off.
    """

    raw: pa.Table
    facts: pd.DataFrame
    thumbnails: Thumbnails
    views: Views


def measure_sources(layout: Layout, sources: tuple[str, ...], settings: Validate) -> Measured:
    """Decode and measure every image of `sources` once, on all free cores.

    Raises:
        FeropsError: a source is missing, is not Parquet, or lacks a column.
    """
    opened = [open_raw(layout, source) for source in sources]
    rows = sum(raw.num_rows for raw in opened)
    thumbnails = np.zeros((rows, THUMBNAIL_PX, THUMBNAIL_PX), dtype=np.uint8)
    views = _on_disk(layout, rows if settings.label_review_folds else 0)
    tables: list[pa.Table] = []
    measured: list[Measures] = []
    cv2.setNumThreads(1)  # the threads below are the parallelism: Pillow and OpenCV release the GIL
    with ThreadPoolExecutor(max_workers=threads.current()) as pool:
        for raw in opened:
            for batch, grey_images in _ahead(raw, pool, settings=settings, depth=2 * threads.current()):
                tables.append(pa.Table.from_batches([batch]).drop_columns(["image"]))
                for one, small, views_of_one in grey_images:
                    if small is not None:
                        thumbnails[len(measured)] = small
                    if views_of_one is not None:
                        views[len(measured)] = views_of_one
                    measured.append(one)
    facts = pd.DataFrame(measured, columns=Measures._fields)
    positions = [np.arange(raw.num_rows) for raw in opened]
    return Measured(
        raw=_together(tables),
        facts=facts.assign(row=np.concatenate(positions)),
        thumbnails=thumbnails,
        views=views,
    )


def _together(tables: list[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise FeropsError(
            f"the sources of data.sources do not fit together: a column has another type in each ({error}). Import "
            "them again, or list those that fit in data.sources"
        ) from error


def _on_disk(layout: Layout, rows: int) -> Views:
    """Return an array in a file that vanishes with it: 400,000 rows would take 2.6 GB of memory."""
    if not rows:
        return np.empty((0, VIEW_BYTES), dtype=np.uint8)
    layout.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=layout.state) as file:
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=(rows, VIEW_BYTES))


Result = tuple[Measures, Thumbnails | None, Views | None]


def _ahead(
    raw: Raw, pool: ThreadPoolExecutor, *, settings: Validate, depth: int
) -> Iterator[tuple[pa.RecordBatch, list[Result]]]:
    """Keep `depth` batches in work, no more: memory stays bounded however large the file is."""
    waiting: deque[tuple[pa.RecordBatch, Future[list[Result]]]] = deque()
    for batch in raw.batches(rows=BATCH_ROWS):
        waiting.append((batch, pool.submit(_measure_batch, batch, settings)))
        if len(waiting) >= depth:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def _measure_batch(batch: pa.RecordBatch, settings: Validate) -> list[Result]:
    columns = [batch.column(name).to_pylist() for name in ("image_id", "image", "width", "height")]
    return [
        measure(image or b"", image_id=image_id, header_px=max(width or 0, height or 0), settings=settings)
        for image_id, image, width, height in zip(*columns, strict=True)
    ]


def measure(image: bytes, *, image_id: str | None, header_px: int, settings: Validate) -> Result:
    """Return the measures, the thumbnail and the views of one encoded image.

    `header_px` is its longer side as the header says; images that are too large are not decoded.
    """
    id_matches = image_id == hashlib.sha256(image).hexdigest()
    nan = float("nan")
    if header_px > settings.max_side_px:
        return Measures(id_matches, True, None, nan, nan, nan, None), None, None
    try:
        pixels = decode(image, max_megapixels=settings.max_side_px**2 / 1e6)
    except UnreadableImageError as error:
        return Measures(id_matches, False, None, nan, nan, nan, str(error)), None, None
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    mean, deviation = cv2.meanStdDev(grey)
    found = Measures(
        id_matches=id_matches,
        decodes=True,
        pixel_hash=pixel_hash(pixels),
        brightness=float(mean[0, 0]),
        grey_std=float(deviation[0, 0]),
        sharpness=sharpness(grey),
        problem=None,
    )
    return found, thumbnail(grey), image_views(grey) if settings.label_review_folds else None


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
