"""The whole images of the behaviour tests: some of the test split, and neutral faces that no training has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.datasets.images import UnreadableImageError
from ferops.datasets.raw import open_raw
from ferops.evaluation.end_to_end import read_images
from ferops.evaluation.inputs import Data
from ferops.faces.photo import Photo
from ferops.layout import Layout
from ferops.robustness.sample import in_order

MOST = 100
"""Photographs that are in memory together, each decoded as far as detectors look."""

NEUTRAL = "neutral"


@dataclass(frozen=True)
class Images:
    """N images, uint8 `(H, W, 3)`, and the rows of a table about them, with `group`: the cluster of each."""

    pixels: list[NDArray[np.uint8]]
    rows: pd.DataFrame


def test_images(layout: Layout, data: Data, most: int, *, seed: int) -> Images:
    """Return up to `most` images of the test split, each class by its share, in the order in which they are tried."""
    images = data.images
    order = in_order(pd.factorize(images["label"], sort=True)[0], seed=seed)[:most]
    return _read(layout, images.iloc[order])


test_images.__test__ = False  # type: ignore[attr-defined]  # not a pytest function


def neutral_images(layout: Layout, data: Data, most: int, *, seed: int) -> Images:
    """Return up to `most` images labelled neutral: of the test split where the model knows the class; else of the raw
    data, which then have them beside those that are used, but of no person of another split."""
    rng = np.random.default_rng(seed)
    if NEUTRAL in data.test.classes:
        rows = data.images[data.images["label"] == NEUTRAL]
        return _read(layout, rows.iloc[rng.permutation(len(rows))[:most]])
    seen = data.everything[data.everything["split"] != "test"]
    known = set(seen["subject"].dropna()) if "subject" in seen else set()
    pixels, tables = [], []
    for source in sorted(set(data.everything["source"])):
        raw = open_raw(layout, source)
        table = raw.table(["image_id", "label", "subject"]).to_pandas()
        rows = table[(table["label"] == NEUTRAL) & ~table["subject"].isin(known)]
        chosen = rows.iloc[rng.permutation(len(rows))[:most]]
        encoded = raw.images(set(chosen.index.tolist()))
        for place in chosen.index:
            try:
                pixels.append(Photo.decode(encoded[place]).pixels)
            except UnreadableImageError:  # validation has seen none of these
                continue
            tables.append(chosen.loc[[place]])
    table = pd.concat(tables) if tables else pd.DataFrame(columns=["image_id", "label", "subject"])
    table["group"] = table["subject"].fillna(table["image_id"])
    few = rng.permutation(len(table))[:most]
    return Images([pixels[row] for row in few], table.iloc[few])


def _read(layout: Layout, rows: pd.DataFrame) -> Images:
    found = {image.image_id: image.photo.pixels for image in read_images(layout, rows, set())}
    return Images([found[image_id] for image_id in rows["image_id"]], rows)
