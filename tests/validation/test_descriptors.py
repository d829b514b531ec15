from __future__ import annotations

import numpy as np
import pytest

from ferops.datasets.images import UnreadableImageError
from ferops.validation.descriptors import BINS, LENGTH, VIEWS, describe, mirror_order
from pictures import encoded, noise


def _blocks(described: np.ndarray, view: int) -> np.ndarray:
    """The blocks of one view: (rows, columns, cell in the block, orientation)."""
    blocks = [side // cell - 1 for _, side, cell in VIEWS]
    start = sum(4 * BINS * count**2 for count in blocks[:view])
    return described[start : start + 4 * BINS * blocks[view] ** 2].reshape(blocks[view], blocks[view], 4, BINS)


def test_the_mirrored_picture_has_the_mirrored_descriptor() -> None:
    pixels = np.kron(noise(3, size_px=8), np.ones((20, 20), np.uint8))
    here = describe(encoded(pixels), max_megapixels=1)
    there = describe(encoded(pixels[:, ::-1]), max_megapixels=1)
    assert not np.allclose(here, there, atol=0.05)
    np.testing.assert_allclose(here[mirror_order()], there, atol=1e-4)


@pytest.mark.parametrize(("turned", "orientation"), [(False, 0), (True, BINS // 2)])
def test_stripes_are_seen_across_their_direction(turned: bool, orientation: int) -> None:
    stripes = np.tile((np.arange(96) // 6 % 2 * 200).astype(np.uint8), (96, 1))
    described = describe(encoded(stripes.T if turned else stripes), max_megapixels=1)
    for view in range(len(VIEWS)):
        energy = _blocks(described, view).sum(axis=(0, 1, 2))
        assert energy.argmax() == orientation
        assert energy[orientation] > 0.99 * energy.sum()


def test_the_second_view_sees_the_centre_only() -> None:
    centre = np.full((100, 100), 90, np.uint8)
    centre[30:70, 30:70] = noise(5, size_px=40)
    frame = centre.copy()
    frame[:15] = noise(6, size_px=100)[:15]
    plain, framed = (describe(encoded(image), max_megapixels=1) for image in (centre, frame))
    np.testing.assert_array_equal(_blocks(plain, 1), _blocks(framed, 1))
    assert np.abs(_blocks(plain, 0) - _blocks(framed, 0)).max() > 0.1


def test_a_descriptor_is_finite_whatever_the_picture() -> None:
    for pixels in (np.zeros((48, 48), np.uint8), noise(1, size_px=3), noise(1, size_px=400), noise(1)[:, :20]):
        described = describe(encoded(pixels), max_megapixels=1)
        assert described.shape == (LENGTH,)
        assert described.dtype == np.float32
        assert described.min() >= 0
        assert described.max() <= 1
    with pytest.raises(UnreadableImageError):
        describe(b"no picture", max_megapixels=1)
