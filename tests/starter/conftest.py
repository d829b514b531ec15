"""A repository with an embedded remote, and projects that hold a judged export, as `ferops evaluate` leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import shell
from evaluation_project import evaluated
from exports import provenance, write_export
from ferops.files import write_text
from ferops.layout import Layout
from ferops.model_config import export_digest
from ferops.records.metrics import Interval, Metrics
from repositories import dvc, make_repository

ROOT = Path(__file__).parents[2]

JudgedMaker = Callable[..., Path]
Shell = Callable[[Path, str], str]


@pytest.fixture(scope="session")
def sh() -> Shell:
    """Return a function that runs a script in a folder and returns what it prints."""
    return shell.run


@pytest.fixture(scope="session")
def metrics() -> Metrics:
    """What `evaluate` wrote, with figures of the tests' own."""
    found = evaluated().metrics
    accuracy, macro_f1 = Interval(value=0.7512, low=0.7249, high=0.7751), Interval(value=0.7314, low=0.7001, high=0.76)
    candidate = found.candidate.model_copy(update={"accuracy": accuracy, "macro_f1": macro_f1})
    chance = found.chance.model_copy(update={"accuracy": 0.3209})
    return found.model_copy(update={"n": 1234, "candidate": candidate, "chance": chance})


@pytest.fixture(scope="session")
def make_judged(metrics: Metrics, tmp_path_factory: pytest.TempPathFactory) -> JudgedMaker:
    """Return a function that makes a project whose export was evaluated; `config` changes values of its config.json."""

    def make(*, favours: str = "happy", **config: Any) -> Path:
        layout = Layout(tmp_path_factory.mktemp("judged"))
        known = {"low_confidence": 0.3, "provenance": provenance(git_commit="c" * 40)}
        write_export(layout.exported, favours=favours, **(known | config))
        trained = {"backbone.fc.weight": torch.full((6, 2), 0.3), "backbone.bn1.running_var": torch.full((2,), 1e6)}
        layout.model("candidate").mkdir(parents=True)
        save_file(trained, layout.model("candidate") / "weights.safetensors")
        judged = metrics.model_copy(update={"export_digest": export_digest(layout.exported)})
        judged.write(layout.artifacts("evaluate") / "metrics.json")
        card = f"# Model card of a model that favours {favours}\n"
        write_text(layout.reports("evaluate") / "model_card.md", card)
        return layout.root

    return make


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory, sh: Shell) -> Path:
    """A repository with an embedded data set and no starter yet."""
    root = tmp_path_factory.mktemp("bare") / "project"
    make_repository(root)
    (root / "data").mkdir()
    (root / "data" / "synthetic.parquet").write_bytes(b"rendered faces")
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc")
    shutil.copy(ROOT / ".gitignore", root)
    dvc(root, "add", "data")
    with (root / "data.dvc").open("a", encoding="utf-8") as file:
        file.write("  remote: embedded\n")
    dvc(root, "push")
    sh(root, "git add . && git commit -qm data")
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
