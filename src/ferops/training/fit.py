"""The fit: epochs of optimiser steps, validation after each, the best epoch kept, and a checkpoint to go on from."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from ferops import threads
from ferops.config import Train
from ferops.errors import FeropsError, StoppedError
from ferops.records.train import Epoch
from ferops.training import norms
from ferops.training.bar import Bar
from ferops.training.checkpoint import Checkpoint
from ferops.training.distributed import World
from ferops.training.evaluator import Evaluator, Validation
from ferops.training.faces import Faces
from ferops.training.interrupt import StopFlag
from ferops.training.losses import make_criterion
from ferops.training.memory import peak_memory_mb
from ferops.training.model import ExpressionNet
from ferops.training.precision import Precision
from ferops.training.state import Header, Progress, TrainState
from ferops.training.step import StepPlan, StepRunner
from ferops.training.teacher import Teacher

OnEpoch = Callable[[Epoch, NDArray[np.int64]], None]
"""Called after each epoch with its row of history.json and the confusion counts `(K, K)` on validation."""

CHECK_EVERY = 20
"""Optimiser steps between checks of the loss: on a GPU each check waits for the device."""

SAVE_EVERY_S = 300.0
"""Seconds between checkpoints inside a long epoch."""


class Fit:
    """One training. `run` brings the network to its best epoch's weights; `state.progress` holds the history.

    Args:
        net: on the device of `precision`.
        plan: of its steps, by `ferops.training.step.plan_steps`.
        targets: of the training faces, float32 `(N, K)`.
        offsets: float32 `(N, K)`, added to the logits of the training faces before the loss; None for none.
        weights: of the training faces, `(N,)`: how often each is drawn, up to scale; None for once in an epoch.
        teacher: on the device of `precision`; None to learn from the targets alone.
    """

    def __init__(
        self,
        net: ExpressionNet,
        plan: StepPlan,
        *,
        train: Train,
        epochs: int,
        seed: int,
        faces: Faces,
        targets: NDArray[np.float32],
        offsets: NDArray[np.float32] | None = None,
        weights: NDArray[np.float64] | None = None,
        validation: Faces,
        precision: Precision,
        checkpoint: Checkpoint,
        world: World,
        teacher: Teacher | None = None,
    ) -> None:
        self.plan, self.train, self.epochs = plan, train, epochs
        self.precision, self.checkpoint, self.world = precision, checkpoint, world
        classes = targets.shape[1]
        criterion = make_criterion(train, faces.labels, num_classes=classes, device=precision.device)
        self.state = TrainState(net, train, total_steps=epochs * plan.per_epoch, precision=precision)
        self.stepper = StepRunner(
            self.state,
            plan,
            train=train,
            seed=seed,
            faces=faces,
            targets=targets,
            offsets=offsets,
            weights=weights,
            criterion=criterion,
            precision=precision,
            world=world,
            teacher=teacher,
        )
        self.evaluator = Evaluator(validation, classes, criterion, precision, world)
        self.saved_at = time.monotonic()

    @property
    def progress(self) -> Progress:
        return self.state.progress

    def run(self, on_epoch: OnEpoch | None = None) -> None:
        """Train to the end, from this training's checkpoint if there is one.

        Raises:
            FeropsError: the loss or the weights are no longer finite, a checkpoint cannot be written, another process
                of this training trains something else, or this one was asked to stop (the state is saved first).
        """
        self.world.require_same(self.checkpoint.digest)
        self._resume()
        self.progress.note_threads(torch.get_num_threads())
        done = (self.progress.epoch * self.plan.per_epoch + self.progress.step) * self.plan.images
        total = self.epochs * self.plan.per_epoch * self.plan.images
        with Bar(images=total, done=done, epochs=self.epochs, shown=self.world.main) as bar, StopFlag() as stop:
            while self.progress.epoch < self.epochs and not self._out_of_patience():
                validation = self._run_epoch(bar, stop)
                if self.progress.epoch % self.train.checkpoint_every == 0:
                    self.save()
                if on_epoch:
                    on_epoch(self.progress.history[-1], validation.confusion)
                if self.progress.epoch < self.epochs:
                    self._choose_threads(bar)
        self.state.net.load_state_dict(self.state.best)
        if self.train.norm_faces and self.world.main:
            norms.measure_again(
                self.state.net,
                self.stepper.faces.images,
                self.stepper.weights,
                count=self.train.norm_faces,
                seed=self.stepper.seed,
                device=self.precision.device,
            )

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        # A gradient can be NaN where the loss is not, and the next loss would come too late
        if not self.state.is_finite():
            self._diverged("not all weights are finite numbers")
        if self.world.main:
            self.checkpoint.save(*self.state.snapshot())
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        loaded = self.world.broadcast_state(self.checkpoint.load(Header) if self.world.main else None, Header)
        if loaded is None:
            return
        self.state.restore(*loaded)
        if self.world.main:
            done = f"epoch {self.progress.epoch}, step {self.progress.step}"
            print(f"resuming after {done}: {self.checkpoint.path}", file=sys.stderr, flush=True)
            before, now = self.progress.threads, torch.get_num_threads()
            if before not in ((), (now,)):
                changed = f"threads so far: {', '.join(map(str, before))}; now {now}"
                print(f"{changed}. This changes the last bits of the weights", file=sys.stderr, flush=True)

    def _run_epoch(self, bar: Bar, stop: StopFlag) -> Validation:
        """Train for an epoch (the rest of one, after a resume), validate it, and note it."""
        started, epoch, first = time.perf_counter(), self.progress.epoch, self.progress.step
        bar.start_epoch(epoch + 1)
        self._train_epoch(bar, stop)
        trained = time.perf_counter() - started
        validation = self.evaluator.run(self.state.eval_model)
        self._require_finite(validation.loss, "validation loss")
        images = (self.plan.per_epoch - first) * self.plan.images
        row = Epoch(
            epoch=epoch + 1,
            train_loss=self.progress.loss_sum / self.plan.per_epoch,
            val_loss=validation.loss,
            val_accuracy=validation.accuracy,
            val_macro_f1=validation.macro_f1,
            learning_rate=float(self.state.scheduler.get_last_lr()[-1]),
            images_per_s=images / trained if images else 0.0,
            seconds=time.perf_counter() - started,
            peak_memory_mb=list(peak_memory_mb(self.precision.device).values())[-1],  # the GPU's if there is one
        )
        self.state.end_epoch(row)
        bar.end_epoch(row, best=self.progress.best or row)
        return validation

    def _train_epoch(self, bar: Bar, stop: StopFlag) -> None:
        progress, images, steps = self.progress, self.plan.images, self.plan.per_epoch
        order = self.stepper.order(progress.epoch)
        losses = torch.tensor(progress.loss_sum, dtype=torch.float64, device=self.precision.device)
        self.stepper.set_trainable(head_only=progress.epoch < self.train.freeze_epochs)
        for step in range(progress.step, steps):
            rows = order[step * images : (step + 1) * images]
            losses += self.stepper.run(rows, epoch=progress.epoch, step=step)
            progress.step = step + 1
            bar.update(images)
            late = time.monotonic() - self.saved_at > SAVE_EVERY_S and progress.step < steps
            stopping, due = self.world.any(stop.requested, late)
            if progress.step % CHECK_EVERY == 0 or progress.step == steps or stopping or due:
                progress.loss_sum = self.world.mean(losses)
                self._require_finite(progress.loss_sum, "training loss")
            if stopping or due:
                self.save()
                self._choose_threads(bar)
            if stopping:
                stopped = f"stopped as asked in epoch {progress.epoch + 1}, step {progress.step} of {steps}"
                raise self.world.once(StoppedError(f"{stopped}; run the same command again to go on from there"))

    def _choose_threads(self, bar: Bar) -> None:
        """Give way to other work, which comes and goes, and note the number: it shapes the last bits of the weights."""
        if said := threads.choose_again():
            bar.say(f"train: {said}")
        self.progress.note_threads(torch.get_num_threads())

    def _out_of_patience(self) -> bool:
        patience = self.train.early_stopping
        return bool(patience) and self.progress.epoch - self.progress.best_epoch >= patience

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            self._diverged(f"the {what} is {value}")

    def _diverged(self, found: str) -> NoReturn:
        path = self.checkpoint.path
        raise self.world.once(
            FeropsError(
                f"{found} in epoch {self.progress.epoch + 1}: the training has diverged. Lower train.max_lr or "
                "train.clip_norm, raise train.warmup_share, or set train.amp to off. "
                + (f"The last sound checkpoint is {path}" if path.exists() else "")
            )
        )
