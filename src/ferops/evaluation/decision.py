"""Answers by expected cost: what errors cost, and how frequent the classes are in the place of use.

A face's calibrated probabilities are moved to other class frequencies (M. Saerens, P. Latinne and C. Decaestecker,
"Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation 14(1), 2002, eq. 2.4), and the
answer is then the one with the lowest expected cost. The cost of both kinds of answers is measured per class and
weighted with the same frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ferops.config import Evaluate
from ferops.evaluation import metrics
from ferops.evaluation.bootstrap import Floats
from ferops.evaluation.performance import TestSet
from ferops.records.metrics import Decision, Interval


def decision(test: TestSet, probabilities: Floats, settings: Evaluate, *, learnt: Floats) -> Decision:
    """Return what answers of the candidate cost by `evaluate.costs`, at the frequencies `evaluate.priors`.

    Args:
        probabilities: `(N, K)`, calibrated.
        learnt: `(K,)` as `ferops.training.faces.learnt_shares`: the class frequencies that the probabilities assume.
    """
    costs = cost_matrix(test.classes, settings.costs)
    priors = np.array([settings.priors[name] for name in test.classes]) if settings.priors else None
    answers = probabilities.argmax(axis=1)
    cheapest = (shift(probabilities, priors, learnt) @ costs).argmin(axis=1)
    paid = [costs[test.labels, chosen] for chosen in (answers, cheapest)]
    label = metrics.one_hot(test.labels, len(test.classes))
    features = np.concatenate([paid[0][:, None] * label, paid[1][:, None] * label, label], axis=1)
    before, after, n = np.split(test.resampler.totals(features, test.rows), 3, axis=1)  # each (1 + B, K)
    costly, cheap = (_per_face(total, n, priors) for total in (before, after))

    def interval(values: Floats) -> Interval:
        reason = "a class of evaluate.priors has no test face"
        return test.resampler.interval(values, clusters=test.clusters, share=False, reason=reason)

    return Decision(
        costs={row: dict(zip(test.classes, each, strict=True)) for row, each in zip(test.classes, costs, strict=True)},
        priors=dict(settings.priors) or None,
        learnt=dict(zip(test.classes, learnt.tolist(), strict=True)),
        cost_of_likeliest=interval(costly),
        cost=interval(cheap),
        saved=interval(costly - cheap),
        changed_share=float((answers != cheapest).mean()),
    )


def cost_matrix(classes: tuple[str, ...], given: Mapping[str, Mapping[str, float]]) -> Floats:
    """Return `(K, K)`: what answering the column costs where the row is true; 1 for an error that is not `given`."""
    return np.array(
        [[given.get(true, {}).get(answer, float(true != answer)) for answer in classes] for true in classes]
    )


def shift(probabilities: Floats, priors: Floats | None, learnt: Floats) -> Floats:
    """Return the probabilities `(N, K)` at the class frequencies `priors` `(K,)`, as they are where that is None."""
    if priors is None:
        return probabilities
    moved = probabilities * (priors / learnt)
    shifted: Floats = moved / moved.sum(axis=1, keepdims=True)
    return shifted


def _per_face(paid: Floats, n: Floats, priors: Floats | None) -> Floats:
    """Return the mean cost `(1 + B,)` of a face, from sums of costs and numbers of faces by class `(1 + B, K)`."""
    if priors is None:
        return metrics.ratio(paid.sum(axis=1), n.sum(axis=1))
    met = priors > 0
    mean: Floats = metrics.ratio(paid[:, met], n[:, met]) @ priors[met]
    return mean
