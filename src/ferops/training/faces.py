"""Packed faces as arrays: what a training needs to know of them, wherever they were read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.config import Sampling
from ferops.model_config import Channels


@dataclass(frozen=True)
class Faces:
    """`images` uint8 `(N, S, S, 3)` RGB (memory-mapped) and `labels` int64 `(N,)`, 0 to K - 1, of one split."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size_px(self) -> int:
        return int(self.images.shape[1])


def soft_targets(hard: NDArray[np.float32], counts: NDArray[np.float32], *, votes: float) -> NDArray[np.float32]:
    """Return float32 `(N, K)`: the shares of the votes count `votes` (0-1), `hard` the rest; without votes it is all.

    Args:
        hard: one-hot labels `(N, K)`. counts: of the annotators' votes for each class, `(N, K)`.
    """
    total = counts.sum(axis=1, keepdims=True)
    voted: NDArray[np.float32] = np.where(total > 0, counts / np.maximum(total, 1.0), hard)
    return np.float32(votes) * voted + np.float32(1.0 - votes) * hard


OTHERS = "others"
"""In `train.sampling`: all sources that are not named."""


def by_source(sampling: Mapping[str, Sampling], sources: NDArray[np.str_]) -> dict[str, Sampling]:
    """Return the settings of each of the `sources` that has some."""
    found = {str(name): sampling.get(str(name), sampling.get(OTHERS)) for name in np.unique(sources)}
    return {name: settings for name, settings in found.items() if settings}


def drawing_weights(
    labels: NDArray[np.int64], sources: NDArray[np.str_], sampling: Mapping[str, Sampling]
) -> NDArray[np.float64]:
    """Return how often each face is drawn, `(N,)` up to scale; a source that is not named has weight 1 and balance 0.

    Args:
        labels, sources: of the faces, `(N,)` each.
    """
    weights = np.ones(len(labels))
    for source, settings in sampling.items():
        chosen = sources == source
        counts = np.bincount(labels[chosen])
        weights[chosen] = settings.weight * (counts[labels[chosen]] / chosen.sum()) ** -settings.balance
    return weights


def logit_offsets(
    targets: NDArray[np.float32],
    sources: NDArray[np.str_],
    weights: NDArray[np.float64] | None,
    sampling: Mapping[str, Sampling],
) -> NDArray[np.float32] | None:
    """Return what training adds to the logits of each face, float32 `(N, K)`; None where no source asks for it.

    Menon et al. 2021 ("Long-tail learning via logit adjustment", eq. 10), by source: `adjust` times the logarithm of
    each class's share among the faces of the source as they are drawn. What the network itself then learns are the
    classes' probabilities where all were equally frequent (at 1). A class that a source lacks counts like half a face.

    Args:
        targets: of the faces, `(N, K)`, rows sum to 1.
        sources: of the faces, `(N,)`.
        weights: how often each is drawn, `(N,)` up to scale; None for alike.
    """
    if not any(settings.adjust for settings in sampling.values()):
        return None
    drawn = np.ones(len(targets)) if weights is None else weights
    offsets = np.zeros_like(targets)
    for source, settings in sampling.items():
        chosen = sources == source
        shares = drawn[chosen] @ targets[chosen] / drawn[chosen].sum()
        offsets[chosen] = settings.adjust * np.log(np.maximum(shares, 0.5 / chosen.sum()))
    return offsets


def class_weights(labels: NDArray[np.int64], num_classes: int, *, beta: float | None = None) -> NDArray[np.float64]:
    """Return class weights `(K,)` with a mean of 1 over the images, so that the loss keeps its scale.

    Args:
        labels: class indices `(N,)`, 0 to K - 1; every class occurs.
        beta: None for inverse frequencies, n / (K * n_c). Else (1 - beta) / (1 - beta^n_c) up to scale (Cui et al.
            2019, "Class-balanced loss based on effective number of samples"): near 0 all classes weigh alike, near 1
            inversely to their frequency.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if beta is None:
        inverse: NDArray[np.float64] = len(labels) / (num_classes * counts)
        return inverse
    weights = (1.0 - beta) / -np.expm1(counts * np.log(beta))
    normalised: NDArray[np.float64] = weights * len(labels) / (weights @ counts)
    return normalised


def learnt_shares(
    labels: NDArray[np.int64], sources: NDArray[np.str_], num_classes: int, train: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Return the class frequencies `(K,)` that a model assumes: those of its training faces as they are drawn, times
    their weights, without what `adjust` takes away.

    Args:
        labels: of the training faces, 0 to K - 1, each at least once. sources: of these faces.
        train: the block of that name.
    """
    sampling = {name: Sampling.model_validate(each) for name, each in train.get("sampling", {}).items()}
    sampling = by_source(sampling, sources)
    drawn = drawing_weights(labels, sources, sampling)
    targets = np.eye(num_classes, dtype=np.float32)[labels]
    if (offsets := logit_offsets(targets, sources, drawn, sampling)) is not None:
        drawn = drawn * np.exp(-offsets[np.arange(len(labels)), labels])
    if train["class_weights"] != "none":
        beta = train["effective_beta"] if train["class_weights"] == "effective" else None
        drawn = drawn * class_weights(labels, num_classes, beta=beta)[labels]
    expected: NDArray[np.float64] = np.bincount(labels, weights=drawn, minlength=num_classes) / drawn.sum()
    return expected


def channel_statistics(faces: Faces, *, chunk: int = 256) -> tuple[Channels, Channels]:
    """Return mean and standard deviation per RGB channel over all pixels, in units of 0-1."""
    total, squares = np.zeros(3), np.zeros(3)
    for start in range(0, len(faces), chunk):
        values = faces.images[start : start + chunk].reshape(-1, 3)  # uint8
        for channel in range(3):  # a histogram is exact and needs no float copy of the images
            histogram = np.bincount(values[:, channel], minlength=256)
            total[channel] += histogram @ np.arange(256.0)
            squares[channel] += histogram @ np.arange(256.0) ** 2
    count = faces.images[..., 0].size
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1.0))  # at least one grey level: constant faces stay finite
    return channels(mean / 255.0), channels(std / 255.0)


def is_grey(faces: Faces, *, chunk: int = 256) -> bool:
    """Return whether no face has any colour: red, green and blue are equal in every pixel."""
    chunks = (faces.images[start : start + chunk] for start in range(0, len(faces), chunk))
    return all(bool((images == images[..., :1]).all()) for images in chunks)


def content_hash(*arrays: NDArray[np.generic]) -> str:
    """Return the SHA-256 of the arrays' shapes and contents, hex."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def channels(values: Sequence[float] | NDArray[np.float64]) -> Channels:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
