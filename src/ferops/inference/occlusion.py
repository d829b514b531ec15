"""What in a face spoke for its label, asked of the model that answers: parts of the face are blurred in turn.

Occlusion sensitivity after Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks". It needs
answers alone: no gradients, no second graph, so it holds for the quantised file that is served, for any network and for
test-time augmentation. Blurred, not grey: a grey square is an expression of its own to some networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

METHOD = "occlusion"

POSITIONS = 7
"""A side; so an explanation takes 1 + 7 x 7 passes. With 9 x 9 the maps were no truer (docs/serving.md)."""
PATCH = 1 / 4
"""Of the face's side: an eye with its brow, or half a mouth."""
BLUR = 1 / 12
"""The blur's sigma, of the face's side: a mouth becomes a shade (as in ferops.explanation.deletion)."""

_LEAST = 1e-7
"""Probabilities below it are rounding."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Heat:
    """What in a face spoke for its label.

    Attributes:
        values: float32 `(S, S)` over the face's aligned crop, 0 to 1, 1 where most did; all 0 where nothing did.
        fall: by how much the label's probability fell where it fell most, 0-1. If that is little, no part decided
            alone, and the map shows small differences.
    """

    values: NDArray[np.float32]
    fall: float


def heat_of(classify: Callable[[NDArray[np.uint8]], NDArray[np.float32]], face: NDArray[np.uint8], label: int) -> Heat:
    """Return what in `face`, uint8 `(S, S, 3)`, speaks for the class `label`.

    A position counts by how much the log-odds of the class fall while the patch around it is blurred: unlike the
    probability, they fall visibly where the model is sure.

    Args:
        classify: probabilities float32 `(N, K)` of faces `(N, S, S, 3)`.
    """
    strips = _strips(len(face))
    masks = (strips[:, None, :, None] * strips[None, :, None, :]).reshape(-1, *face.shape[:2], 1)
    blurred = cv2.GaussianBlur(face, (0, 0), BLUR * len(face)).astype(np.float32)
    hidden = (face + masks * (blurred - face)).round().astype(np.uint8)
    probabilities = classify(np.concatenate([face[None], hidden])).astype(np.float64)
    odds = _log_odds(probabilities, label)
    falls = (odds[0] - odds[1:]).reshape(POSITIONS, POSITIONS)
    # A pixel's fall is the mean of the patches that hid it
    heat = np.maximum(strips.T @ falls @ strips, 0) / np.outer(strips.sum(axis=0), strips.sum(axis=0))
    deepest = float(probabilities[0, label] - probabilities[1:, label].min())
    return Heat((heat / max(float(heat.max()), _LEAST)).astype(np.float32), fall=max(deepest, 0.0))


def _strips(size_px: int) -> NDArray[np.float32]:
    """Return `(POSITIONS, size_px)`: how much each pixel of a row belongs to each patch, 0-1, with soft edges."""
    middle = (np.arange(POSITIONS) + 0.5) * size_px / POSITIONS
    away = np.abs(np.arange(size_px) + 0.5 - middle[:, None])
    soft = size_px / 48
    return np.clip((PATCH * size_px / 2 + soft - away) / (2 * soft), 0, 1).astype(np.float32)


def _log_odds(probabilities: NDArray[np.float64], label: int) -> NDArray[np.float64]:
    others = np.delete(probabilities, label, axis=1).sum(axis=1)
    odds: NDArray[np.float64] = np.log(np.maximum(probabilities[:, label], _LEAST)) - np.log(np.maximum(others, _LEAST))
    return odds
