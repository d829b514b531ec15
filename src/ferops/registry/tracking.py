"""One MLflow run per trained model, continued when the training is.

The run of finished weights is found again by their SHA-256 (the tag `ferops.weights`), in whichever store is connected.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ferops.config import Params, flatten
from ferops.errors import FeropsError, StoppedError
from ferops.files import read_json, require, write_json
from ferops.layout import Layout
from ferops.machine import cpu_name
from ferops.provenance import provenance
from ferops.registry.connection import connected, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

WEIGHTS_TAG = "ferops.weights"
_SHAPING_BLOCKS = ("seed", "preset", "data", "validate", "split", "preprocess", "train")
_PACKAGES = ("ferops", "torch", "torchvision", "numpy", "pandas", "pillow", "onnx", "onnxruntime", "openvino", "mlflow")

EpochLogger = Callable[[int, dict[str, float]], None]


@contextmanager
def training_run(layout: Layout, params: Params, name: str) -> Iterator[EpochLogger]:
    """Record the training of `models.<name>` as an MLflow run named `name`.

    Yields a function of the epoch and its metrics. A training that was killed continues its run; epochs the run holds
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
    with connected(layout, kept=kept) as client, _recorded(client, layout, params, name) as log_epoch:
        yield log_epoch


@contextmanager
def _recorded(client: MlflowClient, layout: Layout, params: Params, name: str) -> Iterator[EpochLogger]:
    made_from = provenance(layout, params)
    memory = layout.state / "runs" / f"{name}.json"
    run_id, logged = _continue_run(client, memory, _fingerprint(made_from, name)) or (None, set())
    if run_id is None:
        run_id = start_run(client, params, name, made_from=made_from, where=environment())
        write_json(memory, {"run_id": run_id, "fingerprint": _fingerprint(made_from, name)})

    def log_epoch(epoch: int, metrics: dict[str, float]) -> None:
        if epoch not in logged:
            _log_epoch(client, run_id, epoch, metrics)
            logged.add(epoch)

    with _ends_well(client, run_id), _system_metrics(client, run_id, resumed=bool(logged)):
        yield log_epoch
        log_training(client, layout, name, run_id, logged=logged)
    memory.unlink(missing_ok=True)


def start_run(
    client: MlflowClient, params: Params, name: str, *, made_from: Mapping[str, Any], where: Mapping[str, str]
) -> str:
    """Create a run named `name` with its parameters and data set, and with tags for `where` it ran; return its id."""
    from mlflow.entities import Dataset, DatasetInput, Param

    tags = {
        key: str(made_from[key]) for key in ("data_version", "split_hash", "git_commit", "preset", "seed", "synthetic")
    }
    tags |= {
        **where,
        "ferops.model": name,
        "mlflow.user": user_name(),
        "mlflow.source.name": f"ferops train {name}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": str(made_from["git_commit"]),
    }
    run_id = str(client.create_run(experiment_id(client), run_name=name, tags=tags).info.run_id)
    settings = {key: made_from["params"][key] for key in _SHAPING_BLOCKS} | {"model": params.models[name].model_dump()}
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in flatten(settings, separator=".").items()])
    data = Dataset(
        name="+".join(made_from["sources"]),
        digest=made_from["data_version"],
        source_type="dvc",
        source=json.dumps({"path": "data", "md5": made_from["data_version"]}),
    )
    client.log_inputs(run_id, [DatasetInput(data)])
    return run_id


def log_training(client: MlflowClient, layout: Layout, name: str, run_id: str, *, logged: set[int]) -> None:
    """Add what the train stage left: the epochs of history.json not in `logged`, figures, summary, weights' digest."""
    made_by = f"ferops train {name}"
    for entry in read_json(layout.model(name) / "history.json", made_by=made_by):
        if entry["epoch"] not in logged:
            _log_epoch(client, run_id, entry["epoch"], {key: entry[key] for key in entry if key != "epoch"})
    reports = layout.reports("train") / name
    for path in (*sorted(reports.glob("*.png")), *reports.glob("summary.json")):
        client.log_artifact(run_id, str(path), "train")
    client.set_tag(run_id, WEIGHTS_TAG, weights_digest(layout, name))


def find_run(client: MlflowClient, digest: str) -> str | None:
    """Return the id of the newest run that trained the weights with this SHA-256, or None."""
    found = client.search_runs(
        [experiment_id(client)],
        filter_string=f"tags.`{WEIGHTS_TAG}` = '{digest}'",  # set last, so the run is complete
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return str(found[0].info.run_id) if found else None


def weights_digest(layout: Layout, name: str) -> str:
    """Return the SHA-256 of the trained weights, hex."""
    path = require(layout.model(name) / "weights.safetensors", made_by=f"ferops train {name}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def environment() -> dict[str, str]:
    """Return tags that say where a run ran: `env.python`, `env.cpu`, `env.cuda`, `env.<package>`."""
    import torch

    cuda = f"{torch.version.cuda}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "none"
    tags = {
        "env.python": platform.python_version(),
        "env.platform": platform.platform(),
        "env.cpu": cpu_name(),
        "env.cuda": cuda,
    }
    return tags | {f"env.{package}": version(package) for package in _PACKAGES}


def user_name() -> str:
    """Return the login name, or `unknown` where the user has none (a container with a bare user id)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, Any], *, step: int = 0) -> None:
    """Log the finite numbers among `metrics` in one request; text, lists, None and NaN are left out."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    numbers = [Metric(key, float(value), now_ms, step) for key, value in metrics.items() if is_number(value)]
    for start in range(0, len(numbers), 1000):  # the REST interface takes 1000 metrics at a time
        client.log_batch(run_id, metrics=numbers[start : start + 1000])


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number, NumPy's scalars included; True and False are not numbers."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _log_epoch(client: MlflowClient, run_id: str, epoch: int, metrics: Mapping[str, Any]) -> None:
    # The marker comes along in the same request, so that an epoch is known whole or not at all
    log_metrics(client, run_id, {**metrics, "epoch": epoch}, step=epoch)


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
    parts["train"] = {key: value for key, value in settings["train"].items() if key != "checkpoint_every"}
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
    """Sample processor, memory, disk and network every 10 s beside the training."""
    from mlflow.system_metrics import system_metrics_monitor

    monitor_of: Any = system_metrics_monitor.SystemMetricsMonitor  # untyped
    monitor = monitor_of(run_id, resume_logging=resumed, tracking_uri=client.tracking_uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
