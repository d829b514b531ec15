from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ferops.training import model
from ferops.training.optimizer import make_optimizer, make_scheduler


def groups_by_name(net, optimizer):
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {names[id(parameter)]: group for group in optimizer.param_groups for parameter in group["params"]}


def test_weight_decay_leaves_out_norms_and_biases(make_params):
    net = model.build("resnet18", num_classes=6, size_px=32).backbone
    groups = groups_by_name(net, make_optimizer(net, make_params(weight_decay=0.3).train))
    assert len(groups) == len(list(net.parameters()))
    for name, parameter in net.named_parameters():
        matrix = name.endswith("weight") and parameter.dim() > 1
        assert groups[name]["weight_decay"] == (0.3 if matrix else 0.0), name


def test_weight_decay_leaves_out_what_the_backbone_names(make_params):
    net = model.build("test_vit", num_classes=6, size_px=160).backbone
    groups = groups_by_name(net, make_optimizer(net, make_params(weight_decay=0.3).train))
    assert groups["pos_embed"]["weight_decay"] == 0.0
    assert groups["blocks.0.attn.qkv.weight"]["weight_decay"] == 0.3


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_layers_before_the_head_learn_more_slowly(make_params, schedule):
    net = model.build("resnet18", num_classes=6, size_px=32).backbone
    train = make_params(layer_decay=0.5, max_lr=0.01, warmup_share=0.0, schedule=schedule).train
    optimizer = make_optimizer(net, train)
    make_scheduler(optimizer, train, total_steps=10)
    rates = {name: group["lr"] for name, group in groups_by_name(net, optimizer).items()}
    ratio = rates["layer1.0.conv1.weight"] / rates["fc.weight"]
    assert rates["conv1.weight"] < rates["layer1.0.conv1.weight"] < rates["layer4.1.conv2.weight"] < rates["fc.weight"]
    assert math.log2(ratio) == pytest.approx(round(math.log2(ratio)))


def test_cosine_warms_up_in_a_line_and_ends_near_zero(make_params):
    net = torch.nn.Linear(2, 6)
    train = make_params(schedule="cosine", warmup_share=0.2, max_lr=0.01).train
    optimizer = make_optimizer(net, train)
    scheduler = make_scheduler(optimizer, train, total_steps=20)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[12] == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * 8 / 16)))
    assert 0 < rates[-1] < 0.0002


@pytest.mark.parametrize(("share", "steps"), [(0.1, 10), (0.0, 10), (1.0, 10), (0.1, 1), (0.0, 1), (0.5, 2), (0.3, 7)])
def test_onecycle_goes_through_any_number_of_steps(make_params, share, steps):
    """Each of them has a finite, positive rate of at most the peak; a warm-up of one step, too."""
    net = torch.nn.Linear(2, 6)
    train = make_params(schedule="onecycle", warmup_share=share, max_lr=0.01).train
    optimizer = make_optimizer(net, train)
    scheduler = make_scheduler(optimizer, train, total_steps=steps)
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    assert all(0 < rate <= 0.01 for rate in rates)
    if (share, steps) == (0.1, 10):
        low = 0.01 / 25
        falling = (
            low * 1e-4 + (0.01 - low * 1e-4) * (1 + np.cos(np.pi * np.arange(1, 10) / 9)) / 2
        )  # cosine, from the peak
        assert rates == pytest.approx([low, *falling], rel=1e-4)
