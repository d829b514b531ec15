"""Whether sets of classes hold the label as often as they promise (`ferops.export.conformal`)."""

from __future__ import annotations

import numpy as np

from ferops.evaluation import metrics
from ferops.evaluation.bootstrap import Floats
from ferops.evaluation.performance import TestSet
from ferops.export.conformal import label_sets
from ferops.records.metrics import LabelSets


def measure_sets(test: TestSet, probabilities: Floats, *, threshold: float, wanted: float) -> LabelSets:
    """Return coverage and size of the sets at `threshold`, for probabilities `(N, K)`."""
    inside = label_sets(probabilities, threshold)
    covered = inside[np.arange(len(inside)), test.labels].astype(np.float64)
    size = inside.sum(axis=1)
    label = metrics.one_hot(test.labels, len(test.classes))
    features = np.concatenate([covered[:, None] * label, label, size[:, None]], axis=1)
    totals = test.resampler.totals(features, test.rows)
    k = len(test.classes)
    hits, n, sizes = totals[:, :k], totals[:, k : 2 * k], totals[:, 2 * k]
    interval = test.resampler.interval
    return LabelSets(
        wanted=wanted,
        threshold=threshold,
        coverage=interval(metrics.ratio(hits.sum(axis=1), n.sum(axis=1)), clusters=test.clusters),
        mean_size=interval(metrics.ratio(sizes, n.sum(axis=1)), clusters=test.clusters, share=False),
        sizes=tuple(np.bincount(size, minlength=k + 1)[1:].tolist()),
        by_class={
            name: interval(
                metrics.ratio(hits[:, index], n[:, index]),
                clusters=test.resampler.clusters_in(test.rows[test.labels == index]),
                reason="the class does not occur",
            )
            for index, name in enumerate(test.classes)
        },
    )
