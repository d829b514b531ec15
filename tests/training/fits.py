"""What tests do with a Fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ferops.training.fit import Fit

STILL = dict.fromkeys(
    ("flip_probability", "rotation_degrees", "crop_share", "brightness", "contrast", "saturation", "erase_probability"),
    0.0,
)
"""Settings of `train` without augmentation."""


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def before_steps(fit: Fit, act: Callable[[int, int], object]) -> None:
    """Call `act(epoch, step)`, both counted from 0, before each optimiser step, which is then taken as ever."""
    run = fit.stepper.run

    def acting(rows: Any, *, epoch: int, step: int) -> Tensor:
        act(epoch, step)
        return run(rows, epoch=epoch, step=step)

    fit.stepper.run = acting  # type: ignore[method-assign]


def hurried(fit: Fit) -> Fit:
    """Take each step over two of its faces alone: for tests of what happens between steps, whatever is learnt."""
    run = fit.stepper.run

    def few(rows: Any, *, epoch: int, step: int) -> Tensor:
        return run(rows[:2], epoch=epoch, step=step)

    fit.stepper.run = few  # type: ignore[method-assign]
    return fit


class KilledError(Exception):
    """Stands for SIGKILL: nothing in the library knows it."""


def cut_off(fit: Fit, *, epoch: int, step: int) -> None:
    """Train, and be killed before this step, both counted from 0."""

    def kill(*place: int) -> None:
        if place == (epoch, step):
            raise KilledError

    before_steps(fit, kill)
    with pytest.raises(KilledError):
        fit.run()
