"""A repository with an embedded remote, and projects that hold a judged export, as `ferops evaluate` leaves them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shell
from ferops.layout import Layout

ROOT = Path(__file__).parents[2]

METRICS: dict[str, Any] = {
    "n": 1234,
    "confidence_level": 0.95,
    "candidate": {
        "accuracy": {"value": 0.7512, "low": 0.7249, "high": 0.7751},
        "macro_f1": {"value": 0.7314, "low": 0.7001, "high": 0.7599},
    },
    "chance": {"accuracy": 0.3209},
}

JudgedMaker = Callable[..., Path]
Shell = Callable[[Path, str], str]


@pytest.fixture(scope="session")
def sh() -> Shell:
    """Return a function that runs a script in a folder and returns what it prints."""
    return shell.run


@pytest.fixture(scope="session")
def make_judged(make_export: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> JudgedMaker:
    """Return a function that makes a project whose export was judged; `config` changes keys of its config.json."""

    def make(*, favours: str = "happy", temperature: float = 1.25, config: dict[str, Any] | None = None) -> Path:
        layout = Layout(tmp_path_factory.mktemp("judged"))
        shutil.copytree(make_export(favours=favours, temperature=temperature, low_confidence=0.3), layout.exported)
        path = layout.exported / "config.json"
        tree = json.loads(path.read_text())
        tree["provenance"]["git_commit"] = "c" * 40
        path.write_text(json.dumps(tree | (config or {})))
        for folder in (layout.artifacts("evaluate"), layout.reports("evaluate")):
            folder.mkdir(parents=True)
        metrics = METRICS | {"candidate": METRICS["candidate"] | {"temperature": temperature}}
        (layout.artifacts("evaluate") / "metrics.json").write_text(json.dumps(metrics))
        (layout.reports("evaluate") / "model_card.md").write_text(f"# Model card of a model that favours {favours}\n")
        return layout.root

    return make


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory, sh: Shell) -> Path:
    """A repository with an embedded data set and no starter yet."""
    root = tmp_path_factory.mktemp("bare") / "project"
    (root / "data").mkdir(parents=True)
    (root / "data" / "synthetic.parquet").write_bytes(b"rendered faces")
    sh(root, "git init -q -b main && git config user.email t@example.org && git config user.name t && dvc init -q")
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc")
    shutil.copy(ROOT / ".gitignore", root)
    sh(
        root,
        "dvc add -q data && echo '  remote: embedded' >> data.dvc && dvc push -q && git add . && git commit -qm data",
    )
    return root


@pytest.fixture(scope="session")
def shipped(bare: Path, tmp_path_factory: pytest.TempPathFactory, make_judged: JudgedMaker, sh: Shell) -> Path:
    """The same with a starter that favours happy, committed."""
    from ferops.starter.adopt import adopt

    root = tmp_path_factory.mktemp("shipped") / "project"
    shutil.copytree(bare, root)
    adopt(Layout(root), make_judged(favours="happy"))
    sh(root, "git add starter.dvc .dvc/embedded && git commit -qm starter")
    return root


@pytest.fixture
def clone(shipped: Path, tmp_path: Path, sh: Shell) -> Layout:
    """A fresh clone of it: nothing pulled."""
    sh(tmp_path, f"git clone -q {shipped} project")
    sh(tmp_path / "project", "git config user.email t@example.org && git config user.name t")
    return Layout(tmp_path / "project")
