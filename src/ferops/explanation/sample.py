"""The test faces that are shown: a part of the test split in which every class has its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.evaluation.inputs import Data


@dataclass(frozen=True)
class Sample:
    """N faces of the test split.

    Attributes:
        faces: `(N, S, S, 3)`.
        index: their rows of faces.parquet.
        labels, answers: `(N,)` indices of `classes`.
        confidence: `(N,)` of the answers, calibrated.
    """

    classes: tuple[str, ...]
    faces: NDArray[np.uint8]
    index: pd.DataFrame
    labels: NDArray[np.intp]
    answers: NDArray[np.intp]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    def caption(self, row: int) -> str:
        """Return what a face is labelled and what was answered, in words."""
        label, answer = self.classes[self.labels[row]], self.classes[self.answers[row]]
        return label if label == answer else f"{label}, answered {answer}"


def draw(data: Data, probabilities: NDArray[np.float64], most: int, *, seed: int) -> Sample:
    """Return up to `most` test faces, as many of each class as there are, or as the rarer classes leave room for.

    Args:
        probabilities: `(N, K)` of all test faces.
    """
    labels = data.test.labels
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    place = pd.Series(labels[shuffled]).groupby(labels[shuffled]).cumcount().to_numpy()  # first of its class, second ..
    rows = np.sort(shuffled[np.argsort(place, kind="stable")[:most]])
    return Sample(
        classes=data.test.classes,
        faces=np.ascontiguousarray(data.faces[rows]),
        index=data.index.iloc[rows].reset_index(drop=True),
        labels=labels[rows],
        answers=probabilities[rows].argmax(axis=1),
        confidence=probabilities[rows].max(axis=1),
    )
