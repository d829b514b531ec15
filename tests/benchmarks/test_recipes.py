"""benchmarks/recipes.py: what it changes, and what its table says of several seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from blobs import make_project
from ferops.layout import Layout
from ferops.training import data

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), str(BENCHMARKS / "gpu"), *sys.path])
    before = set(sys.modules)
    import recipes

    yield recipes
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def test_changes_are_merged_but_sampling_is_replaced(recipes):
    tree = {"seed": 7, "train": {"max_lr": 0.001, "votes": 0.5, "sampling": {"a": 1}}}
    recipes.merge(tree, {"seed": 8, "train": {"votes": 0.75, "sampling": {"b": 2}}})
    assert tree == {"seed": 8, "train": {"max_lr": 0.001, "votes": 0.75, "sampling": {"b": 2}}}


def line(recipe, seed, labels):
    among = {"n": 10, "accuracy": labels, "macro_f1": labels / 2}
    none = {"n": 0, "accuracy": None, "macro_f1": None}
    photographs = {"mean_recall": None}
    return {
        "recipe": recipe,
        "seed": seed,
        "labels": among,
        "votes": none,
        "photographs": photographs,
        "core_minutes": 6.4,
    }


def test_the_table_has_mean_and_spread(recipes):
    lines = [line("one", 7, 0.6), line("one", 8, 0.7), line("other", 7, 0.5)]
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in recipes.table(lines, ["other", "one"]).splitlines()
    ]
    assert rows[0] == ["recipe", "seeds", *recipes.FIGURES]
    assert rows[2] == ["other", "7", "0.500", "0.250", "-", "-", "-", "6"]
    assert rows[3] == ["one", "7, 8", "0.650 ± 0.071", "0.325 ± 0.035", "-", "-", "-", "6 ± 0"]


def test_fewer_training_faces_are_the_same_ones_with_their_rows(recipes, tmp_path):
    project = make_project(tmp_path / "project")
    found = Layout(recipes.drawn(project.root, tmp_path, 10))
    ours, theirs = (data.read_faces(layout, "train") for layout in (found, project))
    assert len(ours) == 10
    labels = {image.tobytes(): label for image, label in zip(theirs.images, theirs.labels, strict=True)}
    assert [labels[image.tobytes()] for image in ours.images] == ours.labels.tolist()
    for split in ("val", "test"):
        assert np.array_equal(*(data.read_faces(layout, split).images for layout in (found, project)))
    assert recipes.drawn(project.root, tmp_path, 10) == found.root  # a run that was stopped goes on with it
