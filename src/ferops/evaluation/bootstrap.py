"""Intervals by the cluster bootstrap.

Images of one person, or near copies of one image, are not independent samples, so whole clusters are drawn with
replacement, never rows (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
Every metric here is a function of sums over rows (confusion counts, sums of losses), so a resample costs one row
of a matrix product: weights of clusters times the sums of each cluster. All models are evaluated on the same draws,
which makes every difference between two of them a paired comparison.

Intervals are expanded percentile intervals: the quantiles are moved out as Student's t with (clusters - 1) degrees
of freedom asks, because plain percentile intervals are too narrow for few clusters (T. Hesterberg, "What Teachers
Should Know About the Bootstrap", The American Statistician 69(4), 2015, section 4.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.records.metrics import Interval

Floats = NDArray[np.float64]


class Resampler:
    """Draws of clusters, the same ones for everything that is measured.

    Args:
        clusters: `(N,)` the cluster of each row, any hashable values.
        samples: number of resamples B.
        seed: of the draws.
        level: confidence level of the intervals, 0.5-1.
    """

    def __init__(self, clusters: Sequence[Any], *, samples: int, seed: int, level: float) -> None:
        import pandas as pd

        self.codes = pd.factorize(np.asarray(clusters))[0]
        self.count = int(self.codes.max(initial=-1)) + 1
        self.level = level
        self.seed = seed
        rng = np.random.default_rng(seed)
        # Row 0 is the sample itself, each cluster once; then B resamples. uint16 keeps 60,000 clusters in memory.
        self.weights = np.ones((samples + 1, self.count), dtype=np.uint16)
        for row in range(1, samples + 1):
            drawn = rng.integers(self.count, size=self.count)
            self.weights[row] = np.bincount(drawn, minlength=self.count)

    def totals(self, features: Floats, rows: NDArray[np.intp]) -> Floats:
        """Return `(1 + B, F)`: the sums of `features` `(M, F)` over the sample (row 0) and over each resample.

        `rows` `(M,)` says which of the N rows the features belong to.
        """
        from scipy import sparse

        used, local = np.unique(self.codes[rows], return_inverse=True)
        shape = (len(used), len(rows))
        indicator = sparse.csr_array((np.ones(len(rows)), (local, np.arange(len(rows)))), shape=shape)
        per_cluster = np.asarray(indicator @ features)  # (clusters used, F)
        chunks = np.array_split(self.weights, max(1, len(self.weights) // 128))  # bounds the float64 copies
        return np.concatenate([chunk[:, used].astype(np.float64) @ per_cluster for chunk in chunks])

    def clusters_in(self, rows: NDArray[np.intp]) -> int:
        """Return how many clusters the rows come from."""
        return len(np.unique(self.codes[rows]))

    def interval(
        self,
        values: Floats,
        *,
        clusters: int,
        share: bool = True,
        correct_bias: bool = False,
        reason: str = "nothing to measure",
    ) -> Interval:
        """Return the interval of a metric from its values `(1 + B,)`, the sample's first; NaN is undefined.

        Args:
            clusters: how many clusters the metric was measured on.
            share: the metric lies in 0-1 and is best or worst at its ends. A bootstrap that only ever saw a perfect
                (or hopeless) result has no spread, which is no certainty: the open end is then that of the exact
                binomial interval with the clusters as trials.
            correct_bias: use the basic interval, reflected about the value, for metrics that resampling inflates.
            reason: what to say where the metric is undefined.
        """
        value, resampled = float(values[0]), values[1:][np.isfinite(values[1:])]
        if not math.isfinite(value):
            return Interval(value=None, low=None, high=None, reason=reason)
        if clusters < 2:
            return Interval(value=value, low=None, high=None, reason="one cluster has no spread")
        if len(resampled) < len(values[1:]) // 2:
            return Interval(value=value, low=None, high=None, reason="undefined in most resamples")
        if share and value in (0.0, 1.0) and np.ptp(resampled) == 0:
            open_end = ((1 - self.level) / 2) ** (1 / clusters)
            return Interval(value=value, low=value * open_end, high=1 - (1 - value) * open_end)
        low, high = np.quantile(resampled, self._quantiles(clusters))
        if correct_bias:
            low, high = max(0.0, 2 * value - high), max(0.0, 2 * value - low)
        return Interval(value=value, low=float(low), high=float(high))

    def _quantiles(self, clusters: int) -> tuple[float, float]:
        from scipy import stats

        t = stats.t.ppf((1 - self.level) / 2, df=clusters - 1)
        tail = float(stats.norm.cdf(t * math.sqrt(clusters / (clusters - 1))))
        return tail, 1 - tail
