"""How far the people who labelled the faces agree, beside the model: the most that an accuracy can say.

A label that one annotator in three would not give cannot be answered right every time. Where the data hold the votes of
several people for a face, one of them, drawn at random, is judged as the model is: against the published label, and
against the majority of the others.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.evaluation import metrics
from ferops.evaluation.bootstrap import Floats
from ferops.evaluation.metrics import Indices
from ferops.evaluation.performance import TestSet
from ferops.records.metrics import Annotators, Confused, Interval, People

MOST_PAIRS = 6
_MIN_VOTES = 2  # one annotator, and another to compare with
_PREFIX = "votes_"


def measure_annotators(test: TestSet, predicted: Indices, index: pd.DataFrame) -> Annotators | None:
    """Return what the annotators' votes say of labels and answers; None where no test face has two votes.

    Args:
        predicted: `(N,)` the model's answers, indices of `test.classes`.
        index: the N rows of faces.parquet, with a column `votes_<name>` for each answer that annotators could give.
            Votes for other answers than the classes are left out, since the model cannot give them, and counted.
    """
    columns = [name for name in index.columns if name.startswith(_PREFIX)]
    votes = np.stack([_counts(index, f"{_PREFIX}{name}") for name in test.classes], axis=1)
    voted = votes.sum(axis=1) >= _MIN_VOTES
    if not voted.any():
        return None
    cast = sum(float(_counts(index, name)[voted].sum()) for name in columns)
    votes, rows = votes[voted], test.rows[voted]
    labels, answers = test.labels[voted], predicted[voted]
    shares = votes / votes.sum(axis=1, keepdims=True)
    each = np.arange(len(labels))
    one_agrees, answer_agrees = against_the_rest(votes, answers)

    def mean(values: Floats, *, share: bool = True) -> Interval:
        right, n = test.resampler.totals(np.stack([values, np.ones(len(values))], axis=1), rows).T
        return test.resampler.interval(metrics.ratio(right, n), clusters=test.resampler.clusters_in(rows), share=share)

    def beside(annotator: Floats, candidate: Floats) -> People:
        return People(
            annotator=mean(annotator),
            candidate=mean(candidate),
            candidate_minus_annotator=mean(candidate - annotator, share=False),
        )

    wrong = answers != labels
    same = shares[each, answers]
    return Annotators(
        n=int(voted.sum()),
        votes_per_face=float(votes.sum(axis=1).mean()),
        other_votes=1.0 - float(votes.sum()) / cast,
        label=beside(shares[each, labels], (~wrong).astype(np.float64)),
        majority=beside(one_agrees, answer_agrees),
        confusion=tuple(tuple(row) for row in (metrics.one_hot(labels, len(test.classes)).T @ shares).tolist()),
        pairs=_pairs(test, labels, answers, shares, rows),
        mistakes=int(wrong.sum()),
        mistakes_of_one=float((same[wrong] > 0).mean()) if wrong.any() else None,
        mistakes_of_most=float((same[wrong] > 0.5).mean()) if wrong.any() else None,
    )


def against_the_rest(votes: Floats, answers: Indices) -> tuple[Floats, Floats]:
    """Return how often one annotator of a face, and how often the answer, is what most of the others say, `(N,)` 0-1.

    The annotator is each of the face's in turn, and the others are those that are left. Where several classes have the
    most votes of the others, each of them counts as the majority with equal chance.

    Args:
        votes: counts `(N, K)`, two or more for each face.
        answers: `(N,)` indices of the classes.
    """
    each = np.arange(len(votes))
    one, answer = np.zeros(len(votes)), np.zeros(len(votes))
    for index in range(votes.shape[1]):
        rest = votes.copy()
        rest[:, index] -= 1  # one who voted for this class is taken out; without such a vote, `weight` is 0
        most = rest == rest.max(axis=1, keepdims=True)
        chance = most / most.sum(axis=1, keepdims=True)
        weight = votes[:, index] / votes.sum(axis=1)
        one += weight * chance[:, index]
        answer += weight * chance[each, answers]
    return one, answer


def _pairs(
    test: TestSet, labels: Indices, answers: Indices, shares: Floats, rows: NDArray[np.intp]
) -> tuple[Confused, ...]:
    """The mistakes that the model makes most often, and how often an annotator makes them."""
    k = len(test.classes)
    counts = metrics.confusion_features(labels, answers, k).sum(axis=0).reshape(k, k)
    np.fill_diagonal(counts, 0)
    found = []
    for place in np.argsort(-counts, axis=None, kind="stable")[:MOST_PAIRS]:
        label, answer = divmod(int(place), k)
        if not counts[label, answer]:
            break
        inside = labels == label
        features = np.stack([answers[inside] == answer, shares[inside, answer], np.ones(inside.sum())], axis=1)
        model, people, n = test.resampler.totals(features.astype(np.float64), rows[inside]).T
        clusters = test.resampler.clusters_in(rows[inside])
        candidate, annotator = metrics.ratio(model, n), metrics.ratio(people, n)
        minus = test.resampler.interval(candidate - annotator, clusters=clusters, share=False)
        found.append(
            Confused(
                label=test.classes[label],
                answer=test.classes[answer],
                n=int(counts[label, answer]),
                candidate=test.resampler.interval(candidate, clusters=clusters),
                annotator=test.resampler.interval(annotator, clusters=clusters),
                candidate_minus_annotator=minus,
            )
        )
    return tuple(found)


def _counts(index: pd.DataFrame, column: str) -> Floats:
    """Return the votes `(N,)`; 0 where a source has none, or no such answer."""
    if column not in index.columns:
        return np.zeros(len(index))
    return np.asarray(index[column].astype("Float64").fillna(0), dtype=np.float64)
