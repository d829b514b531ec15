"""A project whose splits are drawn and whose faces a stand-in finds: what `preprocess` reads."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from ferops import config
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.datasets import manifest
from ferops.faces.align import TEMPLATE
from ferops.faces.detection import Detection
from ferops.layout import Layout
from sample_images import quick_tree

SPLITS = ("train", "val", "test")
BLIND = 20  # the stand-in finds nothing in images as dark as this


class Stand:
    """A detector that finds a face in the middle third of every image that is not dark, and two in bright ones."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        self.sizes.append(len(images))
        return [self._faces(image) for image in images]

    def _faces(self, image: NDArray[np.uint8]) -> list[Detection]:
        if image.mean() < BLIND:
            return []
        height, width = image.shape[:2]
        middle = np.array([width / 3, height / 3, 2 * width / 3, 2 * height / 3], np.float32)
        landmarks = (TEMPLATE * (width / 3, height / 3) + (width / 3, height / 3)).astype(np.float32)
        faces = [Detection(box=middle, landmarks=landmarks, score=0.97)]
        if image.mean() > 200:
            small = Detection(box=middle / 4, landmarks=landmarks / 4, score=0.99)
            faces.insert(0, small)
        return faces


def image_file(seed: int, *, level: int, size: tuple[int, int] = (60, 48)) -> bytes:
    """A noisy PNG of (width, height), `level` bright."""
    noise = np.random.default_rng(seed).integers(-9, 10, (size[1], size[0], 3))
    stream = io.BytesIO()
    Image.fromarray((level + noise).clip(0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def project(root: Path, *, dark: set[tuple[str, int]], tight_only: bool = False) -> tuple[Layout, Params]:
    """Raw data, manifest and assignment of two sources: 4 wild and 2 tight images of each class.

    `dark`: (class, number) of wild images in which the stand-in sees nothing.
    """
    layout = Layout(root)
    layout.data.mkdir(parents=True)
    layout.data_dvc.write_text("outs:\n- md5: 00000000000000000000000000000000.dir\n  path: data\n")
    rows: dict[str, list[dict[str, Any]]] = {"wild": [], "tight": []}
    for i, label in enumerate(DEFAULT_CLASSES):
        for number in range(4):
            level = 5 if (label, number) in dark else 230 if number == 3 else 120
            image = image_file(10 * i + number, level=level, size=(60, 48) if number % 2 else (90, 120))
            rows["wild"].append(
                manifest.make_row(image, source="wild", label=label, group_light="dim" if number < 2 else "bright")
            )
        for number in range(2):
            image = image_file(1000 + 10 * i + number, level=100)
            rows["tight"].append(manifest.make_row(image, source="tight", label=label))
    rows["wild"].append(rows["wild"][0])  # an exact copy, which the manifest holds once
    if tight_only:
        rows["wild"] = []
    for source, each in rows.items():
        if each:
            manifest.write(layout.source(source), each, source=source)
    frame = pd.DataFrame([row for each in rows.values() for row in each]).drop(columns="image")
    frame = frame.drop_duplicates("image_id").assign(brightness=1.0, sharpness=1.0)
    frame["cluster"] = frame["image_id"].str[:16]
    layout.manifest.parent.mkdir(parents=True)
    frame.to_parquet(layout.manifest)
    layout.assignment.parent.mkdir(parents=True)
    splits = [SPLITS[i % 3] for i in range(len(frame))]
    pd.DataFrame({"image_id": frame["image_id"], "split": splits, "group": frame["cluster"]}).to_parquet(
        layout.assignment
    )
    tree = quick_tree()
    tree["data"]["sources"] = ["wild", "tight"]
    tree["preprocess"] |= {"tight_sources": ["tight"], "batch_size": 5, "size_px": 32, "margin": 0.1}
    tree["preprocess"] |= {"choose": "largest", "tight": "whole", "min_face_px": 0, "no_face": "quarantine"}
    return layout, config.parse(tree)


def changed(params: Params, **preprocess: Any) -> Params:
    tree = params.model_dump(by_alias=True)
    tree["preprocess"] |= preprocess
    return config.parse(tree)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
