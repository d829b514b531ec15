from __future__ import annotations

import numpy as np
import pytest

from ferops.training import data
from ferops.training.faces import Faces, channel_statistics, content_hash, is_grey


def test_channel_statistics(layout):
    faces = data.read_faces(layout, "train")
    values = np.asarray(faces.images).reshape(-1, 3) / 255.0
    mean, std = channel_statistics(faces, chunk=7)
    assert mean == pytest.approx(values.mean(axis=0), rel=1e-9)
    assert std == pytest.approx(values.std(axis=0), rel=1e-9)


def test_colour_is_noticed_in_a_single_pixel(layout):
    assert not is_grey(data.read_faces(layout, "train"))
    images = np.repeat(np.arange(4 * 32 * 32, dtype=np.uint8).reshape(4, 32, 32, 1), 3, axis=3)
    labels = np.zeros(4, np.int64)
    assert is_grey(Faces(images, labels))
    images[3, 31, 31, 2] ^= 1
    assert not is_grey(Faces(images, labels))


def test_hash_sees_values_order_shape_and_type():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), dtype=np.uint8)
    one_pixel = images.copy()
    one_pixel[3, 2, 1, 0] ^= 1
    variants = [images, one_pixel, images[::-1], images.reshape(4, 27), images.view(np.int8)]
    assert len({content_hash(variant) for variant in variants}) == 5
    assert content_hash(images) == content_hash(images.copy())
