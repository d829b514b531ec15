"""The optimiser and the schedule of its learning rate."""

from __future__ import annotations

import math

import torch
from timm.optim._param_groups import param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from ferops.config import Train


def make_optimizer(backbone: nn.Module, train: Train) -> torch.optim.Optimizer:
    """Return AdamW, or SGD with Nesterov momentum 0.9, with weight decay and learning rates by layer.

    Weight decay leaves out biases and norms (one-dimensional), and what the backbone itself names (position
    embeddings). With `layer_decay` d below 1, a layer k blocks before the head learns at d^k times the head's rate
    (Clark et al. 2020, "ELECTRA", section 3.3; Bao et al. 2022, "BEiT").
    """
    spared = backbone.no_weight_decay() if hasattr(backbone, "no_weight_decay") else ()  # type: ignore[operator]
    if train.layer_decay < 1.0:
        groups = param_groups_layer_decay(
            backbone, train.weight_decay, no_weight_decay_list=spared, layer_decay=train.layer_decay
        )
    else:
        groups = param_groups_weight_decay(backbone, train.weight_decay, no_weight_decay_list=spared)
    for group in groups:
        group["lr"] = train.max_lr * group.setdefault("lr_scale", 1.0)
    if train.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=train.max_lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=train.max_lr, fused=True)  # one pass over the weights instead of ten


def make_scheduler(optimizer: torch.optim.Optimizer, train: Train, *, total_steps: int) -> LRScheduler:
    """Return the schedule over `total_steps` optimiser steps; each group's peak is its own learning rate.

    `onecycle` (Smith & Topin 2019, as in torch) warms up and comes down along cosines, and moves the momentum against
    the rate; `cosine` warms up linearly and comes down to zero along a cosine (Loshchilov & Hutter 2017, "SGDR").
    """
    if train.schedule == "onecycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        share = train.warmup_share
        if share * total_steps == 1.0:  # torch divides by a warm-up of exactly one step less one
            share *= 1.0 + 1e-6
        return OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps, pct_start=min(share, 1.0))
    warmup = round(train.warmup_share * total_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total_steps - warmup)))

    return LambdaLR(optimizer, factor)
