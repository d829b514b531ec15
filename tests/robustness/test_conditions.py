"""Faces get worse, the more so the higher the severity, and cover what they say."""

from __future__ import annotations

import numpy as np
import pytest

from ferops.faces.align import TEMPLATE
from ferops.robustness.conditions import everything, worsened
from ferops.robustness.corruptions import CORRUPTIONS, SEVERITIES

CONDITIONS = everything(0.1)


def face(size_px: int) -> np.ndarray:
    """Smooth shades with some detail, in colour."""
    rows, columns = np.mgrid[0:size_px, 0:size_px] / size_px
    waves = np.stack([np.sin(9 * rows), np.cos(11 * columns), np.sin(20 * rows * columns)], axis=2)
    return np.asarray(np.rint(128 + 70 * waves), np.uint8)


def distance(name: str, severity: int, *, size_px: int = 64) -> float:
    """How far the face is from what it was, on average of four draws."""
    clean = face(size_px)
    draws = [worsened(clean, CONDITIONS[name], severity, np.random.default_rng(seed)) for seed in range(4)]
    assert all(each.shape == clean.shape and each.dtype == np.uint8 for each in draws)
    return float(np.mean([np.abs(each.astype(float) - clean).mean() for each in draws]))


def test_the_paper_has_fifteen_corruptions() -> None:
    assert len(CORRUPTIONS) == 15
    assert len(CONDITIONS) == 23


@pytest.mark.parametrize("name", CONDITIONS)
def test_it_gets_worse(name: str) -> None:
    first, last = distance(name, 0), distance(name, SEVERITIES - 1)
    if name in ("elastic_transform", "pixelate"):  # the paper's go from tilted to wavy, and from uneven to even blocks
        first = 0.0
    assert last > first + 0.3
    assert distance(name, 2, size_px=32) > 0
    assert distance(name, 2, size_px=97) > 0


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_same_draw_gives_the_same_face(name: str) -> None:
    one, two = (worsened(face(48), CONDITIONS[name], 3, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("name", "covered", "free"), [("mask", (3, 4), (0, 1)), ("sunglasses", (0, 1), (3, 4)), ("hand", (3,), (0, 1))]
)
def test_a_cover_lies_over_what_it_says(name: str, covered: tuple[int, ...], free: tuple[int, ...]) -> None:
    clean = np.full((80, 80, 3), 128, np.uint8)
    changed = (worsened(clean, CONDITIONS[name], 4, np.random.default_rng(1)) != clean).any(axis=2)
    places = np.rint((0.1 + 0.8 * TEMPLATE) * 80).astype(int)
    for landmark in covered:
        x, y = places[landmark]
        assert changed[y - 3 : y + 4, x - 3 : x + 4].any()
    for landmark in free:
        x, y = places[landmark]
        assert not changed[y - 2 : y + 3, x - 2 : x + 3].any()
