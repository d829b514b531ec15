"""A project as the stages before `register` leave it, with a tiny ONNX file and an MLflow store of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from mlflow import MlflowClient
from onnx import TensorProto, helper, numpy_helper
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from ferops import config, presets
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig
from ferops.records import Provenance
from ferops.records.metrics import (
    CandidateFigures,
    ChampionFigures,
    Chance,
    Cost,
    Difference,
    Figures,
    Interval,
    Latency,
    Metrics,
    Review,
    Slice,
    Uncalibrated,
)
from ferops.registry.connection import connect
from sockets import free_port

SIZE_PX = 32

PROVENANCE = Provenance(
    data_version="d" * 32,
    split_hash="5" * 16,
    git_commit="c" * 40,
    preset="quick",
    seed=7,
    sources=("synthetic",),
    synthetic=True,
    ferops_version="0.1.0",
    params={},
)


def interval(value: float | None, low: float | None = None, high: float | None = None) -> Interval:
    return Interval(value=value, low=low, high=high)


def figures(kind: type[Any], *, accuracy: Interval, macro_f1: Interval, **more: Any) -> Any:
    """Figures of which the gates read accuracy, macro-F1 and calibration error."""
    other = dict.fromkeys(("balanced_accuracy", "brier", "log_loss", "accuracy_missed_as_wrong"), interval(0.5))
    return kind(
        classes=DEFAULT_CLASSES,
        accuracy=accuracy,
        macro_f1=macro_f1,
        calibration_error=interval(0.05, 0.03, 0.09),
        calibration_error_by_chance=0.02,
        per_class={},
        confusion=(),
        review=Review(threshold=0.5, share_flagged=0.1, n_kept=360, accuracy_kept=0.85),
        calibration_bins=(),
        **(other | more),
    )


def people(column: str, value: str, n: int, accuracy: float | None, *, small: bool = False, **more: Any) -> Slice:
    row = {"kind": "people", "n_no_face": 0, "clusters": n, "macro_f1": interval(0.7)} | more
    return Slice(
        column=column,
        value=value,
        n=n,
        accuracy=interval(accuracy),
        accuracy_minus_whole=interval(0.0),
        small=small,
        **row,
    )


METRICS = Metrics(
    provenance=PROVENANCE,
    classes=DEFAULT_CLASSES,
    split="test",
    n=400,
    n_tight=0,
    n_unfound=0,
    n_no_face=3,
    n_small_face=0,
    clusters=40,
    confidence_level=0.95,
    bootstrap_samples=1000,
    candidate=figures(
        CandidateFigures,
        accuracy=interval(0.80, 0.76, 0.84),
        macro_f1=interval(0.78, 0.73, 0.82),
        temperature=1.5,
        uncalibrated=Uncalibrated(calibration_error=interval(0.1), calibration_bins=(), log_loss=interval(0.7)),
    ),
    baseline=figures(Figures, accuracy=interval(0.75, 0.70, 0.79), macro_f1=interval(0.7)),
    champion=None,
    chance=Chance(answer="happy", accuracy=0.20, macro_f1=0.06, uniform_accuracy=0.1667),
    candidate_minus_baseline=Difference(accuracy=interval(0.05, 0.01, 0.09), macro_f1=interval(0.05)),
    candidate_minus_champion=None,
    candidate_minus_chance=Difference(accuracy=interval(0.6), macro_f1=interval(0.6)),
    slices=(
        people("source", "synthetic", 400, 0.80, kind="source"),
        people("group_age", "old", 90, 0.70),
        people("group_age", "young", 305, 0.83),
        people("group_glasses", "yes", 5, 0.10, small=True),
    ),
    slice_columns=(),
    worst_slices=(),
    data={},
    cost=Cost(
        parameters=18,
        file_mb=0.1,
        latency_ms=Latency(p50=4.0, p95=5.0, batch=1, repeats=9),
        images_per_s=200.0,
        images_per_s_batch=16,
        cpu="a CPU",
        cpu_cores=2,
    ),
)


@pytest.fixture
def metrics() -> Metrics:
    """Metrics that pass every gate of the quick preset."""
    return METRICS


def changed(metrics: Metrics, **figures: Any) -> Metrics:
    """Return `metrics` with other values, by their path: `candidate__accuracy__low=0.7, slices__1__n=3`."""
    tree = metrics.model_dump()
    for path, value in figures.items():
        node: Any = tree
        *parents, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        for key in parents:
            if isinstance(node[key], tuple):
                node[key] = list(node[key])
            node = node[key]
        node[last] = value
    return Metrics.model_validate(tree)


def against_champion(metrics: Metrics, *, low: float | None) -> Metrics:
    """Return `metrics` with a champion, and the lower bound of the candidate's difference to it."""
    champion = figures(
        ChampionFigures,
        accuracy=interval(0.8, 0.75, 0.85),
        macro_f1=interval(0.78),
        version="1",
        split_hash="5" * 16,
        same_split=True,
        notes=(),
    )
    difference = Difference(accuracy=interval(0.0, low, 0.02), macro_f1=interval(0.0))
    return metrics.model_copy(update={"champion": champion, "candidate_minus_champion": difference})


