from __future__ import annotations

import numpy as np
import pytest

from ferops.validation.descriptors import BINS, LENGTH, VIEW_BYTES, VIEWS, describe, image_views, mirror_order
from sample_images import noise


def _blocks(described: np.ndarray, view: int) -> np.ndarray:
    """The blocks of one view: (rows, columns, cell in the block, orientation)."""
    blocks = [side // cell - 1 for _, side, cell in VIEWS]
    start = sum(4 * BINS * count**2 for count in blocks[:view])
    return described[start : start + 4 * BINS * blocks[view] ** 2].reshape(blocks[view], blocks[view], 4, BINS)


def test_the_mirrored_image_has_the_mirrored_descriptor() -> None:
    pixels = np.kron(noise(3, size_px=8), np.ones((20, 20), np.uint8))
    here = describe(image_views(pixels))
    there = describe(image_views(pixels[:, ::-1]))
    assert not np.allclose(here, there, atol=0.05)
    np.testing.assert_allclose(here[mirror_order()], there, atol=1e-4)


@pytest.mark.parametrize(("turned", "orientation"), [(False, 0), (True, BINS // 2)])
def test_stripes_are_seen_across_their_direction(turned: bool, orientation: int) -> None:
    stripes = np.tile((np.arange(96) // 6 % 2 * 200).astype(np.uint8), (96, 1))
    described = describe(image_views(stripes.T if turned else stripes))
    for view in range(len(VIEWS)):
        energy = _blocks(described, view).sum(axis=(0, 1, 2))
        assert energy.argmax() == orientation
        assert energy[orientation] > 0.99 * energy.sum()


def test_the_second_view_sees_the_centre_only() -> None:
    centre = np.full((100, 100), 90, np.uint8)
    centre[30:70, 30:70] = noise(5, size_px=40)
    frame = centre.copy()
    frame[:15] = noise(6, size_px=100)[:15]
    plain, framed = (describe(image_views(image)) for image in (centre, frame))
    np.testing.assert_array_equal(_blocks(plain, 1), _blocks(framed, 1))
    assert np.abs(_blocks(plain, 0) - _blocks(framed, 0)).max() > 0.1


def test_a_descriptor_is_finite_whatever_the_image() -> None:
    for pixels in (np.zeros((48, 48), np.uint8), noise(1, size_px=3), noise(1, size_px=400), noise(1)[:, :20]):
        described = describe(image_views(pixels))
        assert image_views(pixels).shape == (VIEW_BYTES,)
        assert described.shape == (LENGTH,)
        assert described.dtype == np.float32
        assert described.min() >= 0
        assert described.max() <= 1
