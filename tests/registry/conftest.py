from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ferops import config
from ferops.config import Params
from ferops.layout import Layout
from ferops.records.metrics import Metrics
from ferops.registry import stage
from ferops.registry.connection import connect
from registry_project import good_metrics, make_project, params_tree
from sockets import free_port


@pytest.fixture
def metrics() -> Metrics:
    """Metrics that pass every gate of the quick preset."""
    return good_metrics()


@pytest.fixture(scope="session")
def params() -> Params:
    return config.parse(params_tree())


@pytest.fixture(scope="session", autouse=True)
def few_figures() -> Iterator[None]:
    """Log accuracy and macro-F1 of the models alone: for a version MLflow asks for each of a run's 270 figures, which
    takes more than half the time of `register`."""
    every = stage.flatten

    def few(*tree: Any, **how: Any) -> dict[str, Any]:
        chosen = {"accuracy", "macro_f1"}
        return {name: value for name, value in every(*tree, **how).items() if chosen.intersection(name.split("/")[1:2])}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "flatten", few)
        yield


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory, store: Path, params: Params) -> Layout:
    """A project with version 1, challenger, for tests that look at it or take a copy; never change its files."""
    layout = Layout(tmp_path_factory.mktemp("registered") / "project")
    make_project(layout)
    for path in (store, store.with_name("mlflow.db.schema")):
        shutil.copy(path, layout.root / path.name)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        stage.register(layout, params)
    return layout


@pytest.fixture
def version_1(registered: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A copy of `registered`."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    return Layout(shutil.copytree(registered.root, tmp_path / "version 1"))


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
