"""What a step of training changes, and a checkpoint keeps: weights, their average, optimiser, schedule, progress."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from ferops.config import Train
from ferops.records import Record
from ferops.records.train import Epoch
from ferops.training.model import ExpressionNet
from ferops.training.optimizer import make_optimizer, make_scheduler
from ferops.training.precision import Precision


class Progress(BaseModel):
    """How far a training has come.

    Attributes:
        history: the finished epochs.
        best_epoch: counted from 1; 0 before the first has ended.
        step: finished optimiser steps of the running epoch.
        loss_sum: of these steps.
        threads: each number of CPU threads that computed a part of it.
    """

    history: list[Epoch] = []
    best_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    threads: tuple[int, ...] = ()

    def note_threads(self, count: int) -> None:
        if count not in self.threads:
            self.threads += (count,)

    @property
    def epoch(self) -> int:
        """The number of finished epochs, which is the running epoch counted from 0."""
        return len(self.history)

    @property
    def best(self) -> Epoch | None:
        return self.history[self.best_epoch - 1] if self.best_epoch else None


class Header(Record):
    """What a checkpoint holds beside tensors."""

    progress: Progress
    optimizer: list[dict[str, Any]]
    scheduler: dict[str, Any]
    scaler: dict[str, Any]


class TrainState:
    """The network in training with all that moves along; `best` holds the weights of the best epoch, on the CPU."""

    def __init__(self, net: ExpressionNet, train: Train, *, total_steps: int, precision: Precision) -> None:
        self.net = net
        self.total_steps = total_steps
        self.device = precision.device
        self.optimizer = make_optimizer(net.backbone, train)
        self.scheduler = make_scheduler(self.optimizer, train, total_steps=total_steps)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision.amp == torch.float16)
        self.ema = ModelEmaV3(net, decay=train.ema_decay, use_warmup=True) if train.ema_decay else None
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}

    @property
    def eval_model(self) -> ExpressionNet:
        """The network that is validated and kept: the running average of the weights if there is one."""
        return self.ema.module if self.ema else self.net

    def apply_gradients(self, *, global_step: int, clip_norm: float) -> None:
        """Change the weights by the gradients that are there; `global_step` counts the training's steps from 1."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update(self.net, step=global_step)
        if global_step < self.total_steps:
            self.scheduler.step()

    def end_epoch(self, row: Epoch) -> None:
        """Note the epoch, and keep the weights of the best: highest macro-F1, then lowest loss, then the earlier."""
        progress, best = self.progress, self.progress.best
        progress.history.append(row)
        progress.step, progress.loss_sum = 0, 0.0
        if best is None or (row.val_macro_f1, -row.val_loss) > (best.val_macro_f1, -best.val_loss):
            progress.best_epoch = row.epoch
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.eval_model.state_dict().items()}

    def is_finite(self) -> bool:
        """Return whether all that was learnt is finite: weights, their average, the optimiser's state."""
        finite = [tensor.isfinite().all() for tensor in self._learnt().values() if tensor.is_floating_point()]
        return bool(torch.stack([each.to(self.device) for each in finite]).all())

    def snapshot(self) -> tuple[dict[str, Tensor], Header]:
        """Return what a checkpoint keeps; `restore` takes it."""
        header = Header(
            progress=self.progress,
            optimizer=self.optimizer.state_dict()["param_groups"],
            scheduler=self.scheduler.state_dict(),
            scaler=self.scaler.state_dict(),
        )
        return self._learnt() | {f"best.{name}": tensor for name, tensor in self.best.items()}, header

    def restore(self, tensors: dict[str, Tensor], header: Header) -> None:
        self.progress = header.progress.model_copy(deep=True)
        self.net.load_state_dict(_under("model.", tensors))
        self.best = _under("best.", tensors)
        if self.ema:
            self.ema.module.load_state_dict(_under("ema.", tensors))
        self._restore_optimizer(_under("optimizer.", tensors), header.optimizer)
        self.scheduler.load_state_dict(header.scheduler)
        self.scaler.load_state_dict(header.scaler)

    def _learnt(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": tensor for name, tensor in self.net.state_dict().items()}
        if self.ema:
            tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.module.state_dict().items()}
        return tensors | {
            f"optimizer.{index}.{name}": tensor
            for index, entries in self.optimizer.state_dict()["state"].items()
            for name, tensor in entries.items()
            if tensor is not None  # SGD's momentum of frozen layers
        }

    def _restore_optimizer(self, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            index, name = key.split(".")
            # In the memory order of its parameter (channels-last): fused optimisers walk both as flat arrays
            like = parameters[int(index)] if tensor.dim() else tensor
            state.setdefault(int(index), {})[name] = torch.empty_like(like, device="cpu").copy_(tensor)
        groups = [{key: tuple(v) if key == "betas" else v for key, v in group.items()} for group in groups]  # no list
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
