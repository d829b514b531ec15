"""The few smooth functions that the whole face is made of; all arguments and results are in head units or 0-1."""

from __future__ import annotations

import numpy as np

from ferops.datasets.synthetic.shape import Array


def bump(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:  # noqa: PLR0917 (a formula)
    """Gaussian hill of height 1."""
    return np.asarray(
        np.exp(-(((x - np.float32(cx)) / np.float32(sx)) ** 2) - ((y - np.float32(cy)) / np.float32(sy)) ** 2)
    )


def step(x: Array, low: Array | float, high: Array | float) -> Array:
    """Smoothstep from 0 at `low` to 1 at `high` (which may be the smaller one)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def ridge(distance: Array, width: float) -> Array:
    """Soft line of height 1 along distance = 0."""
    return np.asarray(np.exp(-((distance / np.float32(width)) ** 2)), np.float32)


def sides(x: Array, pair: tuple[float, float]) -> Array:
    """Left value on the left of the face, right value on the right, blended across the middle."""
    return np.asarray(pair[0] + (pair[1] - pair[0]) * step(x, -0.08, 0.08), np.float32)
