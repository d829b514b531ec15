"""The stage `train@NAME`: the packed faces -> one trained model, its logits, its history."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.errors import FeropsError
from ferops.files import atomic_folder
from ferops.records.train import TrainSummary, write_history
from ferops.training import distributed, folds, model, report
from ferops.training.checkpoint import Checkpoint
from ferops.training.evaluator import confusion, predict, scores
from ferops.training.fit import OnEpoch
from ferops.training.memory import peak_memory_mb
from ferops.training.precision import Precision
from ferops.training.prepare import Training

OnStart = Callable[[NDArray[np.uint8]], None]
"""Called before the first step with a sheet of augmented training faces, uint8 `(H, W, 3)` RGB."""


def run(training: Training, *, on_start: OnStart | None = None, on_epoch: OnEpoch | None = None) -> TrainSummary | None:
    """Train what `prepare` made ready, and write artifacts/train/<name> and reports/train/<name>.

    A training that was killed goes on from its last checkpoint when the same one is started again; on a CPU it ends
    with the same weights, bit for bit, as an uninterrupted one. The epoch is chosen on the validation split by
    macro-F1; the test split goes through the chosen weights at the end, and decides nothing.

    A process that torchrun started trains together with the others (docs/distributed.md); process 0 alone calls
    `on_start` and `on_epoch`, writes, and returns the summary; the others return None.

    With `train.every_fold` models of the other folds are trained before (`ferops.training.folds`).

    Raises:
        FeropsError: every_fold with several processes, a diverged training, a full disk, a lost process, or SIGTERM
            (the state is saved first).
    """
    fit, world = training.fit, training.world
    others = _other_folds(training) if training.params.train.every_fold else None
    sheet = report.augmented_sheet(training.faces["train"], fit.train, seed=training.params.seed)
    with distributed.process_group(world, fit.precision.device):
        if on_start and world.main:
            on_start(sheet)
        fit.run(on_epoch if world.main else None)
    if not world.main:
        return None
    logits = _write_model(training, others)
    labels = training.faces["val"].labels
    summary = _summary(training, logits["val"])
    target = training.layout.reports("train") / training.name
    with _training_is_kept("the report", fit.checkpoint), atomic_folder(target) as folder:
        counts = confusion(labels, logits["val"])
        report.write(folder, summary, fit.progress.history, counts, training.config.classes, sheet=sheet)
    fit.checkpoint.remove()
    return summary


def _other_folds(training: Training) -> pd.DataFrame:
    if training.world.size > 1:
        raise training.world.once(
            FeropsError("train.every_fold trains in one process: set it to false, or unset FEROPS_TORCHRUN")
        )
    return folds.other_folds(training.layout, training.params, training.name)


def _write_model(training: Training, others: pd.DataFrame | None) -> dict[str, NDArray[np.float32]]:
    """Write artifacts/train/<name>; return the logits `(N, K)` of the validation and the test split.

    Args:
        others: the answers to the other folds, with `train.every_fold`.
    """
    fit, net = training.fit, training.fit.state.net
    # The logits that others compare with are FP32, whatever the training ran in
    plain = Precision(fit.precision.device, None)
    logits = {split: predict(net, training.faces[split].images, precision=plain) for split in ("val", "test")}
    size_mb = sum(tensor.nbytes for tensor in net.state_dict().values()) / 1e6
    target = training.layout.model(training.name)
    with _training_is_kept(f"the model, {size_mb:,.1f} MB,", fit.checkpoint), atomic_folder(target) as folder:
        model.save(folder, net, training.config)
        write_history(folder / "history.json", fit.progress.history)
        for split, values in logits.items():
            np.save(folder / f"{split}_logits.npy", values)
        if others is not None:
            own = folds.answers(folds.images_of(training.layout, "test"), logits["test"], training.config.classes)
            pd.concat([own, others]).to_parquet(folder / training.layout.every_fold(training.name).name, index=False)
    return logits


def _summary(training: Training, logits: NDArray[np.float32]) -> TrainSummary:
    fit, config = training.fit, training.config
    accuracy, macro_f1 = scores(training.faces["val"].labels, logits)
    return TrainSummary(
        provenance=config.provenance,
        model=training.name,
        architecture=config.architecture,
        parameters=config.parameters,
        size_px=config.size_px,
        images={split: len(faces) for split, faces in training.faces.items()},
        device=str(fit.precision.device),
        precision=fit.precision.name,
        threads=fit.progress.threads,
        epochs=fit.epochs,
        best_epoch=fit.progress.best_epoch,
        val_accuracy=accuracy,
        val_macro_f1=macro_f1,
        images_per_s=float(np.median([row.images_per_s for row in fit.progress.history])),
        seconds=time.perf_counter() - training.started,
        peak_memory_mb=peak_memory_mb(fit.precision.device),
    )


@contextmanager
def _training_is_kept(what: str, checkpoint: Checkpoint) -> Iterator[None]:
    """Say in an error of writing that the training is not lost."""
    try:
        yield
    except FeropsError as error:
        raise FeropsError(f"{what} could not be written: {error}. {checkpoint.hint}") from error
