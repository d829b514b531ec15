"""Watching a training in MLflow while it runs: curves, pictures, the machine's load. One run, continued when it is."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError, StoppedError
from ferops.files import write_json
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.registry.connection import connected
from ferops.registry.tracking import environment, log_epoch, log_training, start_run

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Watch:
    """What looks on while a model trains; `logged` holds the epochs that the run has already.

    Its two methods are the callbacks of `ferops.training.stage.train`.
    """

    client: MlflowClient
    run_id: str
    watch_every: int
    logged: set[int]

    def on_start(self, augmented: NDArray[np.uint8]) -> None:
        """Log a sheet of training faces after augmentation, uint8 `(H, W, 3)` RGB; a resumed run has it already."""
        if not self.logged:
            self.client.log_image(self.run_id, augmented, key="augmented", step=0)

    def on_epoch(self, epoch: int, row: dict[str, float], confusion: NDArray[np.int64]) -> None:
        """Log the epoch's row of history.json, and every `watch_every` epochs the validation confusion matrix.

        Args:
            epoch: counted from 1.
            row: the epoch's row of history.json.
            confusion: counts `(6, 6)` in DEFAULT_CLASSES order, labels as rows, predictions as columns.
        """
        if epoch in self.logged:
            return
        if self.watch_every and epoch % self.watch_every == 0:
            self._log_confusion(epoch, row, confusion)
        log_epoch(self.client, self.run_id, epoch, row)  # last: an epoch that is known has its picture
        self.logged.add(epoch)

    def _log_confusion(self, epoch: int, row: Mapping[str, float], confusion: NDArray[np.int64]) -> None:
        from PIL import Image

        from ferops.training.report import draw_confusion

        counts = {"epoch": epoch, "split": "val", "classes": list(DEFAULT_CLASSES), "counts": confusion.tolist()}
        self.client.log_dict(self.run_id, counts, f"confusion/epoch-{epoch:04d}.json")
        picture = io.BytesIO()
        draw_confusion(picture, confusion, title=f"validation, epoch {epoch}: macro-F1 {row['val_macro_f1']:.3f}")
        with Image.open(picture) as image:
            self.client.log_image(self.run_id, image.convert("RGB"), key="confusion", step=epoch)


@contextmanager
def training_run(layout: Layout, params: Params, name: str) -> Iterator[Watch]:
    """Record the training of `models.<name>` as an MLflow run that `ferops.registry.tracking.start_run` names.

    Yields what the training calls as it goes. A training that was killed continues its run; epochs the run holds
    already are not logged twice. On a clean exit the run gets the epochs it missed, the figures, the summary and the
    weights' digest, and ends FINISHED; after an exception it ends FAILED, after Ctrl-C, SIGTERM or
    a StoppedError KILLED.

    Raises:
        FeropsError: no such model in `params`, the store does not answer or stops doing so, or the training left no
            weights.
    """
    if name not in params.models:
        raise FeropsError(f"params.yaml has no model {name!r}; models has: {', '.join(params.models)}")
    kept = "The last checkpoint of an unfinished training is kept, and the training goes on from there"
    with connected(layout, kept=kept) as client, _recorded(client, layout, params, name) as watch:
        yield watch


@contextmanager
def _recorded(client: MlflowClient, layout: Layout, params: Params, name: str) -> Iterator[Watch]:
    made_from = provenance(layout, params).as_json()
    memory = layout.state / "runs" / f"{name}.json"
    run_id, logged = _continue_run(client, memory, _fingerprint(made_from, name)) or (None, set())
    if run_id is None:
        run_id = start_run(client, params, name, made_from=made_from, where=environment())
        write_json(memory, {"run_id": run_id, "fingerprint": _fingerprint(made_from, name)})
    watch = Watch(client, run_id, params.train.watch_every, logged)
    with _ends_well(client, run_id), _system_metrics(client, run_id, resumed=bool(logged)):
        yield watch
        log_training(client, layout, name, run_id, logged=logged)
    memory.unlink(missing_ok=True)


def _continue_run(client: MlflowClient, memory: Path, fingerprint: str) -> tuple[str, set[int]] | None:
    """Return the unfinished run of this very training and the epochs it holds, or None if there is none to continue."""
    from mlflow.exceptions import MlflowException

    if not memory.exists():
        return None
    last = json.loads(memory.read_text(encoding="utf-8"))
    try:
        run = client.get_run(last["run_id"])
    except MlflowException:  # another store, or the run was purged
        return None
    if run.info.lifecycle_stage != "active" or run.info.status == "FINISHED":
        return None
    if last["fingerprint"] != fingerprint:
        if run.info.status == "RUNNING":  # its process died without a word
            client.set_terminated(last["run_id"], status="KILLED")
        return None
    client.update_run(last["run_id"], status="RUNNING")
    return last["run_id"], {metric.step for metric in client.get_metric_history(last["run_id"], "epoch")}


def _fingerprint(made_from: Mapping[str, Any], name: str) -> str:
    """SHA-256 of what makes a training the same one: data, split, seed and settings."""
    settings = made_from["params"]
    parts = {key: settings[key] for key in ("seed", "preprocess")} | {"model": settings["models"][name]}
    # How often one looks and saves changes nothing
    parts["train"] = {
        key: value for key, value in settings["train"].items() if key not in ("checkpoint_every", "watch_every")
    }
    parts |= {key: made_from[key] for key in ("data_version", "split_hash")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _ends_well(client: MlflowClient, run_id: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        with _sigterm_as_exit():
            yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit | StoppedError)
        with suppress(MlflowException):  # where the server is gone, too, the first reason is the one to tell
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
    finally:
        monitor.finish()
    # A training shorter than the interval has no sample yet. The processor's load is the mean since the last reading;
    # the very first reading, which has nothing to compare with, is thrown away with the others that were not sent
    for each in monitor.monitors:
        each.clear_metrics()
    monitor.collect_metrics()
    monitor.publish_metrics(monitor.aggregate_metrics())
    monitor.mlflow_logger.flush()
