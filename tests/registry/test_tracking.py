from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from ferops.config import Params
from ferops.errors import FeropsError, StoppedError
from ferops.layout import Layout
from ferops.registry.connection import experiment_id
from ferops.registry.tracking import WEIGHTS_TAG, training_run, weights_digest


def newest_run(client: MlflowClient) -> str:
    return str(client.search_runs([experiment_id(client)], max_results=1)[0].info.run_id)


def count_runs(client: MlflowClient) -> int:
    return len(client.search_runs([experiment_id(client)]))


def curve(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client.get_metric_history(run_id, key)]


def train_and_die(layout: Layout, params: Params, error: type[BaseException]) -> None:
    with training_run(layout, params, "candidate") as log_epoch:
        log_epoch(1, {"train_loss": 2.0})
        log_epoch(2, {"train_loss": 1.0})
        raise error


def test_a_training_is_recorded(layout: Layout, params: Params, client: MlflowClient) -> None:
    with training_run(layout, params, "candidate") as log_epoch:
        for epoch in (1, 2, 3):
            log_epoch(epoch, {"train_loss": 2.0 / epoch, "val_macro_f1": float("nan")})
    run = client.get_run(newest_run(client))
    assert (run.info.run_name, run.info.status) == ("candidate", "FINISHED")
    assert curve(client, run.info.run_id, "train_loss") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    assert "val_macro_f1" not in run.data.metrics
    assert run.data.params["model.architecture"] == "resnet50"
    assert run.data.params["train.max_lr"] == str(params.train.max_lr)
    assert run.data.tags["data_version"] == "d" * 32
    assert run.data.tags[WEIGHTS_TAG] == weights_digest(layout, "candidate")
    assert run.data.tags["env.python"] == ".".join(map(str, sys.version_info[:3]))
    assert (run.inputs.dataset_inputs[0].dataset.name, run.inputs.dataset_inputs[0].dataset.digest) == (
        "synthetic",
        "d" * 32,
    )
    logged = {each.path for each in client.list_artifacts(run.info.run_id, "train")}
    assert logged == {"train/curves.png", "train/summary.json"}


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED"), (StoppedError, "KILLED")],
)
def test_a_run_says_how_it_ended(
    layout: Layout, params: Params, client: MlflowClient, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error):
        train_and_die(layout, params, error)
    run = client.get_run(newest_run(client))
    assert run.info.status == status
    assert WEIGHTS_TAG not in run.data.tags


def test_a_resumed_training_continues_its_run(layout: Layout, params: Params, client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_and_die(layout, params, KeyboardInterrupt)
    before, runs = newest_run(client), count_runs(client)
    with training_run(layout, params, "candidate") as log_epoch:
        log_epoch(2, {"train_loss": 1.0})  # the last checkpoint was older than the last epoch logged
    assert count_runs(client) == runs
    assert client.get_run(before).info.status == "FINISHED"
    # Epoch 3 is in history.json only: it was trained, and killed before it was logged
    assert curve(client, before, "train_loss") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]

    with training_run(layout, params, "candidate"):
        pass
    assert newest_run(client) != before, "a finished run is never continued"


def test_other_settings_start_another_run(layout: Layout, params: Params, client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_and_die(layout, params, KeyboardInterrupt)
    before = newest_run(client)
    changed = params.model_copy(update={"seed": params.seed + 1})
    with training_run(layout, changed, "candidate"):
        pass
    assert newest_run(client) != before
    assert client.get_run(before).info.status == "KILLED"


def test_a_training_without_weights_failed(layout: Layout, params: Params, client: MlflowClient) -> None:
    (layout.model("candidate") / "weights.safetensors").unlink()
    with (
        pytest.raises(FeropsError, match=r"weights\.safetensors does not exist"),
        training_run(layout, params, "candidate"),
    ):
        pass
    assert client.get_run(newest_run(client)).info.status == "FAILED"


def test_an_unknown_model_is_refused(layout: Layout, params: Params) -> None:
    with pytest.raises(FeropsError, match="no model 'candidat'"), training_run(layout, params, "candidat"):
        pass


def test_a_server_that_goes_away_is_one_message(
    layout: Layout, params: Params, client: MlflowClient, die: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train() -> None:
        with training_run(layout, params, "candidate") as log_epoch:
            log_epoch(1, {"train_loss": 2.0})
            for method in ("log_batch", "set_terminated"):
                gone.setattr(MlflowClient, method, die)
            log_epoch(2, {"train_loss": 1.0})

    with (
        monkeypatch.context() as gone,
        pytest.raises(FeropsError, match=r"no longer answers.*checkpoint.*is kept.*same command again"),
    ):
        train()
    before, runs = newest_run(client), count_runs(client)
    with training_run(layout, params, "candidate") as log_epoch:
        log_epoch(2, {"train_loss": 1.0})
    assert count_runs(client) == runs
    assert [step for step, _ in curve(client, before, "train_loss")] == [1, 2, 3]
    assert client.get_run(before).info.status == "FINISHED"


def test_why_a_training_ended_is_told_though_the_server_is_gone(
    layout: Layout, params: Params, die: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MlflowClient, "set_terminated", die)
    with pytest.raises(StoppedError):
        train_and_die(layout, params, StoppedError)


def train_and_be_stopped(layout: Layout, params: Params) -> None:
    with training_run(layout, params, "candidate"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)  # the signal ends it


def test_sigterm_marks_the_run_killed(layout: Layout, params: Params, client: MlflowClient) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        train_and_be_stopped(layout, params)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert client.get_run(newest_run(client)).info.status == "KILLED"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_whose_process_was_shot_is_not_left_running(layout: Layout, params: Params, client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_and_die(layout, params, KeyboardInterrupt)
    run_id = newest_run(client)
    client.update_run(run_id, status="RUNNING")  # SIGKILL leaves it like this
    with training_run(layout, params.model_copy(update={"seed": params.seed + 1}), "candidate"):
        pass
    assert client.get_run(run_id).info.status == "KILLED"
