from __future__ import annotations

import numpy as np
import pytest

from ferops.training import data
from ferops.training.faces import Faces, channel_statistics, class_weights, content_hash, is_grey, learnt_shares


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


def test_inverse_frequency_of_the_reference_mix():
    counts = [4160, 642, 4204, 7453, 4945, 3450]
    weights = class_weights(np.repeat(np.arange(6), counts), 6)
    assert weights[1] == pytest.approx(6.45, abs=0.005)
    assert weights[3] == pytest.approx(0.556, abs=0.0005)
    assert np.average(weights, weights=counts) == pytest.approx(1.0)


COUNTS = np.array([4160, 642, 4204, 7453, 4945, 3450])
MIX = np.repeat(np.arange(6), COUNTS)


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999])
def test_effective_number_is_the_paper_s_up_to_scale(beta):
    """(1 - beta) / (1 - beta^n), Cui et al. 2019, eq. 2; the sum of a geometric series is 1 over it."""
    weights = class_weights(MIX, 6, beta=beta)
    series = np.array([np.sum(beta ** np.arange(count)) for count in COUNTS])
    ratio = weights * series
    assert ratio == pytest.approx(np.full(6, ratio[0]), rel=1e-9)
    assert np.average(weights, weights=COUNTS) == pytest.approx(1.0)


def test_effective_number_between_its_limits():
    assert class_weights(MIX, 6, beta=1e-6) == pytest.approx(np.ones(6), rel=1e-5)
    assert class_weights(MIX, 6, beta=1 - 1e-9) == pytest.approx(class_weights(MIX, 6), rel=1e-4)
    spread = [np.ptp(class_weights(MIX, 6, beta=beta)) for beta in (0.9, 0.999, 0.9999, 0.99999)]
    assert spread == sorted(spread)


def test_class_weights_undo_the_frequencies() -> None:
    assert assumed(class_weights="none") == pytest.approx([0.75, 0.25])
    assert assumed(class_weights="inverse") == pytest.approx([0.5, 0.5])
    # (1 - 0.9^n) is the effective number: 0.9576 and 0.6513
    shares = assumed(class_weights="effective", effective_beta=0.9)
    assert shares[0] / shares[1] == pytest.approx(3 * 0.651322 / 0.957609, rel=1e-4)


@pytest.mark.parametrize("source", ["wild", "others"])
@pytest.mark.parametrize(
    ("balance", "adjust", "shares"),
    [(0.0, 0.0, [3, 1]), (1.0, 0.0, [1, 1]), (0.5, 0.0, [3**0.5, 1]), (0.0, 1.0, [1, 1]), (0.0, 0.5, [3**0.5, 1])],
)
def test_faces_count_as_they_are_drawn(source, balance, adjust, shares) -> None:
    sampling = {source: {"weight": 2.0, "balance": balance, "adjust": adjust}}
    wanted = np.array(shares) / np.sum(shares)
    assert assumed(class_weights="none", sampling=sampling) == pytest.approx(wanted, rel=1e-6)


def assumed(**train):
    return learnt_shares(np.repeat([0, 1], [30, 10]), np.repeat("wild", 40), 2, train)
