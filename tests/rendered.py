"""Rendered faces with known landmarks, for the tests of the detectors."""

from __future__ import annotations

from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows

Image = NDArray[np.uint8]
MIRRORED = [1, 0, 2, 4, 3]
"""Where the landmarks of a mirror image stand in those of the image."""


@cache
def portraits() -> list[tuple[Image, NDArray[np.float64]]]:
    """Return six images with their true landmarks `(5, 2)`."""
    good = islice(rows(seed=11, identities=2, images_per_expression=1), 6)
    return [(decode(row["image"]), np.reshape(row["truth_landmarks"], (5, 2))) for row in good]


def off_by(landmarks: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Return the mean distance in eye distances."""
    return float(np.hypot(*(landmarks - truth).T).mean() / np.hypot(*(truth[1] - truth[0])))


def framed_portraits() -> list[Image]:
    """Return the portraits with a black border of 40 px."""
    return [np.pad(image, ((40, 40), (40, 40), (0, 0))) for image, _ in portraits()]


def network_inputs() -> dict[str, NDArray[np.uint8]]:
    """Return random images `(N, H, W, 3)` for each of MTCNN's networks."""
    rng = np.random.default_rng(2)
    shapes = {"pnet": (2, 31, 40, 3), "rnet": (3, 24, 24, 3), "onet": (3, 48, 48, 3)}
    return {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in shapes.items()}
