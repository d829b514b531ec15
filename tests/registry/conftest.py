"""A project as the stages before `register` leave it, with a tiny ONNX file and an MLflow store of its own."""

from __future__ import annotations

import copy
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
from safetensors.numpy import save_file

from ferops import config
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.layout import Layout
from ferops.registry.connection import connect
from sockets import free_port

REPOSITORY = Path(__file__).parents[2]
SIZE_PX = 32

METRICS: dict[str, Any] = {
    "provenance": {
        "data_version": "d" * 32,
        "split_hash": "5" * 16,
        "git_commit": "c" * 40,
        "preset": "quick",
        "seed": 7,
        "synthetic": True,
    },
    "n": 400,
    "n_no_face": 3,
    "candidate": {
        "accuracy": {"value": 0.80, "low": 0.76, "high": 0.84},
        "macro_f1": {"value": 0.78, "low": 0.73, "high": 0.82},
        "calibration_error": {"value": 0.05, "low": 0.03, "high": 0.09},
    },
    "baseline": {"accuracy": {"value": 0.75, "low": 0.70, "high": 0.79}},
    "champion": None,
    "chance": {"accuracy": 0.20, "macro_f1": 0.06, "uniform_accuracy": 0.1667},
    "candidate_minus_baseline": {"accuracy": {"value": 0.05, "low": 0.01, "high": 0.09}},
    "candidate_minus_champion": None,
    "slices": [
        {"column": "source", "value": "synthetic", "n": 400, "accuracy": {"value": 0.80}, "small": False},
        {"column": "group_age", "value": "old", "n": 90, "accuracy": {"value": 0.70}, "small": False},
        {"column": "group_age", "value": "young", "n": 305, "accuracy": {"value": 0.83}, "small": False},
        {"column": "group_glasses", "value": "yes", "n": 5, "accuracy": {"value": 0.10}, "small": True},
    ],
    "cost": {"latency_ms": 4.0},
}


@pytest.fixture
def metrics() -> dict[str, Any]:
    """Metrics that pass every gate of the quick preset."""
    return copy.deepcopy(METRICS)


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
    made_from = METRICS["provenance"] | {"sources": ["synthetic"], "params": params_tree()}
    for name in ("baseline", "candidate"):
        _make_trained(layout, name, made_from=made_from)
    make_export(layout.exported)
    write_metrics(layout, METRICS)
    reports = layout.reports("evaluate")
    reports.mkdir(parents=True)
    (reports / "report.html").write_text("<h1>Report</h1>")
    (reports / "model_card.md").write_text("---\nlicense: apache-2.0\n---\n# The card\n\nTrained on rendered faces.\n")


def write_metrics(layout: Layout, metrics: dict[str, Any]) -> None:
    folder = layout.artifacts("evaluate")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))


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
    settings = {
        "architecture": "resnet50",
        "classes": list(DEFAULT_CLASSES),
        "size_px": SIZE_PX,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "temperature": 1.5,
        "parameters": 18,
        "provenance": {"git_commit": "c1"},
        "licence": "Apache-2.0",
        "served": "model-int8.onnx",
        "min_confidence": 0.9,
        "margin": 0.1,
        "choose": "largest",
        "low_confidence": 0.5,
    }
    (folder / "config.json").write_text(json.dumps(settings))


def params_tree() -> dict[str, Any]:
    tree: dict[str, Any] = config.load(REPOSITORY / "src" / "ferops" / "presets" / "quick.yaml").model_dump(
        mode="json", by_alias=True
    )
    # Bounds of the tests' own: what a preset asks for may change
    tree["register"] |= {"min_test_samples": 100, "min_macro_f1": 0.50, "max_loss_to_baseline": 0.05}
    tree["register"] |= {"max_loss_to_champion": 0.02, "max_calibration_error": 0.15, "max_slice_gap": 0.25}
    return tree


def _make_trained(layout: Layout, name: str, *, made_from: dict[str, Any]) -> None:
    folder, reports = layout.model(name), layout.reports("train") / name
    folder.mkdir(parents=True)
    reports.mkdir(parents=True)
    save_file({"weight": np.full(4, len(name), dtype=np.float32)}, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet50", "provenance": made_from}))
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
