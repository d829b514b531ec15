"""Test-time augmentation: several views of a face, and the mean of the answers to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.config import Tta

_SIDES: dict[Tta, tuple[float, ...]] = {"off": (1.0,), "flip": (1.0,), "flip_zoom": (1.0, 0.9)}
"""What is shown, as shares of the face's side, chosen on validation (docs/results.md); each as it is, then mirrored."""


def views(faces: NDArray[np.uint8], tta: Tta) -> Iterator[NDArray[np.uint8]]:
    """Yield views of uint8 faces `(N, S, S, 3)`, each of the same shape; the faces themselves come first."""
    for side in _SIDES[tta]:
        shown = faces if side == 1.0 else _zoom(faces, side)
        yield shown
        if tta != "off":
            yield shown[:, :, ::-1]


def count(tta: Tta) -> int:
    """Return the number of views."""
    return len(_SIDES[tta]) * (1 if tta == "off" else 2)


def pooled(
    logits_of: Callable[[NDArray[np.uint8]], NDArray[np.float32]], faces: NDArray[np.uint8], tta: Tta
) -> NDArray[np.float32]:
    """Return the logarithm of the mean over the views of softmax(`logits_of`(view)): float32 `(N, K)`.

    Its softmax is that mean, so it is used like logits: one temperature calibrates the mean (Rahaman & Thiery 2021,
    "Uncertainty quantification and deep ensembles": pool first). Without augmentation these are the logits themselves.
    """
    if tta == "off":
        return logits_of(faces)
    return log_mean(logits_of(view) for view in views(faces, tta))


def log_mean(logits: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the logarithm of the mean of softmax(each of `logits`), which are of one shape `(N, K)`."""
    wide = [each.astype(np.float64) for each in logits]
    logs = [each - np.logaddexp.reduce(each, axis=1, keepdims=True) for each in wide]
    mean: NDArray[np.float64] = np.logaddexp.reduce(logs) - np.log(len(logs))
    return mean.astype(np.float32)


def _zoom(faces: NDArray[np.uint8], side: float) -> NDArray[np.uint8]:
    """Show the middle of each face, `side` of its side, at the same size."""
    size = faces.shape[1]
    shift = (1.0 - 1.0 / side) * (size - 1) / 2  # OpenCV counts from pixel centres
    matrix = np.array([[1.0 / side, 0.0, shift], [0.0, 1.0 / side, shift]])
    shown = [cv2.warpAffine(face, matrix, (size, size)) for face in faces]
    return np.stack(shown).astype(np.uint8, copy=False) if shown else faces
