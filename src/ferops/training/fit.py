"""The fit: epochs of optimiser steps, validation after each, the best epoch kept, and a checkpoint to go on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Train
from ferops.errors import FeropsError, StoppedError
from ferops.training import state
from ferops.training.augment import augment, blend
from ferops.training.bar import Bar
from ferops.training.checkpoint import Checkpoint
from ferops.training.data import Faces
from ferops.training.distributed import World
from ferops.training.interrupt import StopFlag
from ferops.training.losses import effective_number, focal_loss, inverse_frequency
from ferops.training.memory import parts, peak_memory_mb
from ferops.training.model import ExpressionNet
from ferops.training.norms import RunningStatistics
from ferops.training.optimizer import make_optimizer, make_scheduler
from ferops.training.precision import Precision
from ferops.training.state import Progress
from ferops.training.zoo import head_parameters

OnEpoch = Callable[[int, dict[str, float], NDArray[np.int64]], None]
"""Called after each epoch: its number from 1, its row of history.json, the confusion counts `(6, 6)` on validation."""

# The random streams of a run: (seed, stream, epoch, ...). Every draw is a function of its place in the run, so that a
# run which was interrupted goes on with the same ones, and no generator's state has to be kept.
ORDER, AUGMENTATION, DROPOUT = 0, 1, 3

CHECK_EVERY = 20
"""Optimiser steps between looks at the loss: on a GPU each look waits for the device."""

SAVE_EVERY_S = 300.0
"""Seconds between checkpoints inside a long epoch."""


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
        world: World | None = None,
    ) -> None:
        self.net, self.world = net.to(precision.device), world or World()
        whole = parts(net, train, precision)
        self.images_per_step = train.batch_size * (1 if train.accumulate == "auto" else whole)
        self.parts = self.world.parts(images=self.images_per_step, parts=whole)  # of this process's share of a step
        chained = self.parts * self.world.size == whole
        self.statistics = RunningStatistics(net, self.world, parts=self.parts, chained=chained)
        self.steps = len(faces) // self.images_per_step  # the rest of an epoch's shuffle waits for the next epoch
        if not self.steps:
            raise FeropsError(
                f"the train split has {len(faces)} faces, and one optimiser step needs train.batch_size * "
                f"train.accumulate = {self.images_per_step}. Lower one of them in params.yaml, or add images"
            )
        self.train, self.epochs, self.seed = train, epochs, seed
        self.faces, self.validation = faces, validation
        self.targets = faces.targets(soft=train.soft_labels)
        self.precision = precision
        # Of what changes the arithmetic, these are not among the settings
        self.checkpoint = checkpoint.of(
            parts=self.parts, processes=self.world.size, device=precision.device.type, precision=precision.name
        )
        self.weights = _class_weights(train, faces.labels, precision.device)
        self.classify: Callable[[Tensor], Tensor] = torch.compile(net.classify) if train.compile else net.classify
        self.head_alone: bool | None = None
        self.head = {f"backbone.{name}" for name in head_parameters(net.backbone)}
        self.optimizer = make_optimizer(net.backbone, train)
        self.scheduler = make_scheduler(self.optimizer, train, total_steps=epochs * self.steps)
        self.scaler = torch.amp.GradScaler(precision.device.type, enabled=precision.amp == torch.float16)
        self.average = ModelEmaV3(net, decay=train.ema_decay, use_warmup=True) if train.ema_decay else None
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.saved_at = time.monotonic()

    @property
    def judged(self) -> ExpressionNet:
        """The network that validation judges and the run keeps: the running average of the weights if there is one."""
        return self.average.module if self.average else self.net

    def run(self, on_epoch: OnEpoch | None = None) -> None:
        """Train to the end, from the checkpoint if there is one of this run.

        Raises:
            FeropsError: the loss or the weights are no longer numbers, a checkpoint cannot be written, another process
                of this training trains something else, or this one was asked to stop (the state is saved first).
        """
        self.world.require_same(self.checkpoint.fingerprint)
        state.restore(self)
        done = (self.progress.epoch * self.steps + self.progress.step) * self.images_per_step
        images = self.epochs * self.steps * self.images_per_step
        bar = Bar(images=images, done=done, epochs=self.epochs, shown=self.world.main)
        with bar, StopFlag() as stop:
            while self.progress.epoch < self.epochs and not self._waited_enough():
                logits = self._epoch(bar, stop)
                if self.progress.epoch % self.train.checkpoint_every == 0:
                    self._save()
                if on_epoch:
                    counts = confusion(self.validation.labels, logits)
                    on_epoch(self.progress.epoch, self.progress.history[-1], counts)
        self.net.load_state_dict(self.best)

    def _epoch(self, bar: Bar, stop: StopFlag) -> NDArray[np.float32]:
        """Train for an epoch (the rest of one, after a resume) and judge it; return the validation logits `(N, 6)`."""
        progress, started = self.progress, time.perf_counter()
        bar.start_epoch(progress.epoch + 1)
        first = progress.step
        order = np.random.default_rng((self.seed, ORDER, progress.epoch)).permutation(len(self.faces))
        losses = torch.tensor(progress.loss_sum, dtype=torch.float64, device=self.precision.device)
        self._learn_with(head_only=progress.epoch < self.train.freeze_epochs)
        for step in range(first, self.steps):
            losses += self._step(order[step * self.images_per_step : (step + 1) * self.images_per_step], step)
            progress.step = step + 1
            bar.update(self.images_per_step)
            late = time.monotonic() - self.saved_at > SAVE_EVERY_S and progress.step < self.steps
            stopping, due = self.world.any(stop.requested, late)
            if progress.step % CHECK_EVERY == 0 or progress.step == self.steps or stopping or due:
                progress.loss_sum = self._finite(self.world.mean(losses), "training loss")
            if stopping or due:
                self._save()
            if stopping:
                stopped = (
                    f"stopped as asked in epoch {progress.epoch + 1}, step {progress.step} of {self.steps}; "
                    "run the same command again to go on from there"
                )
                raise self.world.told(StoppedError(stopped))
        trained = time.perf_counter() - started
        if self.world.main:
            logits = predict(self.judged, self.validation.images, precision=self.precision)
        else:
            logits = np.zeros((len(self.validation), len(DEFAULT_CLASSES)), np.float32)  # `_score` asks process 0
        row = {"epoch": progress.epoch + 1, "train_loss": progress.loss_sum / self.steps, **self._score(logits)}
        row["learning_rate"] = float(self.scheduler.get_last_lr()[-1])
        row["images_per_s"] = (self.steps - first) * self.images_per_step / trained if first < self.steps else 0.0
        row["seconds"] = time.perf_counter() - started
        row["peak_memory_mb"] = list(peak_memory_mb(self.precision.device).values())[-1]  # the GPU's if there is one
        progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
        progress.history.append(row)
        self._keep_best(row)
        bar.end_epoch(row, best_epoch=progress.best_epoch, best_macro_f1=progress.best_macro_f1)
        return logits

    def _step(self, chosen: NDArray[np.int64], step: int) -> Tensor:
        """Take one optimiser step over the chosen rows, this process's share in `parts`; return its mean loss."""
        progress = self.progress
        place = (progress.epoch, step, *self.world.stream)
        rng = np.random.default_rng((self.seed, AUGMENTATION, *place))
        torch.manual_seed(int(np.random.SeedSequence((self.seed, DROPOUT, *place)).generate_state(1)[0]))
        total = torch.zeros((), dtype=torch.float64, device=self.precision.device)
        self.statistics.keep()
        for part, rows in enumerate(np.split(self.world.share(chosen), self.parts), start=1):
            pixels, targets = self._batch(rows, rng)
            with self.world.backward(self.classify, last=part == self.parts):
                with self.precision.training():
                    logits = self.classify(pixels.contiguous(memory_format=torch.channels_last))
                loss = self._loss(logits, targets) / self.parts
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.statistics.merge()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.train.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        taken = progress.epoch * self.steps + step + 1
        if self.average:
            self.average.update(self.net, step=taken)
        if taken < self.epochs * self.steps:
            self.scheduler.step()
        return total

    def _batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return augmented faces, float32 `(N, 3, S, S)` in 0-1, and targets `(N, K)`, on the device.

        Where all faces are grey, one channel is worked on, a third of the numbers, and then shown three times.
        """
        device = self.precision.device
        channels = 1 if self.net.grayscale else 3
        images = torch.from_numpy(self.faces.images[rows][..., :channels]).to(device, non_blocking=True)
        targets = torch.from_numpy(self.targets[rows]).to(device, non_blocking=True)
        pixels, targets = blend(augment(self.net.pixels(images), self.train, rng), targets, self.train, rng)
        return pixels.expand(-1, 3, -1, -1), targets

    def _learn_with(self, *, head_only: bool) -> None:
        """Set the mode of training: all of the network, or its head alone while the rest, norms too, stands still."""
        self.net.train()
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(not head_only or name in self.head)
        if head_only:
            self.net.eval()
        if self.world.size > 1 and head_only != self.head_alone:  # it looks only once at what there is to learn
            self.classify, self.head_alone = self.world.parallel(self.net, compiled=self.train.compile), head_only

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
        found = self.world.from_main({"val_loss": loss, **scores(self.validation.labels, logits)})
        self._finite(found["val_loss"], "validation loss")
        return found

    def _keep_best(self, row: dict[str, float]) -> None:
        """Highest macro-F1, then lowest loss, then the earlier epoch."""
        best = (self.progress.best_macro_f1, -self.progress.best_loss)
        if (row["val_macro_f1"], -row["val_loss"]) > best:
            self.progress.best_epoch = self.progress.epoch
            self.progress.best_macro_f1, self.progress.best_loss = row["val_macro_f1"], row["val_loss"]
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.judged.state_dict().items()}

    def _waited_enough(self) -> bool:
        patience = self.train.early_stopping
        return bool(patience) and self.progress.epoch - self.progress.best_epoch >= patience

    def _finite(self, value: float, what: str) -> float:
        if not math.isfinite(value):
            raise self._diverged(f"the {what} is {value}")
        return value

    def _diverged(self, found: str) -> FeropsError:
        return self.world.told(
            FeropsError(
                f"{found} in epoch {self.progress.epoch + 1}: the run has diverged. Lower train.max_lr or "
                "train.clip_norm, raise train.warmup_share, or set train.amp to off. "
                + (f"The last sound checkpoint is {self.checkpoint.path}" if self.checkpoint.path.exists() else "")
            )
        )

    def _save(self) -> None:
        if not state.is_finite(self):  # a gradient can be NaN where the loss is not, and the next loss comes too late
            raise self._diverged("not all weights are finite numbers")
        if self.world.main:
            state.save(self)
        self.saved_at = time.monotonic()


def _class_weights(train: Train, labels: NDArray[np.int64], device: torch.device) -> Tensor | None:
    if train.class_weights == "none":
        return None
    inverse = train.class_weights == "inverse"
    weights = inverse_frequency(labels) if inverse else effective_number(labels, beta=train.effective_beta)
    return torch.tensor(weights, dtype=torch.float32, device=device)


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
    macro_f1 = f1_score(labels, predicted, labels=range(len(DEFAULT_CLASSES)), average="macro", zero_division=0.0)
    return {"val_accuracy": float(accuracy_score(labels, predicted)), "val_macro_f1": float(macro_f1)}


def confusion(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return counts int64 `(6, 6)` in DEFAULT_CLASSES order: labels as rows, predictions as columns."""
    counts: NDArray[np.int64] = confusion_matrix(labels, logits.argmax(axis=1), labels=range(len(DEFAULT_CLASSES)))
    return counts
