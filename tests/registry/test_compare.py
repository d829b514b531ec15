from __future__ import annotations

import re

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.compare import Comparison, RunFacts, TestScores
from ferops.records.metrics import Metrics
from ferops.registry.compare import best_epoch, compare
from ferops.registry.compare_table import table
from ferops.registry.connection import experiment_id
from ferops.registry.stage import register
from registry_project import changed, interval, write_metrics

CURVES = {
    "val_macro_f1": [0.30, 0.52, 0.52, 0.50],
    "val_loss": [1.5, 1.2, 1.1, 1.0],
    "val_accuracy": [0.35, 0.55, 0.56, 0.54],
    "images_per_s": [90.0, 100.0, 110.0, 400.0],
    "seconds": [50.0, 40.0, 40.0, 40.0],
}
SETTINGS = {"train.max_lr": "0.001", "train.flip_probability": "0.5", "model.architecture": "resnet18"}


def add_run(
    client: MlflowClient,
    name: str,
    *,
    settings: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    curves: dict[str, list[float]] | None = None,
    metrics: dict[str, float] | None = None,
) -> str:
    """A run as a training leaves it, without the training."""
    origin = {"data_version": "d" * 32, "split_hash": "5" * 16, "git_commit": "c" * 40, "env.cpu": "A CPU"}
    run = client.create_run(experiment_id(client), run_name=name, tags=origin | {"env.cuda": "none"} | (tags or {}))
    run_id = str(run.info.run_id)
    logged = [
        Metric(key, value, 1000 + step, step)
        for key, values in (CURVES if curves is None else curves).items()
        for step, value in enumerate(values, start=1)
    ]
    logged += [Metric(key, value, 9000, 0) for key, value in (metrics or {}).items()]
    client.log_batch(
        run_id, metrics=logged, params=[Param(key, value) for key, value in (SETTINGS | (settings or {})).items()]
    )
    client.set_terminated(run_id)
    return run_id


def test_two_runs_side_by_side(layout: Layout, params: Params, client: MlflowClient) -> None:
    first = add_run(client, "slow", metrics={"parameters": 11_179_590, "peak_memory_mb": 900.0})
    second = add_run(
        client,
        "fast",
        settings={"train.max_lr": "0.01", "train.ema_decay": "0.99"},
        tags={"device": "cuda", "env.cuda": "13.0, A GPU"},
        metrics={"best_val_accuracy": 0.61, "best_val_macro_f1": 0.58, "peak_memory_mb": 2000.0},
    )
    found = compare(layout, params, ["slow", "fast"])
    assert found.comparable
    assert found.reasons == ()
    assert found.settings == {"train.ema_decay": (None, "0.99"), "train.max_lr": ("0.001", "0.01")}
    slow, fast = found.runs
    assert (slow.run_id, fast.run_id) == (first, second)
    # Epochs 2 and 3 share the highest macro-F1; the third has the lower loss
    assert (slow.best_epoch, slow.epochs, slow.val_accuracy, slow.val_macro_f1) == (3, 4, 0.56, 0.52)
    assert (fast.val_accuracy, fast.val_macro_f1) == (0.61, 0.58)
    assert (slow.images_per_s, slow.train_seconds) == (105.0, 170.0)
    assert (slow.parameters, slow.peak_memory_mb, slow.device) == (11_179_590, 900.0, "A CPU")
    assert (fast.parameters, fast.peak_memory_mb, fast.device) == (None, 2000.0, "A GPU")
    assert slow.test is None
    assert Comparison.model_validate_json(found.model_dump_json()) == found

    shown = table(found, width=120)
    cells = {line[: len(label)]: line[len(label) :].split() for line in shown.splitlines() for label in [line[:19]]}
    assert cells["train.max_lr       "] == ["0.001", "0.01"]
    assert cells["train.ema_decay    "] == ["-", "0.99"]
    assert cells["best epoch         "] == ["3", "of", "4", "3", "of", "4"]
    assert cells["validation accuracy"] == ["56.00", "%", "61.00", "%"]
    assert cells["validation macro-F1"] == ["0.5200", "0.5800"]
    assert cells["training time      "] == ["2", "min", "50", "s", "2", "min", "50", "s"]
    assert "flip_probability" not in shown
    assert "test accuracy" not in shown, "no run has test figures"
    assert "The figures can be compared" in shown


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"data_version": "e" * 32}, "data versions differ"),
        ({"split_hash": "6" * 16}, "splits differ"),
        ({"split_hash": "None"}, "splits differ"),
    ],
)
def test_runs_of_other_data_are_not_comparable(
    layout: Layout, params: Params, client: MlflowClient, other: dict[str, str], word: str
) -> None:
    ids = [add_run(client, "one"), add_run(client, "two", tags=other)]
    found = compare(layout, params, ids)
    assert not found.comparable
    assert any(word in reason for reason in found.reasons)
    shown = table(found, width=120)
    assert "CANNOT be compared" in shown
    assert "No setting differs." in shown


