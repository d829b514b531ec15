from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ferops import config
from ferops.config import Params
from ferops.layout import Layout
from ferops.records.metrics import Metrics
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
