"""Suspected label errors: labels that a model, which never saw the image or the person, finds unlikely.

Confident learning (Northcutt, Jiang and Chuang, JAIR 2021), as cleanlab implements it, rates the labels by
out-of-sample probabilities. The model is cheap on purpose: histograms of oriented gradients (`descriptors`), their
principal components, and a network with one hidden layer, so that every run of the stage can afford it. It is a
reviewer that finds candidates for a person to look at, and nothing is dropped: docs/validation.md says how far to
trust it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ferops import threads
from ferops.config import Validate
from ferops.records.validate import LabelReview
from ferops.validation.connected import connected_groups
from ferops.validation.descriptors import LENGTH, Descriptors, Views, describe, mirror_order

COMPONENTS = 300
COMPONENT_SAMPLE = 4000
"""Images that the principal components are fitted to; they know no labels."""
HIDDEN_UNITS = 128
EPOCHS = 5
MIN_STEPS = 100
"""Small data sets are passed over more often, until the network has been adjusted this many times."""
TRAINING_BATCH = 128
MAX_QUALITY = 0.05
"""What confident learning finds is listed only where the model gives the label less than this: a weak reviewer's whole
list would be a third of FER2013, and mostly wrong. With it, four or five of ten listed labels were planted errors."""
MAX_TRAINING_ROWS = 40_000
"""Rows that one fold learns from at most: bounds the time for a large data set. The others are still reviewed."""
BATCH_ROWS = 512

Features = NDArray[np.float16]


@dataclass(frozen=True)
class Review:
    """What the review found.

    table: one row per reviewed row, the least likely labels first: image_id, source, row (position in the source),
        label, suggested (the most likely class), label_quality (0-1, the probability of the given label), suspected
        (bool), p_<class> (0-1, summing to 1; 0 for a class without rows).
    """

    table: pd.DataFrame
    record: LabelReview


def review_labels(
    rows: pd.DataFrame, views: Views, settings: Validate, classes: Sequence[str], *, seed: int
) -> Review | None:
    """Rate the labels of `rows`: image_id, source, row, label (one of `classes`), subject, cluster.

    `views`, uint8 `(N, VIEW_BYTES)`, hold each row's image at the place that its index names. Returns None where there
    is too little to learn from: fewer than two classes, or a class in fewer groups (people and duplicate clusters) than
    `label_review_folds`, which is at least 2 here. The order of `rows` plays no part.
    """
    ordered = rows.sort_values("image_id")
    groups = pd.factorize(connected_groups(ordered))[0]
    if ordered["label"].nunique() < 2 or _fewest_groups(ordered["label"], groups) < settings.label_review_folds:
        return None
    label = ordered["label"].map(list(classes).index).to_numpy().astype(np.int64)
    with threadpool_limits(1):  # matrices this small gain nothing from threads, and sums then have one order
        features = _features(views, ordered.index.to_numpy(), seed=seed)
        p = out_of_sample(features, label, groups, classes=len(classes), folds=settings.label_review_folds, seed=seed)
    quality, suspected = rate_labels(label, p)
    table = ordered[["image_id", "source", "row", "label"]].assign(
        suggested=np.array(classes, dtype=object)[p.argmax(axis=1)],
        label_quality=quality,
        suspected=suspected,
        **{f"p_{name}": p[:, index] for index, name in enumerate(classes)},
    )
    record = LabelReview(
        folds=settings.label_review_folds,
        rows=len(table),
        accuracy=round(float((p.argmax(axis=1) == label).mean()), 4),
        chance=round(float(np.bincount(label).max() / len(label)), 4),
    )
    return Review(table.sort_values(["label_quality", "image_id"], ignore_index=True), record)


def _fewest_groups(label: pd.Series, groups: NDArray[np.int64]) -> int:
    return int(pd.Series(groups).groupby(label.to_numpy()).nunique().min())


def rate_labels(label: NDArray[np.int64], p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the quality of each label (0-1, its probability) and whether cleanlab suspects it.

    `label` holds indices into the K columns of `p`, float `(N, K)`, out-of-sample probabilities.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    present, dense = np.unique(label, return_inverse=True)  # cleanlab wants every class to have rows
    known = p[:, present] / p[:, present].sum(axis=1, keepdims=True)
    issues = find_label_issues(dense, known, filter_by="both", n_jobs=1)
    quality = get_label_quality_scores(dense, known, method="self_confidence")
    return quality, np.asarray(issues, dtype=bool) & (quality < MAX_QUALITY)


def out_of_sample(
    features: Features, label: NDArray[np.int64], groups: NDArray[np.int64], *, classes: int, folds: int, seed: int
) -> NDArray[np.float64]:
    """Return the probabilities, float64 `(N, classes)`, that a model which never saw the row gives it.

    `features` is `(N, 2, C)`: of the image and of its mirror image. No group is among those its model learned from.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    p = np.zeros((len(label), classes))
    random = np.random.default_rng(seed)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for learn, held_out in splitter.split(label, label, groups):
        if len(learn) > MAX_TRAINING_ROWS:
            learn = np.sort(random.choice(learn, MAX_TRAINING_ROWS, replace=False))  # noqa: PLW2901
        network = _fit(features[learn], label[learn], seed=seed)
        for rows in np.array_split(held_out, max(len(held_out) // 4096, 1)):
            views = features[rows].astype(np.float32)
            p[rows[:, None], network.classes_] = (
                network.predict_proba(views[:, 0]) + network.predict_proba(views[:, 1])
            ) / 2
    return p


def _fit(features: Features, label: NDArray[np.int64], *, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    both = features.reshape(-1, features.shape[-1]).astype(np.float32)  # each image and its mirror image
    batch = min(TRAINING_BATCH, len(both))
    network = MLPClassifier(
        (HIDDEN_UNITS,), alpha=1.0, batch_size=batch, learning_rate_init=0.002, random_state=seed, shuffle=True
    )
    for _ in range(max(EPOCHS, ceil(MIN_STEPS * batch / len(both)))):
        network.partial_fit(both, np.repeat(label, 2), classes=np.unique(label))
    return network


def _features(views: Views, places: NDArray[np.int64], *, seed: int) -> Features:
    """Return float16 `(N, 2, C)` for the rows of `views` at `places`: C principal components of the descriptor of each
    image and of its mirror image.

    In two passes, so that the descriptors need not all be held: a sample sets the components.
    """
    from sklearn.decomposition import PCA

    size = min(COMPONENT_SAMPLE, len(places))
    sample = np.sort(np.random.default_rng(seed).choice(len(places), size, replace=False))
    flipped = mirror_order()
    known = np.empty((size, LENGTH), dtype=np.float32)
    for at, described in _described(views, places[sample]):
        known[at] = described
    components = min(COMPONENTS, size - 1)
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit(np.concatenate([known, known[:, flipped]]))
    scale = np.sqrt(pca.explained_variance_.mean())  # the network expects values of about 1
    features = np.empty((len(places), 2, components), dtype=np.float16)
    for at, described in _described(views, places):
        features[at, 0] = pca.transform(described) / scale
        features[at, 1] = pca.transform(described[:, flipped]) / scale
    return features


def _described(views: Views, places: NDArray[np.int64]) -> Iterator[tuple[slice, Descriptors]]:
    """Yield the descriptors, float32 `(B, LENGTH)`, of the rows of `views` at `places`, and which of `places` it is."""
    cv2.setNumThreads(1)  # the threads below are the parallelism
    with ThreadPoolExecutor(max_workers=threads.current()) as pool:
        for start in range(0, len(places), BATCH_ROWS):
            at = slice(start, start + BATCH_ROWS)
            yield at, np.stack(list(pool.map(describe, views[places[at]])))
