"""What a checkpoint holds of a fit, and how a fit goes on from it."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ferops.training.fit import Fit


@dataclass
class Progress:
    """Where a run is. `epoch` counts finished epochs, `step` finished optimiser steps of the running one."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_epoch: int = 0
    best_macro_f1: float = -1.0
    best_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)


def save(fit: Fit) -> None:
    """Write the checkpoint of `fit`, whole or not at all."""
    optimizer = fit.optimizer.state_dict()
    tensors = _learnt(fit) | {f"best.{name}": tensor for name, tensor in fit.best.items()}
    progress = asdict(fit.progress)
    if not fit.best:
        progress["best_loss"] = None  # JSON has no infinity
    fit.checkpoint.save(
        tensors,
        {
            "progress": progress,
            "optimizer": optimizer["param_groups"],
            "scheduler": fit.scheduler.state_dict(),
            "scaler": fit.scaler.state_dict(),
        },
    )


def is_finite(fit: Fit) -> bool:
    """Return whether all that `fit` has learnt are finite numbers: weights, their average, the optimiser's state."""
    sound = [tensor.isfinite().all() for tensor in _learnt(fit).values() if tensor.is_floating_point()]
    return bool(torch.stack([each.to(fit.precision.device) for each in sound]).all())


def _learnt(fit: Fit) -> dict[str, Tensor]:
    tensors = {f"model.{name}": tensor for name, tensor in fit.net.state_dict().items()}
    if fit.average:
        tensors |= {f"average.{name}": tensor for name, tensor in fit.average.module.state_dict().items()}
    return tensors | {
        f"optimizer.{index}.{name}": tensor
        for index, entries in fit.optimizer.state_dict()["state"].items()
        for name, tensor in entries.items()
        if tensor is not None  # SGD's momentum of frozen layers
    }


def restore(fit: Fit) -> None:
    """Bring `fit` to where its checkpoint left it, if there is one of this run."""
    loaded = fit.world.loaded(fit.checkpoint.load() if fit.world.main else None)
    if loaded is None:
        return
    tensors, state = loaded
    progress = state["progress"]
    if progress["best_loss"] is None:
        progress["best_loss"] = math.inf
    fit.progress = Progress(**progress)
    fit.net.load_state_dict(_under("model.", tensors))
    fit.best = _under("best.", tensors)
    if fit.average:
        fit.average.module.load_state_dict(_under("average.", tensors))
    _restore_optimizer(fit.optimizer, _under("optimizer.", tensors), state["optimizer"])
    fit.scheduler.load_state_dict(state["scheduler"])
    fit.scaler.load_state_dict(state["scaler"])
    if fit.world.main:
        done = f"epoch {fit.progress.epoch}, step {fit.progress.step}"
        print(f"resuming after {done}: {fit.checkpoint.path}", file=sys.stderr, flush=True)


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".")
        # In the memory order of its parameter (channels-last): fused optimisers walk both as flat arrays
        like = parameters[int(index)] if tensor.dim() else tensor
        state.setdefault(int(index), {})[name] = torch.empty_like(like, device="cpu").copy_(tensor)
    for group in groups:
        for key, value in group.items():
            group[key] = tuple(value) if key == "betas" else value
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
