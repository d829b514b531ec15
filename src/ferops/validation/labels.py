"""Suspected label errors: labels that a model, which never saw the picture or the person, finds unlikely.

Confident learning (Northcutt, Jiang and Chuang, JAIR 2021), as cleanlab implements it, judges the labels by
out-of-sample probabilities. The model is cheap on purpose: histograms of oriented gradients (`descriptors`), their
principal components, and a network with one hidden layer, so that every run of the stage can afford it. It is a
reviewer that finds candidates for a person to look at, and nothing is dropped: docs/validation.md says how far to
trust it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Validate
from ferops.datasets.raw import open_raw
from ferops.layout import Layout
from ferops.validation.connected import components
from ferops.validation.descriptors import LENGTH, Descriptors, describe, mirror_order

COMPONENTS = 300
COMPONENT_SAMPLE = 4000
"""Pictures that the principal components are fitted to; they know no labels."""
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
    folds: of the cross-validation.
    accuracy: share of the rows whose given label is the model's first choice, out of sample.
    chance: share of the most frequent class, which a model that has seen nothing would reach.
    """

    table: pd.DataFrame
    folds: int
    accuracy: float
    chance: float

    def facts(self) -> dict[str, Any]:
        """Return what the summary says of the reviewer: folds, rows, accuracy, chance."""
        return {
            "folds": self.folds,
            "rows": len(self.table),
            "accuracy": round(self.accuracy, 4),
            "chance": round(self.chance, 4),
        }


def review(layout: Layout, rows: pd.DataFrame, settings: Validate, *, seed: int) -> Review | None:
    """Judge the labels of `rows`: image_id, source, row, label (a class), subject, cluster; all can be decoded.

    Returns None where there is too little to learn from: fewer than two classes, or a class in fewer groups (people
    and duplicate clusters) than `label_review_folds`, which is at least 2 here. The order of `rows` plays no part.
    """
    ordered = rows.sort_values("image_id", ignore_index=True)
    groups = pd.factorize(components(ordered))[0]
    if ordered["label"].nunique() < 2 or _fewest_groups(ordered["label"], groups) < settings.label_review_folds:
        return None
    label = (
        ordered["label"].map({name: index for index, name in enumerate(DEFAULT_CLASSES)}).to_numpy().astype(np.int64)
    )
    with threadpool_limits(1):  # matrices this small gain nothing from threads, and sums then have one order
        features = _features(layout, ordered, seed=seed, max_megapixels=settings.max_side_px**2 / 1e6)
        p = out_of_sample(features, label, groups, folds=settings.label_review_folds, seed=seed)
    quality, suspected = judge_labels(label, p)
    table = ordered[["image_id", "source", "row", "label"]].assign(
        suggested=np.array(DEFAULT_CLASSES, dtype=object)[p.argmax(axis=1)],
        label_quality=quality,
        suspected=suspected,
        **{f"p_{name}": p[:, index] for index, name in enumerate(DEFAULT_CLASSES)},
    )
    return Review(
        table=table.sort_values(["label_quality", "image_id"], ignore_index=True),
        folds=settings.label_review_folds,
        accuracy=float((p.argmax(axis=1) == label).mean()),
        chance=float(np.bincount(label).max() / len(label)),
    )


def _fewest_groups(label: pd.Series, groups: NDArray[np.int64]) -> int:
    return int(pd.Series(groups).groupby(label.to_numpy()).nunique().min())


def judge_labels(label: NDArray[np.int64], p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
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
    features: Features, label: NDArray[np.int64], groups: NDArray[np.int64], *, folds: int, seed: int
) -> NDArray[np.float64]:
    """Return the probabilities, float64 `(N, 6)` by DEFAULT_CLASSES, that a model which never saw the row gives it.

    `features` is `(N, 2, C)`: of the picture and of its mirror image. No group is among those its model learned from.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    p = np.zeros((len(label), len(DEFAULT_CLASSES)))
    random = np.random.default_rng(seed)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for learn, judge in splitter.split(label, label, groups):
        if len(learn) > MAX_TRAINING_ROWS:
            learn = np.sort(random.choice(learn, MAX_TRAINING_ROWS, replace=False))  # noqa: PLW2901
        network = _fit(features[learn], label[learn], seed=seed)
        for rows in np.array_split(judge, max(len(judge) // 4096, 1)):
            views = features[rows].astype(np.float32)
            p[rows[:, None], network.classes_] = (
                network.predict_proba(views[:, 0]) + network.predict_proba(views[:, 1])
            ) / 2
    return p


def _fit(features: Features, label: NDArray[np.int64], *, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    both = features.reshape(-1, features.shape[-1]).astype(np.float32)  # each picture and its mirror image
    batch = min(TRAINING_BATCH, len(both))
    network = MLPClassifier(
        (HIDDEN_UNITS,), alpha=1.0, batch_size=batch, learning_rate_init=0.002, random_state=seed, shuffle=True
    )
    for _ in range(max(EPOCHS, ceil(MIN_STEPS * batch / len(both)))):
        network.partial_fit(both, np.repeat(label, 2), classes=np.unique(label))
    return network


def _features(layout: Layout, rows: pd.DataFrame, *, seed: int, max_megapixels: float) -> Features:
    """Return float16 `(N, 2, C)`: C principal components of the descriptor of each picture and of its mirror image.

    Two passes over the raw files, so that the descriptors need not all be held: a sample sets the components.
    """
    from sklearn.decomposition import PCA

    size = min(COMPONENT_SAMPLE, len(rows))
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), size, replace=False))
    flipped = mirror_order()
    known = np.empty((size, LENGTH), dtype=np.float32)
    place = np.full(len(rows), -1)
    place[chosen] = np.arange(size)
    for at, described in _described(layout, rows.iloc[chosen], max_megapixels=max_megapixels):
        known[place[at]] = described
    components = min(COMPONENTS, size - 1)
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit(np.concatenate([known, known[:, flipped]]))
    scale = np.sqrt(pca.explained_variance_.mean())  # the network expects values of about 1
    features = np.empty((len(rows), 2, components), dtype=np.float16)

    def keep(at: NDArray[np.int64], described: Descriptors) -> None:
        features[at, 0] = pca.transform(described) / scale
        features[at, 1] = pca.transform(described[:, flipped]) / scale

    keep(chosen, known)
    others = rows.iloc[np.flatnonzero(place < 0)]
    for at, described in _described(layout, others, max_megapixels=max_megapixels):
        keep(at, described)
    return features


def _described(
    layout: Layout, rows: pd.DataFrame, *, max_megapixels: float
) -> Iterator[tuple[NDArray[np.int64], Descriptors]]:
    """Yield the index of some of `rows` and their descriptors, float32 `(B, LENGTH)`, until all were there."""
    work = partial(describe, max_megapixels=max_megapixels)
    cv2.setNumThreads(1)  # the threads below are the parallelism
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for source, own in rows.groupby("source"):
            index = pd.Series(own.index, index=own["row"])
            start = 0
            for batch in open_raw(layout, str(source)).batches(["image"], rows=BATCH_ROWS):
                wanted = np.arange(start, start + len(batch))
                wanted = wanted[np.isin(wanted, index.index)]
                start += len(batch)
                images = [batch.column("image")[int(row) - (start - len(batch))].as_py() for row in wanted]
                if images:
                    yield index[wanted].to_numpy(), np.stack(list(pool.map(work, images)))
