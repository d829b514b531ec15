from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from blobs import COLOURS, blobs, write_faces
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Sampling
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.training import data


def test_labels_follow_the_rows_of_the_array(layout):
    faces = data.read_faces(layout, "train")
    assert len(faces) == 96
    assert faces.size_px == 32
    for image, label in zip(faces.images, faces.labels, strict=True):
        hits = [(image == colour.astype(np.uint8)).all(axis=2).sum() for colour in COLOURS]
        assert np.argmax(hits) == label


def test_faces_that_were_not_found_are_left_out(layout):
    images, _ = blobs(16, seed=1)
    assert np.array_equal(data.read_faces(layout, "train").images, images)


def test_nothing_there(tmp_path):
    with pytest.raises(FeropsError, match="dvc repro preprocess"):
        data.read_faces(Layout(tmp_path), "val")


def test_an_empty_split(layout):
    empty = (np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0, np.int64))
    write_faces(layout, {"train": blobs(2, seed=1), "val": empty})
    with pytest.raises(FeropsError, match="the val split has no faces"):
        data.read_faces(layout, "val")


def test_array_and_table_of_different_runs(layout):
    np.save(layout.faces("val"), blobs(4, seed=9)[0])
    with pytest.raises(FeropsError, match=r"24 faces.*lists 30"):
        data.read_faces(layout, "val")


def test_a_class_without_faces(layout):
    images, labels = blobs(4, seed=1)
    write_faces(layout, {"train": (images[labels != 1], labels[labels != 1])})
    with pytest.raises(FeropsError, match="no face labelled disgust"):
        data.read_targets(layout, "train", data.read_faces(layout, "train"), DEFAULT_CLASSES, votes=0.0)


def targets(layout, counts=None, *, split="train", share=1.0):
    """Of two faces of each class in train with these votes, or one of each in val without any."""
    votes = None if counts is None else {"train": counts}
    write_faces(layout, {"train": blobs(2, seed=1), "val": blobs(1, seed=2)}, votes=votes)
    return data.read_targets(layout, split, data.read_faces(layout, split), DEFAULT_CLASSES, votes=share)


def test_votes_become_shares_of_the_classes(layout):
    counts = np.zeros((12, 6), np.int64)
    counts[0] = [3, 0, 0, 1, 0, 4]
    counts[1] = [0, 10, 0, 0, 0, 0]
    soft, mixed, hard = (targets(layout, counts, share=share) for share in (1.0, 0.75, 0.0))
    assert soft.dtype == np.float32
    assert soft[0] == pytest.approx([3 / 8, 0, 0, 1 / 8, 0, 4 / 8])
    assert soft[1] == pytest.approx([0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(hard, np.eye(6)[data.read_faces(layout, "train").labels])
    np.testing.assert_allclose(mixed, 0.75 * soft + 0.25 * hard, rtol=1e-6)
    np.testing.assert_array_equal(soft[2:], hard[2:])  # nobody voted for one of the classes: the label counts


@pytest.mark.parametrize("split", ["val", "train"])
def test_votes_are_wanted_and_there_are_none(layout, split):
    """Of a source without votes beside one with; or of none."""
    counts = np.eye(6, dtype=np.int64)[np.arange(12) % 6] if split == "val" else None
    with pytest.raises(FeropsError, match=r"train\.votes is 1, but no face has .*votes.*votes: 0\.0"):
        targets(layout, counts, split=split)


def with_sources(layout, sources):
    """Name the sources of the training faces, in their order."""
    table = pd.read_parquet(layout.face_index).reset_index(drop=True)
    table["source"] = "other"
    rows = table[(table["split"] == "train") & (table["row"] >= 0)].sort_values("row").index
    table.loc[rows, "source"] = sources
    table.to_parquet(layout.face_index)
    return data.read_faces(layout, "train")


def test_faces_are_drawn_by_source_and_class(layout):
    write_faces(layout, {"train": blobs(4, seed=1)})
    faces = with_sources(layout, ["wild"] * 12 + ["fer2013"] * 12)
    sampling = {"wild": Sampling(weight=1.5, balance=0.5)}
    targets = np.eye(6, dtype=np.float32)[faces.labels]
    weights, offsets = data.read_sampling(layout, "train", faces, targets, sampling)
    np.testing.assert_array_equal(weights[12:], 1.0)
    shares = np.bincount(faces.labels[:12], minlength=6) / 12
    np.testing.assert_allclose(weights[:12], 1.5 / np.sqrt(shares[faces.labels[:12]]))
    assert offsets is None
    assert data.read_sampling(layout, "train", faces, targets, {}) == (None, None)


def test_others_are_the_sources_that_are_not_named(layout):
    write_faces(layout, {"train": blobs(4, seed=1)})
    faces = with_sources(layout, ["wild"] * 8 + ["fer2013"] * 8 + ["ckplus"] * 8)
    targets = np.eye(6, dtype=np.float32)[faces.labels]
    rest, own = Sampling(weight=2.0, balance=0.5, adjust=1.0), Sampling(weight=1.0, balance=0.0)
    by_name = {"wild": rest, "ckplus": rest, "fer2013": own}
    for one, other in zip(
        data.read_sampling(layout, "train", faces, targets, {"others": rest, "fer2013": own}),
        data.read_sampling(layout, "train", faces, targets, by_name),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_logits_are_adjusted_in_the_source_that_asks_for_it(layout):
    write_faces(layout, {"train": blobs(4, seed=1)})
    faces = with_sources(layout, ["wild"] * 12 + ["fer2013"] * 12)
    targets = np.eye(6, dtype=np.float32)[faces.labels]
    sampling = {"wild": Sampling(weight=1.0, balance=0.0, adjust=1.0)}
    _, offsets = data.read_sampling(layout, "train", faces, targets, sampling)
    shares = np.bincount(faces.labels[:12], minlength=6) / 12
    np.testing.assert_allclose(offsets[:12], np.tile(np.log(np.maximum(shares, 0.5 / 12)), (12, 1)), rtol=1e-5)
    np.testing.assert_array_equal(offsets[12:], 0.0)


def test_a_source_without_faces_cannot_be_drawn(layout):
    write_faces(layout, {"train": blobs(4, seed=1)})
    faces = with_sources(layout, ["wild"] * 24)
    targets = np.eye(6, dtype=np.float32)[faces.labels]
    with pytest.raises(FeropsError, match=r"names fer, of which the train split has no face; it has wild\."):
        data.read_sampling(layout, "train", faces, targets, {"fer": Sampling(weight=1.0, balance=0.0)})
