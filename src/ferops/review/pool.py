"""The images that a person may be asked about, those of a source in data/ or any files, and what models say of them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ferops.datasets.raw import open_raw
from ferops.datasets.relabel import corrections
from ferops.datasets.untrusted import MAX_IMAGE_BYTES
from ferops.faces.detection import Detector
from ferops.faces.status import HELD_BACK
from ferops.inference.sources import Sources
from ferops.layout import Layout
from ferops.scoring.framing import Framer
from ferops.scoring.opening import Opened


@dataclass(frozen=True, eq=False)  # frames have no single truth value to compare by
class Pool:
    """Images in an order that stays the same.

    Attributes:
        name: of the source, or of the folder.
        rows: one for each image: image_id, place (where it is, for people), label, source, class (any text; null for an
            image that is not asked about).
        encoded: yields all images, as they are in their files; empty bytes for one that cannot be read.
    """

    name: str
    rows: pd.DataFrame
    encoded: Callable[[], Iterator[bytes]]

    def images(self) -> Iterator[tuple[int, bytes]]:
        """Yield (row, encoded image) of the rows with a class."""
        wanted = self.rows["class"].notna()
        return ((row, image) for row, image in enumerate(self.encoded()) if wanted[row])

    def only(self, rows: set[int]) -> Pool:
        """Return the pool in which only `rows` are asked about."""
        kept = [word if row in rows else None for row, word in enumerate(self.rows["class"])]
        return Pool(self.name, self.rows.assign(**{"class": pd.Series(kept, dtype=object)}), self.encoded)


def of_source(layout: Layout, source: str) -> Pool:
    """Return the images of a source in data/ but those of which a person has said something already.

    Raises:
        FeropsError: there is no such source, or its file is damaged.
    """
    raw = open_raw(layout, source)
    rows = raw.table(["image_id", "label", "source"]).to_pandas().astype(object)
    known = corrections(layout, source)
    asked = [None if one in known else "asked" for one in rows["image_id"]]
    places = [f"{source}, row {row}" for row in rows.index]

    def encoded() -> Iterator[bytes]:
        for batch in raw.batches(["image"]):
            yield from (image or b"" for image in batch.column(0).to_pylist())

    return Pool(source, rows.assign(place=places, **{"class": pd.Series(asked, dtype=object)}), encoded)


def of_files(path: Path) -> Pool:
    """Return images that have no label yet: a file, or those below a folder.

    Raises:
        FeropsError: there is no image.
    """
    files = [Path(name) for name in Sources([str(path)])]

    def encoded() -> Iterator[bytes]:
        return map(_content, files)

    rows = pd.DataFrame(
        {
            "image_id": [hashlib.sha256(content).hexdigest() for content in encoded()],
            "place": [file.relative_to(path).as_posix() if path.is_dir() else file.name for file in files],
            "label": None,
            "source": None,
            "class": "asked",
        },
        dtype=object,
    )
    return Pool(path.resolve().stem, rows, encoded)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes() if file.stat().st_size <= MAX_IMAGE_BYTES else b""
    except OSError:
        return b""


def ask(pool: Pool, model: Opened, *, detector: Detector | None = None) -> tuple[dict[int, dict[str, float]], Framer]:
    """Return row -> the model's probabilities by class, of each image with a face; and what the Framer saw of them.

    Args:
        detector: finds the faces; by default the model's.
    """
    framer = Framer.of(model.config, "auto", origin=str(model.file))
    found: dict[int, dict[str, float]] = {}
    classes = model.config.classes
    total = int(pool.rows["class"].notna().sum())
    with (
        tqdm(total=total, desc=f"ask {model.name}", unit="image", disable=None, file=sys.stderr) as bar,
        closing(framer.faces(pool, detector)) as shards,
    ):
        for shard in shards:
            kept = [int(one["image_id"]) for one in shard.records if one["status"] not in HELD_BACK]
            if kept:
                rows = model.predictor.classify(shard.pixels).tolist()
                found |= {row: dict(zip(classes, each, strict=True)) for row, each in zip(kept, rows, strict=True)}
            bar.update(len(shard.records))
    return found, framer
