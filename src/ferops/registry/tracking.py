"""One MLflow run per trained model: how it is started, filled and found again.

The run of finished weights is found again by their SHA-256 (the tag `ferops.weights`), in whichever store is connected.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeGuard

from ferops.config import flatten
from ferops.files import require, sha256
from ferops.layout import Layout
from ferops.machine import cpu_name
from ferops.records import Provenance
from ferops.records.train import Epoch, TrainSummary, read_history
from ferops.registry.connection import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

WEIGHTS_TAG = "ferops.weights"
MAKER_TAG = "ferops.maker"
"""On a run or logged model that is not finished: the `maker` who has begun it."""

_SHAPING_BLOCKS = ("seed", "preset", "data", "validate", "split", "preprocess", "train")
_PACKAGES = [
    "ferops",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "pillow",
    "onnx",
    "onnxruntime",
    "openvino",
    "mlflow",
]


def start_run(
    client: MlflowClient, layout: Layout, name: str, *, made_from: Provenance, where: Mapping[str, str]
) -> str:
    """Create a run with its parameters and data set, and with tags for `where` it ran; return its id.

    It has MAKER_TAG until the caller takes it away, having noted the id: what a kill before that left is removed here.
    It is called `name`, or within an experiment of DVC's (`dvc exp run`) `name@experiment`, so that the runs of a sweep
    have different names.
    """
    from mlflow.entities import Dataset, DatasetInput, Param

    remove_begun_runs(client, layout, name)
    keys = ("data_version", "split_hash", "git_commit", "preset", "seed", "synthetic")
    tags = {key: str(getattr(made_from, key)) for key in keys} | {
        MAKER_TAG: maker(layout),
        "ferops.model": name,
        "mlflow.user": user_name(),
        "mlflow.source.name": f"ferops train {name}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": str(made_from.git_commit),
        **where,
    }
    sweep = os.environ.get("DVC_EXP_NAME")  # set by DVC for the stages of an experiment
    run_name = f"{name}@{sweep}" if sweep else name
    run_id = str(client.create_run(experiment_id(client), run_name=run_name, tags=tags).info.run_id)
    settings = {key: made_from.params[key] for key in _SHAPING_BLOCKS}
    settings |= {"model": made_from.params["models"].get(name, {})}  # an ensemble, or a soup, has no entry
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in flatten(settings, separator=".").items()])
    data = Dataset(
        name="+".join(made_from.sources),
        digest=made_from.data_version,
        source_type="dvc",
        source=json.dumps({"path": "data", "md5": made_from.data_version}),
    )
    _log_input(client, run_id, DatasetInput(data))
    return run_id


def _log_input(client: MlflowClient, run_id: str, data: DatasetInput) -> None:
    """MLflow looks for a data set before it adds it, so of two clients that add the same one the second fails once."""
    from mlflow.exceptions import MlflowException

    try:
        client.log_inputs(run_id, [data])
    except MlflowException as error:
        if "IntegrityError" not in str(error):
            raise
        client.log_inputs(run_id, [data])


def all_runs(client: MlflowClient, *, filter_string: str = "") -> list[Run]:
    """Return the experiment's runs that fit MLflow's `filter_string`, newest first, without deleted ones."""
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id(client)],
            filter_string=filter_string,
            order_by=["attributes.start_time DESC"],
            max_results=1000,
            page_token=token,
        )
        found += page
        token = page.token
        if not token:
            return found


def remove_begun_runs(client: MlflowClient, layout: Layout, name: str) -> None:
    """Remove the runs of this folder and name that a killed process began and did not note."""
    begun = f"tags.`{MAKER_TAG}` = '{maker(layout)}' and tags.`ferops.model` = '{name}'"
    for run in all_runs(client, filter_string=begun):
        client.delete_run(run.info.run_id)


def maker(layout: Layout) -> str:
    """Return what names this folder on this machine, 16 hex digits; a path would go on naming a moved folder."""
    return hashlib.sha256(f"{platform.node()}:{layout.root.resolve()}".encode()).hexdigest()[:16]


def log_training(client: MlflowClient, layout: Layout, name: str, run_id: str, *, logged: set[int]) -> None:
    """Add what the train stage left: the epochs of history.json not in `logged`, figures, summary, weights' digest."""
    made_by = f"ferops train {name}"
    for row in read_history(layout.model(name) / "history.json", made_by=made_by):
        if row.epoch not in logged:
            log_epoch(client, run_id, row)
    reports = layout.reports("train") / name
    summary = TrainSummary.read(reports / "summary.json", made_by=made_by)
    # To sort runs by: a curve ends with the last epoch, which need not be the best
    figures: dict[str, float] = {"best_epoch": summary.best_epoch, "parameters": summary.parameters}
    figures |= {"best_val_accuracy": summary.val_accuracy, "best_val_macro_f1": summary.val_macro_f1}
    log_metrics(client, run_id, figures)
    tags = {"device": summary.device, "precision": summary.precision}
    set_run_tags(client, run_id, tags | flatten({"images": summary.images}))
    for path in (*sorted(reports.glob("*.png")), reports / "summary.json"):
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
    return sha256(require(layout.model(name) / "weights.safetensors", made_by=f"ferops train {name}"))


def machine_tags() -> dict[str, str]:
    """Return tags of this machine: `env.python`, `env.platform`, `env.cpu`, `env.cuda`, `env.<package>`."""
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


def log_epoch(client: MlflowClient, run_id: str, row: Epoch) -> None:
    """Log an epoch's figures. `epoch` among them marks it in the same request: it is there whole or not at all."""
    log_metrics(client, run_id, row.as_json(), step=row.epoch)


def log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, Any], *, step: int = 0) -> None:
    """Log the finite numbers among `metrics` in one request; text, lists, None and NaN are left out."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    numbers = [Metric(key, float(value), now_ms, step) for key, value in metrics.items() if is_number(value)]
    for start in range(0, len(numbers), 1000):  # the REST interface takes 1000 metrics at a time
        client.log_batch(run_id, metrics=numbers[start : start + 1000])


def set_run_tags(client: MlflowClient, run_id: str, tags: Mapping[str, object]) -> None:
    """Set up to 100 tags of a run in one request."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number, NumPy's scalars included; True and False are not numbers."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
