"""Accuracy of the served model: estimated without labels, and realized where labels have come.

Without labels it is the mean probability that the answers are right, as in confidence-based performance estimation
(CBPE; NannyML's documentation, "Estimating the performance of classification models"; Garg et al., "Leveraging
Unlabeled Data to Predict Out-of-Distribution Performance", ICLR 2022, call it average confidence). The probabilities
are calibrated once more on the reference, by isotonic regression as in NannyML. It sees a shift of the inputs; not one
of what a label means (concept drift), and too little where the model is surer than it may be on the new inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.records.metrics import Interval

LEVEL = 0.95


class Estimator:
    """Estimates accuracy without labels.

    Args:
        reference: with labels (`right`), on which confidences are calibrated; without them confidences are believed.
    """

    def __init__(self, reference: pd.DataFrame) -> None:
        self._calibrate: Callable[[Any], Any] = np.asarray
        self._faces = math.inf
        if "right" in reference:
            from sklearn.isotonic import IsotonicRegression

            faces = reference[reference["answer"].notna()]
            fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
            self._calibrate = fitted.fit(faces["confidence"], faces["right"]).predict
            self._faces = len(faces)

    def accuracy(self, confidence: pd.Series[float]) -> Interval:
        """Return the estimated accuracy of answers with these confidences, 0-1.

        The 95 % interval is what chance adds, for so many answers and so many in the reference; not what a shift does.
        """
        if len(confidence) == 0:
            return Interval(value=None, low=None, high=None, reason="no image has a face")
        right = np.asarray(self._calibrate(confidence.to_numpy(np.float64)), np.float64)
        mean = float(right.mean())
        error = 1.96 * math.sqrt(float((right * (1 - right)).mean()) * (1 / len(right) + 1 / self._faces))
        return Interval(value=mean, low=max(mean - error, 0.0), high=min(mean + error, 1.0))


def realized(right: NDArray[np.bool_]) -> Interval | None:
    """Return the share of right answers with Wilson's interval; None without any."""
    if len(right) == 0:
        return None
    from scipy.stats import binomtest

    share = binomtest(int(right.sum()), len(right)).proportion_ci(LEVEL, method="wilson")
    return Interval(value=float(right.mean()), low=float(share.low), high=float(share.high))