def test_models_of_other_classes_are_not_comparable(layout: Layout, params: Params, client: MlflowClient) -> None:
    ids = [add_run(client, "run", settings={"data.classes": classes}) for classes in ("['happy']", "['sad']")]
    assert compare(layout, params, ids).reasons == ("the classes differ: each model was tested on its own",)


def test_the_same_split_with_other_faces_is_not_comparable(
    layout: Layout, params: Params, client: MlflowClient
) -> None:
    ids = [add_run(client, "run", tags={"images.val": str(faces)}) for faces in (90, 90, 84)]
    assert compare(layout, params, ids[:2]).comparable
    assert "84 and 90 were left" in compare(layout, params, ids).reasons[0]


def test_a_registered_run_shows_its_test_figures(
    layout: Layout, params: Params, client: MlflowClient, metrics: Metrics
) -> None:
    write_metrics(layout, changed(metrics, candidate__tta="flip"))
    version = register(layout, params).version
    assert client.get_model_version("ferops", version).tags["tta"] == "flip"
    add_run(client, "other")
    found = compare(layout, params, [f"models:/ferops/{version}", "models:/ferops@challenger", "other"])
    first, second, other = found.runs
    assert first == second
    assert first.version == ("ferops", "1 challenger")
    assert first.test == TestScores(
        accuracy=interval(0.80, 0.76, 0.84), macro_f1=interval(0.78, 0.73, 0.82), tta="flip"
    )
    assert other.test is None
    shown = table(found, width=160)
    assert "80.00 (76.00 to 84.00)" in shown
    assert "0.7800 (0.7300 to 0.8200)" in shown
    assert "ferops 1 challenger" in shown
    assert re.search(r"test-time augmentation +flip +flip +-", shown)


def test_a_run_without_an_epoch_is_shown_with_gaps(layout: Layout, params: Params, client: MlflowClient) -> None:
    add_run(client, "died", curves={})
    add_run(client, "lived")
    found = compare(layout, params, ["died", "lived"])
    died = found.runs[0]
    assert (died.best_epoch, died.val_accuracy, died.train_seconds, died.epochs) == (None, None, None, 0)
    assert "-" in table(found, width=120)


@pytest.mark.parametrize("wanted", [[], ["one"]])
def test_one_run_cannot_be_compared(layout: Layout, params: Params, client: MlflowClient, wanted: list[str]) -> None:
    run_id = add_run(client, "one")
    with pytest.raises(FeropsError, match=rf"two runs or more, found {len(wanted)}.*\n  {run_id[:8]}  one "):
        compare(layout, params, wanted)


def test_the_best_epoch_is_the_trainings() -> None:
    assert best_epoch({}, {}) is None
    assert best_epoch({1: 0.2, 2: 0.5, 3: 0.5}, {1: 9.0, 2: 1.0, 3: 1.0}) == 2
    assert best_epoch({1: 0.2, 2: 0.5, 3: 0.5}, {1: 9.0, 2: 1.0, 3: 0.9}) == 3


def fake(name: str, number: int) -> RunFacts:
    return RunFacts(
        run_id=f"{number:032x}",
        name=name,
        version=None,
        status="FINISHED",
        started="2026-11-22T06:00:00+00:00",
        data_version="d" * 32,
        split_hash="5" * 16,
        git_commit=None,
        epochs=40,
        best_epoch=31,
        val_accuracy=0.7312,
        val_macro_f1=0.7012,
        test=TestScores(accuracy=interval(0.71, 0.69, 0.73), macro_f1=interval(0.71, 0.69, 0.73), tta="flip"),
        parameters=None,
        validation_faces=None,
        images_per_s=1234.5,
        train_seconds=5400.0,
        peak_memory_mb=None,
        device="Intel(R) Xeon(R) Platinum 8488C with a long name",
    )


@pytest.mark.parametrize(("count", "width"), [(2, 80), (2, 120), (6, 120), (10, 120)])
def test_the_table_keeps_to_the_width(count: int, width: int) -> None:
    runs = tuple(fake(f"efficientnet_lite0-{number}", number) for number in range(count))
    names = [f"a-run-with-a-long-name-{number}-{'x' * 40}" for number in range(count)]
    settings = {"preprocess.tight_sources": (*names[1:], None)}
    shown = table(Comparison(comparable=True, reasons=(), settings=settings, runs=runs), width=width)
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "73.12" in shown.replace("\n", "")
