from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from ferops.export.views import count, pooled, views

FACES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(("tta", "expected"), [("off", 1), ("flip", 2), ("flip_zoom", 4)])
def test_the_face_itself_comes_first_and_every_view_has_its_mirror_image(tta, expected) -> None:
    found = list(views(FACES, tta))
    assert len(found) == count(tta) == expected
    assert all(view.shape == FACES.shape and view.dtype == np.uint8 for view in found)
    np.testing.assert_array_equal(found[0], FACES)
    for plain, mirrored in zip(found[::2], found[1::2], strict=tta != "off"):
        np.testing.assert_array_equal(mirrored, np.flip(plain, axis=2))


def test_a_zoom_shows_the_middle_of_the_face() -> None:
    """On a slope of 5 grey levels a pixel, a view of 0.9 of the side has one of 4.5, around the same middle."""
    slope = np.broadcast_to(np.arange(10, 170, 5)[None, None, :, None], (1, 32, 32, 3)).astype(np.uint8)
    _, _, nearer, _ = views(slope, "flip_zoom")
    middle, offsets = 10 + 5 * 15.5, np.arange(32) - 15.5
    np.testing.assert_allclose(nearer[0, 7, :, 1], middle + 4.5 * offsets, atol=0.6)


def by_colour(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits that a mirror image changes: the sums of four columns at the left, of four at the right, and zero."""
    wide = faces.astype(np.float32) / 255
    sums = [wide[:, :, :4].sum(axis=(1, 2, 3)), wide[:, :, -4:].sum(axis=(1, 2, 3)), np.zeros(len(faces))]
    return np.stack(sums, axis=1).astype(np.float32) / 20


@pytest.mark.parametrize("tta", ["flip", "flip_zoom"])
def test_the_softmax_is_the_mean_of_the_probabilities(tta) -> None:
    expected = np.mean([softmax(by_colour(view).astype(np.float64), axis=1) for view in views(FACES, tta)], axis=0)
    np.testing.assert_allclose(softmax(pooled(by_colour, FACES, tta), axis=1), expected, atol=1e-6)
    assert np.abs(expected - softmax(by_colour(FACES), axis=1)).max() > 1e-3


def test_without_augmentation_the_logits_stay_as_they_are() -> None:
    np.testing.assert_array_equal(pooled(by_colour, FACES, "off"), by_colour(FACES))


def test_huge_logits_stay_finite_and_no_face_is_no_error() -> None:
    sure = pooled(lambda faces: np.tile(np.float32([1000, 0, -1000]), (len(faces), 1)), FACES, "flip")
    np.testing.assert_allclose(sure, np.tile([0, -1000, -2000], (3, 1)), atol=1e-3)
    assert pooled(by_colour, FACES[:0], "flip_zoom").shape == (0, 3)
