"""Small copies of raw images for the reports, as data URIs, so that a page needs no other file."""

from __future__ import annotations

import pandas as pd

from ferops.datasets.images import UnreadableImageError, decode
from ferops.datasets.raw import open_raw
from ferops.layout import Layout
from ferops.pages import image_uri

SIDE_PX = 96

Thumbnails = dict[tuple[str, int], str | None]
"""(source, row in it) -> data URI, or None where the image cannot be decoded."""


def thumbnail_uri(encoded: bytes) -> str | None:
    """Return a PNG of at most 96 px as a data URI, or None where the image cannot be decoded."""
    try:
        return image_uri(decode(encoded), side_px=SIDE_PX)
    except UnreadableImageError:
        return None


def read_thumbnails(layout: Layout, *frames: pd.DataFrame) -> Thumbnails:
    """Read the images of all rows of `frames`, which have the columns source and row."""
    found: Thumbnails = {}
    for source, rows in pd.concat([frame[["source", "row"]] for frame in frames]).groupby("source"):
        images = open_raw(layout, str(source)).images(set(rows["row"]))
        found |= {(str(source), row): thumbnail_uri(image) for row, image in images.items()}
    return found
