"""The fit: epochs of optimiser steps, validation after each, the best epoch kept, and a checkpoint to go on from."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ferops.config import CLASSES, Train
from ferops.errors import FeropsError, StoppedError
from ferops.training.augment import augment, mixup
from ferops.training.checkpoint import Checkpoint
from ferops.training.data import Faces
from ferops.training.interrupt import StopFlag
from ferops.training.losses import focal_loss, inverse_frequency
from ferops.training.model import ExpressionNet
from ferops.training.precision import Precision

OnEpoch = Callable[[int, dict[str, float]], None]

# The random streams of a run: (seed, stream, epoch, ...). Every draw is a function of its place in the run, so that a
# run which was interrupted goes on with the same ones, and no generator's state has to be kept.
ORDER, AUGMENTATION = 0, 1

CHECK_EVERY = 20
"""Optimiser steps between looks at the loss: on a GPU each look waits for the device."""


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


class Fit:
    """One training run. `run` brings `net` to its best epoch's weights and leaves the story in `progress.history`."""

    def __init__(
        self,
        net: ExpressionNet,
        *,
        train: Train,
        epochs: int,
        seed: int,
        faces: Faces,
        validation: Faces,
        precision: Precision,
        checkpoint: Checkpoint,
    ) -> None:
        self.images_per_step = train.batch_size * train.accumulate
        self.steps = len(faces) // self.images_per_step  # the rest of an epoch's shuffle waits for the next epoch
        if not self.steps:
            raise FeropsError(
                f"the train split has {len(faces)} faces, and one optimiser step needs train.batch_size * "
                f"train.accumulate = {self.images_per_step}. Lower one of them in params.yaml, or add images"
            )
        self.net = net.to(precision.device)
        self.train, self.epochs, self.seed = train, epochs, seed
        self.faces, self.validation = faces, validation
        self.precision, self.checkpoint = precision, checkpoint
        self.weights = (
            torch.tensor(inverse_frequency(faces.labels), dtype=torch.float32, device=precision.device)
            if train.class_weights == "inverse"
            else None
        )
        self.optimizer = make_optimizer(net, train)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=train.max_lr, total_steps=epochs * self.steps, pct_start=train.warmup_share
        )
        self.scaler = torch.amp.GradScaler(precision.device.type, enabled=precision.amp == torch.float16)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}

    def run(self, on_epoch: OnEpoch | None = None) -> None:
        """Train to the end, from the checkpoint if there is one of this run.

        Raises:
            FeropsError: the loss is no longer a number, or the process was asked to stop (the state is saved first).
        """
        self._restore()
        done = (self.progress.epoch * self.steps + self.progress.step) * self.images_per_step
        bar = tqdm(
            total=self.epochs * self.steps * self.images_per_step,
            initial=done,
            unit="img",
            desc="train",
            mininterval=0.5 if sys.stderr.isatty() else 10.0,  # a log file needs fewer lines than a terminal
        )
        with bar, StopFlag() as stop:
            while self.progress.epoch < self.epochs:
                self._epoch(bar, stop)
                if self.progress.epoch % self.train.checkpoint_every == 0:
                    self._save()
                if on_epoch:
                    on_epoch(self.progress.epoch, self.progress.history[-1])
        self.net.load_state_dict(self.best)

    def _epoch(self, bar: tqdm[Any], stop: StopFlag) -> None:
        progress, started = self.progress, time.perf_counter()
        first = progress.step
        order = np.random.default_rng((self.seed, ORDER, progress.epoch)).permutation(len(self.faces))
        losses = torch.tensor(progress.loss_sum, dtype=torch.float64, device=self.precision.device)
        self.net.train()
        for step in range(first, self.steps):
            losses += self._step(order[step * self.images_per_step : (step + 1) * self.images_per_step], step)
            progress.step = step + 1
            bar.update(self.images_per_step)
            if progress.step % CHECK_EVERY == 0 or progress.step == self.steps or stop.requested:
                progress.loss_sum = self._finite(float(losses), "training loss")
            if stop.requested:
                self._save()
                raise StoppedError(
                    f"stopped as asked in epoch {progress.epoch + 1}, step {progress.step} of {self.steps}; "
                    "run the same command again to go on from there"
                )
        trained = time.perf_counter() - started
        logits = predict(self.net, self.validation.images, precision=self.precision)
        row = {"epoch": progress.epoch + 1, "train_loss": progress.loss_sum / self.steps, **self._score(logits)}
        row["learning_rate"] = float(self.scheduler.get_last_lr()[0])
        row["images_per_s"] = (self.steps - first) * self.images_per_step / trained if first < self.steps else 0.0
        row["seconds"] = time.perf_counter() - started
        progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
        progress.history.append(row)
        self._keep_best(row)
        bar.set_postfix(epoch=progress.epoch, val_f1=f"{row['val_macro_f1']:.3f}", best=progress.best_epoch)

    def _step(self, chosen: NDArray[np.int64], step: int) -> Tensor:
        """Take one optimiser step over the chosen rows, in `accumulate` parts; return the mean loss, detached."""
        rng = np.random.default_rng((self.seed, AUGMENTATION, self.progress.epoch, step))
        total = torch.zeros((), dtype=torch.float64, device=self.precision.device)
        for rows in np.split(chosen, self.train.accumulate):
            images = torch.from_numpy(self.faces.images[rows]).to(self.precision.device, non_blocking=True)
            labels = torch.from_numpy(self.faces.labels[rows]).to(self.precision.device)
            pixels = augment(self.net.pixels(images), self.train, rng)
            targets = F.one_hot(labels, len(CLASSES)).float()
            pixels, targets = mixup(pixels, targets, self.train.mixup_alpha, rng)
            with self.precision.autocast():
                logits = self.net.classify(pixels.contiguous(memory_format=torch.channels_last))
            loss = self._loss(logits, targets) / self.train.accumulate
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.train.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.progress.epoch * self.steps + step + 1 < self.epochs * self.steps:
            self.scheduler.step()
        return total

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return focal_loss(
            logits,
            targets,
            gamma=self.train.focal_gamma if self.train.loss == "focal" else 0.0,
            weights=self.weights,
            label_smoothing=self.train.label_smoothing,
        )

    def _score(self, logits: NDArray[np.float32]) -> dict[str, float]:
        device = self.precision.device
        labels = torch.from_numpy(self.validation.labels).to(device)
        loss = float(self._loss(torch.from_numpy(logits).to(device), labels))
        return {"val_loss": self._finite(loss, "validation loss"), **scores(self.validation.labels, logits)}

    def _keep_best(self, row: dict[str, float]) -> None:
        """Highest macro-F1, then lowest loss, then the earlier epoch."""
        best = (self.progress.best_macro_f1, -self.progress.best_loss)
        if (row["val_macro_f1"], -row["val_loss"]) > best:
            self.progress.best_epoch = self.progress.epoch
            self.progress.best_macro_f1, self.progress.best_loss = row["val_macro_f1"], row["val_loss"]
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.net.state_dict().items()}

    def _finite(self, value: float, what: str) -> float:
        if not math.isfinite(value):
            raise FeropsError(
                f"the {what} is {value} in epoch {self.progress.epoch + 1}: the run has diverged. Lower "
                "train.max_lr or train.clip_norm, raise train.warmup_share, or set train.amp to off. The last "
                f"sound checkpoint is kept in {self.checkpoint.folder}"
            )
        return value

    def _save(self) -> None:
        optimizer = self.optimizer.state_dict()
        tensors = {f"model.{name}": tensor for name, tensor in self.net.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {
            f"optimizer.{index}.{name}": tensor
            for index, entries in optimizer["state"].items()
            for name, tensor in entries.items()
        }
        progress = asdict(self.progress)
        if not self.best:
            progress["best_loss"] = None  # JSON has no infinity
        self.checkpoint.save(
            tensors,
            {
                "progress": progress,
                "optimizer": optimizer["param_groups"],
                "scheduler": self.scheduler.state_dict(),
                "scaler": self.scaler.state_dict(),
            },
        )

    def _restore(self) -> None:
        loaded = self.checkpoint.load()
        if loaded is None:
            return
        tensors, state = loaded
        progress = state["progress"]
        if progress["best_loss"] is None:
            progress["best_loss"] = math.inf
        self.progress = Progress(**progress)
        self.net.load_state_dict(_under("model.", tensors))
        self.best = _under("best.", tensors)
        self._restore_optimizer(_under("optimizer.", tensors), state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        print(
            f"resuming after epoch {self.progress.epoch}, step {self.progress.step}: {self.checkpoint.path}",
            file=sys.stderr,
            flush=True,
        )

    def _restore_optimizer(self, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            index, name = key.split(".")
            # In the memory order of its parameter (channels-last): fused optimisers walk both as flat arrays
            like = parameters[int(index)] if tensor.dim() else tensor
            state.setdefault(int(index), {})[name] = torch.empty_like(like, device="cpu").copy_(tensor)
        for group in groups:
            for key, value in group.items():
                group[key] = tuple(value) if key == "betas" else value
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def make_optimizer(net: nn.Module, train: Train) -> torch.optim.Optimizer:
    """Return AdamW, or SGD with Nesterov momentum 0.9. Weight decay leaves out biases and norms (one-dimensional)."""
    decayed = [parameter for parameter in net.parameters() if parameter.dim() > 1]
    free = [parameter for parameter in net.parameters() if parameter.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": train.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    if train.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=train.max_lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=train.max_lr, fused=True)  # one pass over the weights instead of ten


def predict(
    net: ExpressionNet, images: NDArray[np.uint8], *, precision: Precision, batch_size: int = 128
) -> NDArray[np.float32]:
    """Return the logits float32 `(N, 6)` of uint8 faces `(N, S, S, 3)`; leaves the network in evaluation mode."""
    net.eval()
    parts = []
    with torch.inference_mode(), precision.autocast():
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(precision.device)
            parts.append(net(batch).float().cpu().numpy())
    logits: NDArray[np.float32] = np.concatenate(parts)
    return logits


def scores(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> dict[str, float]:
    """Return accuracy and macro-F1 over all six classes (0 for a class that is neither present nor predicted)."""
    predicted = logits.argmax(axis=1)
    macro_f1 = f1_score(labels, predicted, labels=range(len(CLASSES)), average="macro", zero_division=0.0)
    return {"val_accuracy": float(accuracy_score(labels, predicted)), "val_macro_f1": float(macro_f1)}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
