"""benchmarks/leak.py: which faces learn, which are tested, and which of those are known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferops.layout import Layout

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def leak(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import leak

    yield leak
    for name in ("leak", "tables"):
        del sys.modules[name]


@pytest.fixture
def rows() -> pd.DataFrame:
    """Two classes of 50 in the training folder; of PublicTest a face of its own, its exact copy, and a known one."""
    names = [f"train{number}" for number in range(100)] + ["own", "own", "known"]
    return pd.DataFrame(
        {
            "image_id": names,
            "cluster": [*names[:102], "train3"],
            "usage": ["train"] * 100 + ["test"] * 3,
            "label_index": [0] * 50 + [1] * 53,
        }
    )


def test_a_fifth_of_each_class_is_tested_and_public_test_has_no_copies(leak, rows):
    part = leak.drawn(rows)
    assert pd.crosstab(rows["label_index"][:100], part[:100]).to_numpy().tolist() == [[40, 10], [40, 10]]
    assert list(part[100:]) == ["test", "", ""]


def test_accuracy_is_told_apart_by_copies(leak, rows, tmp_path):
    layout = Layout(tmp_path)
    rows = rows.assign(split=["train"] * 96 + ["val"] * 4 + ["test", "", ""], row=[*range(96), *range(4), 0, 0, 0])
    rows.loc[[96, 97], "cluster"] = "train1"  # copies, and answered rightly
    for folder in (layout.face_index.parent, layout.model("candidate")):
        folder.mkdir(parents=True)
    rows[rows["split"] != ""].to_parquet(layout.face_index)
    np.save(layout.model("candidate") / "val_logits.npy", np.array([[0, 1], [0, 1], [1, 0], [0, 1]], np.float32))
    np.save(layout.model("candidate") / "test_logits.npy", np.array([[1, 0]], np.float32))
    found = [line.split(" | ") for line in leak.table(layout).splitlines()[2:]]
    assert [(row[1], row[2][:5].strip()) for row in found] == [
        ("4", "75.0"),
        ("2", "100.0"),
        ("2", "50.0"),
        ("1", "0.0 ("),
    ]
