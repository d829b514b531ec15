"""Probabilities smoothed over time, so that a label does not flicker from frame to frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


class Smoother:
    """The mean of one face's probabilities so far, in which an answer that is `window_s` seconds old counts 1/e.

    Answers are weighed by their age, not by their number, so that irregular times and gaps come out right: after a gap
    of several windows the new answer stands alone. With regular frames it is the usual exponential smoothing, without
    its bias towards the first answer. Sums of 1 stay sums of 1.

    Args:
        window_s: seconds; 0 does not smooth.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._total: NDArray[np.float64] | None = None
        self._weight, self._at_s = 0.0, 0.0

    def add(self, probabilities: NDArray[np.float32], time_s: float) -> NDArray[np.float32]:
        """Take in an answer `(K,)` and return the mean, float32 `(K,)`; times must not fall."""
        if self._window_s == 0:
            return probabilities
        fade = math.exp(-(time_s - self._at_s) / self._window_s) if self._total is not None else 0.0
        before = self._total if self._total is not None else np.zeros(len(probabilities))
        self._total = fade * before + probabilities
        self._weight = fade * self._weight + 1
        self._at_s = time_s
        return (self._total / self._weight).astype(np.float32)
