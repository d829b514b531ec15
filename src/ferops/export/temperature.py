"""Temperature scaling: confidence calibration by one number (Guo et al. 2017, "On calibration of modern neural
networks")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

BOUNDS = (0.1, 10.0)
"""The range of temperatures. Without the lower bound, a validation split without errors would give zero."""


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.str_]) -> float:
    """Return the temperature within BOUNDS that minimises the mean negative log-likelihood, each source counting alike.

    A few photographs beside many thumbnails with noisy labels would otherwise get the thumbnails' low confidence. The
    temperature changes no predicted class. Fit it on faces the weights were not trained on.

    Args:
        logits: float `(N, K)`, N at least 1.
        labels: class indices `(N,)`, 0 to K - 1.
        sources: names `(N,)`.
    """
    wide = logits.astype(np.float64)
    rows = np.arange(len(labels))
    _, source, counts = np.unique(sources, return_inverse=True, return_counts=True)
    weights = 1.0 / (len(counts) * counts[source])

    def loss(log_temperature: float) -> float:
        return float(-weights @ log_softmax(wide / np.exp(log_temperature), axis=1)[rows, labels])

    found = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))
