"""That a training which was cut off goes on to the same weights, and that bf16 learns what FP32 does."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from fitting import Recipe, Trainer
from parts import Job
from teach import PRESET
from torch import Tensor

from ferops.training.fit import Fit

TOLERANCE = 1e-3
"""Largest difference of a weight, in units of the largest weight of its layer."""


class CutError(Exception):
    """Stands for a kill: nothing in the library knows it, so that nothing is saved after it."""


def resume(job: Job) -> dict[str, Any]:
    """Train twice from the same start: as a whole, and cut off a step after a checkpoint in the second epoch."""
    trainer = _trainer(job)
    torch.backends.cudnn.deterministic = True

    def fit() -> Fit:
        made = trainer.fit(copy.deepcopy(trainer.net), epochs=2, name="resumed")
        torch.backends.cudnn.benchmark = False  # the fastest kernel may be another one each time
        return made

    whole = fit()
    whole.run()
    whole.checkpoint.remove()
    cut, after = fit(), max(1, whole.plan.per_epoch // 2)
    _cut(cut, epoch=1, step=after)
    try:
        cut.run()
    except CutError:
        pass
    else:
        raise RuntimeError("the training was not cut off")
    continued = fit()
    continued.run()
    continued.checkpoint.remove()
    difference = largest_difference(whole.state.net.state_dict(), continued.state.net.state_dict())
    return {
        "cut": f"epoch 2: {after} of {whole.plan.per_epoch} steps saved, one more lost",
        "largest_difference": difference,
        "tolerance": TOLERANCE,
        "same": difference <= TOLERANCE,
        "bit_for_bit": difference == 0.0,
    }


def amp(job: Job) -> dict[str, Any]:
    """Train the same in the machine's own number format and in FP32; return figures of both on validation."""
    found = {}
    for name in ("auto", "off"):
        trainer = _trainer(job, amp=name)
        trained = trainer.train(until=job.until, together=job.together, epochs=1 if job.tiny else 5)
        last = trained.figures["history"][-1]
        kept = {key: last[key] for key in ("train_loss", "val_loss", "val_accuracy", "val_macro_f1", "images_per_s")}
        found[name] = {"precision": trainer.precision.name, **kept}
    return found


def _trainer(job: Job, *, amp: str = "auto") -> Trainer:
    tiny = job.tiny
    changes = {"batch_size": 8 if tiny else 256, "amp": amp, "sampling": {}}
    recipe = Recipe("test_resnet" if tiny else "mobilenetv1", None if tiny else "faces", 96, PRESET, 5, changes)
    train, validation = (job.pack.splits[name] for name in ("train", "val"))
    rows = np.arange(len(train)) if tiny else np.random.default_rng(0).permutation(len(train))[:8192]
    return Trainer(recipe, train[rows], validation, classes=job.pack.classes)


def _cut(fit: Fit, *, epoch: int, step: int) -> None:
    """Save before this step, as a long epoch does every few minutes, and end with it."""
    run = fit.stepper.run

    def acting(rows: Any, **place: int) -> Tensor:
        if (place["epoch"], place["step"]) == (epoch, step):
            fit.save()
        if (place["epoch"], place["step"]) > (epoch, step):
            raise CutError
        return run(rows, **place)

    fit.stepper.run = acting  # type: ignore[method-assign]


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the largest difference of two states, in units of the largest number of its tensor."""
    largest = 0.0
    for name, tensor in one.items():
        if tensor.is_floating_point():
            scale = max(float(tensor.abs().max()), 1e-12)
            largest = max(largest, float((tensor - other[name]).abs().max()) / scale)
    return largest
