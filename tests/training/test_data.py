from __future__ import annotations

import numpy as np
import pytest

from blobs import COLOURS, blobs, write_faces
from ferops.classes import DEFAULT_CLASSES
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
        data.read_targets(layout, "train", data.read_faces(layout, "train"), DEFAULT_CLASSES, soft=False)


def test_channel_statistics(layout):
    faces = data.read_faces(layout, "train")
    values = np.asarray(faces.images).reshape(-1, 3) / 255.0
    mean, std = data.channel_statistics(faces, chunk=7)
    assert mean == pytest.approx(values.mean(axis=0), rel=1e-9)
    assert std == pytest.approx(values.std(axis=0), rel=1e-9)


def test_colour_is_noticed_in_a_single_pixel(layout):
    assert not data.is_grey(data.read_faces(layout, "train"))
    images = np.repeat(np.arange(4 * 32 * 32, dtype=np.uint8).reshape(4, 32, 32, 1), 3, axis=3)
    labels = np.zeros(4, np.int64)
    assert data.is_grey(data.Faces(images, labels))
    images[3, 31, 31, 2] ^= 1
    assert not data.is_grey(data.Faces(images, labels))


def test_hash_sees_values_order_shape_and_type():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), dtype=np.uint8)
    one_pixel = images.copy()
    one_pixel[3, 2, 1, 0] ^= 1
    variants = [images, one_pixel, images[::-1], images.reshape(4, 27), images.view(np.int8)]
    assert len({data.content_hash(variant) for variant in variants}) == 5
    assert data.content_hash(images) == data.content_hash(images.copy())


def targets(layout, counts=None, *, split="train", soft=True):
    """Of two faces of each class in train with these votes, or one of each in val without any."""
    votes = None if counts is None else {"train": counts}
    write_faces(layout, {"train": blobs(2, seed=1), "val": blobs(1, seed=2)}, votes=votes)
    return data.read_targets(layout, split, data.read_faces(layout, split), DEFAULT_CLASSES, soft=soft)


def test_votes_become_shares_of_the_classes(layout):
    counts = np.zeros((12, 6), np.int64)
    counts[0] = [3, 0, 0, 1, 0, 4]
    counts[1] = [0, 10, 0, 0, 0, 0]
    soft, hard = (targets(layout, counts, soft=soft) for soft in (True, False))
    assert soft.dtype == np.float32
    assert soft[0] == pytest.approx([3 / 8, 0, 0, 1 / 8, 0, 4 / 8])
    assert soft[1] == pytest.approx([0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(hard, np.eye(6)[data.read_faces(layout, "train").labels])
    np.testing.assert_array_equal(soft[2:], hard[2:])  # nobody voted for one of the classes: the label counts


@pytest.mark.parametrize("split", ["val", "train"])
def test_soft_labels_without_any_votes(layout, split):
    """Of a source without votes beside one with; or of none."""
    counts = np.eye(6, dtype=np.int64)[np.arange(12) % 6] if split == "val" else None
    with pytest.raises(FeropsError, match=r"soft_labels is on, but no face has .*votes.*soft_labels: false"):
        targets(layout, counts, split=split)
