"""What several test folders share: a tiny exported model that is quick and whose answers can be worked out by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# One thread in every test and every process that it starts, set before the libraries are loaded: tests run on all
# cores already, and a training's bits depend on the number
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock

import sample_images
from exports import write_export
from ferops import threads
from ferops.config import Params
from ferops.layout import Layout
from ferops.local import stack
from stacks import Running, free_ports, small_project

ExportMaker = Callable[..., Path]
TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, a worker runs a folder after the other: what its tests share, and the libraries that
    they alone need, are made and loaded once."""
    if getattr(config.option, "loadgroup", False):
        for item in items:
            folder = item.path.parent
            item.add_marker(pytest.mark.xdist_group(item.path.name if folder == TESTS else folder.name))


@pytest.fixture(autouse=True)
def _threads_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a verb chose in an earlier test is not this test's: a training would choose anew at each epoch, and its bits
    depend on the number."""
    monkeypatch.setattr(threads._Choice, "count", None)


@pytest.fixture(scope="session")
def make_export(tmp_path_factory: pytest.TempPathFactory) -> ExportMaker:
    """Return `exports.write_export` into a new folder; it takes `favours` and values of config.json."""

    def make(**how: Any) -> Path:
        return write_export(tmp_path_factory.mktemp("export"), **how)

    return make


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One running stack of a small project for all slow tests that only use it: starting it takes a while.

    Its folders can be entered by everybody, so that only its own modes protect it.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
            patch.delenv(name)
        base = tmp_path_factory.mktemp("stack")
        layout = Layout(small_project(base))
        for folder in (base.parents[1], base.parents[0], base, layout.root):
            folder.chmod(0o755)
        ports = free_ports()
        try:
            stack.up(layout, ports)
            yield Running(layout, ports)
        finally:
            stack.down(layout)


ROOT = TESTS.parent


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, migrated once for all workers and copied for every test: migrating takes seconds."""
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "store"
    with FileLock(f"{root}.lock"), pytest.MonkeyPatch.context() as patch:
        if not (root / "mlflow.db.schema").exists():
            from ferops.registry import connection

            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            root.mkdir(exist_ok=True)
            connection.connect(Layout(root))
    return root / "mlflow.db"


@pytest.fixture(scope="session")
def quick_params() -> Params:
    """The preset quick, whatever params.yaml holds."""
    return sample_images.quick_params()


@pytest.fixture(scope="session")
def favourites() -> dict[str, str]:
    """The expression that each version of `bentos` favours, so that an answer tells which version gave it."""
    return {"1": "happy", "2": "sad"}


@pytest.fixture(scope="session")
def bentos(
    tmp_path_factory: pytest.TempPathFactory, make_export: ExportMaker, favourites: dict[str, str], quick_params: Params
) -> Layout:
    """A project with the Bentos of versions 1 and 2, built in this order."""
    from ferops.packaging.bento import package

    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "service", root / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "requirements.lock", root / "requirements.lock")
    layout = Layout(root)
    for version, expression in favourites.items():
        folder = make_export(favours=expression, low_confidence=0.3)
        shutil.copytree(folder, root / "exports" / version)
        package(layout, quick_params, model_folder=folder, version=version)
    return layout
