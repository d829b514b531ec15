"""Small images and raw files of them, for tests that need data and no photographs."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from ferops.config import Params, load_params, read_yaml
from ferops.datasets import manifest
from ferops.layout import Layout

PARAMS_FILE = Path(__file__).parents[1] / "src" / "ferops" / "presets" / "quick.yaml"


def noise(seed: int, *, size_px: int = 48) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size_px, size_px), dtype=np.uint8)


def encoded(pixels: NDArray[np.uint8], *, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=writer(kind))
    return out.getvalue()


def writer(kind: str) -> str:
    """Return Pillow's name for a format of `ferops.datasets.kinds`, once it can write it."""
    if kind != "HEIC":
        return kind
    pillow_heif.register_heif_opener()
    return "HEIF"


def noise_png(seed: int, *, size_px: int = 48) -> bytes:
    """A PNG of grey noise; different seeds give different pixels."""
    return encoded(noise(seed, size_px=size_px))


def write_source(layout: Layout, source: str, rows: Iterable[dict[str, Any]]) -> None:
    """Write data/<source>.parquet, and a data.dvc that looks like DVC's."""
    layout.data.mkdir(parents=True, exist_ok=True)
    manifest.write(layout.source(source), rows, source=source)
    layout.data_dvc.write_text(f"outs:\n- md5: {'0123' * 8}.dir\n  path: data\n", encoding="utf-8")


def quick_params(**blocks: dict[str, Any]) -> Params:
    """The preset `quick` with some settings of some blocks changed; `validate` is given as `validation`."""
    params = load_params(PARAMS_FILE)
    changed = {name: getattr(params, name).model_copy(update=update) for name, update in blocks.items()}
    return params.model_copy(update=changed)


def quick_tree() -> dict[str, Any]:
    """The preset `quick` as a tree of its own, to change and to parse."""
    return read_yaml(PARAMS_FILE)
