"""Trainings on some sources, judged on all: on blobs whose colours mean other classes in another source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import blobs
from ferops import config
from ferops.across import across, trainings
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.training.prepare import Training


def project(root: Path, *, sources: tuple[str, ...] = ("one", "two")) -> Layout:
    """Faces of two sources; in `two` the colours of the blobs mean the next class."""
    layout = Layout(root)
    root.mkdir(exist_ok=True)
    splits = {"train": blobs.blobs(12, seed=1), "val": blobs.blobs(4, seed=2), "test": blobs.blobs(8, seed=3)}
    own = {split: np.arange(len(labels)) % len(sources) for split, (_, labels) in splits.items()}
    changed = {split: (images, (labels + own[split]) % 6) for split, (images, labels) in splits.items()}
    blobs.write_faces(layout, changed)
    table = pd.read_parquet(layout.face_index)
    table = table[table["row"] >= 0]
    table["source"] = [sources[own[split][row]] for split, row in zip(table["split"], table["row"], strict=True)]
    table["label"] = [DEFAULT_CLASSES[label] for label in table["label_index"]]
    table["image_id"] = [f"{split}{row}" for split, row in zip(table["split"], table["row"], strict=True)]
    table = table.assign(group=table["image_id"], status="ok", searched=True)
    table.to_parquet(layout.face_index)
    layout.artifacts("split").mkdir(parents=True)
    table[["image_id", "split"]].to_parquet(layout.assignment)
    layout.data_dvc.write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n", encoding="utf-8")
    return layout


def settings(epochs: int = 1, **candidate: object) -> Params:
    tree = blobs.params_tree()
    tree["models"]["candidate"] |= {"epochs": epochs, **candidate}
    tree["evaluate"]["bootstrap_samples"] = 100
    return config.parse(tree)


def test_what_is_trained() -> None:
    assert list(trainings(("a", "b"))) == ["all", "only a", "only b"]
    found = trainings(("a", "b", "c"))
    assert found["without b"] == ("a", "c")
    assert len(found) == 7


def by_mean_colour(training: Training) -> None:
    """Learn the mean colour of each class in the middle of a face, which is quicker than a network."""

    def seen(split: str) -> np.ndarray:
        pixels = training.faces[split].images.astype(float)
        return np.asarray(pixels.max(axis=(1, 2)) + pixels.mean(axis=(1, 2)))

    labels = training.faces["train"].labels
    means = np.stack([seen("train")[labels == each].mean(axis=0) for each in range(6)])
    folder = training.layout.model(training.name)
    folder.mkdir(parents=True, exist_ok=True)
    logits = -np.linalg.norm(seen("test")[:, None] - means, axis=2)
    np.save(folder / "test_logits.npy", logits.astype(np.float32))


@pytest.mark.slow
def test_what_one_source_teaches_is_not_true_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def train(training: Training) -> None:
        trained.append(len(training.faces["train"]))
        assert len(training.faces["test"]) == 48
        by_mean_colour(training)

    monkeypatch.setattr("ferops.across.run", train)
    layout = project(tmp_path / "made")
    page = across(layout, settings())
    assert trained == [72, 36, 36]
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith(("| all", "| only"))]
    cells = {row[0]: row[2:] for row in rows}
    share = {name: [float(cell.strip("*").split()[0]) for cell in row] for name, row in cells.items()}
    assert share["only one"][0] > share["only one"][1] + 30
    assert share["only two"][1] > share["only two"][0] + 30
    assert cells["only one"][0].startswith("**")
    assert not cells["only one"][1].startswith("**")
    assert across(layout, settings()) == page
    assert len(trained) == 3  # what is done is not done again
    assert not (layout.root / "artifacts" / "train").exists()


@pytest.mark.slow
def test_a_source_without_votes_learns_from_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    votes = {}

    def train(training: Training) -> None:
        votes[training.layout.root.name] = training.identity.train["votes"]
        by_mean_colour(training)

    monkeypatch.setattr("ferops.across.run", train)
    layout = project(tmp_path / "made")
    table = pd.read_parquet(layout.face_index)
    for index, name in enumerate(DEFAULT_CLASSES):
        cast = pd.Series(np.where(table["label_index"] == index, 10, 0), index=table.index, dtype="Int64")
        table[f"votes_{name}"] = cast.mask(table["source"] == "two")
    table.to_parquet(layout.face_index)
    params = settings()
    across(layout, params.model_copy(update={"train": params.train.model_copy(update={"votes": 0.5})}))
    assert votes == {"all": 0.5, "only-one": 0.5, "only-two": 0.0}


def test_one_source_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="faces of one alone"):
        across(project(tmp_path / "made", sources=("one",)), settings())


def test_a_model_that_has_seen_the_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="has seen images"):
        across(Layout(tmp_path), settings(learns_from="starter"))
