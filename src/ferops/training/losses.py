"""Focal loss with class weights, for hard labels and for soft ones (votes, Mixup)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ferops.config import Train
from ferops.training.faces import class_weights

Criterion = Callable[[Tensor, Tensor], Tensor]
"""From logits `(N, K)` and targets, as `focal_loss` takes them, to a scalar."""

FEW, HEAVY = 50, 5.0
"""So few faces of a class, each counting so many times as much as one of another class, are worth a remark."""


def make_criterion(train: Train, labels: NDArray[np.int64], *, num_classes: int, device: torch.device) -> Criterion:
    """Return the loss that the settings ask for, with class weights from the labels `(N,)` of the training faces."""
    gamma = train.focal_gamma if train.loss == "focal" else 0.0
    found = _asked_for(train, labels, num_classes)
    weights = None if found is None else torch.tensor(found, dtype=torch.float32, device=device)

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        return focal_loss(logits, targets, gamma=gamma, weights=weights, label_smoothing=train.label_smoothing)

    return criterion


def heavy_few(train: Train, labels: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return a sentence where class weights make a few faces outweigh many, else nothing.

    Args:
        labels: of the training faces, `(N,)`.
    """
    weights, counts = _asked_for(train, labels, len(classes)), np.bincount(labels, minlength=len(classes))
    if weights is None:
        return ""
    rare, frequent = int(weights.argmax()), int(weights.argmin())
    times = weights[rare] / weights[frequent]
    if counts[rare] > FEW or times < HEAVY:
        return ""
    rarer = f"a face of {classes[rare]}, of which there are {counts[rare]}, counts {times:.0f} times as much as one of"
    advice = "With so few that costs right answers; none weighs all alike"
    return f"train.class_weights: {rarer} {classes[frequent]}. {advice}"


def _asked_for(train: Train, labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64] | None:
    if train.class_weights == "none":
        return None
    beta = train.effective_beta if train.class_weights == "effective" else None
    return class_weights(labels, num_classes, beta=beta)


def focal_loss(
    logits: Tensor, targets: Tensor, *, gamma: float, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return the mean over the batch of sum_k y_k * w_k * (1 - p_k)^gamma * -log p_k, a scalar.

    Focal loss of Lin et al. 2017 ("Focal loss for dense object detection", eq. 5), written for a distribution y of
    targets, so that Mixup and label smoothing need no second loss. gamma 0 is the weighted cross entropy. The mean is
    over images, not over their weights, which have a mean of 1 already.

    Args:
        logits: float `(N, K)`; computed in float32 whatever the autocast type.
        targets: class indices int64 `(N,)`, or probabilities float `(N, K)` whose rows sum to 1.
        gamma: 0 or more; how much well-classified images are played down.
        weights: float `(K,)`, or None for ones.
        label_smoothing: share 0-1 of the target spread evenly over the classes.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    classes = logits.shape[1]
    y = targets if targets.is_floating_point() else F.one_hot(targets, classes).to(log_p.dtype)
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + label_smoothing / classes
    terms = -y * log_p  # (N, K)
    if gamma:
        # 1 - p via expm1 keeps its digits near p = 1; the clamp keeps the power's slope finite at exactly 1
        terms = terms * torch.clamp(-torch.expm1(log_p), min=1e-8) ** gamma
    if weights is not None:
        terms = terms * weights
    return terms.sum(dim=1).mean()


def distillation_loss(logits: Tensor, taught: Tensor, *, temperature: float) -> Tensor:
    """Return the mean over the batch of T^2 * sum_k -q_k * log softmax(logits / T)_k, a scalar.

    Hinton et al. 2015 ("Distilling the knowledge in a neural network"): dividing by the temperature T makes gradients
    smaller by T^2, so that without the factor the share of another loss beside this one would depend on T.

    Args:
        logits: float `(N, K)`; computed in float32 whatever the autocast type.
        taught: q, the teacher's probabilities at the same temperature, float `(N, K)`.
    """
    log_p = F.log_softmax(logits.float() / temperature, dim=1)
    return (-taught * log_p).sum(dim=1).mean() * temperature**2
