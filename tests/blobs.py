"""A small project of coloured blobs: six classes that a network can learn in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.layout import Layout
from sample_images import quick_tree

SIZE_PX = 32
COLOURS = np.array(
    [[220, 40, 40], [40, 220, 40], [40, 40, 220], [220, 220, 40], [220, 40, 220], [40, 220, 220]], dtype=np.float64
)

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]


def blobs(per_class: int, *, seed: int) -> Split:
    """Return images uint8 `(6 * per_class, 32, 32, 3)`, disks of the class's colour on noise, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(6), per_class))
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    images = rng.uniform(60, 180, (len(labels), SIZE_PX, SIZE_PX, 3))
    for image, label in zip(images, labels, strict=True):
        cy, cx = rng.uniform(10, 22, 2)
        image[(y - cy) ** 2 + (x - cx) ** 2 < 81] = COLOURS[label]
    return images.round().astype(np.uint8), labels.astype(np.int64)


def write_faces(layout: Layout, splits: dict[str, Split], *, votes: dict[str, NDArray[np.int64]] | None = None) -> None:
    """Write what the stage `preprocess` would hand on; `votes` are counts `(N, 6)` of the splits that have them."""
    layout.artifacts("preprocess").mkdir(parents=True, exist_ok=True)
    tables = []
    for split, (images, labels) in splits.items():
        np.save(layout.faces(split), images)
        tables.append(pd.DataFrame({"split": split, "row": np.arange(len(labels)), "label_index": labels}))
        tables[-1]["source"] = "blobs"
        for column, counts in zip(DEFAULT_CLASSES, (votes or {}).get(split, np.empty((0, 6))).T, strict=True):
            if len(counts):
                tables[-1][f"votes_{column}"] = pd.array(counts, dtype="Int64")
    # A face that was not found has no row in the array, and the table's order is not the array's
    missing = pd.DataFrame({"split": ["train"], "row": [-1], "label_index": [3], "source": ["blobs"]})
    pd.concat([*tables, missing]).sample(frac=1.0, random_state=0).to_parquet(layout.face_index)


def make_project(root: Path) -> Layout:
    """Make a project with 96 training, 30 validation and 30 test faces."""
    layout = Layout(root)
    write_faces(layout, {"train": blobs(16, seed=1), "val": blobs(5, seed=2), "test": blobs(5, seed=3)})
    layout.data_dvc.write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n")
    return layout


def params_tree() -> dict[str, Any]:
    """Return the preset quick, cut down to seconds."""
    tree = quick_tree()
    tree["train"] |= {"device": "cpu", "amp": "off", "batch_size": 16, "accumulate": 1, "mixup_alpha": 0.0}
    tree["train"] |= {"max_lr": 0.003, "checkpoint_every": 1}
    small = {"architecture": "resnet18", "pretrained": None, "epochs": 2}
    tree["preprocess"]["size_px"] = SIZE_PX
    tree["models"] = {name: tree["models"][name] | small for name in ("baseline", "candidate")}
    return tree
