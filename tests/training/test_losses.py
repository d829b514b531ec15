from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ferops.training.faces import class_weights
from ferops.training.losses import focal_loss, heavy_few, make_criterion

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (5, 6))
LABELS = np.array([0, 3, 5, 1, 3])
WEIGHTS = np.array([1.0, 6.45, 0.98, 0.55, 0.84, 1.2])


def by_hand(logits, y, gamma, weights):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = 0.0
    for i in range(len(logits)):
        for k in range(6):
            total += -y[i, k] * weights[k] * (1 - p[i, k]) ** gamma * np.log(p[i, k])
    return total / len(logits)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_matches_the_formula_with_hard_labels(gamma):
    loss = focal_loss(torch.tensor(LOGITS), torch.tensor(LABELS), gamma=gamma, weights=torch.tensor(WEIGHTS))
    assert float(loss) == pytest.approx(by_hand(LOGITS, np.eye(6)[LABELS], gamma, WEIGHTS), rel=1e-5)


def test_matches_the_formula_with_soft_labels_and_smoothing():
    y = RNG.dirichlet(np.ones(6), 5)
    loss = focal_loss(
        torch.tensor(LOGITS), torch.tensor(y), gamma=2.0, weights=torch.tensor(WEIGHTS), label_smoothing=0.1
    )
    assert float(loss) == pytest.approx(by_hand(LOGITS, y * 0.9 + 0.1 / 6, 2.0, WEIGHTS), rel=1e-5)


def test_gamma_zero_is_torchs_cross_entropy():
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    assert torch.allclose(
        focal_loss(logits, labels, gamma=0.0, label_smoothing=0.2).double(),
        F.cross_entropy(logits, labels, label_smoothing=0.2),
        atol=1e-6,
    )


def test_gradient_is_finite_when_the_network_is_certain():
    logits = torch.tensor([[200.0, -200, 0, 0, 0, 0], [-200.0, 200, 0, 0, 0, 0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 0]), gamma=0.5).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1].abs().sum() > 0  # the wrong one still learns


def test_smoothing_of_votes_and_weights_by_hand():
    """One face, two votes of three for class 1: the whole sum written out."""
    logits = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    votes = torch.tensor([[1 / 3, 2 / 3, 0.0, 0.0, 0.0, 0.0]])
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    p1, p0 = np.e / (np.e + 5), 1 / (np.e + 5)
    y = np.array([1 / 3, 2 / 3, 0, 0, 0, 0]) * 0.9 + 0.1 / 6
    expected = -(y[1] * 2 * np.log(p1) + (y[0] * 1 + y[2] * 3 + y[3] * 4 + y[4] * 5 + y[5] * 6) * np.log(p0))
    loss = focal_loss(logits, votes, gamma=0.0, weights=weights, label_smoothing=0.1)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["inverse", "effective", "none"])
def test_the_criterion_is_that_of_the_settings(make_params, kind):
    train = make_params(
        class_weights=kind, effective_beta=0.9, loss="focal", focal_gamma=1.5, label_smoothing=0.1
    ).train
    labels = np.repeat(np.arange(6), [4, 16, 16, 16, 16, 16])
    weights = {"inverse": class_weights(labels, 6), "effective": class_weights(labels, 6, beta=0.9), "none": np.ones(6)}
    criterion = make_criterion(train, labels, num_classes=6, device=torch.device("cpu"))
    y = np.eye(6)[LABELS] * 0.9 + 0.1 / 6
    expected = by_hand(LOGITS, y, 1.5, weights[kind])
    assert float(criterion(torch.tensor(LOGITS), torch.tensor(LABELS))) == pytest.approx(expected, rel=1e-5)


def test_few_faces_that_count_for_many_are_said(make_params):
    labels = np.repeat([0, 1], [120, 4])
    said = heavy_few(make_params(class_weights="effective", effective_beta=0.999).train, labels, ["happy", "fear"])
    assert "a face of fear, of which there are 4, counts 28 times as much as one of happy" in said


@pytest.mark.parametrize(("weights", "counts"), [("none", [120, 4]), ("inverse", [12, 4]), ("inverse", [1200, 60])])
def test_weights_that_do_little_are_not_worth_a_remark(make_params, weights, counts):
    assert not heavy_few(make_params(class_weights=weights).train, np.repeat([0, 1], counts), ["happy", "fear"])
