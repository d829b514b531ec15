"""Calibrated probabilities: logits divided by one fitted number, the temperature (`ferops.export.temperature`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return softmax(logits / temperature): float32 `(N, K)`, rows sum to 1, columns as in `logits`."""
    wide = logits.astype(np.float64) / temperature
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))  # NumPy's: the service needs no SciPy
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)
