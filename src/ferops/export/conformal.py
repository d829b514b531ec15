"""Sets of classes that hold the label with a wanted probability: split conformal prediction.

A class is in the set if its probability reaches a threshold that was chosen on faces with known labels (M. Sadinle,
J. Lei and L. Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 114(525), 2019; the
finite-sample quantile as in A. Angelopoulos and S. Bates, "Conformal prediction: a gentle introduction", 2023,
section 1). The likeliest class is always in it, so no set is empty.

The promise holds on average over faces that are exchangeable with those of the choice: not for each class, nor for
faces of another kind.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def set_threshold(probabilities: NDArray[np.float32], labels: NDArray[np.int64], coverage: float) -> float:
    """Return the probability from which on a class is in the set.

    Args:
        probabilities: `(N, K)`, calibrated, as they are served.
        labels: class indices `(N,)`.
        coverage: wanted share of sets that hold the label, between 0 and 1.

    Returns:
        The threshold; 0, so that every set holds all classes, where there are too few faces to promise less.
    """
    true = np.sort(probabilities[np.arange(len(labels)), labels])
    # The ceil((N + 1) * coverage)-th smallest 1 - p is the largest p of that rank. 1e-9: rounding
    rank = math.ceil((len(true) + 1) * coverage - 1e-9)
    return float(true[-rank]) if rank <= len(true) else 0.0


def label_sets(probabilities: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Return which classes are in the sets, `(N, K)` as `probabilities`."""
    inside: NDArray[np.bool_] = probabilities >= threshold
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside
