from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError, StoppedError
from ferops.layout import Layout
from ferops.records.watch import UnfinishedRun
from ferops.registry.connection import experiment_id
from ferops.registry.tracking import WEIGHTS_TAG, weights_digest
from ferops.registry.watch import Watch, training_run
from ferops.training.identity import Identity, settings_of
from trained import epoch

COUNTS = np.arange(36, dtype=np.int64).reshape(6, 6)
"""Of a validation split: labels as rows, predictions as columns."""


def newest_run(client: MlflowClient) -> str:
    return str(client.search_runs([experiment_id(client)], max_results=1)[0].info.run_id)


def count_runs(client: MlflowClient) -> int:
    return len(client.search_runs([experiment_id(client)]))


def curve(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client.get_metric_history(run_id, key)]


def identity(params: Params, **changes: Any) -> Identity:
    """That of a training of the candidate here; its parts are tested in tests/training/test_prepare.py."""
    facts = {
        "faces": "f" * 64,
        "pretrained": None,
        "teacher": None,
        "micro_batches": 1,
        "processes": 1,
        "device": "cpu",
    }
    return Identity(**settings_of(params, "candidate") | facts | {"number_format": "bf16"} | changes)


def recorded(layout: Layout, params: Params, **changes: Any) -> AbstractContextManager[Watch]:
    return training_run(layout, params, "candidate", training=identity(params, **changes).digest)


def train_and_die(layout: Layout, params: Params, error: type[BaseException]) -> None:
    with recorded(layout, params) as watch:
        watch.on_epoch(epoch(1), COUNTS)
        watch.on_epoch(epoch(2), COUNTS)
        raise error


def test_a_training_is_recorded(layout: Layout, params: Params, client: MlflowClient) -> None:
    with recorded(layout, params) as watch:
        for number in (1, 2, 3):
            watch.on_epoch(epoch(number), COUNTS)
    run = client.get_run(newest_run(client))
    assert (run.info.run_name, run.info.status) == ("candidate", "FINISHED")
    assert curve(client, run.info.run_id, "train_loss") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    assert curve(client, run.info.run_id, "epoch") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert run.data.params["model.architecture"] == params.models["candidate"].architecture
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


def test_the_run_is_sorted_by_the_kept_weights_figures(layout: Layout, params: Params, client: MlflowClient) -> None:
    with recorded(layout, params):
        pass
    run = client.get_run(newest_run(client))
    names = ("best_epoch", "best_val_accuracy", "best_val_macro_f1", "parameters")
    assert [run.data.metrics[name] for name in names] == [3.0, 0.61, 0.58, 11_179_590.0]
    tags = [run.data.tags[name] for name in ("device", "precision", "images.train", "images.val", "images.test")]
    assert tags == ["cpu", "bf16", "600", "90", "120"]


def test_a_training_shorter_than_the_interval_has_system_metrics(
    layout: Layout, params: Params, client: MlflowClient
) -> None:
    with recorded(layout, params):
        sum(number * number for number in range(300_000))  # a load to see
    run_id = newest_run(client)
    load = curve(client, run_id, "system/cpu_utilization_percentage")
    assert len(load) == 1
    assert 0.0 < load[0][1] <= 100.0
    memory = curve(client, run_id, "system/system_memory_usage_megabytes")
    assert memory[0][1] > 100.0


def images(client: MlflowClient, run_id: str) -> dict[tuple[str, int], str]:
    """The images in full size, by key and step, as MLflow's page finds them: by the parts of their names."""
    found = {}
    for each in client.list_artifacts(run_id, "images"):
        key, _, step, *_ = each.path.removeprefix("images/").split("+")
        if each.path.endswith(".png"):
            found[key, int(step)] = each.path
    return found


def test_images_are_logged_by_epoch(layout: Layout, params: Params, client: MlflowClient, tmp_path: Path) -> None:
    every_two = params.model_copy(update={"train": params.train.model_copy(update={"watch_every": 2})})
    sheet = np.random.default_rng(0).integers(0, 256, (34, 68, 3), dtype=np.uint8)
    with recorded(layout, every_two) as watch:
        watch.on_start(sheet)
        for number in (1, 2, 3, 4):
            watch.on_epoch(epoch(number), COUNTS * number)
    run_id = newest_run(client)
    logged = images(client, run_id)
    assert logged.keys() == {("augmented", 0), ("confusion", 2), ("confusion", 4)}
    with Image.open(client.download_artifacts(run_id, logged["augmented", 0], str(tmp_path))) as image:
        np.testing.assert_array_equal(np.asarray(image), sheet)
    with Image.open(client.download_artifacts(run_id, logged["confusion", 4], str(tmp_path))) as image:
        assert image.mode == "RGB"
        assert min(image.size) > 400  # large enough to read
    tables = sorted(each.path for each in client.list_artifacts(run_id, "confusion"))
    assert tables == ["confusion/epoch-0002.json", "confusion/epoch-0004.json"]
    table = json.loads(Path(client.download_artifacts(run_id, tables[1], str(tmp_path))).read_text())
    assert table["counts"] == (COUNTS * 4).tolist()
    assert (table["epoch"], table["split"], table["classes"]) == (4, "val", list(DEFAULT_CLASSES))
    assert client.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"


def test_watching_can_be_off_and_a_resumed_run_gets_no_second_sheet(
    layout: Layout, params: Params, client: MlflowClient
) -> None:
    off = params.model_copy(update={"train": params.train.model_copy(update={"watch_every": 0})})
    sheet = np.zeros((8, 8, 3), dtype=np.uint8)

    def train(*, until: int, error: type[BaseException] | None) -> None:
        with recorded(layout, off) as watch:
            watch.on_start(sheet)
            for number in range(1, until + 1):
                watch.on_epoch(epoch(number), COUNTS)
            if error:
                raise error

    with pytest.raises(KeyboardInterrupt):
        train(until=1, error=KeyboardInterrupt)
    before = newest_run(client)
    train(until=3, error=None)
    assert newest_run(client) == before
    assert images(client, before).keys() == {("augmented", 0)}
    assert client.list_artifacts(before, "confusion") == []


def test_how_often_one_looks_does_not_make_another_run(layout: Layout, params: Params, client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_and_die(layout, params, KeyboardInterrupt)
    before = newest_run(client)
    often = params.model_copy(update={"train": params.train.model_copy(update={"watch_every": 1})})
    with recorded(layout, often):
        pass
    assert newest_run(client) == before


def test_the_runs_of_a_sweep_have_different_names(
    layout: Layout, params: Params, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "lr-0.001")
    with recorded(layout, params):
        pass
    run = client.get_run(newest_run(client))
    assert run.info.run_name == "candidate@lr-0.001"
    assert run.data.tags["ferops.model"] == "candidate"


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
    with recorded(layout, params) as watch:
        watch.on_epoch(epoch(2), COUNTS)  # the last checkpoint was older than the last epoch logged
    assert count_runs(client) == runs
    assert client.get_run(before).info.status == "FINISHED"
    # Epoch 3 is in history.json only: it was trained, and killed before it was logged
    assert curve(client, before, "train_loss") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]

    with recorded(layout, params):
        pass
    assert newest_run(client) != before, "a finished run is never continued"


def test_other_settings_start_another_run(layout: Layout, params: Params, client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_and_die(layout, params, KeyboardInterrupt)
    before = newest_run(client)
    changed = params.model_copy(update={"seed": params.seed + 1})
    with recorded(layout, changed):
        pass
    assert newest_run(client) != before
    assert client.get_run(before).info.status == "KILLED"


def test_a_training_without_weights_failed(layout: Layout, params: Params, client: MlflowClient) -> None:
    (layout.model("candidate") / "weights.safetensors").unlink()
    with (
        pytest.raises(FeropsError, match=r"weights\.safetensors does not exist"),
        recorded(layout, params),
    ):
        pass
    assert client.get_run(newest_run(client)).info.status == "FAILED"


@pytest.mark.parametrize("changes", [{"device": "cuda"}, {"number_format": "fp16"}, {"micro_batches": 2}])
def test_another_arithmetic_starts_another_run(
    layout: Layout, params: Params, client: MlflowClient, changes: dict[str, Any]
) -> None:
    """The checkpoint is another's then, so one curve would show two trainings."""
    with pytest.raises(KeyboardInterrupt):
        train_and_die(layout, params, KeyboardInterrupt)
    before = newest_run(client)
    with recorded(layout, params, **changes):
        pass
    assert newest_run(client) != before
    assert client.get_run(before).info.status == "KILLED"


def test_a_server_that_goes_away_is_one_message(
    layout: Layout, params: Params, client: MlflowClient, die: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train() -> None:
        with recorded(layout, params) as watch:
            watch.on_epoch(epoch(1), COUNTS)
            for method in ("log_batch", "set_terminated"):
                gone.setattr(MlflowClient, method, die)
            watch.on_epoch(epoch(2), COUNTS)

    with (
        monkeypatch.context() as gone,
        pytest.raises(FeropsError, match=r"no longer answers.*checkpoint.*is kept.*same command again"),
    ):
        train()
    before, runs = newest_run(client), count_runs(client)
    with recorded(layout, params) as watch:
        watch.on_epoch(epoch(2), COUNTS)
    assert count_runs(client) == runs
    assert [step for step, _ in curve(client, before, "train_loss")] == [1, 2, 3]
    assert client.get_run(before).info.status == "FINISHED"


def test_why_a_training_ended_is_reported_though_the_server_is_gone(
    layout: Layout, params: Params, die: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MlflowClient, "set_terminated", die)
    with pytest.raises(StoppedError):
        train_and_die(layout, params, StoppedError)


def train_and_be_stopped(layout: Layout, params: Params) -> None:
    with recorded(layout, params):
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
    with recorded(layout, params.model_copy(update={"seed": params.seed + 1})):
        pass
    assert client.get_run(run_id).info.status == "KILLED"


def test_a_run_that_a_kill_left_before_it_was_noted_is_removed(
    layout: Layout, params: Params, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(UnfinishedRun, "write", lambda *_: None)  # as if it had ended here
        killed.setattr(MlflowClient, "delete_tag", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            train_and_die(layout, params, KeyboardInterrupt)
    unnoted = newest_run(client)
    with recorded(layout, params):
        pass
    assert client.get_run(unnoted).info.lifecycle_stage == "deleted"
    assert count_runs(client) == 1
    with monkeypatch.context() as killed:
        killed.setattr(MlflowClient, "delete_tag", lambda *_: None)  # killed as soon as it was noted
        with pytest.raises(KeyboardInterrupt):
            train_and_die(layout, params, KeyboardInterrupt)
    with recorded(layout, params):
        pass
    noted = newest_run(client)
    with recorded(layout, params):
        pass
    assert client.get_run(noted).info.lifecycle_stage == "active"