@pytest.fixture(scope="session")
def params() -> Params:
    return config.parse(params_tree())


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, migrated once and copied for every test: migrating takes seconds."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(Layout(root))
    return root / "mlflow.db"


@pytest.fixture
def layout(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project with its own empty store, up to the stage `evaluate`."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    layout = Layout(tmp_path / "project")
    make_project(layout)
    for path in (store, store.with_name("mlflow.db.schema")):
        shutil.copy(path, layout.root / path.name)
    return layout


@pytest.fixture
def client(layout: Layout) -> MlflowClient:
    return connect(layout)


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What a client's method becomes when the server is gone: a real request where nobody listens, not repeated."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = MlflowClient(f"http://127.0.0.1:{free_port()}")

    def ask(*_: Any, **__: Any) -> None:
        gone.get_run("any")

    return ask


def make_project(layout: Layout) -> None:
    layout.root.mkdir(parents=True)
    layout.data_dvc.write_text(f"outs:\n- md5: {'d' * 32}.dir\n  path: data\n")
    layout.assignment.parent.mkdir(parents=True)
    pd.DataFrame({"image_id": ["a", "b"], "split": ["train", "test"]}).to_parquet(layout.assignment)
    made_from = PROVENANCE.model_copy(update={"params": params_tree()})
    for name in ("baseline", "candidate"):
        _make_trained(layout, name, made_from=made_from)
    make_export(layout.exported)
    write_metrics(layout, METRICS)
    reports = layout.reports("evaluate")
    reports.mkdir(parents=True)
    (reports / "report.html").write_text("<h1>Report</h1>")
    (reports / "model_card.md").write_text("---\nlicense: apache-2.0\n---\n# The card\n\nTrained on rendered faces.\n")


def write_metrics(layout: Layout, metrics: Metrics) -> None:
    metrics.write(layout.artifacts("evaluate") / "metrics.json")


def make_export(folder: Path) -> None:
    """A linear ONNX model of the mean colour: input `faces` uint8 (N, S, S, 3), output `logits` float32 (N, 6)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weight = np.linspace(-1, 1, 18, dtype=np.float32).reshape(3, 6) / 100
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["faces"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weight"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", SIZE_PX, SIZE_PX, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 6])],
        [
            numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "axes"),
            numpy_helper.from_array(weight, "weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    shutil.copy(folder / "model.onnx", folder / "model-int8.onnx")
    settings = ExportConfig(
        **MODEL | {"temperature": 1.5, "parameters": 18, "provenance": PROVENANCE},
        served="model-int8.onnx",
        min_confidence=0.9,
        margin=0.1,
        choose="largest",
        low_confidence=0.5,
    )
    (folder / "config.json").write_text(settings.model_dump_json())


MODEL: dict[str, Any] = {
    "architecture": "resnet50",
    "classes": DEFAULT_CLASSES,
    "size_px": SIZE_PX,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "licence": "Apache-2.0",
}


def params_tree() -> dict[str, Any]:
    tree: dict[str, Any] = YAML(typ="safe").load(presets.render("quick"))
    # Bounds of the tests' own: what a preset asks for may change
    tree["register"] |= {"min_test_samples": 100, "min_macro_f1": 0.50, "max_loss_to_baseline": 0.05}
    tree["register"] |= {"max_loss_to_champion": 0.02, "max_calibration_error": 0.15, "max_slice_gap": 0.25}
    return tree


def _make_trained(layout: Layout, name: str, *, made_from: Provenance) -> None:
    folder, reports = layout.model(name), layout.reports("train") / name
    folder.mkdir(parents=True)
    reports.mkdir(parents=True)
    save_file({"weight": np.full(4, len(name), dtype=np.float32)}, folder / "weights.safetensors")
    settings = ModelConfig(**MODEL, parameters=4, provenance=made_from)
    (folder / "config.json").write_text(settings.model_dump_json())
    (folder / "history.json").write_text(json.dumps(HISTORY))
    (reports / "curves.png").write_bytes(b"\x89PNG")
    (reports / "summary.json").write_text(json.dumps(SUMMARY))


HISTORY = [{"epoch": epoch, "train_loss": 2.0 / epoch, "val_accuracy": 0.2 * epoch} for epoch in (1, 2, 3)]
SUMMARY: dict[str, Any] = {
    "stage": "train",
    "parameters": 11_179_590,
    "images": {"train": 600, "val": 90, "test": 120},
    "device": "cpu",
    "precision": "bf16",
    "best_epoch": 3,
    "val_accuracy": 0.61,
    "val_macro_f1": 0.58,
    "images_per_s": 200.0,
    "seconds": 12.5,
    "peak_memory_mb": {"process": 900.0},
}
