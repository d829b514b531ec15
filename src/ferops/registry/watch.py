"""A training in MLflow while it runs: curves, images, the machine's load. A resumed training continues its run."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferops.config import Params
from ferops.errors import FeropsError, StoppedError
from ferops.layout import Layout
from ferops.plots import save_confusion_matrix
from ferops.provenance import provenance
from ferops.records.train import Epoch
from ferops.records.watch import UnfinishedRun
from ferops.registry.connection import connected, is_unanswered
from ferops.registry.tracking import MAKER_TAG, log_epoch, log_training, machine_tags, start_run

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Watch:
    """The callbacks of `ferops.training.stage.run`; `logged` holds the epochs that the run has already."""

    client: MlflowClient
    run_id: str
    classes: Sequence[str]
    watch_every: int
    logged: set[int]

    def on_start(self, augmented: NDArray[np.uint8]) -> None:
        """Log a sheet of training faces after augmentation, uint8 `(H, W, 3)` RGB; a resumed run has it already."""
        if not self.logged:
            self.client.log_image(self.run_id, augmented, key="augmented", step=0)

    def on_epoch(self, row: Epoch, confusion: NDArray[np.int64]) -> None:
        """Log the epoch, and every `watch_every` epochs the confusion counts `(K, K)` on validation."""
        if row.epoch in self.logged:
            return
        if self.watch_every and row.epoch % self.watch_every == 0:
            self._log_confusion(row, confusion)
        log_epoch(self.client, self.run_id, row)  # last: an epoch that is known has its image
        self.logged.add(row.epoch)

    def _log_confusion(self, row: Epoch, confusion: NDArray[np.int64]) -> None:
        from PIL import Image

        counts = {"epoch": row.epoch, "split": "val", "classes": list(self.classes), "counts": confusion.tolist()}
        self.client.log_dict(self.run_id, counts, f"confusion/epoch-{row.epoch:04d}.json")
        png = io.BytesIO()
        title = f"validation, epoch {row.epoch}: macro-F1 {row.val_macro_f1:.3f}"
        save_confusion_matrix(png, confusion, self.classes, title=title)
        with Image.open(png) as image:
            self.client.log_image(self.run_id, image.convert("RGB"), key="confusion", step=row.epoch)


@contextmanager
def training_run(layout: Layout, params: Params, name: str, *, training: str) -> Iterator[Watch]:
    """Record the training of `models.<name>` as an MLflow run that `ferops.registry.tracking.start_run` names.

    Yields the training's callbacks. A training that was killed continues its run; epochs that the run has are not
    logged twice. On a clean exit the run gets the epochs it missed, figures, summary and the weights' digest, and ends
    FINISHED; after an exception it ends FAILED, after Ctrl-C, SIGTERM or a StoppedError KILLED.

    Args:
        training: digest of the training's `ferops.training.identity.Identity`; only the same one continues a run.

    Raises:
        FeropsError: the store does not answer or stops doing so, or the training left no weights.
    """
    kept = "The last checkpoint of an unfinished training is kept, and the training goes on from there"
    memory = layout.state / "runs" / f"{name}.json"
    with connected(layout, kept=kept) as client:
        run_id, logged = _continue_run(client, memory, training) or (None, set())
        if run_id is None:
            run_id = start_run(client, layout, name, made_from=provenance(layout, params), where=machine_tags())
            UnfinishedRun(run_id=run_id, training=training).write(memory)
            client.delete_tag(run_id, MAKER_TAG)
        watch = Watch(client, run_id, params.data.classes, params.train.watch_every, logged)
        with _final_status(client, run_id), _system_metrics(client, run_id, resumed=bool(logged)):
            yield watch
            log_training(client, layout, name, run_id, logged=logged)
        memory.unlink(missing_ok=True)


def _continue_run(client: MlflowClient, memory: Path, training: str) -> tuple[str, set[int]] | None:
    """Return the unfinished run of this very training and the epochs it has, or None if there is none to continue."""
    from mlflow.exceptions import MlflowException

    if not memory.exists():
        return None
    try:
        last = UnfinishedRun.read(memory, made_by="ferops train")
        run = client.get_run(last.run_id)
    except (FeropsError, MlflowException):  # of another version or in another store, or the run was purged
        return None
    if run.info.lifecycle_stage != "active" or run.info.status == "FINISHED":
        return None
    if last.training != training:
        if run.info.status == "RUNNING":  # its process died without a word
            client.set_terminated(last.run_id, status="KILLED")
        return None
    client.update_run(last.run_id, status="RUNNING")
    if MAKER_TAG in run.data.tags:  # the kill came as soon as the run was noted
        client.delete_tag(last.run_id, MAKER_TAG)
    return last.run_id, {metric.step for metric in client.get_metric_history(last.run_id, "epoch")}


@contextmanager
def _final_status(client: MlflowClient, run_id: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        with _sigterm_as_exit():
            yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit | StoppedError)
        if is_unanswered(error):
            raise  # a server that hangs would be waited for once more
        with suppress(MlflowException):  # if the server is gone as well, the first reason is the one to report
            client.set_terminated(run_id, status="KILLED" if stopped else "FAILED")
        raise
    client.set_terminated(run_id, status="FINISHED")


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, unless somebody handles it already; signals reach the main thread only."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit_on_signal(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _system_metrics(client: MlflowClient, run_id: str, *, resumed: bool) -> Iterator[None]:
    """Sample processor, memory, disk and network every 10 s beside the training, and once at its end."""
    from mlflow.system_metrics import system_metrics_monitor

    monitor_of: Any = system_metrics_monitor.SystemMetricsMonitor  # untyped
    monitor = monitor_of(run_id, resume_logging=resumed, tracking_uri=client.tracking_uri)
    monitor.start()
    try:
        yield
    except BaseException as error:
        if not is_unanswered(error):  # else it would wait for the server as well; its thread ends with the process
            monitor.finish()
        raise
    monitor.finish()
    # A training shorter than the interval has no sample yet. The processor's load is the mean since the last reading;
    # the very first reading, which has nothing to compare with, is thrown away with the others that were not sent
    for each in monitor.monitors:
        each.clear_metrics()
    monitor.collect_metrics()
    monitor.publish_metrics(monitor.aggregate_metrics())
    monitor.mlflow_logger.flush()
