"""Files to score: images whose answers can be worked out by hand, and a detector that finds faces in bright ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from exports import provenance
from ferops.faces.align import TEMPLATE
from ferops.faces.detection import Detection
from sample_images import encoded, quick_params

COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
ANSWERS = {"red": "happy", "green": "disgust", "blue": "fear"}
"""What the export of `make_export(favours="happy")` answers to an image of one colour: logits are the mean RGB
times exports.WEIGHTS, plus 3 for happy."""

DARK = 40
"""`BrightFaces` finds no face in images darker than this."""


TRAINED_WITH = {"tight_sources": ("fer2013",), "size_px": 32, "min_face_px": 20.0}


def trained_on_wild(**changes: Any) -> dict[str, Any]:
    """Values of config.json: trained on `wild` and on `fer2013`, whose images are tight crops."""
    params = quick_params(preprocess=TRAINED_WITH).model_dump(mode="json", by_alias=True)
    made_from = provenance(sources=("wild", "fer2013"), synthetic=False, params=params)
    return {"align": "steady_scale", "detector": "mtcnn", "provenance": made_from} | changes


def tinted(colour: str, seed: int, *, size_px: int = 64) -> bytes:
    """A PNG of one colour with a little noise: different seeds give different pixels."""
    noise = np.random.default_rng(seed).integers(-9, 10, (size_px, size_px, 3))
    return encoded((np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8))


def dark(seed: int, *, size_px: int = 64) -> bytes:
    return encoded(np.random.default_rng(seed).integers(0, 30, (size_px, size_px, 3), dtype=np.uint8))


class BrightFaces:
    """A detector that finds one face, which fills nine tenths of the image, in each that is not dark."""

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        return [[self._face(image)] if image.mean() >= DARK else [] for image in images]

    @staticmethod
    def _face(image: NDArray[np.uint8]) -> Detection:
        height, width = image.shape[:2]
        box = np.array([0.05 * width, 0.05 * height, 0.95 * width, 0.95 * height], np.float32)
        landmarks = (TEMPLATE * (0.8 * width, 0.8 * height) + (0.1 * width, 0.1 * height)).astype(np.float32)
        return Detection(box=box, landmarks=landmarks, score=0.98)


def write(path: Path, *, row_group_size: int | None = None, **columns: Sequence[Any]) -> Path:
    """Write a Parquet file of the columns given, `image` as binary."""
    arrays = {
        name: pa.array(values, pa.binary()) if name == "image" else pa.array(values) for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path, row_group_size=row_group_size)
    return path


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below `folder` with its time of change and its SHA-256, and every folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder",
        )
        for path in sorted(folder.rglob("*"))
    }
